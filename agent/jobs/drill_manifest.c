#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

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

StoredPlace drill_place(const DrillRun *run) {
  return (StoredPlace){run->repository, run->key};
}

Status drill_manifest_read(DrillRun *run, Error *err) {
  const Pgseal__Job *job = run->context->job;
  const StoredIdentity identity = {.public_key = run->spec->dump_public_key.data,
                                   .sha256 = run->manifest_sha256,
                                   .checkpoint_id = job->checkpoint_id,
                                   .database = job->database,
                                   .agent = run->spec->dump_agent,
                                   .prefix = run->prefix,
                                   .bootstrap_role = run->bootstrap_role,
                                   .major = run->major};
  const StoredPlace place = drill_place(run);
  CLEANUP(manifest_release) Manifest manifest = {0};
  Status status = stored_manifest(&place, &identity, &manifest, err);
  if (status == STATUS_OK)
    manifest_take(run, &manifest);
  return status;
}

Status drill_manifest_check_segment(const DrillRun *run, size_t index, Error *err) {
  CLEANUP_FREE char *key = manifest_segment_key(run->prefix, index);
  if (index < run->manifest.segment_count)
    return stored_check(key, &run->segments_read[index], &run->manifest.segments[index], err);
  error_set(err, ERR_SEGMENT_CORRUPT, "%s is there, but the manifest has %zu segments only", key,
            run->manifest.segment_count);
  error_object(err, "%s", key);
  return err->status;
}

Status drill_manifest_check_roles(const DrillRun *run, Error *err) {
  CLEANUP_FREE char *key = manifest_roles_key(run->prefix);
  return stored_check(key, &run->roles_read, &run->manifest.roles, err);
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
