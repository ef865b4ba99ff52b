/* What is kept of a database's checkpoints, and why; pins; and that what is not kept goes. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"
#include "coordinator/retention/retention.h"

static void free_json(json_t **json) {
  json_decref(*json);
}

/* ---- bodies ---- */

Status query_reason(Request *request, json_t **body, const char **reason, Error *err) {
  static const char *const known[] = {"reason"};
  *reason = NULL;
  if (request->body.size == 0)
    return STATUS_OK;
  Status status = query_body(request, body, err);
  if (!status)
    status = query_members(*body, known, ARRAY_SIZE(known), err);
  const json_t *given = json_object_get(*body, "reason");
  if (status || !given || json_is_null(given))
    return status;
  *reason = json_string_value(given);
  if (*reason && text_tag_valid(*reason))
    return STATUS_OK;
  return error_set(err, ERR_INVALID_ARGUMENT, "\"reason\" must be 1 to 128 bytes of printable text");
}

/* ---- pins ---- */

static enum MHD_Result pin(Request *request, bool wanted) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  CLEANUP(checkpoint_release) Checkpoint after = {0};
  CLEANUP(free_json) json_t *body = NULL;
  const Requester requester = scope_requester(request);
  const char *reason = NULL;
  Error err;
  Status status = query_reason(request, &body, &reason, &err);
  if (!status)
    status = ledger_checkpoint_find(request->api->ledger, query_text(request, "database"), request->arg,
                                    request->scope.text, &checkpoint, &err);
  if (!status)
    status = dispatch_pin(request->api->dispatch, checkpoint.id, wanted, reason, &requester, &err);
  if (!status)
    status = ledger_checkpoint_get(request->api->ledger, checkpoint.id, &after, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_OK, render_checkpoint(request->api, &after, false));
}

enum MHD_Result checkpoint_pin(Request *request) {
  return pin(request, true);
}

enum MHD_Result checkpoint_unpin(Request *request) {
  return pin(request, false);
}

/* ---- what is kept ---- */

/* What the token may not see does not exist. */
static Status find(const Request *request, const FleetDatabase **out, Error *err) {
  *out = scope_sees(&request->scope, request->arg)
             ? fleet_database(dispatch_fleet(request->api->dispatch), request->arg)
             : NULL;
  if (*out)
    return STATUS_OK;
  error_set(err, ERR_NOT_FOUND, "there is no database %s", request->arg);
  error_object(err, "%s", request->arg);
  return ERR_NOT_FOUND;
}

static json_t *render_policy(const FleetDatabase *database) {
  const RetentionPolicy *policy = &database->policy.retention;
  if (!database->policy.retains)
    return json_null();
  json_t *tags = json_array();
  for (size_t i = 0; i < policy->tag_count; i++)
    json_array_append_new(
        tags, json_pack("{s:s, s:i}", "match", policy->tags[i].match, "keep_days", policy->tags[i].keep_days));
  return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:i}", "last", policy->last, "hourly", policy->hourly, "daily",
                   policy->daily, "weekly", policy->weekly, "monthly", policy->monthly, "yearly", policy->yearly,
                   "tags", tags, "grace_hours", policy->grace_hours);
}

static json_t *render_rules(unsigned rules) {
  json_t *list = json_array();
  for (unsigned bit = 1; bit <= rules; bit <<= 1)
    if (rules & bit)
      json_array_append_new(list, render_text(retention_rule_name((RetentionRule)bit)));
  return list;
}

static json_t *render_kept(const RetentionView *view, size_t index, RetentionAction action) {
  const Checkpoint *c = &view->items[index];
  const char *fate = c->pruned_us ? "pruned" : c->pruning_us ? "pruning" : view->rules[index] == 0 ? "prune" : "keep";
  const json_t *pinned = json_object_get(c->detail, "pin");
  return json_pack("{s:s, s:o, s:s, s:o, s:o, s:I, s:s, s:o, s:b, s:o, s:o, s:o}", "id", c->id, "tag",
                   render_text(c->tag), "state", checkpoint_state_name(c->state), "created_at",
                   render_time(c->created_us), "finished_at", render_time(c->finished_us), "size_bytes",
                   (json_int_t)c->size_bytes, "fate", fate, "rules", render_rules(view->rules[index]), "lost_attempts",
                   action == RETENTION_ATTEMPTS, "locked_until", render_time(c->locked_until_us), "pinned_at",
                   render_time(c->pinned_us), "pin", pinned ? json_incref((json_t *)pinned) : json_null());
}

static enum MHD_Result show(Request *request, unsigned http, json_t *marked) {
  CLEANUP(free_json) json_t *more = marked;
  const FleetDatabase *database = NULL;
  RetentionView view = {0};
  Api *api = request->api;
  Error err;
  Status status = find(request, &database, &err);
  if (!status)
    status = retention_look(api->dispatch, api->ledger, request->arg, &view, &err);
  if (status)
    return respond_failure(request, &err);
  const RetentionPolicy *policy = database->policy.retains ? &database->policy.retention : NULL;
  json_t *list = json_array();
  for (size_t i = 0; i < view.count; i++)
    json_array_append_new(list, render_kept(&view, i, retention_action(&view, i, policy, clock_wall_us())));
  retention_view_release(&view);
  json_t *json =
      json_pack("{s:s, s:o, s:b, s:o}", "database", request->arg, "policy", render_policy(database), "prune_agent",
                dispatch_has_taker(api->dispatch, LEDGER_JOB_PRUNE, request->arg), "checkpoints", list);
  if (more)
    json_object_update(json, more);
  return respond_json(request, http, json);
}

enum MHD_Result retention_show(Request *request) {
  return show(request, MHD_HTTP_OK, NULL);
}

enum MHD_Result retention_create(Request *request) {
  const FleetDatabase *database = NULL;
  const Requester requester = scope_requester(request);
  size_t marked = 0;
  Error err;
  Status status = find(request, &database, &err);
  if (!status)
    status = retention_prune(request->api->dispatch, request->api->ledger, request->arg, &requester, &marked, &err);
  return status ? respond_failure(request, &err)
                : show(request, MHD_HTTP_ACCEPTED, json_pack("{s:b, s:I}", "ok", 1, "marked", (json_int_t)marked));
}
