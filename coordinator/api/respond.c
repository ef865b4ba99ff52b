#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/base/memory.h"
#include "coordinator/api/internal.h"

unsigned respond_status(Status status) {
  switch (status) {
  case STATUS_OK:
    return MHD_HTTP_OK;
  case ERR_INVALID_ARGUMENT:
  case ERR_CONFIG:
    return MHD_HTTP_BAD_REQUEST;
  case ERR_UNAUTHORIZED:
    return MHD_HTTP_UNAUTHORIZED;
  case ERR_FORBIDDEN:
    return MHD_HTTP_FORBIDDEN;
  case ERR_NOT_FOUND:
    return MHD_HTTP_NOT_FOUND;
  case ERR_CONFLICT:
  case ERR_CONFIRMATION_NEEDED:
    return MHD_HTTP_CONFLICT;
  case ERR_TOO_MANY:
    return MHD_HTTP_TOO_MANY_REQUESTS;
  case ERR_UNAVAILABLE:
  case ERR_DISK_FULL:
  case ERR_TIMEOUT:
    return MHD_HTTP_SERVICE_UNAVAILABLE;
  default:
    return MHD_HTTP_INTERNAL_SERVER_ERROR;
  }
}

enum { BUSY_SECONDS = 30 };

bool respond_takes_zstd(const Request *request) {
  const char *accepted = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Accept-Encoding");
  return accepted && strstr(accepted, "zstd");
}

/* What is large goes as zstd (RFC 8878) to who takes that, as browsers do: an overview of thousands of databases
 * shrinks to a tenth, in a few milliseconds. *data is replaced. */
static bool pack(Request *request, void **data, size_t *size) {
  if (*size < RESPOND_PACK_LEAST || !respond_takes_zstd(request))
    return false;
  size_t room = ZSTD_compressBound(*size);
  void *packed = memory_alloc(room);
  size_t used = ZSTD_compress(packed, room, *data, *size, RESPOND_PACK_LEVEL);
  if (ZSTD_isError(used)) {
    free(packed);
    return false;
  }
  free(*data);
  *data = packed;
  *size = used;
  return true;
}

/* Takes data. */
static enum MHD_Result send_data(Request *request, unsigned status, const char *type, void *data, size_t size,
                                 const char *location) {
  bool packed = pack(request, &data, &size);
  struct MHD_Response *response = MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE);
  if (!response) {
    free(data);
    return MHD_NO;
  }
  MHD_add_response_header(response, "Content-Type", type);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  MHD_add_response_header(response, "Vary", "Accept-Encoding");
  if (packed)
    MHD_add_response_header(response, "Content-Encoding", "zstd");
  if (location)
    MHD_add_response_header(response, "Location", location);
  if (request->retry_after) {
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", request->retry_after);
    MHD_add_response_header(response, "Retry-After", seconds);
  }
  if (request->allow[0])
    MHD_add_response_header(response, "Allow", request->allow);
  if (request->cookie)
    MHD_add_response_header(response, "Set-Cookie", request->cookie);
  if (status == MHD_HTTP_UNAUTHORIZED)
    MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"pgseal\"");
  enum MHD_Result result = MHD_queue_response(request->connection, status, response);
  MHD_destroy_response(response);
  request->phase = PHASE_ANSWERED;
  return result;
}

enum MHD_Result respond_json_location(Request *request, unsigned status, json_t *json, const char *location) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15)); /* 17 digits would show 2.8 as 2.7999... */
  json_decref(json);
  if (!text)
    return MHD_NO;
  size_t length = strlen(text);
  char *line = realloc(text, length + 2); /* curl on a terminal is glad of a newline */
  if (!line) {
    free(text);
    return MHD_NO;
  }
  line[length] = '\n';
  line[length + 1] = 0;
  return send_data(request, status, "application/json", line, length + 1, location);
}

enum MHD_Result respond_json(Request *request, unsigned status, json_t *json) {
  return respond_json_location(request, status, json, NULL);
}

enum MHD_Result respond_error(Request *request, unsigned status, const Error *err, const char *checkpoint_id) {
  json_t *json = json_pack("{s:b, s:o}", "ok", 0, "error",
                           render_error(error_code(err->status), err->message, err->remedy, err->object));
  if (checkpoint_id)
    json_object_set_new(json, "id", json_string(checkpoint_id));
  return respond_json(request, status, json);
}

enum MHD_Result respond_failure(Request *request, const Error *err) {
  if (err->status == ERR_TOO_MANY && !request->retry_after)
    request->retry_after = BUSY_SECONDS; /* a queue is full: how long a checkpoint takes, nobody knows */
  return respond_error(request, respond_status(err->status), err, NULL);
}

enum MHD_Result respond_text(Request *request, unsigned status, const char *type, const char *text) {
  char *copy = strdup(text);
  return copy ? send_data(request, status, type, copy, strlen(copy), NULL) : MHD_NO;
}

enum MHD_Result respond_bytes(Request *request, unsigned status, const char *type, const void *data, size_t size) {
  return send_data(request, status, type, memory_dup(data, size), size, NULL);
}
