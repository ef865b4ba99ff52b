/* Rows out of the archive, block by block, into the target. Nothing is kept: memory is one segment and one piece. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

const FingerprintTable *restore_table_of(const Restore *restore, long entry) {
  const ArchiveEntry *data = restore_entry(restore, entry);
  return restore_is(data, "TABLE DATA") ? recovery_table(&restore->run, data->schema, data->tag) : NULL;
}

void restore_count(Restore *restore, int64_t rows, int64_t bytes) {
  DumpRun *live = &restore->run.live;
  pthread_mutex_lock(&live->lock);
  live->progress.rows += rows;
  live->progress.bytes += bytes;
  live->progress.bytes_total = restore->bytes_expected;
  pthread_mutex_unlock(&live->lock);
  dump_run_report(live, false);
}

static int by_offset(const void *a, const void *b) {
  const ArchiveRange *x = a, *y = b;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

void restore_announce(Restore *restore) {
  ArchiveRange *ranges = NULL;
  size_t count = 0;
  restore->bytes_expected = 0;
  restore->tables_total = 0;
  for (size_t i = 0; i < restore->order_count; i++) {
    const FingerprintTable *table = restore_table_of(restore, restore->order[i]);
    if (!table)
      continue;
    const ArchiveRange range = {table->offset, table->end_offset};
    ARRAY_PUSH(ranges, count, range);
    restore->bytes_expected += table->bytes;
    restore->tables_total++;
  }
  if (count > 0)
    qsort(ranges, count, sizeof *ranges, by_offset);
  recovery_source_announce(restore->run.source, ranges, count);
  free(ranges);
}

static Status write_rows(void *user, const uint8_t *data, size_t size, Error *err) {
  Restore *restore = user;
  const PostgresWatch watch = {recovery_check_hook, &restore->run};
  Status status = postgres_copy_in_write(restore_session(restore), data, size, &watch, err);
  if (status != STATUS_OK)
    return restore_explain(restore, err);
  restore_count(restore, 0, (int64_t)size);
  return STATUS_OK;
}

static Status copy_rows(Restore *restore, long entry, const FingerprintTable *table, const char *copy, int64_t *rows,
                        Error *err) {
  const PostgresWatch watch = {recovery_check_hook, &restore->run};
  const ArchiveBlock block = {entry, table->offset, table->end_offset};
  const ArchiveSink sink = {restore, write_rows};
  Status status = postgres_copy_in_start(restore_session(restore), copy, &watch, err);
  if (status != STATUS_OK)
    return restore_explain(restore, err);
  status = archive_cut_rows(restore->run.cut, &block, &sink, err);
  if (status != STATUS_OK)
    return status;
  status = postgres_copy_in_end(restore_session(restore), rows, &watch, err);
  return status == STATUS_OK ? STATUS_OK : restore_explain(restore, err);
}

Status restore_load(Restore *restore, long entry, const char *copy, Error *err) {
  const ArchiveEntry *data = restore_entry(restore, entry);
  const FingerprintTable *table = restore_table_of(restore, entry);
  int64_t rows = 0;
  if (!table)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the manifest does not list the rows of %s.%s", data->schema, data->tag);
  recovery_progress(&restore->run, restore->tables_done, restore->tables_total, data->schema, data->tag);
  Status status = copy_rows(restore, entry, table, copy, &rows, err);
  if (status == STATUS_OK && rows != table->rows)
    status = error_set(err, ERR_ROUND_TRIP_DIFFERS, "the target took %lld rows, the checkpoint has %lld",
                       (long long)rows, (long long)table->rows);
  if (status != STATUS_OK) {
    error_prefix(err, "the rows of %s.%s", data->schema, data->tag);
    error_object(err, "%s.%s", data->schema, data->tag);
    return err->status;
  }
  restore->tables_done++;
  restore->rows_written += rows;
  restore_count(restore, rows, 0);
  return STATUS_OK;
}
