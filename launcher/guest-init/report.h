// What init says: one line on the console for each step, which the launcher parses (images/init-lines.ts).
#pragma once

// Key and value pairs of a line end with a null pointer. Values are quoted as needed; a null value is left out.

// `leet-init: step=STEP KEY=VALUE… status=begin`: it may take as long as it has a limit of its own.
void report_begin(const char *step, ...) __attribute__((sentinel));
// `leet-init: step=STEP KEY=VALUE… status=ok`
void report_ok(const char *step, ...) __attribute__((sentinel));
// `… status=failed reason="…"`: the guest goes on without it.
void report_failed(const char *step, const char *reason, ...) __attribute__((sentinel));
// `… status=fatal reason="…"` and then `leet-init: off reason="…"`; the guest powers off.
_Noreturn void report_fatal(const char *step, const char *reason, ...) __attribute__((sentinel));
// `leet-init: WORD KEY=VALUE…`
void report_word(const char *word, ...) __attribute__((sentinel));

// The text of errno, with the name of the call before it: `open: No such file or directory`.
const char *because(const char *call);

// Ends everything and powers the guest off.
_Noreturn void power_off(void);
