#include "coordinator/fleet/document.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "coordinator/schedule/cron.h"

enum {
  DAY_SECONDS = 86400,
  AGE_SECONDS = 3650 * DAY_SECONDS,
  COUNT_LIMIT = RETENTION_COUNT_MAX,
  GLOB_LENGTH = 128,
  IMAGE_LENGTH = 200,
  GLOB_STARS = 4 /* each more makes matching a name with all the names there are that much slower */
};

void document_release(Document *document) {
  config_yaml_free(&fleet_schema, document->raw);
  places_release(&document->places);
  free(document->overlays);
  free(document->name);
  *document = (Document){0};
}

static const char *item_name(const Document *document, PlaceSection section, unsigned item) {
  const char *name = section == PLACE_DATABASES  ? document->raw->databases[item].name
                     : section == PLACE_POLICIES ? document->raw->policies[item].name
                     : section == PLACE_QUOTAS   ? document->raw->quotas[item].owner
                                                 : NULL;
  return name ? name : "";
}

Status document_error(const Document *document, Error *err, PlaceSection section, unsigned item, const char *path,
                      const char *format, ...) {
  static const char *const words[PLACE_SECTIONS] = {"", "database ", "policy ", "quota of "};
  char shown[129];
  va_list args;
  va_start(args, format);
  error_set_v(err, ERR_CONFIG, format, args);
  va_end(args);
  if (path[0])
    error_prefix(err, "%s", path);
  if (section != PLACE_ROOT)
    error_prefix(err, "%s%s", words[section], text_clean(item_name(document, section, item), shown, sizeof shown));
  int line = places_line(&document->places, section, item, path);
  error_object(err, "%s:%d", document->name, line);
  return error_prefix(err, "%s:%d", document->name, line);
}

/* What is being checked, for messages. */
typedef struct Spot {
  const Document *document;
  PlaceSection section;
  unsigned item;
} Spot;

#define WRONG(spot, path, ...) document_error((spot)->document, err, (spot)->section, (spot)->item, path, __VA_ARGS__)

static Status check_int(const Spot *spot, const char *path, const int *value, int low, int high, Error *err) {
  if (value && (*value < low || *value > high))
    return WRONG(spot, path, "it is %d; it must be between %d and %d", *value, low, high);
  return STATUS_OK;
}

static Status check_text(const Spot *spot, const char *path, const char *text, Error *err) {
  if (text && !text_tag_valid(text))
    return WRONG(spot, path, "it must be 1 to 128 printable characters");
  return STATUS_OK;
}

static Status check_texts(const Spot *spot, const char *path, char **texts, unsigned count, Error *err) {
  Status status = STATUS_OK;
  for (unsigned i = 0; status == STATUS_OK && i < count; i++)
    status = check_text(spot, path, texts[i], err);
  return status;
}

static Status check_globs(const Spot *spot, const char *path, char **globs, unsigned count, Error *err) {
  for (unsigned i = 0; i < count; i++) {
    size_t stars = 0;
    for (const char *at = globs[i]; *at; at++)
      stars += *at == '*';
    if (strlen(globs[i]) > GLOB_LENGTH || stars > GLOB_STARS || strpbrk(globs[i], "[]\\") || !text_tag_valid(globs[i]))
      return WRONG(spot, path,
                   "a pattern is at most %d characters long, has at most %d '*', and '?', but neither brackets nor "
                   "backslashes",
                   GLOB_LENGTH, GLOB_STARS);
  }
  return STATUS_OK;
}

static Status check_assertions(const Spot *spot, const char *path, const ConfigAssertion *items, unsigned count,
                               Error *err) {
  for (unsigned i = 0; i < count; i++) {
    Status status = check_text(spot, path, items[i].name, err);
    for (unsigned j = 0; status == STATUS_OK && j < i; j++)
      if (strcmp(items[i].name, items[j].name) == 0)
        status = WRONG(spot, path, "assertion '%s' is there twice", items[i].name);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

const char *document_lock_mode(const char *text) {
  return strcasecmp(text, "governance") == 0 ? "GOVERNANCE" : strcasecmp(text, "compliance") == 0 ? "COMPLIANCE" : NULL;
}

static Status check_common(const Spot *spot, const RawBudgets *budgets, const RawLock *lock, Error *err) {
  Status status = check_int(spot, "budgets.timeout_seconds", budgets->timeout_seconds, 1, 7 * DAY_SECONDS, err);
  if (status == STATUS_OK)
    status = check_int(spot, "budgets.lock_timeout_seconds", budgets->lock_timeout_seconds, 1, 3600, err);
  if (status == STATUS_OK)
    status = check_int(spot, "budgets.connections", budgets->connections, 1, 8, err);
  if (status == STATUS_OK && lock && !document_lock_mode(lock->mode))
    status = WRONG(spot, "lock.mode", "it is '%s'; it must be governance or compliance", lock->mode);
  if (status == STATUS_OK && lock)
    status = check_int(spot, "lock.days", lock->days, 1, 36500, err);
  return status;
}

/* As an engine's API takes it; neither a pattern nor a path. */
static Status check_image(const Spot *spot, const char *image, Error *err) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@";
  if (image && (strlen(image) > IMAGE_LENGTH || strspn(image, allowed) != strlen(image) || strstr(image, "..")))
    return WRONG(spot, "drill.image", "it is not the name of an image");
  return STATUS_OK;
}

static Status check_labels(const Spot *spot, char **labels, unsigned count, Error *err) {
  Status status = check_texts(spot, "labels", labels, count, err);
  for (unsigned i = 0; status == STATUS_OK && i < count; i++) {
    size_t key = strcspn(labels[i], "=");
    if (key == 0 || !labels[i][key])
      return WRONG(spot, "labels", "'%s' is not KEY=VALUE", labels[i]);
    for (unsigned j = 0; j < i; j++)
      if (strncmp(labels[i], labels[j], key + 1) == 0)
        return WRONG(spot, "labels", "%.*s is there twice", (int)key, labels[i]);
  }
  return status;
}

static Status check_database(const Document *document, unsigned item, Error *err) {
  const Spot spot = {document, PLACE_DATABASES, item};
  const RawFleetDatabase *raw = &document->raw->databases[item];
  if (!text_name_valid(raw->name))
    return WRONG(&spot, "name", "it must be 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first");
  Status status = check_text(&spot, "environment", raw->environment, err);
  if (status == STATUS_OK)
    status = check_text(&spot, "owner", raw->owner, err);
  if (status == STATUS_OK)
    status = check_text(&spot, "host", raw->host, err);
  if (status == STATUS_OK)
    status = check_labels(&spot, raw->labels, raw->labels_count, err);
  if (status == STATUS_OK)
    status = check_assertions(&spot, "assertions", raw->assertions, raw->assertions_count, err);
  return status == STATUS_OK ? check_common(&spot, &raw->budgets, raw->lock, err) : status;
}

static Status take_duration(const Spot *spot, const char *path, const char *text, int64_t *out, Error *err) {
  *out = -1;
  if (text && (!text_duration(text, out) || *out < 1 || *out > AGE_SECONDS))
    return WRONG(spot, path, "it is '%s'; it must be a time such as 30m, 12h, 7d or 4w, at most ten years", text);
  return STATUS_OK;
}

static Status check_cron(const Spot *spot, const char *text, Error *err) {
  Cron cron;
  Error cause;
  if (text && cron_parse(text, &cron, &cause) != STATUS_OK)
    return WRONG(spot, "schedule.cron", "%s", cause.message);
  return STATUS_OK;
}

static Status check_zone(const Spot *spot, const char *name, Error *err) {
  Zone *zone = NULL;
  Error cause;
  if (name && zone_open(name, &zone, &cause) != STATUS_OK)
    return WRONG(spot, "schedule.time_zone", "%s", cause.message);
  zone_close(zone);
  return STATUS_OK;
}

static Status check_schedule(const Spot *spot, const RawSchedule *raw, Overlay *out, Error *err) {
  out->make_up = -1;
  if (raw->missed && strcmp(raw->missed, "run_once") != 0 && strcmp(raw->missed, "skip") != 0)
    return WRONG(spot, "schedule.missed", "it is '%s'; it must be run_once or skip", raw->missed);
  if (raw->missed)
    out->make_up = strcmp(raw->missed, "run_once") == 0;
  Status status = check_int(spot, "schedule.jitter_seconds", raw->jitter_seconds, 0, 7 * DAY_SECONDS, err);
  if (status == STATUS_OK)
    status = check_cron(spot, raw->cron, err);
  return status == STATUS_OK ? check_zone(spot, raw->time_zone, err) : status;
}

static Status check_retention(const Spot *spot, const RawRetention *raw, Error *err) {
  const struct {
    const char *path;
    const int *value;
  } rules[] = {{"retention.last", raw->last},       {"retention.hourly", raw->hourly},
               {"retention.daily", raw->daily},     {"retention.weekly", raw->weekly},
               {"retention.monthly", raw->monthly}, {"retention.yearly", raw->yearly}};
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < ARRAY_SIZE(rules); i++)
    status = check_int(spot, rules[i].path, rules[i].value, 0, COUNT_LIMIT, err);
  if (status == STATUS_OK)
    status = check_int(spot, "retention.grace_hours", raw->grace_hours, 1, COUNT_LIMIT, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->tags_count; i++) {
    char *glob = (char *)raw->tags[i].match;
    status = check_globs(spot, "retention.tags.match", &glob, 1, err);
    if (status == STATUS_OK)
      status = check_int(spot, "retention.tags.keep_days", &raw->tags[i].keep_days, 1, COUNT_LIMIT, err);
  }
  return status;
}

static Status take_kinds(const Spot *spot, const RawRotation *raw, Overlay *out, Error *err) {
  out->kinds = raw->kinds ? 0 : -1;
  for (unsigned i = 0; i < raw->kinds_count; i++) {
    RotationKind kind;
    if (!rotation_kind_from_name(raw->kinds[i], &kind))
      return WRONG(spot, "rotation.kinds", "'%s' is unknown; there are latest, old, bare, forward and canary",
                   raw->kinds[i]);
    out->kinds |= (int)kind;
  }
  return STATUS_OK;
}

static Status check_ages(const Spot *spot, const RawPolicy *raw, Overlay *out, Error *err) {
  Status status = take_duration(spot, "rotation.proof_age", raw->rotation.proof_age, &out->rotation_age, err);
  if (status == STATUS_OK)
    status = take_kinds(spot, &raw->rotation, out, err);
  if (status == STATUS_OK)
    status = take_duration(spot, "objectives.proof_age", raw->objectives.proof_age, &out->proof_age, err);
  if (status == STATUS_OK)
    status = take_duration(spot, "objectives.restore_time", raw->objectives.restore_time, &out->restore_time, err);
  if (status == STATUS_OK)
    status = take_duration(spot, "objectives.data_loss", raw->objectives.data_loss, &out->data_loss, err);
  return status;
}

static Status check_match(const Spot *spot, const RawMatch *raw, Error *err) {
  Status status = check_globs(spot, "match.names", raw->names, raw->names_count, err);
  if (status == STATUS_OK)
    status = check_globs(spot, "match.labels", raw->labels, raw->labels_count, err);
  if (status == STATUS_OK)
    status = check_globs(spot, "match.environments", raw->environments, raw->environments_count, err);
  return status == STATUS_OK ? check_globs(spot, "match.owners", raw->owners, raw->owners_count, err) : status;
}

static Status check_policy(Document *document, unsigned item, Error *err) {
  const Spot spot = {document, PLACE_POLICIES, item};
  const RawPolicy *raw = &document->raw->policies[item];
  Overlay *out = &document->overlays[item];
  out->raw = raw;
  out->lock_mode = raw->lock ? document_lock_mode(raw->lock->mode) : NULL;
  Status status = check_text(&spot, "name", raw->name, err);
  for (unsigned i = 0; status == STATUS_OK && i < item; i++)
    if (strcmp(raw->name, document->raw->policies[i].name) == 0)
      status = WRONG(&spot, "name", "there are two policies of this name");
  if (status == STATUS_OK)
    status = check_match(&spot, &raw->match, err);
  if (status == STATUS_OK)
    status = check_schedule(&spot, &raw->schedule, out, err);
  if (status == STATUS_OK)
    status = check_assertions(&spot, "drill.assertions", raw->drill.assertions, raw->drill.assertions_count, err);
  if (status == STATUS_OK)
    status = check_image(&spot, raw->drill.image, err);
  if (status == STATUS_OK)
    status = check_common(&spot, &raw->budgets, raw->lock, err);
  if (status == STATUS_OK && raw->retention)
    status = check_retention(&spot, raw->retention, err);
  if (status == STATUS_OK)
    status = check_ages(&spot, raw, out, err);
  return status == STATUS_OK ? check_texts(&spot, "alerts", raw->alerts, raw->alerts_count, err) : status;
}

static Status check_quota(const Document *document, unsigned item, Error *err) {
  const Spot spot = {document, PLACE_QUOTAS, item};
  const RawQuota *raw = &document->raw->quotas[item];
  Status status = check_text(&spot, "owner", raw->owner, err);
  for (unsigned i = 0; status == STATUS_OK && i < item; i++)
    if (strcmp(raw->owner, document->raw->quotas[i].owner) == 0)
      status = WRONG(&spot, "owner", "it has two quotas");
  if (status == STATUS_OK)
    status = check_int(&spot, "queued", &raw->queued, 0, COUNT_LIMIT, err);
  return status == STATUS_OK ? check_int(&spot, "running", &raw->running, 0, COUNT_LIMIT, err) : status;
}

static Status check_rest(const Document *document, Error *err) {
  const Spot spot = {document, PLACE_ROOT, 0};
  const RawFleet *raw = document->raw;
  Status status = check_int(&spot, "limits.running", &raw->limits.running, 0, COUNT_LIMIT, err);
  if (status == STATUS_OK)
    status = check_int(&spot, "limits.host_running", &raw->limits.host_running, 0, COUNT_LIMIT, err);
  if (status == STATUS_OK)
    status = check_int(&spot, "rotation.slots", &raw->rotation.slots, 0, COUNT_LIMIT, err);
  if (status == STATUS_OK)
    status = check_int(&spot, "rotation.hours_per_day", &raw->rotation.hours_per_day, 0, COUNT_LIMIT, err);
  if (status == STATUS_OK)
    status = check_int(&spot, "rotation.gigabytes_per_day", &raw->rotation.gigabytes_per_day, 0, 1000000000, err);
  return status;
}

static Status check(Document *document, Error *err) {
  const RawFleet *raw = document->raw;
  document->overlays = memory_alloc((raw->policies_count + 1) * sizeof *document->overlays);
  Status status = check_rest(document, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->databases_count; i++)
    status = check_database(document, i, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->policies_count; i++)
    status = check_policy(document, i, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->quotas_count; i++)
    status = check_quota(document, i, err);
  return status;
}

Status document_read(const char *name, const char *text, size_t size, Document *out, Error *err) {
  CLEANUP(document_release) Document document = {.name = memory_strdup(name)};
  if (size > FLEET_TEXT_LIMIT)
    return error_set(err, ERR_CONFIG, "%s: it is larger than %d MiB", name, FLEET_TEXT_LIMIT >> 20);
  Status status = places_read(name, text, size, &document.places, err);
  void *raw = NULL;
  if (status == STATUS_OK)
    status = config_yaml_parse(name, text, size, &fleet_schema, &raw, err);
  document.raw = raw;
  if (status == STATUS_OK)
    status = check(&document, err);
  if (status != STATUS_OK)
    return status;
  *out = document;
  document = (Document){0};
  return STATUS_OK;
}

/* ---- matching ---- */

static bool any(char **globs, unsigned count, const char *text) {
  for (unsigned i = 0; i < count; i++)
    if (text_glob(globs[i], text))
      return true;
  return count == 0;
}

bool overlay_matches(const Overlay *overlay, const FleetDatabase *database) {
  const RawMatch *match = &overlay->raw->match;
  if (!any(match->environments, match->environments_count, database->config.environment) ||
      !any(match->owners, match->owners_count, database->config.owner) ||
      !any(match->names, match->names_count, database->config.name))
    return false;
  for (unsigned i = 0; i < match->labels_count; i++) {
    bool found = false;
    for (size_t j = 0; !found && j < database->label_count; j++)
      found = text_glob(match->labels[i], database->labels[j]);
    if (!found)
      return false;
  }
  return true;
}
