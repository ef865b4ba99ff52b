#include "agent/jobs/dump.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

static double seconds_since(int64_t started_us) {
  return (double)(clock_monotonic_us() - started_us) / 1e6;
}

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
  int64_t started = clock_monotonic_us();
  Status status = dump_preflight(run, err);
  run->stages.preflight = seconds_since(started);
  if (status != STATUS_OK)
    return status;
  started = clock_monotonic_us();
  status = dump_snapshot_take(run, err);
  run->stages.snapshot = seconds_since(started);
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
  int64_t started = clock_monotonic_us();
  if (status == STATUS_OK && run->database->roles)
    status = dump_roles(run, roles, err);
  run->stages.roles = seconds_since(started);
  if (status == STATUS_OK)
    status = dump_stream_run(run, &process, stream, err);
  if (status != STATUS_OK) {
    process_kill(&process); /* before the counting threads are waited for */
    return status;
  }
  started = clock_monotonic_us();
  status = dump_counts_wait(counts, err);
  run->stages.counting = seconds_since(started); /* what it took beyond the dump itself */
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
  result->stages_json = dump_stages_json(&run.stages);
  return status;
}
