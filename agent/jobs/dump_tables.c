#include <stdlib.h>

#include "agent/jobs/dump.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"

static int by_bytes(const void *a, const void *b) {
  const FingerprintTable *left = *(const FingerprintTable *const *)a, *right = *(const FingerprintTable *const *)b;
  if (left->bytes != right->bytes)
    return left->bytes > right->bytes ? -1 : 1;
  int order = strcmp(left->schema, right->schema);
  return order ? order : strcmp(left->name, right->name);
}

/* NULL: it cannot be told. */
static Pgseal__TableFacts *facts_of(const FingerprintTable *table) {
  char *schema = fingerprint_name(table->schema), *name = fingerprint_name(table->name);
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

Pgseal__TableList *dump_table_list(const Fingerprint *fingerprint, size_t bytes) {
  Pgseal__TableList *list = memory_alloc(sizeof *list);
  pgseal__table_list__init(list);
  const FingerprintTable **tables = memory_alloc((fingerprint->table_count + 1) * sizeof *tables);
  for (size_t i = 0; i < fingerprint->table_count; i++)
    tables[i] = &fingerprint->tables[i];
  qsort(tables, fingerprint->table_count, sizeof *tables, by_bytes);
  size_t used = 0;
  for (size_t i = 0; i < fingerprint->table_count && list->n_tables < TABLE_LIST_COUNT; i++) {
    Pgseal__TableFacts *facts = facts_of(tables[i]);
    if (!facts)
      continue;
    used += table_list_cost(facts->schema, facts->name);
    if (used > bytes) {
      pgseal__table_facts__free_unpacked(facts, NULL);
      break;
    }
    ARRAY_PUSH(list->tables, list->n_tables, facts);
  }
  list->more = fingerprint->table_count - list->n_tables;
  free(tables);
  return list;
}
