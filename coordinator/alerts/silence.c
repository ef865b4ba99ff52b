/* Silences: of what nobody is told for a while. Acknowledgements: what somebody looks after is not told again. Neither
 * changes what fires, nor hides it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/internal.h"

#define SECOND_US ((int64_t)1000000)
#define CHAIN_BROKEN "chain_broken"
enum { SILENCE_LEAST = 60, REASON_SIZE = 201 };

static bool is(const char *text, const char *other) {
  return text && strcmp(text, other) == 0;
}

const LedgerSilence *silence_of(const LedgerSilence *items, size_t count, const LedgerAlert *alert, bool acknowledged) {
  for (size_t i = 0; i < count; i++) {
    const LedgerSilence *one = &items[i];
    if (acknowledged != (one->alert_id != NULL) || (one->alert_id && strcmp(one->alert_id, alert->id) != 0))
      continue;
    if ((one->key && strcmp(one->key, alert->key) != 0) || (one->database && !is(alert->database, one->database)) ||
        (one->condition && strcmp(one->condition, alert->condition) != 0))
      continue;
    return one;
  }
  return NULL;
}

Status silence_load(Alerts *alerts, int64_t now_us, Error *err) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  Status status = ledger_silence_list(alerts->ledger, now_us, false, &items, &count, err);
  if (status != STATUS_OK)
    return status;
  ledger_silence_list_free(alerts->silences, alerts->silence_count);
  alerts->silences = items;
  alerts->silence_count = count;
  return STATUS_OK;
}

/* Silences can be made one after the other, and nobody need have been told of what is acknowledged. */
static bool has_to_be_told(const LedgerAlert *alert, int64_t now_us) {
  return strcmp(alert->condition, CHAIN_BROKEN) == 0 && alert->fired_us && !alert->notified_us &&
         now_us - alert->fired_us >= SILENCE_CHAIN_SECONDS * SECOND_US;
}

bool silence_quiet(const Alerts *alerts, const LedgerAlert *alert, int64_t now_us) {
  if (has_to_be_told(alert, now_us))
    return false;
  return silence_of(alerts->silences, alerts->silence_count, alert, false) ||
         silence_of(alerts->silences, alerts->silence_count, alert, true);
}

json_t *silence_show(const LedgerSilence *one) {
  char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE], ended[CLOCK_TEXT_SIZE];
  return json_pack("{s:s, s:b, s:s?, s:s?, s:s?, s:s?, s:s, s:s, s:s?, s:s?, s:s?}", "id", one->id, "acknowledged",
                   one->alert_id != NULL, "key", one->key, "database", one->database, "condition", one->condition, "by",
                   one->actor, "reason", one->reason, "since", clock_format(one->created_us, since), "until",
                   one->until_us ? clock_format(one->until_us, until) : NULL, "ended_at",
                   one->ended_us ? clock_format(one->ended_us, ended) : NULL, "ended_by", one->ended_by);
}

/* ---- what is asked for ---- */

static bool sees(const Requester *who, const char *database) {
  return !who->sees || who->sees(who->user, database);
}

static Status absent(const char *what, const char *name, Error *err) {
  error_set(err, ERR_NOT_FOUND, "there is no %s %s", what, name);
  error_object(err, "%s", name);
  error_remedy(err, "`pgseal alert list` shows what fires, `pgseal alert silences` what is silenced.");
  return ERR_NOT_FOUND;
}

/* The alert that is open by that key: its own texts become the silence's. */
static Status take_alert(const Alerts *alerts, const SilenceWish *wish, const Requester *who, LedgerSilence *out,
                         Error *err) {
  LedgerAlert *rows = NULL;
  size_t count = 0;
  Status status = ledger_alert_list(alerts->ledger, NULL, false, &rows, &count, err);
  const LedgerAlert *found = NULL;
  for (size_t i = 0; i < count && !found; i++)
    found = strcmp(rows[i].key, wish->key) == 0 ? &rows[i] : NULL;
  if (status == STATUS_OK && (!found || !sees(who, found->database)))
    status = absent("alert", wish->key, err);
  if (status == STATUS_OK) {
    out->key = memory_strdup(found->key);
    out->database = found->database ? memory_strdup(found->database) : NULL;
    out->alert_id = wish->acknowledge ? memory_strdup(found->id) : NULL;
  }
  ledger_alert_list_free(rows, count);
  return status;
}

static Status take_names(const Alerts *alerts, const SilenceWish *wish, const Requester *who, LedgerSilence *out,
                         Error *err) {
  if (wish->database &&
      (!sees(who, wish->database) || !fleet_database(dispatch_fleet(alerts->dispatch), wish->database)))
    return absent("database", wish->database, err);
  if (!wish->database && !sees(who, NULL))
    return error_set(err, ERR_FORBIDDEN, "this token is not for all databases: name one of its own");
  if (wish->condition && !condition_known(wish->condition, wish->database != NULL))
    return error_set(err, ERR_INVALID_ARGUMENT, "there is no alert %s%s; docs/alerts.md has them all", wish->condition,
                     wish->database ? " of databases" : "");
  out->database = wish->database ? memory_strdup(wish->database) : NULL;
  out->condition = wish->condition ? memory_strdup(wish->condition) : NULL;
  return STATUS_OK;
}

/* That the record was changed must not be kept from people for long. */
static int64_t most_seconds(const SilenceWish *wish) {
  bool of_chain = is(wish->condition, CHAIN_BROKEN) ||
                  (wish->key && strncmp(wish->key, CHAIN_BROKEN "/", sizeof CHAIN_BROKEN "/" - 1) == 0);
  return of_chain ? SILENCE_CHAIN_SECONDS : SILENCE_SECONDS;
}

/* As the ledger has them: only who leads loads them, and only once in a turn. */
static Status check_room(const Alerts *alerts, Error *err) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  Status status = ledger_silence_list(alerts->ledger, dispatch_wall_us(alerts->dispatch), false, &items, &count, err);
  ledger_silence_list_free(items, count);
  if (status == STATUS_OK && count >= LEDGER_SILENCES)
    return error_set(err, ERR_CONFLICT, "there are %d silences; end some first", LEDGER_SILENCES);
  return status;
}

static Status check(const Alerts *alerts, const SilenceWish *wish, Error *err) {
  bool named = wish->database || wish->condition;
  int64_t most = most_seconds(wish);
  if ((wish->key != NULL) == named)
    return error_set(err, ERR_INVALID_ARGUMENT, "name the key of an alert, or else a database, a condition, or both");
  if (!wish->reason || !*wish->reason || strlen(wish->reason) >= REASON_SIZE)
    return error_set(err, ERR_INVALID_ARGUMENT, "say why: a reason of 1 to %d bytes", REASON_SIZE - 1);
  if (!wish->acknowledge && (wish->seconds < SILENCE_LEAST || wish->seconds > most))
    return error_set(err, ERR_INVALID_ARGUMENT, "a silence lasts from 1 minute to %s (%d to %lld seconds)",
                     most == SILENCE_CHAIN_SECONDS ? "1 hour, where it is about a chain that is not whole" : "30 days",
                     SILENCE_LEAST, (long long)most);
  return check_room(alerts, err);
}

static Status note(Alerts *alerts, const char *kind, const LedgerSilence *one, const Requester *who, Error *err) {
  json_t *detail = json_object();
  char until[CLOCK_TEXT_SIZE];
  json_object_set_new(detail, "silence", json_string(one->id));
  if (one->key)
    json_object_set_new(detail, "key", json_string(one->key));
  if (one->condition)
    json_object_set_new(detail, "condition", json_string(one->condition));
  if (one->until_us)
    json_object_set_new(detail, "until", json_string(clock_format(one->until_us, until)));
  json_object_set_new(detail, "reason", json_string(one->reason));
  if (who->address)
    json_object_set_new(detail, "address", json_string(who->address));
  LedgerEvent event = {.kind = (char *)kind, .actor = (char *)who->name, .database = one->database, .detail = detail};
  Status status = ledger_event_append(alerts->ledger, &event, err);
  json_decref(detail);
  log_info("alerts are told otherwise", "event", kind, "silence", one->id, "by", who->name, NULL);
  return status;
}

static Status finish(Alerts *alerts, Status status, Error *err) {
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK)
    ledger_rollback(alerts->ledger);
  return status;
}

Status alerts_silence(Alerts *alerts, const SilenceWish *wish, const Requester *who, json_t **out, Error *err) {
  LedgerSilence *one = memory_alloc(sizeof *one);
  char reason[REASON_SIZE];
  Status status = check(alerts, wish, err);
  if (status == STATUS_OK)
    status = wish->key ? take_alert(alerts, wish, who, one, err) : take_names(alerts, wish, who, one, err);
  if (status == STATUS_OK) {
    one->id = memory_strdup(id_new().text);
    one->actor = who->name ? memory_strdup(who->name) : NULL;
    one->reason = memory_strdup(text_clean(wish->reason, reason, sizeof reason));
    one->created_us = dispatch_wall_us(alerts->dispatch);
    one->until_us = wish->acknowledge ? 0 : one->created_us + wish->seconds * SECOND_US;
    status = ledger_begin(alerts->ledger, err);
    if (status == STATUS_OK && one->alert_id) /* the last word counts */
      status = ledger_silence_over(alerts->ledger, one->alert_id, one->created_us, err);
    if (status == STATUS_OK)
      status = ledger_silence_insert(alerts->ledger, one, err);
    if (status == STATUS_OK)
      status = note(alerts, one->alert_id ? "alert.acknowledged" : "alert.silenced", one, who, err);
    status = finish(alerts, status, err);
  }
  if (status == STATUS_OK)
    *out = silence_show(one);
  ledger_silence_list_free(one, 1);
  return status;
}

Status alerts_silence_end(Alerts *alerts, const char *id, const Requester *who, Error *err) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  int64_t now_us = dispatch_wall_us(alerts->dispatch);
  Status status = ledger_silence_list(alerts->ledger, now_us, false, &items, &count, err);
  const LedgerSilence *found = NULL;
  for (size_t i = 0; i < count && !found; i++)
    found = strcmp(items[i].id, id) == 0 && sees(who, items[i].database) ? &items[i] : NULL;
  if (status == STATUS_OK && !found)
    status = absent("silence", id, err);
  if (status == STATUS_OK) {
    status = ledger_begin(alerts->ledger, err);
    if (status == STATUS_OK)
      status = ledger_silence_end(alerts->ledger, id, who->name, now_us, err);
    if (status == STATUS_OK)
      status = note(alerts, "alert.silence_ended", found, who, err);
    status = finish(alerts, status, err);
  }
  ledger_silence_list_free(items, count);
  return status;
}

Status alerts_silences(Alerts *alerts, bool all, const Requester *who, json_t **out, Error *err) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  Status status = ledger_silence_list(alerts->ledger, dispatch_wall_us(alerts->dispatch), all, &items, &count, err);
  if (status != STATUS_OK)
    return status;
  *out = json_array();
  for (size_t i = 0; i < count; i++)
    if (sees(who, items[i].database))
      json_array_append_new(*out, silence_show(&items[i]));
  ledger_silence_list_free(items, count);
  return STATUS_OK;
}
