/* The dashboard's files. Nobody asks for a token: there is nothing in them but the program that asks for one. */
#include <string.h>

#include "coordinator/api/internal.h"
#include "coordinator/web/web.h"

/* A page runs and shows what came from here, talks to here, and is in nobody's frame. What a name, a tag or an error
 * holds becomes text: with Trusted Types a browser refuses to make elements of it, whatever the page's own code does.
 */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

static const char *header_of(Request *request, const char *name) {
  const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
  return value ? value : "";
}

static void add_headers(struct MHD_Response *response, const WebFile *file, bool packed) {
  char etag[sizeof file->etag + 8];
  snprintf(etag, sizeof etag, "\"%s%s\"", file->etag, packed ? "-gz" : "");
  MHD_add_response_header(response, "Content-Type", file->type);
  MHD_add_response_header(response, "Content-Security-Policy", policy);
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  MHD_add_response_header(response, "X-Frame-Options", "DENY");
  MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
  MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
  MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
  MHD_add_response_header(response, "Cache-Control", "no-cache"); /* kept, but asked after: a new version is seen */
  MHD_add_response_header(response, "Vary", "Accept, Accept-Encoding");
  MHD_add_response_header(response, "ETag", etag);
  if (packed)
    MHD_add_response_header(response, "Content-Encoding", "gzip");
}

static enum MHD_Result send_file(Request *request, const WebFile *file) {
  bool known = strstr(header_of(request, "If-None-Match"), file->etag) != NULL;
  bool packed = strstr(header_of(request, "Accept-Encoding"), "gzip") != NULL;
  const void *data = packed ? file->packed : file->data;
  size_t size = known ? 0 : packed ? file->packed_size : file->size;
  struct MHD_Response *response =
      MHD_create_response_from_buffer(size, (void *)(uintptr_t)data, MHD_RESPMEM_PERSISTENT);
  if (!response)
    return MHD_NO;
  add_headers(response, file, packed);
  enum MHD_Result result =
      MHD_queue_response(request->connection, known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  request->phase = PHASE_ANSWERED;
  return result;
}

enum MHD_Result web_asset(Request *request) {
  const WebFile *file = web_file(request->arg);
  Error err;
  if (file)
    return send_file(request, file);
  error_set(&err, ERR_NOT_FOUND, "the dashboard has no file %s", request->arg);
  error_remedy(&err, "Load the page anew: another version of pgseal is running than the one that it came from.");
  return respond_failure(request, &err);
}

/* A browser gets the dashboard; curl, a line of text. */
enum MHD_Result web_home(Request *request) {
  if (strstr(header_of(request, "Accept"), "text/html"))
    return send_file(request, web_file(WEB_PAGE));
  return respond_text(
      request, MHD_HTTP_OK, "text/plain; charset=utf-8",
      "pgseal coordinator " PGSEAL_VERSION "\n\n"
      "POST /api/checkpoint with {\"database\": ..., \"tag\": ...} and a bearer token seals a checkpoint.\n"
      "The rest is under /api/v1/; the documentation is in docs/api.md and docs/openapi.yaml.\n"
      "In a browser this is the dashboard. On the command line: pgseal --help\n");
}
