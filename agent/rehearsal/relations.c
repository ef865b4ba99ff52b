#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const char relations_sql[] =
    "SELECT c.oid, n.nspname, c.relname, COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0), c.relkind,"
    " pg_catalog.pg_table_size(c.oid)"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY c.oid";

/* In the database's own encoding, as the checkpoint's names are. */
static Status list(Rehearsal *rehearsal, PGresult **out, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  DrillRun *drill = &rehearsal->drill;
  Status status = drill_connect(drill, drill->database_name, &session, err);
  if (status == STATUS_OK && PQsetClientEncoding(session, PQparameterStatus(session, "server_encoding")) != 0)
    status = error_set(err, ERR_QUERY, "the database's encoding is refused: %s", PQerrorMessage(session));
  if (status == STATUS_OK)
    status = postgres_query(session, NULL, err, "SET search_path = pg_catalog");
  if (status == STATUS_OK)
    status = postgres_query(session, out, err, relations_sql);
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(drill, err);
}

static int64_t field(const PGresult *result, int row, int column) {
  return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static int64_t rows_of(const Fingerprint *fingerprint, const char *schema, const char *name) {
  for (size_t i = 0; i < fingerprint->table_count; i++)
    if (strcmp(fingerprint->tables[i].name, name) == 0 && strcmp(fingerprint->tables[i].schema, schema) == 0)
      return fingerprint->tables[i].rows;
  return -1;
}

Status rehearsal_relations_before(Rehearsal *rehearsal, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  RehearsalRelations *relations = &rehearsal->relations;
  Status status = list(rehearsal, &result, err);
  if (status != STATUS_OK)
    return status;
  for (int i = 0; i < PQntuples(result); i++) {
    RehearsalRelation one = {.oid = (uint32_t)field(result, i, 0),
                             .schema = memory_strdup(PQgetvalue(result, i, 1)),
                             .name = memory_strdup(PQgetvalue(result, i, 2)),
                             .file = (uint32_t)field(result, i, 3),
                             .bytes = field(result, i, 5)};
    one.rows = *PQgetvalue(result, i, 4) == 'p' ? 0 : rows_of(&rehearsal->drill.source, one.schema, one.name);
    ARRAY_PUSH(relations->items, relations->count, one);
  }
  return STATUS_OK;
}

Status rehearsal_relations_after(Rehearsal *rehearsal, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = list(rehearsal, &result, err);
  for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
    RehearsalRelation *one = rehearsal_relations_find(&rehearsal->relations, (uint32_t)field(result, i, 0));
    if (!one || one->file == 0 || one->file == (uint32_t)field(result, i, 3))
      continue;
    one->rewritten = true;
    one->emptied = field(result, i, 5) == 0;
  }
  return status;
}

static int by_oid(const void *key, const void *item) {
  uint32_t a = *(const uint32_t *)key, b = ((const RehearsalRelation *)item)->oid;
  return (a > b) - (a < b);
}

RehearsalRelation *rehearsal_relations_find(const RehearsalRelations *relations, uint32_t oid) {
  return relations->count ? bsearch(&oid, relations->items, relations->count, sizeof *relations->items, by_oid) : NULL;
}

void rehearsal_relations_release(RehearsalRelations *relations) {
  for (size_t i = 0; i < relations->count; i++) {
    free(relations->items[i].schema);
    free(relations->items[i].name);
  }
  free(relations->items);
}
