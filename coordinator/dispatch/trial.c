/*
 * What rotation asks for: drills again, which are drills like any other, and trials, which change nothing of their
 * checkpoint, whatever comes of them. A canary that was not refuted says that the agent's drills see nothing.
 */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"
#include "common/crypto/signing.h"
#include "common/manifest/trial.h"

static const char *text_of(const json_t *object, const char *member) {
  const char *text = json_string_value(json_object_get(object, member));
  return text ? text : "";
}

RotationKind trial_kind(const LedgerJob *job) {
  RotationKind kind;
  bool asked = (job->kind == LEDGER_JOB_TRIAL || job->kind == LEDGER_JOB_DRILL) && job->request;
  return asked && rotation_kind_from_name(text_of(job->request, "kind"), &kind) ? kind : 0;
}

int trial_forward_major(const LedgerJob *job) {
  return trial_kind(job) == ROTATION_FORWARD ? (int)json_integer_value(json_object_get(job->request, "forward_major"))
                                             : 0;
}

/* ---- asking ---- */

static int64_t segments_of(const Checkpoint *checkpoint) {
  return json_integer_value(json_object_get(checkpoint->detail, "segments"));
}

/* Which damage; two segments cannot change places where there is only one. */
static TrialDamage choose_damage(const Checkpoint *checkpoint, uint64_t random) {
  TrialDamage damage = (TrialDamage)(random % TRIAL_DAMAGE_COUNT);
  return damage == TRIAL_SEGMENT_SWAPPED && segments_of(checkpoint) < 2 ? TRIAL_SEGMENT_BYTE : damage;
}

/* New reference. */
static json_t *request_of(const Checkpoint *checkpoint, RotationKind kind, uint64_t random) {
  json_t *request = json_pack("{s:s, s:s, s:s}", "database", checkpoint->database, "checkpoint", checkpoint->id, "kind",
                              rotation_kind_name(kind));
  if (kind == ROTATION_FORWARD)
    json_object_set_new(request, "forward_major", json_integer(checkpoint->server_major + 1));
  if (kind != ROTATION_CANARY)
    return request;
  json_object_set_new(request, "damage", json_string(trial_damage_name(choose_damage(checkpoint, random))));
  json_object_set_new(request, "damage_at", json_integer((json_int_t)(random / TRIAL_DAMAGE_COUNT % (1u << 30))));
  return request;
}

static Status joined_to(Dispatch *dispatch, const char *key, char **job_id, bool *joined, Error *err) {
  CLEANUP(ledger_job_release) LedgerJob first = {0};
  Error missing;
  Status status = ledger_job_by_key(dispatch->ledger, "rotation", key, &first, &missing);
  *joined = status == STATUS_OK;
  if (status == STATUS_OK)
    *job_id = memory_strdup(first.id);
  if (status == STATUS_OK || status == ERR_NOT_FOUND)
    return STATUS_OK;
  *err = missing;
  return status;
}

Status dispatch_request_rotation(Dispatch *dispatch, const char *checkpoint_id, RotationKind kind, uint64_t random,
                                 const char *key, char **job_id, bool *joined, Error *err) {
  const Requester requester = {.name = "rotation"};
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  *joined = false;
  Status status = key ? joined_to(dispatch, key, job_id, joined, err) : STATUS_OK;
  if (status == STATUS_OK && !*joined)
    status = ledger_checkpoint_get(dispatch->ledger, checkpoint_id, &checkpoint, err);
  if (status != STATUS_OK || *joined)
    return status;
  if (checkpoint.state != CHECKPOINT_SEALED)
    return error_set(err, ERR_CONFLICT, "checkpoint %s is not sealed (any more)", checkpoint_id);
  CLEANUP(intake_json_free) json_t *request = request_of(&checkpoint, kind, random);
  if (kind == ROTATION_FORWARD || kind == ROTATION_CANARY) {
    CLEANUP(ledger_job_release) LedgerJob job = {0};
    status = dispatch_request_recovery(dispatch, LEDGER_JOB_TRIAL, request, &requester, key, &job, joined, err);
    if (status == STATUS_OK)
      *job_id = memory_strdup(job.id);
    return status;
  }
  const LedgerJob as = {.requested_by = (char *)"rotation", .idempotency_key = (char *)key, .request = request};
  return request_drill(dispatch, checkpoint_id, &requester, &as, job_id, err);
}

Status trial_message(const LedgerJob *job, Pgseal__DrillSpec *spec, Error *err) {
  RotationKind kind = trial_kind(job);
  if (job->kind == LEDGER_JOB_TRIAL && kind != ROTATION_FORWARD && kind != ROTATION_CANARY)
    return error_set(err, ERR_CONFLICT, "the ledger's trial %s does not say of what kind", job->id);
  if (kind == 0)
    return STATUS_OK;
  spec->kind = memory_strdup(rotation_kind_name(kind));
  spec->forward_major = (uint32_t)trial_forward_major(job);
  if (kind != ROTATION_CANARY)
    return STATUS_OK;
  spec->damage = memory_strdup(text_of(job->request, "damage"));
  spec->damage_at = (uint64_t)json_integer_value(json_object_get(job->request, "damage_at"));
  return STATUS_OK;
}

bool dispatch_is_rotation(const LedgerJob *job) {
  return trial_kind(job) != 0;
}

bool dispatch_has_rotation_taker(Dispatch *dispatch, RotationKind kind, int major, const char *database) {
  const Checkpoint checkpoint = {.database = (char *)database, .id = (char *)"", .server_major = major};
  bool trial = kind == ROTATION_FORWARD || kind == ROTATION_CANARY, found = false;
  CLEANUP(intake_json_free) json_t *request = request_of(&checkpoint, kind, 0);
  const LedgerJob job = {
      .kind = trial ? LEDGER_JOB_TRIAL : LEDGER_JOB_DRILL, .database = (char *)database, .request = request};
  for (size_t i = 0; !found && i < agents_count(dispatch->agents); i++) {
    const Agent *agent = agents_at(dispatch->agents, i);
    found = job_suits(dispatch, &agent->who, &job) && dispatch_agent_live(dispatch, agent->who.name);
  }
  return found;
}

/* ---- what came of it ---- */

static bool fits(const LedgerJob *job, TrialVerdict verdict, int outcome) {
  if (trial_kind(job) == ROTATION_FORWARD)
    return outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE && (verdict == TRIAL_READY || verdict == TRIAL_NOT_READY);
  return verdict == (outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE ? TRIAL_REFUTED : TRIAL_SURVIVED);
}

/* Of this checkpoint's manifest, signed by the agent whose job it is, and an answer to what was asked. */
static Status check(const Dispatch *dispatch, const Work *work, const LedgerJob *job, const Pgseal__JobResult *result,
                    json_t **report, Error *err) {
  const Pgseal__TrialResult *trial = result->trial;
  const ConfigAgent *agent = agents_admitted(dispatch->agents, job->agent);
  TrialVerdict verdict;
  if (!trial || !trial_verdict_from_name(trial->verdict, &verdict) || !fits(job, verdict, (int)result->outcome))
    return error_set(err, ERR_PROTOCOL, "agent %s sent no verdict that answers the trial", job->agent);
  Status status = intake_report(result->report_json, report, err);
  if (status != STATUS_OK || !*report)
    return status == STATUS_OK ? error_set(err, ERR_PROTOCOL, "agent %s sent no report of the trial", job->agent)
                               : status;
  CLEANUP_FREE char *id = drill_id_of(job);
  CLEANUP_FREE char *statement =
      trial_statement(work->checkpoint.id, id, trial->manifest_sha256, result->report_json, verdict);
  if (!agent || trial->signature.len != SIGNATURE_SIZE || !work->checkpoint.manifest_sha256 ||
      strcmp(trial->manifest_sha256, work->checkpoint.manifest_sha256) != 0 ||
      strcmp(text_of(*report, "verdict"), trial_verdict_name(verdict)) != 0 ||
      !signing_verify(agent->key, TRIAL_PURPOSE, statement, strlen(statement), trial->signature.data))
    return error_set(err, ERR_PROOF_INVALID, "the trial's verdict is not signed by agent %s for this checkpoint",
                     job->agent);
  return STATUS_OK;
}

/* Its own word is enough, signed or not: nothing that this agent says of drills is worth anything until it was looked
 * into. */
static Status survived(Change *change, Work *work, LedgerJob *job, const Error *cause, const json_t *report,
                       Error *err) {
  Status status = recovery_over(change, work, job, JOB_EVENT_FAILED, cause, report, err);
  if (status != STATUS_OK)
    return status;
  const Requester requester = {.name = job->requested_by};
  status = change_event(change, "rotation.canary_survived", &work->checkpoint, job, &requester,
                        json_pack("{s:s}", "damage", text_of(job->request, "damage")), err);
  CLEANUP_FREE char *reason = memory_format("the canary %s survived: its drills do not see damage", job->id);
  return status == STATUS_OK ? hold_quarantine(change, job->agent, reason, err) : status;
}

static Status errored(Change *change, Work *work, LedgerJob *job, const Error *cause, Error *err) {
  if (error_class(cause->status) == ERROR_CLASS_TRANSIENT || job->cancel_requested)
    return job_retry(change, work, job, cause, false, err);
  return recovery_over(change, work, job, JOB_EVENT_ERRORED, cause, NULL, err);
}

Status trial_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  CLEANUP(intake_json_free) json_t *report = NULL;
  Error cause;
  int outcome = result ? (int)result->outcome : PGSEAL__JOB_RESULT__OUTCOME__UNSPECIFIED;
  if (outcome == PGSEAL__JOB_RESULT__OUTCOME__UNSPECIFIED) {
    error_set(&cause, ERR_PROTOCOL, "agent %s sent a result without an outcome", job->agent);
    return errored(change, work, job, &cause, err);
  }
  if (outcome == PGSEAL__JOB_RESULT__OUTCOME__CANCELED) {
    error_set(&cause, job->cancel_requested ? ERR_CANCELED : ERR_AGENT_LOST, "agent %s stopped the trial", job->agent);
    return errored(change, work, job, &cause, err);
  }
  bool failed = outcome == PGSEAL__JOB_RESULT__OUTCOME__FAILED && trial_kind(job) == ROTATION_CANARY;
  if (outcome != PGSEAL__JOB_RESULT__OUTCOME__DONE && !failed) {
    intake_failure(result->error, &cause);
    return errored(change, work, job, &cause, err);
  }
  Status status = check(change->dispatch, work, job, result, &report, &cause);
  if (failed) {
    intake_failure(result->error, &cause);
    return survived(change, work, job, &cause, status == STATUS_OK ? report : NULL, err);
  }
  return status == STATUS_OK ? recovery_over(change, work, job, JOB_EVENT_DONE, NULL, report, err)
                             : errored(change, work, job, &cause, err);
}
