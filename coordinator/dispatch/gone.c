/* An agent was revoked, or its certificate ran out: what it holds goes to others, now. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/log.h"

static Status take_away(Dispatch *dispatch, const LedgerJob *found, const Error *cause, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = work_load_of(dispatch, found, &work, err);
  LedgerJob *job = status == STATUS_OK ? work_job(&work, found->id) : NULL;
  if (job && job_held(job) && job->fencing == found->fencing) /* another's end may have ended it */
    status = job_retry(&change, &work, job, cause, true, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

void dispatch_agent_changed(void *user, const Agent *agent) {
  Dispatch *dispatch = user;
  OpenJob *first;
  Error err, cause;
  if (agent_admitted(agent))
    return;
  Status status = open_jobs(dispatch, &first, &err);
  error_set(&cause, ERR_AGENT_LOST, "agent %s is %s", agent->who.name, agent_state_name(agent->row.state));
  error_object(&cause, "%s", agent->who.name);
  for (OpenJob *open = status == STATUS_OK ? first : NULL; open && status == STATUS_OK; open = open->after) {
    const LedgerJob *job = &open->job;
    if (!open->over && job_held(job) && job->agent && strcmp(job->agent, agent->who.name) == 0)
      status = take_away(dispatch, job, &cause, &err);
  }
  if (status != STATUS_OK) /* its leases run out all the same: it cannot renew them */
    log_failure(LOG_LEVEL_ERROR, "a job was not taken away at once", &err);
}
