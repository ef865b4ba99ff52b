#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "coordinator/rotation/run_internal.h"

#define SECOND_US ((int64_t)1000000)

typedef struct Collected { /* of one database */
  Rotation *rotation;
  const FleetDatabase *database;
  size_t number;
  int64_t objective_us, now_us;
  Checkpoint *checkpoints; /* sealed, and not going; newest first */
  size_t count;
  RotationEntries *out;
} Collected;

void rotation_entries_release(RotationEntries *entries) {
  free(entries->list);
  *entries = (RotationEntries){0};
}

char *rotation_key_of(const char *database, RotationKind kind, int64_t period) {
  return memory_format("%s/%s/%lld", rotation_kind_name(kind), database, (long long)period);
}

/* ---- one checkpoint ---- */

static int64_t proven_of(const Checkpoint *checkpoint) {
  int64_t proven_us = json_integer_value(json_object_get(checkpoint->detail, "proven_us"));
  return proven_us > checkpoint->finished_us ? proven_us : checkpoint->finished_us;
}

static double seconds_of(const Checkpoint *checkpoint) {
  const json_t *stages = json_object_get(json_object_get(checkpoint->detail, "stages"), "drill"), *stage;
  const char *name;
  double seconds = 0;
  json_object_foreach((json_t *)stages, name, stage) seconds += json_number_value(stage);
  return seconds > 0 ? seconds : 30 + (double)checkpoint->size_bytes / 50e6;
}

static double change_of(const Checkpoint *checkpoint, const Checkpoint *newest) {
  double was = (double)checkpoint->archive_bytes, is = (double)newest->archive_bytes;
  double more = was > is ? was : is;
  return more > 0 ? (was > is ? was - is : is - was) / more : 0;
}

static const char *image_of(const Checkpoint *checkpoint) {
  const char *image = json_string_value(json_object_get(json_object_get(checkpoint->detail, "versions"), "image"));
  return image ? image : "";
}

static bool key_changed(const Collected *collected, const Checkpoint *checkpoint) {
  const char *hex = json_string_value(json_object_get(checkpoint->detail, "dump_public_key"));
  const Agent *agent = checkpoint->dump_agent
                           ? agents_find(dispatch_agents(collected->rotation->dispatch), checkpoint->dump_agent)
                           : NULL;
  char now[PUBLIC_KEY_HEX_SIZE];
  if (!agent || !hex)
    return true;
  text_hex(agent->who.key, sizeof agent->who.key, now);
  return strcmp(now, hex) != 0;
}

static unsigned changed_of(const Collected *collected, const Checkpoint *checkpoint) {
  const Checkpoint *newest = &collected->checkpoints[0];
  bool same_major = checkpoint->server_major == newest->server_major;
  unsigned changed = same_major ? 0 : 1u << ROTATION_MAJOR_CHANGED;
  if (same_major && strcmp(image_of(checkpoint), image_of(newest)) != 0)
    changed |= 1u << ROTATION_IMAGE_CHANGED;
  return changed | (key_changed(collected, checkpoint) ? 1u << ROTATION_KEY_CHANGED : 0);
}

static RotationEntry entry_of(const Collected *collected, size_t index, RotationKind kind) {
  const Checkpoint *checkpoint = &collected->checkpoints[index];
  RotationEntry entry = {.item = {.database = collected->number,
                                  .kind = kind,
                                  .proven_us = proven_of(checkpoint),
                                  .objective_us = collected->objective_us,
                                  .finished_us = checkpoint->finished_us,
                                  .bytes = checkpoint->size_bytes,
                                  .seconds = seconds_of(checkpoint),
                                  .environment = rotation_environment(collected->database->config.environment),
                                  .change = change_of(checkpoint, &collected->checkpoints[0]),
                                  .changed = changed_of(collected, checkpoint)}};
  snprintf(entry.checkpoint, sizeof entry.checkpoint, "%s", checkpoint->id);
  if (kind == ROTATION_LATEST && collected->count > 1)
    entry.item.every_us = checkpoint->finished_us - collected->checkpoints[1].finished_us;
  /* it stopped: no new one is to be counted on */
  if (entry.item.every_us > 0 && collected->now_us - checkpoint->finished_us > 2 * entry.item.every_us)
    entry.item.every_us = 0;
  return entry;
}

static bool has_taker(const Collected *collected, RotationKind kind) {
  return dispatch_has_rotation_taker(collected->rotation->dispatch, kind, collected->checkpoints[0].server_major,
                                     collected->database->config.name);
}

static void add(Collected *collected, RotationEntry entry) {
  ARRAY_PUSH(collected->out->list, collected->out->count, entry);
}

/* ---- drills that a database gets now and then ---- */

/* When the last one was made, at the latest; 0: not known. */
static Status last_of(const Collected *collected, RotationKind kind, int64_t period, int64_t *when_us, Error *err) {
  for (int64_t i = period; i > period - 2; i--) {
    CLEANUP(ledger_job_release) LedgerJob job = {0};
    CLEANUP_FREE char *key = rotation_key_of(collected->database->config.name, kind, i);
    Error missing;
    Status status = ledger_job_by_key(collected->rotation->ledger, "rotation", key, &job, &missing);
    if (status == STATUS_OK) {
      *when_us = job.finished_us ? job.finished_us : job.created_us;
      return STATUS_OK;
    }
    if (status != ERR_NOT_FOUND) {
      *err = missing;
      return status;
    }
  }
  return STATUS_OK;
}

static Status add_special(Collected *collected, RotationKind kind, Error *err) {
  int64_t every_us = ROTATION_SPECIAL * collected->objective_us, when_us = 0;
  RotationEntry entry = entry_of(collected, 0, kind);
  entry.period = collected->now_us / every_us;
  Status status = last_of(collected, kind, entry.period, &when_us, err);
  /* never: it is as old as what there is of this database */
  entry.item.proven_us = when_us ? when_us : collected->checkpoints[collected->count - 1].created_us;
  entry.item.objective_us = every_us;
  bool taker = has_taker(collected, kind);
  entry.item.blocked = (when_us && when_us / every_us == entry.period) || !taker;
  entry.item.barred = !taker && rotation_settled(collected->rotation);
  if (status == STATUS_OK)
    add(collected, entry);
  return status;
}

static Status collect(Collected *collected, Error *err) {
  static const RotationKind special[] = {ROTATION_BARE, ROTATION_FORWARD, ROTATION_CANARY};
  unsigned kinds = collected->database->policy.rotation.kinds;
  Status status = STATUS_OK;
  collected->out->unproven = collected->count == 0;
  bool barred = collected->count > 0 && rotation_settled(collected->rotation) && !has_taker(collected, ROTATION_LATEST);
  for (size_t i = 0; i < collected->count; i++) {
    RotationKind kind = i == 0 ? ROTATION_LATEST : ROTATION_OLD;
    RotationEntry entry = entry_of(collected, i, kind);
    entry.item.barred = barred;
    if (kinds & kind)
      add(collected, entry);
  }
  for (size_t i = 0; status == STATUS_OK && collected->count > 0 && i < ARRAY_SIZE(special); i++)
    if (kinds & special[i])
      status = add_special(collected, special[i], err);
  return status;
}

Status rotation_collect(Rotation *rotation, size_t number, RotationEntries *out, Error *err) {
  const FleetDatabase *database = fleet_at(dispatch_fleet(rotation->dispatch), number);
  const FleetPolicy *policy = &database->policy;
  int64_t seconds =
      policy->rotation.proof_age_seconds ? policy->rotation.proof_age_seconds : policy->objectives.proof_age;
  rotation_entries_release(out);
  if (policy->rotation.kinds == 0 || seconds <= 0)
    return STATUS_OK;
  Collected collected = {.rotation = rotation,
                         .database = database,
                         .number = number,
                         .objective_us = seconds * SECOND_US,
                         .now_us = clock_wall_us(),
                         .out = out};
  const CheckpointFilter filter = {.database = database->config.name, .state = "sealed", .there = true};
  Status status = ledger_checkpoint_list(rotation->ledger, &filter, &collected.checkpoints, &collected.count, err);
  size_t kept = 0;
  for (size_t i = 0; status == STATUS_OK && i < collected.count; i++) { /* what is going is not drilled any more */
    Checkpoint one = collected.checkpoints[i];
    if (one.pruning_us)
      checkpoint_release(&one);
    else
      collected.checkpoints[kept++] = one;
  }
  collected.count = kept;
  if (status == STATUS_OK)
    status = collect(&collected, err);
  checkpoint_list_free(collected.checkpoints, collected.count);
  return status;
}
