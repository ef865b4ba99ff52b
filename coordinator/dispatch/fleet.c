/* The fleet in force: loaded, applied, replaced. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/buffer.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"

const Fleet *dispatch_fleet(const Dispatch *dispatch) {
  return dispatch->fleet;
}

const char *dispatch_fleet_problem(const Dispatch *dispatch) {
  return dispatch->fleet_problem;
}

int64_t dispatch_fleet_changes(const Dispatch *dispatch) {
  return dispatch->fleet_changes;
}

int64_t dispatch_fleet_since_us(const Dispatch *dispatch) {
  return dispatch->fleet_since_us;
}

static void put_in_force(Dispatch *dispatch, Fleet *fleet, int64_t version) {
  fleet_free(dispatch->fleet);
  dispatch->fleet = fleet;
  dispatch->fleet_version = version;
  dispatch->fleet_changes++;
  dispatch->fleet_since_us = dispatch->wall_us();
}

static void fleet_cleanup(Fleet **fleet) {
  fleet_free(*fleet);
}

/* What the ledger has, or else coordinator.yaml's databases alone. */
static Status load(Dispatch *dispatch, Error *err) {
  CLEANUP(ledger_fleet_release) LedgerFleet row = {0};
  CLEANUP(intake_json_free) json_t *notes = NULL;
  Fleet *fleet = NULL;
  Error cause;
  Status status = ledger_fleet_get(dispatch->ledger, &row, &cause);
  if (status != STATUS_OK && status != ERR_NOT_FOUND) {
    *err = cause;
    return status;
  }
  const char *name = row.name ? row.name : "";
  status = fleet_make(dispatch->config, name, row.text, row.text ? strlen(row.text) : 0, &fleet, &notes, err);
  if (status != STATUS_OK) {
    error_prefix(err, "the fleet in the ledger cannot be used with this configuration");
    error_remedy(err, "Change coordinator.yaml back; or name a file by `fleet:` there, which takes its place.");
    return status;
  }
  put_in_force(dispatch, fleet, row.version);
  return STATUS_OK;
}

/* Once a file stays as it is: it may be half written. What is wrong with it is told once. */
static void watch_file(Dispatch *dispatch) {
  uint64_t stamp = file_stamp(dispatch->config->fleet), before = dispatch->fleet_seen;
  Error err;
  dispatch->fleet_seen = stamp;
  if (stamp == dispatch->fleet_stamp || stamp != before)
    return;
  dispatch->fleet_stamp = stamp;
  text_set(&dispatch->fleet_problem, NULL);
  if (dispatch_read_fleet(dispatch, &err) == STATUS_OK)
    return;
  text_set(&dispatch->fleet_problem, err.message);
  log_failure(LOG_LEVEL_ERROR, "the fleet's file cannot be used; the one before stays in force", &err);
}

void fleet_tick(Dispatch *dispatch) {
  if (dispatch->config->fleet)
    watch_file(dispatch);
  int64_t version = dispatch->fleet_version;
  Error err;
  Status status = ledger_fleet_version(dispatch->ledger, &version, &err);
  if (status == STATUS_OK && version != dispatch->fleet_version)
    status = load(dispatch, &err);
  if (status != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "the fleet cannot be read; the one before stays in force", &err);
}

/* The file takes the place of what is in the ledger, even if that cannot be used any more. */
Status fleet_open(Dispatch *dispatch, Error *err) {
  if (!dispatch->config->fleet)
    return load(dispatch, err);
  CLEANUP(intake_json_free) json_t *notes = NULL;
  Fleet *fleet = NULL;
  Error ignored;
  Status status = STATUS_OK;
  if (load(dispatch, &ignored) != STATUS_OK)
    status = fleet_make(dispatch->config, "", NULL, 0, &fleet, &notes, err);
  if (status == STATUS_OK && fleet)
    put_in_force(dispatch, fleet, 0);
  dispatch->fleet_stamp = dispatch->fleet_seen = file_stamp(dispatch->config->fleet);
  return status == STATUS_OK ? dispatch_read_fleet(dispatch, err) : status;
}

/* ---- applying ---- */

static Status store(Dispatch *dispatch, LedgerFleet *row, const json_t *difference, const Fleet *fleet,
                    const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  char digest[SHA256_HEX_SIZE];
  sha256_hex(row->text, strlen(row->text), digest);
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = ledger_fleet_version(dispatch->ledger, &row->version, err);
  row->version++;
  if (status == STATUS_OK)
    status = ledger_fleet_insert(dispatch->ledger, row, err);
  if (status != STATUS_OK)
    return status;
  status =
      change_note(&change, "fleet.applied", NULL, requester,
                  json_pack("{s:I, s:s, s:s, s:I, s:I, s:O}", "version", (json_int_t)row->version, "name", row->name,
                            "sha256", digest, "databases", (json_int_t)fleet_count(fleet), "policies",
                            (json_int_t)fleet_policy_count(fleet), "changes", json_object_get(difference, "counts")),
                  err);
  change.work = true; /* limits may have been raised */
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

static Status check_text(const char *name, const char *text, size_t size, Error *err) {
  if (size <= FLEET_TEXT_LIMIT && !memchr(text, 0, size))
    return STATUS_OK;
  return error_set(err, ERR_CONFIG, "%s: it has a zero byte, or is larger than %d MiB", name, FLEET_TEXT_LIMIT >> 20);
}

static Status check_source(const Dispatch *dispatch, const Requester *requester, bool dry_run, Error *err) {
  if (!dispatch->config->fleet || !requester || dry_run)
    return STATUS_OK;
  error_set(err, ERR_CONFLICT, "the fleet is that of a file on the coordinator's machine, %s, which it watches",
            dispatch->config->fleet);
  error_remedy(err, "Change that file; or take `fleet:` out of coordinator.yaml, to apply it from here.");
  return ERR_CONFLICT;
}

/* Is it what the ledger has already? *version: of that. */
static Status same_as_newest(Dispatch *dispatch, const char *text, bool *same, int64_t *version, Error *err) {
  CLEANUP(ledger_fleet_release) LedgerFleet row = {0};
  Error cause;
  Status status = ledger_fleet_get(dispatch->ledger, &row, &cause);
  if (status != STATUS_OK && status != ERR_NOT_FOUND) {
    *err = cause;
    return status;
  }
  *same = status == STATUS_OK && strcmp(row.text, text) == 0;
  *version = row.version;
  return STATUS_OK;
}

/* What the last drills took, against what is wanted now. */
static Status note_slow(Dispatch *dispatch, const Fleet *fleet, json_t *notes, Error *err) {
  LedgerNewest *items = NULL;
  size_t count = 0;
  bool wanted = false;
  for (size_t i = 0; i < fleet_count(fleet) && !wanted; i++)
    wanted = fleet_at(fleet, i)->policy.objectives.restore_time > 0;
  Status status = wanted ? ledger_newest_list(dispatch->ledger, -1, &items, &count, err) : STATUS_OK;
  for (size_t i = 0; i < count && json_array_size(notes) < FLEET_NOTES_LIMIT; i++) {
    const FleetDatabase *database = fleet_database(fleet, items[i].database);
    int64_t objective = database ? database->policy.objectives.restore_time : 0;
    char shown[TEXT_DURATION_SIZE];
    if (objective == 0 || items[i].drill_seconds <= (double)objective)
      continue;
    CLEANUP_FREE char *message =
        memory_format("objectives.restore_time of %s is %s, but its last drill took %.1f s", items[i].database,
                      text_duration_show(objective, shown), items[i].drill_seconds);
    json_array_append_new(notes, json_pack("{s:i, s:s}", "line", 0, "message", message));
  }
  ledger_newest_list_free(items, count);
  return status;
}

Status dispatch_apply_fleet(Dispatch *dispatch, const char *name, const char *text, size_t size,
                            const Requester *requester, bool dry_run, json_t **report, Error *err) {
  CLEANUP(fleet_cleanup) Fleet *fleet = NULL;
  CLEANUP(intake_json_free) json_t *notes = NULL;
  CLEANUP(intake_json_free) json_t *difference = NULL;
  Status status = check_source(dispatch, requester, dry_run, err);
  if (status == STATUS_OK)
    status = check_text(name, text, size, err);
  if (status == STATUS_OK)
    status = fleet_make(dispatch->config, name, text, size, &fleet, &notes, err);
  if (status == STATUS_OK)
    status = note_slow(dispatch, fleet, notes, err);
  if (status == STATUS_OK)
    images_note(dispatch, fleet, notes);
  if (status != STATUS_OK)
    return status;
  CLEANUP(ledger_fleet_release)
  LedgerFleet row = {.name = memory_strdup(name),
                     .text = memory_strndup(text, size),
                     .applied_by = requester && requester->name ? memory_strdup(requester->name) : NULL,
                     .applied_us = dispatch->wall_us()};
  bool same = false;
  status = same_as_newest(dispatch, row.text, &same, &row.version, err);
  if (status != STATUS_OK)
    return status;
  difference = fleet_difference(dispatch->fleet, fleet);
  if (!dry_run && !same)
    status = store(dispatch, &row, difference, fleet, requester, err);
  if (status != STATUS_OK)
    return status;
  *report = json_pack("{s:I, s:b, s:O, s:O}", "version", (json_int_t)row.version, "changed", !dry_run && !same, "notes",
                      notes, "difference", difference);
  if (!dry_run)
    put_in_force(dispatch, STEAL(fleet), row.version);
  return STATUS_OK;
}

static void log_notes(const char *path, const json_t *report) {
  size_t index;
  const json_t *note;
  json_array_foreach(json_object_get(report, "notes"), index, note) {
    CLEANUP_FREE char *place = memory_format("%s:%d", path, (int)json_integer_value(json_object_get(note, "line")));
    log_warn(json_string_value(json_object_get(note, "message")), "place", place, NULL);
  }
}

Status dispatch_read_fleet(Dispatch *dispatch, Error *err) {
  const char *path = dispatch->config->fleet, *slash = strrchr(path, '/');
  CLEANUP(buffer_release) Buffer text = {0};
  CLEANUP(intake_json_free) json_t *report = NULL;
  Error cause;
  if (file_read(path, FLEET_TEXT_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "cannot read the fleet: %s", cause.message);
  buffer_text(&text);
  Status status = dispatch_apply_fleet(dispatch, slash ? slash + 1 : path, (const char *)text.data, text.size, NULL,
                                       false, &report, err);
  if (status == STATUS_OK)
    log_notes(path, report);
  return status;
}
