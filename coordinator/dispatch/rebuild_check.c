/* What of a repository may be believed. An agent that drills the database told it, and opened what is encrypted; who
 * signed the documents is checked here, over the bytes as they are stored. (Such an agent can say that a checkpoint is
 * proven anyway: it is believed no more here than a drill is.) */
#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"

typedef struct Check {
  Dispatch *dispatch;
  const char *database;
  json_t *report;
} Check;

static bool refuse(const Check *check, const Pgseal__InventoryDocument *document, const char *reason, const char *agent,
                   const char *key, const char *message) {
  inventory_refuse(check->report, document->key, reason, agent, key, message);
  return false;
}

/* ---- who signed it ---- */

static bool refuse_trust(const Check *check, const Pgseal__InventoryDocument *document, AgentTrust trust,
                         const char *agent, const char *key) {
  if (trust == TRUST_REVOKED_KEY)
    return refuse(check, document, "revoked_key", agent, key,
                  "it is signed with a key that was revoked since: whoever has that key may have made it");
  if (trust == TRUST_NOT_ALLOWED)
    return refuse(check, document, "not_allowed", agent, key,
                  "it is signed by an agent that may not do that for this database");
  return refuse(
      check, document, "unknown_key", agent, key,
      "nobody vouches for the key that signed it: enroll its agent again with the key it had, or list it under "
      "former_agents in coordinator.yaml");
}

/* Is it signed by `agent`, who could make such a document? *believed: it is; else it is refused. Its bytes may be too
 * many for a message: then *signed_here is false, and its digest is what the agent says. */
static Status check_signed(const Check *check, const Pgseal__InventoryDocument *document, const char *purpose,
                           const char *agent, char sha256[SHA256_HEX_SIZE], char key_hex[PUBLIC_KEY_HEX_SIZE],
                           bool *signed_here, bool *believed, Error *err) {
  uint8_t signature[SIGNATURE_SIZE], key[PUBLIC_KEY_SIZE];
  AgentTrust trust = TRUST_UNKNOWN_KEY;
  *believed = *signed_here = false;
  if (document->signature.len == 0 ||
      !document_signature(document->signature.data, document->signature.len, signature, key)) {
    refuse(check, document, "no_signature", agent, "", "there is no signature beside it that can be read");
    return STATUS_OK;
  }
  text_hex(key, sizeof key, key_hex);
  Status status = agents_trust(check->dispatch->agents, agent, key, strcmp(purpose, "proof") == 0 ? "drill" : "dump",
                               check->database, &trust, err);
  if (status != STATUS_OK)
    return status;
  if (trust != TRUST_YES) {
    refuse_trust(check, document, trust, agent, key_hex);
    return STATUS_OK;
  }
  snprintf(sha256, SHA256_HEX_SIZE, "%s", document->sha256);
  if (document->object.len > 0) {
    sha256_hex(document->object.data, document->object.len, sha256);
    *signed_here = signing_verify(key, purpose, document->object.data, document->object.len, signature);
    if (!*signed_here || strcmp(sha256, document->sha256) != 0) {
      refuse(check, document, "bad_signature", agent, key_hex,
             "its signature is not of what is stored: it was altered");
      return STATUS_OK;
    }
  }
  *believed = true;
  return STATUS_OK;
}

static bool readable(const Check *check, const Pgseal__InventoryDocument *document) {
  if (!document->error && intake_digest_valid(document->sha256))
    return true;
  Error cause;
  intake_failure(document->error, &cause);
  return refuse(check, document, "not_readable", "", "", cause.message);
}

static bool placed(const Check *check, const Pgseal__InventoryDocument *document, bool right, const char *agent) {
  return right || refuse(check, document, "misplaced", agent, "", "it is another checkpoint's, put in this place");
}

/* ---- manifests ---- */

static Status check_manifest(const Check *check, Found *found, Error *err) {
  const Pgseal__InventoryAttempt *attempt = found->attempt;
  const Pgseal__InventoryManifest *manifest = attempt->manifest;
  CLEANUP_FREE char *prefix = manifest_prefix(check->database, attempt->checkpoint_id, (int)attempt->attempt);
  CLEANUP_FREE char *key = manifest_key(prefix);
  bool signed_here = false;
  found->refused = true;
  if (!manifest->document || !readable(check, manifest->document))
    return STATUS_OK;
  bool right = strcmp(manifest->document->key, key) == 0 && strcmp(manifest->database, check->database) == 0 &&
               strcmp(manifest->checkpoint_id, attempt->checkpoint_id) == 0 && manifest->attempt == attempt->attempt &&
               manifest->dump && text_tag_valid(manifest->tag) && text_name_valid(manifest->agent) &&
               manifest->started_us >= 0 && manifest->finished_us >= manifest->started_us;
  if (!placed(check, manifest->document, right, manifest->agent))
    return STATUS_OK;
  Status status = check_signed(check, manifest->document, "manifest", manifest->agent, found->sha256, found->key,
                               &signed_here, &found->whole, err);
  found->refused = !found->whole;
  return status;
}

/* ---- proofs ---- */

/* What a proof says of the archive has to be what the manifest says of it. */
static bool agrees(const Pgseal__InventoryManifest *manifest, const Proof *proof) {
  const Pgseal__DumpResult *dump = manifest->dump;
  if (proof->outcome != OUTCOME_PROVEN)
    return true;
  return proof->tables == dump->tables && proof->rows == dump->rows &&
         strcmp(proof->fingerprint_sha256, dump->fingerprint_sha256) == 0;
}

static bool of_place(const Check *check, const Found *found, const FoundProof *item) {
  const Pgseal__InventoryAttempt *attempt = found->attempt;
  CLEANUP_FREE char *prefix = manifest_prefix(check->database, attempt->checkpoint_id, (int)attempt->attempt);
  CLEANUP_FREE char *key = proof_key(prefix, item->proof.drill_id);
  return strcmp(item->proof.checkpoint_id, attempt->checkpoint_id) == 0 &&
         strcmp(item->proof.database, check->database) == 0 && strcmp(item->message->document->key, key) == 0;
}

static bool read_proof(const Check *check, FoundProof *item) {
  const Pgseal__InventoryDocument *document = item->message->document;
  Error cause;
  json_t *json = json_loads(item->message->json, JSON_REJECT_DUPLICATES, NULL);
  Status status = proof_from_json(json, &item->proof, &cause);
  json_decref(json);
  return status == STATUS_OK || refuse(check, document, "not_readable", "", "", cause.message);
}

static Status check_proof(const Check *check, const Found *found, FoundProof *item, bool *believed, Error *err) {
  const Pgseal__InventoryDocument *document = item->message->document;
  bool signed_here = false;
  *believed = false;
  if (!document || !readable(check, document) || !read_proof(check, item) ||
      !placed(check, document, of_place(check, found, item), item->proof.agent))
    return STATUS_OK;
  Status status =
      check_signed(check, document, "proof", item->proof.agent, item->sha256, item->key, &signed_here, believed, err);
  if (status != STATUS_OK || !*believed)
    return status;
  if (!signed_here)
    *believed = refuse(check, document, "bad_signature", item->proof.agent, item->key, "its bytes were not told");
  else if (strcmp(item->proof.manifest_sha256, found->sha256) != 0 || !agrees(found->attempt->manifest, &item->proof))
    *believed = refuse(check, document, "other_manifest", item->proof.agent, item->key,
                       "it is a proof, but not of the manifest that is stored here");
  return STATUS_OK;
}

Status found_check(Dispatch *dispatch, const char *database, const Pgseal__InventoryAttempt *attempt, json_t *report,
                   Found *out, Error *err) {
  const Check check = {dispatch, database, report};
  *out = (Found){.attempt = attempt};
  Status status = attempt->manifest ? check_manifest(&check, out, err) : STATUS_OK;
  for (size_t i = 0; i < attempt->n_proofs && status == STATUS_OK && out->whole; i++) {
    FoundProof item = {.message = attempt->proofs[i]};
    bool believed = false;
    status = check_proof(&check, out, &item, &believed, err);
    if (status == STATUS_OK && believed)
      ARRAY_PUSH(out->proofs, out->proof_count, item);
    else
      proof_release(&item.proof);
  }
  if (status != STATUS_OK)
    found_release(out);
  return status;
}

void found_release(Found *found) {
  for (size_t i = 0; i < found->proof_count; i++)
    proof_release(&found->proofs[i].proof);
  free(found->proofs);
  *found = (Found){0};
}
