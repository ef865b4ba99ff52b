#include <string.h>

#include "agent/jobs/dump.h"
#include "agent/jobs/dump_pipeline.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { STREAM_READ_SIZE = 1 << 20 };

static void free_builder(FingerprintBuilder **builder) {
  fingerprint_builder_free(*builder);
}

void dump_stream_release(DumpStream *stream) {
  fingerprint_release(&stream->fingerprint);
  free(stream->segments);
  *stream = (DumpStream){0};
}

/* What libpq has no environment variable for. No secret: argv is for all to see. */
static char *keepalive_argument(const Conninfo *conninfo) {
  static const char *const keys[] = {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
                                     "tcp_user_timeout"};
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "--dbname=");
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    const char *value = conninfo_get(conninfo, keys[i]);
    if (value && *value && strspn(value, "0123456789") == strlen(value))
      buffer_append_format(&text, "%s=%s ", keys[i], value);
  }
  return buffer_steal_text(&text);
}

Status dump_stream_start(DumpRun *run, Process *process, Error *err) {
  CLEANUP_FREE char *connection = keepalive_argument(run->conninfo);
  CLEANUP_FREE char *snapshot = memory_format("--snapshot=%s", run->snapshot);
  CLEANUP_FREE char *lock_wait = memory_format("--lock-wait-timeout=%d", run->lock_timeout_ms);
  /* A role's own client_encoding setting must not convert the data. */
  CLEANUP_FREE char *encoding = memory_format("--encoding=%s", run->source.encoding);
  const char *arguments[] = {"pg_dump", "--format=custom", "--compress=0", "--no-sync", snapshot,
                             lock_wait, encoding,          connection,     NULL};
  return dump_tool_start(run, arguments, process, err);
}

static void note_progress(void *user, const FingerprintProgress *progress) {
  DumpRun *run = user;
  dump_run_table(run, progress->table ? progress->table : "");
  pthread_mutex_lock(&run->lock);
  run->progress.tables_done = progress->tables_done;
  if (progress->tables_total > 0)
    run->progress.tables_total = progress->tables_total;
  run->progress.rows = progress->rows;
  pthread_mutex_unlock(&run->lock);
  dump_run_report(run, false);
}

static void note_bytes(DumpRun *run, size_t more) {
  pthread_mutex_lock(&run->lock);
  run->progress.bytes += (int64_t)more;
  if (run->progress.bytes > run->progress.bytes_total)
    run->progress.bytes_total = run->progress.bytes; /* it was but an estimate */
  pthread_mutex_unlock(&run->lock);
}

/* Called by the pipeline, in order. */
static void note_stored(void *user, size_t contiguous, uint64_t bytes) {
  DumpRun *run = user;
  pthread_mutex_lock(&run->lock);
  bool more = contiguous > run->progress.segments;
  bool first = more && run->progress.segments == 0;
  run->progress.segments = contiguous;
  run->progress.bytes_stored = run->roles_bytes + (int64_t)bytes;
  pthread_mutex_unlock(&run->lock);
  if (more)
    dump_run_report(run, first); /* a drill waits for the first one; later ones may wait for the next report */
}

static Status open_pipeline(DumpRun *run, DumpPipeline **out, Error *err) {
  const AgentConfig *config = run->context->config;
  DumpPipelineOptions options = {
      .store = {.repository = run->repository,
                .recipients = run->recipients,
                .zstd_level = config->zstd_level,
                .check = dump_run_check_hook,
                .user = run},
      .prefix = run->context->job->prefix,
      .workers = config->workers,
      .segment_size = (size_t)config->segment_mb << 20,
      .stored = note_stored,
      .user = run,
  };
  return dump_pipeline_open(&options, out, err);
}

/* pg_dump's bytes are read straight into the segment that they become part of, and fingerprinted there. */
static Status read_archive(DumpRun *run, Process *process, FingerprintBuilder *builder, DumpPipeline *pipeline,
                           Error *err) {
  for (bool toc_stored = false;;) {
    uint8_t *data = NULL;
    size_t size = 0, got = 0;
    Status status = dump_pipeline_space(pipeline, &data, &size, err);
    if (status == STATUS_OK)
      status = dump_tool_read(run, process, data, size < STREAM_READ_SIZE ? size : STREAM_READ_SIZE, &got, err);
    if (status == STATUS_OK && got > 0)
      status = fingerprint_builder_feed(builder, data, got, err);
    if (status != STATUS_OK || got == 0)
      return status;
    dump_pipeline_commit(pipeline, got);
    note_bytes(run, got);
    if (!toc_stored && fingerprint_builder_toc(builder)) {
      dump_pipeline_cut(pipeline); /* a drill can restore everything before the data from this first segment */
      toc_stored = true;
    }
  }
}

Status dump_stream_run(DumpRun *run, Process *process, DumpStream *out, Error *err) {
  FingerprintHooks hooks = {.user = run, .progress = note_progress};
  CLEANUP(free_builder) FingerprintBuilder *builder = fingerprint_builder_new(&hooks);
  CLEANUP(dump_pipeline_close) DumpPipeline *pipeline = NULL;
  CLEANUP(dump_stream_release) DumpStream stream = {0};
  Status status = open_pipeline(run, &pipeline, err);
  if (status != STATUS_OK)
    return status;
  stages_begin(&run->stages, DUMP_STAGE_DUMPING);
  status = read_archive(run, process, builder, pipeline, err);
  if (status != STATUS_OK) {
    process_kill(process); /* at once: the pipeline may still have to end what it has in hand */
    return status;
  }
  status = dump_tool_finish(process, "pg_dump", err);
  if (status == STATUS_OK)
    status = fingerprint_builder_finish(builder, &stream.fingerprint, err);
  if (status != STATUS_OK)
    return status;
  dump_tool_warnings(run, "pg_dump", buffer_text(&process->errors));
  stages_end(&run->stages, DUMP_STAGE_DUMPING);

  dump_run_phase(run, "storing");
  stages_begin(&run->stages, DUMP_STAGE_STORING);
  status = dump_pipeline_finish(pipeline, &stream.segments, &stream.segment_count, err);
  stages_end(&run->stages, DUMP_STAGE_STORING);
  if (status != STATUS_OK)
    return status;
  *out = stream;
  stream = (DumpStream){0};
  return STATUS_OK;
}
