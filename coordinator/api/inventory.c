/* What the repository holds of a database: looked at, or put into a ledger that does not know it. */
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

static void free_json(json_t **json) {
  json_decref(*json);
}

static Status read_body(Request *request, bool *rebuild, Error *err) {
  static const char *const known[] = {"rebuild"};
  CLEANUP(free_json) json_t *body = NULL;
  *rebuild = false;
  if (request->body.size == 0)
    return STATUS_OK;
  Status status = query_body(request, &body, err);
  if (!status)
    status = query_members(body, known, ARRAY_SIZE(known), err);
  const json_t *given = json_object_get(body, "rebuild");
  if (status || !given)
    return status;
  *rebuild = json_is_true(given);
  return json_is_boolean(given) ? STATUS_OK : error_set(err, ERR_INVALID_ARGUMENT, "\"rebuild\" must be true or false");
}

enum MHD_Result inventory_create(Request *request) {
  const Requester requester = scope_requester(request);
  CLEANUP_FREE char *job_id = NULL;
  bool rebuild = false;
  Error err;
  Status status = read_body(request, &rebuild, &err);
  if (!status)
    status = dispatch_request_inventory(request->api->dispatch, request->arg, rebuild, &requester, &job_id, &err);
  if (status)
    return respond_failure(request, &err);
  CLEANUP_FREE char *location = memory_format("/api/v1/jobs/%s", job_id);
  return respond_json_location(request, MHD_HTTP_ACCEPTED, json_pack("{s:b, s:s}", "ok", 1, "job", job_id), location);
}
