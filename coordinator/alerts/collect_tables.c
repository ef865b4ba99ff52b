/* Facts of single tables: read when there is another pair of sealed checkpoints, and not again. */
#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/internal.h"
#include "coordinator/tables/tables.h"

typedef struct Lost {
  const TablePair *pair;
  int64_t rows;
} Lost;

static const char *text_or_empty(const char *text) {
  return text ? text : "";
}

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

/* Tables whose rows the checkpoint says that it leaves out ("unlogged_data", ...), as an object: their names as
 * sql_qualified_name writes them, whatever the server quoted. New reference. */
static json_t *left_out(const json_t *omissions) {
  json_t *set = json_object();
  const json_t *item;
  size_t index;
  json_array_foreach(omissions, index, item) {
    const char *kind = text_or_empty(json_string_value(json_object_get(item, "kind")));
    const char *at = text_or_empty(json_string_value(json_object_get(item, "object"))), *end = at + strlen(at);
    char *names[2] = {NULL, NULL};
    size_t length = strlen(kind);
    bool rows = length > 5 && strcmp(kind + length - 5, "_data") == 0;
    if (rows && sql_take_qualified(&at, end, names, 2) == 2 && at == end) {
      CLEANUP_FREE char *name = sql_qualified_name(names[0], names[1]);
      json_object_set_new(set, name, json_true());
    }
    free(names[0]);
    free(names[1]);
  }
  return set;
}

static bool is_left_out(const json_t *set, const TablePair *pair) {
  if (pair->now)
    return false;
  CLEANUP_FREE char *name = sql_qualified_name(pair->before->schema, pair->before->name);
  return json_object_get(set, name) != NULL;
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
  CLEANUP(json_decrefp) json_t *omitted = left_out(facts->sealed[0].omissions);
  tables_compare(before, now, &pairs, &count);
  for (size_t i = 0; i < count; i++) {
    if (!table_fallen(&pairs[i], now, &limits) || is_left_out(omitted, &pairs[i]) ||
        excepted(settings, facts->name, pairs[i].before))
      continue;
    facts->fallen_count++;
    keep(most, &kept, FACTS_TABLES, (Lost){&pairs[i], pairs[i].before->rows - (pairs[i].now ? pairs[i].now->rows : 0)});
  }
  facts->fallen = kept ? json_array() : NULL;
  for (size_t i = 0; i < kept; i++)
    json_array_append_new(facts->fallen, fact_of(most[i].pair));
}

/* One that is damaged is not known: that is no reason to look at no database any more. */
static Status read_tables(Ledger *ledger, const char *id, Tables *out, bool *known, Error *err) {
  CLEANUP_FREE char *packed = NULL;
  Error damage;
  Status status = ledger_tables_get(ledger, id, &packed, err);
  *known = status == STATUS_OK && packed && tables_unpack(packed, out, &damage) == STATUS_OK;
  if (status == STATUS_OK && packed && !*known)
    log_warn("the tables of a checkpoint are not compared", "checkpoint", id, "error", damage.message, NULL);
  return status;
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
