// The NoCloud seed: a disk with an ISO 9660 file system labelled cidata. How its documents look is described in
// contextualise/README.md ("The cloud-config dialect, exactly").
#pragma once

#include "json.h"

struct seed {
  const struct json *user_data;
  const struct json *meta_data;
  const struct json *network_config;
};

// Finds the disk, reads the documents and closes it again. Anything amiss is fatal: without a seed nobody can log in.
void read_seed(struct seed *seed);

// Path of the first virtio disk with `label` at `offset`, to be freed; waits a few seconds for it to appear.
char *find_disk(long offset, const char *label);
