#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/manifest/manifest.h"

Status work_load(Dispatch *dispatch, const char *checkpoint_id, Work *work, Error *err) {
  Work loaded = {0};
  Status status = ledger_checkpoint_get(dispatch->ledger, checkpoint_id, &loaded.checkpoint, err);
  if (status == STATUS_OK)
    status = ledger_job_list(dispatch->ledger, checkpoint_id, &loaded.jobs, &loaded.job_count, err);
  if (status == STATUS_OK && !work_dump(&loaded))
    status = error_set(err, ERR_CONFLICT, "the ledger has checkpoint %s without its dump job", checkpoint_id);
  if (status != STATUS_OK) {
    work_release(&loaded);
    return status;
  }
  *work = loaded;
  return STATUS_OK;
}

Status work_load_of(Dispatch *dispatch, const LedgerJob *found, Work *work, Error *err) {
  if (found->checkpoint_id)
    return work_load(dispatch, found->checkpoint_id, work, err);
  LedgerJob *job = memory_alloc(sizeof *job);
  Status status = ledger_job_get(dispatch->ledger, found->id, job, err);
  if (status != STATUS_OK) {
    free(job);
    return status;
  }
  *work = (Work){.checkpoint = {.database = memory_strdup(job->database)}, .jobs = job, .job_count = 1};
  return STATUS_OK;
}

Status work_save(Dispatch *dispatch, const Work *work, Error *err) {
  return work->checkpoint.id ? ledger_checkpoint_update(dispatch->ledger, &work->checkpoint, err) : STATUS_OK;
}

void work_release(Work *work) {
  checkpoint_release(&work->checkpoint);
  ledger_job_list_free(work->jobs, work->job_count);
  memset(work, 0, sizeof *work);
}

LedgerJob *work_job(Work *work, const char *job_id) {
  for (size_t i = 0; i < work->job_count; i++) {
    if (strcmp(work->jobs[i].id, job_id) == 0)
      return &work->jobs[i];
  }
  return NULL;
}

static LedgerJob *newest(Work *work, LedgerJobKind kind) {
  for (size_t i = work->job_count; i-- > 0;) {
    if (work->jobs[i].kind == kind)
      return &work->jobs[i];
  }
  return NULL;
}

LedgerJob *work_dump(Work *work) {
  return newest(work, LEDGER_JOB_DUMP);
}

LedgerJob *work_drill(Work *work) {
  return newest(work, LEDGER_JOB_DRILL);
}

bool job_held(const LedgerJob *job) {
  return job->state == JOB_LEASED || job->state == JOB_RUNNING;
}

void text_set(char **field, const char *value) {
  char *copy = value && value[0] ? memory_strdup(value) : NULL; /* first: value may be *field */
  free(*field);
  *field = copy;
}

static void set_error(char **code, char **message, char **remedy, char **object, const Error *cause) {
  text_set(code, cause ? error_code(cause->status) : NULL);
  text_set(message, cause ? cause->message : NULL);
  text_set(remedy, cause ? cause->remedy : NULL);
  text_set(object, cause ? cause->object : NULL);
}

void job_set_error(LedgerJob *job, const Error *cause) {
  set_error(&job->error_code, &job->error_message, &job->error_remedy, &job->error_object, cause);
}

void checkpoint_set_error(Checkpoint *c, const Error *cause) {
  set_error(&c->error_code, &c->error_message, &c->error_remedy, &c->error_object, cause);
}

void checkpoint_copy_error(Checkpoint *c, const LedgerJob *job) {
  text_set(&c->error_code, job->error_code);
  text_set(&c->error_message, job->error_message);
  text_set(&c->error_remedy, job->error_remedy);
  text_set(&c->error_object, job->error_object);
}

json_t *checkpoint_detail(Checkpoint *checkpoint) {
  if (!json_is_object(checkpoint->detail)) {
    json_decref(checkpoint->detail);
    checkpoint->detail = json_object();
  }
  return checkpoint->detail;
}

void checkpoint_set_prefix(Checkpoint *c) {
  CLEANUP_FREE char *prefix = manifest_prefix(c->database, c->id, c->dump_attempt);
  json_object_set_new(checkpoint_detail(c), "prefix", json_string(prefix));
}

char *drill_id_of(const LedgerJob *job) {
  return job->attempt <= 1 ? memory_strdup(job->id) : memory_format("%s-%d", job->id, job->attempt);
}
