#include "common/base/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { LOG_CONTEXT_LIMIT = 8, LOG_VALUE_LIMIT = 8192, LOG_PAIR_LIMIT = 32 };

typedef struct LogPair {
  const char *key, *value;
} LogPair;

/* Set before threads start, read-only afterwards. */
static struct {
  const char *program;
  LogLevel level;
  LogFormat format;
  struct {
    char key[32], value[256];
  } context[LOG_CONTEXT_LIMIT];
  size_t context_count;
} log_settings = {.program = "pgseal", .level = LOG_LEVEL_INFO};

static const char *const log_level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_ERROR] = "error"};

void log_init(const char *program, LogLevel level, LogFormat format) {
  log_settings.program = program;
  log_settings.level = level;
  log_settings.format = format;
}

bool log_level_from_name(const char *name, LogLevel *level) {
  for (size_t i = 0; i < ARRAY_SIZE(log_level_names); i++)
    if (strcmp(name, log_level_names[i]) == 0) {
      *level = (LogLevel)i;
      return true;
    }
  return false;
}

void log_context(const char *key, const char *value) {
  size_t i = 0;
  while (i < log_settings.context_count && strcmp(log_settings.context[i].key, key) != 0)
    i++;
  if (i == LOG_CONTEXT_LIMIT)
    return;
  text_clean(key, log_settings.context[i].key, sizeof log_settings.context[i].key);
  text_clean(value, log_settings.context[i].value, sizeof log_settings.context[i].value);
  if (i == log_settings.context_count)
    log_settings.context_count++;
}

static void log_append_text(Buffer *line, const char *key, const char *value) {
  buffer_append_format(line, " %s=", key);
  bool plain = *value != '\0';
  size_t used = 0;
  for (const char *p = value; *p && plain; p++)
    plain = (unsigned char)*p > ' ' && (unsigned char)*p < 0x7f && !strchr("\"=\\", *p);
  if (plain) {
    buffer_append(line, value, strnlen(value, LOG_VALUE_LIMIT));
    return;
  }
  buffer_append_byte(line, '"');
  while (used < LOG_VALUE_LIMIT && value[used]) {
    char shown[TEXT_SHOWN_SIZE];
    if (value[used] == '"' || value[used] == '\\')
      buffer_append_byte(line, '\\');
    used += text_show_character(value + used, shown);
    buffer_append_text(line, shown);
  }
  buffer_append_byte(line, '"');
}

static void log_compose_text(Buffer *line, LogLevel level, const char *time, const LogPair *pairs, size_t count) {
  buffer_append_format(line, "%s %-5s %s", time, log_level_names[level], log_settings.program);
  for (size_t i = 0; i < count; i++)
    log_append_text(line, pairs[i].key, pairs[i].value);
}

static void log_compose_json(Buffer *line, LogLevel level, const char *time, const LogPair *pairs, size_t count) {
  json_t *object = json_object();
  json_object_set_new(object, "time", json_string(time));
  json_object_set_new(object, "level", json_string(log_level_names[level]));
  json_object_set_new(object, "program", json_string(log_settings.program));
  for (size_t i = 0; i < count; i++) {
    CLEANUP_FREE char *shown = memory_alloc(LOG_VALUE_LIMIT + 1); /* JSON lets most control characters be */
    json_object_set_new(object, pairs[i].key, json_string(text_show(pairs[i].value, shown, LOG_VALUE_LIMIT + 1)));
  }
  CLEANUP_FREE char *text = json_dumps(object, JSON_COMPACT);
  buffer_append_text(line, text ? text : "{}");
  json_decref(object);
}

void log_write(LogLevel level, const char *message, ...) {
  if (level < log_settings.level)
    return;
  LogPair pairs[LOG_PAIR_LIMIT];
  size_t count = 0;
  pairs[count++] = (LogPair){"msg", message};
  va_list args;
  va_start(args, message);
  const char *key;
  while (count < LOG_PAIR_LIMIT - LOG_CONTEXT_LIMIT && (key = va_arg(args, const char *))) {
    const char *value = va_arg(args, const char *);
    pairs[count++] = (LogPair){key, value ? value : ""};
  }
  va_end(args);
  for (size_t i = 0; i < log_settings.context_count; i++)
    pairs[count++] = (LogPair){log_settings.context[i].key, log_settings.context[i].value};

  char time[CLOCK_TEXT_SIZE];
  clock_format(clock_wall_us(), time);
  CLEANUP(buffer_release) Buffer line = {0};
  if (log_settings.format == LOG_FORMAT_JSON)
    log_compose_json(&line, level, time, pairs, count);
  else
    log_compose_text(&line, level, time, pairs, count);
  buffer_append_byte(&line, '\n');
  Error ignored;
  flockfile(stderr); /* lines of several threads stay whole */
  Status status = file_write_all(STDERR_FILENO, line.data, line.size, &ignored);
  funlockfile(stderr);
  (void)status; /* stderr is gone: there is nowhere left to say so */
}

void log_failure(LogLevel level, const char *message, const Error *err) {
  if (err->object[0])
    log_write(level, message, "code", error_code(err->status), "error", err->message, "object", err->object, "remedy",
              err->remedy, (char *)NULL);
  else
    log_write(level, message, "code", error_code(err->status), "error", err->message, "remedy", err->remedy,
              (char *)NULL);
}
