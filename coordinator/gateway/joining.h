/* Records in the ledger that an agent joined. Internal to coordinator/gateway; loop thread only. */
#ifndef PGSEAL_COORDINATOR_GATEWAY_JOINING_H
#define PGSEAL_COORDINATOR_GATEWAY_JOINING_H

#include "coordinator/config.h"
#include "coordinator/ledger/ledger.h"
#include "proto/pgseal.pb-c.h"

/* The agent's row, and an "agent.joined" event if it is new or has changed. What the agent says of itself is bounded
 * and cleaned; capabilities and databases are cut to what the configuration allows. */
Status joining_record(Ledger *ledger, const ConfigAgent *agent, const Pgseal__Authenticate *message,
                      Error *err) MUST_CHECK;

#endif
