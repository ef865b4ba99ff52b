#include "coordinator/fleet/fleet.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "coordinator/fleet/document.h"
#include "coordinator/schedule/cron.h"

enum { TIMEOUT_SECONDS = 21600, LOCK_TIMEOUT_SECONDS = 30, CONNECTIONS = 2 };

struct Fleet {
  Document document; /* owns the strings; zero without one */
  FleetDatabase *databases;
  size_t count;
  FleetQuota *quotas; /* by owner */
  size_t quota_count;
  FleetLimits limits;
  FleetCapacity capacity;
};

void fleet_free(Fleet *fleet) {
  if (!fleet)
    return;
  for (size_t i = 0; i < fleet->count; i++) {
    FleetDatabase *database = &fleet->databases[i];
    free(database->config.assertions);
    free(database->policies);
  }
  free(fleet->databases);
  free(fleet->quotas);
  document_release(&fleet->document);
  free(fleet);
}

static void fleet_release(Fleet **fleet) {
  fleet_free(*fleet);
}

/* ---- one database ---- */

static void set_int(int *out, const int *value) {
  if (value)
    *out = *value;
}

static void set_seconds(int64_t *out, int64_t value) {
  if (value >= 0)
    *out = value;
}

static void set_budgets(ConfigDatabase *out, const RawBudgets *budgets, const RawLock *lock) {
  set_int(&out->timeout_seconds, budgets->timeout_seconds);
  set_int(&out->lock_timeout_seconds, budgets->lock_timeout_seconds);
  set_int(&out->connections, budgets->connections);
  if (lock) {
    out->lock_mode = document_lock_mode(lock->mode);
    out->lock_days = *lock->days;
  }
}

static void add_assertions(ConfigDatabase *out, const ConfigAssertion *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    size_t at = 0;
    while (at < out->assertion_count && strcmp(out->assertions[at].name, items[i].name) != 0)
      at++;
    if (at < out->assertion_count)
      out->assertions[at] = items[i];
    else
      ARRAY_PUSH(out->assertions, out->assertion_count, items[i]);
  }
}

static void set_schedule(FleetSchedule *out, const Overlay *overlay) {
  const RawSchedule *raw = &overlay->raw->schedule;
  out->cron = raw->cron ? raw->cron : out->cron;
  out->time_zone = raw->time_zone ? raw->time_zone : out->time_zone;
  set_int(&out->jitter_seconds, raw->jitter_seconds);
  if (overlay->make_up >= 0)
    out->make_up = overlay->make_up;
  if (raw->overlap)
    out->overlap = *raw->overlap;
}

static void set_retention(FleetPolicy *policy, const RawRetention *raw) {
  RetentionPolicy *out = &policy->retention;
  policy->retains = true;
  set_int(&out->last, raw->last);
  set_int(&out->hourly, raw->hourly);
  set_int(&out->daily, raw->daily);
  set_int(&out->weekly, raw->weekly);
  set_int(&out->monthly, raw->monthly);
  set_int(&out->yearly, raw->yearly);
  set_int(&out->grace_hours, raw->grace_hours);
  if (raw->tags) {
    out->tags = raw->tags;
    out->tag_count = raw->tags_count;
  }
}

static void lay_over(FleetDatabase *database, const Overlay *overlay) {
  FleetPolicy *policy = &database->policy;
  const RawPolicy *raw = overlay->raw;
  if (database->declared)
    set_budgets(&database->config, &raw->budgets, raw->lock);
  if (raw->restore_approval && (database->declared || *raw->restore_approval))
    database->config.restore_approval = *raw->restore_approval;
  add_assertions(&database->config, raw->drill.assertions, raw->drill.assertions_count);
  policy->drill_image = raw->drill.image ? raw->drill.image : policy->drill_image;
  set_schedule(&policy->schedule, overlay);
  if (raw->retention)
    set_retention(policy, raw->retention);
  set_seconds(&policy->rotation.proof_age_seconds, overlay->rotation_age);
  if (overlay->kinds >= 0)
    policy->rotation.kinds = (unsigned)overlay->kinds;
  set_seconds(&policy->objectives.proof_age, overlay->proof_age);
  set_seconds(&policy->objectives.restore_time, overlay->restore_time);
  set_seconds(&policy->objectives.data_loss, overlay->data_loss);
  if (raw->alerts) {
    policy->alerts = (const char **)raw->alerts;
    policy->alert_count = raw->alerts_count;
  }
  ARRAY_PUSH(database->policies, database->policy_count, raw->name);
}

/* Databases share a few schedules: each is reckoned once. */
typedef struct Gap {
  const char *cron, *time_zone;
  int64_t seconds;
} Gap;

static int64_t gap_of(const FleetSchedule *schedule) {
  Cron cron;
  Zone *zone = NULL;
  Error ignored; /* both were checked */
  int64_t seconds = 0;
  if (cron_parse(schedule->cron, &cron, &ignored) == STATUS_OK &&
      zone_open(schedule->time_zone, &zone, &ignored) == STATUS_OK)
    seconds = cron_longest_gap(&cron, zone);
  zone_close(zone);
  return seconds;
}

static void reckon_gaps(Fleet *fleet) {
  CLEANUP_FREE Gap *gaps = NULL;
  size_t count = 0;
  for (size_t i = 0; i < fleet->count; i++) {
    FleetSchedule *schedule = &fleet->databases[i].policy.schedule;
    size_t at = 0;
    if (!schedule->cron)
      continue;
    while (at < count && (gaps[at].cron != schedule->cron || gaps[at].time_zone != schedule->time_zone))
      at++;
    if (at == count) {
      const Gap gap = {schedule->cron, schedule->time_zone, gap_of(schedule)};
      ARRAY_PUSH(gaps, count, gap);
    }
    schedule->gap_seconds = gaps[at].seconds;
  }
}

static void resolve(Fleet *fleet, FleetDatabase *database) {
  Document *document = &fleet->document;
  for (unsigned i = 0; document->raw && i < document->raw->policies_count; i++) {
    if (!overlay_matches(&document->overlays[i], database))
      continue;
    document->overlays[i].used = true;
    lay_over(database, &document->overlays[i]);
  }
}

static FleetDatabase *add(Fleet *fleet) {
  FleetDatabase *database = &fleet->databases[fleet->count++];
  *database = (FleetDatabase){.host = "",
                              .config = {.environment = "",
                                         .owner = "",
                                         .timeout_seconds = TIMEOUT_SECONDS,
                                         .lock_timeout_seconds = LOCK_TIMEOUT_SECONDS,
                                         .connections = CONNECTIONS},
                              .policy = {.schedule = {.time_zone = "UTC", .make_up = true},
                                         .retention = {.grace_hours = RETENTION_GRACE_HOURS}}};
  return database;
}

static void add_listed(Fleet *fleet, const ConfigDatabase *config) {
  FleetDatabase *database = add(fleet);
  database->config = *config;
  database->config.assertions = NULL;
  database->config.assertion_count = 0;
  resolve(fleet, database);
  add_assertions(&database->config, config->assertions, config->assertion_count);
}

static void add_declared(Fleet *fleet, const RawFleetDatabase *raw) {
  FleetDatabase *database = add(fleet);
  ConfigDatabase *config = &database->config;
  database->declared = true;
  config->name = raw->name;
  config->environment = raw->environment ? raw->environment : "";
  config->owner = raw->owner ? raw->owner : "";
  database->host = raw->host ? raw->host : "";
  database->labels = (const char **)raw->labels;
  database->label_count = raw->labels_count;
  resolve(fleet, database);
  set_budgets(config, &raw->budgets, raw->lock);
  if (raw->restore_approval)
    config->restore_approval = *raw->restore_approval;
  add_assertions(config, raw->assertions, raw->assertions_count);
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b) {
  const FleetDatabase *left = a, *right = b;
  return strcmp(left->config.name, right->config.name);
}

static int by_owner(const void *a, const void *b) {
  const FleetQuota *left = a, *right = b;
  return strcmp(left->owner, right->owner);
}

/* The place of a database in the document, for messages. */
static unsigned item_of(const Fleet *fleet, const char *name) {
  const RawFleet *raw = fleet->document.raw;
  unsigned last = 0;
  for (unsigned i = 0; i < raw->databases_count; i++)
    if (strcmp(raw->databases[i].name, name) == 0)
      last = i;
  return last;
}

static Status check_twice(const Fleet *fleet, const CoordinatorConfig *config, Error *err) {
  for (size_t i = 1; i < fleet->count; i++) {
    const FleetDatabase *one = &fleet->databases[i - 1], *two = &fleet->databases[i];
    if (strcmp(one->config.name, two->config.name) != 0)
      continue;
    bool both = one->declared && two->declared;
    document_error(&fleet->document, err, PLACE_DATABASES, item_of(fleet, two->config.name), "name", "%s%s",
                   both ? "it is there twice" : "it is also in ", both ? "" : config->path);
    return ERR_CONFIG;
  }
  return STATUS_OK;
}

static void note(json_t *notes, int line, char *message) {
  if (json_array_size(notes) < FLEET_NOTES_LIMIT)
    json_array_append_new(notes, json_pack("{s:i, s:s}", "line", line, "message", message));
  free(message);
}

/* The line of the policy that a setting of the database is from. */
static int line_of(const Document *document, const FleetDatabase *database, const char *path) {
  int line = 0;
  for (unsigned i = 0; i < document->raw->policies_count; i++)
    if (document->overlays[i].data_loss >= 0 && overlay_matches(&document->overlays[i], database))
      line = places_line(&document->places, PLACE_POLICIES, i, path);
  return line;
}

/* One note for all that have the same schedule and the same objective. */
static void note_data_loss(const Fleet *fleet, json_t *notes) {
  CLEANUP_FREE size_t *told = NULL;
  size_t told_count = 0;
  for (size_t i = 0; i < fleet->count && told_count < FLEET_NOTES_LIMIT; i++) {
    const FleetPolicy *policy = &fleet->databases[i].policy;
    char objective[TEXT_DURATION_SIZE], gap[TEXT_DURATION_SIZE];
    bool known = policy->objectives.data_loss == 0 ||
                 (policy->schedule.cron && policy->schedule.gap_seconds <= policy->objectives.data_loss);
    for (size_t t = 0; t < told_count && !known; t++) {
      const FleetPolicy *other = &fleet->databases[told[t]].policy;
      known =
          other->schedule.cron == policy->schedule.cron && other->objectives.data_loss == policy->objectives.data_loss;
    }
    if (known)
      continue;
    ARRAY_PUSH(told, told_count, i);
    text_duration_show(policy->objectives.data_loss, objective);
    text_duration_show(policy->schedule.gap_seconds, gap);
    const char *name = fleet->databases[i].config.name;
    note(notes, line_of(&fleet->document, &fleet->databases[i], "objectives.data_loss"),
         policy->schedule.cron
             ? memory_format(
                   "objectives.data_loss is %s, but the schedule leaves up to %s between two checkpoints (database %s)",
                   objective, gap, name)
             : memory_format(
                   "objectives.data_loss is %s, but there is no schedule: checkpoints are left to others (database %s)",
                   objective, name));
  }
}

/* Nobody is told by them. */
static void note_routes(const Document *document, unsigned policy, const CoordinatorConfig *config, json_t *notes) {
  const RawPolicy *raw = &document->raw->policies[policy];
  for (unsigned i = 0; i < raw->alerts_count; i++) {
    const AlertRoute *route = alert_route(&config->alerts, raw->alerts[i]);
    if (!route || route->kind == ROUTE_PING)
      note(notes, places_line(&document->places, PLACE_POLICIES, policy, "alerts"),
           memory_format(route ? "policy %s: route %s is a ping, which tells of no alerts"
                               : "policy %s names the alert route %s, which coordinator.yaml does not have",
                         raw->name, raw->alerts[i]));
  }
}

static void make_notes(const Fleet *fleet, const CoordinatorConfig *config, json_t *notes) {
  const Document *document = &fleet->document;
  const RawFleet *raw = document->raw;
  for (unsigned i = 0; i < raw->policies_count; i++)
    if (!document->overlays[i].used)
      note(notes, places_line(&document->places, PLACE_POLICIES, i, "name"),
           memory_format("policy %s matches no database", raw->policies[i].name));
  for (unsigned i = 0; i < raw->policies_count; i++)
    note_routes(document, i, config, notes);
  if (raw->policies_count == 0)
    return;
  note_data_loss(fleet, notes);
  for (unsigned i = 0; i < raw->databases_count && json_array_size(notes) < FLEET_NOTES_LIMIT; i++)
    if (fleet_database(fleet, raw->databases[i].name)->policy_count == 0)
      note(notes, places_line(&document->places, PLACE_DATABASES, i, "name"),
           memory_format("no policy matches database %s", raw->databases[i].name));
  for (size_t i = 0; i < config->database_count && json_array_size(notes) < FLEET_NOTES_LIMIT; i++)
    if (fleet_database(fleet, config->databases[i].name)->policy_count == 0)
      note(notes, 0,
           memory_format("no policy matches database %s, which is in %s", config->databases[i].name, config->path));
}

static void take_rest(Fleet *fleet) {
  const RawFleet *raw = fleet->document.raw;
  fleet->limits = raw->limits;
  fleet->capacity = (FleetCapacity){raw->rotation.slots, raw->rotation.hours_per_day,
                                    (int64_t)raw->rotation.gigabytes_per_day * 1000000000};
  for (unsigned i = 0; i < raw->quotas_count; i++) {
    FleetQuota quota = {raw->quotas[i].owner, raw->quotas[i].queued, raw->quotas[i].running};
    ARRAY_PUSH(fleet->quotas, fleet->quota_count, quota);
  }
  if (fleet->quota_count)
    qsort(fleet->quotas, fleet->quota_count, sizeof *fleet->quotas, by_owner);
}

Status fleet_make(const CoordinatorConfig *config, const char *name, const char *text, size_t size, Fleet **out,
                  json_t **notes, Error *err) {
  CLEANUP(fleet_release) Fleet *fleet = memory_alloc(sizeof *fleet);
  Status status = text ? document_read(name, text, size, &fleet->document, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  const RawFleet *raw = fleet->document.raw;
  size_t count = config->database_count + (raw ? raw->databases_count : 0);
  fleet->databases = memory_alloc((count + 1) * sizeof *fleet->databases);
  for (size_t i = 0; i < config->database_count; i++)
    add_listed(fleet, &config->databases[i]);
  for (unsigned i = 0; raw && i < raw->databases_count; i++)
    add_declared(fleet, &raw->databases[i]);
  qsort(fleet->databases, fleet->count, sizeof *fleet->databases, by_name);
  reckon_gaps(fleet);
  json_t *found = json_array();
  if (raw) {
    take_rest(fleet);
    status = check_twice(fleet, config, err);
    if (status == STATUS_OK)
      make_notes(fleet, config, found);
  }
  if (status != STATUS_OK) {
    json_decref(found);
    return status;
  }
  *out = STEAL(fleet);
  *notes = found;
  return STATUS_OK;
}

Status fleet_load(const CoordinatorConfig *config, Fleet **out, json_t **notes, Error *err) {
  CLEANUP(buffer_release) Buffer text = {0};
  Error cause;
  if (!config->fleet)
    return fleet_make(config, "", NULL, 0, out, notes, err);
  if (file_read(config->fleet, FLEET_TEXT_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "cannot read the fleet: %s", cause.message);
  return fleet_make(config, config->fleet, buffer_text(&text), text.size, out, notes, err);
}

const FleetDatabase *fleet_database(const Fleet *fleet, const char *name) {
  const FleetDatabase wanted = {.config = {.name = name}};
  return bsearch(&wanted, fleet->databases, fleet->count, sizeof *fleet->databases, by_name);
}

const ConfigDatabase *fleet_config(const Fleet *fleet, const char *name) {
  const FleetDatabase *database = fleet_database(fleet, name);
  return database ? &database->config : NULL;
}

size_t fleet_count(const Fleet *fleet) {
  return fleet->count;
}

int fleet_image_line(const Fleet *fleet, const FleetDatabase *database) {
  const Document *document = &fleet->document;
  int line = 0;
  for (unsigned i = 0; document->raw && i < document->raw->policies_count; i++)
    if (document->raw->policies[i].drill.image && overlay_matches(&document->overlays[i], database))
      line = places_line(&document->places, PLACE_POLICIES, i, "drill.image");
  return line;
}

const FleetDatabase *fleet_at(const Fleet *fleet, size_t index) {
  return &fleet->databases[index];
}

const FleetQuota *fleet_quota(const Fleet *fleet, const char *owner) {
  const FleetQuota wanted = {.owner = owner};
  return fleet->quota_count ? bsearch(&wanted, fleet->quotas, fleet->quota_count, sizeof *fleet->quotas, by_owner)
                            : NULL;
}

size_t fleet_quota_count(const Fleet *fleet) {
  return fleet->quota_count;
}

const FleetQuota *fleet_quota_at(const Fleet *fleet, size_t index) {
  return &fleet->quotas[index];
}

const FleetLimits *fleet_limits(const Fleet *fleet) {
  return &fleet->limits;
}

const FleetCapacity *fleet_capacity(const Fleet *fleet) {
  return &fleet->capacity;
}

size_t fleet_policy_count(const Fleet *fleet) {
  return fleet->document.raw ? fleet->document.raw->policies_count : 0;
}
