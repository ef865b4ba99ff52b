/* The manifest and its JSON. */
#include "common/manifest/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/manifest/json_fields.h"

enum { SEGMENT_COUNT_LIMIT = 1000 * 1000, RECIPIENT_LIMIT = 1000 };

void manifest_release(Manifest *m) {
  char *texts[] = {m->checkpoint_id,
                   m->database,
                   m->tag,
                   m->agent,
                   m->server_version,
                   m->dump_version,
                   m->pgseal_version,
                   m->database_name,
                   m->bootstrap_role,
                   m->snapshot,
                   m->lsn,
                   m->collation_version,
                   m->encoding,
                   m->collation_provider,
                   m->collation,
                   m->collation_actual};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  free(m->segments);
  for (size_t i = 0; i < m->recipient_count; i++)
    free(m->recipients[i]);
  free(m->recipients);
  for (size_t i = 0; i < m->omission_count; i++) {
    free(m->omissions[i].kind);
    free(m->omissions[i].object);
    free(m->omissions[i].detail);
  }
  free(m->omissions);
  fingerprint_release(&m->fingerprint);
  memset(m, 0, sizeof *m);
}

static json_t *segment_json(const ManifestSegment *s) {
  return json_pack("{s:I, s:I, s:I, s:s, s:s}", "offset", (json_int_t)s->offset, "plain_size",
                   (json_int_t)s->plain_size, "size", (json_int_t)s->size, "sha256", s->sha256, "plain_sha256",
                   s->plain_sha256);
}

json_t *manifest_to_json(const Manifest *m) {
  json_t *segments = json_array(), *recipients = json_array(), *omissions = json_array();
  for (size_t i = 0; i < m->segment_count; i++)
    json_array_append_new(segments, segment_json(&m->segments[i]));
  for (size_t i = 0; i < m->recipient_count; i++)
    json_array_append_new(recipients, json_string(m->recipients[i]));
  for (size_t i = 0; i < m->omission_count; i++)
    json_array_append_new(omissions, json_pack("{s:o, s:o, s:o}", "kind", field_from_text(m->omissions[i].kind),
                                               "object", field_from_text(m->omissions[i].object), "detail",
                                               field_from_text(m->omissions[i].detail)));
  json_t *json =
      json_pack("{s:i, s:s, s:s, s:o, s:s, s:i, s:I, s:I}", "version", 1, "checkpoint", m->checkpoint_id, "database",
                m->database, "tag", field_from_text(m->tag), "agent", m->agent, "attempt", m->attempt, "started_us",
                (json_int_t)m->started_us, "finished_us", (json_int_t)m->finished_us);
  json_t *source = json_pack(
      "{s:o, s:o, s:s, s:i, s:o, s:o, s:s, s:s, s:s}", "server_version", field_from_text(m->server_version),
      "pg_dump_version", field_from_text(m->dump_version), "pgseal_version", m->pgseal_version ? m->pgseal_version : "",
      "server_major", m->server_major, "database_name", field_from_text(m->database_name), "bootstrap_role",
      field_from_text(m->bootstrap_role), "snapshot", m->snapshot ? m->snapshot : "", "lsn", m->lsn ? m->lsn : "",
      "collation_version", m->collation_version ? m->collation_version : "");
  json_object_set_new(source, "encoding", field_from_text(m->encoding));
  json_object_set_new(source, "collation_provider", field_from_text(m->collation_provider));
  json_object_set_new(source, "collation", field_from_text(m->collation));
  json_object_set_new(source, "collation_actual", field_from_text(m->collation_actual));
  json_object_set_new(json, "source", source);
  json_object_set_new(json, "roles", m->has_roles ? segment_json(&m->roles) : json_null());
  json_object_set_new(json, "segments", segments);
  json_object_set_new(json, "recipients", recipients);
  json_object_set_new(json, "omissions", omissions);
  json_object_set_new(json, "fingerprint", fingerprint_to_json(&m->fingerprint));
  return json;
}

static bool read_segment(const json_t *json, ManifestSegment *s) {
  int64_t offset, plain_size, size;
  if (!field_number(json, "offset", &offset) || !field_number(json, "plain_size", &plain_size) ||
      !field_number(json, "size", &size) || !field_hex(json, "sha256", s->sha256, SHA256_HEX_SIZE - 1) ||
      !field_hex(json, "plain_sha256", s->plain_sha256, SHA256_HEX_SIZE - 1))
    return false;
  s->offset = (uint64_t)offset;
  s->plain_size = (uint64_t)plain_size;
  s->size = (uint64_t)size;
  return true;
}

/* Segments must follow one another without gap or overlap, from the archive's first byte to its last. */
static bool read_segments(const json_t *array, Manifest *m) {
  size_t index;
  const json_t *item;
  uint64_t offset = 0;
  if (!json_is_array(array) || json_array_size(array) == 0 || json_array_size(array) > SEGMENT_COUNT_LIMIT)
    return false;
  json_array_foreach(array, index, item) {
    ManifestSegment segment;
    if (!read_segment(item, &segment) || segment.offset != offset || segment.plain_size == 0)
      return false;
    offset += segment.plain_size;
    ARRAY_PUSH(m->segments, m->segment_count, segment);
  }
  return offset == m->fingerprint.archive_size;
}

static bool read_recipients(const json_t *array, Manifest *m) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array) || json_array_size(array) == 0 || json_array_size(array) > RECIPIENT_LIMIT)
    return false;
  json_array_foreach(array, index, item) {
    if (!field_is_hex(item, SHA256_HEX_SIZE - 1))
      return false;
    char *text = memory_strdup(json_string_value(item));
    ARRAY_PUSH(m->recipients, m->recipient_count, text);
  }
  return true;
}

static bool read_omissions(const json_t *array, Manifest *m) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    ManifestOmission omission = {0};
    bool good = field_text(item, "kind", &omission.kind) && field_text(item, "object", &omission.object) &&
                field_text(item, "detail", &omission.detail);
    ARRAY_PUSH(m->omissions, m->omission_count, omission);
    if (!good)
      return false;
  }
  return true;
}

/* Of manifests that do not have it: "". */
static bool later_text(const json_t *object, const char *key, char **out) {
  if (json_object_get(object, key))
    return field_text(object, key, out);
  *out = memory_strdup("");
  return true;
}

static bool read_head(const json_t *json, Manifest *m) {
  const json_t *source = json_object_get(json, "source");
  return field_version(json) && field_text(json, "checkpoint", &m->checkpoint_id) &&
         field_text(json, "database", &m->database) && field_text(json, "tag", &m->tag) &&
         field_text(json, "agent", &m->agent) && field_int(json, "attempt", &m->attempt) &&
         field_number(json, "started_us", &m->started_us) && field_number(json, "finished_us", &m->finished_us) &&
         field_text(source, "server_version", &m->server_version) &&
         field_text(source, "pg_dump_version", &m->dump_version) &&
         field_text(source, "pgseal_version", &m->pgseal_version) &&
         field_int(source, "server_major", &m->server_major) &&
         field_text(source, "database_name", &m->database_name) &&
         field_text(source, "bootstrap_role", &m->bootstrap_role) && field_text(source, "snapshot", &m->snapshot) &&
         field_text(source, "lsn", &m->lsn) && field_text(source, "collation_version", &m->collation_version) &&
         later_text(source, "encoding", &m->encoding) &&
         later_text(source, "collation_provider", &m->collation_provider) &&
         later_text(source, "collation", &m->collation) && later_text(source, "collation_actual", &m->collation_actual);
}

Status manifest_from_json(const json_t *json, Manifest *out, Error *err) {
  Manifest m = {0};
  const char *wrong = NULL;
  const json_t *roles = json_object_get(json, "roles");
  m.has_roles = json_is_object(roles);
  Status status = STATUS_OK;
  if (!read_head(json, &m))
    wrong = "a field is missing, of the wrong type, or of an unknown version";
  else if (m.has_roles ? !read_segment(roles, &m.roles) : !json_is_null(roles))
    wrong = "roles";
  else if ((status = fingerprint_from_json(json_object_get(json, "fingerprint"), &m.fingerprint, err)) != STATUS_OK)
    wrong = NULL;
  else if (!read_segments(json_object_get(json, "segments"), &m))
    wrong = "its segments do not make up the archive";
  else if (!read_recipients(json_object_get(json, "recipients"), &m))
    wrong = "recipients";
  else if (!read_omissions(json_object_get(json, "omissions"), &m))
    wrong = "omissions";
  if (wrong)
    status = error_set(err, ERR_MANIFEST_INVALID, "the manifest is not valid: %s", wrong);
  if (status) {
    manifest_release(&m);
    return status;
  }
  *out = m;
  return STATUS_OK;
}

char *manifest_prefix(const char *database, const char *checkpoint_id, int attempt) {
  return memory_format("%s/%s/attempt-%d/", database, checkpoint_id, attempt);
}

char *manifest_segment_key(const char *prefix, size_t index) {
  return memory_format("%s%06zu.zst.cms", prefix, index);
}

char *manifest_roles_key(const char *prefix) {
  return memory_format("%sroles.sql.zst.cms", prefix);
}

char *manifest_key(const char *prefix) {
  return memory_format("%smanifest.json.cms", prefix);
}

char *proof_key(const char *prefix, const char *drill_id) {
  return memory_format("%sproofs/%s.json.cms", prefix, drill_id);
}

char *verdict_statement(const char *checkpoint_id, const char *drill_id, const char *manifest_sha256,
                        const char *proof_sha256, Outcome outcome) {
  return memory_format("checkpoint=%s\ndrill=%s\nmanifest=%s\nproof=%s\noutcome=%s\n", checkpoint_id, drill_id,
                       manifest_sha256, proof_sha256, outcome_name(outcome));
}
