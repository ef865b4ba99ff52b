#include "agent/jobs/dump.h"

#include "common/base/cleanup.h"

static const char *const stage_names[DUMP_STAGE_COUNT] = {"preflight", "snapshot", "roles",
                                                          "dumping",   "storing",  "counting"};

/* Everything of the agent's own that could be missing is looked at before the source is bothered. */
static Status open_run(DumpRun *run, const JobContext *context, Error *err) {
  const AgentConfig *config = context->config;
  Status status = dump_run_init(run, context, err);
  if (status == STATUS_OK)
    status = recipients_load(config->recipients, config->recipient_count, &run->recipients, err);
  if (status == STATUS_OK)
    status = signing_key_load(config->signing_key, &run->signer, err);
  if (status == STATUS_OK)
    status = job_repository(context, &run->repository, err);
  return status;
}

static Status prepare(DumpRun *run, Error *err) {
  dump_run_phase(run, "preflight");
  stages_begin(&run->stages, DUMP_STAGE_PREFLIGHT);
  Status status = dump_preflight(run, err);
  stages_end(&run->stages, DUMP_STAGE_PREFLIGHT);
  if (status != STATUS_OK)
    return status;
  stages_begin(&run->stages, DUMP_STAGE_SNAPSHOT);
  status = dump_snapshot_take(run, err);
  stages_end(&run->stages, DUMP_STAGE_SNAPSHOT);
  return status;
}

/* pg_dump starts before anything else is done with the snapshot: until it has its own locks, a migration that waits
 * for ours makes it wait, too. */
static Status copy(DumpRun *run, DumpStream *stream, ManifestSegment *roles, Error *err) {
  dump_run_phase(run, "dumping");
  CLEANUP(process_release) Process process = {0};
  CLEANUP(dump_counts_stop) DumpCounts *counts = NULL;
  Status status = dump_stream_start(run, &process, err);
  if (status == STATUS_OK)
    status = dump_omissions_find(run, err);
  if (status == STATUS_OK)
    status = dump_counts_start(run, false, &counts, err);
  stages_begin(&run->stages, DUMP_STAGE_ROLES);
  if (status == STATUS_OK && run->database->roles)
    status = dump_roles(run, roles, err);
  stages_end(&run->stages, DUMP_STAGE_ROLES);
  if (status == STATUS_OK)
    status = dump_stream_run(run, &process, stream, err);
  if (status != STATUS_OK) {
    process_kill(&process); /* before the counting threads are waited for */
    return status;
  }
  stages_begin(&run->stages, DUMP_STAGE_COUNTING);
  status = dump_counts_wait(counts, err);
  stages_end(&run->stages, DUMP_STAGE_COUNTING);
  return status;
}

static Status dump(DumpRun *run, Pgseal__JobResult *result, Error *err) {
  Status status = prepare(run, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(dump_stream_release) DumpStream stream = {0};
  ManifestSegment roles = {0};
  status = copy(run, &stream, &roles, err);
  if (status == STATUS_OK)
    status = dump_counts_check(run, &stream.fingerprint, err);
  if (status == STATUS_OK)
    status = dump_run_check(run, err);
  if (status == STATUS_OK)
    status = dump_manifest_put(run, &stream, &roles, &result->dump, err);
  if (status == STATUS_OK)
    dump_run_report(run, true);
  return status;
}

/* A failed attempt leaves what it stored: nothing is overwritten, and the next attempt has a prefix of its own. */
Status dump_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(dump_run_release) DumpRun run = {0};
  Status status = open_run(&run, context, err);
  if (status == STATUS_OK)
    status = dump(&run, result, err);
  stages_tell(&run.stages, stage_names, DUMP_STAGE_COUNT, &result->stages_json, &result->stages_begun_json);
  return status;
}
