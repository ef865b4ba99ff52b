/* What a fleet says, as JSON; and what differs between two. */
#include <string.h>

#include "coordinator/fleet/fleet.h"

static void put_text(json_t *out, const char *key, const char *text) {
  if (text && text[0])
    json_object_set_new(out, key, json_string(text));
}

static void put_count(json_t *out, const char *key, int64_t value) {
  if (value > 0)
    json_object_set_new(out, key, json_integer(value));
}

static void put_texts(json_t *out, const char *key, const char *const *items, size_t count) {
  if (count == 0)
    return;
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, json_string(items[i]));
  json_object_set_new(out, key, list);
}

static void put_schedule(json_t *out, const FleetSchedule *schedule) {
  if (!schedule->cron)
    return;
  put_text(out, "schedule.cron", schedule->cron);
  put_text(out, "schedule.time_zone", schedule->time_zone);
  put_count(out, "schedule.jitter_seconds", schedule->jitter_seconds);
  put_text(out, "schedule.missed", schedule->make_up ? "run_once" : "skip");
  if (schedule->overlap)
    json_object_set_new(out, "schedule.overlap", json_true());
}

static void put_retention(json_t *out, const FleetPolicy *policy) {
  const RetentionPolicy *retention = &policy->retention;
  if (!policy->retains)
    return;
  put_count(out, "retention.last", retention->last);
  put_count(out, "retention.hourly", retention->hourly);
  put_count(out, "retention.daily", retention->daily);
  put_count(out, "retention.weekly", retention->weekly);
  put_count(out, "retention.monthly", retention->monthly);
  put_count(out, "retention.yearly", retention->yearly);
  put_count(out, "retention.grace_hours", retention->grace_hours);
  if (retention->tag_count == 0)
    return;
  json_t *tags = json_array();
  for (size_t i = 0; i < retention->tag_count; i++)
    json_array_append_new(
        tags, json_pack("{s:s, s:i}", "match", retention->tags[i].match, "keep_days", retention->tags[i].keep_days));
  json_object_set_new(out, "retention.tags", tags);
}

static void put_kinds(json_t *out, unsigned kinds) {
  const char *found[ROTATION_KINDS];
  size_t count = 0;
  for (int i = 0; i < ROTATION_KINDS; i++)
    if (kinds & (1u << i))
      found[count++] = rotation_kind_name((RotationKind)(1 << i));
  put_texts(out, "rotation.kinds", found, count);
}

static void put_assertions(json_t *out, const ConfigDatabase *config) {
  if (config->assertion_count == 0)
    return;
  json_t *list = json_array();
  for (size_t i = 0; i < config->assertion_count; i++)
    json_array_append_new(
        list, json_pack("{s:s, s:s}", "name", config->assertions[i].name, "sql", config->assertions[i].sql));
  json_object_set_new(out, "assertions", list);
}

json_t *fleet_describe(const FleetDatabase *database) {
  const ConfigDatabase *config = &database->config;
  const FleetPolicy *policy = &database->policy;
  json_t *out = json_object();
  put_text(out, "environment", config->environment);
  put_text(out, "owner", config->owner);
  put_text(out, "host", database->host);
  put_texts(out, "labels", database->labels, database->label_count);
  put_texts(out, "policies", database->policies, database->policy_count);
  put_schedule(out, &policy->schedule);
  put_assertions(out, config);
  put_count(out, "budgets.timeout_seconds", config->timeout_seconds);
  put_count(out, "budgets.lock_timeout_seconds", config->lock_timeout_seconds);
  put_count(out, "budgets.connections", config->connections);
  put_text(out, "drill.image", policy->drill_image);
  put_text(out, "lock.mode", config->lock_mode);
  put_count(out, "lock.days", config->lock_mode ? config->lock_days : 0);
  if (config->restore_approval)
    json_object_set_new(out, "restore_approval", json_true());
  put_retention(out, policy);
  put_count(out, "rotation.proof_age", policy->rotation.proof_age_seconds);
  put_kinds(out, policy->rotation.kinds);
  put_count(out, "objectives.proof_age", policy->objectives.proof_age);
  put_count(out, "objectives.restore_time", policy->objectives.restore_time);
  put_count(out, "objectives.data_loss", policy->objectives.data_loss);
  put_texts(out, "alerts", policy->alerts, policy->alert_count);
  return out;
}

/* ---- differences ---- */

static void put_change(json_t *changes, const char *key, json_t *from, json_t *to) {
  json_object_set_new(changes, key,
                      json_pack("{s:o, s:o}", "from", from ? json_incref(from) : json_null(), "to",
                                to ? json_incref(to) : json_null()));
}

/* New reference; empty if they are the same. Takes both. */
static json_t *changes_between(json_t *from, json_t *to) {
  json_t *changes = json_object(), *value;
  const char *key;
  json_object_foreach(from, key, value) {
    if (!json_equal(value, json_object_get(to, key)))
      put_change(changes, key, value, json_object_get(to, key));
  }
  json_object_foreach(to, key, value) {
    if (!json_object_get(from, key))
      put_change(changes, key, NULL, value);
  }
  json_decref(from);
  json_decref(to);
  return changes;
}

static json_t *describe_fleet(const Fleet *fleet) {
  json_t *out = json_object();
  const FleetLimits *limits = fleet_limits(fleet);
  const FleetCapacity *capacity = fleet_capacity(fleet);
  put_count(out, "limits.running", limits->running);
  put_count(out, "limits.host_running", limits->host_running);
  put_count(out, "rotation.slots", capacity->slots);
  put_count(out, "rotation.hours_per_day", capacity->hours_per_day);
  put_count(out, "rotation.gigabytes_per_day", capacity->bytes_per_day / 1000000000);
  json_t *quotas = json_object();
  for (size_t i = 0; i < fleet_quota_count(fleet); i++) {
    const FleetQuota *quota = fleet_quota_at(fleet, i);
    json_object_set_new(quotas, quota->owner,
                        json_pack("{s:i, s:i}", "queued", quota->queued, "running", quota->running));
  }
  json_object_set_new(out, "quotas", quotas);
  return out;
}

typedef struct Difference {
  json_t *added, *removed, *changed;
  json_int_t added_count, removed_count, changed_count;
} Difference;

static void name_one(json_t *list, json_int_t *count, const char *name) {
  if (++*count <= FLEET_LIST_LIMIT)
    json_array_append_new(list, json_string(name));
}

static void compare(Difference *difference, const FleetDatabase *from, const FleetDatabase *to) {
  json_t *changes = changes_between(fleet_describe(from), fleet_describe(to));
  if (json_object_size(changes) > 0 && ++difference->changed_count <= FLEET_LIST_LIMIT)
    json_array_append_new(difference->changed, json_pack("{s:s, s:O}", "name", to->config.name, "settings", changes));
  json_decref(changes);
}

/* Both are in the order of their names. */
json_t *fleet_difference(const Fleet *from, const Fleet *to) {
  Difference d = {.added = json_array(), .removed = json_array(), .changed = json_array()};
  size_t i = 0, j = 0;
  while (i < fleet_count(from) || j < fleet_count(to)) {
    const FleetDatabase *old = i < fleet_count(from) ? fleet_at(from, i) : NULL;
    const FleetDatabase *new = j < fleet_count(to) ? fleet_at(to, j) : NULL;
    int order = !old ? 1 : !new ? -1 : strcmp(old->config.name, new->config.name);
    if (order == 0)
      compare(&d, old, new);
    else if (order < 0)
      name_one(d.removed, &d.removed_count, old->config.name);
    else
      name_one(d.added, &d.added_count, new->config.name);
    i += order <= 0;
    j += order >= 0;
  }
  return json_pack("{s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I}}", "added", d.added, "removed", d.removed, "changed",
                   d.changed, "fleet", changes_between(describe_fleet(from), describe_fleet(to)), "counts", "added",
                   d.added_count, "removed", d.removed_count, "changed", d.changed_count);
}
