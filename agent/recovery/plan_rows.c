/* Rows by primary key. The checkpoint's rows are kept in memory as two short hashes each; the live table is read once
 * and every row of it looked up. Nothing is written anywhere, and the server does no more than for a dump of the table.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { HASH_SIZE = 16, LINE_LIMIT = 1 << 30 };

typedef struct RowHash {
  uint8_t key[HASH_SIZE], row[HASH_SIZE];
} RowHash;

typedef struct Columns { /* which fields of a line are compared */
  bool *use, *key;       /* by field */
  size_t count;
} Columns;

typedef struct RowReader { /* lines out of pieces */
  const Columns *columns;
  Buffer line, key, row;
  EVP_MD *md;
  EVP_MD_CTX *ctx;
  bool fresh;
  Status (*take)(struct RowReader *reader, const RowHash *hash, Error *err);
  struct RowTable *table;
} RowReader;

typedef struct RowTable {
  RowHash *rows;
  size_t count, capacity;
  bool *seen;
  bool doubled; /* two rows of one key: it is none */
  int64_t found, changed, fresh;
} RowTable;

static void reader_init(RowReader *reader, const Columns *columns) {
  *reader =
      (RowReader){.columns = columns, .md = EVP_MD_fetch(NULL, "SHA256", NULL), .ctx = EVP_MD_CTX_new(), .fresh = true};
}

static void reader_release(RowReader *reader) {
  buffer_release(&reader->line);
  buffer_release(&reader->key);
  buffer_release(&reader->row);
  EVP_MD_CTX_free(reader->ctx);
  EVP_MD_free(reader->md);
}

static void row_table_release(RowTable *table) {
  free(table->rows);
  free(table->seen);
}

static bool hash(RowReader *reader, const Buffer *data, uint8_t out[HASH_SIZE]) {
  uint8_t whole[EVP_MAX_MD_SIZE];
  if (!EVP_DigestInit_ex2(reader->ctx, reader->fresh ? reader->md : NULL, NULL) ||
      !EVP_DigestUpdate(reader->ctx, data->data, data->size) || !EVP_DigestFinal_ex(reader->ctx, whole, NULL))
    return false;
  reader->fresh = false; /* from now on the context is used as it is, which is quicker */
  memcpy(out, whole, HASH_SIZE);
  return true;
}

/* A short key is its own hash, behind its length; a long one is behind a length that none has. */
static bool hash_key(RowReader *reader, const Buffer *key, uint8_t out[HASH_SIZE]) {
  if (key->size >= HASH_SIZE) {
    bool done = hash(reader, key, out);
    out[0] = UINT8_MAX;
    return done;
  }
  memset(out, 0, HASH_SIZE);
  out[0] = (uint8_t)key->size;
  memcpy(out + 1, key->data, key->size);
  return true;
}

/* Fields of COPY's text format are separated by tabs; a tab that is in a value is written as \t. */
static Status take_line(RowReader *reader, const char *line, size_t size, Error *err) {
  buffer_clear(&reader->key);
  buffer_clear(&reader->row);
  const char *end = line + size;
  size_t field = 0;
  for (const char *at = line; at <= end; field++) {
    const char *tab = memchr(at, '\t', (size_t)(end - at));
    const char *stop = tab ? tab : end;
    if (field >= reader->columns->count)
      return error_set(err, ERR_ARCHIVE_FORMAT, "a row has more fields than its table has columns");
    if (reader->columns->key[field]) {
      buffer_append(&reader->key, at, (size_t)(stop - at));
      buffer_append_byte(&reader->key, '\t');
    }
    if (reader->columns->use[field]) {
      buffer_append(&reader->row, at, (size_t)(stop - at));
      buffer_append_byte(&reader->row, '\t');
    }
    at = stop + 1;
  }
  if (field != reader->columns->count)
    return error_set(err, ERR_ARCHIVE_FORMAT, "a row has fewer fields than its table has columns");
  RowHash hashes;
  if (!hash_key(reader, &reader->key, hashes.key) || !hash(reader, &reader->row, hashes.row))
    return error_set(err, ERR_INTERNAL, "SHA-256 is not available from OpenSSL");
  return reader->take(reader, &hashes, err);
}

/* Pieces do not respect lines. */
static Status take_piece(void *user, const uint8_t *data, size_t size, Error *err) {
  RowReader *reader = user;
  const char *at = (const char *)data, *end = at + size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t more = (size_t)((newline ? newline : end) - at);
    if (reader->line.size + more > LINE_LIMIT)
      return error_set(err, ERR_ARCHIVE_FORMAT, "a row is larger than a row can be");
    Status status = STATUS_OK;
    if (newline && reader->line.size == 0) {
      status = take_line(reader, at, more, err);
    } else {
      buffer_append(&reader->line, at, more);
      if (newline) {
        status = take_line(reader, (const char *)reader->line.data, reader->line.size, err);
        buffer_clear(&reader->line);
      }
    }
    if (status != STATUS_OK)
      return status;
    at += more + (newline != NULL);
  }
  return STATUS_OK;
}

static Status keep_row(RowReader *reader, const RowHash *hashes, Error *err) {
  RowTable *table = reader->table;
  if (table->count >= table->capacity)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive has more rows of a table than its manifest says");
  table->rows[table->count++] = *hashes;
  return STATUS_OK;
}

static int by_key(const void *a, const void *b) {
  return memcmp(a, b, HASH_SIZE); /* the key comes first */
}

static Status look_up_row(RowReader *reader, const RowHash *hashes, Error *err) {
  (void)err;
  RowTable *table = reader->table;
  const RowHash *found = bsearch(hashes, table->rows, table->count, sizeof *hashes, by_key);
  if (!found) {
    table->fresh++;
    return STATUS_OK;
  }
  bool *seen = &table->seen[found - table->rows];
  table->doubled = table->doubled || *seen; /* the key is no key any more */
  *seen = true;
  table->found++;
  table->changed += memcmp(found->row, hashes->row, HASH_SIZE) != 0;
  return STATUS_OK;
}

static Status read_then(Plan *plan, const PlanTable *table, RowReader *reader, Error *err) {
  RecoveryRun *run = &plan->run;
  long entry = archive_index_find(run->stored, "TABLE DATA", table->then->schema, table->then->name);
  const ArchiveBlock block = {entry, table->then->offset, table->then->end_offset};
  const ArchiveRange range = {block.offset, block.end};
  const ArchiveSink sink = {reader, take_piece};
  if (entry == ARCHIVE_NO_ENTRY)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive does not list the rows of a table that the manifest has");
  recovery_source_announce(run->source, &range, 1);
  return archive_cut_rows(run->cut, &block, &sink, err);
}

static Status check_key(const RowTable *table, PlanTable *into, Error *err) {
  for (size_t i = 1; i < table->count; i++)
    if (by_key(&table->rows[i - 1], &table->rows[i]) == 0)
      return error_set(err, ERR_ARCHIVE_FORMAT, "the primary key of %s.%s is not unique in the archive",
                       into->then->schema, into->then->name);
  return STATUS_OK;
}

/* then_columns: which fields of the checkpoint's rows; live: the same columns as a list for COPY. */
static Status compare(Plan *plan, PlanTable *table, const Columns *then_columns, const Columns *live_columns,
                      const char *live, Error *err) {
  CLEANUP(row_table_release) RowTable rows = {.capacity = (size_t)table->then->rows};
  rows.rows = memory_alloc((rows.capacity + 1) * sizeof *rows.rows);
  rows.seen = memory_alloc(rows.capacity + 1);
  CLEANUP(reader_release) RowReader then = {0};
  CLEANUP(reader_release) RowReader now = {0};
  reader_init(&then, then_columns);
  reader_init(&now, live_columns);
  then.table = now.table = &rows;
  then.take = keep_row;
  now.take = look_up_row;
  Status status = table->then->rows > 0 ? read_then(plan, table, &then, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  qsort(rows.rows, rows.count, sizeof *rows.rows, by_key);
  status = check_key(&rows, table, err);
  const ArchiveSink sink = {&now, take_piece};
  if (status == STATUS_OK)
    status = recovery_copy_out(&plan->run, table->now->schema, table->now->name, live, &sink, err);
  if (status != STATUS_OK)
    return status;
  if (rows.doubled) {
    free(table->note);
    table->note = memory_strdup("the checkpoint's primary key is not unique any more: rows cannot be told apart by it");
    return STATUS_OK;
  }
  table->compared = true;
  table->missing = (int64_t)rows.count - rows.found;
  table->changed = rows.changed;
  table->fresh = rows.fresh;
  bool same = table->missing == 0 && table->changed == 0 && table->fresh == 0;
  if (same && !table->reshaped)
    table->state = PLAN_CONTENT_SAME;
  else if (!same && table->state == PLAN_SAME)
    table->state = PLAN_CONTENT_CHANGED;
  return STATUS_OK;
}

static const ArchiveColumn *find_column(const ArchiveColumns *columns, const char *name) {
  for (size_t i = 0; i < columns->count; i++)
    if (strcmp(columns->items[i].name, name) == 0)
      return &columns->items[i];
  return NULL;
}

static bool is_key(const PlanTable *table, const char *name) {
  for (size_t i = 0; i < table->key_count; i++)
    if (strcmp(table->key[i], name) == 0)
      return true;
  return false;
}

static void columns_release(Columns *columns) {
  free(columns->use);
  free(columns->key);
}

/* What both have, in the checkpoint's order: a column that went cannot be compared, and one that has another type only
 * as text, where that is wanted. */
static void share_columns(PlanTable *table, bool retyped, const ArchiveColumns *was, const ArchiveColumns *is,
                          Columns *then, Columns *now, Buffer *list, size_t *keys) {
  *then = (Columns){memory_alloc(was->count + 1), memory_alloc(was->count + 1), was->count};
  *now = (Columns){memory_alloc(was->count + 1), memory_alloc(was->count + 1), 0};
  *keys = 0;
  for (size_t i = 0; i < was->count; i++) {
    const ArchiveColumn *column = find_column(is, was->items[i].name);
    if (!column || column->generated || (!retyped && strcmp(column->type, was->items[i].type) != 0))
      continue;
    then->use[i] = now->use[now->count] = true;
    then->key[i] = now->key[now->count] = is_key(table, column->name);
    *keys += then->key[i];
    buffer_append_text(list, now->count++ ? ", " : "(");
    sql_append_name(list, column->name);
  }
  buffer_append_text(list, ")");
  if (now->count < was->count)
    table->note = memory_format("compared without %zu of its columns, which are gone or have another type",
                                was->count - now->count);
}

static Status both_columns(Plan *plan, const PlanTable *table, ArchiveColumns *was, ArchiveColumns *is, Error *err) {
  RecoveryRun *run = &plan->run;
  long data = archive_index_find(run->stored, "TABLE DATA", table->then->schema, table->then->name);
  long live = archive_index_relation(run->now, table->now->schema, table->now->name);
  if (data == ARCHIVE_NO_ENTRY || live == ARCHIVE_NO_ENTRY)
    return error_set(err, ERR_NOT_FOUND, "it is not described in both");
  Status status = archive_copy_columns(run->stored, data, was, err);
  return status == STATUS_OK ? archive_table_columns(run->now, live, is, err) : status;
}

bool plan_columns_stand(Plan *plan, PlanTable *table) {
  CLEANUP(archive_columns_release) ArchiveColumns was = {0};
  CLEANUP(archive_columns_release) ArchiveColumns is = {0};
  Error unknown;
  if (both_columns(plan, table, &was, &is, &unknown) != STATUS_OK)
    return false;
  bool stand = true;
  for (size_t i = 0; stand && i < was.count; i++) {
    const ArchiveColumn *column = find_column(&is, was.items[i].name);
    stand = column && !column->generated;
    table->retyped = table->retyped || (column && strcmp(column->type, was.items[i].type) != 0);
  }
  return stand;
}

Status plan_rows_compare(Plan *plan, PlanTable *table, Error *err) {
  CLEANUP(archive_columns_release) ArchiveColumns was = {0};
  CLEANUP(archive_columns_release) ArchiveColumns is = {0};
  CLEANUP(columns_release) Columns then = {0};
  CLEANUP(columns_release) Columns now = {0};
  CLEANUP(buffer_release) Buffer list = {0};
  Error why;
  size_t keys = 0;
  if (table->key_count == 0)
    table->note = memory_strdup("it has no primary key: rows cannot be told apart");
  else if (table->then->rows > PLAN_ROWS_LIMIT)
    table->note = memory_format("it has more than the %d rows that are compared by key here: `pgseal restore --beside` "
                                "compares any number of them",
                                PLAN_ROWS_LIMIT);
  else if (both_columns(plan, table, &was, &is, &why) != STATUS_OK)
    table->note = memory_format("its rows cannot be compared: %s", why.message);
  if (table->note)
    return STATUS_OK;
  share_columns(table, plan->all || table->narrowed, &was, &is, &then, &now, &list, &keys);
  if (keys == table->key_count)
    return compare(plan, table, &then, &now, buffer_text(&list), err);
  free(table->note);
  table->note =
      memory_strdup("the columns of its primary key are gone or have another type: rows cannot be told apart");
  return STATUS_OK;
}
