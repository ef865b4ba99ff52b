/* Records in the ledger that an agent joined. Internal to coordinator/gateway; loop thread only. */
#ifndef PGSEAL_COORDINATOR_GATEWAY_JOINING_H
#define PGSEAL_COORDINATOR_GATEWAY_JOINING_H

#include "coordinator/config.h"
#include "coordinator/ledger/ledger.h"
#include "proto/pgseal.pb-c.h"

typedef struct Joining { /* what is known of an agent's events; zero at first */
  int64_t told_us;       /* monotonic; of the last event; 0: none yet */
  bool untold;           /* it changed since */
} Joining;

/* The agent's row, and an "agent.joined" event if it is new or has changed: one in a minute at most, since it stays for
 * good, and the agent may say something else as often as it likes. What came last is told when it joins after that.
 * What the agent says of itself is bounded and cleaned; capabilities and databases are cut to what the configuration
 * allows.
 */
Status joining_record(Ledger *ledger, const ConfigAgent *agent, const Pgseal__Authenticate *message, Joining *joining,
                      Error *err) MUST_CHECK;

#endif
