/* The agent's certificate for the bus: what it shows, and when it has to be renewed. Loop thread only. */
#ifndef PGSEAL_AGENT_SESSION_IDENTITY_H
#define PGSEAL_AGENT_SESSION_IDENTITY_H

#include "agent/config.h"
#include "common/bus/bus.h"
#include "common/crypto/authority.h"

typedef struct Identity { /* authority NULL: the agent has none, its coordinators are on loopback */
  char *authority, *pem;  /* owned; pem: key and certificate */
  CertificateFacts facts;
} Identity;

/* Of the files that agent.tls names. ERR_CONFIG: it ran out; ERR_KEY_UNREADABLE. Fine without agent.tls. */
Status identity_load(const AgentConfig *config, Identity *out, Error *err) MUST_CHECK;
void identity_release(Identity *identity);
BusTls identity_tls(const Identity *identity); /* points into it */
/* When two thirds of its time are over (wall clock, microseconds). */
int64_t identity_renew_us(const Identity *identity);
/* Writes key and certificate over the file, whole, and takes them. ERR_PROTOCOL: they are of somebody else. */
Status identity_replace(Identity *identity, const AgentConfig *config, const char *key, const char *certificate,
                        Error *err) MUST_CHECK;

#endif
