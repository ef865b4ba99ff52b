/* How a disposable cluster ended, told from its log. */
#include <string.h>

#include "agent/engine/backend.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

void engine_log_tail(const char *log, size_t size, char out[ENGINE_LOG_TAIL]) {
  size_t keep = ENGINE_LOG_TAIL - 1;
  *out = '\0';
  if (size == 0)
    return;
  const char *start = size > keep ? log + size - keep : log;
  CLEANUP_FREE char *copy = memory_strndup(start, size > keep ? keep : size);
  for (char *c = copy; *c; c++)
    if (*c == '\n')
      *c = c[1] ? ' ' : '\0';
  text_clean(copy, out, ENGINE_LOG_TAIL);
}

/* Where the line begins that says why it ended; 0 if none is known to. */
static size_t engine_log_cause(const char *log, size_t size) {
  static const char *const signs[] = {"PANIC: ", "terminated by signal", "FATAL: "};
  for (size_t i = 0; i < ARRAY_SIZE(signs) && size > 0; i++) {
    const char *found = memmem(log, size, signs[i], strlen(signs[i]));
    const char *line = found ? memrchr(log, '\n', (size_t)(found - log)) : NULL;
    if (found)
      return line ? (size_t)(line + 1 - log) : 0;
  }
  return 0;
}

Status engine_lost(Error *err, const char *what, bool out_of_memory, const char *log, size_t size) {
  static const char *const signs[] = {"terminated by signal 9", "Cannot allocate memory", "out of memory"};
  for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
    out_of_memory = out_of_memory || (size > 0 && memmem(log, size, signs[i], strlen(signs[i])));
  char tail[ENGINE_LOG_TAIL];
  size_t from = engine_log_cause(log, size);
  engine_log_tail(from ? log + from : log, size - from, tail);
  error_set(err, ERR_CLUSTER_LOST, "the disposable PostgreSQL %s%s%s%s", what,
            out_of_memory ? ", it ran out of memory" : "", *tail ? "; its log ends: " : "", tail);
  if (out_of_memory)
    error_remedy(err, "Raise `drill.memory_mb`, or drill on a larger agent.");
  return err->status;
}
