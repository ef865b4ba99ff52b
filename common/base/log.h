/*
 * Log lines on stderr: key=value or JSON, one line each, whatever the values hold.
 * The level and format are the only mutable globals of the code base. Any thread may log.
 *
 *   log_info("job leased", "job", job->id, "agent", agent->name, NULL);
 *
 * Keys are literals; every value is a NUL-terminated string; the list ends with NULL. Never pass a
 * secret: conninfo strings, tokens, keys and passwords are not loggable values.
 */
#ifndef PGSEAL_COMMON_BASE_LOG_H
#define PGSEAL_COMMON_BASE_LOG_H

#include "common/base/error.h"

typedef enum LogLevel { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR } LogLevel;
typedef enum LogFormat { LOG_FORMAT_TEXT, LOG_FORMAT_JSON } LogFormat;

/* program: literal shown on each line, e.g. "coordinator". Call once, before threads start. */
void log_init(const char *program, LogLevel level, LogFormat format);
bool log_level_from_name(const char *name, LogLevel *level);

/* Key=value pairs added to every later line of this process (a job child sets job and checkpoint).
 * Up to 8; values are copied. Call before threads start. */
void log_context(const char *key, const char *value);

void log_write(LogLevel level, const char *message, ...) __attribute__((sentinel));
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Logs *err (code, message, remedy, object) under `message`. */
void log_failure(LogLevel level, const char *message, const Error *err);

#endif
