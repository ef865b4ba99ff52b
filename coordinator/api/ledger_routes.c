#include "coordinator/api/internal.h"

/* Without `after`: the newest ones, in order. */
enum MHD_Result ledger_events(Request *request) {
  int64_t after = 0, limit = 0;
  LedgerEvent *items = NULL;
  size_t count = 0;
  Error err;
  const char *checkpoint = query_text(request, "checkpoint");
  Status status = query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err);
  if (!status)
    status = query_number(request, "after", 0, 0, INT64_MAX, &after, &err);
  if (!status && !query_text(request, "after") && !checkpoint)
    status = ledger_last_sequence(request->api->ledger, &after, &err), after = after > limit ? after - limit : 0;
  if (!status)
    status = ledger_event_list(request->api->ledger, after, (int)limit, checkpoint, &items, &count, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render_event(&items[i]));
  ledger_event_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "events", list));
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
