/* What comes from outside to traces: a request's traceparent, and what their receiver answers. Any text is taken for
 * what it is, or for nothing. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/traces/context.h"
#include "coordinator/traces/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_context(const char *text) {
  TraceContext context, same;
  char again[TRACEPARENT_SIZE];
  if (!trace_context_read(text, &context))
    return;
  trace_context_write(&context, again);
  if (strlen(again) != TRACEPARENT_SIZE - 1 || !trace_context_read(again, &same) ||
      strcmp(same.trace_id, context.trace_id) != 0 || strcmp(same.span_id, context.span_id) != 0 ||
      same.sampled != context.sampled || strspn(context.trace_id, "0123456789abcdef") != TRACE_ID_SIZE - 1)
    abort();
}

static void try_answer(const uint8_t *data, size_t size) {
  char why[OTLP_MESSAGE_SIZE];
  if (otlp_rejected(data, size, why) < 0 || strlen(why) >= sizeof why || strpbrk(why, "\n\r\033"))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (!text)
    return 0;
  memcpy(text, data, size);
  text[size] = 0;
  try_context(text);
  try_answer(data, size);
  free(text);
  return 0;
}
