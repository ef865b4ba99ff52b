/* The proof and its JSON. */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
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

static json_t *error_json(const Error *error) {
  if (error->status == STATUS_OK)
    return json_null();
  return json_pack("{s:s, s:o, s:o, s:o}", "code", error_code(error->status), "message",
                   field_from_text(error->message), "remedy", field_from_text(error->remedy), "object",
                   field_from_text(error->object));
}

json_t *proof_to_json(const Proof *p) {
  json_t *differences = json_array(), *notes = json_array();
  for (size_t i = 0; i < p->difference_count; i++) {
    const ProofDifference *d = &p->differences[i];
    json_array_append_new(differences, json_pack("{s:o, s:o, s:o, s:o}", "kind", field_from_text(d->kind), "object",
                                                 field_from_text(d->object), "detail", field_from_text(d->detail),
                                                 "remedy", field_from_text(d->remedy)));
  }
  for (size_t i = 0; i < p->note_count; i++)
    json_array_append_new(notes, field_from_text(p->notes[i]));
  json_t *json =
      json_pack("{s:i, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:I, s:I}", "version", 1, "drill", p->drill_id, "checkpoint",
                p->checkpoint_id, "database", p->database, "tag", field_from_text(p->tag), "agent", p->agent, "outcome",
                outcome_name(p->outcome), "manifest_sha256", p->manifest_sha256, "started_us",
                (json_int_t)p->started_us, "finished_us", (json_int_t)p->finished_us);
  json_object_set_new(json, "cluster",
                      json_pack("{s:o, s:o, s:o, s:o, s:o}", "server_version", field_from_text(p->server_version),
                                "pg_dump_version", field_from_text(p->dump_version), "image", field_from_text(p->image),
                                "engine", field_from_text(p->engine), "pgseal_version",
                                field_from_text(p->pgseal_version)));
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

/* Each {"name": text, "ok": boolean}; *all_hold: every one is ok. */
static bool read_assertions(const json_t *array, bool *all_hold, Proof *p) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  *all_hold = true;
  json_array_foreach(array, index, item) {
    const json_t *ok = json_object_get(item, "ok");
    if (!json_is_string(json_object_get(item, "name")) || !json_is_boolean(ok))
      return false;
    *all_hold = *all_hold && json_is_true(ok);
  }
  p->assertions = json_deep_copy(array);
  return true;
}

static bool read_stages(json_t *object, Proof *p) {
  const char *name;
  json_t *seconds;
  if (!json_is_object(object))
    return false;
  json_object_foreach(object, name, seconds) {
    if (!json_is_number(seconds) || json_number_value(seconds) < 0)
      return false;
  }
  p->stages = json_deep_copy(object);
  return true;
}

/* "proven" admits of no error, no difference and no assertion that does not hold; "failed" says why. Nothing else is
 * ever stored. */
static bool is_consistent(const Proof *p, bool assertions_hold) {
  if (p->outcome == OUTCOME_PROVEN)
    return p->error.status == STATUS_OK && p->difference_count == 0 && assertions_hold;
  return p->outcome == OUTCOME_FAILED && p->error.status != STATUS_OK;
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
  const char *outcome = json_string_value(json_object_get(json, "outcome"));
  bool assertions_hold;
  if (!field_version(json) || !outcome || !outcome_from_name(outcome, &p->outcome) ||
      !read_assertions(json_object_get(json, "assertions"), &assertions_hold, p) ||
      !read_stages(json_object_get(json, "stages"), p))
    return false;
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
         read_differences(json_object_get(json, "differences"), p) && read_notes(json_object_get(json, "notes"), p) &&
         is_consistent(p, assertions_hold);
}

Status proof_from_json(const json_t *json, Proof *out, Error *err) {
  Proof p = {0};
  if (!read_all(json, &p)) {
    proof_release(&p);
    return error_set(
        err, ERR_PROOF_INVALID,
        "the proof is not valid: a field is missing, of the wrong type or of an unknown version, or its outcome "
        "is not what the rest of it says");
  }
  *out = p;
  return STATUS_OK;
}
