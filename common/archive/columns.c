#include <stdlib.h>
#include <string.h>

#include "common/archive/ddl.h"
#include "common/archive/sql_text.h"
#include "common/archive/table_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum {
  COLUMN_LIMIT = 100 * 1000, /* PostgreSQL ends at 1600 */
  VISIT_LIMIT = 1000         /* tables looked at for one table's columns: a hostile TOC can have circles */
};

void archive_columns_release(ArchiveColumns *columns) {
  for (size_t i = 0; i < columns->count; i++)
    table_text_column_release(&columns->items[i]);
  free(columns->items);
  memset(columns, 0, sizeof *columns);
}

static Status unreadable(const ArchiveEntry *entry, const char *why, Error *err) {
  error_set(err, ERR_ARCHIVE_FORMAT, "the definition of %s %s.%s cannot be taken apart: %s", entry->desc, entry->schema,
            entry->tag, why);
  error_object(err, "%s.%s", entry->schema, entry->tag);
  return err->status;
}

static ArchiveColumn *find_column(const ArchiveColumns *columns, const char *name) {
  for (size_t i = 0; i < columns->count; i++)
    if (strcmp(columns->items[i].name, name) == 0)
      return &columns->items[i];
  return NULL;
}

static ArchiveColumn column_copy(const ArchiveColumn *column) {
  return (ArchiveColumn){.name = memory_strdup(column->name),
                         .type = memory_strdup(column->type),
                         .rest = memory_strdup(column->rest),
                         .default_sql = column->default_sql ? memory_strdup(column->default_sql) : NULL,
                         .not_null = column->not_null,
                         .generated = column->generated};
}

/* A column of a parent or type that the table lists again has the table's own clauses; a type it does not repeat stays.
 */
static void merge(ArchiveColumns *columns, const ArchiveColumn *column) {
  ArchiveColumn *there = find_column(columns, column->name);
  ArchiveColumn copy = column_copy(column);
  if (!there) {
    ARRAY_PUSH(columns->items, columns->count, copy);
    return;
  }
  if (!*copy.type || strncmp(copy.type, "COLLATE ", 8) == 0) { /* with options: what they say of the type is there */
    free(copy.type);
    copy.type = memory_strdup(there->type);
  }
  table_text_column_release(there);
  *there = copy;
}

static Status add_columns(const ArchiveIndex *index, long at, int *visits, ArchiveColumns *out, Error *err);

static Status add_parents(const ArchiveIndex *index, const ArchiveEntry *entry, const ArchiveTable *table, int *visits,
                          ArchiveColumns *out, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; !status && i < table->parent_count; i++) {
    long parent = archive_index_relation(index, table->parents[2 * i], table->parents[2 * i + 1]);
    status = parent == ARCHIVE_NO_ENTRY ? unreadable(entry, "a table it inherits from is not in the archive", err)
                                        : add_columns(index, parent, visits, out, err);
  }
  return status;
}

static Status add_type(const ArchiveIndex *index, const ArchiveEntry *entry, const ArchiveTable *table,
                       ArchiveColumns *out, Error *err) {
  const ArchiveToc *toc = archive_index_toc(index);
  long type = archive_index_find(index, "TYPE", table->of_type[0], table->of_type[1]);
  if (type == ARCHIVE_NO_ENTRY)
    return unreadable(entry, "its type is not in the archive", err);
  CLEANUP(archive_columns_release) ArchiveColumns attributes = {0};
  if (!table_text_type_columns(toc->entries[type].defn, &attributes))
    return unreadable(&toc->entries[type], "it is no composite type", err);
  for (size_t i = 0; i < attributes.count; i++)
    merge(out, &attributes.items[i]);
  return STATUS_OK;
}

static Status add_columns(const ArchiveIndex *index, long at, int *visits, ArchiveColumns *out, Error *err) {
  const ArchiveEntry *entry = &archive_index_toc(index)->entries[at];
  if (++*visits > VISIT_LIMIT || out->count > COLUMN_LIMIT)
    return unreadable(entry, "it inherits without end", err);
  CLEANUP(archive_table_release) ArchiveTable table = {0};
  Status status = archive_table_parse(entry, &table, err);
  if (!status)
    status = add_parents(index, entry, &table, visits, out, err);
  if (!status && table.of_type[1])
    status = add_type(index, entry, &table, out, err);
  for (size_t i = 0; !status && i < table.column_count; i++)
    merge(out, &table.columns[i]);
  return status;
}

Status archive_table_columns(const ArchiveIndex *index, long table, ArchiveColumns *out, Error *err) {
  CLEANUP(archive_columns_release) ArchiveColumns columns = {0};
  int visits = 0;
  Status status = add_columns(index, table, &visits, &columns, err);
  if (!status) {
    *out = columns;
    columns = (ArchiveColumns){0};
  }
  return status;
}

static void names_free(char **names, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(names[i]);
  free(names);
}

Status archive_copy_names(const ArchiveEntry *table_data, char ***names, size_t *count, Error *err) {
  const char *at = table_data->copy_stmt, *end = at + strlen(at);
  char **found = NULL;
  size_t found_count = 0;
  bool good = table_text_take(&at, end, "COPY ") && table_text_skip_qualified(&at, end);
  good = good && table_text_take(&at, end, " ");
  if (good && at < end && *at == '(') {
    do {
      char *name = NULL;
      at += at < end ? 1 : 0; /* the '(' or ',' */
      at += at < end && *at == ' ' ? 1 : 0;
      good = found_count < COLUMN_LIMIT && sql_take_name(&at, end, &name);
      if (good)
        ARRAY_PUSH(found, found_count, name);
    } while (good && at < end && *at == ',');
    good = good && table_text_take(&at, end, ")");
  }
  if (!good || !table_text_take(&at, end, " FROM stdin;")) {
    names_free(found, found_count);
    return unreadable(table_data, "its data is not in COPY format", err);
  }
  *names = found;
  *count = found_count;
  return STATUS_OK;
}

Status archive_copy_columns(const ArchiveIndex *index, long table_data, ArchiveColumns *out, Error *err) {
  const ArchiveEntry *entry = &archive_index_toc(index)->entries[table_data];
  long table = archive_index_relation(index, entry->schema, entry->tag);
  if (table == ARCHIVE_NO_ENTRY)
    return unreadable(entry, "its table is not in the archive", err);
  CLEANUP(archive_columns_release) ArchiveColumns all = {0}, chosen = {0};
  char **names = NULL;
  size_t count = 0;
  Status status = archive_table_columns(index, table, &all, err);
  if (!status)
    status = archive_copy_names(entry, &names, &count, err);
  for (size_t i = 0; !status && i < count; i++) {
    const ArchiveColumn *column = find_column(&all, names[i]);
    if (column)
      ARRAY_PUSH(chosen.items, chosen.count, column_copy(column));
    else
      status = unreadable(entry, "its table has no column of a name that its data has", err);
  }
  names_free(names, count);
  if (!status) {
    *out = chosen;
    chosen = (ArchiveColumns){0};
  }
  return status;
}
