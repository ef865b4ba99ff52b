#include "agent/jobs/prune.h"

#include "agent/jobs/job.h"
#include "common/base/cleanup.h"

enum { PREFIXES_MOST = 64 };

static Status check(void *user, uint64_t removed, uint64_t total, Error *err) {
  const JobContext *context = user;
  Pgseal__JobProgress progress = PGSEAL__JOB_PROGRESS__INIT;
  progress.phase = (char *)"pruning";
  progress.bytes = (int64_t)removed;
  progress.bytes_total = (int64_t)total;
  job_progress(context, &progress, false);
  return job_check(context, err);
}

/* The coordinator says what, but this agent's key may delete: it takes nothing for granted. */
static Status check_spec(const Pgseal__Job *job, Error *err) {
  const Pgseal__PruneSpec *spec = job->prune;
  if (!spec || spec->n_prefixes == 0 || spec->n_prefixes > PREFIXES_MOST)
    return error_set(err, ERR_PROTOCOL, "the coordinator did not say what to prune");
  Status status = STATUS_OK;
  for (size_t i = 0; i < spec->n_prefixes && status == STATUS_OK; i++)
    status = prune_check_prefix(job->database, job->checkpoint_id, spec->prefixes[i], err);
  return status;
}

static void close_repository(Repository **repository) {
  repository_close(*repository);
}

Status prune_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(close_repository) Repository *repository = NULL;
  CLEANUP(json_decrefp) json_t *report = NULL;
  const PruneWatch watch = {check, (void *)context};
  if (!context->config->can_prune) {
    error_set(err, ERR_CONFIG, "this agent does not prune");
    error_remedy(err, "Give it the capability `prune` in %s, if its key may delete.", context->config->path);
    return err->status;
  }
  Status status = check_spec(context->job, err);
  if (status == STATUS_OK)
    status = agent_config_repository(context->config, &repository, err);
  if (status == STATUS_OK)
    status = prune_run(repository, (const char *const *)context->job->prune->prefixes, context->job->prune->n_prefixes,
                       &watch, &report, err);
  if (status == STATUS_OK)
    result->report_json = json_dumps(report, JSON_COMPACT);
  return status;
}
