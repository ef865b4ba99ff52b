#include "coordinator/traces/context.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"

enum { VERSION = 0, TRACE = 3, SPAN = 36, FLAGS = 53, LENGTH = 55, SAMPLED = 1 };

static bool is_hex(const char *text, size_t count) {
  return strspn(text, "0123456789abcdef") >= count;
}

static bool is_zero(const char *text, size_t count) {
  return strspn(text, "0") >= count;
}

bool trace_context_read(const char *header, TraceContext *out) {
  unsigned flags;
  if (!header || strnlen(header, LENGTH) < LENGTH)
    return false;
  bool first = strncmp(header, "00", 2) == 0;
  if (header[LENGTH] && (first || header[LENGTH] != '-'))
    return false;
  if (!is_hex(header, 2) || header[TRACE - 1] != '-' || !is_hex(header + TRACE, TRACE_ID_SIZE - 1) ||
      header[SPAN - 1] != '-' || !is_hex(header + SPAN, SPAN_ID_SIZE - 1) || header[FLAGS - 1] != '-' ||
      !is_hex(header + FLAGS, 2))
    return false;
  if (strncmp(header, "ff", 2) == 0 || is_zero(header + TRACE, TRACE_ID_SIZE - 1) ||
      is_zero(header + SPAN, SPAN_ID_SIZE - 1))
    return false;
  snprintf(out->trace_id, sizeof out->trace_id, "%.*s", TRACE_ID_SIZE - 1, header + TRACE);
  snprintf(out->span_id, sizeof out->span_id, "%.*s", SPAN_ID_SIZE - 1, header + SPAN);
  out->sampled = sscanf(header + FLAGS, "%2x", &flags) == 1 && (flags & SAMPLED);
  return true;
}

void trace_context_write(const TraceContext *context, char out[TRACEPARENT_SIZE]) {
  snprintf(out, TRACEPARENT_SIZE, "00-%s-%s-%02x", context->trace_id, context->span_id,
           context->sampled ? (unsigned)SAMPLED : 0u);
}

/* The digest's first digits; all of them 0 would be no id. */
static void digest_id(const char *purpose, const char *of, const char *what, char *out, size_t size) {
  char hex[SHA256_HEX_SIZE];
  CLEANUP_FREE char *text = memory_format("%s\n%s\n%s", purpose, of, what);
  sha256_hex(text, strlen(text), hex);
  snprintf(out, size, "%.*s", (int)size - 1, hex);
  if (is_zero(out, size - 1))
    out[size - 2] = '1';
}

void trace_id_of(const char *checkpoint_id, char out[TRACE_ID_SIZE]) {
  digest_id("trace", checkpoint_id, "", out, TRACE_ID_SIZE);
}

void span_id_of(const char *checkpoint_id, const char *what, char out[SPAN_ID_SIZE]) {
  digest_id("span", checkpoint_id, what, out, SPAN_ID_SIZE);
}
