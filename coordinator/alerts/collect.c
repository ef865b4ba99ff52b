/* Facts: what the overview knows of every database, and besides that, what the ledger has of those that events name. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/authority.h"
#include "coordinator/alerts/internal.h"

enum { READ_AT_ONCE = 40, TABLES_AS_ONE = 1000, WALK_EVENTS = 200, TRIALS = 4 };
#define WALK_EVERY_US ((int64_t)6 * 3600 * 1000000)
#define MINUTE_US ((int64_t)60 * 1000000)

/* ---- which databases there are, and which changed ---- */

void collect_release(Alerts *alerts) {
  for (size_t i = 0; i < alerts->database_count; i++)
    database_facts_release(&alerts->databases[i]);
  free(alerts->databases);
  free(alerts->dirty);
  free(alerts->due);
  free(alerts->expiries);
  free(alerts->agents);
  alerts->agents = NULL;
  alerts->agent_count = 0;
  alerts->databases = NULL;
  alerts->dirty = alerts->due = NULL;
  alerts->expiries = NULL;
  alerts->database_count = alerts->dirty_count = alerts->expiry_count = alerts->token_count = 0;
}

static int by_name(const void *a, const void *b) {
  const DatabaseFacts *left = a, *right = b;
  return strcmp(left->name, right->name);
}

DatabaseFacts *collect_find(const Alerts *alerts, const char *name) {
  DatabaseFacts *low = alerts->databases;
  for (size_t left = alerts->database_count; left > 0;) { /* by halves: a key would be as large as all the facts */
    size_t half = left / 2;
    int order = strcmp(low[half].name, name);
    if (order == 0)
      return &low[half];
    if (order < 0)
      low += half + 1;
    left = order < 0 ? left - half - 1 : half;
  }
  return NULL;
}

static void mark(Alerts *alerts, const DatabaseFacts *facts) {
  bool *dirty = &alerts->dirty[facts - alerts->databases];
  alerts->dirty_count += !*dirty;
  *dirty = true;
}

static void on_event(void *user, const LedgerEvent *event) {
  Alerts *alerts = user;
  DatabaseFacts *facts = event->database ? collect_find(alerts, event->database) : NULL;
  if (facts)
    mark(alerts, facts);
}

void collect_observe(Alerts *alerts) {
  const DispatchObserver observer = {.user = alerts, .event = on_event};
  dispatch_observe(alerts->dispatch, &observer);
}

/* Another fleet: what is known of databases that are still there stays. */
static void take_fleet(Alerts *alerts) {
  const Fleet *fleet = dispatch_fleet(alerts->dispatch);
  size_t count = fleet_count(fleet);
  DatabaseFacts *list = memory_alloc((count + 1) * sizeof *list);
  bool *dirty = memory_alloc(count + 1);
  alerts->dirty_count = 0;
  for (size_t i = 0; i < count; i++) {
    const char *name = fleet_at(fleet, i)->config.name;
    DatabaseFacts *known = collect_find(alerts, name);
    if (known) {
      list[i] = *known;
      dirty[i] = alerts->dirty[known - alerts->databases];
      *known = (DatabaseFacts){0};
      snprintf(known->name, sizeof known->name, "%s", name); /* the order is still needed */
    } else {
      snprintf(list[i].name, sizeof list[i].name, "%s", name);
      dirty[i] = true;
    }
    alerts->dirty_count += dirty[i];
  }
  for (size_t i = 0; i < alerts->database_count; i++)
    database_facts_release(&alerts->databases[i]);
  free(alerts->databases);
  free(alerts->dirty);
  free(alerts->due);
  alerts->databases = list;
  alerts->dirty = dirty;
  alerts->due = memory_alloc(count + 1);
  alerts->next = 0;
  alerts->database_count = count;
  alerts->fleet_changes = dispatch_fleet_changes(alerts->dispatch);
  qsort(list, count, sizeof *list, by_name); /* it is in that order: nothing moves */
}

/* ---- one database ---- */

static const char *text_or_empty(const char *text) {
  return text ? text : "";
}

static void clean(const char *text, char *out, size_t size) {
  text_clip(text_or_empty(text), out, size);
}

static double sum_of(const json_t *stages) {
  const char *name;
  json_t *stage;
  double seconds = 0;
  json_object_foreach((json_t *)stages, name, stage) seconds += json_number_value(stage);
  return seconds;
}

static char *kept(const char *text) {
  char out[FACTS_TEXT];
  return text ? memory_strdup(text_clip(text, out, sizeof out)) : NULL;
}

static void take_checkpoint(const Checkpoint *row, size_t index, CheckpointFacts *out) {
  checkpoint_facts_release(out);
  snprintf(out->id, sizeof out->id, "%s", row->id);
  out->state = row->state;
  out->archive_bytes = row->archive_bytes;
  out->rows = row->rows;
  out->server_major = row->server_major;
  out->drill_seconds = sum_of(json_object_get(json_object_get(row->detail, "stages"), "drill"));
  if (index > 1)
    return;
  out->omissions = json_incref(json_object_get(row->detail, "omissions"));
  out->source = json_incref(json_object_get(row->detail, "source"));
  if (index > 0)
    return;
  out->tag = kept(row->tag);
  out->code = kept(row->error_code);
  out->message = kept(row->error_message);
  out->remedy = kept(row->error_remedy);
}

static Status read_checkpoints(Alerts *alerts, DatabaseFacts *facts, bool sealed, Error *err) {
  CheckpointFacts *out = sealed ? facts->sealed : facts->ended;
  Checkpoint *rows = NULL;
  size_t count = 0;
  Status status = ledger_checkpoint_newest(alerts->ledger, facts->name, sealed, FACTS_CHECKPOINTS, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < count; i++)
    take_checkpoint(&rows[i], i, &out[i]);
  *(sealed ? &facts->sealed_count : &facts->ended_count) = count;
  checkpoint_list_free(rows, count);
  return STATUS_OK;
}

static Status read_drills(Alerts *alerts, DatabaseFacts *facts, Error *err) {
  LedgerJob *rows = NULL;
  size_t count = 0;
  Status status = ledger_job_newest(alerts->ledger, facts->name, LEDGER_JOB_DRILL, FACTS_DRILLS, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < count; i++) {
    DrillFacts *out = &facts->drills[i];
    drill_facts_release(out);
    snprintf(out->checkpoint, sizeof out->checkpoint, "%s", rows[i].checkpoint_id ? rows[i].checkpoint_id : "");
    out->state = rows[i].state;
    out->code = i == 0 ? kept(rows[i].error_code) : NULL;
    out->message = i == 0 ? kept(rows[i].error_message) : NULL;
  }
  facts->drill_count = count;
  ledger_job_list_free(rows, count);
  return STATUS_OK;
}

static Status read_canary(Alerts *alerts, DatabaseFacts *facts, Error *err) {
  LedgerJob *rows = NULL;
  size_t count = 0;
  Status status = ledger_job_newest(alerts->ledger, facts->name, LEDGER_JOB_TRIAL, TRIALS, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  facts->canary_survived = false;
  for (size_t i = 0; i < count; i++) { /* the last one that says whether drills see damage */
    const char *kind = json_string_value(json_object_get(rows[i].request, "kind"));
    if (!kind || strcmp(kind, "canary") != 0 || rows[i].state == JOB_ERRORED)
      continue;
    facts->canary_survived = rows[i].state == JOB_FAILED;
    free(facts->canary_message);
    facts->canary_message = kept(rows[i].error_message);
    break;
  }
  ledger_job_list_free(rows, count);
  return STATUS_OK;
}

/* *work: how much there was to compare. */
static Status read_database(Alerts *alerts, DatabaseFacts *facts, size_t *work, Error *err) {
  Status status = read_checkpoints(alerts, facts, false, err);
  if (status == STATUS_OK)
    status = read_checkpoints(alerts, facts, true, err);
  if (status == STATUS_OK)
    status = collect_tables(alerts, facts, work, err);
  if (status == STATUS_OK)
    status = read_drills(alerts, facts, err);
  if (status == STATUS_OK)
    status = read_canary(alerts, facts, err);
  facts->known |= status == STATUS_OK;
  return status;
}

/* What costs nothing is as of now for all of them. */
static Status take_overview(Alerts *alerts, Error *err) {
  const OverviewRow *rows = NULL;
  size_t count = 0;
  Status status = overview_read(alerts->overview, &rows, &count, err);
  for (size_t i = 0; status == STATUS_OK && i < count && i < alerts->database_count; i++) {
    DatabaseFacts *facts = &alerts->databases[i]; /* both are in the fleet's order */
    ScheduleEntry entry;
    facts->proof_age_s = rows[i].proof_age_seconds;
    facts->data_age_s = rows[i].data_age_seconds;
    facts->proof_objective_s = rows[i].proof_age_objective_seconds;
    facts->restore_objective_s = rows[i].restore_objective_seconds;
    facts->data_loss_objective_s = rows[i].data_loss_objective_seconds;
    facts->missed = alerts->schedule && schedule_entry(alerts->schedule, facts->name, &entry) && entry.row &&
                    entry.row->outcome && strcmp(entry.row->outcome, "missed") == 0;
    facts->slot_us = facts->missed ? entry.row->slot_us : 0;
    facts->missed_count = facts->missed ? entry.row->missed_count : 0;
  }
  return status;
}

Status collect_databases(Alerts *alerts, Error *err) {
  if (alerts->fleet_changes != dispatch_fleet_changes(alerts->dispatch))
    take_fleet(alerts);
  Status status = take_overview(alerts, err);
  size_t left = READ_AT_ONCE;
  for (size_t i = 0; i < alerts->database_count && alerts->dirty_count > 0 && left > 0 && status == STATUS_OK; i++) {
    if (!alerts->dirty[i])
      continue;
    size_t work = 0;
    status = read_database(alerts, &alerts->databases[i], &work, err);
    if (status != STATUS_OK)
      break;
    alerts->dirty[i] = false;
    alerts->due[i] = true;
    alerts->dirty_count--;
    work = 1 + work / TABLES_AS_ONE;
    left -= work < left ? work : left;
  }
  return status;
}

/* ---- agents ---- */

static void take_tool(const json_t *detail, const char *name, char out[FACTS_NAME]) {
  text_clip(text_or_empty(json_string_value(json_object_get(json_object_get(detail, "tools"), name))), out, FACTS_NAME);
}

/* Of each that it stores; agents that drill store proofs of any. */
static bool locked_by_policy(const Alerts *alerts, const json_t *databases) {
  size_t index;
  const json_t *name;
  json_array_foreach(databases, index, name) {
    const FleetDatabase *database =
        fleet_database(dispatch_fleet(alerts->dispatch), text_or_empty(json_string_value(name)));
    if (database && !database->config.lock_mode)
      return false;
  }
  return json_array_size(databases) > 0;
}

static void take_repository(const Alerts *alerts, const LedgerAgent *row, AgentFacts *out) {
  take_tool(row->detail, "repository", out->repository);
  take_tool(row->detail, "repository-lock", out->lock);
  take_tool(row->detail, "repository-removes", out->removes);
  out->locked_by_policy = locked_by_policy(alerts, json_object_get(row->detail, "databases"));
}

/* "data+drill": "data and drill" */
static void say_places(const char *places, char out[FACTS_NAME]) {
  size_t length = 0;
  out[0] = 0;
  for (const char *at = places; *at && length < FACTS_NAME; at++)
    length += (size_t)snprintf(out + length, FACTS_NAME - length, *at == '+' ? " and " : "%c", *at);
}

static void take_fullest(const Alerts *alerts, AgentFacts *out) {
  int64_t age_us = 0;
  double least = 2;
  const AgentMachine *machine = dispatch_machine(alerts->dispatch, out->name, &age_us);
  for (size_t i = 0; machine && i < machine->disk_count; i++) {
    const AgentDisk *disk = &machine->disks[i];
    double share = (double)disk->free_bytes / (double)disk->total_bytes;
    if (share >= least)
      continue;
    least = share;
    say_places(disk->places, out->fullest);
    out->free_bytes = disk->free_bytes;
    out->total_bytes = disk->total_bytes;
  }
}

bool collect_agent(const Alerts *alerts, const Agent *agent, const LedgerAgent *rows, size_t count, AgentFacts *out) {
  *out = (AgentFacts){0};
  if (!agent_admitted(agent) && (agent->listed || agent->row.state != AGENT_EXPIRED))
    return false;
  snprintf(out->name, sizeof out->name, "%s", agent->who.name);
  for (size_t i = 0; i < count; i++) {
    if (strcmp(rows[i].name, agent->who.name) != 0)
      continue;
    out->seen = true;
    take_repository(alerts, &rows[i], out);
  }
  out->live = dispatch_agent_live(alerts->dispatch, agent->who.name);
  take_fullest(alerts, out);
  if (!agent->listed && agent->row.enrolled_us) {
    out->certificate_from_us = agent->row.issued_us;
    out->certificate_us = agent->row.expires_us;
  }
  return true;
}

/* ---- every minute ---- */

static void add_expiry(Alerts *alerts, const char *name, int64_t from_us, int64_t until_us) {
  ExpiryFacts facts = {.from_us = from_us, .until_us = until_us};
  text_clip(name, facts.name, sizeof facts.name);
  ARRAY_PUSH(alerts->expiries, alerts->expiry_count, facts);
}

static Status read_tokens(Alerts *alerts, Error *err) {
  LedgerToken *tokens = NULL;
  size_t count = 0;
  Status status = ledger_token_list(alerts->ledger, &tokens, &count, err);
  for (size_t i = 0; status == STATUS_OK && i < count; i++)
    if (tokens[i].expires_us && !tokens[i].revoked_us && !tokens[i].replaced_us) /* what was replaced is meant to end */
      add_expiry(alerts, tokens[i].name, tokens[i].created_us, tokens[i].expires_us);
  ledger_token_list_free(tokens, count);
  alerts->token_count = alerts->expiry_count;
  return status;
}

/* A file that cannot be read is not an alert: the coordinator says so where it uses it. */
static void read_certificate(Alerts *alerts, const char *path) {
  CLEANUP(buffer_release) Buffer text = {0};
  CertificateFacts facts;
  Error ignored;
  for (size_t i = alerts->token_count; path && i < alerts->expiry_count; i++)
    if (strcmp(alerts->expiries[i].name, path) == 0)
      return; /* one for all */
  if (path && file_read(path, PEM_LIMIT, &text, &ignored) == STATUS_OK &&
      certificate_facts(buffer_text(&text), &facts, &ignored) == STATUS_OK)
    add_expiry(alerts, path, facts.begins_us, facts.expires_us);
}

/* One part after the other, with a rest when it was all of it; a broken one is looked at from its beginning. */
static Status walk_chain(Alerts *alerts, Error *err) {
  int64_t now_us = clock_monotonic_us();
  bool end = false;
  Error cause;
  if (alerts->walked && !alerts->walk.sequence && now_us - alerts->walked_us < WALK_EVERY_US)
    return STATUS_OK;
  Status status = ledger_chain_step(alerts->ledger, &alerts->walk, WALK_EVENTS, &end, &cause);
  if (status != STATUS_OK && status != ERR_CONFLICT) {
    *err = cause;
    return status;
  }
  if (status == ERR_CONFLICT) {
    clean(cause.message, alerts->coordinator.chain_problem, sizeof alerts->coordinator.chain_problem);
    alerts->walk = (LedgerWalk){0};
  } else if (end) {
    alerts->coordinator.chain_problem[0] = 0;
  }
  alerts->walked |= end || status == ERR_CONFLICT;
  if (end || status == ERR_CONFLICT)
    alerts->walked_us = now_us;
  return STATUS_OK;
}

Status collect_minute(Alerts *alerts, Error *err) {
  int64_t now_us = clock_monotonic_us();
  clean(dispatch_fleet_problem(alerts->dispatch), alerts->coordinator.fleet_problem,
        sizeof alerts->coordinator.fleet_problem);
  Status status = walk_chain(alerts, err);
  if (status != STATUS_OK || (alerts->minute_us && now_us - alerts->minute_us < MINUTE_US))
    return status;
  free(alerts->expiries);
  alerts->expiries = NULL;
  alerts->expiry_count = 0;
  status = read_tokens(alerts, err);
  if (status != STATUS_OK)
    return status;
  read_certificate(alerts, alerts->config->tls_certificate);
  read_certificate(alerts, alerts->config->certificate);
  read_certificate(alerts, alerts->config->ca);
  alerts->minute_us = now_us;
  return STATUS_OK;
}
