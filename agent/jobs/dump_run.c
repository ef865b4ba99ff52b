#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { OMISSION_TEXT_SIZE = 4096 };

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
