/*
 * A job child: `pgseal-agent job --config FILE`, one process per job, straight-line blocking code. It reads one
 * Job frame from stdin, then Follow and cancel frames as they come; it writes Progress frames and one Result
 * frame to stdout; it logs to stderr. End of file on stdin means the agent is gone: the process exits at once
 * (and PR_SET_PDEATHSIG sees to it too). Everything it leaves in `scratch` is removed by the supervisor.
 *
 * job_run (child side) starts a reader thread that keeps JobContext's follow/cancel state, under its lock.
 */
#ifndef PGSEAL_AGENT_JOBS_JOB_H
#define PGSEAL_AGENT_JOBS_JOB_H

#include <pthread.h>

#include "agent/config.h"
#include "proto/pgseal.pb-c.h"

typedef struct JobContext {
  const AgentConfig *config;
  const Pgseal__Job *job;
  const char *scratch; /* private directory of this job, 0700, exists: <data>/scratch/<job-id> */
  struct JobChannel *channel;
} JobContext;

/* What the drill follows. Strings are copied out and freed by job_follow_release. */
typedef struct JobFollow {
  int state; /* Pgseal__Follow__State */
  uint64_t segments;
  bool roles_stored;
  char *manifest_sha256, *bootstrap_role, *database_name, *prefix;
  int server_major;
} JobFollow;

/* Opens the repository, to store what the job makes, locked as the job wants it. */
Status job_repository(const JobContext *context, Repository **out, Error *err) MUST_CHECK;
/* Any thread. Sends a progress frame, at most one per 200 ms unless `force`. */
void job_progress(const JobContext *context, const Pgseal__JobProgress *progress, bool force);
/* Any thread. STATUS_OK, or ERR_CANCELED once cancel was asked for, or ERR_BUDGET_EXCEEDED past budgets.total_seconds.
 * Call in every loop. */
Status job_check(const JobContext *context, Error *err) MUST_CHECK;
/* Waits up to timeout_ms for the follow state to differ from *last (serial number, start with 0), then copies it. */
Status job_follow_wait(const JobContext *context, uint64_t *last, int timeout_ms, JobFollow *out,
                       Error *err) MUST_CHECK;
void job_follow_release(JobFollow *follow);

/* Rehearsals: from here on what their client sends is kept; *fd (the channel's) can be read from when there is some. */
Status job_tunnel_open(const JobContext *context, int *fd, Error *err) MUST_CHECK;
/* The next frame, freed by the caller; NULL: none now. ERR_PROTOCOL: there were more than a client may send. */
Status job_tunnel_take(const JobContext *context, Pgseal__TunnelFrame **out, Error *err) MUST_CHECK;
Status job_tunnel_send(const JobContext *context, const Pgseal__TunnelFrame *frame, Error *err) MUST_CHECK;

/* The jobs. Fill *result's dump/drill/report_json member and stages (allocated with malloc; freed by protobuf-c's
 * free_unpacked).
 * A returned error becomes the result's outcome by error_outcome(). */
Status dump_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status drill_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status trial_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status plan_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status restore_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status prune_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status inventory_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status rehearse_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) MUST_CHECK;

int job_main(const char *config_path); /* the child's main; returns its exit code */

#endif
