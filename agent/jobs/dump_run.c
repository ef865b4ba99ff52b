#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { OMISSION_TEXT_SIZE = 4096, DEFAULT_LOCK_TIMEOUT_SECONDS = 30 };

static int lock_timeout_ms(const Pgseal__Job *job) {
  uint32_t seconds = job->budgets ? job->budgets->lock_timeout_seconds : 0;
  if (seconds == 0)
    seconds = DEFAULT_LOCK_TIMEOUT_SECONDS;
  return seconds < INT_MAX / 1000 ? (int)seconds * 1000 : INT_MAX;
}

void dump_run_prepare(DumpRun *run, const JobContext *context, const AgentDatabase *database) {
  run->context = context;
  run->database = database;
  run->application = "pgseal dump";
  run->large_objects = -1;
  run->started_us = clock_wall_us();
  stages_open(&run->stages);
  run->lock_timeout_ms = lock_timeout_ms(context->job);
  pthread_mutex_init(&run->lock, NULL);
  pgseal__job_progress__init(&run->progress);
}

Status dump_run_init(DumpRun *run, const JobContext *context, Error *err) {
  dump_run_prepare(run, context, agent_config_database(context->config, context->job->database));
  if (run->database)
    return STATUS_OK;
  error_set(err, ERR_NOT_FOUND, "this agent has no database \"%s\"", context->job->database);
  error_remedy(err, "Add it to `databases` of %s, or take it from the agent's list in coordinator.yaml.",
               context->config->path);
  return err->status;
}

void dump_source_release(DumpSource *source) {
  free(source->server_version);
  free(source->database_name);
  free(source->encoding);
  free(source->role);
  free(source->bootstrap_role);
  free(source->collation_version);
  free(source->collation_provider);
  free(source->collation);
  free(source->collation_actual);
  free(source->tools_dir);
  free(source->tools_version);
  *source = (DumpSource){0};
}

void dump_run_release(DumpRun *run) {
  for (size_t i = 0; i < run->session_count; i++)
    postgres_close(&run->sessions[i]);
  environment_free(run->environment);
  conninfo_free(run->conninfo);
  signing_key_free(run->signer);
  recipients_free(run->recipients);
  repository_close(run->repository);
  dump_source_release(&run->source);
  dump_tables_release(&run->tables);
  for (size_t i = 0; i < run->omission_count; i++) {
    free(run->omissions[i].kind);
    free(run->omissions[i].object);
    free(run->omissions[i].detail);
  }
  free(run->omissions);
  free(run->snapshot);
  free(run->lsn);
  if (run->context)
    pthread_mutex_destroy(&run->lock);
}

void dump_run_fail(DumpRun *run, const Error *err) {
  pthread_mutex_lock(&run->lock);
  if (!run->failed) {
    run->failed = true;
    run->failure = *err;
  }
  pthread_mutex_unlock(&run->lock);
}

Status dump_run_check(DumpRun *run, Error *err) {
  Status status = STATUS_OK;
  pthread_mutex_lock(&run->lock);
  if (run->failed) {
    *err = run->failure;
    status = err->status;
  }
  pthread_mutex_unlock(&run->lock);
  return status != STATUS_OK ? status : job_check(run->context, err);
}

Status dump_run_check_hook(void *run, Error *err) {
  return dump_run_check(run, err);
}

void dump_run_phase(DumpRun *run, const char *phase) {
  pthread_mutex_lock(&run->lock);
  run->progress.phase = (char *)phase; /* protobuf-c has no const strings; nobody writes to it */
  job_progress(run->context, &run->progress, true);
  pthread_mutex_unlock(&run->lock);
}

void dump_run_table(DumpRun *run, const char *table) {
  pthread_mutex_lock(&run->lock);
  text_clean(table, run->progress_table, sizeof run->progress_table);
  run->progress.table = run->progress_table;
  pthread_mutex_unlock(&run->lock);
}

void dump_run_report(DumpRun *run, bool force) {
  pthread_mutex_lock(&run->lock);
  job_progress(run->context, &run->progress, force);
  pthread_mutex_unlock(&run->lock);
}

void dump_run_omit(DumpRun *run, const char *kind, const char *object, const char *detail) {
  char clean_object[OMISSION_TEXT_SIZE], clean_detail[OMISSION_TEXT_SIZE];
  text_clean(object, clean_object, sizeof clean_object);
  text_clean(detail, clean_detail, sizeof clean_detail);
  ManifestOmission omission = {memory_strdup(kind), memory_strdup(clean_object), memory_strdup(clean_detail)};
  ARRAY_PUSH(run->omissions, run->omission_count, omission);
}
