// Interfaces and host name, as the seed's network-config (version 2) and user-data say.
#pragma once

#include "seed.h"

void configure_network(const struct seed *seed);
void configure_hostname(const struct seed *seed);
