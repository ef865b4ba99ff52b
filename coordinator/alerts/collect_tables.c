/* Facts of single tables: read when there is another pair of sealed checkpoints, and not again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/internal.h"
#include "coordinator/tables/tables.h"

typedef struct Lost {
  const TablePair *pair;
  int64_t rows;
} Lost;

/* May it fall? By "schema.name", or "database:schema.name". */
static bool excepted(const AlertSettings *settings, const char *database, const Table *table) {
  if (settings->table_except_count == 0)
    return false;
  CLEANUP_FREE char *full = memory_format("%s:%s.%s", database, table->schema, table->name);
  const char *name = full + strlen(database) + 1;
  for (size_t i = 0; i < settings->table_except_count; i++)
    if (text_glob(settings->table_except[i], name) || text_glob(settings->table_except[i], full))
      return true;
  return false;
}

/* The one that lost most first, of the first `most` that are kept. */
static void keep(Lost *list, size_t *count, size_t most, Lost lost) {
  size_t at = *count < most ? (*count)++ : most;
  while (at > 0 && list[at - 1].rows < lost.rows) {
    if (at < most)
      list[at] = list[at - 1];
    at--;
  }
  if (at < most)
    list[at] = lost;
}

static json_t *fact_of(const TablePair *pair) {
  char text[FACTS_TEXT];
  CLEANUP_FREE char *name = memory_format("%s.%s", pair->before->schema, pair->before->name);
  return json_pack("{s:s, s:I, s:o}", "table", text_clean(name, text, sizeof text), "before",
                   (json_int_t)pair->before->rows, "now",
                   pair->now                       ? json_integer(pair->now->rows)
                   : pair->change == TABLE_REMOVED ? json_null()
                                                   : json_integer(-1));
}

static void compare(const AlertSettings *settings, const Tables *before, const Tables *now, DatabaseFacts *facts) {
  const TableLimits limits = {settings->table_percent, settings->table_rows};
  Lost most[FACTS_TABLES];
  size_t kept = 0, count = 0;
  CLEANUP_FREE TablePair *pairs = NULL;
  tables_compare(before, now, &pairs, &count);
  for (size_t i = 0; i < count; i++) {
    if (!table_fallen(&pairs[i], now, &limits) || excepted(settings, facts->name, pairs[i].before))
      continue;
    facts->fallen_count++;
    keep(most, &kept, FACTS_TABLES, (Lost){&pairs[i], pairs[i].before->rows - (pairs[i].now ? pairs[i].now->rows : 0)});
  }
  facts->fallen = kept ? json_array() : NULL;
  for (size_t i = 0; i < kept; i++)
    json_array_append_new(facts->fallen, fact_of(most[i].pair));
}

static Status read_tables(Ledger *ledger, const char *id, Tables *out, bool *known, Error *err) {
  CLEANUP_FREE char *packed = NULL;
  Status status = ledger_tables_get(ledger, id, &packed, err);
  *known = status == STATUS_OK && packed;
  return *known ? tables_unpack(packed, out, err) : status;
}

Status collect_tables(Alerts *alerts, DatabaseFacts *facts, size_t *work, Error *err) {
  CLEANUP(tables_release) Tables before = {0};
  CLEANUP(tables_release) Tables now = {0};
  const char *ids[] = {facts->sealed_count > 1 ? facts->sealed[0].id : "",
                       facts->sealed_count > 1 ? facts->sealed[1].id : ""};
  bool known = false, known_before = false;
  if (strcmp(facts->compared[0], ids[0]) == 0 && strcmp(facts->compared[1], ids[1]) == 0)
    return STATUS_OK;
  Status status = *ids[0] ? read_tables(alerts->ledger, ids[0], &now, &known, err) : STATUS_OK;
  if (status == STATUS_OK && known)
    status = read_tables(alerts->ledger, ids[1], &before, &known_before, err);
  if (status != STATUS_OK)
    return status;
  json_decref(facts->fallen);
  facts->fallen = NULL;
  facts->fallen_count = 0;
  *work = before.count + now.count;
  if (known && known_before)
    compare(alerts->settings, &before, &now, facts);
  for (size_t i = 0; i < 2; i++)
    snprintf(facts->compared[i], sizeof facts->compared[i], "%s", ids[i]);
  return STATUS_OK;
}
