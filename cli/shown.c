#include "cli/shown.h"

#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/json_clean.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static bool is_name(const char *key) {
  static const char *const names[] = {"schema", "name", "table", "column", "from", "to"};
  for (size_t i = 0; key && i < ARRAY_SIZE(names); i++)
    if (strcmp(key, names[i]) == 0)
      return true;
  return false;
}

static void show_text(json_t *text, bool name) {
  const char *at = json_string_value(text);
  if (text_printable(at))
    return;
  if (name) {
    CLEANUP_FREE char *shown = sql_shown_name("", at);
    json_string_set(text, shown);
    return;
  }
  CLEANUP(buffer_release) Buffer clean = {0};
  while (*at) {
    size_t length = strcspn(at, "\n\t");
    CLEANUP_FREE char *raw = memory_strndup(at, length);
    CLEANUP_FREE char *part = memory_alloc(6 * length + 1);
    buffer_append_text(&clean, text_show(raw, part, 6 * length + 1));
    at += length;
    if (*at)
      buffer_append_byte(&clean, (uint8_t)*at++);
  }
  json_string_set(text, buffer_text(&clean));
}

static void show(json_t *json, bool name) {
  const char *key;
  json_t *value;
  size_t index;
  if (json_object_get(json, "mac")) {
    json_clean(json);
  } else if (json_is_object(json)) {
    json_object_foreach(json, key, value) {
      show(value, is_name(key));
    }
  } else if (json_is_array(json)) {
    json_array_foreach(json, index, value) {
      show(value, false);
    }
  } else if (json_is_string(json)) {
    show_text(json, name);
  }
}

void shown_json(json_t *json) {
  show(json, false);
}
