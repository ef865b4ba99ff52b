#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { STREAM_CHUNK = 256 << 10, STREAM_JOBS_MAX = 24 };

/* The archive on its way from the segments into pg_restore. */
typedef struct DrillStream {
  DrillRun *run;
  Buffer head; /* header and TOC, until both are whole */
  bool started, open;
  DrillTool tool;
} DrillStream;

static void stream_release(DrillStream *stream) {
  buffer_release(&stream->head);
  drill_tool_release(&stream->tool);
}

static void stream_progress(void *user, const FingerprintProgress *progress) {
  DrillRun *run = user;
  run->progress.tables_done = progress->tables_done;
  run->progress.tables_total = progress->tables_total;
  run->progress.rows = progress->rows;
  text_clean(progress->table ? progress->table : "", run->progress_table, sizeof run->progress_table);
  drill_report(run, false);
}

static Status stream_start(DrillStream *stream, const ArchiveToc *toc, Error *err) {
  DrillRun *run = stream->run;
  Status status = drill_prepare(run, toc, err);
  if (status != STATUS_OK)
    return status;
  run->toc_path = memory_format("%s/toc.dump", run->context->scratch);
  status = file_write_atomic(run->toc_path, 0600, stream->head.data, (size_t)toc->size, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *dbname = drill_dbname(run->maintenance);
  /* without --verbose it does not say which entry an error is of */
  const char *arguments[] = {
      "pg_restore", "--verbose", "--format=custom", "--create", "--section=pre-data", "--section=data", dbname, NULL};
  status = drill_tool_start(run, &stream->tool, arguments, true, false, err);
  stream->started = stream->open = status == STATUS_OK;
  return status;
}

/* Fingerprints what was read, then hands it on: before the TOC is whole there is nobody to hand it to. */
static Status stream_chunk(DrillStream *stream, const uint8_t *data, size_t size, Error *err) {
  DrillRun *run = stream->run;
  Status status = fingerprint_builder_feed(run->builder, data, size, err);
  if (status != STATUS_OK)
    return status;
  run->progress.bytes += (int64_t)size;
  if (stream->started)
    return drill_tool_write(run, &stream->tool, data, size, &stream->open, err);
  buffer_append(&stream->head, data, size);
  const ArchiveToc *toc = fingerprint_builder_toc(run->builder);
  if (!toc)
    return STATUS_OK;
  status = stream_start(stream, toc, err);
  if (status == STATUS_OK)
    status = drill_tool_write(run, &stream->tool, stream->head.data, stream->head.size, &stream->open, err);
  buffer_release(&stream->head);
  return status;
}

static Status stream_segments(DrillStream *stream, Error *err) {
  CLEANUP(drill_source_close) DrillSource *source = NULL;
  Status status = drill_source_open(stream->run, &source, err);
  while (status == STATUS_OK) {
    const Buffer *plain = NULL;
    status = drill_source_next(source, &plain, err);
    if (status == STATUS_OK && !plain)
      break;
    for (size_t at = 0; status == STATUS_OK && at < plain->size; at += STREAM_CHUNK) {
      size_t size = plain->size - at < STREAM_CHUNK ? plain->size - at : STREAM_CHUNK;
      status = stream_chunk(stream, plain->data + at, size, err);
    }
  }
  if (status != STATUS_OK)
    return status;
  status = fingerprint_builder_finish(stream->run->builder, &stream->run->source, err);
  stream->run->source_whole = status == STATUS_OK;
  return status;
}

Status drill_restore_data(DrillRun *run, Error *err) {
  CLEANUP(stream_release) DrillStream stream = {.run = run};
  FingerprintHooks hooks = {.user = run, .progress = stream_progress};
  run->builder = fingerprint_builder_new(&hooks);
  Status status = stream_segments(&stream, err);
  int exit_code = 0;
  if (status == STATUS_OK && stream.started)
    status = drill_tool_wait(run, &stream.tool, &exit_code, err);
  if (status != STATUS_OK)
    return status;
  return drill_restore_verdict(run, &stream.tool, exit_code, err);
}

static int restore_jobs(const DrillRun *run) {
  const DrillConfig *config = &run->context->config->drill;
  long jobs = config->jobs > 0 ? config->jobs : sysconf(_SC_NPROCESSORS_ONLN);
  return jobs < 1 ? 1 : jobs > STREAM_JOBS_MAX ? STREAM_JOBS_MAX : (int)jobs;
}

Status drill_restore_indexes(DrillRun *run, Error *err) {
  CLEANUP(drill_tool_release) DrillTool tool = {0};
  CLEANUP_FREE char *dbname = drill_dbname(run->database_name);
  CLEANUP_FREE char *jobs = memory_format("--jobs=%d", restore_jobs(run));
  const char *arguments[] = {"pg_restore", "--verbose", "--format=custom", "--section=post-data",
                             jobs,         dbname,      run->toc_path,     NULL};
  int exit_code = 0;
  *run->progress_table = '\0';
  Status status = drill_tool_start(run, &tool, arguments, false, false, err);
  if (status == STATUS_OK)
    status = drill_tool_wait(run, &tool, &exit_code, err);
  if (status != STATUS_OK)
    return status;
  return drill_restore_verdict(run, &tool, exit_code, err);
}
