/* The JSON of manifests, proofs and signatures: any text is read or refused; what is read is the same when written and
 * read again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/manifest/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_manifest(const json_t *json) {
  Manifest first = {0}, second = {0};
  Error err = {0};
  Status status = manifest_from_json(json, &first, &err);
  if (status != STATUS_OK) {
    if (status != ERR_MANIFEST_INVALID || !err.message[0] || first.segments)
      abort();
    return;
  }
  json_t *again = manifest_to_json(&first);
  if (!again || manifest_from_json(again, &second, &err) != STATUS_OK)
    abort();
  json_t *third = manifest_to_json(&second);
  if (!json_equal(again, third) || first.segment_count != second.segment_count)
    abort();
  json_decref(third);
  json_decref(again);
  manifest_release(&first);
  manifest_release(&second);
}

static void try_proof(const json_t *json) {
  Proof first = {0}, second = {0};
  Error err = {0};
  Status status = proof_from_json(json, &first, &err);
  if (status != STATUS_OK) {
    if (status != ERR_PROOF_INVALID || !err.message[0] || first.assertions)
      abort();
    return;
  }
  if (first.outcome == OUTCOME_PROVEN && (first.error.status != STATUS_OK || first.difference_count))
    abort();
  json_t *again = proof_to_json(&first);
  if (!again || proof_from_json(again, &second, &err) != STATUS_OK)
    abort();
  json_t *third = proof_to_json(&second);
  if (!json_equal(again, third))
    abort();
  json_decref(third);
  json_decref(again);
  proof_release(&first);
  proof_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t signature[SIGNATURE_SIZE], key[PUBLIC_KEY_SIZE];
  if (document_signature(data, size, signature, key) && !document_signature(data, size, signature, NULL))
    abort();
  json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
  try_manifest(json);
  try_proof(json);
  json_decref(json);
  return 0;
}
