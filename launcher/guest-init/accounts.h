// Accounts and files, as the seed's user-data says.
#pragma once

#include <sys/types.h>

#include "seed.h"

// Makes groups, accounts and homes. Afterwards the accounts are known to the others here.
void make_accounts(const struct seed *seed);

// Writes the files of `write_files`.
void write_seed_files(const struct seed *seed);

// Puts each account's authorized_keys where the SSH server looks for them.
void authorise_keys(const struct seed *seed);
