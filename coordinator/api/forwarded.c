/*
 * Whose request it is, where it comes through a reverse proxy. Each proxy appends to X-Forwarded-For whom it got the
 * request from, so the list is true from its end as far as the proxies are ours (http_limits.trusted_proxies), and the
 * first that is not of ours is the client. What stands before that anybody may have written: it is not looked at.
 */
#include <string.h>

#include "coordinator/api/internal.h"

enum { LINES = 8, HOPS = 16 }; /* more proxies than that are nobody's */

typedef struct Lines { /* the header may be there several times; the last ones */
  const char *values[LINES];
  size_t count;
} Lines;

static bool is_proxy(const CoordinatorConfig *config, const Address *address) {
  for (size_t i = 0; i < config->http_proxy_count; i++)
    if (network_holds(&config->http_proxies[i], address))
      return true;
  return false;
}

bool forwarded_by_proxy(const Api *api, const struct sockaddr *address) {
  Address peer;
  return api->config->http_proxy_count > 0 && address_of(address, &peer) && is_proxy(api->config, &peer);
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
  (void)kind;
  Lines *lines = user;
  if (strcasecmp(name, "X-Forwarded-For") == 0 && value)
    lines->values[lines->count++ % LINES] = value;
  return MHD_YES;
}

/* 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1]:80 */
static bool parse(const char *at, const char *end, Address *out) {
  while (at < end && (*at == ' ' || *at == '\t'))
    at++;
  while (at < end && (end[-1] == ' ' || end[-1] == '\t'))
    end--;
  const char *colon = memchr(at, ':', (size_t)(end - at));
  if (at < end && *at == '[') {
    const char *close = memchr(at, ']', (size_t)(end - at));
    return close && address_parse(at + 1, (size_t)(close - at - 1), out);
  }
  if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1)))
    end = colon;
  return address_parse(at, (size_t)(end - at), out);
}

/* Goes back through one line. True: go on with the one before. */
static bool walk(const CoordinatorConfig *config, const char *line, int *hops, Address *client) {
  for (const char *end = line + strlen(line);;) {
    const char *at = end;
    while (at > line && at[-1] != ',')
      at--;
    Address next;
    if (++*hops > HOPS || !parse(at, end, &next))
      return false;
    *client = next;
    if (!is_proxy(config, client))
      return false;
    if (at == line)
      return true;
    end = at - 1;
  }
}

void forwarded_client(const Request *request, Address *client) {
  const CoordinatorConfig *config = request->api->config;
  Lines lines = {0};
  int hops = 0;
  if (config->http_proxy_count == 0 || !is_proxy(config, client))
    return;
  MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_header, &lines);
  for (size_t i = 0; i < lines.count && i < LINES; i++)
    if (!walk(config, lines.values[(lines.count - 1 - i) % LINES], &hops, client))
      return;
}

bool forwarded_by_https(const Request *request) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  const char *scheme = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "X-Forwarded-Proto");
  return scheme && strcasecmp(scheme, "https") == 0 && info && info->client_addr &&
         forwarded_by_proxy(request->api, info->client_addr);
}
