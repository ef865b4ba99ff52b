/*
 * Whose trace a request belongs to: the header `traceparent` of W3C Trace Context
 * (https://www.w3.org/TR/trace-context/, 3.2). Pure.
 */
#ifndef PGSEAL_COORDINATOR_TRACES_CONTEXT_H
#define PGSEAL_COORDINATOR_TRACES_CONTEXT_H

#include <stdbool.h>

enum { TRACE_ID_SIZE = 33, SPAN_ID_SIZE = 17, TRACEPARENT_SIZE = 56 };

typedef struct TraceContext {
  char trace_id[TRACE_ID_SIZE], span_id[SPAN_ID_SIZE]; /* lower-case hexadecimal digits */
  bool sampled;
} TraceContext;

/* False: it is none, and is to be ignored. One of a later version is read as far as this one knows it. */
bool trace_context_read(const char *header, TraceContext *out);
void trace_context_write(const TraceContext *context, char out[TRACEPARENT_SIZE]);

/* Of a checkpoint that is of no other trace: follows from its id alone, so that it is the same wherever it is made. */
void trace_id_of(const char *checkpoint_id, char out[TRACE_ID_SIZE]);
/* The same of a span, by what it is of: "" for the checkpoint's own. */
void span_id_of(const char *checkpoint_id, const char *what, char out[SPAN_ID_SIZE]);

#endif
