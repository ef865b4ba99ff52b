/* Databases, agents and drills. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "coordinator/api/internal.h"

/* Of a database in a page of checkpoints, which is in the order of names; NULL in JSON: there is none. */
static int by_database(const void *a, const void *b) {
  const Checkpoint *left = a, *right = b;
  return strcmp(left->database, right->database);
}

static json_t *find_in(Api *api, const Checkpoint *items, size_t count, const char *database) {
  const Checkpoint wanted = {.database = (char *)database};
  const Checkpoint *found = count ? bsearch(&wanted, items, count, sizeof *items, by_database) : NULL;
  return found ? render_checkpoint(api, found, false) : json_null();
}

/* NULL: not known yet. */
static json_t *met(int64_t objective, bool known, bool is) {
  return objective > 0 && known ? json_boolean(is) : json_null();
}

static json_t *seconds_or_null(int64_t seconds) {
  return seconds > 0 ? json_integer((json_int_t)seconds) : json_null();
}

/* Whether what is done is what is wanted: the last drill's time, the age of what a restore would bring back, and how
 * old that may get by the schedule. */
static json_t *render_objectives(const OverviewRow *row) {
  const FleetSchedule *schedule = &row->database->policy.schedule;
  int64_t restore = row->restore_objective_seconds, loss = row->data_loss_objective_seconds;
  OverviewMet proof = overview_met(row->proof_age_seconds, row->proof_age_objective_seconds);
  bool sealed = row->newest && row->newest->sealed_id, drilled = sealed && row->newest->drill_seconds > 0;
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "proof_age_seconds",
                   seconds_or_null(row->proof_age_objective_seconds), "proof_age_met",
                   met(row->proof_age_objective_seconds, proof != OVERVIEW_NOTHING, proof == OVERVIEW_MET),
                   "restore_time_seconds", seconds_or_null(restore), "restore_time_met",
                   met(restore, drilled, !(row->attention & OVERVIEW_RESTORE_SLOW)), "data_loss_seconds",
                   seconds_or_null(loss), "data_loss_met", met(loss, sealed, !(row->attention & OVERVIEW_DATA_OLD)),
                   "schedule_gap_seconds", seconds_or_null(schedule->gap_seconds), "schedule_meets_data_loss",
                   met(loss, true, schedule->cron && schedule->gap_seconds <= loss));
}

typedef struct Page { /* of databases: borrowed rows; what is newest of each */
  const OverviewRow **rows;
  size_t count;
  Checkpoint *newest, *sealed;
  size_t newest_count, sealed_count;
} Page;

static void page_release(Page *page) {
  checkpoint_list_free(page->newest, page->newest_count);
  checkpoint_list_free(page->sealed, page->sealed_count);
  free(page->rows);
}

/* The first `limit` behind `after`, and the one that would be next: *more. */
static Status choose_page(Request *request, Page *page, bool *more, Error *err) {
  const OverviewRow *rows = NULL;
  const char *after = query_text(request, "after");
  size_t count = 0;
  int64_t limit = 0;
  Status status = query_number(request, "limit", API_LIST_LIMIT, 1, API_LIST_LIMIT, &limit, err);
  if (!status && request->api->overview)
    status = overview_read(request->api->overview, &rows, &count, err);
  if (status)
    return status;
  page->rows = memory_alloc(((size_t)limit + 1) * sizeof *page->rows);
  for (size_t i = 0; !*more && i < count; i++) {
    const char *name = rows[i].database->config.name;
    if (!scope_sees(&request->scope, name) || (after && strcmp(name, after) <= 0))
      continue;
    *more = page->count == (size_t)limit;
    if (!*more)
      page->rows[page->count++] = &rows[i];
  }
  return STATUS_OK;
}

static Status read_page(Request *request, Page *page, Error *err) {
  Ledger *ledger = request->api->ledger;
  const char *scope = request->scope.text;
  if (page->count == 0)
    return STATUS_OK;
  const char *first = page->rows[0]->database->config.name, *last = page->rows[page->count - 1]->database->config.name;
  Status status = ledger_checkpoint_page(ledger, first, last, scope, false, &page->newest, &page->newest_count, err);
  if (!status)
    status = ledger_checkpoint_page(ledger, first, last, scope, true, &page->sealed, &page->sealed_count, err);
  return status;
}

static json_t *render_database(Api *api, const Page *page, const OverviewRow *row) {
  const ConfigDatabase *database = &row->database->config;
  json_t *json =
      json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o}", "name", database->name, "environment", database->environment,
                "owner", database->owner, "restore_approval", database->restore_approval, "newest",
                find_in(api, page->newest, page->newest_count, database->name), "newest_sealed",
                find_in(api, page->sealed, page->sealed_count, database->name), "objectives", render_objectives(row));
  json_object_set_new(json, "cordoned", render_held(api, HOLD_DATABASE, database->name));
  return json;
}

/* In the order of their names; `next` is where the next page begins. Two statements, however many there are. */
enum MHD_Result database_list(Request *request) {
  CLEANUP(page_release) Page page = {0};
  bool more = false;
  Error err;
  if (choose_page(request, &page, &more, &err) != STATUS_OK || read_page(request, &page, &err) != STATUS_OK)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < page.count; i++)
    json_array_append_new(list, render_database(request->api, &page, page.rows[i]));
  json_t *json = json_pack("{s:o}", "databases", list);
  if (more)
    json_object_set_new(json, "next", json_string(page.rows[page.count - 1]->database->config.name));
  return respond_json(request, MHD_HTTP_OK, json);
}

static json_t *jobs_of(const Scope *scope, const LedgerJob *jobs, size_t count, const char *agent) {
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    if (jobs[i].agent && strcmp(jobs[i].agent, agent) == 0 && jobs[i].state != JOB_QUEUED &&
        scope_sees(scope, jobs[i].database))
      json_array_append_new(list, render_job(&jobs[i]));
  return list;
}

static const LedgerAgent *seen(const LedgerAgent *agents, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(agents[i].name, name) == 0)
      return &agents[i];
  return NULL;
}

/* Does it serve any database that there is in this scope? */
static bool agent_seen(const Request *request, const ConfigAgent *agent) {
  if (!request->scope.text)
    return true;
  const Fleet *fleet = dispatch_fleet(request->api->dispatch);
  for (size_t i = 0; i < fleet_count(fleet); i++)
    for (size_t j = 0; j < agent->database_count; j++)
      if (text_glob(agent->databases[j], fleet_at(fleet, i)->config.name) &&
          scope_sees(&request->scope, fleet_at(fleet, i)->config.name))
        return true;
  return false;
}

/* New reference: those names of a list that are in the scope. */
static json_t *seen_of(const Scope *scope, json_t *names) {
  json_t *list = json_array();
  size_t index;
  json_t *name;
  json_array_foreach(names, index, name) {
    if (scope_sees(scope, json_string_value(name)))
      json_array_append(list, name);
  }
  return list;
}

static json_t *texts(const char *const *items, size_t count) {
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, json_string(items[i]));
  return list;
}

/* What it may do, and until when. */
static void add_identity(Api *api, json_t *json, const Scope *scope, const Agent *agent) {
  char key[PUBLIC_KEY_HEX_SIZE];
  bool keyed = agent->listed || agent->row.public_key;
  text_hex(agent->who.key, sizeof agent->who.key, key);
  json_object_set_new(json, "public_key", keyed ? json_string(key) : json_null());
  json_object_set_new(json, "drained", render_held(api, HOLD_AGENT, agent->who.name));
  json_object_set_new(json, "state", json_string(agent->listed ? "listed" : agent_state_name(agent->row.state)));
  json_object_set_new(json, "certificate", render_text(agent->row.serial));
  json_object_set_new(
      json, "expires_at",
      render_time(agent->row.state == AGENT_INVITED ? agent->row.token_expires_us : agent->row.expires_us));
  json_object_set_new(json, "allowed_capabilities", texts(agent->who.capabilities, agent->who.capability_count));
  if (!scope->text) /* globs tell of what others have */
    json_object_set_new(json, "allowed_databases", texts(agent->who.databases, agent->who.database_count));
}

/* The ledger has when it joined last; what was heard since is known here. */
static int64_t last_seen_us(Api *api, const char *agent, const LedgerAgent *row) {
  int64_t silent_us = dispatch_agent_silent_us(api->dispatch, agent);
  int64_t heard_us = silent_us < 0 ? 0 : clock_wall_us() - silent_us, joined_us = row ? row->last_seen_us : 0;
  return heard_us > joined_us ? heard_us : joined_us;
}

static json_t *render_machine(Api *api, const char *agent) {
  int64_t age_us = 0;
  const AgentMachine *machine = dispatch_machine(api->dispatch, agent, &age_us);
  if (!machine)
    return json_null();
  json_t *json = machine_json(machine);
  json_object_set_new(json, "told_at", render_time(clock_wall_us() - age_us));
  return json;
}

/* Those that are known, whether they ever came or not. */
json_t *render_agent(Api *api, const Scope *scope, const Agent *known, const LedgerAgent *row, json_t *jobs) {
  const ConfigAgent *agent = &known->who;
  json_t *json = json_pack(
      "{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "name", agent->name, "live",
      dispatch_agent_live(api->dispatch, agent->name), "version", render_text(row ? row->version : NULL), "host",
      render_text(row ? row->host : NULL), "first_seen_at", render_time(row ? row->first_seen_us : 0), "last_seen_at",
      render_time(last_seen_us(api, agent->name, row)), "jobs", jobs, "machine", render_machine(api, agent->name));
  static const char *const from_detail[] = {"capabilities", "databases", "tools"};
  for (size_t i = 0; row && i < sizeof from_detail / sizeof *from_detail; i++) {
    json_t *value = json_object_get(row->detail, from_detail[i]);
    if (value)
      json_object_set_new(json, from_detail[i],
                          strcmp(from_detail[i], "databases") == 0 ? seen_of(scope, value) : json_incref(value));
  }
  add_identity(api, json, scope, known);
  if (!row)
    json_object_set_new(json, "capabilities", texts(agent->capabilities, agent->capability_count));
  return json;
}

enum MHD_Result agent_list(Request *request) {
  Api *api = request->api;
  LedgerAgent *rows = NULL;
  LedgerJob *jobs = NULL;
  size_t row_count = 0, job_count = 0;
  Error err;
  Status status = ledger_agent_list(api->ledger, &rows, &row_count, &err);
  if (!status)
    status = ledger_job_open(api->ledger, &jobs, &job_count, &err);
  json_t *list = json_array();
  const Agents *agents = dispatch_agents(api->dispatch);
  for (size_t i = 0; !status && i < agents_count(agents); i++) {
    const Agent *agent = agents_at(agents, i);
    if (!agent_seen(request, &agent->who))
      continue;
    json_array_append_new(list, render_agent(api, &request->scope, agent, seen(rows, row_count, agent->who.name),
                                             jobs_of(&request->scope, jobs, job_count, agent->who.name)));
  }
  ledger_agent_list_free(rows, row_count);
  ledger_job_list_free(jobs, job_count);
  if (!status)
    return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "agents", list));
  json_decref(list);
  return respond_failure(request, &err);
}

/* The drills of the newest checkpoints, newest first. */
enum MHD_Result drill_list(Request *request) {
  LedgerJob *items = NULL;
  size_t count = 0;
  int64_t limit = 0;
  Error err;
  Status status = query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err);
  JobFilter filter = {.database = query_text(request, "database"), .scope = request->scope.text, .limit = (int)limit};
  if (!status)
    status = ledger_job_drills(request->api->ledger, &filter, &items, &count, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render_job(&items[i]));
  ledger_job_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "drills", list));
}
