#include <stdlib.h>
#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { PACE_PROOFS_MAX = 3 };
static const char proof_end[] = ".json.cms";

typedef struct ProofKeys {
  char *newest[PACE_PROOFS_MAX]; /* in the order of the listing: ids sort by time */
  size_t count;
} ProofKeys;

static bool visit(void *user, const char *key, uint64_t size) {
  (void)size;
  ProofKeys *keys = user;
  size_t length = strlen(key), end = strlen(proof_end);
  if (length < end || strcmp(key + length - end, proof_end) != 0)
    return true;
  if (keys->count == PACE_PROOFS_MAX) {
    free(keys->newest[0]);
    memmove(keys->newest, keys->newest + 1, (PACE_PROOFS_MAX - 1) * sizeof *keys->newest);
    keys->count--;
  }
  keys->newest[keys->count++] = memory_strdup(key);
  return true;
}

static bool take_proof(RecoveryRun *run, const char *key, const uint8_t *signer, RecoveryPace *out) {
  CLEANUP(json_decrefp) json_t *json = NULL;
  char sha256[SHA256_HEX_SIZE];
  Error ignored;
  Proof proof = {0};
  if (document_get(run->repository, key, "proof", signer, run->key, &json, sha256, &ignored) != STATUS_OK ||
      proof_from_json(json, &proof, &ignored) != STATUS_OK)
    return false;
  const double data = json_number_value(json_object_get(proof.stages, "restore"));
  const double indexes = json_number_value(json_object_get(proof.stages, "index"));
  bool good = proof.outcome == OUTCOME_PROVEN && proof.bytes > 0 && data >= 0 && indexes >= 0 &&
              strcmp(proof.manifest_sha256, run->spec->manifest_sha256) == 0;
  if (good)
    *out = (RecoveryPace){.data_seconds = data, .index_seconds = indexes, .bytes = proof.bytes};
  proof_release(&proof);
  return good;
}

/* An estimate, not a promise: which agent may sign a proof is for the coordinator to know. */
void recovery_pace(RecoveryRun *run, RecoveryPace *out) {
  ProofKeys keys = {0};
  Error ignored;
  SigningKey *own = NULL;
  uint8_t own_public[PUBLIC_KEY_SIZE];
  const uint8_t *signers[2] = {run->spec->dump_public_key.data};
  size_t signer_count = 1;
  if (signing_key_load(run->context->config->signing_key, &own, &ignored) == STATUS_OK) {
    signing_key_public(own, own_public);
    signers[signer_count++] = own_public;
  }
  CLEANUP_FREE char *prefix = memory_format("%sproofs/", run->context->job->prefix);
  bool found = repository_list(run->repository, prefix, visit, &keys, &ignored) != STATUS_OK;
  for (size_t i = keys.count; i > 0; i--) {
    for (size_t j = 0; j < signer_count && !found; j++)
      found = take_proof(run, keys.newest[i - 1], signers[j], out);
    free(keys.newest[i - 1]);
  }
  signing_key_free(own);
}
