#include "coordinator/report/reports.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/report/report.h"
#include "coordinator/report/gather.h"

/* What is made is kept for those who asked for the same beside it, not for those who come later: much may have
 * happened. */
enum { ENTRIES_LIMIT = 4, KEPT_US = 1000 * 1000 };

typedef struct Entry {
  char *key;
  GatherAsk ask;
  bool done;
  int64_t done_us; /* monotonic */
  Status status;
  Error err;
  char *text;
  size_t size;
  int64_t took_us;
  struct Entry *next; /* asked for later */
} Entry;

struct Reports {
  uv_loop_t *loop;
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  void (*made)(void *user, const char *key);
  void *user;
  SigningKey *signer; /* or NULL */
  Entry *entries;
  Entry *current; /* that the thread is at; NULL: there is none */
  uv_work_t work;
  atomic_bool stop;
};

static void entry_free(Entry *entry) {
  gather_ask_release(&entry->ask);
  free(entry->key);
  free(entry->text);
  free(entry);
}

static void reports_free(Reports *reports) {
  for (Entry *entry = reports->entries, *next; entry; entry = next) {
    next = entry->next;
    entry_free(entry);
  }
  signing_key_free(reports->signer);
  free(reports);
}

Status reports_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch,
                    void (*made)(void *user, const char *key), void *user, Reports **out, Error *err) {
  SigningKey *signer = NULL;
  Status status = config->signing_key ? signing_key_load(config->signing_key, &signer, err) : STATUS_OK;
  if (status)
    return status;
  Reports *reports = memory_alloc(sizeof *reports);
  *reports =
      (Reports){.loop = loop, .config = config, .dispatch = dispatch, .made = made, .user = user, .signer = signer};
  *out = reports;
  return STATUS_OK;
}

void reports_close(Reports *reports) {
  if (!reports)
    return;
  reports->made = NULL;
  atomic_store(&reports->stop, true);
  if (!reports->current)
    reports_free(reports); /* else once the thread is done with it */
}

/* ---- in the thread ---- */

static void cleanup_ledger(Ledger **ledger) {
  ledger_close(*ledger);
}
static void free_json(json_t **json) {
  json_decref(*json);
}

static void work(uv_work_t *request) {
  Reports *reports = request->data;
  Entry *entry = reports->current;
  CLEANUP(cleanup_ledger) Ledger *ledger = NULL;
  CLEANUP(free_json) json_t *report = NULL;
  int64_t began_us = clock_monotonic_us();
  entry->status = ledger_open(reports->config->ledger, true, &ledger, &entry->err);
  if (!entry->status)
    entry->status = gather(ledger, &entry->ask, &reports->stop, &report, &entry->err);
  if (!entry->status)
    entry->status = report_write(report, reports->signer, &entry->text, &entry->err);
  entry->size = entry->text ? strlen(entry->text) : 0;
  if (entry->size > REPORT_FILE_LIMIT) {
    entry->status = error_set(&entry->err, ERR_TOO_MANY, "the report is larger than %d MiB", REPORT_FILE_LIMIT >> 20);
    error_remedy(&entry->err, "Ask for a shorter period, or for one database or owner at a time.");
  }
  entry->took_us = clock_monotonic_us() - began_us;
}

/* ---- on the loop ---- */

static void start_next(Reports *reports);

static void after_work(uv_work_t *request, int canceled) {
  Reports *reports = request->data;
  Entry *entry = reports->current;
  reports->current = NULL;
  if (!reports->made) {
    reports_free(reports);
    return;
  }
  if (canceled)
    entry->status = error_set(&entry->err, ERR_UNAVAILABLE, "the report was not made");
  entry->done = true;
  entry->done_us = clock_monotonic_us();
  CLEANUP_FREE char *took = memory_format("%.3f", (double)entry->took_us / 1e6);
  CLEANUP_FREE char *size = memory_format("%zu", entry->size);
  log_info("report made", "seconds", took, "bytes", size, "outcome", entry->status ? error_code(entry->status) : "ok",
           NULL);
  gather_ask_release(&entry->ask);
  CLEANUP_FREE char *key = memory_strdup(entry->key);
  start_next(reports);
  reports->made(reports->user, key);
}

static void start_next(Reports *reports) {
  Entry *entry = reports->entries;
  while (entry && entry->done)
    entry = entry->next;
  if (reports->current || !entry)
    return;
  reports->current = entry;
  reports->work.data = reports;
  if (uv_queue_work(reports->loop, &reports->work, work, after_work) == 0)
    return;
  reports->current = NULL;
  entry->done = true;
  entry->done_us = clock_monotonic_us();
  entry->status = error_set(&entry->err, ERR_UNAVAILABLE, "no thread could be had for the report");
}

static Entry *find(Reports *reports, const char *key) {
  for (Entry *entry = reports->entries; entry; entry = entry->next)
    if (strcmp(entry->key, key) == 0)
      return entry;
  return NULL;
}

/* Forgets those that are done: all that are old enough, and of the others the oldest if one has to go. */
static void forget(Reports *reports, int64_t older_us, size_t room) {
  size_t count = 0;
  int64_t now_us = clock_monotonic_us();
  for (const Entry *entry = reports->entries; entry; entry = entry->next)
    count++;
  for (Entry **at = &reports->entries; *at;) {
    Entry *entry = *at;
    if (!entry->done || (now_us - entry->done_us < older_us && count < room)) {
      at = &entry->next;
      continue;
    }
    *at = entry->next;
    entry_free(entry);
    count--;
  }
}

void reports_sweep(Reports *reports) {
  forget(reports, KEPT_US, ENTRIES_LIMIT + 1);
}

/* What may be seen of the fleet is part of what is asked for: a fleet that changed makes another report. */
static char *key_of(const Reports *reports, const ReportWish *wish) {
  return memory_format("report/%lld/%lld/%s/%s/%s/%s/%lld", (long long)wish->from_us, (long long)wish->to_us,
                       wish->database ? wish->database : "", wish->owner ? wish->owner : "",
                       wish->environment ? wish->environment : "", wish->scope ? wish->scope : "*",
                       (long long)dispatch_fleet_changes(reports->dispatch));
}

static void add_database(GatherAsk *ask, const FleetDatabase *database) {
  const FleetObjectives *objectives = &database->policy.objectives;
  const GatherDatabase copy = {memory_strdup(database->config.name),
                               memory_strdup(database->config.environment),
                               memory_strdup(database->config.owner),
                               objectives->proof_age,
                               objectives->restore_time,
                               objectives->data_loss};
  ARRAY_PUSH(ask->databases, ask->database_count, copy);
}

static bool in_list(const char *names, const char *name) {
  size_t length = strlen(name);
  for (const char *at = names; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, name, length) == 0 && (at[length] == ',' || !at[length]))
      return true;
  return false;
}

static bool wanted(const ReportWish *wish, const ConfigDatabase *database) {
  return wish->sees(wish->user, database->name) && (!wish->database || in_list(wish->database, database->name)) &&
         (!wish->owner || strcmp(wish->owner, database->owner) == 0) &&
         (!wish->environment || strcmp(wish->environment, database->environment) == 0);
}

/* ---- what is wished ---- */

Status report_wish_check(const ReportWish *wish, Error *err) {
  if ((wish->database != NULL) + (wish->owner != NULL) + (wish->environment != NULL) > 1)
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "a report is of databases, of an owner or of an environment, not of more than one of these");
  if ((wish->owner && !text_tag_valid(wish->owner)) || (wish->environment && !text_tag_valid(wish->environment)))
    return error_set(err, ERR_INVALID_ARGUMENT, "the owner or environment is no name that there can be");
  for (const char *at = wish->database; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    CLEANUP_FREE char *name = memory_strndup(at, strcspn(at, ","));
    if (!text_name_valid(name))
      return error_set(err, ERR_INVALID_ARGUMENT, "'%.64s' is no name that a database can have", name);
  }
  return STATUS_OK;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One is asked for as ever; several are looked for by their names. */
static void take_names(const ReportWish *wish, GatherAsk *ask) {
  if (wish->database && !strchr(wish->database, ',')) {
    ask->database = memory_strdup(wish->database);
    return;
  }
  for (const char *at = wish->database; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    char *name = memory_strndup(at, strcspn(at, ","));
    if (wish->sees(wish->user, name))
      ARRAY_PUSH(ask->names, ask->name_count, name);
    else
      free(name);
  }
  if (ask->name_count > 0)
    qsort(ask->names, ask->name_count, sizeof *ask->names, by_name);
}

static json_t *listed_keys(const CoordinatorConfig *config) {
  json_t *list = json_array();
  for (size_t i = 0; i < config->agent_count; i++) {
    char hex[PUBLIC_KEY_HEX_SIZE];
    text_hex(config->agents[i].key, sizeof config->agents[i].key, hex);
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:i}", "agent", config->agents[i].name, "public_key", hex, "revoked_us", 0));
  }
  return list;
}

static Status copy_wish(const Reports *reports, const ReportWish *wish, GatherAsk *ask, Error *err) {
  const Fleet *fleet = dispatch_fleet(reports->dispatch);
  *ask = (GatherAsk){.from_us = wish->from_us,
                     .to_us = wish->to_us,
                     .owner = wish->owner ? memory_strdup(wish->owner) : NULL,
                     .environment = wish->environment ? memory_strdup(wish->environment) : NULL,
                     .scope = wish->scope ? memory_strdup(wish->scope) : NULL,
                     .drills_limit = GATHER_DRILLS_LIMIT,
                     .recoveries_limit = GATHER_RECOVERIES_LIMIT};
  take_names(wish, ask);
  for (size_t i = 0; i < fleet_count(fleet); i++)
    if (wanted(wish, &fleet_at(fleet, i)->config))
      add_database(ask, fleet_at(fleet, i));
  ask->keys = wish->scope ? json_array() : listed_keys(reports->config);
  if (wish->owner && ask->database_count == 0)
    return error_set(err, ERR_NOT_FOUND, "no database has this owner");
  if (wish->environment && ask->database_count == 0)
    return error_set(err, ERR_NOT_FOUND, "no database has this environment");
  if (wish->database && ask->name_count == 0 && !(ask->database && wish->sees(wish->user, ask->database)))
    return error_set(err, ERR_NOT_FOUND, "there is no database of this name, nor was there in this period");
  return STATUS_OK;
}

Status reports_ask(Reports *reports, const ReportWish *wish, char **key, Error *err) {
  CLEANUP_FREE char *wished = key_of(reports, wish);
  size_t waiting = 0;
  reports_sweep(reports);
  Entry *entry = find(reports, wished);
  if (entry && !(entry->done && entry->status)) {
    *key = STEAL(wished);
    return STATUS_OK;
  }
  forget(reports, entry ? 0 : KEPT_US, ENTRIES_LIMIT);
  for (entry = reports->entries; entry; entry = entry->next)
    waiting++;
  if (waiting >= ENTRIES_LIMIT)
    return error_set(err, ERR_TOO_MANY, "%d reports are being made already", ENTRIES_LIMIT);
  GatherAsk ask;
  Status status = copy_wish(reports, wish, &ask, err);
  if (status) {
    gather_ask_release(&ask);
    return status;
  }
  Entry **end = &reports->entries;
  while (*end)
    end = &(*end)->next;
  *end = memory_alloc(sizeof **end);
  **end = (Entry){.key = memory_strdup(wished), .ask = ask};
  start_next(reports);
  *key = STEAL(wished);
  return STATUS_OK;
}

Status reports_get(Reports *reports, const char *key, const char **text, size_t *size, Error *err) {
  const Entry *entry = find(reports, key);
  *text = NULL;
  if (!entry)
    return error_set(err, ERR_UNAVAILABLE, "the report is not kept any more");
  if (!entry->done)
    return STATUS_OK;
  if (entry->status) {
    *err = entry->err;
    return entry->status;
  }
  *text = entry->text;
  *size = entry->size;
  return STATUS_OK;
}
