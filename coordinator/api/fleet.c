/* The fleet's document and its schedule. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"

static void free_json(json_t **json) {
  json_decref(*json);
}

static Status read_flag(Request *request, const char *name, bool *out, Error *err) {
  const char *text = query_text(request, name);
  *out = text && strcmp(text, "true") == 0;
  if (text && !*out && strcmp(text, "false") != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "%s must be true or false", name);
  return STATUS_OK;
}

/* The body is the YAML itself. */
enum MHD_Result fleet_apply(Request *request) {
  CLEANUP(free_json) json_t *report = NULL;
  const char *name = query_text(request, "name");
  const Requester requester = scope_requester(request);
  bool dry_run = false;
  Error err;
  Status status = read_flag(request, "dry_run", &dry_run, &err);
  if (!status && name && !text_tag_valid(name))
    status = error_set(&err, ERR_INVALID_ARGUMENT, "name must be the name of a file, of at most 128 bytes");
  if (!status && request->body.size == 0)
    status = error_set(&err, ERR_INVALID_ARGUMENT, "the request has no body; it must be a fleet.yaml");
  if (!status)
    status = dispatch_apply_fleet(request->api->dispatch, name ? name : "fleet.yaml", (const char *)request->body.data,
                                  request->body.size, &requester, dry_run, &report, &err);
  if (status)
    return respond_failure(request, &err);
  json_object_set_new(report, "ok", json_true());
  json_object_set_new(report, "dry_run", json_boolean(dry_run));
  return respond_json(request, MHD_HTTP_OK, json_incref(report));
}

static enum MHD_Result show_database(Request *request, const char *name) {
  const FleetDatabase *database = fleet_database(dispatch_fleet(request->api->dispatch), name);
  Error err;
  if (database)
    return respond_json(request, MHD_HTTP_OK,
                        json_pack("{s:s, s:b, s:o}", "name", database->config.name, "declared", database->declared,
                                  "settings", fleet_describe(database)));
  error_set(&err, ERR_NOT_FOUND, "there is no database of this name");
  error_remedy(&err, "`pgseal databases` lists the databases.");
  return respond_failure(request, &err);
}

/* Of one database, by ?database=: what holds for it. */
enum MHD_Result fleet_show(Request *request) {
  CLEANUP(ledger_fleet_release) LedgerFleet row = {0};
  const char *name = query_text(request, "database"), *problem = dispatch_fleet_problem(request->api->dispatch);
  const Fleet *fleet = dispatch_fleet(request->api->dispatch);
  Error err;
  if (name)
    return show_database(request, name);
  Status status = ledger_fleet_get(request->api->ledger, &row, &err);
  if (status && status != ERR_NOT_FOUND)
    return respond_failure(request, &err);
  return respond_json(request, MHD_HTTP_OK,
                      json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "version", (json_int_t)row.version,
                                "name", render_text(row.name), "text", render_text(row.text), "applied_by",
                                render_text(row.applied_by), "applied_at", render_time(row.applied_us), "file",
                                render_text(request->api->config->fleet), "problem", render_text(problem), "databases",
                                (json_int_t)fleet_count(fleet), "policies", (json_int_t)fleet_policy_count(fleet)));
}

/* ---- the schedule ---- */

static json_t *render_last(Request *request, const LedgerSchedule *row) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error ignored; /* it may be gone */
  if (!row->outcome)
    return json_null();
  bool known = row->checkpoint_id &&
               ledger_checkpoint_get(request->api->ledger, row->checkpoint_id, &checkpoint, &ignored) == STATUS_OK;
  return json_pack("{s:s, s:o, s:o, s:o, s:o}", "outcome", row->outcome, "slot_at", render_time(row->slot_us), "at",
                   render_time(row->handled_us), "checkpoint", render_text(row->checkpoint_id), "state",
                   render_text(known ? checkpoint_state_name(checkpoint.state) : NULL));
}

static json_t *render_entry(Request *request, const ScheduleEntry *entry) {
  const LedgerSchedule *row = entry->row;
  const FleetDatabase *database = fleet_database(dispatch_fleet(request->api->dispatch), row->database);
  const FleetSchedule *schedule = database ? &database->policy.schedule : NULL;
  return json_pack("{s:s, s:o, s:o, s:i, s:s, s:o, s:o, s:o, s:o, s:I, s:o, s:I}", "database", row->database, "cron",
                   render_text(schedule ? schedule->cron : NULL), "time_zone",
                   render_text(schedule ? schedule->time_zone : NULL), "jitter_seconds",
                   schedule ? schedule->jitter_seconds : 0, "missed",
                   schedule && !schedule->make_up ? "skip" : "run_once", "next_slot_at", render_time(entry->slot_us),
                   "next_at", render_time(entry->due_us), "last", render_last(request, row), "missed_at",
                   render_time(row->missed_us), "missed_count", (json_int_t)row->missed_count, "skipped_at",
                   render_time(row->skipped_us), "skipped_count", (json_int_t)row->skipped_count);
}

/* What is due next, first. With ?database=, that one alone. */
enum MHD_Result schedule_show(Request *request) {
  Schedule *schedule = request->api->schedule;
  const char *name = query_text(request, "database");
  int64_t limit = 0;
  Error err;
  if (query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err) != STATUS_OK)
    return respond_failure(request, &err);
  if (schedule)
    schedule_look(schedule);
  json_t *list = json_array();
  ScheduleEntry one;
  if (name) {
    if (schedule && scope_sees(&request->scope, name) && schedule_entry(schedule, name, &one))
      json_array_append_new(list, render_entry(request, &one));
    return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "schedule", list));
  }
  ScheduleEntry *entries = NULL;
  size_t count = schedule ? schedule_list(schedule, scope_sees, &request->scope, (size_t)limit, &entries) : 0;
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render_entry(request, &entries[i]));
  free(entries);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "schedule", list));
}
