/* What users ask for: a checkpoint, a drill, a cancel. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { SUGGEST_LIMIT = 500, SUGGEST_PREFIX = 4, OPEN_LIMIT = 64, KEY_LIMIT = 255, NAME_MAX_LENGTH = 63 };

/* Levenshtein's distance, of names up to NAME_MAX_LENGTH. */
static size_t distance(const char *a, const char *b) {
  size_t row[NAME_MAX_LENGTH + 1];
  size_t b_length = strlen(b);
  if (b_length > NAME_MAX_LENGTH)
    return SIZE_MAX;
  for (size_t j = 0; j <= b_length; j++)
    row[j] = j;
  for (size_t i = 0; a[i]; i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b_length; j++) {
      size_t best = diagonal + (a[i] != b[j]);
      if (row[j] + 1 < best)
        best = row[j] + 1;
      if (row[j + 1] + 1 < best)
        best = row[j + 1] + 1;
      diagonal = row[j + 1];
      row[j + 1] = best;
    }
  }
  return row[b_length];
}

bool request_sees(const Requester *requester, const char *database) {
  return !requester->sees || requester->sees(requester->user, database);
}

static Status unknown_database(const Fleet *fleet, const Requester *requester, const char *name, Error *err) {
  char shown[NAME_MAX_LENGTH + 1];
  text_clean(name, shown, sizeof shown);
  const char *nearest = NULL;
  size_t best = strlen(shown) / 2 + 1;
  bool large = fleet_count(fleet) > SUGGEST_LIMIT; /* whoever asks for what is not there must not cost that much */
  for (size_t i = 0; i < fleet_count(fleet); i++) {
    const char *known = fleet_at(fleet, i)->config.name;
    if (large && strncmp(known, shown, SUGGEST_PREFIX) != 0)
      continue;
    size_t d = distance(shown, known);
    if (d < best && request_sees(requester, known)) {
      best = d;
      nearest = known;
    }
  }
  if (nearest)
    error_set(err, ERR_NOT_FOUND, "there is no database %s; did you mean %s?", shown, nearest);
  else
    error_set(err, ERR_NOT_FOUND, "there is no database %s", shown);
  error_remedy(err, "`pgseal databases` lists the databases; a new one is added to fleet.yaml, or to the coordinator's "
                    "configuration.");
  error_object(err, "%s", shown);
  return ERR_NOT_FOUND;
}

Status request_check_database(const Dispatch *dispatch, const char *database, const Requester *requester, Error *err) {
  if (!fleet_config(dispatch->fleet, database) || !request_sees(requester, database))
    return unknown_database(dispatch->fleet, requester, database, err);
  return STATUS_OK;
}

Status request_check_key(const char *key, Error *err) {
  if (!key)
    return STATUS_OK;
  size_t length = strlen(key);
  bool printable = length > 0 && length <= KEY_LIMIT;
  for (size_t i = 0; printable && i < length; i++)
    printable = key[i] > ' ' && key[i] < 0x7f;
  if (!printable)
    return error_set(err, ERR_INVALID_ARGUMENT, "the idempotency key must be 1 to %d printable ASCII characters",
                     KEY_LIMIT);
  return STATUS_OK;
}

static Status check_request(const Dispatch *dispatch, const char *database, const char *tag, const Requester *requester,
                            const char *key, Error *err) {
  Status status = request_check_database(dispatch, database, requester, err);
  if (status != STATUS_OK)
    return status;
  if (text_tag_valid(tag))
    return request_check_key(key, err);
  error_set(err, ERR_INVALID_ARGUMENT, "the tag is not valid");
  error_remedy(err, "Use 1 to 128 bytes of printable text, such as pre-deploy-4f3a9c1.");
  return ERR_INVALID_ARGUMENT;
}

static Status join(Dispatch *dispatch, const char *database, const char *tag, const char *actor, const char *key,
                   Checkpoint *out, bool *joined, Error *err) {
  Checkpoint first = {0};
  Error missing;
  Status status = ledger_checkpoint_by_key(dispatch->ledger, actor, key, &first, &missing);
  if (status == ERR_NOT_FOUND)
    return STATUS_OK;
  if (status != STATUS_OK) {
    *err = missing;
    return status;
  }
  if (strcmp(first.database, database) != 0 || strcmp(first.tag, tag) != 0) {
    error_set(err, ERR_CONFLICT, "this idempotency key was used for database %s, tag %s", first.database, first.tag);
    error_remedy(err, "Use a new idempotency key for a new request.");
    checkpoint_release(&first);
    return ERR_CONFLICT;
  }
  *out = first;
  *joined = true;
  return STATUS_OK;
}

/* How many checkpoints of this owner's databases wait or run, and how many may. */
static Status check_quota(const Dispatch *dispatch, const OpenJob *job, const char *database, Error *err) {
  const char *owner = fleet_config(dispatch->fleet, database)->owner;
  const FleetQuota *quota = fleet_quota(dispatch->fleet, owner);
  int open = 0;
  if (!quota || quota->queued == 0)
    return STATUS_OK;
  for (; job; job = job->after) {
    const ConfigDatabase *other =
        job->job.kind == LEDGER_JOB_DUMP ? fleet_config(dispatch->fleet, job->job.database) : NULL;
    open += other && strcmp(other->owner, owner) == 0;
  }
  if (open < quota->queued)
    return STATUS_OK;
  error_set(err, ERR_TOO_MANY, "%d checkpoints of %s's databases are under way or waiting, as many as there may be",
            open, owner);
  error_remedy(err, "Wait until some are over; `quotas` in fleet.yaml has the limit.");
  return ERR_TOO_MANY;
}

static Status check_room(Dispatch *dispatch, const char *database, Error *err) {
  OpenJob *first;
  size_t open = 0;
  Status status = open_jobs(dispatch, &first, err);
  if (status != STATUS_OK)
    return status;
  for (OpenJob *job = open_jobs_of(dispatch, database); job; job = job->next_of_database)
    open += job->job.kind == LEDGER_JOB_DUMP;
  if (open >= OPEN_LIMIT)
    return error_set(err, ERR_TOO_MANY, "%zu checkpoints of database %s are waiting already", open, database);
  return check_quota(dispatch, first, database, err);
}

/* out: what the job has of its own, in; its id and attempt, out. Or NULL. */
static Status add_job(Change *change, const Checkpoint *checkpoint, LedgerJobKind kind, LedgerPriority priority,
                      LedgerJob *out, Error *err) {
  Id id = id_new();
  LedgerJob job = {.id = id.text,
                   .checkpoint_id = checkpoint->id,
                   .database = checkpoint->database,
                   .kind = kind,
                   .state = JOB_QUEUED,
                   .priority = priority,
                   .attempt = 1,
                   .created_us = change->dispatch->wall_us()};
  if (out) {
    job.requested_by = out->requested_by;
    job.idempotency_key = out->idempotency_key;
    job.request = out->request;
  }
  Status status = ledger_job_insert(change->dispatch->ledger, &job, err);
  if (status == STATUS_OK && out) {
    out->id = memory_strdup(id.text);
    out->attempt = 1;
  }
  if (status == STATUS_OK)
    track_get(change->dispatch, &job); /* should nothing come of it, the next tick forgets it */
  change->work = true;
  return status;
}

static void new_checkpoint(const Dispatch *dispatch, const char *database, const char *tag, const char *actor,
                           const char *key, Checkpoint *out) {
  Id id = id_new();
  *out = (Checkpoint){.id = memory_strdup(id.text),
                      .database = memory_strdup(database),
                      .tag = memory_strdup(tag),
                      .requested_by = memory_strdup(actor ? actor : ""),
                      .idempotency_key = key ? memory_strdup(key) : NULL,
                      .state = CHECKPOINT_REQUESTED,
                      .created_us = dispatch->wall_us(),
                      .dump_attempt = 1};
  checkpoint_set_prefix(out);
}

Status request_add_checkpoint(Change *change, const char *database, const char *tag, const Requester *requester,
                              const char *key, LedgerPriority priority, Checkpoint *out, Error *err) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  new_checkpoint(change->dispatch, database, tag, requester->name, key, &checkpoint);
  if (requester->traceparent)
    json_object_set_new(checkpoint_detail(&checkpoint), "traceparent", json_string(requester->traceparent));
  Status status = ledger_checkpoint_insert(change->dispatch->ledger, &checkpoint, err);
  if (status == STATUS_OK)
    status = add_job(change, &checkpoint, LEDGER_JOB_DUMP, priority, NULL, err);
  if (status == STATUS_OK)
    status = add_job(change, &checkpoint, LEDGER_JOB_DRILL, priority, NULL, err);
  if (status == STATUS_OK)
    status = change_event(change, "checkpoint.requested", &checkpoint, NULL, requester,
                          json_pack("{s:s}", "tag", checkpoint.tag), err);
  if (status != STATUS_OK)
    return status;
  *out = checkpoint;
  checkpoint = (Checkpoint){0};
  return STATUS_OK;
}

Status dispatch_request_checkpoint(Dispatch *dispatch, const char *database, const char *tag,
                                   const Requester *requester, const char *idempotency_key, Checkpoint *out,
                                   bool *joined, Error *err) {
  Status status = check_request(dispatch, database, tag, requester, idempotency_key, err);
  bool known = false;
  if (status == STATUS_OK && idempotency_key)
    status = join(dispatch, database, tag, requester->name ? requester->name : "", idempotency_key, out, &known, err);
  if (status != STATUS_OK)
    return status;
  if (known) {
    *joined = true;
    return STATUS_OK;
  }
  status = hold_check_database(dispatch, database, err);
  if (status == STATUS_OK)
    status = check_room(dispatch, database, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(change_release) Change change = {0};
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status =
        request_add_checkpoint(&change, database, tag, requester, idempotency_key, PRIORITY_ASKED, &checkpoint, err);
  if (status == ERR_CONFLICT && idempotency_key) { /* another coordinator was asked the same a moment ago */
    change_release(&change);
    *joined = false;
    Status again =
        join(dispatch, database, tag, requester->name ? requester->name : "", idempotency_key, out, joined, err);
    return again == STATUS_OK && !*joined ? status : again;
  }
  if (status == STATUS_OK)
    status = change_commit(&change, err);
  if (status != STATUS_OK)
    return status;
  *out = checkpoint;
  checkpoint = (Checkpoint){0};
  *joined = false;
  return STATUS_OK;
}

static Status check_drill(Dispatch *dispatch, Work *work, const Requester *requester, Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  if (!checkpoint->manifest_sha256) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is %s: it was never stored", checkpoint->id,
              checkpoint_state_name(checkpoint->state));
    error_remedy(err, "Take a new checkpoint of database %s.", checkpoint->database);
    return ERR_CONFLICT;
  }
  LedgerJob *drill = work_drill(work);
  if (drill && !job_state_final(drill->state))
    return error_set(err, ERR_CONFLICT, "a drill of checkpoint %s %s already", checkpoint->id,
                     drill->state == JOB_QUEUED ? "waits for an agent" : "is under way");
  Status status = request_check_database(dispatch, checkpoint->database, requester, err);
  if (status == STATUS_OK)
    status = prune_check(checkpoint, err);
  if (status != STATUS_OK)
    return status;
  if (!checkpoint_walk(&checkpoint->state, CHECKPOINT_EVENT_DRILL_REQUESTED)) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is %s and cannot be drilled again", checkpoint->id,
              checkpoint_state_name(checkpoint->state));
    error_remedy(err, "Take a new checkpoint of database %s.", checkpoint->database);
    return ERR_CONFLICT;
  }
  return STATUS_OK;
}

Status request_drill(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester, const LedgerJob *as,
                     char **drill_id, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  if (as) {
    text_set(&job.requested_by, as->requested_by);
    text_set(&job.idempotency_key, as->idempotency_key);
    job.request = json_incref(as->request);
  }
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = work_load(dispatch, checkpoint_id, &work, err);
  if (status == STATUS_OK)
    status = check_drill(dispatch, &work, requester, err);
  if (status != STATUS_OK)
    return status;
  Checkpoint *checkpoint = &work.checkpoint;
  if (!checkpoint_state_final(checkpoint->state)) { /* sealed keeps all it has until a drill fails */
    checkpoint_set_error(checkpoint, NULL);
    checkpoint->finished_us = 0;
  }
  status = add_job(&change, checkpoint, LEDGER_JOB_DRILL, as ? PRIORITY_ROTATION : PRIORITY_ASKED, &job, err);
  if (status == STATUS_OK)
    status = ledger_checkpoint_update(dispatch->ledger, checkpoint, err);
  if (status == STATUS_OK)
    status = change_event(&change, "drill.requested", checkpoint, &job, requester, NULL, err);
  if (status == STATUS_OK)
    status = change_commit(&change, err);
  if (status == STATUS_OK)
    *drill_id = drill_id_of(&job);
  return status;
}

Status dispatch_request_drill(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester,
                              char **drill_id, Error *err) {
  return request_drill(dispatch, checkpoint_id, requester, NULL, drill_id, err);
}

static Status cancel_jobs(Change *change, Work *work, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; i < work->job_count && status == STATUS_OK; i++) {
    if (!ledger_job_recovers(work->jobs[i].kind)) /* they have their own requester, and their own cancel */
      status = job_cancel(change, work, &work->jobs[i], err);
  }
  return status;
}

/* The checkpoint is sealed and stays so; only the drill that runs anew is canceled. */
static Status cancel_drill(Change *change, Work *work, const Requester *requester, Error *err) {
  LedgerJob *drill = work_drill(work);
  if (!drill || job_state_final(drill->state))
    return error_set(err, ERR_CONFLICT, "checkpoint %s is sealed and no drill of it runs: there is nothing to cancel",
                     work->checkpoint.id);
  Status status = cancel_jobs(change, work, err);
  bool over = job_state_final(drill->state); /* else its agent is told with its next progress */
  if (over)
    change_finished(change, work->checkpoint.id);
  if (status != STATUS_OK)
    return status;
  return change_event(change, over ? "drill.canceled" : "drill.cancel_requested", &work->checkpoint, drill, requester,
                      NULL, err);
}

Status dispatch_cancel(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = work_load(dispatch, checkpoint_id, &work, err);
  if (status != STATUS_OK)
    return status;
  Checkpoint *checkpoint = &work.checkpoint;
  if (checkpoint->state == CHECKPOINT_SEALED) {
    status = cancel_drill(&change, &work, requester, err);
    return status == STATUS_OK ? change_commit(&change, err) : status;
  }
  if (!checkpoint_walk(&checkpoint->state, CHECKPOINT_EVENT_CANCEL)) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is already %s", checkpoint->id,
              checkpoint_state_name(checkpoint->state));
    error_remedy(err, "There is nothing left to cancel.");
    return ERR_CONFLICT;
  }
  Error cause;
  error_set(&cause, ERR_CANCELED, "canceled by %s",
            requester->name && requester->name[0] ? requester->name : "an unnamed user");
  checkpoint_set_error(checkpoint, &cause);
  text_set(&checkpoint->restore_drill, outcome_name(OUTCOME_CANCELED));
  status = cancel_jobs(&change, &work, err);
  if (status == STATUS_OK)
    status = checkpoint_end(&change, &work, requester, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}
