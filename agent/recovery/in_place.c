/* Missing tables come back where they were, with all that belongs to them, in one transaction. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static void tell_left_out(Restore *restore) {
  for (size_t i = 0; i < restore->resolution.left_out_count; i++) {
    const ArchiveLeftOut *one = &restore->resolution.left_out[i];
    const ArchiveEntry *entry = restore_entry(restore, one->entry);
    json_t *json = json_object();
    json_object_set_new(json, "desc", json_string(entry->desc));
    json_object_set_new(json, "schema", recovery_text(&restore->run, entry->schema));
    json_object_set_new(json, "name", recovery_text(&restore->run, entry->tag));
    json_object_set_new(json, "why", recovery_text(&restore->run, one->why));
    json_array_append_new(restore->left_out, json);
  }
}

/* What is put back, in which order, and whether it can be. */
static Status prepare(Restore *restore, Error *err) {
  Status status = restore_look(restore, err);
  if (status != STATUS_OK)
    return status;
  archive_resolve(restore->run.then, &restore->selection, restore->run.now, &restore->resolution);
  status = restore_displace_check(restore, err);
  if (status != STATUS_OK)
    return status;
  restore->order_count = archive_restore_order(restore->run.then, restore->resolution.take, &restore->order);
  tell_left_out(restore);
  status = restore_check_place(restore, err);
  return status == STATUS_OK ? restore_sequences_note(restore, err) : status;
}

static void tell_object(Restore *restore, const ArchiveEntry *entry) {
  json_t *json = json_object();
  json_object_set_new(json, "desc", json_string(entry->desc));
  json_object_set_new(json, "schema", recovery_text(&restore->run, entry->schema));
  json_object_set_new(json, "name", recovery_text(&restore->run, entry->tag));
  json_array_append_new(restore->objects, json);
}

/* What the database's default privileges gave the object when it was made is not the checkpoint's. */
static Status take_back_grants(Restore *restore, const ArchiveEntry *entry, Error *err) {
  CLEANUP_FREE char *query = archive_grants_query(entry);
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = query ? restore_run(restore, &result, err, query) : STATUS_OK;
  for (int i = 0; status == STATUS_OK && query && i < PQntuples(result); i++)
    status = restore_run(restore, NULL, err, PQgetvalue(result, i, 0));
  return status;
}

static Status put_back_statements(Restore *restore, const ArchiveEntry *entry, Error *err) {
  CLEANUP(statement_list_release) StatementList statements = {0};
  archive_entry_statements(archive_index_toc(restore->run.then), entry, &statements);
  Status status = STATUS_OK;
  for (size_t i = 0; i < statements.count && status == STATUS_OK; i++)
    status = restore_run(restore, NULL, err, statements.items[i]);
  if (status == STATUS_OK)
    status = take_back_grants(restore, entry, err);
  if (status == STATUS_OK)
    return STATUS_OK;
  CLEANUP_FREE char *identity = archive_entry_identity(entry);
  error_prefix(err, "putting %s back", identity);
  error_object(err, "%s", identity);
  return err->status;
}

static Status put_back(Restore *restore, long at, Error *err) {
  const ArchiveEntry *entry = restore_entry(restore, at);
  if (restore_is(entry, "TABLE DATA"))
    return restore_load(restore, at, entry->copy_stmt, err);
  if (!archive_is_data(entry))
    tell_object(restore, entry);
  if (restore_is(entry, "SEQUENCE SET"))
    return restore_sequence(restore, at, err);
  if (restore_is(entry, "FK CONSTRAINT"))
    return restore_foreign_key(restore, at, err);
  return put_back_statements(restore, entry, err);
}

static Status put_back_all(Restore *restore, Error *err) {
  recovery_phase(&restore->run, "restoring");
  restore_announce(restore);
  Status status = STATUS_OK;
  for (size_t i = 0; i < restore->order_count && status == STATUS_OK; i++)
    status = put_back(restore, restore->order[i], err);
  return status;
}

static Status verify_all(Restore *restore, Error *err) {
  recovery_phase(&restore->run, "verifying");
  restore->tables_done = 0;
  Status status = STATUS_OK;
  for (size_t i = 0; i < restore->order_count && status == STATUS_OK; i++) {
    const FingerprintTable *table = restore_table_of(restore, restore->order[i]);
    if (table)
      status = restore_verify_rows(restore, table, table->schema, table->name, table->columns, err);
  }
  return status;
}

Status restore_in_place(Restore *restore, Error *err) {
  Status status = prepare(restore, err);
  if (status == STATUS_OK)
    status = restore_begin(restore, err);
  if (status == STATUS_OK)
    status = restore_displace(restore, err);
  if (status == STATUS_OK)
    status = put_back_all(restore, err);
  if (status == STATUS_OK)
    status = verify_all(restore, err);
  if (status == STATUS_OK)
    status = restore_commit(restore, err);
  return status == STATUS_OK ? restore_verify_definitions(restore, err) : status;
}
