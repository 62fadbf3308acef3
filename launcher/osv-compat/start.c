/* What must be done before any other constructor of the program runs. */
#include "compat.h"

__attribute__((constructor(101))) static void start(void) {
    leet_take_environment();
    leet_enter_directory();
    leet_take_input();
    /* Last: the environment is complete. */
    leet_repeat_copies();
}
