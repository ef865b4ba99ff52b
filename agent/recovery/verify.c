/* What was written is read back: rows before the commit, so that nothing else is ever committed; definitions after it,
 * since only then pg_dump sees them. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/normalize.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

Status restore_look(Restore *restore, Error *err) {
  RecoveryRun *run = &restore->run;
  CLEANUP(process_release) Process process = {0};
  dump_tables_release(&run->live.tables);
  Status status = dump_catalog_list(restore_session(restore), &run->live.tables, err);
  if (status == STATUS_OK)
    status = dump_catalog_admit(&run->live, &run->live.tables, err);
  if (status == STATUS_OK)
    status = recovery_schema_start(run, &process, err);
  return status == STATUS_OK ? recovery_schema_finish(run, &process, err) : status;
}

static void free_digest(RowDigest **digest) {
  row_digest_free(*digest);
}

static Status feed(void *digest, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  row_digest_feed(digest, data, size);
  return STATUS_OK;
}

Status restore_verify_rows(Restore *restore, const FingerprintTable *expected, const char *schema, const char *table,
                           const char *columns, Error *err) {
  CLEANUP(free_digest) RowDigest *digest = row_digest_new();
  const ArchiveSink sink = {digest, feed};
  int64_t rows, bytes;
  uint8_t found[DIGEST_SIZE];
  recovery_progress(&restore->run, restore->tables_done, restore->tables_total, schema, table);
  Status status = recovery_copy_out(&restore->run, schema, table, columns, &sink, err);
  if (status != STATUS_OK)
    return restore_explain(restore, err);
  status = row_digest_finish(digest, false, &rows, &bytes, found, err);
  if (status != STATUS_OK)
    return status;
  bool same = rows == expected->rows && bytes == expected->bytes && memcmp(found, expected->digest, DIGEST_SIZE) == 0;
  if (same) {
    restore->tables_done++;
    json_array_append_new(restore->tables,
                          json_pack("{s:o, s:o, s:I, s:b}", "schema", recovery_text(&restore->run, expected->schema),
                                    "name", recovery_text(&restore->run, expected->name), "rows", (json_int_t)rows,
                                    "verified", 1));
    return STATUS_OK;
  }
  CLEANUP_FREE char *shown = sql_shown_name(expected->schema, expected->name);
  error_set(err, ERR_ROUND_TRIP_DIFFERS,
            "the rows of %s, read back from the target, are not the checkpoint's: %lld of %lld%s", shown,
            (long long)rows, (long long)expected->rows, rows == expected->rows ? ", with other content" : "");
  error_remedy(err,
               "Something on the target changes rows while they are written: an event trigger, a column default that "
               "is computed, an extension. Restore into a new database, and compare.");
  error_object(err, "%s", shown);
  return err->status;
}

/* As a fingerprint compares them. */
static bool same_entry(const ArchiveEntry *then, const ArchiveEntry *now) {
  if (strcmp(then->desc, now->desc) != 0 || strcmp(then->schema, now->schema) != 0 ||
      strcmp(then->tag, now->tag) != 0 || strcmp(then->owner, now->owner) != 0 ||
      strcmp(then->tablespace, now->tablespace) != 0 || strcmp(then->table_am, now->table_am) != 0)
    return false;
  CLEANUP_FREE char *was = normalize_definition(then), *is = normalize_definition(now);
  return strcmp(was, is) == 0;
}

/* A few kinds have several entries of one name: any of them will do. */
static bool is_back(const Restore *restore, const ArchiveEntry *then) {
  const ArchiveToc *now = archive_index_toc(restore->run.now);
  long at = archive_index_find(restore->run.now, then->desc, then->schema, then->tag);
  if (at == ARCHIVE_NO_ENTRY)
    return false;
  if (same_entry(then, &now->entries[at]))
    return true;
  if (restore->not_valid && restore_is(then, "FK CONSTRAINT")) /* told with the foreign keys */
    return true;
  for (size_t i = 0; i < now->entry_count; i++)
    if (same_entry(then, &now->entries[i]))
      return true;
  return false;
}

/* Entries that were put back and that the live schema has not, or has otherwise. */
static size_t tell_changes(Restore *restore) {
  size_t found = 0;
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *then = restore_entry(restore, restore->order[i]);
    if (archive_is_data(then) || is_back(restore, then))
      continue;
    CLEANUP_FREE char *identity = archive_entry_identity(then);
    restore_note(restore, "%s is not as it was in the checkpoint.", identity);
    found++;
  }
  return found;
}

/* An entry of the checkpoint that is not as it was is told; that it could not be looked at is, too, and no failure any
 * more: what was restored is committed. */
Status restore_verify_definitions(Restore *restore, Error *err) {
  recovery_phase(&restore->run, "checking");
  Error why;
  if (restore_look(restore, &why) != STATUS_OK) {
    Status status = recovery_check(&restore->run, err);
    if (status != STATUS_OK)
      return status;
    restore->differs = true;
    restore_note(restore, "The definitions could not be read back after the commit: %s", why.message);
    return STATUS_OK;
  }
  size_t found = tell_changes(restore);
  bool worded = restore->run.live.source.major != restore->run.manifest.server_major; /* said already */
  restore->differs = found > 0 && !worded;
  return STATUS_OK;
}
