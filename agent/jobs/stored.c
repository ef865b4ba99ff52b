#include "agent/jobs/stored.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

Status stored_read(const StoredPlace *place, const char *key, Buffer *plain, StoredRead *read, Error *err) {
  CLEANUP(buffer_release) Buffer stored = {0};
  Status status = repository_get_stored(place->repository, key, STORED_OBJECT_LIMIT, &stored, err);
  if (status != STATUS_OK)
    return status;
  *read = (StoredRead){.size = stored.size};
  sha256_hex(stored.data, stored.size, read->sha256);
  status = segment_decode(place->key, stored.data, stored.size, STORED_OBJECT_LIMIT, plain, err);
  if (status != STATUS_OK) {
    error_prefix(err, "%s", key);
    if (!*err->object)
      error_object(err, "%s", key);
    return status;
  }
  read->plain_size = plain->size;
  sha256_hex(plain->data, plain->size, read->plain_sha256);
  return STATUS_OK;
}

bool stored_is(const StoredRead *read, const ManifestSegment *expected) {
  return read->size == expected->size && strcmp(read->sha256, expected->sha256) == 0;
}

Status stored_check(const char *key, const StoredRead *read, const ManifestSegment *expected, Error *err) {
  if (stored_is(read, expected) && read->plain_size == expected->plain_size &&
      strcmp(read->plain_sha256, expected->plain_sha256) == 0)
    return STATUS_OK;
  error_set(err, ERR_SEGMENT_CORRUPT,
            "%s holds %llu bytes with SHA-256 %s, but the manifest says %llu bytes with SHA-256 %s", key,
            (unsigned long long)read->size, read->sha256, (unsigned long long)expected->size, expected->sha256);
  error_object(err, "%s", key);
  return err->status;
}

static Status manifest_wrong(Error *err, const char *key, const char *what, const char *found, const char *expected) {
  error_set(err, ERR_MANIFEST_INVALID, "the manifest's %s is %s, expected %s", what, found, expected);
  error_object(err, "%s", key);
  return err->status;
}

/* It is about this checkpoint, and not another one's manifest put in its place. */
static Status check_identity(const StoredIdentity *identity, const Manifest *manifest, const char *key,
                             const char *sha256, Error *err) {
  CLEANUP_FREE char *prefix = manifest_prefix(manifest->database, manifest->checkpoint_id, manifest->attempt);
  const struct {
    const char *what, *found, *expected;
    bool known;
  } facts[] = {
      {"SHA-256", sha256, identity->sha256, true},
      {"checkpoint", manifest->checkpoint_id, identity->checkpoint_id, true},
      {"database", manifest->database, identity->database, true},
      {"agent", manifest->agent, identity->agent, identity->agent && *identity->agent},
      {"place", prefix, identity->prefix, true},
      {"bootstrap role", manifest->bootstrap_role, identity->bootstrap_role, identity->bootstrap_role != NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
    if (facts[i].known && strcmp(facts[i].found, facts[i].expected) != 0)
      return manifest_wrong(err, key, facts[i].what, facts[i].found, facts[i].expected);
  if (identity->major != 0 && identity->major != manifest->server_major)
    return error_set(err, ERR_MANIFEST_INVALID, "the manifest is of a PostgreSQL %d server, the dump said %d",
                     manifest->server_major, identity->major);
  return STATUS_OK;
}

Status stored_manifest(const StoredPlace *place, const StoredIdentity *identity, Manifest *out, Error *err) {
  CLEANUP_FREE char *key = manifest_key(identity->prefix);
  CLEANUP(json_decrefp) json_t *json = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  char sha256_text[SHA256_HEX_SIZE];
  Status status =
      document_get(place->repository, key, "manifest", identity->public_key, place->key, &json, sha256_text, err);
  if (status == STATUS_OK)
    status = manifest_from_json(json, &manifest, err);
  if (status == STATUS_OK)
    status = check_identity(identity, &manifest, key, sha256_text, err);
  if (status != STATUS_OK)
    return status;
  *out = manifest;
  manifest = (Manifest){0};
  return STATUS_OK;
}
