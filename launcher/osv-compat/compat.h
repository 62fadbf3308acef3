/* What the files of this library tell each other. */
#ifndef LEET_COMPAT_H
#define LEET_COMPAT_H

void leet_take_environment(void);
void leet_enter_directory(void);
void leet_take_input(void);
void leet_repeat_copies(void);
/* `program`: an address in the program itself. */
void leet_run_destructors(const void *program);
/* Does not return in the main thread of a program that another thread of it has ended. */
void leet_end_with_program(void);

#endif
