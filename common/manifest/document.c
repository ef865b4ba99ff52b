/* Signed JSON documents in a repository: manifests and proofs. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/manifest/manifest.h"

enum { DOCUMENT_LIMIT = 1 << 30, SIGNATURE_LIMIT = 4096, DOCUMENT_LEVEL = 3 };

static void free_json(json_t **json) {
  json_decref(*json);
}

static char *signature_key(const char *key) {
  return memory_format("%s.sig", key);
}

Status document_sign(const SigningKey *signer, const char *purpose, const void *data, size_t size, json_t **signature,
                     Error *err) {
  uint8_t made[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
  Status status = signing_sign(signer, purpose, data, size, made, err);
  if (status)
    return status;
  char signature_hex[2 * SIGNATURE_SIZE + 1], public_hex[PUBLIC_KEY_HEX_SIZE];
  signing_key_public(signer, public_key);
  text_hex(made, sizeof made, signature_hex);
  text_hex(public_key, sizeof public_key, public_hex);
  *signature =
      json_pack("{s:s, s:s, s:s}", "algorithm", "Ed25519", "public_key", public_hex, "signature", signature_hex);
  return STATUS_OK;
}

static Status put_signature(Repository *repository, const char *key, const Buffer *object, const char *purpose,
                            const SigningKey *signer, Error *err) {
  CLEANUP(free_json) json_t *signature = NULL;
  Status status = document_sign(signer, purpose, object->data, object->size, &signature, err);
  if (status)
    return status;
  CLEANUP_FREE char *name = signature_key(key);
  CLEANUP_FREE char *json = json_dumps(signature, JSON_COMPACT);
  CLEANUP_FREE char *text = memory_format("%s\n", json);
  return repository_put(repository, name, text, strlen(text), err);
}

Status document_put(Repository *repository, const char *key, const json_t *json, const char *purpose,
                    const SigningKey *signer, const Recipients *recipients, char sha256_hex_out[SHA256_HEX_SIZE],
                    Error *err) {
  CLEANUP_FREE char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  if (!text)
    return error_set(err, ERR_INTERNAL, "cannot write the %s as JSON", purpose);
  CLEANUP(buffer_release) Buffer object = {0};
  Status status = segment_encode(recipients, DOCUMENT_LEVEL, text, strlen(text), &object, err);
  if (!status)
    status = put_signature(repository, key, &object, purpose, signer, err);
  if (!status)
    status = repository_put(repository, key, object.data, object.size, err);
  if (!status)
    sha256_hex(object.data, object.size, sha256_hex_out);
  return status;
}

static Status refuse(Error *err, const char *purpose, const char *key, const char *why) {
  error_set(err, strcmp(purpose, "proof") == 0 ? ERR_PROOF_INVALID : ERR_MANIFEST_INVALID, "%s: %s", key, why);
  error_object(err, "%s", key);
  return err->status;
}

bool document_signature(const void *data, size_t size, uint8_t signature[SIGNATURE_SIZE],
                        uint8_t public_key[PUBLIC_KEY_SIZE]) {
  if (size > SIGNATURE_LIMIT)
    return false;
  CLEANUP(free_json) json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
  const char *algorithm = json_string_value(json_object_get(json, "algorithm"));
  const char *hex = json_string_value(json_object_get(json, "signature"));
  const char *key = json_string_value(json_object_get(json, "public_key"));
  return algorithm && strcmp(algorithm, "Ed25519") == 0 && hex && text_unhex(hex, signature, SIGNATURE_SIZE) &&
         (!public_key || (key && text_unhex(key, public_key, PUBLIC_KEY_SIZE)));
}

static Status check_signature(Repository *repository, const char *key, const Buffer *object, const char *purpose,
                              const uint8_t public_key[PUBLIC_KEY_SIZE], Error *err) {
  CLEANUP_FREE char *name = signature_key(key);
  CLEANUP(buffer_release) Buffer text = {0};
  Status status = repository_get_stored(repository, name, SIGNATURE_LIMIT, &text, err);
  if (status)
    return status;
  uint8_t signature[SIGNATURE_SIZE];
  if (!document_signature(text.data, text.size, signature, NULL))
    return refuse(err, purpose, key, "its signature is not readable");
  /* The key named in the file is a hint for people; only the enrolled key of the agent counts. */
  if (!signing_verify(public_key, purpose, object->data, object->size, signature))
    return refuse(err, purpose, key, "its signature is not by the agent that made it: it was altered or replaced");
  return STATUS_OK;
}

Status document_fetch(Repository *repository, const char *key, size_t limit, Buffer *object, Buffer *signature,
                      Error *err) {
  CLEANUP_FREE char *name = signature_key(key);
  Error failure;
  buffer_clear(signature);
  Status status = repository_get_stored(repository, key, limit < DOCUMENT_LIMIT ? limit : DOCUMENT_LIMIT, object, err);
  if (status)
    return status;
  status = repository_get(repository, name, SIGNATURE_LIMIT, signature, &failure);
  if (status == STATUS_OK || status == ERR_OBJECT_NOT_FOUND || status == ERR_SEGMENT_CORRUPT)
    return STATUS_OK;
  *err = failure;
  return status;
}

Status document_open(const char *key, const char *purpose, const Buffer *object, const DecryptionKey *key_file,
                     json_t **json, Error *err) {
  CLEANUP(buffer_release) Buffer text = {0};
  Status status = segment_decode(key_file, object->data, object->size, DOCUMENT_LIMIT, &text, err);
  if (status) {
    error_object(err, "%s", key);
    return error_prefix(err, "%s", key);
  }
  json_error_t where;
  json_t *parsed = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &where);
  if (!parsed)
    return refuse(err, purpose, key, where.text);
  *json = parsed;
  return STATUS_OK;
}

Status document_get(Repository *repository, const char *key, const char *purpose,
                    const uint8_t public_key[PUBLIC_KEY_SIZE], const DecryptionKey *key_file, json_t **json,
                    char sha256_hex_out[SHA256_HEX_SIZE], Error *err) {
  CLEANUP(buffer_release) Buffer object = {0};
  Status status = repository_get_stored(repository, key, DOCUMENT_LIMIT, &object, err);
  if (!status)
    status = check_signature(repository, key, &object, purpose, public_key, err);
  if (!status)
    status = document_open(key, purpose, &object, key_file, json, err);
  if (!status)
    sha256_hex(object.data, object.size, sha256_hex_out);
  return status;
}
