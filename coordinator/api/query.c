/* What a request asks: query parameters and JSON bodies. Hostile until checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "coordinator/api/internal.h"

const char *query_text(Request *request, const char *name) {
  const char *value = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
  return value && *value ? value : NULL;
}

bool query_digits(const char *text, int64_t *out) {
  char *end = NULL;
  errno = 0;
  int64_t value = strtoll(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno)
    return false;
  *out = value;
  return true;
}

Status query_number(Request *request, const char *name, int64_t fallback, int64_t low, int64_t high, int64_t *out,
                    Error *err) {
  const char *text = query_text(request, name);
  int64_t value = fallback;
  if (text && (!query_digits(text, &value) || value < low || value > high))
    return error_set(err, ERR_INVALID_ARGUMENT, "%s must be a number from %lld to %lld", name, (long long)low,
                     (long long)high);
  *out = value;
  return STATUS_OK;
}

Status query_members(const json_t *body, const char *const *known, size_t count, Error *err) {
  CLEANUP(buffer_release) Buffer list = {0};
  const char *member;
  json_t *value;
  json_object_foreach((json_t *)body, member, value) {
    bool found = false;
    for (size_t i = 0; i < count; i++)
      found |= strcmp(member, known[i]) == 0;
    if (found)
      continue;
    for (size_t i = 0; i < count; i++)
      buffer_append_format(&list, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " and ", known[i]);
    return error_set(err, ERR_INVALID_ARGUMENT, "unknown member \"%.64s\"; there are %s", member, buffer_text(&list));
  }
  return STATUS_OK;
}

Status query_body(Request *request, json_t **json, Error *err) {
  json_error_t where;
  if (request->body.size == 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "the request has no body; it must be a JSON object");
  json_t *parsed = json_loadb((const char *)request->body.data, request->body.size, JSON_REJECT_DUPLICATES, &where);
  if (!parsed)
    return error_set(err, ERR_INVALID_ARGUMENT, "the body is not JSON: line %d, column %d: %s", where.line,
                     where.column, where.text);
  if (!json_is_object(parsed)) {
    json_decref(parsed);
    return error_set(err, ERR_INVALID_ARGUMENT, "the body must be a JSON object");
  }
  *json = parsed;
  return STATUS_OK;
}
