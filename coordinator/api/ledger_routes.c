#include "coordinator/api/internal.h"

/* Without `after`: the newest ones, in order. */
enum MHD_Result ledger_events(Request *request) {
  int64_t limit = 0;
  EventFilter filter = {.checkpoint_id = query_text(request, "checkpoint"), .scope = request->scope.text};
  LedgerEvent *items = NULL;
  size_t count = 0;
  Error err;
  Status status = query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err);
  if (!status)
    status = query_number(request, "after", 0, 0, INT64_MAX, &filter.after, &err);
  filter.limit = (int)limit;
  filter.newest = !query_text(request, "after");
  if (!status)
    status = ledger_event_list(request->api->ledger, &filter, &items, &count, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render_event(&items[i]));
  ledger_event_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK,
                      json_pack("{s:o, s:b}", "events", list, "whole", request->scope.text == NULL));
}

enum MHD_Result ledger_verify(Request *request) {
  int64_t events = 0;
  char tip[65] = "";
  Error err;
  Status status = ledger_chain_verify(request->api->ledger, &events, tip, &err);
  if (status)
    return respond_failure(request, &err);
  return respond_json(request, MHD_HTTP_OK,
                      json_pack("{s:b, s:I, s:s}", "ok", 1, "events", (json_int_t)events, "tip", tip));
}
