/* GET /metrics, piece by piece: between two of them the loop does what else there is to do. */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { AT_ONCE = 64 << 10 }; /* what is no larger has a length, and is no stream */

void api_show_metrics(Api *api, Metrics *metrics) {
  api->metrics = metrics;
}

typedef struct Scraping {
  MetricsScrape *scrape;
  Buffer piece;
  size_t sent; /* of the piece */
} Scraping;

static void close_scraping(void *user) {
  Scraping *scraping = user;
  metrics_scrape_free(scraping->scrape);
  buffer_release(&scraping->piece);
  free(scraping);
}

static ssize_t read_scraping(void *user, uint64_t position, char *out, size_t size) {
  (void)position;
  Scraping *scraping = user;
  if (scraping->sent == scraping->piece.size) {
    buffer_clear(&scraping->piece);
    scraping->sent = 0;
    if (!metrics_next(scraping->scrape, &scraping->piece))
      return MHD_CONTENT_READER_END_OF_STREAM;
  }
  size_t left = scraping->piece.size - scraping->sent, taken = left < size ? left : size;
  memcpy(out, scraping->piece.data + scraping->sent, taken);
  scraping->sent += taken;
  return (ssize_t)taken;
}

/* Takes scraping. */
static enum MHD_Result stream(Request *request, Scraping *scraping) {
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, METRICS_PIECE, read_scraping, scraping, close_scraping);
  if (!response) {
    close_scraping(scraping);
    return MHD_NO;
  }
  MHD_add_response_header(response, "Content-Type", METRICS_CONTENT_TYPE);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  enum MHD_Result result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  request->phase = PHASE_ANSWERED;
  return result;
}

enum MHD_Result metrics_show(Request *request) {
  MetricsScrape *scrape = NULL;
  Error err;
  if (!request->api->metrics)
    return respond_text(request, MHD_HTTP_OK, METRICS_CONTENT_TYPE, "");
  if (metrics_scrape(request->api->metrics, &scrape, &err) != STATUS_OK)
    return respond_failure(request, &err);
  Scraping *scraping = memory_alloc(sizeof *scraping);
  scraping->scrape = scrape;
  bool more = true;
  while (more && scraping->piece.size < AT_ONCE)
    more = metrics_next(scrape, &scraping->piece);
  if (more)
    return stream(request, scraping);
  enum MHD_Result result =
      respond_bytes(request, MHD_HTTP_OK, METRICS_CONTENT_TYPE, scraping->piece.data, scraping->piece.size);
  close_scraping(scraping);
  return result;
}
