/* Messages from when something happened to an alert until the receiver has them. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/alerts/internal.h"

#define SECOND_US ((int64_t)1000000)
enum { LOAD_LIMIT = 100000, BACKOFF_MOST_SECONDS = 300, WAIT_MOST_SECONDS = 3600, FAULTY_ATTEMPTS = 5 };

static size_t number_of(const Alerts *alerts, const AlertRoute *route) {
  return (size_t)(route - alerts->settings->routes);
}

/* ---- what is known of the ledger ---- */

void outbox_forget(Alerts *alerts) {
  for (size_t i = 0; i < alerts->open_count; i++)
    ledger_alert_release(&alerts->open[i].row);
  free(alerts->open);
  ledger_notification_list_free(alerts->waiting, alerts->waiting_count);
  alerts->open = NULL;
  alerts->waiting = NULL;
  alerts->open_count = alerts->waiting_count = 0;
  alerts->loaded = false;
}

static int by_key(const void *a, const void *b) {
  const OpenAlert *left = a, *right = b;
  return strcmp(left->row.key, right->row.key);
}

Status outbox_load(Alerts *alerts, Error *err) {
  LedgerAlert *rows = NULL;
  size_t count = 0;
  Status status = ledger_alert_list(alerts->ledger, NULL, false, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  outbox_forget(alerts);
  for (size_t i = 0; i < count; i++) {
    OpenAlert open = {.row = rows[i]};
    ARRAY_PUSH(alerts->open, alerts->open_count, open);
  }
  free(rows);
  if (count > 1)
    qsort(alerts->open, count, sizeof *alerts->open, by_key);
  status = ledger_notification_due(alerts->ledger, LOAD_LIMIT, &alerts->waiting, &alerts->waiting_count, err);
  alerts->loaded = status == STATUS_OK;
  return status;
}

static LedgerNotification *find(Alerts *alerts, const char *id) {
  for (size_t i = 0; i < alerts->waiting_count; i++)
    if (strcmp(alerts->waiting[i].id, id) == 0)
      return &alerts->waiting[i];
  return NULL;
}

static void drop(Alerts *alerts, LedgerNotification *row) {
  size_t at = (size_t)(row - alerts->waiting);
  ledger_notification_release(row);
  memmove(row, row + 1, (alerts->waiting_count - at - 1) * sizeof *row);
  alerts->waiting_count--;
}

static LedgerNotification *push(Alerts *alerts, LedgerNotification row) {
  ARRAY_PUSH(alerts->waiting, alerts->waiting_count, row);
  return &alerts->waiting[alerts->waiting_count - 1];
}

Status outbox_look(Alerts *alerts, Error *err) {
  LedgerNotification *rows = NULL;
  size_t count = 0;
  Status status = ledger_notification_due(alerts->ledger, LOAD_LIMIT, &rows, &count, err);
  for (size_t i = 0; i < count; i++) {
    if (!rows[i].test || find(alerts, rows[i].id))
      continue;
    push(alerts, rows[i]);
    rows[i] = (LedgerNotification){0};
  }
  ledger_notification_list_free(rows, count);
  return status;
}

/* ---- what is to be told ---- */

json_t *outbox_item(const LedgerAlert *alert, const char *event, int64_t now_us) {
  char since[CLOCK_TEXT_SIZE], at[CLOCK_TEXT_SIZE];
  return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:s, s:s}", "id", alert->id, "event", event, "condition",
                   alert->condition, "subject", alert->subject, "database", alert->database, "severity",
                   alert->severity, "summary", alert->summary, "remedy", alert->remedy, "since",
                   clock_format(alert->since_us, since), "at", clock_format(now_us, at));
}

static bool walk(LedgerNotification *row, NotificationEvent event, Error *err) {
  if (notification_walk(&row->state, event))
    return true;
  error_set(err, ERR_INTERNAL, "notification %s is %s: that step does not apply", row->id,
            notification_state_name(row->state));
  return false;
}

static void set_error(LedgerNotification *row, const char *text) {
  free(row->error);
  row->error = text ? memory_strdup(text) : NULL;
}

static Status give_up(Alerts *alerts, LedgerNotification *row, const char *why, int64_t now_us, Error *err) {
  if (!walk(row, NOTIFICATION_EVENT_GIVE_UP, err))
    return err->status;
  row->ended_us = now_us;
  if (why)
    set_error(row, why);
  log_error("a message about alerts was given up", "route", row->route, "id", row->id, "error", row->error, NULL);
  Status status = ledger_notification_put(alerts->ledger, row, err);
  if (status == STATUS_OK)
    status = letter_over(alerts, row, err);
  if (status == STATUS_OK)
    drop(alerts, row);
  return status;
}

/* The newest that may still be added to. */
static LedgerNotification *open_message(Alerts *alerts, const AlertRoute *route) {
  for (size_t i = alerts->waiting_count; i > 0; i--) {
    LedgerNotification *row = &alerts->waiting[i - 1];
    if (strcmp(row->route, route->name) != 0 || row->test || letter_is(row))
      continue;
    bool is_open = row->attempts == 0 && json_array_size(row->alerts) < MESSAGE_ALERTS;
    return is_open && route->kind != ROUTE_PAGERDUTY ? row : NULL;
  }
  return NULL;
}

static bool tells_of(const json_t *item, const LedgerAlert *alert, const char *event) {
  const char *id = json_string_value(json_object_get(item, "id"));
  const char *was = json_string_value(json_object_get(item, "event"));
  return id && was && strcmp(id, alert->id) == 0 && strcmp(was, event) == 0;
}

/* The message that would tell that it fired, and was never tried. *index: of the alert in it. */
static LedgerNotification *untold(Alerts *alerts, const AlertRoute *route, const LedgerAlert *alert, size_t *index) {
  for (size_t i = 0; i < alerts->waiting_count; i++) {
    LedgerNotification *row = &alerts->waiting[i];
    if (row->attempts > 0 || row->test || strcmp(row->route, route->name) != 0)
      continue;
    for (*index = 0; *index < json_array_size(row->alerts); ++*index)
      if (tells_of(json_array_get(row->alerts, *index), alert, "fired"))
        return row;
  }
  return NULL;
}

/* Nobody was told that it fired, and it is over: there is nothing to tell. */
static Status take_back(Alerts *alerts, LedgerNotification *row, size_t index, Error *err) {
  json_array_remove(row->alerts, index);
  if (json_array_size(row->alerts) > 0)
    return ledger_notification_put(alerts->ledger, row, err);
  Status status = ledger_notification_remove(alerts->ledger, row->id, err);
  if (status == STATUS_OK)
    drop(alerts, row);
  return status;
}

/* Where a receiver is away for days, what is new says more than what is old. */
static Status make_room(Alerts *alerts, const AlertRoute *route, int64_t now_us, Error *err) {
  size_t count = 0;
  LedgerNotification *oldest = NULL;
  for (size_t i = 0; i < alerts->waiting_count; i++) {
    if (strcmp(alerts->waiting[i].route, route->name) != 0 || letter_is(&alerts->waiting[i]))
      continue;
    bool at_work = count == 0 && alerts->routes[number_of(alerts, route)].under_way;
    count++;
    if (!oldest && !at_work)
      oldest = &alerts->waiting[i];
  }
  return count >= ALERTS_WAITING_LIMIT && oldest
             ? give_up(alerts, oldest, "too many messages wait for the route", now_us, err)
             : STATUS_OK;
}

static Status add_new(Alerts *alerts, const AlertRoute *route, json_t *item, bool test, int64_t now_us, char **id,
                      Error *err) {
  LedgerNotification row = {.id = memory_strdup(id_new().text),
                            .route = memory_strdup(route->name),
                            .state = NOTIFICATION_DUE,
                            .test = test,
                            .created_us = now_us,
                            .not_before_us = now_us,
                            .alerts = json_pack("[o]", item)};
  if (!test && route->kind != ROUTE_PAGERDUTY && !letter_is(&row)) /* for what is added to it */
    row.not_before_us += alerts->settings->group_seconds * SECOND_US;
  Status status = ledger_notification_put(alerts->ledger, &row, err);
  if (status == STATUS_OK && id)
    *id = memory_strdup(row.id);
  if (status == STATUS_OK && alerts->loaded)
    push(alerts, row);
  else
    ledger_notification_release(&row);
  return status;
}

Status outbox_add(Alerts *alerts, const char *name, const LedgerAlert *alert, const char *event, int64_t now_us,
                  Error *err) {
  const AlertRoute *route = alert_route(alerts->settings, name);
  if (!route)
    return STATUS_OK; /* it was in coordinator.yaml when the alert fired */
  size_t index = 0;
  LedgerNotification *row = strcmp(event, "resolved") == 0 ? untold(alerts, route, alert, &index) : NULL;
  if (row)
    return take_back(alerts, row, index, err);
  row = open_message(alerts, route);
  if (row) {
    json_array_append_new(row->alerts, outbox_item(alert, event, now_us));
    return ledger_notification_put(alerts->ledger, row, err);
  }
  Status status = make_room(alerts, route, now_us, err);
  return status == STATUS_OK ? add_new(alerts, route, outbox_item(alert, event, now_us), false, now_us, NULL, err)
                             : status;
}

Status outbox_test(Alerts *alerts, const AlertRoute *route, const char *actor, int64_t now_us, char **id, Error *err) {
  char at[CLOCK_TEXT_SIZE];
  CLEANUP_FREE char *summary = memory_format("This is a test of the route %s, asked for by %s.", route->name, actor);
  clock_format(now_us, at);
  json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:n, s:s, s:s, s:s, s:s, s:s}", "id", id_new().text, "event", "test",
                           "condition", "test", "subject", route->name, "database", "severity", "warning", "summary",
                           summary, "remedy", "", "since", at, "at", at);
  return add_new(alerts, route, item, true, now_us, id, err);
}

Status outbox_letter(Alerts *alerts, const char *name, json_t *item, bool waited_for, int64_t now_us, char **id,
                     Error *err) {
  const AlertRoute *route = alert_route(alerts->settings, name);
  if (route)
    return add_new(alerts, route, item, waited_for, now_us, id, err);
  json_decref(item);
  return error_set(err, ERR_NOT_FOUND, "there is no route %s", name);
}

/* ---- sending ---- */

int64_t outbox_backoff_us(int attempts, uint32_t random) {
  int64_t seconds = attempts > 9 ? BACKOFF_MOST_SECONDS : (int64_t)1 << (attempts > 0 ? attempts - 1 : 0);
  if (seconds > BACKOFF_MOST_SECONDS)
    seconds = BACKOFF_MOST_SECONDS;
  int64_t half_us = seconds * SECOND_US / 2;
  return half_us + (int64_t)((uint64_t)half_us * random / UINT32_MAX);
}

static uint32_t any_number(void) {
  uint32_t number = 0;
  return getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number ? number : UINT32_MAX / 2;
}

/* Its attempt is counted already. */
static Status retry(Alerts *alerts, LedgerNotification *row, const Record *record, int64_t now_us, Error *err) {
  set_error(row, record->error);
  bool smaller = record->faulty && letter_is(row) && letter_bare(row);
  if (!smaller && (row->test || (record->faulty && row->attempts >= FAULTY_ATTEMPTS)))
    return give_up(alerts, row, NULL, now_us, err);
  if (!walk(row, NOTIFICATION_EVENT_RETRY, err))
    return err->status;
  int64_t wait_us = smaller ? 0 : outbox_backoff_us(row->attempts, any_number());
  if (wait_us < record->retry_seconds * SECOND_US)
    wait_us = record->retry_seconds * SECOND_US;
  row->not_before_us = now_us + wait_us;
  log_warn("a message about alerts did not get there; it is sent again", "route", row->route, "id", row->id, "error",
           row->error, NULL);
  return ledger_notification_put(alerts->ledger, row, err);
}

/* Whoever waits for it is told what the receiver answered, by any coordinator: it is kept with the one item there is.
 */
static void put_answer(LedgerNotification *row, const Record *record) {
  json_object_set_new(
      json_array_get(row->alerts, 0), OUTBOX_ANSWER,
      json_pack("{s:I, s:I}", "code", (json_int_t)record->code, "milliseconds", (json_int_t)record->milliseconds));
}

static Status settle(Alerts *alerts, const Record *record, int64_t now_us, Error *err) {
  LedgerNotification *row = find(alerts, record->id);
  if (!row) /* another coordinator led meanwhile */
    return STATUS_OK;
  if (row->test)
    put_answer(row, record);
  if (!record->accepted)
    return retry(alerts, row, record, now_us, err);
  if (!walk(row, NOTIFICATION_EVENT_ACCEPTED, err))
    return err->status;
  row->ended_us = now_us;
  set_error(row, NULL);
  log_info("a message was delivered", "route", row->route, "id", row->id, NULL);
  Status status = ledger_notification_put(alerts->ledger, row, err);
  if (status == STATUS_OK)
    status = letter_over(alerts, row, err);
  if (status == STATUS_OK)
    drop(alerts, row);
  return status;
}

/* Until they are in the ledger they are kept here: what the receiver has is not sent again. */
Status outbox_settle(Alerts *alerts, Error *err) {
  int64_t now_us = dispatch_wall_us(alerts->dispatch);
  if (alerts->record_count == 0)
    return STATUS_OK;
  Status status = ledger_begin(alerts->ledger, err);
  for (size_t i = 0; status == STATUS_OK && i < alerts->record_count; i++)
    status = settle(alerts, &alerts->records[i], now_us, err);
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK) {
    ledger_rollback(alerts->ledger);
    return status;
  }
  alerts->record_count = 0;
  return STATUS_OK;
}

static bool is_recorded(const Alerts *alerts, const char *id) {
  for (size_t i = 0; i < alerts->record_count; i++)
    if (strcmp(alerts->records[i].id, id) == 0)
      return true;
  return false;
}

/* The attempt is in the ledger before it is made: from then on the message stays as it is. */
static Status try(Alerts *alerts, LedgerNotification *row, const AlertRoute *route, int64_t now_us, Delivery **out,
                  Error *err) {
  Error cause;
  Status made = letter_is(row) ? letter_make(alerts, row, route, out, &cause)
                               : delivery_make(alerts->settings, route, row, clock_wall_us() / SECOND_US, out, &cause);
  if (made == STATUS_OK && !*out) /* it is being made */
    return STATUS_OK;
  row->attempts++;
  if (made == STATUS_OK)
    return ledger_notification_put(alerts->ledger, row, err);
  if (made == ERR_NOT_FOUND && letter_is(row))
    return give_up(alerts, row, cause.message, now_us, err);
  Record record = {0};
  snprintf(record.error, sizeof record.error, "%.*s", DELIVERY_ERROR - 1, cause.message);
  return retry(alerts, row, &record, now_us, err);
}

/* Nothing waits for longer than group_seconds or a Retry-After may say: else the clock was set back meanwhile, and
 * those behind it would wait, too. */
static bool is_due(const LedgerNotification *row, int64_t now_us) {
  return row->not_before_us <= now_us || row->not_before_us - now_us > WAIT_MOST_SECONDS * SECOND_US;
}

typedef struct Round {
  Delivery *list[SENDER_LIMIT];
  size_t count, room;
  bool *passed; /* of each route: its turn was */
  bool letter;  /* of letters, the same */
} Round;

/* The oldest of each route, if it is its time; of letters, the oldest whose time it is. */
static Status try_one(Alerts *alerts, size_t index, int64_t now_us, Round *round, bool *dropped, Error *err) {
  LedgerNotification *row = &alerts->waiting[index];
  const AlertRoute *route = alert_route(alerts->settings, row->route);
  size_t before = alerts->waiting_count;
  Status status = STATUS_OK;
  if (!route || route->kind == ROUTE_PING) {
    status = give_up(alerts, row, "the route is not in coordinator.yaml any more", now_us, err);
  } else if (letter_is(row) ? is_due(row, now_us) && !round->letter : !round->passed[number_of(alerts, route)]) {
    *(letter_is(row) ? &round->letter : &round->passed[number_of(alerts, route)]) = true;
    if (now_us - row->created_us > ALERTS_GIVE_UP_SECONDS * SECOND_US)
      status = give_up(alerts, row, row->error ? NULL : "it is too old", now_us, err);
    else if (is_due(row, now_us) && round->count < round->room && !is_recorded(alerts, row->id)) {
      status = try(alerts, row, route, now_us, &round->list[round->count], err);
      round->count += round->list[round->count] != NULL;
    }
  }
  *dropped = alerts->waiting_count < before;
  return status;
}

static Status try_all(Alerts *alerts, bool tests, int64_t now_us, Round *round, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < alerts->waiting_count;) {
    bool dropped = false;
    if (alerts->waiting[i].test == tests)
      status = try_one(alerts, i, now_us, round, &dropped, err);
    i += !dropped;
  }
  return status;
}

static bool anything(const Alerts *alerts, int64_t now_us) {
  for (size_t i = 0; i < alerts->waiting_count; i++)
    if (is_due(&alerts->waiting[i], now_us) ||
        now_us - alerts->waiting[i].created_us > ALERTS_GIVE_UP_SECONDS * SECOND_US)
      return true;
  return false;
}

static bool *under_way(Alerts *alerts, const Delivery *delivery) {
  return delivery->letter ? &alerts->letter_under_way : &alerts->routes[number_of(alerts, delivery->of)].under_way;
}

static int64_t *begun_us(Alerts *alerts, const Delivery *delivery) {
  return delivery->letter ? &alerts->letter_begun_us : &alerts->routes[number_of(alerts, delivery->of)].begun_us;
}

Status outbox_send(Alerts *alerts, int64_t now_us, Error *err) {
  if (!alerts->sender || !anything(alerts, now_us))
    return STATUS_OK;
  CLEANUP_FREE bool *passed = memory_alloc(alerts->settings->route_count + 1);
  Round round = {.passed = passed, .letter = alerts->letter_under_way, .room = sender_room(alerts->sender)};
  for (size_t i = 0; i < alerts->settings->route_count; i++)
    passed[i] = alerts->routes[i].under_way;
  Status status = ledger_begin(alerts->ledger, err);
  if (status == STATUS_OK)
    status = try_all(alerts, true, now_us, &round, err); /* somebody waits for those */
  if (status == STATUS_OK)
    status = try_all(alerts, false, now_us, &round, err);
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK)
    ledger_rollback(alerts->ledger);
  for (size_t i = 0; i < round.count; i++) {
    if (status != STATUS_OK) {
      delivery_free(round.list[i]);
      continue;
    }
    *under_way(alerts, round.list[i]) = true;
    *begun_us(alerts, round.list[i]) = clock_monotonic_us();
    sender_submit(alerts->sender, round.list[i]);
  }
  return status;
}

/* ---- the sender's answers ---- */

static void ping_ended(Alerts *alerts, const Delivery *delivery, RouteNow *now) {
  bool was_well = !now->ping_error[0];
  snprintf(now->ping_error, sizeof now->ping_error, "%s", delivery->accepted ? "" : delivery->error);
  if (delivery->accepted)
    now->ping_ended_us = dispatch_wall_us(alerts->dispatch);
  if (was_well && !delivery->accepted)
    log_warn("a ping did not get there; it is tried again", "route", ((const AlertRoute *)delivery->of)->name, "error",
             now->ping_error, NULL);
}

void outbox_done(void *user, Delivery *delivery) {
  Alerts *alerts = user;
  RouteNow *now = &alerts->routes[number_of(alerts, delivery->of)];
  *under_way(alerts, delivery) = false;
  if (((const AlertRoute *)delivery->of)->kind == ROUTE_PING) {
    ping_ended(alerts, delivery, now);
  } else if (alerts->record_count < RECORDS_LIMIT) {
    Record *record = &alerts->records[alerts->record_count++];
    *record = (Record){.accepted = delivery->accepted,
                       .faulty = delivery->faulty,
                       .retry_seconds = delivery->retry_seconds,
                       .code = delivery->code,
                       .milliseconds = (clock_monotonic_us() - *begun_us(alerts, delivery)) / 1000};
    snprintf(record->id, sizeof record->id, "%s", delivery->id);
    snprintf(record->error, sizeof record->error, "%s", delivery->error);
  }
  delivery_free(delivery);
  alerts_go_on(alerts);
}

/* Only while all is well here: what is expected, and does not come, is what tells. */
void outbox_ping(Alerts *alerts) {
  int64_t now_us = clock_monotonic_us();
  for (size_t i = 0; i < alerts->settings->route_count; i++) {
    const AlertRoute *route = &alerts->settings->routes[i];
    RouteNow *now = &alerts->routes[i];
    Delivery *delivery = NULL;
    Error err;
    if (route->kind != ROUTE_PING || now->under_way || !alerts->sender || sender_room(alerts->sender) == 0 ||
        (now->pinged_us && now_us - now->pinged_us < route->every_seconds * SECOND_US))
      continue;
    now->pinged_us = now_us;
    if (delivery_make(alerts->settings, route, NULL, 0, &delivery, &err) != STATUS_OK) {
      snprintf(now->ping_error, sizeof now->ping_error, "%.*s", DELIVERY_ERROR - 1, err.message);
      continue;
    }
    now->under_way = true;
    sender_submit(alerts->sender, delivery);
  }
}
