/* What holds, and what follows from it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/internal.h"

#define SECOND_US ((int64_t)1000000)
enum { AGENTS_KNOWN_SECONDS = 30, ROUTES_OF_ALERT = 16 };

/* ---- what holds ---- */

static void held_release(HeldList *list) {
  free(list->items);
}

static void add(HeldList *list, const char *condition, Severity severity, const char *subject, const char *database,
                const Finding *finding) {
  Held held = {.condition = condition, .database = database, .severity = severity, .finding = *finding};
  snprintf(held.subject, sizeof held.subject, "%s", subject);
  ARRAY_PUSH(list->items, list->count, held);
}

static void hold_databases(const Alerts *alerts, int64_t now_us, HeldList *list) {
  for (size_t i = 0; i < alerts->database_count; i++) {
    const DatabaseFacts *facts = &alerts->databases[i];
    for (size_t j = 0; alerts->due[i] && facts->known && j < database_rule_count; j++) {
      const DatabaseRule *rule = &database_rules[j];
      Finding finding;
      if (rule->holds(facts, alerts->settings, now_us, &finding))
        add(list, rule->name, rule->severity, facts->name, facts->name, &finding);
    }
  }
}

/* After a start every agent has to come back first. */
static bool agents_known(const Alerts *alerts) {
  int64_t wait_s = alerts->settings->agent_lost_seconds;
  if (wait_s > AGENTS_KNOWN_SECONDS)
    wait_s = AGENTS_KNOWN_SECONDS;
  return clock_monotonic_us() - alerts->led_us >= wait_s * SECOND_US;
}

static Status hold_agents(Alerts *alerts, int64_t now_us, HeldList *list, Error *err) {
  Agents *agents = dispatch_agents(alerts->dispatch);
  LedgerAgent *rows = NULL;
  size_t count = 0;
  Status status = ledger_agent_list(alerts->ledger, &rows, &count, err);
  free(alerts->agents);
  alerts->agents = NULL;
  alerts->agent_count = 0;
  for (size_t i = 0; status == STATUS_OK && i < agents_count(agents); i++) {
    AgentFacts facts;
    Finding finding;
    if (!collect_agent(alerts, agents_at(agents, i), rows, count, &facts))
      continue;
    if (agents_known(alerts) && condition_agent_lost(&facts, alerts->settings, &finding))
      add(list, "agent_lost", SEVERITY_CRITICAL, facts.name, NULL, &finding);
    if (condition_agent_disk(&facts, alerts->settings, &finding))
      add(list, "agent_disk_low", SEVERITY_WARNING, facts.name, NULL, &finding);
    if (condition_certificate_expiring(&facts, now_us, &finding))
      add(list, "agent_certificate_expiring", SEVERITY_WARNING, facts.name, NULL, &finding);
    if (condition_repository_unlocked(&facts, alerts->settings, &finding))
      add(list, "repository_unlocked", SEVERITY_WARNING, facts.name, NULL, &finding);
    if (condition_repository_removable(&facts, &finding))
      add(list, "repository_removable", SEVERITY_WARNING, facts.name, NULL, &finding);
    ARRAY_PUSH(alerts->agents, alerts->agent_count, facts);
  }
  ledger_agent_list_free(rows, count);
  return status;
}

static void hold_rest(const Alerts *alerts, int64_t now_us, HeldList *list) {
  Finding finding;
  for (size_t i = 0; i < alerts->expiry_count; i++) {
    bool token = i < alerts->token_count;
    if (condition_expiring(token ? "the token" : "the certificate", &alerts->expiries[i], now_us, &finding))
      add(list, token ? "token_expiring" : "certificate_expiring", SEVERITY_WARNING, alerts->expiries[i].name, NULL,
          &finding);
  }
  if (condition_chain_broken(&alerts->coordinator, &finding))
    add(list, "chain_broken", SEVERITY_CRITICAL, "ledger", NULL, &finding);
  if (condition_fleet_unusable(&alerts->coordinator, &finding))
    add(list, "fleet_unusable", SEVERITY_WARNING, "fleet", NULL, &finding);
}

Status evaluate(Alerts *alerts, Error *err) {
  CLEANUP(held_release) HeldList list = {0};
  int64_t now_us = dispatch_wall_us(alerts->dispatch);
  hold_databases(alerts, now_us, &list);
  hold_rest(alerts, now_us, &list);
  Status status = hold_agents(alerts, now_us, &list, err);
  if (status == STATUS_OK)
    status = evaluate_apply(alerts, &list, now_us, err);
  if (status == STATUS_OK && alerts->due)
    memset(alerts->due, 0, alerts->database_count);
  return status;
}

/* ---- what follows ---- */

typedef struct Turn {
  Alerts *alerts;
  int64_t now_us;
  bool begun;
} Turn;

/* Nothing is written while nothing happens. */
static Status begin(Turn *turn, Error *err) {
  if (turn->begun)
    return STATUS_OK;
  Status status = ledger_begin(turn->alerts->ledger, err);
  turn->begun = status == STATUS_OK;
  return status;
}

static bool useful(const AlertSettings *settings, const char *name) {
  const AlertRoute *route = alert_route(settings, name);
  return route && route->kind != ROUTE_PING;
}

/* Names, each once; those that coordinator.yaml has, and that take messages. */
static json_t *useful_of(const AlertSettings *settings, const char *const *names, size_t count) {
  json_t *list = json_array();
  for (size_t i = 0; i < count && json_array_size(list) < ROUTES_OF_ALERT; i++) {
    bool twice = false;
    for (size_t j = 0; j < i; j++)
      twice |= strcmp(names[i], names[j]) == 0;
    if (!twice && useful(settings, names[i]))
      json_array_append_new(list, json_string(names[i]));
  }
  return list;
}

/* Those of the database's policies; the default ones if they name none, or none that there is: an alert that is told to
 * nobody helps nobody. */
static json_t *routes_of(const Alerts *alerts, const char *database) {
  const AlertSettings *settings = alerts->settings;
  const FleetDatabase *found = database ? fleet_database(dispatch_fleet(alerts->dispatch), database) : NULL;
  json_t *own = useful_of(settings, found ? found->policy.alerts : NULL, found ? found->policy.alert_count : 0);
  if (json_array_size(own) > 0)
    return own;
  json_decref(own);
  return useful_of(settings, settings->fallback, settings->fallback_count);
}

static Status tell(Turn *turn, const LedgerAlert *row, const char *event, Error *err) {
  size_t index;
  const json_t *name;
  Status status = STATUS_OK;
  json_array_foreach(row->routes, index, name) {
    if (status == STATUS_OK)
      status = outbox_add(turn->alerts, json_string_value(name), row, event, turn->now_us, err);
  }
  return status;
}

static void set_text(char **text, const char *value) {
  if (*text && strcmp(*text, value) == 0)
    return;
  free(*text);
  *text = memory_strdup(value);
}

static void log_step(const LedgerAlert *row, const char *what) {
  log_info(what, "condition", row->condition, "subject", row->subject, "summary", row->summary, NULL);
}

static Status wrong_step(const LedgerAlert *row, Error *err) {
  return error_set(err, ERR_INTERNAL, "alert %s is %s: that step does not apply", row->key,
                   alert_state_name(row->state));
}

static Status fire(Turn *turn, LedgerAlert *row, Error *err) {
  if (!alert_walk(&row->state, ALERT_EVENT_RIPE))
    return wrong_step(row, err);
  bool quiet = silence_quiet(turn->alerts, row, turn->now_us);
  row->fired_us = turn->now_us;
  row->notified_us = quiet ? 0 : turn->now_us; /* 0: it is told when nobody silences it any more */
  json_decref(row->routes);
  row->routes = routes_of(turn->alerts, row->database);
  Status status = begin(turn, err);
  if (status == STATUS_OK)
    status = ledger_alert_put(turn->alerts->ledger, row, err);
  if (status == STATUS_OK && !quiet)
    status = tell(turn, row, "fired", err);
  log_step(row, quiet ? "alert fires, silenced" : "alert fires");
  return status;
}

static Status remind(Turn *turn, LedgerAlert *row, Error *err) {
  bool told = row->notified_us != 0;
  row->notified_us = turn->now_us;
  json_decref(row->routes);
  row->routes = routes_of(turn->alerts, row->database); /* as the policies say now */
  Status status = begin(turn, err);
  if (status == STATUS_OK)
    status = ledger_alert_put(turn->alerts->ledger, row, err);
  return status == STATUS_OK ? tell(turn, row, told ? "still_firing" : "fired", err) : status;
}

/* What it said holds no more, and there is nothing to be done about it. */
static void set_over(LedgerAlert *row) {
  char text[FINDING_SUMMARY], span[FINDING_SPAN];
  CLEANUP_FREE char *whole = memory_format(
      "over after %s; it was: %s", finding_span((row->resolved_us - row->since_us) / SECOND_US, span), row->summary);
  set_text(&row->summary, text_clip(whole, text, sizeof text));
  set_text(&row->remedy, "");
}

/* Of what nobody was told there is nothing to keep. */
static Status end(Turn *turn, LedgerAlert *row, Error *err) {
  bool fired = row->state == ALERT_FIRING, told = fired && row->notified_us != 0;
  if (!alert_walk(&row->state, ALERT_EVENT_OVER))
    return wrong_step(row, err);
  row->resolved_us = turn->now_us;
  set_over(row);
  Status status = begin(turn, err);
  if (status == STATUS_OK)
    status = fired ? ledger_alert_put(turn->alerts->ledger, row, err)
                   : ledger_alert_remove(turn->alerts->ledger, row->key, err);
  if (status == STATUS_OK && told)
    status = tell(turn, row, "resolved", err);
  if (status == STATUS_OK && silence_of(turn->alerts->silences, turn->alerts->silence_count, row, true))
    status = ledger_silence_over(turn->alerts->ledger, row->id, turn->now_us, err);
  if (fired)
    log_step(row, "alert is over");
  return status;
}

static int by_key(const void *a, const void *b) {
  const OpenAlert *left = a, *right = b;
  return strcmp(left->row.key, right->row.key);
}

/* The first `count` of them are in order. */
static OpenAlert *find(Alerts *alerts, size_t count, const char *key) {
  const OpenAlert wanted = {.row.key = (char *)key};
  return count ? bsearch(&wanted, alerts->open, count, sizeof wanted, by_key) : NULL;
}

static OpenAlert *append(Alerts *alerts, const Held *held, const char *key, int64_t now_us) {
  OpenAlert fresh = {.row = {.key = memory_strdup(key),
                             .id = memory_strdup(id_new().text),
                             .condition = memory_strdup(held->condition),
                             .subject = memory_strdup(held->subject),
                             .database = held->database ? memory_strdup(held->database) : NULL,
                             .severity = memory_strdup(severity_name(held->severity)),
                             .state = ALERT_PENDING,
                             .since_us = now_us}};
  ARRAY_PUSH(alerts->open, alerts->open_count, fresh);
  return &alerts->open[alerts->open_count - 1];
}

/* A clock that ran ahead was set back: what comes is counted from now. */
static void not_ahead(int64_t *wall_us, int64_t now_us) {
  if (*wall_us > now_us)
    *wall_us = now_us;
}

/* known: how many there were before this turn. */
static Status take_held(Turn *turn, const Held *held, size_t known, Error *err) {
  Alerts *alerts = turn->alerts;
  CLEANUP_FREE char *key = memory_format("%s/%s", held->condition, held->subject);
  OpenAlert *open = find(alerts, known, key);
  bool fresh = !open;
  if (fresh)
    open = append(alerts, held, key, turn->now_us);
  LedgerAlert *row = &open->row;
  open->held = true;
  not_ahead(&row->since_us, turn->now_us);
  not_ahead(&row->notified_us, turn->now_us);
  not_ahead(&row->fired_us, turn->now_us);
  set_text(&row->summary, held->finding.summary);
  set_text(&row->remedy, held->finding.remedy);
  if (row->state == ALERT_PENDING && turn->now_us - row->since_us >= held->finding.hold_us)
    return fire(turn, row, err);
  int64_t repeat_us = alerts->settings->repeat_hours * 3600 * SECOND_US;
  bool untold = row->state == ALERT_FIRING && !row->notified_us;
  if ((untold || repeat_us) && row->state == ALERT_FIRING && silence_quiet(alerts, row, turn->now_us))
    return STATUS_OK;
  if (untold)
    return remind(turn, row, err);
  if (row->state == ALERT_FIRING && repeat_us && turn->now_us - row->notified_us >= repeat_us)
    return remind(turn, row, err);
  if (!fresh)
    return STATUS_OK;
  Status status = begin(turn, err);
  return status == STATUS_OK ? ledger_alert_put(alerts->ledger, row, err) : status;
}

/* What an agent could not find out about its repository, such as while that is not there, stays as it was. */
static bool repository_known(const Alerts *alerts, const LedgerAlert *row) {
  bool lock = strcmp(row->condition, "repository_unlocked") == 0;
  for (size_t i = 0; i < alerts->agent_count; i++) {
    const char *fact = lock ? alerts->agents[i].lock : alerts->agents[i].removes;
    if (strcmp(alerts->agents[i].name, row->subject) == 0)
      return *fact && strcmp(fact, "unknown") != 0;
  }
  return true; /* there is no such agent any more */
}

/* While an agent is away its disk may be as full as it was. */
static bool disk_known(const Alerts *alerts, const char *name) {
  const Agent *agent = agents_find(dispatch_agents(alerts->dispatch), name);
  int64_t age_us = 0;
  return !agent || !agent_admitted(agent) || dispatch_machine(alerts->dispatch, name, &age_us);
}

/* Is it known whether it holds? A database's facts are read one after the other when a coordinator begins. */
static bool is_known(const Alerts *alerts, const LedgerAlert *row) {
  if (strcmp(row->condition, "chain_broken") == 0)
    return alerts->walked;
  if (strcmp(row->condition, "agent_lost") == 0)
    return agents_known(alerts);
  if (strncmp(row->condition, "repository_", strlen("repository_")) == 0)
    return repository_known(alerts, row);
  if (strcmp(row->condition, "agent_disk_low") == 0)
    return disk_known(alerts, row->subject);
  const DatabaseFacts *facts = row->database ? collect_find(alerts, row->database) : NULL;
  return !facts || (facts->known && alerts->due[facts - alerts->databases]); /* or there is no such database any more */
}

static Status end_others(Turn *turn, Error *err) {
  Alerts *alerts = turn->alerts;
  Status status = STATUS_OK;
  size_t kept = 0;
  for (size_t i = 0; i < alerts->open_count; i++) {
    OpenAlert *open = &alerts->open[i];
    if (status == STATUS_OK && !open->held && is_known(alerts, &open->row)) {
      status = end(turn, &open->row, err);
      ledger_alert_release(&open->row);
      continue;
    }
    alerts->open[kept++] = *open;
  }
  alerts->open_count = kept;
  return status;
}

Status evaluate_apply(Alerts *alerts, const HeldList *held, int64_t now_us, Error *err) {
  Turn turn = {.alerts = alerts, .now_us = now_us};
  size_t known = alerts->open_count;
  Status status = silence_load(alerts, now_us, err);
  for (size_t i = 0; i < known; i++)
    alerts->open[i].held = false;
  for (size_t i = 0; status == STATUS_OK && i < held->count; i++)
    status = take_held(&turn, &held->items[i], known, err);
  if (status == STATUS_OK)
    status = end_others(&turn, err);
  if (alerts->open_count > 1 && turn.begun)
    qsort(alerts->open, alerts->open_count, sizeof *alerts->open, by_key);
  if (status == STATUS_OK && turn.begun)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK && turn.begun)
    ledger_rollback(alerts->ledger);
  return status;
}
