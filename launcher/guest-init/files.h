// Small files: read whole, written whole, directories made on the way.
#pragma once

#include <stddef.h>
#include <sys/types.h>

// A file's bytes with a NUL behind them, to be freed; null with errno when it cannot be read or is larger than 64 MiB.
char *read_file(const char *path, size_t *length);

// Writes a new or replaces an old file. Directories on the way are made, as root's, with mode 0755. 0 or -1 with errno.
int write_file(const char *path, const void *bytes, size_t length, mode_t mode, uid_t uid, gid_t gid);

// Adds a line to a file that is there.
int append_line(const char *path, const char *line);

// Makes a directory and those on the way to it, as root's, with mode 0755. 0, also when it is there, or -1 with errno.
int make_directories(const char *path);

// The same for the directories on the way to a file.
int make_parents(const char *path);
