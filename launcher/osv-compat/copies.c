/* COPY relocations.
 * Fact: OSv relocates a program before its libraries (core/elf.cc), so an ordinary executable that is not compiled with
 * -fPIC copies data of its libraries that is not relocated yet: pointers in it are null, and MPI_Finalize crashes. By now
 * everything is relocated: the pointers, and nothing else, are copied again. A word that no longer looks unrelocated was
 * set by someone since and stays. `environ` is one more: the environment of a program is kept by a library of its own
 * (libenviron.so), and a copy of the pointer points to what setenv has freed. */
#define _GNU_SOURCE
#include "compat.h"

#include <dlfcn.h>

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct object {
    uintptr_t base;
    const Elf64_Sym *symbols;
    const char *strings;
    const Elf64_Rela *relocations;
    size_t relocation_count;
    const uint32_t *gnu_hash;
    const uint32_t *sysv_hash;
};

/* A search for the library that a symbol of `program` was copied from. */
struct search {
    const struct object *program;
    const char *name;
    struct object found;
    const Elf64_Sym *symbol;
};

/* glibc relocates the pointers of a dynamic section where it lies, OSv does not. */
static const void *pointer(uintptr_t base, uintptr_t value) {
    return (const void *)(value < base ? base + value : value);
}

static int read_object(const struct dl_phdr_info *info, struct object *object) {
    memset(object, 0, sizeof *object);
    object->base = info->dlpi_addr;
    const Elf64_Dyn *entry = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            entry = (const Elf64_Dyn *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        const void *at = pointer(object->base, entry->d_un.d_ptr);
        if (entry->d_tag == DT_SYMTAB)
            object->symbols = at;
        else if (entry->d_tag == DT_STRTAB)
            object->strings = at;
        else if (entry->d_tag == DT_RELA)
            object->relocations = at;
        else if (entry->d_tag == DT_RELASZ)
            object->relocation_count = entry->d_un.d_val / sizeof(Elf64_Rela);
        else if (entry->d_tag == DT_GNU_HASH)
            object->gnu_hash = at;
        else if (entry->d_tag == DT_HASH)
            object->sysv_hash = at;
    }
    return object->symbols && object->strings;
}

static const Elf64_Sym *matching(const struct object *object, uint32_t index, const char *name) {
    const Elf64_Sym *symbol = &object->symbols[index];
    return symbol->st_shndx != SHN_UNDEF && strcmp(object->strings + symbol->st_name, name) == 0 ? symbol : NULL;
}

static const Elf64_Sym *find_by_gnu_hash(const struct object *object, const char *name) {
    const uint32_t *table = object->gnu_hash;
    uint32_t buckets = table[0], first = table[1], bloom = table[2];
    if (buckets == 0)
        return NULL;
    const uint32_t *bucket = table + 4 + bloom * 2;
    const uint32_t *chain = bucket + buckets;
    uint32_t hash = 5381;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        hash = hash * 33 + *c;
    uint32_t index = bucket[hash % buckets];
    if (index < first)
        return NULL;
    for (;; index++) {
        uint32_t value = chain[index - first];
        const Elf64_Sym *symbol = (value | 1) == (hash | 1) ? matching(object, index, name) : NULL;
        if (symbol || (value & 1))
            return symbol;
    }
}

static const Elf64_Sym *find_by_sysv_hash(const struct object *object, const char *name) {
    uint32_t buckets = object->sysv_hash[0];
    const uint32_t *bucket = object->sysv_hash + 2;
    const uint32_t *chain = bucket + buckets;
    uint32_t hash = 0;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        hash = (hash << 4) + *c;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    for (uint32_t index = buckets ? bucket[hash % buckets] : 0; index; index = chain[index]) {
        const Elf64_Sym *symbol = matching(object, index, name);
        if (symbol)
            return symbol;
    }
    return NULL;
}

static int search_object(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct search *search = data;
    struct object object;
    if (!read_object(info, &object) || object.symbols == search->program->symbols)
        return 0;
    const Elf64_Sym *symbol = object.gnu_hash    ? find_by_gnu_hash(&object, search->name)
                              : object.sysv_hash ? find_by_sysv_hash(&object, search->name)
                                                 : NULL;
    if (!symbol)
        return 0;
    search->found = object;
    search->symbol = symbol;
    return 1;
}

static void copy_pointers(uintptr_t to, size_t size, const struct object *from, const Elf64_Sym *symbol) {
    uintptr_t first = symbol->st_value;
    uintptr_t end = first + (symbol->st_size < size ? symbol->st_size : size);
    for (size_t i = 0; i < from->relocation_count; i++) {
        const Elf64_Rela *relocation = &from->relocations[i];
        if (relocation->r_offset < first || relocation->r_offset + sizeof(uintptr_t) > end)
            continue;
        uintptr_t *word = (uintptr_t *)(to + (relocation->r_offset - first));
        if (*word == 0 || *word == (uintptr_t)relocation->r_addend)
            *word = *(const uintptr_t *)(from->base + relocation->r_offset);
    }
}

static int is_environ(const char *name) {
    return strcmp(name, "environ") == 0 || strcmp(name, "__environ") == 0 || strcmp(name, "_environ") == 0;
}

static void renew_environ(char ***copy) {
    char ***current = dlsym(RTLD_DEFAULT, "environ");
    if (current == copy)
        current = dlsym(RTLD_NEXT, "environ");
    if (current && *current)
        *copy = *current;
}

static int repeat_copies_of(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    struct object program;
    if (!read_object(info, &program))
        return 0;
    for (size_t i = 0; i < program.relocation_count; i++) {
        const Elf64_Rela *relocation = &program.relocations[i];
        if (ELF64_R_TYPE(relocation->r_info) != R_X86_64_COPY)
            continue;
        const Elf64_Sym *symbol = &program.symbols[ELF64_R_SYM(relocation->r_info)];
        struct search search = {.program = &program, .name = program.strings + symbol->st_name};
        if (is_environ(search.name)) {
            renew_environ((char ***)(program.base + relocation->r_offset));
            continue;
        }
        if (dl_iterate_phdr(search_object, &search))
            copy_pointers(program.base + relocation->r_offset, symbol->st_size, &search.found, search.symbol);
    }
    return 0;
}

void leet_repeat_copies(void) {
    dl_iterate_phdr(repeat_copies_of, NULL);
}
