#include "common/base/json_clean.h"

#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

void json_clean(json_t *json) {
  const char *key;
  json_t *value;
  size_t index;
  if (json_is_object(json)) {
    json_object_foreach(json, key, value) {
      json_clean(value);
    }
  } else if (json_is_array(json)) {
    json_array_foreach(json, index, value) {
      json_clean(value);
    }
  } else if (json_is_string(json)) {
    CLEANUP(buffer_release) Buffer clean = {0};
    for (const char *line = json_string_value(json); line;) { /* line by line: line breaks may stay */
      size_t length = strcspn(line, "\n");
      CLEANUP_FREE char *raw = memory_strndup(line, length);
      CLEANUP_FREE char *text = memory_alloc(length + 1);
      buffer_append_text(&clean, text_clean(raw, text, length + 1));
      line = line[length] ? line + length + 1 : NULL;
      if (line)
        buffer_append_byte(&clean, '\n');
    }
    json_string_set(json, buffer_text(&clean));
  }
}
