/* Which bus addresses are allowed. */
#ifndef PGSEAL_COMMON_BUS_ADDRESS_H
#define PGSEAL_COMMON_BUS_ADDRESS_H

#include <stdbool.h>

#include "common/base/error.h"

/* tls+tcp://HOST:PORT anywhere; plain tcp:// on loopback only (127.0.0.0/8, [::1]); ipc:///PATH. Anything else is
 * ERR_CONFIG with the remedy. Any thread. */
Status bus_address_check(const char *url, Error *err) MUST_CHECK;
bool bus_address_secure(const char *url); /* tls+tcp:// */

#endif
