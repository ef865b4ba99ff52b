/* The compensating script: statements that put back what differs, each with the number of rows that it must touch. It
 * holds no row: those are in the rescue schema, and so is its text, which is run from there and nowhere else. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/beside.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { LINE_NAME_SIZE = 200 };
static const char scripts[] = "pgseal_scripts";

typedef struct Script {
  Beside *beside;
  Buffer text;
  size_t steps;
  BesideTable **order; /* parents before children */
  size_t order_count;
  bool circle; /* foreign keys of what is inserted go round */
} Script;

/* ---- steps ---- */

/* "-- step 2: insert 17 rows into public.orders"; rows -1: any number. */
static void step(Script *script, const char *verb, int64_t rows, const char *name, const char *sql) {
  char clean[LINE_NAME_SIZE];
  text_clean(name, clean, sizeof clean);
  if (rows < 0)
    buffer_append_format(&script->text, "-- step %zu: %s %s\n%s;\n\n", ++script->steps, verb, clean, sql);
  else
    buffer_append_format(&script->text, "-- step %zu: %s %lld rows of %s\n%s;\n\n", ++script->steps, verb,
                         (long long)rows, clean, sql);
}

/* Its last semicolon is the step's. */
static void step_statement(Script *script, const char *name, const char *statement) {
  size_t size = strlen(statement);
  while (size > 0 && strchr("; \n", statement[size - 1]))
    size--;
  CLEANUP_FREE char *sql = memory_strndup(statement, size);
  step(script, "alter", -1, name, sql);
}

static const ArchiveColumnChange *change_of(const Beside *beside, const BesideTable *table,
                                            const BesideColumn *column) {
  for (size_t i = 0; i < beside->changes.column_count; i++) {
    const ArchiveColumnChange *change = &beside->changes.columns[i];
    if (change->then == table->relation && strcmp(change->column, column->name) == 0)
      return change;
  }
  return NULL;
}

static bool is_retyped(const BesideColumn *column) {
  return column->live_type && !column->compared;
}

/* The types again without COLLATE, which a cast does not take. */
static char *cast_type(const char *type) {
  const char *collate = strstr(type, " COLLATE ");
  return collate ? memory_strndup(type, (size_t)(collate - type)) : memory_strdup(type);
}

/* Columns that are gone or have another type come back first. */
static void alter_columns(Script *script, const BesideTable *table) {
  for (size_t i = 0; i < table->column_count; i++) {
    const BesideColumn *column = &table->columns[i];
    const ArchiveColumnChange *change =
        column->chosen && !column->compared ? change_of(script->beside, table, column) : NULL;
    for (size_t j = 0; change && j < change->roll_forward.count; j++)
      step_statement(script, table->live_name, change->roll_forward.items[j]);
    if (change && change->note)
      restore_note(script->beside->restore, "%s.%s %s.", table->live_name, column->name, change->note);
  }
}

/* ---- insert ---- */

/* "ROW(r.a::text, r.b::text)::text": equal where the rows are. */
static void append_row(Buffer *sql, const BesideTable *table, char alias) {
  buffer_append_text(sql, "ROW(");
  for (size_t i = 0; i < table->column_count; i++) {
    CLEANUP_FREE char *name = sql_name(table->columns[i].name);
    buffer_append_format(sql, "%s%c.%s::text", i ? ", " : "", alias, name);
  }
  buffer_append_text(sql, ")::text");
}

/* Each as often as it was there. */
static char *insert_keyless_sql(const BesideTable *table) {
  CLEANUP(buffer_release) Buffer names = {0}, from = {0}, values = {0}, then = {0}, now = {0};
  for (size_t i = 0; i < table->column_count; i++) {
    CLEANUP_FREE char *name = sql_name(table->columns[i].name);
    buffer_append_format(&names, "%s%s", i ? ", " : "", name);
    buffer_append_format(&from, "r.%s, ", name);
    buffer_append_format(&values, "%sx.%s", i ? ", " : "", name);
  }
  append_row(&then, table, 'r');
  append_row(&now, table, 'l');
  return memory_format(
      "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE\n  SELECT %s\n"
      "  FROM (SELECT %s%s AS pgseal_row,\n"
      "      pg_catalog.row_number() OVER (PARTITION BY %s) AS pgseal_number FROM %s r) x\n"
      "  LEFT JOIN (SELECT %s AS live_row, pg_catalog.count(*) AS live_number FROM ONLY %s l GROUP BY 1) y\n"
      "    ON y.live_row = x.pgseal_row\n"
      "  WHERE x.pgseal_number > COALESCE(y.live_number, 0)\n  ON CONFLICT DO NOTHING",
      table->live_name, buffer_text(&names), buffer_text(&values), buffer_text(&from), buffer_text(&then),
      buffer_text(&then), table->rescue_name, buffer_text(&now), table->live_name);
}

static char *insert_sql(const BesideTable *table) {
  if (!table->match)
    return insert_keyless_sql(table);
  CLEANUP(buffer_release) Buffer names = {0}, values = {0};
  for (size_t i = 0; i < table->column_count; i++) {
    const BesideColumn *column = &table->columns[i];
    if (!column->live_type && !column->chosen)
      continue;
    CLEANUP_FREE char *name = sql_name(column->name);
    CLEANUP_FREE char *type = is_retyped(column) && !column->chosen ? cast_type(column->live_type) : NULL;
    buffer_append_format(&names, "%s%s", names.size ? ", " : "", name);
    buffer_append_format(&values, "%sr.%s%s%s", values.size ? ", " : "", name, type ? "::" : "", type ? type : "");
  }
  return memory_format("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE\n  SELECT %s FROM %s r\n"
                       "  WHERE NOT EXISTS (SELECT FROM ONLY %s l WHERE %s)\n  ON CONFLICT DO NOTHING",
                       table->live_name, buffer_text(&names), buffer_text(&values), table->rescue_name,
                       table->live_name, table->match);
}

static bool is_inserted(const BesideTable *table) {
  return (table->match || difference_only_deleted(table)) && table->missing > 0;
}

/* In one statement, whose foreign keys are looked at when all of it is done. */
static void insert_circle(Script *script) {
  CLEANUP(buffer_release) Buffer with = {0}, sum = {0}, names = {0};
  int64_t rows = 0;
  size_t count = 0;
  for (size_t i = 0; i < script->order_count; i++) {
    const BesideTable *table = script->order[i];
    if (!is_inserted(table))
      continue;
    CLEANUP_FREE char *sql = insert_sql(table);
    buffer_append_format(&with, "%s t%zu AS (%s RETURNING 1)", count ? ",\n" : "WITH", count, sql);
    buffer_append_format(&sum, "%s(SELECT pg_catalog.count(*) FROM t%zu)", count ? " + " : "\nSELECT ", count);
    buffer_append_format(&names, "%s%s", count++ ? ", " : "", table->live_name);
    rows += table->missing;
  }
  buffer_append_text(&with, buffer_text(&sum));
  step(script, "insert", rows, buffer_text(&names), buffer_text(&with));
}

static void insert_rows(Script *script) {
  if (script->circle) {
    insert_circle(script);
    return;
  }
  for (size_t i = 0; i < script->order_count; i++) {
    if (!is_inserted(script->order[i]))
      continue;
    CLEANUP_FREE char *sql = insert_sql(script->order[i]);
    step(script, "insert", script->order[i]->missing, script->order[i]->live_name, sql);
  }
}

/* ---- update ---- */

/* Counts what the statement will touch, now; then writes it. before: the same condition, with the column as it is now.
 */
static Status update_step(Script *script, const BesideTable *table, const char *set, const char *before,
                          const char *after, Error *err) {
  int64_t rows = 0;
  CLEANUP_FREE char *count = memory_format("SELECT pg_catalog.count(*) FROM %s r JOIN ONLY %s l ON %s%s",
                                           table->rescue_name, table->live_name, table->match, before);
  Status status = difference_count(script->beside, &rows, count, err);
  if (status != STATUS_OK)
    return error_prefix(err, "counting what an UPDATE of %s would touch", table->live_name);
  CLEANUP_FREE char *sql = memory_format("UPDATE ONLY %s l SET %s FROM %s r\n  WHERE %s%s", table->live_name, set,
                                         table->rescue_name, table->match, after);
  if (rows > 0)
    step(script, "update", rows, table->live_name, sql);
  return STATUS_OK;
}

/* A row that was written otherwise since is not touched: every other column must be as it was. */
static void append_others(const BesideTable *table, Buffer *condition) {
  for (size_t i = 0; i < table->column_count; i++) {
    if (!table->columns[i].compared || table->columns[i].chosen || table->columns[i].key)
      continue;
    buffer_append_text(condition, "\n  AND NOT (");
    difference_append_column(condition, table->columns[i].name);
    buffer_append_text(condition, ")");
  }
}

static Status update_same(Script *script, const BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer set = {0}, condition = {0};
  int64_t differ = 0;
  for (size_t i = 0; i < table->column_count; i++) {
    if (!table->columns[i].chosen || !table->columns[i].compared)
      continue;
    CLEANUP_FREE char *name = sql_name(table->columns[i].name);
    buffer_append_format(&set, "%s%s = r.%s", set.size ? ", " : "", name, name);
    buffer_append_text(&condition, condition.size ? " OR " : "\n  AND (");
    difference_append_column(&condition, table->columns[i].name);
    differ += table->columns[i].changed;
  }
  if (differ == 0)
    return STATUS_OK;
  buffer_append_text(&condition, ")");
  append_others(table, &condition);
  return update_step(script, table, buffer_text(&set), buffer_text(&condition), buffer_text(&condition), err);
}

/* Of a column that went, every row's value; nobody can have written it since. */
static Status update_missing(Script *script, const BesideTable *table, const BesideColumn *column, Error *err) {
  CLEANUP_FREE char *name = sql_name(column->name);
  CLEANUP_FREE char *set = memory_format("%s = r.%s", name, name);
  return update_step(script, table, set, "", "", err);
}

/* Of a column whose type was changed, the values that the change made of the checkpoint's, and no others. */
static Status update_retyped(Script *script, const BesideTable *table, const BesideColumn *column, Error *err) {
  CLEANUP_FREE char *name = sql_name(column->name);
  CLEANUP_FREE char *was = cast_type(column->type), *is = cast_type(column->live_type);
  CLEANUP_FREE char *set = memory_format("%s = r.%s", name, name);
  CLEANUP_FREE char *lost = memory_format("(r.%s::%s::%s)::text IS DISTINCT FROM r.%s::text", name, is, was, name);
  CLEANUP_FREE char *before =
      memory_format("\n  AND l.%s::text IS NOT DISTINCT FROM (r.%s::%s)::text AND %s", name, name, is, lost);
  CLEANUP_FREE char *after =
      memory_format("\n  AND l.%s::text IS NOT DISTINCT FROM (r.%s::%s::%s)::text AND %s", name, name, is, was, lost);
  return update_step(script, table, set, before, after, err);
}

static Status update_rows(Script *script, const BesideTable *table, Error *err) {
  Status status = table->match ? update_same(script, table, err) : STATUS_OK;
  for (size_t i = 0; i < table->column_count && status == STATUS_OK && table->match; i++) {
    const BesideColumn *column = &table->columns[i];
    if (!column->chosen || column->compared)
      continue;
    status =
        column->live_type ? update_retyped(script, table, column, err) : update_missing(script, table, column, err);
  }
  return status;
}

/* ---- sequences ---- */

static const char sequences_sql[] =
    "SELECT pg_catalog.format('%%I.%%I', sn.nspname, s.relname), pg_catalog.quote_ident(a.attname), q.seqincrement > 0"
    " FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.objid"
    " JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
    " WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass"
    " AND d.deptype IN ('a', 'i') AND d.refobjid = %s::regclass"
    " AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)";

/* Forward only. */
static Status move_sequences(Script *script, const BesideTable *table, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(buffer_release) Buffer literal = {0};
  sql_append_literal(&literal, table->live_name);
  Status status = restore_runf(script->beside->restore, &result, err, sequences_sql, buffer_text(&literal));
  for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++) {
    const char *name = PQgetvalue(result, i, 0), *column = PQgetvalue(result, i, 1);
    bool up = *PQgetvalue(result, i, 2) == 't';
    CLEANUP(buffer_release) Buffer quoted = {0};
    sql_append_literal(&quoted, name);
    CLEANUP_FREE char *sql =
        memory_format("SELECT pg_catalog.setval(%s::pg_catalog.regclass, m.value, true)\n  FROM (SELECT "
                      "pg_catalog.%s(%s)::bigint AS value"
                      " FROM %s) m, %s s WHERE m.value %s s.last_value",
                      buffer_text(&quoted), up ? "max" : "min", column, table->live_name, name, up ? ">" : "<");
    step(script, "sequence", -1, name, sql);
  }
  return status;
}

/* ---- order ---- */

static BesideTable *table_of(Beside *beside, long relation) {
  for (size_t i = 0; i < beside->count; i++)
    if (beside->tables[i].relation == relation)
      return &beside->tables[i];
  return NULL;
}

static void visit(Script *script, BesideTable *table) {
  const ArchiveIndex *then = script->beside->restore->run.then;
  table->visited = true;
  const long *parts;
  size_t count = archive_index_parts(then, table->relation, &parts);
  for (size_t i = 0; i < count; i++) {
    const ArchiveEntry *entry = restore_entry(script->beside->restore, parts[i]);
    for (size_t j = 0; restore_is(entry, "FK CONSTRAINT") && j < entry->dependency_count; j++) {
      long other = archive_index_by_id(then, entry->dependencies[j]);
      BesideTable *parent =
          other == ARCHIVE_NO_ENTRY ? NULL : table_of(script->beside, archive_index_owner(then, other));
      if (!parent || parent == table)
        continue;
      if (!parent->visited)
        visit(script, parent);
      else if (!parent->done && is_inserted(parent) && is_inserted(table))
        script->circle = true;
    }
  }
  table->done = true;
  script->order[script->order_count++] = table;
}

/* ---- all of it ---- */

static const char triggers_sql[] =
    "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(t.tgname), ', ' ORDER BY t.tgname) FROM pg_catalog.pg_trigger "
    "t"
    " WHERE t.tgrelid = %s::pg_catalog.regclass AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')";

static Status note_triggers(Beside *beside, const BesideTable *table, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(buffer_release) Buffer literal = {0};
  sql_append_literal(&literal, table->live_name);
  Status status = restore_runf(beside->restore, &result, err, triggers_sql, buffer_text(&literal));
  if (status == STATUS_OK && !PQgetisnull(result, 0, 0))
    restore_note(beside->restore, "Triggers of %s fire when the script runs: %s.", table->live_name,
                 PQgetvalue(result, 0, 0));
  return status;
}

static Status write_steps(Script *script, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; i < script->order_count; i++)
    if (script->order[i]->match)
      alter_columns(script, script->order[i]);
  insert_rows(script);
  for (size_t i = 0; i < script->order_count && status == STATUS_OK; i++)
    status = update_rows(script, script->order[i], err);
  for (size_t i = 0; i < script->order_count && status == STATUS_OK; i++)
    if (is_inserted(script->order[i]))
      status = move_sequences(script, script->order[i], err);
  for (size_t i = 0; i < script->order_count && status == STATUS_OK && script->steps > 0; i++)
    if (script->order[i]->live_name)
      status = note_triggers(script->beside, script->order[i], err);
  return status;
}

/* What a reader would look for in vain. */
static size_t write_left_out(Script *script) {
  char clean[LINE_NAME_SIZE];
  size_t count = 0;
  for (size_t i = 0; i < script->order_count; i++) {
    const BesideTable *table = script->order[i];
    if (!table->live_name || table->match || table->missing == 0 || is_inserted(table))
      continue;
    buffer_append_format(&script->text,
                         "-- LEFT OUT: %lld rows of %s, which has no key to tell them from changed ones\n",
                         (long long)table->missing, text_clean(table->live_name, clean, sizeof clean));
    count++;
  }
  buffer_append_text(&script->text, count ? "\n" : "");
  return count;
}

static void write_head(Script *script) {
  const RecoveryRun *run = &script->beside->restore->run;
  char tag[LINE_NAME_SIZE];
  buffer_append_format(
      &script->text,
      "-- Compensating script of pgseal, from checkpoint %s (%s), made by job %s.\n"
      "-- It takes rows from schema %s; each step says how many it must touch. `pgseal restore` runs it in\n"
      "-- one transaction and rolls back where a number differs; with psql, look at them before COMMIT.\n"
      "BEGIN;\nSET LOCAL search_path = '';\nSET LOCAL lock_timeout = '10s';\n\n",
      run->manifest.checkpoint_id, text_clean(run->manifest.tag, tag, sizeof tag), run->context->job->id,
      script->beside->schema);
}

/* In the target, so that nobody in between can put another one in its place. */
static Status keep(Script *script, Error *err) {
  Restore *restore = script->beside->restore;
  CLEANUP(buffer_release) Buffer job = {0}, text = {0};
  restore->script = memory_strdup(buffer_text(&script->text));
  sha256_hex(restore->script, strlen(restore->script), restore->script_sha256);
  sql_append_literal(&job, restore->run.context->job->id);
  sql_append_literal(&text, restore->script);
  Status status = restore_runf(restore, NULL, err,
                               "CREATE TABLE IF NOT EXISTS %s.%s (job text PRIMARY KEY, sha256 text NOT NULL,"
                               " script text NOT NULL, made timestamptz NOT NULL DEFAULT pg_catalog.now())",
                               script->beside->schema, scripts);
  return status == STATUS_OK
             ? restore_runf(restore, NULL, err, "INSERT INTO %s.%s (job, sha256, script) VALUES (%s, '%s', %s)",
                            script->beside->schema, scripts, buffer_text(&job), restore->script_sha256,
                            buffer_text(&text))
             : status;
}

static void script_release(Script *script) {
  buffer_release(&script->text);
  free(script->order);
}

Status script_write(Beside *beside, Error *err) {
  CLEANUP(script_release) Script script = {.beside = beside};
  script.order = memory_alloc((beside->count + 1) * sizeof *script.order);
  for (size_t i = 0; i < beside->count; i++)
    if (!beside->tables[i].visited)
      visit(&script, &beside->tables[i]);
  write_head(&script);
  size_t left_out = write_left_out(&script);
  Status status = write_steps(&script, err);
  if (status != STATUS_OK)
    return status;
  if (script.steps == 0) {
    restore_note(beside->restore, left_out ? "There is nothing that a script could put back."
                                           : "There is nothing that a script would have to put back.");
    return STATUS_OK;
  }
  buffer_append_text(&script.text, "COMMIT;\n");
  return keep(&script, err);
}
