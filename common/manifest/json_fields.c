#include "common/manifest/json_fields.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"

bool field_text(const json_t *object, const char *key, char **out) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
    return false;
  *out = memory_strdup(json_string_value(value));
  return true;
}

bool field_number(const json_t *object, const char *key, int64_t *out) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return false;
  *out = json_integer_value(value);
  return true;
}

bool field_int(const json_t *object, const char *key, int *out) {
  int64_t value;
  if (!field_number(object, key, &value) || value > INT_MAX)
    return false;
  *out = (int)value;
  return true;
}

bool field_is_hex(const json_t *value, size_t characters) {
  const char *text = json_string_value(value);
  return text && json_string_length(value) == characters && strspn(text, "0123456789abcdef") == characters;
}

bool field_hex(const json_t *object, const char *key, char *out, size_t characters) {
  const json_t *value = json_object_get(object, key);
  if (!field_is_hex(value, characters))
    return false;
  memcpy(out, json_string_value(value), characters + 1);
  return true;
}

bool field_version(const json_t *object) {
  return json_integer_value(json_object_get(object, "version")) == 1;
}

json_t *field_from_text(const char *text) {
  json_t *json = json_string(text ? text : "");
  if (json)
    return json;
  size_t size = strlen(text) * 4 + 1;
  char *clean = memory_alloc(size);
  json = json_string(text_clean(text, clean, size));
  free(clean);
  return json;
}
