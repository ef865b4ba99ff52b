#include "agent/jobs/drill.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"

typedef struct DrillStep {
  DrillStage stage;
  const char *phase;
  Status (*run)(DrillRun *run, Error *err);
} DrillStep;

static Status drill_start(DrillRun *run, Error *err) {
  Status status = drill_await_start(run, err);
  if (status == STATUS_OK)
    status = drill_check_room(run, err);
  return status == STATUS_OK ? drill_cluster_start(run, err) : status;
}

static Status drill_restore(DrillRun *run, Error *err) {
  Status status = drill_restore_data(run, err);
  /* an issue ends the drill, once it is known that the archive was read as it was written */
  if (run->source_whole) {
    Error corrupt;
    Status checked = drill_manifest_check_all(run, &corrupt);
    if (checked != STATUS_OK) {
      *err = corrupt;
      return checked;
    }
  }
  return status;
}

static Status drill_dump_copy(DrillRun *run, Error *err) {
  Status status = run->tamper ? run->tamper(run, err) : STATUS_OK;
  return status == STATUS_OK ? drill_redump(run, err) : status;
}

/* Two major versions' dumps of the same are never the same: what that means is the trial's to say. */
static Status drill_hold_against(DrillRun *run, Error *err) {
  return run->forward_major ? drill_differences(run, err) : drill_compare(run, err);
}

static const DrillStep steps[] = {
    {DRILL_STAGE_PREPARE, "preparing", drill_start},        {DRILL_STAGE_ROLES, "preparing", drill_roles},
    {DRILL_STAGE_RESTORE, "restoring", drill_restore},      {DRILL_STAGE_INDEX, "indexing", drill_restore_indexes},
    {DRILL_STAGE_ASSERT, "asserting", drill_assert},        {DRILL_STAGE_REDUMP, "dumping", drill_dump_copy},
    {DRILL_STAGE_COMPARE, "comparing", drill_hold_against},
};

Status drill_walk(DrillRun *run, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < ARRAY_SIZE(steps); i++) {
    drill_stage(run, steps[i].stage, steps[i].phase);
    status = steps[i].run(run, err);
  }
  drill_stage_end(run);
  return status;
}

/* A checkpoint is condemned under its manifest's name, so the dump has to end first; the manifest itself may be what
 * is wrong. */
static Status drill_condemn(DrillRun *run, const Error *failure, Pgseal__DrillResult **result, Error *err) {
  Error unread;
  Status status = drill_await_manifest(run, &unread);
  if (!run->stored || status == ERR_CANCELED || status == ERR_BUDGET_EXCEEDED) {
    *err = unread;
    return status;
  }
  status = drill_proof(run, failure, result, err);
  if (status != STATUS_OK)
    return status;
  *err = *failure;
  return failure->status;
}

static Status drill_conclude(DrillRun *run, Status status, Pgseal__DrillResult **result, Error *err) {
  if (status == STATUS_OK)
    return drill_proof(run, NULL, result, err);
  if (error_outcome(status) != OUTCOME_FAILED)
    return status;
  Error failure = *err;
  return drill_condemn(run, &failure, result, err);
}

static Status drill_bare(DrillRun *run, Error *err) {
  if (strcmp(run->spec->kind, "bare") != 0)
    return STATUS_OK;
  if (!run->context->config->bare)
    return error_set(err, ERR_CONFIG, "this agent is not bare: what it proves says nothing of one that is");
  drill_note(run, "drilled bare: by an agent with nothing but the repository and a key");
  return STATUS_OK;
}

Status drill_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(drill_run_release) DrillRun run = {0};
  Status status = drill_run_open(&run, context, context->job->drill, err);
  if (status == STATUS_OK)
    status = drill_run_load_proof_keys(&run, err);
  if (status == STATUS_OK)
    status = drill_bare(&run, err);
  while (status == STATUS_OK) {
    status = drill_walk(&run, err);
    if (!run.moved) {
      status = drill_conclude(&run, status, &result->drill, err);
      if (!run.moved)
        break;
    }
    log_info("the dump is tried again; the drill starts over", "prefix", run.prefix, NULL);
    drill_run_reset(&run);
    status = STATUS_OK;
  }
  drill_stages_tell(&run, result);
  return status;
}
