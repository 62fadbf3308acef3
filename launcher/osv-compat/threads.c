/* Objects of POSIX threads.
 * Fact: pthread_{mutex,cond,rwlock}_destroy free what the object points at and leave the pointer in it (libc/pthread.cc);
 * destroyed twice, or used again without initialisation as Linux allows for a zeroed one, it is memory of somebody else. */
#define _GNU_SOURCE
#include "next.h"

#include <pthread.h>
#include <string.h>

#define DESTROY(name, type)                                                                                            \
    int name(type *object) {                                                                                           \
        int result = NEXT(name)(object);                                                                               \
        if (result == 0)                                                                                               \
            memset(object, 0, sizeof *object);                                                                         \
        return result;                                                                                                 \
    }

DESTROY(pthread_mutex_destroy, pthread_mutex_t)
DESTROY(pthread_cond_destroy, pthread_cond_t)
DESTROY(pthread_rwlock_destroy, pthread_rwlock_t)

/* Missing in OSv. All ranks of a guest are threads of one address space: every lock is shared. */
int pthread_rwlockattr_setpshared(pthread_rwlockattr_t *attributes, int shared) {
    (void)attributes;
    (void)shared;
    return 0;
}
