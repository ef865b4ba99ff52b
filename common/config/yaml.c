#include "common/config/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

enum { CONFIG_FILE_LIMIT = 4 << 20 };

const cyaml_strval_t config_bool_words[CONFIG_BOOL_WORDS] = {{"true", true},   {"yes", true}, {"on", true},
                                                             {"false", false}, {"no", false}, {"off", false}};

/* libcyaml tells the reason and the place only by its log: the first message, then the backtrace, innermost first. */
typedef struct Complaint {
  char message[256];
  int line, column;
} Complaint;

static void complaint_log(cyaml_log_t level, void *user, const char *format, va_list args) {
  Complaint *complaint = user;
  char text[512];
  if (level < CYAML_LOG_ERROR)
    return;
  vsnprintf(text, sizeof text, format, args);
  text[strcspn(text, "\n")] = '\0';
  const char *place = strstr(text, "(line: ");
  if (place) {
    if (!complaint->line && sscanf(place, "(line: %d, column: %d)", &complaint->line, &complaint->column) != 2)
      complaint->line = 0;
  } else if (!complaint->message[0] && !strstr(text, "Backtrace")) {
    const char *start = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
    snprintf(complaint->message, sizeof complaint->message, "%.250s", start);
  }
}

/* It calls a boolean what it is to a schema. */
static void complaint_reword(Complaint *complaint) {
  static const char word[] = "Invalid ENUM value: ";
  char value[sizeof complaint->message];
  if (strncmp(complaint->message, word, sizeof word - 1) != 0)
    return;
  snprintf(value, sizeof value, "%.40s", complaint->message + sizeof word - 1);
  snprintf(complaint->message, sizeof complaint->message, "'%.40s' is neither true nor false (nor yes, no, on, off)",
           value);
}

/* Of a key that it does not know libcyaml tells the line of the field before. Moves the place on to the key itself. */
static void complaint_find_key(Complaint *complaint, const char *text) {
  static const char unknown[] = "Unexpected key: ";
  if (strncmp(complaint->message, unknown, sizeof unknown - 1) != 0)
    return;
  const char *key = complaint->message + sizeof unknown - 1, *at = text;
  size_t length = strlen(key);
  for (int line = 1; at && *at; line++) {
    const char *start = at + strspn(at, " -\t\"'{,"), *end = strchr(at, '\n');
    if (line >= complaint->line && strncmp(start, key, length) == 0 && strchr(" :\"'", start[length])) {
      complaint->line = line;
      complaint->column = (int)(start - at) + 1;
      return;
    }
    at = end ? end + 1 : NULL;
  }
}

/* The line of the first `key:` from a line on; 0 if there is none. */
static int find_key(const char *text, int from, const char *key) {
  size_t length = strlen(key);
  int line = 1;
  for (const char *at = text; at; line++) {
    const char *start = at + strspn(at, " -\t\"'{,"), *end = strchr(at, '\n');
    if (line >= from && strncmp(start, key, length) == 0 && start[length] && strchr(" :\"'", start[length]))
      return line;
    at = end ? end + 1 : NULL;
  }
  return 0;
}

Status config_error_at(Error *err, const char *path, const char *section, const char *key, const char *format, ...) {
  CLEANUP(buffer_release) Buffer text = {0};
  Error ignored;
  int line = 0;
  if (file_read(path, CONFIG_FILE_LIMIT, &text, &ignored) == STATUS_OK) {
    line = find_key(buffer_text(&text), 1, section);
    int inner = line && key ? find_key(buffer_text(&text), line + 1, key) : 0;
    line = inner ? inner : line;
  }
  va_list args;
  va_start(args, format);
  error_set_v(err, ERR_CONFIG, format, args);
  va_end(args);
  error_prefix(err, "%s%s%s", section, key ? "." : "", key ? key : "");
  if (!line) {
    error_object(err, "%s", path);
    return error_prefix(err, "%s", path);
  }
  error_object(err, "%s:%d", path, line);
  return error_prefix(err, "%s:%d", path, line);
}

static cyaml_config_t settings(Complaint *complaint) {
  return (cyaml_config_t){.log_fn = complaint_log,
                          .log_ctx = complaint,
                          .mem_fn = cyaml_mem,
                          .log_level = CYAML_LOG_ERROR,
                          .flags = CYAML_CFG_NO_ALIAS};
}

Status config_error(Error *err, const char *path, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_set_v(err, ERR_CONFIG, format, args);
  va_end(args);
  error_object(err, "%s", path);
  return error_prefix(err, "%s", path);
}

static Status parse(const char *name, Buffer *text, const cyaml_schema_value_t *schema, void **out, Error *err) {
  Complaint complaint = {0};
  cyaml_config_t yaml = settings(&complaint);
  cyaml_data_t *raw = NULL;
  buffer_append_byte(text, '\n'); /* libcyaml wants a pointer, also for an empty file */
  cyaml_err_t rc = cyaml_load_data(text->data, text->size, &yaml, schema, &raw, NULL);
  if (rc == CYAML_OK && raw) {
    *out = raw;
    return STATUS_OK;
  }
  const char *reason = rc == CYAML_OK         ? "the file is empty"
                       : complaint.message[0] ? complaint.message
                                              : cyaml_strerror(rc);
  buffer_append_byte(text, '\0');
  complaint_find_key(&complaint, (const char *)text->data);
  complaint_reword(&complaint);
  if (!complaint.line)
    return config_error(err, name, "%s", reason);
  error_set(err, ERR_CONFIG, "%s:%d:%d: %s", name, complaint.line, complaint.column, reason);
  error_object(err, "%s:%d", name, complaint.line);
  return ERR_CONFIG;
}

Status config_yaml_load(const char *path, const cyaml_schema_value_t *schema, void **out, Error *err) {
  CLEANUP(buffer_release) Buffer text = {0};
  Error cause;
  if (file_read(path, CONFIG_FILE_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "cannot read the configuration: %s", cause.message);
  return parse(path, &text, schema, out, err);
}

Status config_yaml_parse(const char *name, const char *text, size_t size, const cyaml_schema_value_t *schema,
                         void **out, Error *err) {
  CLEANUP(buffer_release) Buffer copy = {0};
  buffer_append(&copy, text, size);
  return parse(name, &copy, schema, out, err);
}

void config_yaml_free(const cyaml_schema_value_t *schema, void *data) {
  Complaint ignored = {0};
  cyaml_config_t yaml = settings(&ignored);
  if (data)
    cyaml_free(&yaml, schema, data, 0);
}

char *config_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  char *given = slash ? memory_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : memory_strdup(".");
  char *absolute = realpath(given, NULL);
  if (!absolute)
    return given; /* the file cannot be there either, which loading it tells */
  free(given);
  return absolute;
}

char *config_resolve(const char *directory, const char *path) {
  return path[0] == '/' ? memory_strdup(path) : memory_format("%s/%s", directory, path);
}
