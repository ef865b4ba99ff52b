/* Holding back: agents drained, databases cordoned, the fleet paused. */
#include <string.h>

#include "common/base/cleanup.h"
#include "coordinator/api/internal.h"

static void free_json(json_t **json) {
  json_decref(*json);
}

static json_t *render_hold(const LedgerHold *hold) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "what", render_text(hold->what), "name", render_text(hold->name),
                   "since", render_time(hold->since_us), "by", render_text(hold->actor), "reason",
                   render_text(hold->reason));
}

json_t *render_held(Api *api, HoldWhat what, const char *name) {
  const LedgerHold *hold = dispatch_held(api->dispatch, what, name);
  return hold ? render_hold(hold) : json_null();
}

static enum MHD_Result hold(Request *request, HoldWhat what, const char *name, bool on) {
  CLEANUP(free_json) json_t *body = NULL;
  const Requester requester = scope_requester(request);
  const char *reason = NULL;
  Error err;
  Status status = query_reason(request, &body, &reason, &err);
  if (!status)
    status = dispatch_hold(request->api->dispatch, what, name, on, reason, &requester, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_OK,
                               json_pack("{s:b, s:o}", "ok", 1, "hold", render_held(request->api, what, name)));
}

enum MHD_Result agent_drain(Request *request) {
  return hold(request, HOLD_AGENT, request->arg, true);
}

enum MHD_Result agent_undrain(Request *request) {
  return hold(request, HOLD_AGENT, request->arg, false);
}

enum MHD_Result database_cordon(Request *request) {
  return hold(request, HOLD_DATABASE, request->arg, true);
}

enum MHD_Result database_uncordon(Request *request) {
  return hold(request, HOLD_DATABASE, request->arg, false);
}

enum MHD_Result fleet_pause(Request *request) {
  return hold(request, HOLD_FLEET, "", true);
}

enum MHD_Result fleet_resume(Request *request) {
  return hold(request, HOLD_FLEET, "", false);
}

/* Whether the fleet is paused concerns everybody; other databases are none of a token's business. */
static bool is_seen(const Request *request, const LedgerHold *hold) {
  return strcmp(hold->what, "database") != 0 || scope_sees(&request->scope, hold->name);
}

enum MHD_Result hold_list(Request *request) {
  LedgerHold *items = NULL;
  size_t count = 0;
  Error err;
  if (ledger_hold_list(request->api->ledger, &items, &count, &err) != STATUS_OK)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    if (is_seen(request, &items[i]))
      json_array_append_new(list, render_hold(&items[i]));
  ledger_hold_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "holds", list));
}
