/* GET /metrics. */
#include "coordinator/api/internal.h"

void api_show_metrics(Api *api, Metrics *metrics) {
  api->metrics = metrics;
}

static bool next_metrics(void *user, Buffer *out) {
  return metrics_next(user, out);
}

static void end_metrics(void *user) {
  metrics_scrape_free(user);
}

enum MHD_Result metrics_show(Request *request) {
  MetricsScrape *scrape = NULL;
  Error err;
  if (!request->api->metrics)
    return respond_text(request, MHD_HTTP_OK, METRICS_CONTENT_TYPE, "");
  if (metrics_scrape(request->api->metrics, &scrape, &err) != STATUS_OK)
    return respond_failure(request, &err);
  return respond_pieces(request, METRICS_CONTENT_TYPE, next_metrics, end_metrics, scrape);
}
