/* What parses text that comes from outside: the definition of a table (its columns, to the same when they are written
 * again), the columns of a COPY, the statements of an entry, a pattern. The first byte says which. Any bytes are read
 * or refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/archive/ddl.h"
#include "common/archive/pattern.h"
#include "common/archive/sql_text.h"
#include "common/base/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char EMPTY[] = "", TABLE[] = "TABLE", SCHEMA[] = "s", NAME[] = "t", TYPE[] = "TYPE";

static ArchiveEntry entry_of(char *desc, char *defn) {
  return (ArchiveEntry){.dump_id = 1,
                        .tag = NAME,
                        .desc = desc,
                        .defn = defn,
                        .drop_stmt = defn,
                        .copy_stmt = defn,
                        .schema = SCHEMA,
                        .tablespace = EMPTY,
                        .table_am = EMPTY,
                        .owner = NAME};
}

/* The columns that were read, written as a table again, are read the same. */
static void check_again(const ArchiveTable *table) {
  Buffer text = {0};
  buffer_append_text(&text, "CREATE TABLE s.t (\n");
  for (size_t i = 0; i < table->column_count; i++) {
    const ArchiveColumn *column = &table->columns[i];
    char *name = sql_name(column->name);
    buffer_append_format(&text, "%s    %s %s %s", i ? ",\n" : "", name, column->type, column->rest);
    free(name);
  }
  buffer_append_text(&text, "\n);\n");
  char *defn = buffer_steal_text(&text);
  ArchiveEntry entry = entry_of(TABLE, defn);
  ArchiveTable again = {0};
  Error err;
  if (archive_table_parse(&entry, &again, &err) != STATUS_OK || again.column_count != table->column_count)
    abort();
  for (size_t i = 0; i < table->column_count; i++)
    if (strcmp(again.columns[i].name, table->columns[i].name) != 0 ||
        strcmp(again.columns[i].rest, table->columns[i].rest) != 0 ||
        strcmp(again.columns[i].type, table->columns[i].type) != 0)
      abort();
  archive_table_release(&again);
  free(defn);
}

static void try_table(char *text) {
  ArchiveEntry entries[] = {entry_of(TABLE, text), entry_of(TYPE, text)};
  entries[1].dump_id = 2;
  ArchiveToc toc = {.entries = entries, .entry_count = 2};
  ArchiveTable table = {0};
  ArchiveColumns columns = {0};
  Error err = {0};
  if (archive_table_parse(&entries[0], &table, &err) == STATUS_OK && !table.of_type[1])
    check_again(&table);
  archive_table_release(&table);
  ArchiveIndex *index = archive_index_new(&toc);
  if (archive_table_columns(index, 0, &columns, &err) != STATUS_OK && !err.message[0])
    abort();
  archive_columns_release(&columns);
  archive_index_free(index);
}

static void try_statements(char *text) {
  static const char *const descs[] = {"FUNCTION", "TABLE", "SCHEMA", "COMMENT", "OPERATOR"};
  for (size_t i = 0; i < sizeof descs / sizeof *descs; i++) {
    ArchiveEntry entry = entry_of((char *)descs[i], text);
    ArchiveToc toc = {.entries = &entry, .entry_count = 1};
    StatementList list = {0};
    archive_entry_statements(&toc, &entry, &list);
    statement_list_release(&list);
    free(archive_grants_query(&entry));
  }
}

static void try_copy(char *text) {
  ArchiveEntry entry = entry_of(TABLE, text);
  char **names = NULL;
  size_t count = 0;
  Error err;
  if (archive_copy_names(&entry, &names, &count, &err) != STATUS_OK)
    return;
  for (size_t i = 0; i < count; i++)
    free(names[i]);
  free(names);
}

/* What matches a pattern without wildcards is its own text, and nothing is refused without a reason. */
static void try_pattern(const char *text) {
  ArchivePattern pattern = {0};
  Error err = {0};
  if (archive_pattern_parse(text, &pattern, &err) != STATUS_OK) {
    if (!err.message[0])
      abort();
    return;
  }
  if (!archive_pattern_part_matches(&pattern.name, pattern.name.text) && pattern.name.exact)
    abort();
  if (pattern.name.exact && archive_pattern_part_matches(&pattern.name, ""))
    abort();
  archive_name_distance(pattern.name.text, text, 20);
  archive_pattern_release(&pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  char *text = memory_strndup((const char *)data + 1, strnlen((const char *)data + 1, size - 1));
  switch (data[0] % 4) {
  case 0:
    try_table(text);
    break;
  case 1:
    try_statements(text);
    break;
  case 2:
    try_copy(text);
    break;
  default:
    try_pattern(text);
  }
  free(text);
  return 0;
}
