#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"
#include "coordinator/traces/context.h"

enum { IDEMPOTENCY_KEY_LIMIT = 200 };

static void free_json(json_t **json) {
  json_decref(*json);
}

/* ---- asking for one ---- */

typedef struct Wish {
  const char *database, *tag, *key;
  bool wait;
} Wish;

static Status read_wish(Request *request, const json_t *body, bool wait_by_default, Wish *wish, Error *err) {
  static const char *const known[] = {"database", "tag", "wait"};
  Status status = query_members(body, known, ARRAY_SIZE(known), err);
  if (status)
    return status;
  const json_t *wait = json_object_get(body, "wait");
  wish->database = json_string_value(json_object_get(body, "database"));
  wish->tag = json_string_value(json_object_get(body, "tag"));
  wish->wait = wait ? json_is_true(wait) : wait_by_default;
  wish->key = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Idempotency-Key");
  if (!wish->database || !wish->tag)
    return error_set(err, ERR_INVALID_ARGUMENT, "the body must have the strings \"database\" and \"tag\"");
  if (wait && !json_is_boolean(wait))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"wait\" must be true or false");
  if (wish->key && (!*wish->key || strlen(wish->key) > IDEMPOTENCY_KEY_LIMIT))
    return error_set(err, ERR_INVALID_ARGUMENT, "Idempotency-Key must have 1 to %d characters", IDEMPOTENCY_KEY_LIMIT);
  return STATUS_OK;
}

static enum MHD_Result accepted(Request *request, const Checkpoint *checkpoint) {
  CLEANUP_FREE char *location = memory_format("/api/v1/checkpoints/%s", checkpoint->id);
  return respond_json_location(request, MHD_HTTP_ACCEPTED, render_checkpoint(request->api, checkpoint, false),
                               location);
}

/* The answer to one that has ended: by its state, which alone decides. */
static enum MHD_Result answer(Request *request, const Checkpoint *checkpoint) {
  unsigned status = checkpoint->state == CHECKPOINT_SEALED    ? MHD_HTTP_OK
                    : checkpoint->state == CHECKPOINT_FAILED  ? MHD_HTTP_UNPROCESSABLE_CONTENT
                    : checkpoint->state == CHECKPOINT_ERRORED ? MHD_HTTP_SERVICE_UNAVAILABLE
                                                              : MHD_HTTP_CONFLICT;
  json_t *json = render_checkpoint(request->api, checkpoint, false);
  if (checkpoint->state != CHECKPOINT_SEALED && json_is_null(json_object_get(json, "error")))
    json_object_set_new(json, "error",
                        render_error(error_code(ERR_CANCELED), "the checkpoint was canceled",
                                     error_default_remedy(ERR_CANCELED), NULL));
  return respond_json(request, status, json);
}

/* Of which trace it is a part; one that is not valid is ignored, as W3C Trace Context wants it. */
static const char *read_traceparent(Request *request, char out[TRACEPARENT_SIZE]) {
  TraceContext context;
  if (!trace_context_read(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "traceparent"), &context))
    return NULL;
  trace_context_write(&context, out);
  return out;
}

static enum MHD_Result create(Request *request, bool wait_by_default) {
  CLEANUP(free_json) json_t *body = NULL;
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Wish wish = {0};
  char traceparent[TRACEPARENT_SIZE];
  Requester requester = scope_requester(request);
  requester.traceparent = read_traceparent(request, traceparent);
  bool joined = false;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = read_wish(request, body, wait_by_default, &wish, &err);
  if (!status)
    status = dispatch_request_checkpoint(request->api->dispatch, wish.database, wish.tag, &requester, wish.key,
                                         &checkpoint, &joined, &err);
  if (status)
    return respond_failure(request, &err);
  if (!wish.wait)
    return accepted(request, &checkpoint);
  if (checkpoint_state_final(checkpoint.state))
    return answer(request, &checkpoint);
  request->waiting_for = memory_strdup(checkpoint.id);
  request->answer = checkpoint_answer;
  request->phase = PHASE_WAITING;
  request_suspend(request);
  return MHD_YES;
}

enum MHD_Result checkpoint_create_waiting(Request *request) {
  return create(request, true);
}

enum MHD_Result checkpoint_create(Request *request) {
  return create(request, false);
}

enum MHD_Result checkpoint_answer(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error err;
  if (!auth_still_good(request->api, request->token_hash, request->session_hash, true)) {
    error_set(&err, ERR_UNAUTHORIZED, "the token was revoked while the request waited; the checkpoint goes on");
    return respond_error(request, respond_status(err.status), &err, request->waiting_for);
  }
  Status status = ledger_checkpoint_get(request->api->ledger, request->waiting_for, &checkpoint, &err);
  if (!status && checkpoint_state_final(checkpoint.state))
    return answer(request, &checkpoint);
  if (!status) {
    status = error_set(&err, ERR_UNAVAILABLE, "the coordinator is stopping; the checkpoint goes on");
    error_remedy(&err, "Ask again with the same Idempotency-Key, or look at it with `pgseal show %s`.",
                 request->waiting_for);
  }
  return respond_error(request, respond_status(status), &err, request->waiting_for);
}

/* ---- looking ---- */

enum MHD_Result checkpoint_list(Request *request) {
  Checkpoint *items = NULL;
  size_t count = 0;
  int64_t limit = 0;
  Error err;
  CheckpointState state;
  CheckpointFilter filter = {.database = query_text(request, "database"),
                             .tag = query_text(request, "tag"),
                             .state = query_text(request, "state"),
                             .before_id = query_text(request, "before"),
                             .scope = request->scope.text};
  Status status = query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err);
  if (!status && filter.state && !checkpoint_state_from_name(filter.state, &state))
    status = error_set(&err, ERR_INVALID_ARGUMENT, "there is no state \"%s\"", filter.state);
  filter.limit = (int)limit;
  if (!status)
    status = ledger_checkpoint_list(request->api->ledger, &filter, &items, &count, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render_checkpoint(request->api, &items[i], false));
  checkpoint_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "checkpoints", list));
}

static Status find(Request *request, Checkpoint *checkpoint, Error *err) {
  return ledger_checkpoint_find(request->api->ledger, query_text(request, "database"), request->arg,
                                request->scope.text, checkpoint, err);
}

enum MHD_Result checkpoint_show(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error err;
  if (find(request, &checkpoint, &err) != STATUS_OK)
    return respond_failure(request, &err);
  return respond_json(request, MHD_HTTP_OK, render_checkpoint(request->api, &checkpoint, true));
}

enum MHD_Result checkpoint_drill(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  CLEANUP_FREE char *drill = NULL;
  const Requester requester = scope_requester(request);
  Error err;
  Status status = find(request, &checkpoint, &err);
  if (!status)
    status = dispatch_request_drill(request->api->dispatch, checkpoint.id, &requester, &drill, &err);
  if (status)
    return respond_failure(request, &err);
  return respond_json(request, MHD_HTTP_ACCEPTED,
                      json_pack("{s:b, s:s, s:s}", "ok", 1, "id", checkpoint.id, "drill_id", drill));
}

enum MHD_Result checkpoint_cancel(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  CLEANUP(checkpoint_release) Checkpoint after = {0};
  const Requester requester = scope_requester(request);
  Error err;
  Status status = find(request, &checkpoint, &err);
  if (!status)
    status = dispatch_cancel(request->api->dispatch, checkpoint.id, &requester, &err);
  if (!status)
    status = ledger_checkpoint_get(request->api->ledger, checkpoint.id, &after, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_ACCEPTED, render_checkpoint(request->api, &after, false));
}
