/* The proofs beside a manifest: whose they are, and whether they speak of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verify.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

typedef struct Keys {
  char **items;
  size_t count;
} Keys;

static void keys_release(Keys *keys) {
  for (size_t i = 0; i < keys->count; i++)
    free(keys->items[i]);
  free(keys->items);
}

static bool collect(void *user, const char *key, uint64_t size) {
  static const char end[] = ".json.cms";
  Keys *keys = user;
  (void)size;
  size_t length = strlen(key);
  if (length > sizeof end - 1 && strcmp(key + length - (sizeof end - 1), end) == 0)
    ARRAY_PUSH(keys->items, keys->count, memory_strdup(key));
  return true;
}

/* What a proof says of the archive has to be what the manifest says of it. NULL if it is. */
static const char *contradiction(const Verify *verify, const Proof *proof) {
  const Manifest *m = &verify->stored.manifest;
  const Fingerprint *f = &m->fingerprint;
  uint8_t digest[DIGEST_SIZE];
  char hex[2 * DIGEST_SIZE + 1];
  fingerprint_digest(f, digest);
  text_hex(digest, sizeof digest, hex);
  if (strcmp(proof->checkpoint_id, m->checkpoint_id) != 0 || strcmp(proof->database, m->database) != 0)
    return "it is of another checkpoint";
  if (strcmp(proof->manifest_sha256, verify->stored.manifest_sha256) != 0)
    return "it is of another manifest";
  if (proof->outcome != OUTCOME_PROVEN)
    return NULL;
  if (strcmp(proof->fingerprint_sha256, hex) != 0)
    return "what it compared had another fingerprint";
  if (proof->tables != (int64_t)f->table_count || proof->rows != f->rows || proof->blobs != (int64_t)f->blob_count ||
      proof->entries != (int64_t)f->entry_count || proof->bytes != f->bytes)
    return "what it counted is not what the manifest says";
  return NULL;
}

static void judge(const Cli *cli, Verify *verify, const char *key, const Proof *proof) {
  char when[CLOCK_TEXT_SIZE];
  const char *wrong = contradiction(verify, proof);
  if (wrong) {
    verify_note(cli, verify, false, "proof", "%s: %s", key, wrong);
    return;
  }
  bool proven = proof->outcome == OUTCOME_PROVEN;
  verify->proven += proven;
  verify_note(cli, verify, proven, "proof", "%s by agent %s on %s, PostgreSQL %s%s%s", outcome_name(proof->outcome),
              proof->agent, clock_format(proof->finished_us, when), proof->server_version, proven ? "" : ": ",
              proven ? "" : proof->error.message);
}

static Status look(const Cli *cli, Verify *verify, const char *key, Error *err) {
  const Stored *stored = &verify->stored;
  CLEANUP(json_decrefp) json_t *json = NULL;
  CLEANUP(proof_release) Proof proof = {0};
  char sha256[SHA256_HEX_SIZE];
  Status status = error_set(err, ERR_PROOF_INVALID, "%s: nobody's signature is trusted", key);
  for (size_t i = 0; status == ERR_PROOF_INVALID && i < verify->trusted_count && !json; i++)
    status = document_get(stored->repository, key, "proof", verify->trusted[i], stored->key, &json, sha256, err);
  if (status == STATUS_OK)
    status = proof_from_json(json, &proof, err);
  if (status == STATUS_OK)
    judge(cli, verify, key, &proof);
  return status;
}

Status verify_proofs(const Cli *cli, Verify *verify, Error *err) {
  CLEANUP(keys_release) Keys keys = {0};
  CLEANUP_FREE char *under = memory_format("%sproofs/", verify->stored.prefix);
  Status status = repository_list(verify->stored.repository, under, collect, &keys, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < keys.count; i++) {
    status = look(cli, verify, keys.items[i], err);
    if (status != STATUS_OK && !verify_failed(cli, verify, "proof", err))
      return status;
  }
  return STATUS_OK;
}
