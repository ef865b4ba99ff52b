#include "coordinator/state/state.h"

#include <string.h>

#include "common/base/cleanup.h"

const JobTransition job_transitions[] = {
    {JOB_QUEUED, JOB_EVENT_LEASE, JOB_LEASED},
    {JOB_QUEUED, JOB_EVENT_GIVE_UP, JOB_ERRORED}, /* nobody could take it */
    {JOB_QUEUED, JOB_EVENT_CANCEL, JOB_CANCELED},

    {JOB_LEASED, JOB_EVENT_PROGRESS, JOB_RUNNING},
    {JOB_LEASED, JOB_EVENT_DONE, JOB_DONE},
    {JOB_LEASED, JOB_EVENT_FAILED, JOB_FAILED},
    {JOB_LEASED, JOB_EVENT_ERRORED, JOB_ERRORED},
    {JOB_LEASED, JOB_EVENT_RETRY, JOB_QUEUED},
    {JOB_LEASED, JOB_EVENT_GIVE_UP, JOB_ERRORED},
    {JOB_LEASED, JOB_EVENT_CANCEL, JOB_CANCELED},

    {JOB_RUNNING, JOB_EVENT_PROGRESS, JOB_RUNNING},
    {JOB_RUNNING, JOB_EVENT_DONE, JOB_DONE},
    {JOB_RUNNING, JOB_EVENT_FAILED, JOB_FAILED},
    {JOB_RUNNING, JOB_EVENT_ERRORED, JOB_ERRORED},
    {JOB_RUNNING, JOB_EVENT_RETRY, JOB_QUEUED},
    {JOB_RUNNING, JOB_EVENT_GIVE_UP, JOB_ERRORED},
    {JOB_RUNNING, JOB_EVENT_CANCEL, JOB_CANCELED},
};
const size_t job_transition_count = ARRAY_SIZE(job_transitions);

static const char *const job_state_names[JOB_STATE_COUNT] = {
    [JOB_QUEUED] = "queued", [JOB_LEASED] = "leased",   [JOB_RUNNING] = "running",   [JOB_DONE] = "done",
    [JOB_FAILED] = "failed", [JOB_ERRORED] = "errored", [JOB_CANCELED] = "canceled",
};

bool job_walk(JobState *state, JobEvent event) {
  for (size_t i = 0; i < job_transition_count; i++) {
    if (job_transitions[i].from == *state && job_transitions[i].event == event) {
      *state = job_transitions[i].to;
      return true;
    }
  }
  return false;
}

bool job_state_final(JobState state) {
  return state == JOB_DONE || state == JOB_FAILED || state == JOB_ERRORED || state == JOB_CANCELED;
}

const char *job_state_name(JobState state) {
  return (unsigned)state < JOB_STATE_COUNT ? job_state_names[state] : "unknown";
}

bool job_state_from_name(const char *name, JobState *state) {
  for (int i = 0; i < JOB_STATE_COUNT; i++) {
    if (strcmp(job_state_names[i], name) == 0) {
      *state = (JobState)i;
      return true;
    }
  }
  return false;
}
