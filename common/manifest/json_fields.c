#include "common/manifest/json_fields.h"

#include <limits.h>
#include <string.h>

#include "common/base/memory.h"

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

bool field_hex(const json_t *object, const char *key, char *out, size_t characters) {
  const char *value = json_string_value(json_object_get(object, key));
  if (!value || strlen(value) != characters || strspn(value, "0123456789abcdef") != characters)
    return false;
  memcpy(out, value, characters + 1);
  return true;
}

bool field_version(const json_t *object) {
  return json_integer_value(json_object_get(object, "version")) == 1;
}
