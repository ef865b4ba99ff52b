/* All of a ledger as lines of JSON, and back: to another kind of database, or out of a backup. */
#include "coordinator/ledger/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/memory.h"

enum { FORMAT = 1, PAGE = 500, LINE_LIMIT = 64 << 20, COLUMNS_LIMIT = 60 };

/* In the order in which they refer to each other. key: what they are read by, in pages; NULL: at once. What
 * coordinators tell each other (the table `coordinator`) and who is signed in (`session`, `sign_in`) is not worth
 * keeping. */
static const struct Table {
  const char *name, *key;
} tables[] = {
    {"checkpoint", "number"},
    {"table_list", "checkpoint"},
    {"job", "number"},
    {"report", "job"},
    {"enrollment", NULL},
    {"certificate", NULL},
    {"signing_key", NULL},
    {"event", "sequence"},
    {"tip", NULL},
    {"counter", NULL},
    {"token", NULL},
    {"agent", NULL},
    {"fleet", "version"},
    {"hold", NULL},
    {"schedule", NULL},
    {"alert", NULL},
    {"notification", NULL},
    {"silence", NULL},
    {"person", NULL},
};

/* A statement that is not a literal: prepared for once. */
static Status prepare(Ledger *ledger, const char *sql, DbStatement *out, Error *err) {
  *out = (DbStatement){.ledger = ledger, .sql = sql};
  return ledger->ops->prepare(ledger->driver, sql, &out->handle, err);
}

static void statement_release(DbStatement *statement) {
  if (statement->handle)
    statement->ledger->ops->release(statement->handle);
}

static void json_release(json_t **json) {
  json_decref(*json);
}

/* ---- out ---- */

static Status write_line(FILE *out, json_t *line, Error *err) {
  int failed = !line || json_dumpf(line, out, JSON_COMPACT) != 0 || fputc('\n', out) == EOF;
  json_decref(line);
  return failed ? error_set_errno(err, errno ? errno : EIO, "cannot write the export") : STATUS_OK;
}

static json_t *row_of(const DbStatement *s) {
  const DbOps *ops = s->ledger->ops;
  json_t *row = json_object();
  for (int i = 0; i < ops->columns(s->handle); i++) {
    DbType type = ops->type(s->handle, i);
    json_t *value = type == DB_INTEGER ? json_integer(ops->read_integer(s->handle, i))
                    : type == DB_REAL  ? json_real(ops->read_real(s->handle, i))
                    : type == DB_TEXT  ? json_string(ops->read_text(s->handle, i))
                                       : json_null();
    json_object_set_new(row, ops->column(s->handle, i), value);
  }
  return row;
}

/* *last: of the key column; *count: rows of this page. */
static Status write_page(Ledger *ledger, const struct Table *table, DbStatement *s, FILE *out, int64_t *last,
                         int64_t *count, Error *err) {
  int at = 1;
  if (table->key) {
    db_bind_integer(s, &at, *last);
    db_bind_integer(s, &at, PAGE);
  }
  for (*count = 0;; ++*count) {
    bool row = false;
    Status status = db_step(ledger, s, &row, err);
    if (status == STATUS_OK && row) {
      json_t *values = row_of(s);
      *last = table->key ? json_integer_value(json_object_get(values, table->key)) : 0;
      status = write_line(out, json_pack("{s:s, s:o}", "table", table->name, "row", values), err);
    }
    if (status != STATUS_OK || !row)
      return status;
  }
}

static Status write_table(Ledger *ledger, const struct Table *table, FILE *out, int64_t *rows, Error *err) {
  CLEANUP(statement_release) DbStatement s = {0};
  CLEANUP_FREE char *sql = table->key ? memory_format("SELECT * FROM %s WHERE %s > ? ORDER BY %s LIMIT ?", table->name,
                                                      table->key, table->key)
                                      : memory_format("SELECT * FROM %s", table->name);
  Status status = prepare(ledger, sql, &s, err);
  for (int64_t last = -1, count = PAGE; status == STATUS_OK && count == PAGE; *rows += count) {
    count = 0;
    status = write_page(ledger, table, &s, out, &last, &count, err);
    ledger->ops->reset(s.handle);
    if (!table->key)
      count = count == PAGE ? PAGE + 1 : count; /* that was all of it */
  }
  return status;
}

Status ledger_export(Ledger *ledger, FILE *out, int64_t *rows, Error *err) {
  *rows = 0;
  errno = 0;
  Status status = ledger->ops->snapshot(ledger->driver, err);
  if (status == STATUS_OK)
    status =
        write_line(out, json_pack("{s:i, s:I}", "pgseal_ledger", FORMAT, "schema", (json_int_t)schema_latest()), err);
  for (size_t i = 0; i < ARRAY_SIZE(tables) && status == STATUS_OK; i++)
    status = write_table(ledger, &tables[i], out, rows, err);
  ledger->ops->rollback(ledger->driver);
  if (status == STATUS_OK)
    status = write_line(out, json_pack("{s:I}", "rows", (json_int_t)*rows), err); /* else it was cut short */
  if (status == STATUS_OK && fflush(out) != 0)
    status = error_set_errno(err, errno, "cannot write the export");
  return status;
}

/* ---- in ---- */

typedef struct Import {
  Ledger *ledger;
  FILE *in;
  int64_t line, rows;
  bool whole; /* its last line has come */
} Import;

static Status bad(const Import *import, const char *what, Error *err) {
  error_set(err, ERR_INVALID_ARGUMENT, "line %lld of the export: %s", (long long)import->line, what);
  error_remedy(err, "Use a file that `pgseal-coordinator ledger export` wrote, all of it.");
  return ERR_INVALID_ARGUMENT;
}

/* *line: NULL at the end. New reference. */
static Status read_line(Import *import, json_t **line, Error *err) {
  CLEANUP(buffer_release) Buffer text = {0};
  int c;
  *line = NULL;
  import->line++;
  while ((c = getc_unlocked(import->in)) != EOF && c != '\n') {
    if (text.size >= LINE_LIMIT)
      return bad(import, "it is too long", err);
    buffer_append_byte(&text, (uint8_t)c);
  }
  if (ferror(import->in))
    return error_set_errno(err, errno, "cannot read the export");
  if (c == EOF && text.size == 0)
    return STATUS_OK;
  *line = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
  return json_is_object(*line) ? STATUS_OK : bad(import, "it is no JSON object", err);
}

static Status check_header(Import *import, Error *err) {
  CLEANUP(json_release) json_t *line = NULL;
  Status status = read_line(import, &line, err);
  if (status != STATUS_OK)
    return status;
  if (json_integer_value(json_object_get(line, "pgseal_ledger")) != FORMAT)
    return bad(import, "this is no export of a ledger", err);
  json_int_t schema = json_integer_value(json_object_get(line, "schema"));
  if (schema == schema_latest())
    return STATUS_OK;
  error_set(err, ERR_CONFIG, "the export is of a ledger of schema %lld; this pgseal has %lld", (long long)schema,
            (long long)schema_latest());
  error_remedy(err, "Import it with the pgseal version that wrote it; then start this one on that ledger.");
  return ERR_CONFIG;
}

static const char *table_named(const char *name) {
  for (size_t i = 0; name && i < ARRAY_SIZE(tables); i++) {
    if (strcmp(tables[i].name, name) == 0)
      return tables[i].name;
  }
  return NULL;
}

/* They become part of the statement. */
static bool columns_valid(const json_t *row) {
  const char *column;
  json_t *value;
  json_object_foreach((json_t *)row, column, value) {
    if (!*column || strspn(column, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(column) || json_is_array(value) ||
        json_is_object(value))
      return false;
  }
  return json_object_size(row) >= 1 && json_object_size(row) <= COLUMNS_LIMIT;
}

static Status insert_row(Import *import, const char *table, const json_t *row, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP(statement_release) DbStatement s = {0};
  const char *column, *comma = "";
  json_t *value;
  bool any;
  int at = 1;
  buffer_append_format(&sql, "INSERT INTO %s (", table);
  json_object_foreach((json_t *)row, column, value) {
    buffer_append_format(&sql, "%s%s", comma, column);
    comma = ", ";
  }
  buffer_append_text(&sql, ") VALUES (?");
  for (size_t i = 1; i < json_object_size(row); i++)
    buffer_append_text(&sql, ", ?");
  buffer_append_text(&sql, ")");
  Status status = prepare(import->ledger, buffer_text(&sql), &s, err);
  if (status != STATUS_OK)
    return status;
  json_object_foreach((json_t *)row, column, value) {
    if (json_is_integer(value))
      db_bind_integer(&s, &at, json_integer_value(value));
    else if (json_is_real(value))
      db_bind_real(&s, &at, json_real_value(value));
    else
      import->ledger->ops->bind_null(s.handle, at++);
    if (json_is_string(value))
      import->ledger->ops->bind_text(s.handle, at - 1, json_string_value(value));
  }
  return db_step(import->ledger, &s, &any, err);
}

static Status take_line(Import *import, const json_t *line, Error *err) {
  const json_t *row = json_object_get(line, "row"), *count = json_object_get(line, "rows");
  const char *table = table_named(json_string_value(json_object_get(line, "table")));
  if (import->whole)
    return bad(import, "there is something behind its end", err);
  if (json_is_integer(count)) {
    import->whole = json_integer_value(count) == import->rows;
    return import->whole ? STATUS_OK : bad(import, "rows are missing", err);
  }
  if (!table || !json_is_object(row) || !columns_valid(row))
    return bad(import, "it is no row of a ledger", err);
  import->rows++;
  return insert_row(import, table, row, err);
}

static Status empty(Ledger *ledger, Error *err) {
  LedgerTip tip;
  Status status = ledger_tip_get(ledger, &tip, err);
  if (status != STATUS_OK)
    return status;
  if (tip.sequence) {
    error_set(err, ERR_CONFLICT, "the ledger %s has events already: %lld", ledger->name, (long long)tip.sequence);
    error_remedy(err, "Import into a new one: another file, or an empty database or schema.");
    return ERR_CONFLICT;
  }
  static const char *const own[] = {"DELETE FROM tip", "DELETE FROM counter"};
  for (size_t i = 0; i < ARRAY_SIZE(own) && status == STATUS_OK; i++) {
    STATEMENT(s);
    bool row;
    status = db_statement(ledger, own[i], &s, err);
    if (status == STATUS_OK)
      status = db_step(ledger, s, &row, err);
  }
  return status;
}

static Status take_all(Import *import, Error *err) {
  Status status = check_header(import, err);
  if (status == STATUS_OK)
    status = empty(import->ledger, err);
  while (status == STATUS_OK) {
    CLEANUP(json_release) json_t *line = NULL;
    status = read_line(import, &line, err);
    if (status != STATUS_OK || !line)
      break;
    status = take_line(import, line, err);
  }
  if (status == STATUS_OK && !import->whole)
    status = bad(import, "its end is missing", err);
  if (status == STATUS_OK && import->ledger->ops->number_on)
    status = import->ledger->ops->number_on(import->ledger->driver, err);
  return status;
}

Status ledger_import(Ledger *ledger, FILE *in, int64_t *rows, Error *err) {
  Import import = {.ledger = ledger, .in = in};
  int64_t events;
  char tip[LEDGER_HASH_SIZE];
  Status status = ledger_begin(ledger, err);
  if (status == STATUS_OK)
    status = take_all(&import, err);
  if (status == STATUS_OK)
    status = ledger_chain_verify(ledger, &events, tip, err);
  if (status == STATUS_OK)
    status = ledger_commit(ledger, err);
  else
    ledger_rollback(ledger);
  *rows = import.rows;
  return status;
}
