/*
 * Agents: who they are, what each may do and to which databases, and whether it still may.
 *
 * Some are listed in coordinator.yaml, with their public key. The others join by invitation, and then live by the table
 * in state.h:
 *
 *   invited --(token, once)--> enrolled <--> renewing        each --> revoked | expired --(new invitation)--> invited
 *
 * Expired is what the clock says now: where it was wrong and is set right, an agent is again what it was.
 *
 * An invitation is a token of which only the hash is kept. It names the authority's fingerprint, so that the agent
 * knows whom it may show it to. Who brings it, with a request for a certificate and a signing key that it proves to
 * hold, is from then on that agent. Two things stand for it afterwards, and both end with a revocation:
 *   - the certificate: lets a connection in (the gateway's admission; the list of revocations)
 *   - the signing key: opens a session, signs manifests, proofs and verdicts (the gateway's sessions; dispatch)
 *
 * Entries are never removed while the coordinator runs, and do not move: their index and address stay. Every change is
 * one transaction of the ledger with its event; then the observers are told. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_AGENTS_AGENTS_H
#define PGSEAL_COORDINATOR_AGENTS_AGENTS_H

#include "common/crypto/authority.h"
#include "coordinator/config.h"
#include "coordinator/ledger/ledger.h"

enum { AGENT_TOKEN_SIZE = 160, AGENT_LIST_LIMIT = 64, AGENT_INVITATION_SECONDS = 3600 };
#define AGENT_TOKEN_PREFIX                                                                                             \
  "pgseal-join_" /* then the authority's fingerprint, '_', and 32 random bytes in base64url                            \
                  */

typedef struct Agents Agents;

typedef struct Agent {
  ConfigAgent who; /* name, capabilities, databases, key; the key is zero until it is enrolled */
  size_t index;
  bool listed;          /* in coordinator.yaml; else: */
  LedgerEnrollment row; /* its state, certificate, times */
} Agent;

/* ERR_CONFIG: an agent is listed in coordinator.yaml, and invited or enrolled as well. ERR_KEY_UNREADABLE: bus_tls. */
Status agents_open(const CoordinatorConfig *config, Ledger *ledger, Agents **out, Error *err) MUST_CHECK;
void agents_close(Agents *agents); /* NULL is fine */
/* Another coordinator on the same ledger changed one or more: they are read again, and observers are told. */
void agents_refresh(Agents *agents);
/* Called after an agent was added, or gained or lost what it may do. */
void agents_observe(Agents *agents, void (*changed)(void *user, const Agent *agent), void *user);

size_t agents_count(const Agents *agents);
const Agent *agents_at(const Agents *agents, size_t index);
const Agent *agents_find(const Agents *agents, const char *name); /* NULL: unknown */
bool agent_admitted(const Agent *agent);                          /* may it open sessions, run jobs, sign things? */
/* NULL: unknown, or it may nothing (any more). */
const ConfigAgent *agents_admitted(const Agents *agents, const char *name);

/* Whose doing it is, for the ledger. */
typedef struct AgentsActor {
  const char *name;    /* of his token */
  const char *address; /* of the client */
} AgentsActor;

/* capabilities, databases: JSON arrays, checked here. *token: shown once. ERR_CONFLICT: it is listed, or enrolled.
 * ERR_CONFIG: there is no bus_tls with the authority's key. ERR_INVALID_ARGUMENT. */
Status agents_invite(Agents *agents, const char *name, json_t *capabilities, json_t *databases, int64_t seconds,
                     const AgentsActor *actor, char token[AGENT_TOKEN_SIZE], const Agent **out, Error *err) MUST_CHECK;

typedef struct AgentRequest {  /* what an agent brings; hostile until checked */
  const char *token, *request; /* the request for a certificate: PKCS#10, PEM */
  uint8_t public_key[32];      /* its signing key */
  uint8_t signature[64];       /* purpose "enroll", over the token, a zero byte, and the request */
  const char *address;         /* where it came from, for the ledger; or NULL */
} AgentRequest;
/* ERR_UNAUTHORIZED: the token is not good (one answer for unknown, used, revoked and expired), or the signature is not.
 * ERR_CONFIG: bus_tls is gone since the invitation. ERR_CONFLICT: another agent has or had this key, or it was
 * revoked with it. The token is spent by success alone. Who did not get the answer asks again: the very same request
 * gets the same certificate, as long as the invitation would have lasted and until that certificate is renewed or
 * revoked. */
Status agents_enroll(Agents *agents, const AgentRequest *request, const Agent **out, Issued *issued,
                     Error *err) MUST_CHECK;

/* May what this key signed under this name be believed to be of an agent that could (capability: dump, drill) for that
 * database? For who reads what was signed before, not for who is there now: keys that the agent had before count, and
 * those of former_agents in coordinator.yaml, which somebody vouched for; revoked ones do not, nor does anybody else's.
 */
typedef enum AgentTrust { TRUST_YES, TRUST_UNKNOWN_KEY, TRUST_REVOKED_KEY, TRUST_NOT_ALLOWED } AgentTrust;
Status agents_trust(const Agents *agents, const char *name, const uint8_t key[32], const char *capability,
                    const char *database, AgentTrust *trust, Error *err) MUST_CHECK;
bool agent_may(const ConfigAgent *agent, const char *capability, const char *database);

/* For the agent's own session. ERR_TOO_MANY: it has a new one already, or it is much too early. */
Status agents_renew(Agents *agents, const Agent *agent, const char *request, Issued *issued, Error *err) MUST_CHECK;
Status agents_renewed(Agents *agents, const Agent *agent, const char *serial, Error *err) MUST_CHECK;

/* ERR_NOT_FOUND; ERR_CONFLICT: it is listed in coordinator.yaml; revoked before: fine, nothing happens. */
Status agents_revoke(Agents *agents, const char *name, const AgentsActor *actor, Error *err) MUST_CHECK;
void agents_tick(Agents *agents); /* every second: what runs out, or did so by a wrong clock */

const Authority *agents_authority(const Agents *agents); /* NULL without bus_tls */
/* The list of revocations as PEM, freed by the caller; NULL where there is no authority with a key. */
Status agents_revocations(const Agents *agents, char **pem, Error *err) MUST_CHECK;

#endif
