/* Reports: they are made in a thread, and whoever asked waits for it. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/report/report.h"
#include "coordinator/api/internal.h"

static Status read_wish(Request *request, ReportWish *wish, Error *err) {
  const char *from = query_text(request, "from"), *to = query_text(request, "to");
  *wish = (ReportWish){.database = query_text(request, "database"),
                       .owner = query_text(request, "owner"),
                       .environment = query_text(request, "environment"),
                       .scope = request->scope.text,
                       .sees = scope_sees,
                       .user = &request->scope};
  if (!from || !to)
    return error_set(err, ERR_INVALID_ARGUMENT, "from and to must be given, such as from=2026-10-01&to=2026-11-01");
  Status status = report_wish_check(wish, err);
  if (!status)
    status = report_time_parse(from, &wish->from_us, err);
  if (!status)
    status = report_time_parse(to, &wish->to_us, err);
  return status ? status : report_period_check(wish->from_us, wish->to_us, clock_wall_us(), err);
}

static enum MHD_Result answer(Request *request) {
  const char *text = NULL;
  size_t size = 0;
  Error err;
  Status status = auth_still_good(request->api, request->token_hash, request->session_hash, false)
                      ? reports_get(request->api->reports, request->waiting_for, &text, &size, &err)
                      : error_set(&err, ERR_UNAUTHORIZED, "the token was revoked while the request waited");
  if (!status && !text)
    status = error_set(&err, ERR_UNAVAILABLE, "the coordinator is stopping");
  return status ? respond_failure(request, &err) : respond_bytes(request, MHD_HTTP_OK, "application/json", text, size);
}

void reports_made(void *user, const char *key) {
  Api *api = user;
  for (Request *request = api->requests; request; request = request->next)
    if (request->phase == PHASE_WAITING && request->answer == answer && strcmp(request->waiting_for, key) == 0) {
      request->finished = true;
      request_resume(request);
    }
}

enum MHD_Result report_show(Request *request) {
  ReportWish wish;
  const char *text = NULL;
  size_t size = 0;
  Error err;
  Status status = read_wish(request, &wish, &err);
  if (!status)
    status = reports_ask(request->api->reports, &wish, &request->waiting_for, &err);
  if (!status)
    status = reports_get(request->api->reports, request->waiting_for, &text, &size, &err);
  if (status)
    return respond_failure(request, &err);
  if (text)
    return respond_bytes(request, MHD_HTTP_OK, "application/json", text, size);
  request->answer = answer;
  request->phase = PHASE_WAITING;
  request_suspend(request);
  return MHD_YES;
}

/* ---- by mail ---- */

void api_show_mailing(Api *api, Mailing *mailing) {
  api->mailing = mailing;
}

static void free_json(json_t **json) {
  json_decref(*json);
}

enum MHD_Result report_plans(Request *request) {
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "reports", mailing_list(request->api->mailing)));
}

/* from and to: both, or neither: the last period that is over. */
static Status read_period(const json_t *body, int64_t *from_us, int64_t *to_us, Error *err) {
  const char *from = json_string_value(json_object_get(body, "from")),
             *to = json_string_value(json_object_get(body, "to"));
  *from_us = *to_us = 0;
  if (!json_object_get(body, "from") && !json_object_get(body, "to"))
    return STATUS_OK;
  if (!from || !to)
    return error_set(err, ERR_INVALID_ARGUMENT, "\"from\" and \"to\" must be given together, as texts");
  Status status = report_time_parse(from, from_us, err);
  if (!status)
    status = report_time_parse(to, to_us, err);
  return status ? status : report_period_check(*from_us, *to_us, clock_wall_us(), err);
}

enum MHD_Result report_send(Request *request) {
  static const char *const known[] = {"report", "from", "to"};
  CLEANUP(free_json) json_t *body = NULL;
  CLEANUP_FREE char *id = NULL;
  int64_t from_us, to_us;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = query_members(body, known, ARRAY_SIZE(known), &err);
  const char *name = json_string_value(json_object_get(body, "report"));
  if (!status && !name)
    status = error_set(&err, ERR_INVALID_ARGUMENT, "\"report\" must be the name of a report in coordinator.yaml");
  if (!status)
    status = read_period(body, &from_us, &to_us, &err);
  if (!status)
    status = mailing_send(request->api->mailing, name, from_us, to_us, request->actor, &id, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, MHD_HTTP_ACCEPTED, json_pack("{s:b, s:s}", "ok", 1, "id", id));
}
