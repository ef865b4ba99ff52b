/*
 * The OpenTelemetry Protocol's JSON (https://opentelemetry.io/docs/specs/otlp/, OTLP/HTTP 1.x; messages:
 * opentelemetry-proto, trace/v1 and collector/trace/v1): ids in hexadecimal digits, 64-bit integers as texts, names in
 * lowerCamelCase, enumerations as numbers. Pure.
 */
#ifndef PGSEAL_COORDINATOR_TRACES_OTLP_H
#define PGSEAL_COORDINATOR_TRACES_OTLP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OTLP_ANSWER_LIMIT = 64 << 10, OTLP_MESSAGE_SIZE = 200 };
typedef enum OtlpKind { OTLP_INTERNAL = 1, OTLP_SERVER = 2 } OtlpKind;

typedef struct OtlpSpan {
  const char *trace_id, *span_id, *parent_id; /* parent_id: or NULL */
  bool remote_parent;
  const char *name;
  OtlpKind kind;
  int64_t start_us, end_us; /* wall clock; one that would end before it starts ends there */
} OtlpSpan;
json_t *otlp_span(const OtlpSpan *span); /* new reference */
/* To a span, or to what otlp_event and otlp_link give. value: a text, an integer, a real or a boolean; stolen. NULL,
 * and null: there is no such attribute. */
void otlp_attribute(json_t *to, const char *key, json_t *value);
json_t *otlp_event(json_t *span, const char *name, int64_t at_us); /* borrowed */
json_t *otlp_link(json_t *span, const char *trace_id, const char *span_id);
void otlp_fine(json_t *span);                        /* its status is OK */
void otlp_failed(json_t *span, const char *message); /* or an error */

/* The body of an ExportTraceServiceRequest of the first `count` spans: a new text. instance: of the resource; or NULL.
 */
char *otlp_request(json_t *spans, size_t count, const char *service, const char *instance);
/* Of an ExportTraceServiceResponse: how many spans were not taken, and why ("": not said), as one line. */
int64_t otlp_rejected(const void *data, size_t size, char message[OTLP_MESSAGE_SIZE]);

#endif
