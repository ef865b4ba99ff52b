/* Whose old signatures count. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "coordinator/agents/internal.h"

bool agent_may(const ConfigAgent *agent, const char *capability, const char *database) {
  bool capable = false, wanted = false;
  for (size_t i = 0; i < agent->capability_count; i++)
    capable = capable || strcmp(agent->capabilities[i], capability) == 0;
  for (size_t i = 0; i < agent->database_count; i++)
    wanted = wanted || text_glob(agent->databases[i], database);
  return capable && wanted;
}

static bool is(const ConfigAgent *agent, const char *name, const uint8_t key[PUBLIC_KEY_SIZE]) {
  return strcmp(agent->name, name) == 0 && memcmp(agent->key, key, PUBLIC_KEY_SIZE) == 0;
}

static AgentTrust judge(const ConfigAgent *agent, const char *capability, const char *database) {
  return agent_may(agent, capability, database) ? TRUST_YES : TRUST_NOT_ALLOWED;
}

/* A key that the ledger knows of: of an agent that is, or was, invited. */
static Status known_to_ledger(const Agents *agents, const Agent *agent, const uint8_t key[PUBLIC_KEY_SIZE],
                              const char *capability, const char *database, AgentTrust *trust, Error *err) {
  char hex[PUBLIC_KEY_HEX_SIZE];
  CLEANUP_FREE char *owner = NULL;
  bool revoked = false;
  text_hex(key, PUBLIC_KEY_SIZE, hex);
  Status status = ledger_signing_key_get(agents->ledger, hex, &owner, &revoked, err);
  if (status != STATUS_OK || !owner || strcmp(owner, agent->who.name) != 0)
    return status;
  *trust = revoked ? TRUST_REVOKED_KEY : judge(&agent->who, capability, database);
  return STATUS_OK;
}

Status agents_trust(const Agents *agents, const char *name, const uint8_t key[32], const char *capability,
                    const char *database, AgentTrust *trust, Error *err) {
  *trust = TRUST_UNKNOWN_KEY;
  for (size_t i = 0; i < agents->config->former_agent_count; i++) {
    const ConfigAgent *former = &agents->config->former_agents[i];
    if (is(former, name, key) && (*trust = judge(former, capability, database)) == TRUST_YES)
      return STATUS_OK;
  }
  const Agent *agent = agents_find(agents, name);
  if (!agent)
    return STATUS_OK;
  if (!agent->listed)
    return known_to_ledger(agents, agent, key, capability, database, trust, err);
  if (is(&agent->who, name, key))
    *trust = judge(&agent->who, capability, database);
  return STATUS_OK;
}
