#include <string.h>

#include "common/base/cleanup.h"
#include "coordinator/state/state.h"

const AgentTransition agent_transitions[] = {
    {AGENT_INVITED, AGENT_EVENT_INVITE, AGENT_INVITED}, /* the token was lost: the new one replaces it */
    {AGENT_INVITED, AGENT_EVENT_ENROLL, AGENT_ENROLLED},
    {AGENT_INVITED, AGENT_EVENT_REVOKE, AGENT_REVOKED},
    {AGENT_INVITED, AGENT_EVENT_EXPIRE, AGENT_EXPIRED},

    {AGENT_ENROLLED, AGENT_EVENT_RENEW, AGENT_RENEWING},
    {AGENT_ENROLLED, AGENT_EVENT_REVOKE, AGENT_REVOKED},
    {AGENT_ENROLLED, AGENT_EVENT_EXPIRE, AGENT_EXPIRED},

    {AGENT_RENEWING, AGENT_EVENT_RENEW, AGENT_RENEWING}, /* the answer was lost */
    {AGENT_RENEWING, AGENT_EVENT_RENEWED, AGENT_ENROLLED},
    {AGENT_RENEWING, AGENT_EVENT_REVOKE, AGENT_REVOKED},
    {AGENT_RENEWING, AGENT_EVENT_EXPIRE, AGENT_EXPIRED},

    {AGENT_REVOKED, AGENT_EVENT_INVITE, AGENT_INVITED},

    {AGENT_EXPIRED, AGENT_EVENT_INVITE, AGENT_INVITED},
    {AGENT_EXPIRED, AGENT_EVENT_REVOKE, AGENT_REVOKED},
    /* It was the clock that was wrong. */
    {AGENT_EXPIRED, AGENT_EVENT_TOKEN_LASTS, AGENT_INVITED},
    {AGENT_EXPIRED, AGENT_EVENT_CERTIFICATE_LASTS, AGENT_ENROLLED},
};
const size_t agent_transition_count = ARRAY_SIZE(agent_transitions);

static const char *const agent_state_names[AGENT_STATE_COUNT] = {
    [AGENT_INVITED] = "invited", [AGENT_ENROLLED] = "enrolled", [AGENT_RENEWING] = "renewing",
    [AGENT_REVOKED] = "revoked", [AGENT_EXPIRED] = "expired",
};

bool agent_walk(AgentState *state, AgentEvent event) {
  for (size_t i = 0; i < agent_transition_count; i++) {
    if (agent_transitions[i].from == *state && agent_transitions[i].event == event) {
      *state = agent_transitions[i].to;
      return true;
    }
  }
  return false;
}

bool agent_state_admitted(AgentState state) {
  return state == AGENT_ENROLLED || state == AGENT_RENEWING;
}

const char *agent_state_name(AgentState state) {
  return (unsigned)state < AGENT_STATE_COUNT ? agent_state_names[state] : "unknown";
}

bool agent_state_from_name(const char *name, AgentState *state) {
  for (int i = 0; i < AGENT_STATE_COUNT; i++) {
    if (strcmp(agent_state_names[i], name) == 0) {
      *state = (AgentState)i;
      return true;
    }
  }
  return false;
}
