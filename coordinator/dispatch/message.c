/* Messages to agents. Everything in them is allocated with malloc, for protobuf-c's free_unpacked. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "common/manifest/manifest.h"

static char *json_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return memory_strdup(text ? text : "");
}

static int64_t json_count(const json_t *object, const char *key) {
  int64_t value = json_integer_value(json_object_get(object, key));
  return value > 0 ? value : 0;
}

/* The key manifests must verify against: of whoever dumped, as recorded when it did; else of whoever dumps now. */
static bool dump_key(const Dispatch *dispatch, const Checkpoint *checkpoint, uint8_t key[PUBLIC_KEY_SIZE]) {
  const char *hex = json_string_value(json_object_get(checkpoint->detail, "dump_public_key"));
  if (checkpoint->manifest_sha256 && hex)
    return text_unhex(hex, key, PUBLIC_KEY_SIZE);
  const ConfigAgent *agent = checkpoint->dump_agent ? agents_admitted(dispatch->agents, checkpoint->dump_agent) : NULL;
  if (agent)
    memcpy(key, agent->key, PUBLIC_KEY_SIZE);
  return agent != NULL;
}

static Status add_key(const Dispatch *dispatch, const Checkpoint *checkpoint, ProtobufCBinaryData *out, Error *err) {
  uint8_t key[PUBLIC_KEY_SIZE];
  if (!dump_key(dispatch, checkpoint, key)) {
    error_set(err, ERR_CONFIG, "the key of agent %s, which dumped checkpoint %s, is not known",
              checkpoint->dump_agent ? checkpoint->dump_agent : "?", checkpoint->id);
    error_remedy(err, "Put the agent and its public key back into the coordinator's configuration.");
    return ERR_CONFIG;
  }
  out->data = memory_dup(key, sizeof key);
  out->len = sizeof key;
  return STATUS_OK;
}

/* How many there are. */
static size_t add_assertions(const ConfigDatabase *database, Pgseal__Assertion ***out) {
  size_t count = database->assertion_count;
  Pgseal__Assertion **list = count ? memory_alloc(count * sizeof *list) : NULL;
  for (size_t i = 0; i < count; i++) {
    list[i] = memory_alloc(sizeof *list[i]);
    pgseal__assertion__init(list[i]);
    list[i]->name = memory_strdup(database->assertions[i].name);
    list[i]->sql = memory_strdup(database->assertions[i].sql);
  }
  *out = list;
  return count;
}

static Status add_drill(Dispatch *dispatch, Work *work, const LedgerJob *job, const ConfigDatabase *database,
                        Pgseal__Job *message, Error *err) {
  const Checkpoint *checkpoint = &work->checkpoint;
  Pgseal__DrillSpec *spec = message->drill = memory_alloc(sizeof *spec);
  pgseal__drill_spec__init(spec);
  Status status = add_key(dispatch, checkpoint, &spec->dump_public_key, err);
  if (status != STATUS_OK)
    return status;
  spec->drill_id = drill_id_of(job);
  spec->dump_agent = memory_strdup(checkpoint->dump_agent ? checkpoint->dump_agent : "");
  spec->manifest_sha256 = memory_strdup(checkpoint->manifest_sha256 ? checkpoint->manifest_sha256 : "");
  spec->server_major = (uint32_t)checkpoint->server_major;
  spec->n_assertions = add_assertions(database, &spec->assertions);
  spec->image = memory_strdup(image_of_job(dispatch, job));
  return trial_message(job, spec, err);
}

static Status add_recovery(Dispatch *dispatch, Work *work, const LedgerJob *job, const ConfigDatabase *database,
                           Pgseal__Job *message, Error *err) {
  const Checkpoint *checkpoint = &work->checkpoint;
  Pgseal__RecoverySpec *spec = message->recovery = memory_alloc(sizeof *spec);
  pgseal__recovery_spec__init(spec);
  Status status = add_key(dispatch, checkpoint, &spec->dump_public_key, err);
  if (status != STATUS_OK)
    return status;
  spec->dump_agent = memory_strdup(checkpoint->dump_agent ? checkpoint->dump_agent : "");
  spec->manifest_sha256 = memory_strdup(checkpoint->manifest_sha256 ? checkpoint->manifest_sha256 : "");
  spec->server_major = (uint32_t)checkpoint->server_major;
  spec->request_json = json_dumps(job->request, JSON_COMPACT);
  if (!spec->request_json) {
    spec->request_json = memory_strdup("");
    return error_set(err, ERR_CONFLICT, "the ledger's %s %s does not say what was asked for",
                     ledger_job_kind_name(job->kind), job->id);
  }
  spec->proven = checkpoint->state == CHECKPOINT_SEALED;
  spec->environment = memory_strdup(database->environment);
  spec->finished_us = checkpoint->finished_us;
  if (job->kind == LEDGER_JOB_REHEARSE)
    spec->image = memory_strdup(image_of_job(dispatch, job));
  if (job->kind == LEDGER_JOB_REHEARSE)
    spec->n_assertions = add_assertions(database, &spec->assertions);
  return STATUS_OK;
}

static const Pgseal__JobKind message_kinds[] = {
    [LEDGER_JOB_DUMP] = PGSEAL__JOB_KIND__JOB_KIND_DUMP,
    [LEDGER_JOB_DRILL] = PGSEAL__JOB_KIND__JOB_KIND_DRILL,
    [LEDGER_JOB_PLAN] = PGSEAL__JOB_KIND__JOB_KIND_PLAN,
    [LEDGER_JOB_RESTORE] = PGSEAL__JOB_KIND__JOB_KIND_RESTORE,
    [LEDGER_JOB_REHEARSE] = PGSEAL__JOB_KIND__JOB_KIND_REHEARSE,
    [LEDGER_JOB_PRUNE] = PGSEAL__JOB_KIND__JOB_KIND_PRUNE,
    [LEDGER_JOB_INVENTORY] = PGSEAL__JOB_KIND__JOB_KIND_INVENTORY,
    [LEDGER_JOB_TRIAL] = PGSEAL__JOB_KIND__JOB_KIND_TRIAL,
};

Status message_job(Dispatch *dispatch, Work *work, const LedgerJob *job, Pgseal__Job **out, Error *err) {
  const Checkpoint *checkpoint = &work->checkpoint;
  const ConfigDatabase *database = fleet_config(dispatch->fleet, job->database);
  if (!database)
    return error_set(err, ERR_NOT_FOUND, "database %s is not in the configuration any more", job->database);
  Pgseal__Job *message = memory_alloc(sizeof *message);
  pgseal__job__init(message);
  message->id = memory_strdup(job->id);
  message->fencing = job->fencing;
  message->kind = message_kinds[job->kind];
  message->attempt = (uint32_t)job->attempt;
  message->database = memory_strdup(checkpoint->database);
  if (checkpoint->id) {
    message->checkpoint_id = memory_strdup(checkpoint->id);
    message->tag = memory_strdup(checkpoint->tag);
    message->prefix = manifest_prefix(checkpoint->database, checkpoint->id, checkpoint->dump_attempt);
  }
  message->budgets = memory_alloc(sizeof *message->budgets);
  pgseal__budgets__init(message->budgets);
  message->budgets->total_seconds = (uint32_t)database->timeout_seconds;
  message->budgets->lock_timeout_seconds = (uint32_t)database->lock_timeout_seconds;
  message->budgets->connections = (uint32_t)database->connections;
  if (database->lock_mode) {
    message->lock = memory_alloc(sizeof *message->lock);
    pgseal__lock__init(message->lock);
    message->lock->mode = memory_strdup(database->lock_mode);
    message->lock->days = (uint32_t)database->lock_days;
  }
  Status status = job->kind == LEDGER_JOB_DRILL       ? add_drill(dispatch, work, job, database, message, err)
                  : job->kind == LEDGER_JOB_TRIAL     ? add_drill(dispatch, work, job, database, message, err)
                  : ledger_job_recovers(job->kind)    ? add_recovery(dispatch, work, job, database, message, err)
                  : job->kind == LEDGER_JOB_PRUNE     ? prune_message(job, message, err)
                  : job->kind == LEDGER_JOB_INVENTORY ? inventory_message(job, message, err)
                                                      : STATUS_OK;
  if (status != STATUS_OK) {
    pgseal__job__free_unpacked(message, NULL);
    return status;
  }
  *out = message;
  return STATUS_OK;
}

static Pgseal__Follow *follow_at(Pgseal__Follow__State state, char *prefix, const json_t *progress) {
  Pgseal__Follow *follow = memory_alloc(sizeof *follow);
  pgseal__follow__init(follow);
  follow->state = state;
  follow->prefix = prefix;
  follow->segments = (uint64_t)json_count(progress, "segments");
  follow->roles_stored = json_is_true(json_object_get(progress, "roles_stored"));
  follow->server_major = (uint32_t)json_count(progress, "server_major");
  follow->bootstrap_role = json_text(progress, "bootstrap_role");
  follow->database_name = json_text(progress, "database_name");
  follow->manifest_sha256 = memory_strdup("");
  return follow;
}

Pgseal__Follow *message_follow_dumping(const LedgerJob *dump, const json_t *progress) {
  return follow_at(PGSEAL__FOLLOW__STATE__DUMPING, manifest_prefix(dump->database, dump->checkpoint_id, dump->attempt),
                   progress);
}

Pgseal__Follow *message_follow(Dispatch *dispatch, Work *work) {
  const Checkpoint *checkpoint = &work->checkpoint;
  const LedgerJob *dump = work_dump(work);
  const json_t *progress = dump->progress;
  Pgseal__Follow__State state = PGSEAL__FOLLOW__STATE__UNKNOWN;
  if (job_held(dump)) {
    const Track *track = track_get(dispatch, dump);
    bool newer = !ledger_shared(dispatch->ledger) || track->written_until_us == dump->lease_until_us;
    progress = track->progress && newer ? track->progress : dump->progress;
    state = PGSEAL__FOLLOW__STATE__DUMPING;
  } else if (dump->state == JOB_DONE && checkpoint->manifest_sha256) {
    state = PGSEAL__FOLLOW__STATE__STORED;
  } else if (job_state_final(dump->state)) {
    state = PGSEAL__FOLLOW__STATE__GONE;
  }
  char *prefix = manifest_prefix(checkpoint->database, checkpoint->id, checkpoint->dump_attempt);
  Pgseal__Follow *follow = follow_at(state, prefix, progress);
  if (state == PGSEAL__FOLLOW__STATE__STORED) {
    free(follow->manifest_sha256);
    follow->manifest_sha256 = memory_strdup(checkpoint->manifest_sha256);
    follow->segments = (uint64_t)json_count(checkpoint->detail, "segments");
    follow->server_major = (uint32_t)checkpoint->server_major;
  }
  return follow;
}
