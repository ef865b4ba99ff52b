/*
 * Gateway: the agents' side of the coordinator. Owns the bus server and says whom it admits (certificates,
 * revocations); authenticates agents (challenge signed with the enrolled Ed25519 key), binds sessions, parks polls
 * until there is work, hands the rest to dispatch, which looks at whose each job is. Hostile input until checked:
 * envelopes are bounded, unknown sessions get Failure "unauthorized". Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_GATEWAY_H
#define PGSEAL_COORDINATOR_GATEWAY_GATEWAY_H

#include <uv.h>

#include "coordinator/dispatch/dispatch.h"

typedef struct Gateway Gateway;
Status gateway_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Gateway **out,
                    Error *err) MUST_CHECK;
/* Reads bus_tls's files and the list of revocations anew, and closes all connections: whoever is still admitted comes
 * back at once, with the session it had. */
Status gateway_readmit(Gateway *gateway, Error *err) MUST_CHECK;
void gateway_close(Gateway *gateway, void (*closed)(void *user), void *user);

#endif
