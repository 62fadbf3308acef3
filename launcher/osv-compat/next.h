/* How a function of this library calls the one it stands before: the next definition in the search order. OSv looks
 * symbols up in the program, then in its libraries in the order they were loaded, the kernel last (core/elf.cc). */
#ifndef LEET_NEXT_H
#define LEET_NEXT_H

#include <dlfcn.h>

#define NEXT(name)                                                                                                     \
    ({                                                                                                                 \
        static __typeof__(&name) found;                                                                                \
        if (!found)                                                                                                    \
            found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                        \
        found;                                                                                                         \
    })

#endif
