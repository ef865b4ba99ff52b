#include <stdlib.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/manifest/table_list.h"

static void copy_recipients(const Recipients *recipients, Manifest *manifest) {
  size_t count = recipients_count(recipients);
  manifest->recipients = memory_alloc((count + 1) * sizeof *manifest->recipients);
  manifest->recipient_count = count;
  for (size_t i = 0; i < count; i++)
    manifest->recipients[i] = memory_strdup(recipients_fingerprint(recipients, i));
}

/* JSON is UTF-8. What is not (a database in SQL_ASCII) is shown with '?'; the archive has it as it is. */
static char *utf8_copy(const char *text) {
  json_t *json = json_string(text);
  bool valid = json != NULL;
  json_decref(json);
  if (valid)
    return memory_strdup(text);
  size_t size = strlen(text) * 3 + 1;
  char *clean = memory_alloc(size);
  return text_clean(text, clean, size);
}

/* Takes over the stream's fingerprint and segments, and the run's omissions. */
static void fill_manifest(DumpRun *run, DumpStream *stream, const ManifestSegment *roles, Manifest *manifest) {
  const Pgseal__Job *job = run->context->job;
  *manifest = (Manifest){
      .checkpoint_id = memory_strdup(job->checkpoint_id),
      .database = memory_strdup(job->database),
      .tag = memory_strdup(job->tag),
      .agent = memory_strdup(run->context->config->name),
      .attempt = (int)job->attempt,
      .started_us = run->started_us,
      .finished_us = clock_wall_us(),
      .server_version = utf8_copy(run->source.server_version),
      .dump_version = memory_strdup(run->source.tools_version),
      .pgseal_version = memory_strdup(PGSEAL_VERSION),
      .server_major = run->source.major,
      .database_name = utf8_copy(run->source.database_name),
      .bootstrap_role = utf8_copy(run->source.bootstrap_role),
      .snapshot = memory_strdup(run->snapshot),
      .lsn = memory_strdup(run->lsn),
      .collation_version = utf8_copy(run->source.collation_version),
      .encoding = utf8_copy(run->source.encoding),
      .collation_provider = utf8_copy(run->source.collation_provider),
      .collation = utf8_copy(run->source.collation),
      .collation_actual = utf8_copy(run->source.collation_actual),
      .has_roles = run->database->roles,
      .segments = STEAL(stream->segments),
      .segment_count = stream->segment_count,
      .omissions = STEAL(run->omissions),
      .omission_count = run->omission_count,
      .fingerprint = stream->fingerprint,
  };
  if (manifest->has_roles)
    manifest->roles = *roles;
  copy_recipients(run->recipients, manifest);
  stream->fingerprint = (Fingerprint){0};
  stream->segment_count = 0;
  run->omission_count = 0;
}

static char *omissions_json(const Manifest *manifest) {
  json_t *list = json_array();
  for (size_t i = 0; i < manifest->omission_count; i++) {
    const ManifestOmission *omission = &manifest->omissions[i];
    json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kind", omission->kind, "object", omission->object,
                                          "detail", omission->detail));
  }
  char *text = json_dumps(list, JSON_COMPACT);
  json_decref(list);
  return text ? text : memory_strdup("[]");
}

static Pgseal__SourceFacts *source_facts(const Manifest *manifest) {
  Pgseal__SourceFacts *facts = memory_alloc(sizeof *facts);
  pgseal__source_facts__init(facts);
  facts->encoding = memory_strdup(manifest->encoding);
  facts->collation_provider = memory_strdup(manifest->collation_provider);
  facts->collation = memory_strdup(manifest->collation);
  facts->collation_version = memory_strdup(manifest->collation_version);
  facts->collation_actual = memory_strdup(manifest->collation_actual);
  return facts;
}

Pgseal__DumpResult *dump_result_of(const Manifest *manifest, const char *manifest_sha256) {
  const Fingerprint *fingerprint = &manifest->fingerprint;
  uint8_t digest[DIGEST_SIZE];
  char digest_hex[2 * DIGEST_SIZE + 1];
  fingerprint_digest(fingerprint, digest);
  text_hex(digest, sizeof digest, digest_hex);
  Pgseal__DumpResult *result = memory_alloc(sizeof *result);
  pgseal__dump_result__init(result);
  result->manifest_sha256 = memory_strdup(manifest_sha256);
  result->segments = manifest->segment_count;
  for (size_t i = 0; i < manifest->segment_count; i++)
    result->size_stored += (int64_t)manifest->segments[i].size;
  if (manifest->has_roles)
    result->size_stored += (int64_t)manifest->roles.size;
  result->size_archive = (int64_t)fingerprint->archive_size;
  result->tables = (int64_t)fingerprint->table_count;
  result->rows = fingerprint->rows;
  result->entries = (int64_t)fingerprint->entry_count;
  result->blobs = (int64_t)fingerprint->blob_count;
  result->server_version = memory_strdup(manifest->server_version);
  result->dump_version = memory_strdup(manifest->dump_version);
  result->server_major = (uint32_t)manifest->server_major;
  result->omissions_json = omissions_json(manifest);
  result->fingerprint_sha256 = memory_strdup(digest_hex);
  result->source = source_facts(manifest);
  return result;
}

Status dump_manifest_put(DumpRun *run, DumpStream *stream, const ManifestSegment *roles, Pgseal__DumpResult **result,
                         Error *err) {
  CLEANUP(manifest_release) Manifest manifest = {0};
  fill_manifest(run, stream, roles, &manifest);
  json_t *json = manifest_to_json(&manifest);
  CLEANUP_FREE char *key = manifest_key(run->context->job->prefix);
  char sha256_hex_text[SHA256_HEX_SIZE];
  Status status =
      document_put(run->repository, key, json, "manifest", run->signer, run->recipients, sha256_hex_text, err);
  json_decref(json);
  if (status != STATUS_OK)
    return error_prefix(err, "the manifest");
  *result = dump_result_of(&manifest, sha256_hex_text);
  (*result)->table_list = dump_table_list(run, &manifest.fingerprint, TABLE_LIST_BYTES);
  return STATUS_OK;
}
