/*
 * Session: the agent's conversation with the coordinator.
 *
 *   JOINING --hello/challenge/authenticate/welcome--> JOINED --"unauthorized"--> JOINING
 *
 * While JOINED: spooled results are sent first; then one long poll at a time while there are free slots; progress of
 * every job at least each third of a lease, sooner when there is news; results until acknowledged. Loop thread only.
 */
#ifndef PGSEAL_AGENT_SESSION_SESSION_H
#define PGSEAL_AGENT_SESSION_SESSION_H

#include <uv.h>

#include "agent/config.h"
#include "agent/supervisor/supervisor.h"

typedef struct Session Session;

/* Owns its supervisor. ERR_CONFLICT, ERR_KEY_UNREADABLE, ... if it cannot start; an absent coordinator is waited for.
 */
Status session_open(uv_loop_t *loop, const AgentConfig *config, Session **out, Error *err) MUST_CHECK;
/* Takes no more jobs, stops the running ones, hands in their results if a coordinator listens, for `grace_ms` at most;
 * then closes everything: the loop runs out. If cleaning up behind the jobs hangs, uv_stop ends the loop 4 s later. */
void session_stop(Session *session, int grace_ms);

#endif
