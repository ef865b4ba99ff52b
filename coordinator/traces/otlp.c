#include "coordinator/traces/otlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"

enum { STATUS_CODE_OK = 1, STATUS_CODE_ERROR = 2 };
/* Of a span's flags: sampled; whether its parent is somebody else's is known; it is. */
enum { FLAG_SAMPLED = 1, FLAG_REMOTE_KNOWN = 0x100, FLAG_REMOTE = 0x200 };

static json_t *nanoseconds(int64_t us) {
  char text[32];
  snprintf(text, sizeof text, "%lld000", (long long)(us > 0 ? us : 0));
  return json_string(us > 0 ? text : "0");
}

static json_t *any_value(json_t *value) {
  char text[32];
  json_t *any = json_object();
  if (json_is_integer(value)) {
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    json_object_set_new(any, "intValue", json_string(text));
  } else {
    json_object_set(any,
                    json_is_real(value)      ? "doubleValue"
                    : json_is_boolean(value) ? "boolValue"
                                             : "stringValue",
                    value);
  }
  return any;
}

void otlp_attribute(json_t *to, const char *key, json_t *value) {
  json_t *list = json_object_get(to, "attributes");
  if (!list) {
    list = json_array();
    json_object_set_new(to, "attributes", list);
  }
  if (value && !json_is_null(value))
    json_array_append_new(list, json_pack("{s:s, s:o}", "key", key, "value", any_value(value)));
  json_decref(value);
}

json_t *otlp_span(const OtlpSpan *span) {
  int64_t end_us = span->end_us > span->start_us ? span->end_us : span->start_us;
  json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:i}", "traceId", span->trace_id, "spanId", span->span_id,
                           "name", span->name, "kind", (int)span->kind, "startTimeUnixNano",
                           nanoseconds(span->start_us), "endTimeUnixNano", nanoseconds(end_us), "flags",
                           FLAG_SAMPLED | FLAG_REMOTE_KNOWN | (span->remote_parent ? FLAG_REMOTE : 0));
  if (span->parent_id)
    json_object_set_new(json, "parentSpanId", json_string(span->parent_id));
  return json;
}

static json_t *append(json_t *span, const char *list_name, json_t *item) {
  json_t *list = json_object_get(span, list_name);
  if (!list) {
    list = json_array();
    json_object_set_new(span, list_name, list);
  }
  json_array_append_new(list, item);
  return item;
}

json_t *otlp_event(json_t *span, const char *name, int64_t at_us) {
  return append(span, "events", json_pack("{s:o, s:s}", "timeUnixNano", nanoseconds(at_us), "name", name));
}

json_t *otlp_link(json_t *span, const char *trace_id, const char *span_id) {
  return append(span, "links", json_pack("{s:s, s:s}", "traceId", trace_id, "spanId", span_id));
}

void otlp_fine(json_t *span) {
  json_object_set_new(span, "status", json_pack("{s:i}", "code", STATUS_CODE_OK));
}

void otlp_failed(json_t *span, const char *message) {
  json_t *text = message ? json_string(message) : NULL;
  json_object_set_new(span, "status",
                      json_pack("{s:i, s:o}", "code", STATUS_CODE_ERROR, "message", text ? text : json_string("")));
}

char *otlp_request(json_t *spans, size_t count, const char *service, const char *instance) {
  json_t *resource = json_object(), *some = json_array();
  otlp_attribute(resource, "service.name", json_string(service));
  otlp_attribute(resource, "service.version", json_string(PGSEAL_VERSION));
  otlp_attribute(resource, "service.instance.id", instance ? json_string(instance) : NULL);
  for (size_t i = 0; i < count; i++)
    json_array_append(some, json_array_get(spans, i));
  json_t *json = json_pack("{s:[{s:o, s:[{s:{s:s, s:s}, s:o}]}]}", "resourceSpans", "resource", resource, "scopeSpans",
                           "scope", "name", "pgseal", "version", PGSEAL_VERSION, "spans", some);
  char *text = json_dumps(json, JSON_COMPACT);
  json_decref(json);
  return text ? text : memory_strdup("{}");
}

int64_t otlp_rejected(const void *data, size_t size, char message[OTLP_MESSAGE_SIZE]) {
  json_t *json = json_loadb(data, size, 0, NULL);
  const json_t *partial = json_object_get(json, "partialSuccess");
  const json_t *rejected = json_object_get(partial, "rejectedSpans");
  const char *why = json_string_value(json_object_get(partial, "errorMessage"));
  int64_t count =
      json_is_string(rejected) ? strtoll(json_string_value(rejected), NULL, 10) : json_integer_value(rejected);
  text_clean(why ? why : "", message, OTLP_MESSAGE_SIZE);
  json_decref(json);
  return count > 0 ? count : 0;
}
