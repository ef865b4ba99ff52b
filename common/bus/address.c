#include "common/bus/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool loopback(const char *host) {
  struct in_addr four;
  struct in6_addr six;
  if (inet_pton(AF_INET, host, &four) == 1)
    return (ntohl(four.s_addr) >> 24) == 127;
  return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

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

Status bus_address_check(const char *url, Error *err) {
  char host[64];
  long port;
  if (strncmp(url, "tcp://", 6) != 0 || !split(url + 6, host, sizeof host, &port)) {
    error_set(err, ERR_CONFIG, "not a bus address: %s", url);
    error_remedy(err, "Write it as tcp://127.0.0.1:8421.");
    return err->status;
  }
  if (!loopback(host)) {
    error_set(err, ERR_CONFIG, "plain tcp:// is for loopback only, not %s", host);
    error_remedy(
        err, "Use tcp://127.0.0.1:PORT, and carry it to other machines through a tunnel of your own (ssh, WireGuard).");
    return err->status;
  }
  return STATUS_OK;
}
