/*
 * Who is admitted to the bus: this coordinator's certificate, the deployment's authority, and its list of what is
 * revoked, read from their files. Internal to coordinator/gateway, but for admission_check. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_ADMISSION_H
#define PGSEAL_COORDINATOR_GATEWAY_ADMISSION_H

#include "common/bus/bus.h"
#include "coordinator/config.h"

typedef struct Admission { /* what a BusTls points to */
  BusTls tls;
  char *authority, *certificate, *key, *revocations; /* owned */
  int64_t expires_us;                                /* the certificate; wall clock */
} Admission;

/* Leaves *out empty (authority NULL) where the configuration has no bus_tls. revocations: PEM or NULL; copied. */
Status admission_load(const CoordinatorConfig *config, const char *revocations, Admission *out, Error *err) MUST_CHECK;
void admission_revoke(Admission *admission, const char *revocations); /* another list, all else as it was; copied */
/* Warns, in the month before the certificate expires, and from then on. */
void admission_log(const Admission *admission, const CoordinatorConfig *config);
void admission_release(Admission *admission);
/* Are the files there, do they belong together, and is the certificate valid now? Fine without bus_tls. */
Status admission_check(const CoordinatorConfig *config, Error *err) MUST_CHECK;

#endif
