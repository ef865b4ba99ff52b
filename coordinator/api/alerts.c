/* Alerts: what fires, by which routes it is told, and whether those work. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

void api_show_alerts(Api *api, Alerts *alerts) {
  api->alerts = alerts;
}

static void free_json(json_t **json) {
  json_decref(*json);
}

static Status ready(const Api *api, Error *err) {
  return api->alerts ? STATUS_OK : error_set(err, ERR_UNAVAILABLE, "this coordinator has no alerts");
}

static Status ask_over(Request *request, bool *over, Error *err) {
  const char *state = query_text(request, "state");
  *over = state && strcmp(state, "all") == 0;
  if (state && !*over && strcmp(state, "open") != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "state is 'open' or 'all'");
  return STATUS_OK;
}

enum MHD_Result alert_list(Request *request) {
  json_t *json = NULL;
  bool over = false;
  Error err;
  Status status = ask_over(request, &over, &err);
  if (!status)
    status = ready(request->api, &err);
  if (!status)
    status = alerts_show(request->api->alerts, request->scope.text, over, &json, &err);
  return status ? respond_failure(request, &err) : respond_json(request, MHD_HTTP_OK, json);
}

enum MHD_Result alert_test(Request *request) {
  static const char *const known[] = {"route"};
  CLEANUP(free_json) json_t *body = NULL;
  CLEANUP_FREE char *id = NULL;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = query_members(body, known, ARRAY_SIZE(known), &err);
  const char *route = json_string_value(json_object_get(body, "route"));
  if (!status && !route)
    status = error_set(&err, ERR_INVALID_ARGUMENT, "\"route\" must be the name of a route");
  if (!status)
    status = ready(request->api, &err);
  if (!status)
    status = alerts_test(request->api->alerts, route, request->actor, &id, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_ACCEPTED, json_pack("{s:b, s:s}", "ok", 1, "id", id));
}

enum MHD_Result notification_show(Request *request) {
  json_t *json = NULL;
  Error err;
  Status status = ready(request->api, &err);
  if (!status)
    status = alerts_notification(request->api->alerts, request->arg, &json, &err);
  return status ? respond_failure(request, &err) : respond_json(request, MHD_HTTP_OK, json);
}

/* ---- silences ---- */

static Status read_wish(const json_t *body, bool acknowledge, SilenceWish *out, Error *err) {
  static const char *const all[] = {"key", "reason", "database", "condition", "seconds"};
  Status status = query_members(body, all, acknowledge ? 2 : ARRAY_SIZE(all), err);
  size_t texts = acknowledge ? 2 : 4;
  for (size_t i = 0; status == STATUS_OK && i < texts; i++)
    if (json_object_get(body, all[i]) && !json_string_value(json_object_get(body, all[i])))
      status = error_set(err, ERR_INVALID_ARGUMENT, "\"%s\" must be a text", all[i]);
  const json_t *seconds = json_object_get(body, "seconds");
  if (status == STATUS_OK && !acknowledge && !json_is_integer(seconds))
    status = error_set(err, ERR_INVALID_ARGUMENT, "\"seconds\" must be a number of seconds");
  *out = (SilenceWish){.key = json_string_value(json_object_get(body, "key")),
                       .reason = json_string_value(json_object_get(body, "reason")),
                       .database = json_string_value(json_object_get(body, "database")),
                       .condition = json_string_value(json_object_get(body, "condition")),
                       .seconds = json_integer_value(seconds),
                       .acknowledge = acknowledge};
  return status;
}

static enum MHD_Result silence(Request *request, bool acknowledge) {
  CLEANUP(free_json) json_t *body = NULL;
  const Requester who = scope_requester(request);
  SilenceWish wish;
  json_t *json = NULL;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = read_wish(body, acknowledge, &wish, &err);
  if (!status)
    status = ready(request->api, &err);
  if (!status)
    status = alerts_silence(request->api->alerts, &wish, &who, &json, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_CREATED, json_pack("{s:b, s:o}", "ok", 1, "silence", json));
}

enum MHD_Result alert_acknowledge(Request *request) {
  return silence(request, true);
}

enum MHD_Result silence_create(Request *request) {
  return silence(request, false);
}

enum MHD_Result silence_end(Request *request) {
  const Requester who = scope_requester(request);
  Error err;
  Status status = ready(request->api, &err);
  if (!status)
    status = alerts_silence_end(request->api->alerts, request->arg, &who, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:s}", "ok", 1, "id", request->arg));
}

enum MHD_Result silence_list(Request *request) {
  const Requester who = scope_requester(request);
  json_t *json = NULL;
  bool all = false;
  Error err;
  Status status = ask_over(request, &all, &err);
  if (!status)
    status = ready(request->api, &err);
  if (!status)
    status = alerts_silences(request->api->alerts, all, &who, &json, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "silences", json));
}
