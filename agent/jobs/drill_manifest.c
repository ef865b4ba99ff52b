#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static Status manifest_wrong(Error *err, const char *key, const char *what, const char *found, const char *expected) {
  error_set(err, ERR_MANIFEST_INVALID, "the manifest's %s is %s, expected %s", what, found, expected);
  error_object(err, "%s", key);
  return err->status;
}

/* It is about this checkpoint, and not another one's manifest put in its place. */
static Status manifest_identity(const DrillRun *run, const Manifest *manifest, const char *key, const char *sha256,
                                Error *err) {
  const Pgseal__Job *job = run->context->job;
  if (strcmp(sha256, run->manifest_sha256) != 0)
    return manifest_wrong(err, key, "SHA-256", sha256, run->manifest_sha256);
  if (strcmp(manifest->checkpoint_id, job->checkpoint_id) != 0)
    return manifest_wrong(err, key, "checkpoint", manifest->checkpoint_id, job->checkpoint_id);
  if (strcmp(manifest->database, job->database) != 0)
    return manifest_wrong(err, key, "database", manifest->database, job->database);
  if (strcmp(manifest->agent, run->spec->dump_agent) != 0 && *run->spec->dump_agent)
    return manifest_wrong(err, key, "agent", manifest->agent, run->spec->dump_agent);
  CLEANUP_FREE char *prefix = manifest_prefix(manifest->database, manifest->checkpoint_id, manifest->attempt);
  if (strcmp(prefix, run->prefix) != 0)
    return manifest_wrong(err, key, "place", prefix, run->prefix);
  if (run->major != 0 && run->major != manifest->server_major)
    return error_set(err, ERR_MANIFEST_INVALID, "the manifest is of a PostgreSQL %d server, the dump said %d",
                     manifest->server_major, run->major);
  if (run->bootstrap_role && strcmp(run->bootstrap_role, manifest->bootstrap_role) != 0)
    return manifest_wrong(err, key, "bootstrap role", manifest->bootstrap_role, run->bootstrap_role);
  return STATUS_OK;
}

static void manifest_take(DrillRun *run, Manifest *manifest) {
  run->manifest = *manifest;
  *manifest = (Manifest){0};
  run->manifest_read = true;
  run->major = run->manifest.server_major;
  run->available = run->manifest.segment_count;
  run->has_roles = run->manifest.has_roles;
  run->roles_known = true;
  free(run->bootstrap_role);
  run->bootstrap_role = memory_strdup(run->manifest.bootstrap_role);
  free(run->database_name);
  run->database_name = memory_strdup(run->manifest.database_name);
  run->progress.bytes_total = (int64_t)run->manifest.fingerprint.archive_size;
}

Status drill_manifest_read(DrillRun *run, Error *err) {
  CLEANUP_FREE char *key = manifest_key(run->prefix);
  CLEANUP(json_decrefp) json_t *json = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  char sha256_text[SHA256_HEX_SIZE];
  Status status = document_get(run->repository, key, "manifest", run->spec->dump_public_key.data, run->key, &json,
                               sha256_text, err);
  if (status == STATUS_OK)
    status = manifest_from_json(json, &manifest, err);
  if (status == STATUS_OK)
    status = manifest_identity(run, &manifest, key, sha256_text, err);
  if (status == STATUS_OK)
    manifest_take(run, &manifest);
  return status;
}

static bool same_stored(const DrillRead *read, const ManifestSegment *expected) {
  return read->size == expected->size && strcmp(read->sha256, expected->sha256) == 0;
}

static Status manifest_check_object(const char *key, const DrillRead *read, const ManifestSegment *expected,
                                    Error *err) {
  if (same_stored(read, expected) && read->plain_size == expected->plain_size &&
      strcmp(read->plain_sha256, expected->plain_sha256) == 0)
    return STATUS_OK;
  error_set(err, ERR_SEGMENT_CORRUPT,
            "%s holds %llu bytes with SHA-256 %s, but the manifest says %llu bytes with SHA-256 %s", key,
            (unsigned long long)read->size, read->sha256, (unsigned long long)expected->size, expected->sha256);
  error_object(err, "%s", key);
  return err->status;
}

Status drill_manifest_check_segment(const DrillRun *run, size_t index, Error *err) {
  CLEANUP_FREE char *key = manifest_segment_key(run->prefix, index);
  if (index < run->manifest.segment_count)
    return manifest_check_object(key, &run->segments_read[index], &run->manifest.segments[index], err);
  error_set(err, ERR_SEGMENT_CORRUPT, "%s is there, but the manifest has %zu segments only", key,
            run->manifest.segment_count);
  error_object(err, "%s", key);
  return err->status;
}

Status drill_manifest_check_roles(const DrillRun *run, Error *err) {
  CLEANUP_FREE char *key = manifest_roles_key(run->prefix);
  return manifest_check_object(key, &run->roles_read, &run->manifest.roles, err);
}

Status drill_manifest_blame(DrillRun *run, size_t index, const DrillRead *read, Error *err) {
  if (err->status != ERR_KEY_MISMATCH)
    return err->status;
  const Error mismatch = *err;
  Status status = drill_await_manifest(run, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *key =
      index == DRILL_ROLES ? manifest_roles_key(run->prefix) : manifest_segment_key(run->prefix, index);
  if (index == DRILL_ROLES && run->manifest.has_roles && !same_stored(read, &run->manifest.roles))
    return manifest_check_object(key, read, &run->manifest.roles, err);
  if (index < run->manifest.segment_count && !same_stored(read, &run->manifest.segments[index]))
    return manifest_check_object(key, read, &run->manifest.segments[index], err);
  *err = mismatch;
  return err->status;
}

static Status manifest_check_fingerprint(DrillRun *run, Error *err) {
  uint8_t found[DIGEST_SIZE], expected[DIGEST_SIZE];
  fingerprint_digest(&run->source, found);
  fingerprint_digest(&run->manifest.fingerprint, expected);
  if (memcmp(found, expected, DIGEST_SIZE) == 0)
    return STATUS_OK;
  CLEANUP(difference_list_release) DifferenceList list = {0};
  fingerprint_compare(&run->manifest.fingerprint, &run->source, &list);
  error_set(err, ERR_MANIFEST_INVALID, "the manifest's fingerprint is not that of the archive that was stored%s%s",
            list.count ? ": " : "", list.count ? list.items[0].detail : "");
  if (list.count)
    error_object(err, "%s", list.items[0].object);
  return err->status;
}

Status drill_manifest_check_all(DrillRun *run, Error *err) {
  if (run->segment_count != run->manifest.segment_count)
    return error_set(err, ERR_MANIFEST_INVALID, "the manifest has %zu segments, %zu were read",
                     run->manifest.segment_count, run->segment_count);
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < run->segment_count; i++)
    status = drill_manifest_check_segment(run, i, err);
  if (status == STATUS_OK && run->manifest.has_roles)
    status = drill_manifest_check_roles(run, err);
  if (status == STATUS_OK)
    status = manifest_check_fingerprint(run, err);
  return status;
}
