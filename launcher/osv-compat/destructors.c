/* What a program has registered for its end.
 * Facts: `atexit` of the kernel does nothing (runtime.cc), and a program that REST started is never unloaded (core/app.cc:
 * nobody joins it), so neither handlers nor destructors run: what a C++ stream or a Fortran unit still holds is lost.
 * Here they run as exit(3) would run them: those of the program, and of the Fortran library, which writes open units. Other
 * libraries are left alone: their threads are not ended, and would find what is freed. */
#define _GNU_SOURCE
#include "compat.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct handler {
    void (*function)(void *);
    void *argument;
    void *owner;
    struct handler *before;
};

static struct handler *handlers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int __cxa_atexit(void (*function)(void *), void *argument, void *owner);
void __cxa_finalize(void *owner);

/* In place of the kernel's list, which has no order between objects. */
int __cxa_atexit(void (*function)(void *), void *argument, void *owner) {
    struct handler *handler = malloc(sizeof *handler);
    if (!handler)
        return -1;
    pthread_mutex_lock(&lock);
    *handler = (struct handler){function, argument, owner, handlers};
    handlers = handler;
    pthread_mutex_unlock(&lock);
    return 0;
}

/* Runs and forgets the handlers of those that `wanted` likes, the last registered first. */
static void run_handlers(int (*wanted)(const void *owner, const void *data), const void *data) {
    for (;;) {
        pthread_mutex_lock(&lock);
        struct handler **place = &handlers;
        while (*place && !wanted((*place)->owner, data))
            place = &(*place)->before;
        struct handler *handler = *place;
        if (handler)
            *place = handler->before;
        pthread_mutex_unlock(&lock);
        if (!handler)
            return;
        handler->function(handler->argument);
        free(handler);
    }
}

static int is_owner(const void *owner, const void *data) {
    return owner == data;
}

/* Called by an object's own end, when it is unloaded: its handlers must not stay. */
void __cxa_finalize(void *owner) {
    if (owner)
        run_handlers(is_owner, owner);
}

#define MOST_OBJECTS 4

struct range {
    uintptr_t start, end;
    void (**fini)(void);
    size_t fini_count;
};

/* The objects whose ends run, in the order of loading. */
struct objects {
    uintptr_t program;
    size_t count;
    struct range ranges[MOST_OBJECTS];
};

static int is_fortran(const char *path) {
    static const char name[] = "libgfortran.so";
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, name, sizeof name - 1) == 0;
}

static int gather(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct objects *objects = data;
    struct range range = {.start = UINTPTR_MAX};
    const Elf64_Dyn *entry = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC)
            entry = (const Elf64_Dyn *)start;
        if (header->p_type != PT_LOAD)
            continue;
        if (start < range.start)
            range.start = start;
        if (start + header->p_memsz > range.end)
            range.end = start + header->p_memsz;
    }
    int is_program = objects->program >= range.start && objects->program < range.end;
    if ((!is_program && !is_fortran(info->dlpi_name)) || objects->count == MOST_OBJECTS)
        return 0;
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_FINI_ARRAY)
            range.fini = (void (**)(void))(info->dlpi_addr + entry->d_un.d_ptr);
        else if (entry->d_tag == DT_FINI_ARRAYSZ)
            range.fini_count = entry->d_un.d_val / sizeof *range.fini;
    }
    objects->ranges[objects->count++] = range;
    return 0;
}

static int is_ours(const void *owner, const void *data) {
    const struct objects *objects = data;
    for (size_t i = 0; i < objects->count; i++)
        if ((uintptr_t)owner >= objects->ranges[i].start && (uintptr_t)owner < objects->ranges[i].end)
            return 1;
    return 0;
}

void leet_run_destructors(const void *program) {
    static int begun;
    if (__atomic_exchange_n(&begun, 1, __ATOMIC_SEQ_CST) || !program)
        return;
    struct objects objects = {.program = (uintptr_t)program};
    dl_iterate_phdr(gather, &objects);
    run_handlers(is_ours, &objects);
    for (size_t i = 0; i < objects.count; i++)
        for (size_t j = objects.ranges[i].fini_count; j > 0; j--)
            objects.ranges[i].fini[j - 1]();
}
