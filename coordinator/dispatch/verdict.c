/* When what a drill says counts. This is where `sealed` is decided. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "common/manifest/manifest.h"

/* Whether the drill can only have seen objects of the dump attempt that counts: it was leased after that attempt was,
 * or the proof it stored lies under that attempt's prefix. */
static bool of_current_dump(Work *work, const LedgerJob *job, const Pgseal__DrillResult *result) {
  const Checkpoint *checkpoint = &work->checkpoint;
  const LedgerJob *dump = work_dump(work);
  if (job->fencing > dump->fencing)
    return true;
  if (result && checkpoint->manifest_sha256 && strcmp(result->manifest_sha256, checkpoint->manifest_sha256) == 0)
    return true;
  CLEANUP_FREE char *prefix = manifest_prefix(checkpoint->database, checkpoint->id, checkpoint->dump_attempt);
  return result && strncmp(result->proof_key, prefix, strlen(prefix)) == 0;
}

static VerdictUse obsolete(const LedgerJob *job, Error *err) {
  error_set(err, ERR_AGENT_LOST, "the dump was tried again while drill %s followed it; the drill starts over", job->id);
  return VERDICT_OBSOLETE;
}

static bool signature_valid(Dispatch *dispatch, const Work *work, const LedgerJob *job,
                            const Pgseal__DrillResult *result, Outcome outcome) {
  const ConfigAgent *agent = agents_admitted(dispatch->agents, job->agent);
  if (!agent || result->verdict_signature.len != SIGNATURE_SIZE)
    return false;
  CLEANUP_FREE char *drill_id = drill_id_of(job);
  CLEANUP_FREE char *statement =
      verdict_statement(work->checkpoint.id, drill_id, result->manifest_sha256, result->proof_sha256, outcome);
  return signing_verify(agent->key, "verdict", statement, strlen(statement), result->verdict_signature.data);
}

VerdictUse verdict_proven(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result,
                          Error *err) {
  const Checkpoint *checkpoint = &work->checkpoint;
  if (!result || strcmp(result->verdict, outcome_name(OUTCOME_PROVEN)) != 0 ||
      !intake_digest_valid(result->manifest_sha256) || !intake_digest_valid(result->proof_sha256)) {
    error_set(err, ERR_PROTOCOL, "agent %s says the drill is done, but names no manifest and proof", job->agent);
    return VERDICT_BAD;
  }
  if (!signature_valid(dispatch, work, job, result, OUTCOME_PROVEN)) {
    error_set(err, ERR_PROOF_INVALID, "the drill's verdict is not signed by agent %s", job->agent);
    return VERDICT_BAD;
  }
  if (!checkpoint->manifest_sha256) {
    if (!of_current_dump(work, job, result) || !job_held(work_dump(work)))
      return obsolete(job, err);
    error_set(err, ERR_UNAVAILABLE, "the result of the dump has not come yet; send the drill's again");
    return VERDICT_WAIT;
  }
  if (strcmp(result->manifest_sha256, checkpoint->manifest_sha256) == 0)
    return VERDICT_COUNTS;
  if (!of_current_dump(work, job, result))
    return obsolete(job, err);
  error_set(err, ERR_PROOF_INVALID, "the drill proved manifest %s, but the dump's is %s", result->manifest_sha256,
            checkpoint->manifest_sha256);
  error_remedy(err, "Drill the checkpoint again; if it happens again, find out who wrote to the repository.");
  return VERDICT_BAD;
}

void verdict_keep(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result) {
  const ConfigAgent *agent = agents_admitted(dispatch->agents, job->agent);
  char key[PUBLIC_KEY_HEX_SIZE], signature[2 * SIGNATURE_SIZE + 1];
  CLEANUP_FREE char *drill_id = drill_id_of(job);
  text_hex(agent->key, sizeof agent->key, key);
  text_hex(result->verdict_signature.data, SIGNATURE_SIZE, signature);
  json_object_set_new(checkpoint_detail(&work->checkpoint), "verdict",
                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "drill", drill_id, "agent", agent->name,
                                "manifest_sha256", result->manifest_sha256, "proof_sha256", result->proof_sha256,
                                "public_key", key, "signature", signature));
}

VerdictUse verdict_failed(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result,
                          Error *err) {
  if (result && result->verdict_signature.len > 0 && !signature_valid(dispatch, work, job, result, OUTCOME_FAILED)) {
    error_set(err, ERR_PROOF_INVALID, "the drill's verdict is not signed by agent %s", job->agent);
    return VERDICT_BAD;
  }
  /* Between two attempts of the dump there is nothing to condemn. */
  if (!of_current_dump(work, job, result) || work_dump(work)->state == JOB_QUEUED)
    return obsolete(job, err);
  return VERDICT_COUNTS;
}
