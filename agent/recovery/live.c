#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { LIVE_READ_SIZE = 1 << 16, LIVE_SCHEMA_LIMIT = 1 << 30 };

const DumpTable *recovery_live_table(const RecoveryRun *run, const char *schema, const char *name) {
  const DumpTables *tables = &run->live.tables;
  for (size_t i = 0; i < tables->count; i++)
    if (strcmp(tables->items[i].name, name) == 0 && strcmp(tables->items[i].schema, schema) == 0)
      return &tables->items[i];
  return NULL;
}

static void free_arguments(char ***arguments) {
  for (char **argument = *arguments; argument && *argument; argument++)
    free(*argument);
  free(*arguments);
}

/* The same tool with the same settings as for the checkpoint (dump_stream.c). It locks every table that it is not told
 * to leave out, which needs SELECT: what may not be read must not keep the rest from being compared. */
static char **schema_arguments(const RecoveryRun *run) {
  static const char *const fixed[] = {"pg_dump", "--format=custom", "--compress=0", "--schema-only", "--no-sync"};
  const DumpRun *live = &run->live;
  char **list = NULL;
  size_t count = 0;
  for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
    ARRAY_PUSH(list, count, memory_strdup(fixed[i]));
  ARRAY_PUSH(list, count, memory_format("--lock-wait-timeout=%d", live->lock_timeout_ms));
  ARRAY_PUSH(list, count, memory_format("--encoding=%s", live->source.encoding));
  if (live->snapshot)
    ARRAY_PUSH(list, count, memory_format("--snapshot=%s", live->snapshot));
  for (size_t i = 0; i < live->tables.count; i++)
    if (!live->tables.items[i].readable && live->tables.items[i].relkind != 'S')
      ARRAY_PUSH(list, count, memory_format("--exclude-table=%s", live->tables.items[i].quoted));
  ARRAY_PUSH(list, count, NULL);
  return list;
}

Status recovery_schema_start(RecoveryRun *run, Process *process, Error *err) {
  CLEANUP(free_arguments) char **arguments = schema_arguments(run);
  return dump_tool_start(&run->live, (const char *const *)arguments, process, err);
}

Status recovery_schema_finish(RecoveryRun *run, Process *process, Error *err) {
  static const ArchiveCallbacks callbacks = {0};
  CLEANUP_FREE uint8_t *chunk = memory_alloc(LIVE_READ_SIZE);
  archive_index_free(run->now);
  run->now = NULL;
  archive_reader_free(run->reader);
  run->reader = archive_reader_new(&callbacks, NULL);
  uint64_t total = 0;
  size_t got = 0;
  Status status;
  while ((status = dump_tool_read(&run->live, process, chunk, LIVE_READ_SIZE, &got, err)) == STATUS_OK && got > 0) {
    total += got;
    if (total > LIVE_SCHEMA_LIMIT)
      return error_set(err, ERR_TOOL, "the live schema is larger than %d bytes", LIVE_SCHEMA_LIMIT);
    status = archive_reader_feed(run->reader, chunk, got, err);
    if (status != STATUS_OK)
      break;
  }
  if (status != STATUS_OK) {
    process_kill(process);
    return status;
  }
  status = dump_tool_finish(process, "pg_dump", err);
  if (status == STATUS_OK)
    status = archive_reader_finish(run->reader, err);
  if (status == STATUS_OK)
    run->now = archive_index_new(archive_reader_toc(run->reader));
  return status;
}

static Status write_line(void *user, const char *line, size_t size, Error *err) {
  const ArchiveSink *sink = user;
  return sink->write(sink->user, (const uint8_t *)line, size, err);
}

Status recovery_copy_out(RecoveryRun *run, const char *schema, const char *table, const char *columns,
                         const ArchiveSink *sink, Error *err) {
  CLEANUP_FREE char *name = sql_qualified_name(schema, table);
  CLEANUP_FREE char *sql = memory_format("COPY %s %s TO STDOUT", name, columns);
  const PostgresWatch watch = {recovery_check_hook, run};
  Status status = postgres_copy_out(run->live.sessions[0], sql, write_line, (void *)sink, &watch, err);
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "reading the rows of %s", name);
}
