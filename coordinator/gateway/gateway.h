/*
 * Gateway: the agents' side of the coordinator. Owns the bus server; authenticates agents (challenge signed with
 * the enrolled Ed25519 key), binds sessions, parks polls until there is work, hands the rest to dispatch.
 * Hostile input until checked: envelopes are bounded, unknown sessions get Failure "unauthorized". Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_GATEWAY_H
#define PGSEAL_COORDINATOR_GATEWAY_GATEWAY_H

#include <uv.h>

#include "coordinator/dispatch/dispatch.h"

typedef struct Gateway Gateway;
Status gateway_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Gateway **out,
                    Error *err) MUST_CHECK;
void gateway_close(Gateway *gateway, void (*closed)(void *user), void *user);

#endif
