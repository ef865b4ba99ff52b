/* `pgseal-coordinator init` and `certificate`: the files a deployment begins with, and a new certificate later. */
#ifndef PGSEAL_COORDINATOR_INIT_H
#define PGSEAL_COORDINATOR_INIT_H

#include <stddef.h>

#include "coordinator/config.h"

/* Makes dir and in it ca.key, ca.crt, coordinator.key, coordinator.crt, token and coordinator.yaml; private ones mode
 * 0600. Prints what it made. All of it or, on failure, nothing. ERR_OBJECT_EXISTS if one of them is there already;
 * ERR_INVALID_ARGUMENT: hosts. hosts: under which
 * names or addresses the coordinator is reached; the machine's own name if count is 0. */
Status coordinator_init(const char *dir, const char *const *hosts, size_t count, Error *err) MUST_CHECK;
/* A new key and certificate in place of those that bus_tls names. A running coordinator takes them on SIGHUP. */
Status coordinator_certificate(const CoordinatorConfig *config, const char *const *hosts, size_t count,
                               Error *err) MUST_CHECK;

#endif
