/* What users ask for when something is to be put back, or tried first: a plan, a restore, its approval, a rehearsal. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"
#include "common/base/memory.h"
#include "coordinator/ledger/sign_in.h"

enum { RECOVERY_OPEN_LIMIT = 16 };

static const char *text_of(const json_t *request, const char *member) {
  return json_string_value(json_object_get(request, member));
}

/* ---- of which checkpoint ---- */

Status recovery_check_checkpoint(const Checkpoint *checkpoint, LedgerJobKind kind, const json_t *request, Error *err) {
  const char *state = checkpoint_state_name(checkpoint->state);
  if (!checkpoint->manifest_sha256) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is %s: it was never stored", checkpoint->id, state);
    error_remedy(err, "`pgseal ledger` lists those that are.");
    return ERR_CONFLICT;
  }
  if (prune_check(checkpoint, err) != STATUS_OK)
    return err->status;
  if (kind == LEDGER_JOB_PLAN || checkpoint->state == CHECKPOINT_SEALED ||
      json_is_true(json_object_get(request, "unproven")))
    return STATUS_OK;
  error_set(err, ERR_CONFLICT, "checkpoint %s is %s: that it restores is not proven", checkpoint->id, state);
  error_remedy(err, "Drill it (`pgseal drill %s`)%s choose one that is sealed%s.", checkpoint->id,
               kind == LEDGER_JOB_RESTORE ? "," : ", or",
               kind == LEDGER_JOB_RESTORE ? ", or ask for it as `unproven`" : "");
  return ERR_CONFLICT;
}

static Status newest_sealed(Dispatch *dispatch, const char *database, Checkpoint *out, Error *err) {
  const CheckpointFilter filter = {.database = database, .state = "sealed", .limit = 1, .kept = true};
  Checkpoint *items = NULL;
  size_t count = 0;
  Status status = ledger_checkpoint_list(dispatch->ledger, &filter, &items, &count, err);
  if (status != STATUS_OK)
    return status;
  if (count == 0) {
    checkpoint_list_free(items, count);
    error_set(err, ERR_NOT_FOUND, "database %s has no sealed checkpoint", database);
    error_remedy(err, "Name one that is stored by its id or tag, if there is any: `pgseal ledger --database %s`.",
                 database);
    error_object(err, "%s", database);
    return ERR_NOT_FOUND;
  }
  *out = items[0];
  items[0] = (Checkpoint){0};
  checkpoint_list_free(items, count);
  return STATUS_OK;
}

/* The restore that made the script: of the same database, and done. */
static Status script_source(Dispatch *dispatch, const json_t *request, LedgerJob *out, Error *err) {
  const char *database = text_of(request, "database"), *id = text_of(request, "script_of");
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  CLEANUP(intake_json_free) json_t *report = NULL;
  Status status = ledger_job_get(dispatch->ledger, id, &job, err);
  if (status == STATUS_OK && strcmp(job.database, database) != 0) {
    error_set(err, ERR_NOT_FOUND, "database %s has no job %s", database, id);
    status = ERR_NOT_FOUND;
  }
  if (status == STATUS_OK)
    status = ledger_job_report_get(dispatch->ledger, id, &report, err);
  if (status != STATUS_OK)
    return status;
  const char *digest = text_of(report, "script_sha256");
  if (job.kind != LEDGER_JOB_RESTORE || job.state != JOB_DONE || !digest) {
    error_set(err, ERR_CONFLICT, "job %s made no script", id);
    error_remedy(err, "A restore with mode `beside` makes one, where rows of a table that still exists are missing.");
    return ERR_CONFLICT;
  }
  if (strcmp(digest, text_of(request, "script_sha256")) != 0) {
    error_set(err, ERR_CONFLICT, "the script that job %s made has another SHA-256", id);
    error_remedy(err, "Look at its report again. A script that was edited is run with psql.");
    return ERR_CONFLICT;
  }
  *out = job;
  job = (LedgerJob){0};
  return STATUS_OK;
}

static Status choose_script(Dispatch *dispatch, const json_t *request, Checkpoint *out, Error *err) {
  CLEANUP(ledger_job_release) LedgerJob source = {0};
  const char *name = text_of(request, "checkpoint");
  Status status = script_source(dispatch, request, &source, err);
  if (status == STATUS_OK)
    status = ledger_checkpoint_get(dispatch->ledger, source.checkpoint_id, out, err);
  if (status == STATUS_OK && name && strcmp(name, out->id) != 0 && strcmp(name, out->tag) != 0)
    status = error_set(err, ERR_CONFLICT, "the script of job %s is of checkpoint %s, not of the one named", source.id,
                       out->id);
  return status;
}

static Status choose_checkpoint(Dispatch *dispatch, LedgerJobKind kind, const json_t *request, Checkpoint *out,
                                Error *err) {
  const char *database = text_of(request, "database"), *name = text_of(request, "checkpoint");
  Status status = text_of(request, "script_of") ? choose_script(dispatch, request, out, err)
                  : name ? ledger_checkpoint_find(dispatch->ledger, database, name, NULL, out, err)
                         : newest_sealed(dispatch, database, out, err);
  return status == STATUS_OK ? recovery_check_checkpoint(out, kind, request, err) : status;
}

/* ---- may it be ---- */

/* Whoever restores into production says so by its name; a name that is given is the right one, everywhere. */
static Status check_confirmation(const ConfigDatabase *database, const json_t *request, Error *err) {
  const char *given = text_of(request, "confirm");
  if (given ? strcmp(given, database->name) == 0 : strcmp(database->environment, "production") != 0)
    return STATUS_OK;
  if (given)
    error_set(err, ERR_CONFIRMATION_NEEDED, "what was given to confirm the restore is not the database's name");
  else
    error_set(err, ERR_CONFIRMATION_NEEDED, "database %s is of the environment production: a restore wants its name",
              database->name);
  error_remedy(err, "Look where it goes, then give \"%s\" as `confirm` (pgseal restore --yes-i-mean %s).",
               database->name, database->name);
  error_object(err, "%s", database->name);
  return ERR_CONFIRMATION_NEEDED;
}

static Status check_room(Dispatch *dispatch, const char *database, Error *err) {
  OpenJob *first;
  size_t open = 0;
  Status status = open_jobs(dispatch, &first, err);
  if (status != STATUS_OK)
    return status;
  for (OpenJob *job = open_jobs_of(dispatch, database); job; job = job->next_of_database)
    open += ledger_job_recovers(job->job.kind);
  if (open >= RECOVERY_OPEN_LIMIT)
    return error_set(err, ERR_TOO_MANY, "%zu plans, restores and rehearsals of database %s are waiting already", open,
                     database);
  return STATUS_OK;
}

static Status join(Dispatch *dispatch, LedgerJobKind kind, const json_t *request, const char *actor, const char *key,
                   LedgerJob *out, bool *joined, Error *err) {
  LedgerJob first = {0};
  Error missing;
  Status status = ledger_job_by_key(dispatch->ledger, actor, key, &first, &missing);
  if (status == ERR_NOT_FOUND)
    return STATUS_OK;
  if (status != STATUS_OK) {
    *err = missing;
    return status;
  }
  CLEANUP(intake_json_free) json_t *was = dispatch_told(first.request), *is = dispatch_told(request);
  if (first.kind != kind || !json_equal(was, is)) {
    error_set(err, ERR_CONFLICT, "this idempotency key was used for another request: %s %s of database %s",
              ledger_job_kind_name(first.kind), first.id, first.database);
    error_remedy(err, "Use a new idempotency key for a new request.");
    ledger_job_release(&first);
    return ERR_CONFLICT;
  }
  *out = first;
  *joined = true;
  return STATUS_OK;
}

/* ---- asking ---- */

static LedgerJob new_job(const Dispatch *dispatch, LedgerJobKind kind, const Checkpoint *checkpoint, json_t *request,
                         const char *actor, const char *key) {
  const ConfigDatabase *database = fleet_config(dispatch->fleet, checkpoint->database);
  bool approval = kind == LEDGER_JOB_RESTORE && database->restore_approval;
  return (LedgerJob){.id = memory_strdup(id_new().text),
                     .checkpoint_id = memory_strdup(checkpoint->id),
                     .database = memory_strdup(checkpoint->database),
                     .kind = kind,
                     .priority = kind == LEDGER_JOB_TRIAL ? PRIORITY_ROTATION : PRIORITY_ASKED,
                     .state = JOB_QUEUED,
                     .attempt = 1,
                     .created_us = dispatch->wall_us(),
                     .requested_by = memory_strdup(actor),
                     .idempotency_key = key ? memory_strdup(key) : NULL,
                     .request = json_incref(request),
                     .approval = approval ? memory_strdup("needed") : NULL};
}

static Status insert(Dispatch *dispatch, const Checkpoint *checkpoint, const LedgerJob *job, const Requester *requester,
                     Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(checkpoint_release) Checkpoint now = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = ledger_checkpoint_get(dispatch->ledger, checkpoint->id, &now, err);
  if (status == STATUS_OK) /* since it was chosen, another coordinator may have begun to prune it */
    status = prune_check(&now, err);
  if (status == STATUS_OK)
    status = ledger_job_insert(dispatch->ledger, job, err);
  if (status != STATUS_OK)
    return status;
  track_get(dispatch, job); /* as in add_job: its age does not depend on the wall clock */
  CLEANUP_FREE char *kind = memory_format("%s.requested", recovery_noun(job->kind));
  json_t *detail = recovery_summary(job);
  json_object_set_new(detail, "tag", json_string(checkpoint->tag));
  if (job->approval)
    json_object_set_new(detail, "approval", json_string(job->approval));
  change.work = true;
  status = change_event(&change, kind, checkpoint, job, requester, detail, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

Status dispatch_request_recovery(Dispatch *dispatch, LedgerJobKind kind, json_t *request, const Requester *requester,
                                 const char *idempotency_key, LedgerJob *out, bool *joined, Error *err) {
  const char *database = text_of(request, "database"), *actor = requester->name ? requester->name : "";
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  *joined = false;
  Status status = request_check_database(dispatch, database, requester, err);
  if (status == STATUS_OK)
    status = request_check_key(idempotency_key, err);
  if (status == STATUS_OK && idempotency_key)
    status = join(dispatch, kind, request, actor, idempotency_key, out, joined, err);
  if (status != STATUS_OK || *joined)
    return status;
  if (kind == LEDGER_JOB_RESTORE)
    status = check_confirmation(fleet_config(dispatch->fleet, database), request, err);
  if (status == STATUS_OK)
    status = choose_checkpoint(dispatch, kind, request, &checkpoint, err);
  if (status == STATUS_OK)
    status = check_room(dispatch, database, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(ledger_job_release)
  LedgerJob job = new_job(dispatch, kind, &checkpoint, request, actor, idempotency_key);
  status = insert(dispatch, &checkpoint, &job, requester, err);
  if (status == ERR_CONFLICT && idempotency_key) { /* another coordinator was asked the same a moment ago */
    Status again = join(dispatch, kind, request, actor, idempotency_key, out, joined, err);
    return again == STATUS_OK && !*joined ? status : again;
  }
  if (status != STATUS_OK)
    return status;
  *out = job;
  job = (LedgerJob){0};
  return STATUS_OK;
}

/* ---- what becomes of it ---- */

/* What the requester may not see does not exist for him. */
static Status load(Dispatch *dispatch, const char *job_id, const Requester *requester, Work *work, LedgerJob **job,
                   Error *err) {
  CLEANUP(ledger_job_release) LedgerJob found = {0};
  Status status = ledger_job_get(dispatch->ledger, job_id, &found, err);
  if (status == STATUS_OK && !request_sees(requester, found.database)) {
    error_set(err, ERR_NOT_FOUND, "there is no job %s", job_id);
    error_object(err, "%s", job_id);
    return ERR_NOT_FOUND;
  }
  if (status != STATUS_OK)
    return status;
  if (!ledger_job_recovers(found.kind) && found.kind != LEDGER_JOB_INVENTORY) {
    error_set(err, ERR_CONFLICT, "job %s is a %s of checkpoint %s", job_id, ledger_job_kind_name(found.kind),
              found.checkpoint_id);
    error_remedy(err, "Cancel the checkpoint instead.");
    return ERR_CONFLICT;
  }
  if (job_state_final(found.state)) {
    error_set(err, ERR_CONFLICT, "the %s is already %s", recovery_noun(found.kind), job_state_name(found.state));
    error_remedy(err, "There is nothing left to do about it.");
    return ERR_CONFLICT;
  }
  status = work_load_of(dispatch, &found, work, err);
  *job = status == STATUS_OK ? work_job(work, job_id) : NULL;
  return status;
}

/* Is it the same person, as far as that can be known: by name, or by who has seen the tokens' secrets? */
static Status is_same(Dispatch *dispatch, const LedgerJob *job, const Requester *requester, bool *same, Error *err) {
  *same = !requester->name || strcmp(requester->name, job->requested_by) == 0 ||
          (requester->person && strcmp(requester->person, job->requested_by) == 0);
  return *same || !requester->person
             ? STATUS_OK
             : ledger_person_has_token(dispatch->ledger, requester->person, job->requested_by, same, err);
}

static Status check_approver(Dispatch *dispatch, const LedgerJob *job, const Requester *requester, Error *err) {
  bool same = true;
  if (!job->approval || strcmp(job->approval, "needed") != 0)
    return error_set(err, ERR_CONFLICT, "the %s needs no approval%s", recovery_noun(job->kind),
                     job->approval ? " any more" : "");
  Status status = is_same(dispatch, job, requester, &same, err);
  if (status != STATUS_OK || !same)
    return status;
  error_set(err, ERR_FORBIDDEN, "the restore was asked for by %s: somebody else has to approve it", job->requested_by);
  error_remedy(err, "Ask a second person with the role operator, who signs in himself or has a token that the first "
                    "has not seen.");
  return ERR_FORBIDDEN;
}

Status dispatch_approve(Dispatch *dispatch, const char *job_id, const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  LedgerJob *job = NULL;
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = load(dispatch, job_id, requester, &work, &job, err);
  if (status == STATUS_OK)
    status = check_approver(dispatch, job, requester, err);
  if (status != STATUS_OK)
    return status;
  text_set(&job->approval, "given");
  text_set(&job->approved_by, requester->name);
  change.work = true;
  status = ledger_job_update(dispatch->ledger, job, err);
  if (status == STATUS_OK)
    status = change_event(&change, "restore.approved", &work.checkpoint, job, requester,
                          json_pack("{s:s}", "requested_by", job->requested_by), err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

Status dispatch_cancel_recovery(Dispatch *dispatch, const char *job_id, const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  LedgerJob *job = NULL;
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = load(dispatch, job_id, requester, &work, &job, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *kind = memory_format("%s.cancel_requested", recovery_noun(job->kind));
  Error cause;
  error_set(&cause, ERR_CANCELED, "canceled by %s", requester->name ? requester->name : "an unnamed user");
  bool queued = job->state == JOB_QUEUED;
  job->cancel_requested = true;
  status = change_event(&change, kind, &work.checkpoint, job, requester, NULL, err);
  if (status == STATUS_OK)
    status = !queued ? ledger_job_update(dispatch->ledger, job, err) /* its agent is told with its next progress */
             : job->kind == LEDGER_JOB_INVENTORY
                 ? inventory_over(&change, &work, job, JOB_EVENT_CANCEL, &cause, err)
                 : recovery_over(&change, &work, job, JOB_EVENT_CANCEL, &cause, NULL, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}
