#include "coordinator/gateway/joining.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"

enum { SHORT_TEXT = 128, LIST_LIMIT = 64, EVENT_US = 60 * 1000 * 1000 };

static json_t *clean_json(const char *text) {
  char clean[SHORT_TEXT];
  return json_string(text_clean(text, clean, sizeof clean));
}

static bool allowed(const ConfigAgent *agent, const char *capability) {
  for (size_t i = 0; i < agent->capability_count; i++)
    if (strcmp(agent->capabilities[i], capability) == 0)
      return true;
  return false;
}

static bool serves(const ConfigAgent *agent, const char *database) {
  for (size_t i = 0; i < agent->database_count; i++)
    if (text_glob(agent->databases[i], database))
      return true;
  return false;
}

static json_t *describe(const ConfigAgent *agent, const Pgseal__Authenticate *message) {
  json_t *capabilities = json_array(), *databases = json_array(), *tools = json_object();
  for (size_t i = 0; i < message->n_capabilities && i < LIST_LIMIT; i++)
    if (allowed(agent, message->capabilities[i]))
      json_array_append_new(capabilities, clean_json(message->capabilities[i]));
  for (size_t i = 0; i < message->n_databases && json_array_size(databases) < LIST_LIMIT; i++)
    if (text_name_valid(message->databases[i]) && serves(agent, message->databases[i]))
      json_array_append_new(databases, json_string(message->databases[i]));
  for (size_t i = 0; i < message->n_tools && i < LIST_LIMIT; i++) {
    char name[SHORT_TEXT];
    json_object_set_new(tools, text_clean(message->tools[i]->name, name, sizeof name),
                        clean_json(message->tools[i]->version));
  }
  return json_pack("{s:o, s:o, s:o}", "capabilities", capabilities, "databases", databases, "tools", tools);
}

/* Is there a row of this agent that says the same? */
static bool known(Ledger *ledger, const LedgerAgent *now) {
  LedgerAgent *items = NULL;
  size_t count = 0;
  Error ignored;
  bool same = false;
  if (ledger_agent_list(ledger, &items, &count, &ignored) != STATUS_OK)
    return false;
  for (size_t i = 0; i < count; i++)
    same |= strcmp(items[i].name, now->name) == 0 && items[i].version && strcmp(items[i].version, now->version) == 0 &&
            json_equal(items[i].detail, now->detail);
  ledger_agent_list_free(items, count);
  return same;
}

static Status write(Ledger *ledger, const LedgerAgent *row, bool joined, Error *err) {
  Status status = ledger_agent_put(ledger, row, err);
  if (status || !joined)
    return status;
  LedgerEvent event = {.kind = (char *)"agent.joined", .agent = row->name, .detail = row->detail};
  return ledger_event_append(ledger, &event, err);
}

Status joining_record(Ledger *ledger, const ConfigAgent *agent, const Pgseal__Authenticate *message, Joining *joining,
                      Error *err) {
  char version[SHORT_TEXT], host[SHORT_TEXT];
  int64_t now = clock_wall_us();
  LedgerAgent row = {.name = (char *)agent->name,
                     .version = text_clean(message->version, version, sizeof version),
                     .host = text_clean(message->host, host, sizeof host),
                     .detail = describe(agent, message),
                     .first_seen_us = now,
                     .last_seen_us = now};
  const int64_t monotonic_us = clock_monotonic_us();
  bool changed = joining->untold || !known(ledger, &row);
  bool joined = changed && (!joining->told_us || monotonic_us - joining->told_us >= EVENT_US);
  Status status = ledger_begin(ledger, err);
  if (!status)
    status = write(ledger, &row, joined, err);
  if (!status)
    status = ledger_commit(ledger, err);
  if (status)
    ledger_rollback(ledger);
  else
    *joining = (Joining){joined ? monotonic_us : joining->told_us, changed && !joined};
  json_decref(row.detail);
  return status;
}
