/* What must be done before any other constructor of the program runs. */
#include "compat.h"

__attribute__((constructor(101))) static void start(void) {
    leet_take_environment();
    leet_repeat_copies();
    leet_enter_directory();
}
