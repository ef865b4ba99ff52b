#include <stdlib.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"
#include "common/postgres/convert.h"

static int by_bytes(const void *a, const void *b) {
  const FingerprintTable *left = *(const FingerprintTable *const *)a, *right = *(const FingerprintTable *const *)b;
  if (left->bytes != right->bytes)
    return left->bytes > right->bytes ? -1 : 1;
  int order = strcmp(left->schema, right->schema);
  return order ? order : strcmp(left->name, right->name);
}

/* As it is told, new: converted, if it was. */
static char *told(const char *name, const char *utf8) {
  return fingerprint_name(utf8 ? utf8 : name);
}

/* NULL: it cannot be told. */
static Pgseal__TableFacts *facts_of(const FingerprintTable *table, char *const utf8[2]) {
  char *schema = told(table->schema, utf8[0]), *name = told(table->name, utf8[1]);
  if (strlen(schema) > TABLE_LIST_NAME || strlen(name) > TABLE_LIST_NAME) {
    free(schema);
    free(name);
    return NULL;
  }
  Pgseal__TableFacts *facts = memory_alloc(sizeof *facts);
  pgseal__table_facts__init(facts);
  facts->schema = schema;
  facts->name = name;
  facts->rows = table->rows;
  facts->bytes = table->bytes;
  return facts;
}

/* Two for each table, its schema and its name: in UTF-8, NULL where they are that already or cannot be. */
static char **learn(DumpRun *run, const FingerprintTable *const *tables, size_t count) {
  char **utf8 = memory_alloc((2 * count + 1) * sizeof *utf8);
  if (!run || run->session_count == 0)
    return utf8;
  CLEANUP_FREE const char **texts = memory_alloc((2 * count + 1) * sizeof *texts);
  CLEANUP_FREE size_t *places = memory_alloc((2 * count + 1) * sizeof *places);
  size_t wanted = 0;
  for (size_t i = 0; i < 2 * count; i++) {
    const char *text = i % 2 ? tables[i / 2]->name : tables[i / 2]->schema;
    if (postgres_text_is_utf8(text, run->source.encoding))
      continue;
    texts[wanted] = text;
    places[wanted++] = i;
  }
  Error ignored; /* then nothing is converted */
  if (wanted == 0 || postgres_query(run->sessions[0], NULL, &ignored, "ROLLBACK") != STATUS_OK)
    return utf8;
  CLEANUP_FREE char **converted = memory_alloc(wanted * sizeof *converted);
  postgres_convert(run->sessions[0], run->source.encoding, "UTF8", texts, wanted,
                   &(PostgresWatch){dump_run_check_hook, run}, converted);
  for (size_t i = 0; i < wanted; i++)
    utf8[places[i]] = converted[i];
  return utf8;
}

static void take(Pgseal__TableList *list, const FingerprintTable *const *tables, char *const *utf8, size_t count,
                 size_t bytes) {
  size_t used = 0;
  for (size_t i = 0; i < count; i++) {
    Pgseal__TableFacts *facts = facts_of(tables[i], utf8 + 2 * i);
    if (!facts)
      continue;
    used += table_list_cost(facts->schema, facts->name);
    if (used > bytes) {
      pgseal__table_facts__free_unpacked(facts, NULL);
      break;
    }
    ARRAY_PUSH(list->tables, list->n_tables, facts);
  }
}

Pgseal__TableList *dump_table_list(DumpRun *run, const Fingerprint *fingerprint, size_t bytes) {
  Pgseal__TableList *list = memory_alloc(sizeof *list);
  pgseal__table_list__init(list);
  CLEANUP_FREE const FingerprintTable **tables = memory_alloc((fingerprint->table_count + 1) * sizeof *tables);
  for (size_t i = 0; i < fingerprint->table_count; i++)
    tables[i] = &fingerprint->tables[i];
  qsort(tables, fingerprint->table_count, sizeof *tables, by_bytes);
  size_t count = fingerprint->table_count < TABLE_LIST_COUNT ? fingerprint->table_count : TABLE_LIST_COUNT;
  CLEANUP_FREE char **utf8 = learn(run, tables, count);
  take(list, tables, utf8, count, bytes);
  for (size_t i = 0; i < 2 * count; i++)
    free(utf8[i]);
  list->more = fingerprint->table_count - list->n_tables;
  return list;
}
