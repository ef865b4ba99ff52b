/*
 * Supervisor: one child process per job, and nothing of it left when it ends.
 *
 * A task's life: RUNNING (the child works) -> CLEANING (it ended; containers reaped, scratch removed, the result
 * spooled, on uv's thread pool) -> its result is handed to `finished`. A task whose lease was lost is killed and leaves
 * no result. Loop thread only.
 */
#ifndef PGSEAL_AGENT_SUPERVISOR_SUPERVISOR_H
#define PGSEAL_AGENT_SUPERVISOR_SUPERVISOR_H

#include <uv.h>

#include "agent/config.h"
#include "proto/pgseal.pb-c.h"

typedef struct Supervisor Supervisor;

typedef struct SupervisorEvents {
  void *user;
  void (*progress)(void *user, const char *job_id); /* there is news of a job */
  /* A rehearsal's frame for its client; the callee's (pgseal__tunnel_frame__free_unpacked). */
  void (*tunnel)(void *user, const char *job_id, Pgseal__TunnelFrame *frame);
  /* A job ended; result is the callee's (pgseal__result__free_unpacked), already spooled. NULL: dropped, its lease was
   * lost. */
  void (*finished)(void *user, const char *job_id, Pgseal__Result *result);
} SupervisorEvents;

/* Prepares <data> (0700), takes its lock (a second agent on it is ERR_CONFLICT), reaps what a killed predecessor left.
 */
Status supervisor_open(uv_loop_t *loop, const AgentConfig *config, const SupervisorEvents *events, Supervisor **out,
                       Error *err) MUST_CHECK;

/* Starts a job; takes it, also on failure (which ends in `finished` with an errored result). */
void supervisor_start(Supervisor *supervisor, Pgseal__Job *job);
void supervisor_follow(Supervisor *supervisor, const char *job_id,
                       const Pgseal__Follow *follow); /* passed on if it changed */
void supervisor_tunnel(Supervisor *supervisor, const char *job_id,
                       const Pgseal__TunnelFrame *frame);               /* from its client */
void supervisor_cancel(Supervisor *supervisor, const char *job_id);     /* asks; kills after a grace */
void supervisor_lease_lost(Supervisor *supervisor, const char *job_id); /* kills at once, no result */
void supervisor_stop(Supervisor *supervisor); /* kills all; their results say that the agent is stopping */

size_t supervisor_count(const Supervisor *supervisor, Pgseal__JobKind kind); /* running or cleaning */
size_t supervisor_total(const Supervisor *supervisor);
/* One by one: index < supervisor_total. Borrowed until the loop runs again. */
const Pgseal__Job *supervisor_job(const Supervisor *supervisor, size_t index);
const Pgseal__JobProgress *supervisor_progress(const Supervisor *supervisor,
                                               const char *job_id); /* the last; NULL if none */

/* Call when no task is left. */
void supervisor_close(Supervisor *supervisor);

#endif
