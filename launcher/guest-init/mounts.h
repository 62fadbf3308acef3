// Mounts: the guest's own file systems, and those of the seed.
#pragma once

#include "seed.h"

// From the first root to the image's, made writable by a layer in memory: afterwards / is the latter.
void enter_image(void);

// Mounts what `mounts` of user-data lists; each must answer in time. One without `nofail` that fails is fatal.
void mount_seed_mounts(const struct seed *seed);

// Whether a path is, or lies below, a mount point of the seed.
int is_on_seed_mount(const struct seed *seed, const char *path);
