/* The front: every call goes to the backend's function table. */
#include "coordinator/ledger/ledger_ops.h"

#include <stdlib.h>

void ledger_close(Ledger *ledger) {
  if (!ledger)
    return;
  ledger->ops->close(ledger->backend);
  free(ledger);
}

Status ledger_begin(Ledger *ledger, Error *err) {
  return ledger->ops->begin(ledger->backend, err);
}

Status ledger_commit(Ledger *ledger, Error *err) {
  return ledger->ops->commit(ledger->backend, err);
}

void ledger_rollback(Ledger *ledger) {
  ledger->ops->rollback(ledger->backend);
}

Status ledger_checkpoint_insert(Ledger *ledger, const Checkpoint *checkpoint, Error *err) {
  return ledger->ops->checkpoint_insert(ledger->backend, checkpoint, err);
}

Status ledger_checkpoint_update(Ledger *ledger, const Checkpoint *checkpoint, Error *err) {
  return ledger->ops->checkpoint_update(ledger->backend, checkpoint, err);
}

Status ledger_checkpoint_get(Ledger *ledger, const char *id, Checkpoint *out, Error *err) {
  return ledger->ops->checkpoint_get(ledger->backend, id, out, err);
}

Status ledger_checkpoint_find(Ledger *ledger, const char *database, const char *id_or_tag, const char *scope,
                              Checkpoint *out, Error *err) {
  return ledger->ops->checkpoint_find(ledger->backend, database, id_or_tag, scope, out, err);
}

Status ledger_checkpoint_by_key(Ledger *ledger, const char *token_name, const char *idempotency_key, Checkpoint *out,
                                Error *err) {
  return ledger->ops->checkpoint_by_key(ledger->backend, token_name, idempotency_key, out, err);
}

Status ledger_checkpoint_list(Ledger *ledger, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                              Error *err) {
  return ledger->ops->checkpoint_list(ledger->backend, filter, items, count, err);
}

Status ledger_checkpoint_count(Ledger *ledger, const char *state, int64_t *count, Error *err) {
  return ledger->ops->checkpoint_count(ledger->backend, state, count, err);
}

Status ledger_job_insert(Ledger *ledger, const LedgerJob *job, Error *err) {
  return ledger->ops->job_insert(ledger->backend, job, err);
}

Status ledger_job_update(Ledger *ledger, const LedgerJob *job, Error *err) {
  return ledger->ops->job_update(ledger->backend, job, err);
}

Status ledger_job_get(Ledger *ledger, const char *id, LedgerJob *out, Error *err) {
  return ledger->ops->job_get(ledger->backend, id, out, err);
}

Status ledger_job_list(Ledger *ledger, const char *checkpoint_id, LedgerJob **items, size_t *count, Error *err) {
  return ledger->ops->job_list(ledger->backend, checkpoint_id, items, count, err);
}

Status ledger_job_by_key(Ledger *ledger, const char *token_name, const char *idempotency_key, LedgerJob *out,
                         Error *err) {
  return ledger->ops->job_by_key(ledger->backend, token_name, idempotency_key, out, err);
}

Status ledger_job_recent(Ledger *ledger, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err) {
  return ledger->ops->job_recent(ledger->backend, filter, items, count, err);
}

Status ledger_job_report_put(Ledger *ledger, const LedgerJob *job, const json_t *report, Error *err) {
  return ledger->ops->job_report_put(ledger->backend, job, report, err);
}

Status ledger_job_report_get(Ledger *ledger, const char *job_id, json_t **report, Error *err) {
  return ledger->ops->job_report_get(ledger->backend, job_id, report, err);
}

Status ledger_job_open(Ledger *ledger, LedgerJob **items, size_t *count, Error *err) {
  return ledger->ops->job_open(ledger->backend, items, count, err);
}

Status ledger_fencing_next(Ledger *ledger, uint64_t *fencing, Error *err) {
  return ledger->ops->fencing_next(ledger->backend, fencing, err);
}

Status ledger_token_insert(Ledger *ledger, const LedgerToken *token, Error *err) {
  return ledger->ops->token_insert(ledger->backend, token, err);
}

Status ledger_token_by_hash(Ledger *ledger, const char *hash, LedgerToken *out, Error *err) {
  return ledger->ops->token_by_hash(ledger->backend, hash, out, err);
}

Status ledger_token_update(Ledger *ledger, const LedgerToken *token, Error *err) {
  return ledger->ops->token_update(ledger->backend, token, err);
}

Status ledger_token_list(Ledger *ledger, LedgerToken **items, size_t *count, Error *err) {
  return ledger->ops->token_list(ledger->backend, items, count, err);
}

Status ledger_agent_put(Ledger *ledger, const LedgerAgent *agent, Error *err) {
  return ledger->ops->agent_put(ledger->backend, agent, err);
}

Status ledger_agent_list(Ledger *ledger, LedgerAgent **items, size_t *count, Error *err) {
  return ledger->ops->agent_list(ledger->backend, items, count, err);
}

Status ledger_enrollment_put(Ledger *ledger, const LedgerEnrollment *row, Error *err) {
  return ledger->ops->enrollment_put(ledger->backend, row, err);
}

Status ledger_enrollment_list(Ledger *ledger, LedgerEnrollment **items, size_t *count, Error *err) {
  return ledger->ops->enrollment_list(ledger->backend, items, count, err);
}

Status ledger_signing_key_insert(Ledger *ledger, const char *public_key, const char *agent, Error *err) {
  return ledger->ops->signing_key_insert(ledger->backend, public_key, agent, err);
}

Status ledger_signing_key_revoke(Ledger *ledger, const char *agent, int64_t now_us, Error *err) {
  return ledger->ops->signing_key_revoke(ledger->backend, agent, now_us, err);
}

Status ledger_signing_key_get(Ledger *ledger, const char *public_key, char **agent, bool *revoked, Error *err) {
  return ledger->ops->signing_key_get(ledger->backend, public_key, agent, revoked, err);
}

Status ledger_certificate_insert(Ledger *ledger, const char *serial, const char *agent, int64_t expires_us,
                                 Error *err) {
  return ledger->ops->certificate_insert(ledger->backend, serial, agent, expires_us, err);
}

Status ledger_certificate_revoke(Ledger *ledger, const char *agent, int64_t now_us, Error *err) {
  return ledger->ops->certificate_revoke(ledger->backend, agent, now_us, err);
}

Status ledger_certificate_revoked(Ledger *ledger, int64_t now_us, char ***serials, size_t *count, Error *err) {
  return ledger->ops->certificate_revoked(ledger->backend, now_us, serials, count, err);
}
