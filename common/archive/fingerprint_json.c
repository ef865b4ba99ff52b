/* The JSON form of a fingerprint, in manifests. Hostile when read: every type and length is checked. */
#include <stdlib.h>
#include <string.h>

#include "common/archive/fingerprint.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static json_t *digest_json(const uint8_t digest[DIGEST_SIZE]) {
  char hex[2 * DIGEST_SIZE + 1];
  text_hex(digest, DIGEST_SIZE, hex);
  return json_string(hex);
}

/* Object names are bytes in the database's encoding; what is not UTF-8 is kept as "\x<hex>". */
static json_t *text_json(const char *text) {
  json_t *plain = strncmp(text, "\\x", 2) == 0 ? NULL : json_string(text);
  if (plain)
    return plain;
  size_t size = strlen(text);
  char *hex = memory_alloc(2 * size + 3);
  hex[0] = '\\';
  hex[1] = 'x';
  text_hex((const uint8_t *)text, size, hex + 2);
  plain = json_string(hex);
  free(hex);
  return plain;
}

char *fingerprint_name(const char *text) {
  json_t *json = text_json(text);
  char *name = memory_strdup(json_string_value(json));
  json_decref(json);
  return name;
}

static bool text_from_json(const json_t *json, char **out) {
  if (!json_is_string(json) || strlen(json_string_value(json)) != json_string_length(json))
    return false;
  const char *text = json_string_value(json);
  if (strncmp(text, "\\x", 2) != 0) {
    *out = memory_strdup(text);
    return true;
  }
  size_t size = (strlen(text) - 2) / 2;
  char *raw = memory_alloc(size + 1);
  if (!text_unhex(text + 2, (uint8_t *)raw, size) || memchr(raw, 0, size)) {
    free(raw);
    return false;
  }
  *out = raw;
  return true;
}

json_t *fingerprint_to_json(const Fingerprint *f) {
  json_t *entries = json_array(), *tables = json_array(), *blobs = json_array();
  for (size_t i = 0; i < f->entry_count; i++) {
    const FingerprintEntry *e = &f->entries[i];
    json_array_append_new(entries,
                          json_pack("{s:o, s:o, s:o, s:o}", "type", text_json(e->desc), "schema", text_json(e->schema),
                                    "name", text_json(e->tag), "sha256", digest_json(e->digest)));
  }
  for (size_t i = 0; i < f->table_count; i++) {
    const FingerprintTable *t = &f->tables[i];
    json_array_append_new(tables,
                          json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:I, s:I}", "schema", text_json(t->schema), "name",
                                    text_json(t->name), "columns", text_json(t->columns), "rows", (json_int_t)t->rows,
                                    "bytes", (json_int_t)t->bytes, "digest", digest_json(t->digest), "offset",
                                    (json_int_t)t->offset, "end_offset", (json_int_t)t->end_offset));
  }
  for (size_t i = 0; i < f->blob_count; i++) {
    const FingerprintBlob *b = &f->blobs[i];
    json_array_append_new(blobs, json_pack("{s:I, s:I, s:o}", "oid", (json_int_t)b->oid, "bytes", (json_int_t)b->bytes,
                                           "sha256", digest_json(b->digest)));
  }
  return json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "database", text_json(f->database),
                   "server_version", text_json(f->server_version), "dump_version", text_json(f->dump_version),
                   "format_minor", f->format_minor, "rows", (json_int_t)f->rows, "bytes", (json_int_t)f->bytes,
                   "archive_size", (json_int_t)f->archive_size, "toc_size", (json_int_t)f->toc_size, "tables", tables,
                   "large_objects", blobs, "entries", entries);
}

static Status invalid(Error *err, const char *what) {
  return error_set(err, ERR_MANIFEST_INVALID, "the fingerprint is not valid: %s", what);
}

static bool get_text(const json_t *object, const char *key, char **out) {
  return text_from_json(json_object_get(object, key), out);
}

static bool get_number(const json_t *object, const char *key, int64_t *out) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return false;
  *out = json_integer_value(value);
  return true;
}

static bool get_offset(const json_t *object, const char *key, uint64_t *out) {
  int64_t value;
  if (!get_number(object, key, &value))
    return false;
  *out = (uint64_t)value;
  return true;
}

static bool get_digest(const json_t *object, const char *key, uint8_t out[DIGEST_SIZE]) {
  const char *hex = json_string_value(json_object_get(object, key));
  return hex && text_unhex(hex, out, DIGEST_SIZE);
}

static bool read_entries(const json_t *array, Fingerprint *f) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    FingerprintEntry entry = {0};
    bool good = get_text(item, "type", &entry.desc) && get_text(item, "schema", &entry.schema) &&
                get_text(item, "name", &entry.tag) && get_digest(item, "sha256", entry.digest);
    ARRAY_PUSH(f->entries, f->entry_count, entry);
    if (!good)
      return false;
  }
  return true;
}

/* The totals are not taken from the document but added up again. */
static bool read_tables(const json_t *array, Fingerprint *f) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    FingerprintTable table = {0};
    bool good = get_text(item, "schema", &table.schema) && get_text(item, "name", &table.name) &&
                get_text(item, "columns", &table.columns) && get_number(item, "rows", &table.rows) &&
                get_number(item, "bytes", &table.bytes) && get_digest(item, "digest", table.digest) &&
                get_offset(item, "offset", &table.offset) && get_offset(item, "end_offset", &table.end_offset);
    ARRAY_PUSH(f->tables, f->table_count, table);
    if (!good || __builtin_add_overflow(f->rows, table.rows, &f->rows) ||
        __builtin_add_overflow(f->bytes, table.bytes, &f->bytes))
      return false;
  }
  return true;
}

static bool read_blobs(const json_t *array, Fingerprint *f) {
  size_t index;
  const json_t *item;
  if (!json_is_array(array))
    return false;
  json_array_foreach(array, index, item) {
    FingerprintBlob blob = {0};
    int64_t oid;
    if (!get_number(item, "oid", &oid) || oid > UINT32_MAX || !get_number(item, "bytes", &blob.bytes) ||
        !get_digest(item, "sha256", blob.digest))
      return false;
    blob.oid = (uint32_t)oid;
    ARRAY_PUSH(f->blobs, f->blob_count, blob);
  }
  return true;
}

Status fingerprint_from_json(const json_t *json, Fingerprint *out, Error *err) {
  Fingerprint f = {0};
  int64_t minor, rows, bytes;
  const char *wrong = NULL;
  if (!get_text(json, "database", &f.database) || !get_text(json, "server_version", &f.server_version) ||
      !get_text(json, "dump_version", &f.dump_version) || !get_number(json, "format_minor", &minor) || minor > 255 ||
      !get_offset(json, "archive_size", &f.archive_size) || !get_offset(json, "toc_size", &f.toc_size) ||
      !get_number(json, "rows", &rows) || !get_number(json, "bytes", &bytes))
    wrong = "a field is missing or of the wrong type";
  else if (!read_entries(json_object_get(json, "entries"), &f))
    wrong = "entries";
  else if (!read_tables(json_object_get(json, "tables"), &f))
    wrong = "tables";
  else if (!read_blobs(json_object_get(json, "large_objects"), &f))
    wrong = "large objects";
  else if (rows != f.rows || bytes != f.bytes)
    wrong = "its totals do not add up";
  if (wrong) {
    fingerprint_release(&f);
    return invalid(err, wrong);
  }
  f.format_minor = (int)minor;
  *out = f;
  return STATUS_OK;
}
