#include "common/archive/table_text.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { ITEM_LIMIT = 100 * 1000 };

void table_text_column_release(ArchiveColumn *column) {
  free(column->name);
  free(column->type);
  free(column->rest);
  free(column->default_sql);
  memset(column, 0, sizeof *column);
}

void archive_table_release(ArchiveTable *table) {
  for (size_t i = 0; i < table->column_count; i++)
    table_text_column_release(&table->columns[i]);
  for (size_t i = 0; i < table->constraint_count; i++)
    free(table->constraints[i]);
  for (size_t i = 0; i < 2 * table->parent_count; i++)
    free(table->parents[i]);
  free(table->columns);
  free(table->constraints);
  free(table->parents);
  free(table->of_type[0]);
  free(table->of_type[1]);
  free(table->tail);
  free(table->settings);
  memset(table, 0, sizeof *table);
}

bool table_text_take(const char **at, const char *end, const char *text) {
  size_t size = strlen(text);
  if ((size_t)(end - *at) < size || memcmp(*at, text, size) != 0)
    return false;
  *at += size;
  return true;
}

bool table_text_skip_qualified(const char **at, const char *end) {
  char *names[1] = {NULL};
  size_t count = sql_take_qualified(at, end, names, 1);
  free(names[0]);
  return count > 0;
}

static const char *skip_blanks(const char *at, const char *end) {
  while (at < end && strchr(" \t\n\r", *at))
    at++;
  return at;
}

static char *trimmed(const char *start, const char *end) {
  start = skip_blanks(start, end);
  while (end > start && strchr(" \t\n\r", end[-1]))
    end--;
  return memory_strndup(start, (size_t)(end - start));
}

/* ---- one column ---- */

/* Words that begin a clause of a column. All but GENERATED and OPTIONS are reserved, so that no type or name is one of
 * them without quotes; a type named like those two has its schema before it. */
static bool at_clause(const char *at, const char *end) {
  static const char *const words[] = {"COLLATE", "DEFAULT", "GENERATED", "CONSTRAINT", "CHECK", "OPTIONS"};
  if (sql_at_word(at, end, "NOT"))
    return sql_at_word(skip_blanks(at + 3, end), end, "NULL");
  if (sql_at_word(at, end, "WITH"))
    return sql_at_word(skip_blanks(at + 4, end), end, "OPTIONS");
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (sql_at_word(at, end, words[i]))
      return true;
  return false;
}

/* Where the clause (or type) that starts at `at` ends: before the next word that begins one. Its own first `own` items
 * are not looked at. */
static const char *clause_end(const char *at, const char *end, int own) {
  for (int i = 0; at < end; i++) {
    const char *next = sql_skip_item(at, end);
    bool blank = next < end && strchr(" \t\n\r", *next) != NULL;
    at = next;
    if (!blank)
      continue;
    at = skip_blanks(at, end);
    if (i + 1 >= own && at < end && at_clause(at, end))
      return at;
  }
  return end;
}

/* Takes one clause at *at; COLLATE is a part of the type, all others go to rest. False: not as pg_dump writes it. */
static bool take_clause(const char **at, const char *end, ArchiveColumn *column, Buffer *type, Buffer *rest) {
  const char *start = *at;
  if (sql_at_word(start, end, "WITH")) { /* WITH OPTIONS says nothing */
    *at = skip_blanks(skip_blanks(start + 4, end) + strlen("OPTIONS"), end);
    return true;
  }
  /* The word, and what it cannot be without: an expression may start with NULL, NOT or CASE. */
  const char *stop = clause_end(start, end, 2);
  *at = stop;
  CLEANUP_FREE char *text = trimmed(start, stop);
  if (sql_at_word(start, end, "COLLATE")) {
    buffer_append_format(type, "%s%s", type->size ? " " : "", text);
    return strcmp(text, "COLLATE") != 0;
  }
  buffer_append_format(rest, "%s%s", rest->size ? " " : "", text);
  column->not_null |= sql_at_word(start, end, "NOT");
  if (sql_at_word(start, end, "DEFAULT") && !column->default_sql)
    column->default_sql = trimmed(start + strlen("DEFAULT"), stop);
  if (sql_at_word(start, end, "GENERATED") && !column->default_sql) {
    const char *open = start;
    while (open < stop && *open != '(')
      open = sql_skip_token(open, stop);
    column->generated = open < stop;
    column->default_sql = open < stop ? trimmed(open, sql_skip_item(open, stop)) : NULL;
  }
  return true;
}

/* "name type [COLLATE c] [DEFAULT e] [NOT NULL] ...": PostgreSQL 13 to 17 write the clauses in different orders. */
static bool parse_column(const char *at, const char *end, bool typed, ArchiveColumn *column) {
  CLEANUP(buffer_release) Buffer type = {0};
  CLEANUP(buffer_release) Buffer rest = {0};
  at = skip_blanks(at, end);
  if (!sql_take_name(&at, end, &column->name) || (at < end && !strchr(" \t\n\r", *at)))
    return false; /* what stands right behind a word could make another token of it: E'' */
  at = skip_blanks(at, end);
  if (!typed) {
    const char *stop = clause_end(at, end, 1);
    CLEANUP_FREE char *text = trimmed(at, stop);
    buffer_append_text(&type, text);
    at = stop;
  }
  bool good = typed || type.size > 0;
  while (good && at < end)
    good = at_clause(at, end) && take_clause(&at, end, column, &type, &rest);
  column->type = buffer_steal_text(&type);
  column->rest = buffer_steal_text(&rest);
  return good;
}

/* ---- the list ---- */

static bool at_constraint(const char *at, const char *end) {
  static const char *const words[] = {"CONSTRAINT", "CHECK", "NOT"};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (sql_at_word(at, end, words[i]))
      return true;
  return false;
}

/* PostgreSQL writes no comments here; and what is put together anew on one line would be lost behind one of a line. */
static bool has_line_comment(const char *at, const char *end) {
  for (; at < end; at = sql_skip_token(at, end))
    if (at + 1 < end && at[0] == '-' && at[1] == '-')
      return true;
  return false;
}

static bool take_item(const char *at, const char *end, bool typed, ArchiveTable *table) {
  at = skip_blanks(at, end);
  if (table->column_count + table->constraint_count >= ITEM_LIMIT || has_line_comment(at, end))
    return false;
  if (at_constraint(at, end)) {
    ARRAY_PUSH(table->constraints, table->constraint_count, trimmed(at, end));
    return true;
  }
  ArchiveColumn column = {0};
  bool good = parse_column(at, end, typed, &column);
  if (good)
    ARRAY_PUSH(table->columns, table->column_count, column);
  else
    table_text_column_release(&column);
  return good;
}

/* "(item, item)" at *at; moves behind it. */
static bool take_list(const char **at, const char *end, bool typed, ArchiveTable *table) {
  const char *start = *at + 1, *next = start;
  while (next < end && *next != ')') {
    if (*next != ',') {
      next = sql_skip_item(next, end);
      continue;
    }
    if (!take_item(start, next, typed, table))
      return false;
    start = ++next;
  }
  if (next >= end)
    return false;
  *at = next + 1;
  bool empty = skip_blanks(start, next) == next && table->column_count + table->constraint_count == 0;
  return empty || take_item(start, next, typed, table);
}

/* ---- the statement ---- */

/* "INHERITS (a, b.c)" where the tail starts. */
static bool take_parents(const char *at, const char *end, ArchiveTable *table) {
  at = skip_blanks(at, end);
  if (!table_text_take(&at, end, "INHERITS ("))
    return true;
  do {
    char *names[2] = {NULL, NULL};
    at += table->parent_count > 0; /* the comma */
    at = skip_blanks(at, end);
    if (sql_take_qualified(&at, end, names, 2) != 2 || table->parent_count >= ITEM_LIMIT) {
      free(names[0]);
      free(names[1]);
      return false;
    }
    table->parents = memory_resize(table->parents, 2 * (table->parent_count + 1), sizeof *table->parents);
    memcpy(&table->parents[2 * table->parent_count++], names, sizeof names);
  } while (at < end && *at == ',');
  return at < end && *at == ')';
}

static bool take_head(const char **at, const char *end, ArchiveTable *table) {
  if (!table_text_take(at, end, "CREATE "))
    return false;
  table->unlogged = table_text_take(at, end, "UNLOGGED ");
  table->foreign_table = table_text_take(at, end, "FOREIGN ");
  if (!table_text_take(at, end, "TABLE ") || !table_text_skip_qualified(at, end))
    return false;
  if (table_text_take(at, end, " OF ") && sql_take_qualified(at, end, table->of_type, 2) != 2)
    return false;
  *at = skip_blanks(*at, end);
  return true;
}

static bool parse_table(const char *at, const char *end, ArchiveTable *table) {
  if (!take_head(&at, end, table))
    return false;
  bool typed = table->of_type[1] != NULL;
  if (at < end && *at == '(') {
    if (!take_list(&at, end, typed, table))
      return false;
  } else if (!typed) {
    return false;
  }
  const char *stop = at;
  while (stop < end && *stop != ';')
    stop = sql_skip_item(stop, end);
  if (stop >= end || !take_parents(at, stop, table))
    return false;
  table->tail = trimmed(at, stop);
  table->partitioned = strncmp(table->tail, "PARTITION BY ", strlen("PARTITION BY ")) == 0;
  table->settings = trimmed(stop + 1, end);
  return true;
}

Status archive_table_parse(const ArchiveEntry *entry, ArchiveTable *out, Error *err) {
  ArchiveTable table = {0};
  if (archive_is_table(entry) && parse_table(entry->defn, entry->defn + strlen(entry->defn), &table)) {
    *out = table;
    return STATUS_OK;
  }
  archive_table_release(&table);
  error_set(err, ERR_ARCHIVE_FORMAT, "the definition of %s %s.%s cannot be taken apart", entry->desc, entry->schema,
            entry->tag);
  error_object(err, "%s.%s", entry->schema, entry->tag);
  return err->status;
}

bool table_text_type_columns(const char *defn, ArchiveColumns *out) {
  const char *at = defn, *end = defn + strlen(defn);
  CLEANUP(archive_table_release) ArchiveTable list = {0};
  if (!table_text_take(&at, end, "CREATE TYPE ") || !table_text_skip_qualified(&at, end) ||
      !table_text_take(&at, end, " AS (") || (at--, !take_list(&at, end, false, &list)) || list.constraint_count > 0)
    return false;
  out->items = STEAL(list.columns);
  out->count = list.column_count;
  list.column_count = 0;
  return true;
}
