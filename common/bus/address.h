/* Which bus addresses are allowed. */
#ifndef PGSEAL_COMMON_BUS_ADDRESS_H
#define PGSEAL_COMMON_BUS_ADDRESS_H

#include "common/base/error.h"

/* Plain tcp:// on loopback only (127.0.0.0/8, [::1]); anything else is ERR_CONFIG with the remedy. Any thread. */
Status bus_address_check(const char *url, Error *err) MUST_CHECK;

#endif
