// The SSH server: dropbear with the seed's host key, keys only, nothing forwarded.
#pragma once

#include <sys/types.h>

#include "seed.h"

// Starts it; null when the seed has no host key, which means that nobody is to log in.
pid_t start_ssh(const struct seed *seed);

// Waits until it accepts connections. Fatal when it ends instead.
void await_ssh(pid_t server);

// The last words of a server that ended.
const char *ssh_reason(void);
