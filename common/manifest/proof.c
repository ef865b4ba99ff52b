/* The proof and its JSON. */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/manifest/json_fields.h"
#include "common/manifest/manifest.h"

void proof_release(Proof *p) {
  char *texts[] = {p->drill_id,       p->checkpoint_id, p->database, p->tag,    p->agent,
                   p->server_version, p->dump_version,  p->image,    p->engine, p->pgseal_version};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  json_decref(p->assertions);
  json_decref(p->stages);
  for (size_t i = 0; i < p->difference_count; i++) {
    free(p->differences[i].kind);
    free(p->differences[i].object);
    free(p->differences[i].detail);
    free(p->differences[i].remedy);
  }
  free(p->differences);
  for (size_t i = 0; i < p->note_count; i++)
    free(p->notes[i]);
  free(p->notes);
  memset(p, 0, sizeof *p);
}

static json_t *text_json(const char *text) {
  json_t *json = json_string(text ? text : "");
  if (json)
    return json;
  size_t size = strlen(text) * 4 + 1;
  char *clean = memory_alloc(size);
  json = json_string(text_clean(text, clean, size));
  free(clean);
  return json;
}

static json_t *error_json(const Error *error) {
  if (error->status == STATUS_OK)
    return json_null();
  return json_pack("{s:s, s:o, s:o, s:o}", "code", error_code(error->status), "message", text_json(error->message),
                   "remedy", text_json(error->remedy), "object", text_json(error->object));
}

json_t *proof_to_json(const Proof *p) {
  json_t *differences = json_array(), *notes = json_array();
  for (size_t i = 0; i < p->difference_count; i++) {
    const ProofDifference *d = &p->differences[i];
    json_array_append_new(differences,
                          json_pack("{s:o, s:o, s:o, s:o}", "kind", text_json(d->kind), "object", text_json(d->object),
                                    "detail", text_json(d->detail), "remedy", text_json(d->remedy)));
  }
  for (size_t i = 0; i < p->note_count; i++)
    json_array_append_new(notes, text_json(p->notes[i]));
  json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:I, s:I}", "version", 1, "drill", p->drill_id,
                           "checkpoint", p->checkpoint_id, "database", p->database, "tag", text_json(p->tag), "agent",
                           p->agent, "outcome", outcome_name(p->outcome), "manifest_sha256", p->manifest_sha256,
                           "started_us", (json_int_t)p->started_us, "finished_us", (json_int_t)p->finished_us);
  json_object_set_new(json, "cluster",
                      json_pack("{s:o, s:o, s:o, s:o, s:o}", "server_version", text_json(p->server_version),
                                "pg_dump_version", text_json(p->dump_version), "image", text_json(p->image), "engine",
                                text_json(p->engine), "pgseal_version", text_json(p->pgseal_version)));
  json_object_set_new(json, "compared",
                      json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "tables", (json_int_t)p->tables, "rows",
                                (json_int_t)p->rows, "bytes", (json_int_t)p->bytes, "entries", (json_int_t)p->entries,
                                "large_objects", (json_int_t)p->blobs, "fingerprint_sha256", p->fingerprint_sha256));
  json_object_set_new(json, "assertions", p->assertions ? json_incref(p->assertions) : json_array());
  json_object_set_new(json, "stages", p->stages ? json_incref(p->stages) : json_object());
  json_object_set_new(json, "error", error_json(&p->error));
  json_object_set_new(json, "differences", differences);
  json_object_set_new(json, "notes", notes);
  return json;
}

static bool read_error(const json_t *json, Error *error) {
  if (json_is_null(json))
    return true;
  char *code = NULL, *message = NULL, *remedy = NULL, *object = NULL;
  bool good = field_text(json, "code", &code) && field_text(json, "message", &message) &&
              field_text(json, "remedy", &remedy) && field_text(json, "object", &object) &&
              error_from_code(code) != STATUS_COUNT;
  if (good) {
    error_set(error, error_from_code(code), "%s", message);
    error_remedy(error, "%s", remedy);
    error_object(error, "%s", object);
  }
  free(code);
  free(message);
  free(remedy);
  free(object);
  return good;
}

static bool read_differences(const json_t *array, Proof *p) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    ProofDifference d = {0};
    bool good = field_text(item, "kind", &d.kind) && field_text(item, "object", &d.object) &&
                field_text(item, "detail", &d.detail) && field_text(item, "remedy", &d.remedy);
    ARRAY_PUSH(p->differences, p->difference_count, d);
    if (!good)
      return false;
  }
  return true;
}

static bool read_notes(const json_t *array, Proof *p) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    if (!json_is_string(item))
      return false;
    char *note = memory_strdup(json_string_value(item));
    ARRAY_PUSH(p->notes, p->note_count, note);
  }
  return true;
}

static bool read_all(const json_t *json, Proof *p) {
  const json_t *cluster = json_object_get(json, "cluster"), *compared = json_object_get(json, "compared");
  const json_t *assertions = json_object_get(json, "assertions"), *stages = json_object_get(json, "stages");
  const char *outcome = json_string_value(json_object_get(json, "outcome"));
  if (!field_version(json) || !outcome || !outcome_from_name(outcome, &p->outcome) || !json_is_array(assertions) ||
      !json_is_object(stages))
    return false;
  p->assertions = json_deep_copy(assertions);
  p->stages = json_deep_copy(stages);
  return field_text(json, "drill", &p->drill_id) && field_text(json, "checkpoint", &p->checkpoint_id) &&
         field_text(json, "database", &p->database) && field_text(json, "tag", &p->tag) &&
         field_text(json, "agent", &p->agent) &&
         field_hex(json, "manifest_sha256", p->manifest_sha256, SHA256_HEX_SIZE - 1) &&
         field_number(json, "started_us", &p->started_us) && field_number(json, "finished_us", &p->finished_us) &&
         field_text(cluster, "server_version", &p->server_version) &&
         field_text(cluster, "pg_dump_version", &p->dump_version) && field_text(cluster, "image", &p->image) &&
         field_text(cluster, "engine", &p->engine) && field_text(cluster, "pgseal_version", &p->pgseal_version) &&
         field_number(compared, "tables", &p->tables) && field_number(compared, "rows", &p->rows) &&
         field_number(compared, "bytes", &p->bytes) && field_number(compared, "entries", &p->entries) &&
         field_number(compared, "large_objects", &p->blobs) &&
         field_hex(compared, "fingerprint_sha256", p->fingerprint_sha256, SHA256_HEX_SIZE - 1) &&
         read_error(json_object_get(json, "error"), &p->error) &&
         read_differences(json_object_get(json, "differences"), p) && read_notes(json_object_get(json, "notes"), p);
}

Status proof_from_json(const json_t *json, Proof *out, Error *err) {
  Proof p = {0};
  if (!read_all(json, &p)) {
    proof_release(&p);
    return error_set(err, ERR_PROOF_INVALID,
                     "the proof is not valid: a field is missing, of the wrong type, or of an unknown version");
  }
  *out = p;
  return STATUS_OK;
}
