/* Silences and acknowledgements of alerts. */
#include "coordinator/ledger/reporting.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/ledger/db.h"

/* A silence that was made later than this from now was made by a clock that has been set back since: until then it
 * would last for longer than anybody asked for. Clocks of several coordinators differ by less. */
#define AHEAD_US ((int64_t)600 * 1000000)
#define COLUMNS "id, key, alert_id, database, condition, actor, reason, created_us, until_us, ended_us, ended_by"

Status ledger_silence_insert(Ledger *ledger, const LedgerSilence *silence, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO silence (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, silence->id);
  db_bind_text(s, &at, silence->key);
  db_bind_text(s, &at, silence->alert_id);
  db_bind_text(s, &at, silence->database);
  db_bind_text(s, &at, silence->condition);
  db_bind_text(s, &at, silence->actor);
  db_bind_text(s, &at, silence->reason);
  db_bind_integer(s, &at, silence->created_us);
  db_bind_integer(s, &at, silence->until_us);
  db_bind_integer(s, &at, silence->ended_us);
  db_bind_text(s, &at, silence->ended_by);
  return db_change(ledger, s, "silence", silence->id, err);
}

Status ledger_silence_end(Ledger *ledger, const char *id, const char *actor, int64_t now_us, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE silence SET ended_us = ?1, ended_by = ?2 WHERE id = ?3 AND ended_us = 0 AND "
                            "(until_us = 0 OR until_us > ?1)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, now_us);
  db_bind_text(s, &at, actor);
  db_bind_text(s, &at, id);
  return db_change(ledger, s, "silence", id, err);
}

Status ledger_silence_over(Ledger *ledger, const char *alert_id, int64_t now_us, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE silence SET ended_us = ? WHERE alert_id = ? AND ended_us = 0";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row;
  db_bind_integer(s, &at, now_us);
  db_bind_text(s, &at, alert_id);
  return db_step(ledger, s, &row, err);
}

static Status read_silence(DbStatement *s, LedgerSilence *out, Error *err) {
  (void)err;
  int at = 0;
  out->id = db_read_text(s, &at);
  out->key = db_read_text(s, &at);
  out->alert_id = db_read_text(s, &at);
  out->database = db_read_text(s, &at);
  out->condition = db_read_text(s, &at);
  out->actor = db_read_text(s, &at);
  out->reason = db_read_text(s, &at);
  out->created_us = db_read_integer(s, &at);
  out->until_us = db_read_integer(s, &at);
  out->ended_us = db_read_integer(s, &at);
  out->ended_by = db_read_text(s, &at);
  return STATUS_OK;
}

DB_LIST(read_silences, LedgerSilence, read_silence, ledger_silence_list_free);

Status ledger_silence_list(Ledger *ledger, int64_t now_us, bool all, LedgerSilence **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM silence WHERE ?1 = 1 OR (ended_us = 0 AND (until_us = 0 OR "
                            "(until_us > ?2 AND created_us <= ?3))) ORDER BY created_us DESC, id DESC LIMIT ?4";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, all);
  db_bind_integer(s, &at, now_us);
  db_bind_integer(s, &at, now_us + AHEAD_US);
  db_bind_integer(s, &at, LEDGER_SILENCES);
  return read_silences(ledger, s, items, count, err);
}

/* ---- for reports ---- */

static Status list_of_period(Ledger *ledger, const ReportFilter *filter, LedgerSilence **items, size_t *count,
                             Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM silence WHERE created_us < ?2 AND (until_us = 0 OR until_us > ?1) "
                            "AND (ended_us = 0 OR ended_us > ?1) "
                            "AND (?3 IS NULL OR database = ?3 OR (database IS NULL AND key IS NULL)) "
                            "AND in_scope(database, ?4) ORDER BY created_us, id";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, filter->from_us);
  db_bind_integer(s, &at, filter->to_us);
  db_bind_text(s, &at, filter->database);
  db_bind_text(s, &at, filter->scope);
  return read_silences(ledger, s, items, count, err);
}

typedef struct Said { /* the event of each, by its place in the list */
  int64_t sequence;
  char hash[LEDGER_HASH_SIZE];
} Said;

static void free_json(json_t **json) {
  json_decref(*json);
}

/* There is no index for it: they are few, and a report reads for seconds anyway. */
static Status read_said(Ledger *ledger, const LedgerSilence *items, size_t count, Said *said, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger,
                               "SELECT sequence, hash, detail FROM event WHERE kind IN ('alert.silenced', "
                               "'alert.acknowledged') ORDER BY sequence",
                               &s, err);
  for (bool row = true; status == STATUS_OK;) {
    status = db_step(ledger, s, &row, err);
    if (status != STATUS_OK || !row)
      return status;
    int at = 0;
    int64_t sequence = db_read_integer(s, &at);
    CLEANUP_FREE char *hash = db_read_text(s, &at);
    CLEANUP(free_json) json_t *detail = db_read_json(s, &at);
    const char *id = json_string_value(json_object_get(detail, "silence"));
    for (size_t i = 0; id && i < count; i++)
      if (strcmp(items[i].id, id) == 0) {
        said[i].sequence = sequence;
        snprintf(said[i].hash, sizeof said[i].hash, "%s", hash ? hash : "");
      }
  }
  return status;
}

Status ledger_report_silences(Ledger *ledger, const ReportFilter *filter, ReportSilenceVisit *visit, void *user,
                              Error *err) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  Status status = list_of_period(ledger, filter, &items, &count, err);
  if (status != STATUS_OK || count == 0)
    return status;
  CLEANUP_FREE Said *said = memory_alloc(count * sizeof *said);
  status = read_said(ledger, items, count, said, err);
  for (size_t i = 0; status == STATUS_OK && i < count; i++) {
    const ReportEvent event = {.sequence = said[i].sequence, .hash = said[i].hash};
    status = visit(user, &items[i], &event, err);
  }
  ledger_silence_list_free(items, count);
  return status;
}

void ledger_silence_list_free(LedgerSilence *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char *texts[] = {items[i].id,        items[i].key,   items[i].alert_id, items[i].database,
                     items[i].condition, items[i].actor, items[i].reason,   items[i].ended_by};
    for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
      free(texts[j]);
  }
  free(items);
}
