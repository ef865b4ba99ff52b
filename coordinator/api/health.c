#include "coordinator/api/internal.h"

enum MHD_Result health_alive(Request *request) {
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:s}", "ok", 1, "version", PGSEAL_VERSION));
}

enum MHD_Result health_ready(Request *request) {
  LedgerJob *jobs = NULL;
  size_t count = 0;
  Error err;
  if (ledger_job_open(request->api->ledger, &jobs, &count, &err) != STATUS_OK)
    return respond_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, &err, NULL);
  ledger_job_list_free(jobs, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}
