/* The registry itself. Internal to coordinator/agents. */
#ifndef PGSEAL_COORDINATOR_AGENTS_INTERNAL_H
#define PGSEAL_COORDINATOR_AGENTS_INTERNAL_H

#include "common/base/names.h"
#include "coordinator/agents/agents.h"

typedef struct AgentsObserver {
  void (*changed)(void *user, const Agent *agent);
  void *user;
} AgentsObserver;

struct Agents {
  const CoordinatorConfig *config;
  Ledger *ledger;
  Authority *authority; /* NULL without bus_tls */
  Agent **items;
  size_t count;
  Names names; /* of items; the names are copies */
  AgentsObserver *observers;
  size_t observer_count;
};

/* A copy that can be changed and then saved, or dropped. */
LedgerEnrollment agents_copy(const LedgerEnrollment *row);
/* One transaction: row, its signing key (enrolled), its certificate if it is new (issued, or NULL), revocation of all
 * its keys and certificates (revoke), and the event. Then the entry is that row's (taken over), and observers are told.
 * detail: reference stolen. */
typedef struct AgentsChange {
  const char *kind, *actor, *address; /* actor, address: or NULL */
  const Issued *issued;
  bool enrolled, revoke;
  json_t *detail;
} AgentsChange;
Status agents_save(Agents *agents, LedgerEnrollment *row, const AgentsChange *change, const Agent **out,
                   Error *err) MUST_CHECK;

#endif
