#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void proof_add(Proof *proof, const char *kind, const char *object, const char *detail, const char *remedy) {
  char clean[ERROR_MESSAGE_SIZE];
  if (proof->difference_count >= DRILL_DIFFERENCE_LIMIT)
    return;
  ProofDifference difference = {.kind = memory_strdup(kind),
                                .object = memory_strdup(text_clean(object, clean, sizeof clean))};
  difference.detail = memory_strdup(text_clean(detail, clean, sizeof clean));
  difference.remedy = memory_strdup(remedy);
  ARRAY_PUSH(proof->differences, proof->difference_count, difference);
}

static void proof_fill_differences(const DrillRun *run, Proof *proof) {
  for (size_t i = 0; i < run->issues.count; i++) {
    const DrillIssue *issue = &run->issues.items[i];
    proof_add(proof, error_code(issue->status), issue->object, issue->message, issue->remedy);
  }
  for (size_t i = 0; i < run->differences.count; i++) {
    const Difference *difference = &run->differences.items[i];
    proof_add(proof, difference_kind_name(difference->kind), difference->object, difference->detail,
              error_default_remedy(ERR_ROUND_TRIP_DIFFERS));
  }
}

static char *proof_text(const char *text) {
  return memory_strdup(text ? text : "");
}

static void proof_fill_counts(const DrillRun *run, Proof *proof) {
  uint8_t digest[DIGEST_SIZE] = {0}; /* all zero where the archive could not be read whole */
  if (run->source_whole) {
    fingerprint_digest(&run->source, digest);
    proof->tables = (int64_t)run->source.table_count;
    proof->rows = run->source.rows;
    proof->bytes = run->source.bytes;
    proof->entries = (int64_t)run->source.entry_count;
    proof->blobs = (int64_t)run->source.blob_count;
  }
  text_hex(digest, sizeof digest, proof->fingerprint_sha256);
}

static void proof_fill(const DrillRun *run, const Error *failure, Proof *proof) {
  const Pgseal__Job *job = run->context->job;
  proof->drill_id = memory_strdup(run->spec->drill_id);
  proof->checkpoint_id = memory_strdup(job->checkpoint_id);
  proof->database = memory_strdup(job->database);
  proof->tag = memory_strdup(job->tag);
  proof->agent = memory_strdup(run->context->config->name);
  proof->outcome = failure ? OUTCOME_FAILED : OUTCOME_PROVEN;
  snprintf(proof->manifest_sha256, sizeof proof->manifest_sha256, "%s", run->manifest_sha256);
  proof->started_us = run->started_us;
  proof->finished_us = clock_wall_us();
  proof->server_version = proof_text(run->server_version);
  proof->dump_version = proof_text(run->copy_whole ? run->copy.dump_version : run->tools_version);
  proof->image = proof_text(run->image);
  proof->engine = proof_text(run->engine_name);
  proof->pgseal_version = memory_strdup(PGSEAL_VERSION);
  proof_fill_counts(run, proof);
  proof->assertions = run->assertions ? json_incref(run->assertions) : json_array();
  proof->stages = drill_stages_json(run);
  if (failure)
    proof->error = *failure;
  proof_fill_differences(run, proof);
  for (size_t i = 0; i < run->note_count; i++)
    ARRAY_PUSH(proof->notes, proof->note_count, memory_strdup(run->notes[i]));
}

/* Stored, and then read back: a proof that cannot be read proves nothing. */
static Status proof_store(DrillRun *run, const char *key, const Proof *proof, char sha256_text[SHA256_HEX_SIZE],
                          Error *err) {
  CLEANUP(json_decrefp) json_t *json = proof_to_json(proof);
  CLEANUP(json_decrefp) json_t *again = NULL;
  char read_sha256[SHA256_HEX_SIZE];
  uint8_t public_key[PUBLIC_KEY_SIZE];
  signing_key_public(run->signer, public_key);
  Status status = document_put(run->repository, key, json, "proof", run->signer, run->recipients, sha256_text, err);
  if (status == STATUS_OK)
    status = document_get(run->repository, key, "proof", public_key, run->key, &again, read_sha256, err);
  if (status != STATUS_OK)
    return status;
  if (strcmp(sha256_text, read_sha256) != 0 || !json_equal(json, again)) {
    error_set(err, ERR_PROOF_INVALID, "the proof read back from the repository is not the one stored");
    error_object(err, "%s", key);
    return err->status;
  }
  CLEANUP(proof_release) Proof read = {0};
  return proof_from_json(again, &read, err);
}

static char *proof_differences_json(const Proof *proof) {
  CLEANUP(json_decrefp) json_t *list = json_array();
  for (size_t i = 0; i < proof->difference_count; i++) {
    const ProofDifference *d = &proof->differences[i];
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "kind", d->kind, "object", d->object, "detail",
                                          d->detail, "remedy", d->remedy));
  }
  return json_dumps(list, JSON_COMPACT);
}

static char *proof_notes_json(const Proof *proof) {
  CLEANUP(json_decrefp) json_t *list = json_array();
  for (size_t i = 0; i < proof->note_count; i++)
    json_array_append_new(list, json_string(proof->notes[i]));
  return json_dumps(list, JSON_COMPACT);
}

static Status proof_sign_verdict(DrillRun *run, const Proof *proof, const char *sha256_text,
                                 Pgseal__DrillResult *result, Error *err) {
  CLEANUP_FREE char *statement =
      verdict_statement(proof->checkpoint_id, proof->drill_id, proof->manifest_sha256, sha256_text, proof->outcome);
  uint8_t signature[SIGNATURE_SIZE];
  Status status = signing_sign(run->signer, "verdict", statement, strlen(statement), signature, err);
  if (status != STATUS_OK)
    return status;
  result->verdict_signature.data = memory_dup(signature, sizeof signature);
  result->verdict_signature.len = sizeof signature;
  return STATUS_OK;
}

Status drill_proof(DrillRun *run, const Error *failure, Pgseal__DrillResult **out, Error *err) {
  CLEANUP(proof_release) Proof proof = {0};
  CLEANUP_FREE char *key = proof_key(run->prefix, run->spec->drill_id);
  char sha256_text[SHA256_HEX_SIZE];
  proof_fill(run, failure, &proof);
  Status status = proof_store(run, key, &proof, sha256_text, err);
  if (status != STATUS_OK)
    return status;
  Pgseal__DrillResult *result = memory_alloc(sizeof *result);
  pgseal__drill_result__init(result);
  status = proof_sign_verdict(run, &proof, sha256_text, result, err);
  if (status != STATUS_OK) {
    free(result);
    return status;
  }
  result->manifest_sha256 = memory_strdup(proof.manifest_sha256);
  result->proof_sha256 = memory_strdup(sha256_text);
  result->verdict = memory_strdup(outcome_name(proof.outcome));
  result->tables = proof.tables;
  result->rows = proof.rows;
  result->bytes = proof.bytes;
  result->image = memory_strdup(proof.image);
  result->engine = memory_strdup(proof.engine);
  result->server_version = memory_strdup(proof.server_version);
  result->differences_json = proof_differences_json(&proof);
  result->notes_json = proof_notes_json(&proof);
  result->proof_key = STEAL(key);
  *out = result;
  return STATUS_OK;
}
