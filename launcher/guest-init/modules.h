// Kernel modules: sets that the composer of images wrote as lists in load order (images/guest-root.ts).
#pragma once

// Inserts the modules of `DIRECTORY/SET.list`. Null when all that must be there is there, else the reason.
const char *load_modules(const char *directory, const char *set);
