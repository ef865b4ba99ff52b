#include "agent/jobs/job.h"

Status job_repository(const JobContext *context, Repository **out, Error *err) {
  const Pgseal__Lock *lock = context->job->lock;
  return agent_config_repository_locked(context->config, lock ? lock->mode : NULL, lock ? lock->days : 0, out, err);
}
