#include "common/bus/address.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/loopback.h"

/* Splits "127.0.0.1:8421" or "[::1]:8421". */
static bool split(const char *address, char *host, size_t size, long *port) {
  bool brackets = *address == '[';
  const char *start = address + brackets, *end = brackets ? strchr(start, ']') : strrchr(start, ':');
  const char *colon = end && brackets ? end + 1 : end;
  if (!end || *colon != ':' || (size_t)(end - start) >= size || !isdigit((unsigned char)colon[1]))
    return false;
  memcpy(host, start, (size_t)(end - start));
  host[end - start] = 0;
  char *rest;
  *port = strtol(colon + 1, &rest, 10);
  return !*rest && *port > 0 && *port < 65536;
}

/* What nng may be given as a host: it resolves names, and takes * for every address of the machine. */
static bool host_valid(const char *host) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
  return strcmp(host, "*") == 0 || (*host && strspn(host, allowed) == strlen(host));
}

bool bus_address_secure(const char *url) {
  return strncmp(url, "tls+tcp://", 10) == 0;
}

Status bus_address_check(const char *url, Error *err) {
  char host[256];
  long port;
  bool secure = bus_address_secure(url), plain = strncmp(url, "tcp://", 6) == 0;
  if (strncmp(url, "ipc:///", 7) == 0 && url[7] && strlen(url) < 100)
    return STATUS_OK;
  if ((!secure && !plain) || !split(url + (secure ? 10 : 6), host, sizeof host, &port) || !host_valid(host)) {
    error_set(err, ERR_CONFIG, "not a bus address: %s", url);
    error_remedy(err, "Write it as tls+tcp://HOST:8421, or on one machine as tcp://127.0.0.1:8421.");
    return err->status;
  }
  if (plain && !loopback_address(host)) {
    error_set(err, ERR_CONFIG, "plain tcp:// is for loopback only, not %s", host);
    error_remedy(err,
                 "Use tls+tcp://%s:%ld: `pgseal-coordinator init` makes the certificates, and agents get theirs by "
                 "`pgseal agent invite`.",
                 host, port);
    return err->status;
  }
  return STATUS_OK;
}
