#include "coordinator/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { FOUR_BITS = 96 };
static const uint8_t four_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool address_is_four(const Address *address) {
  return memcmp(address->bytes, four_prefix, sizeof four_prefix) == 0;
}

bool address_parse(const char *text, size_t length, Address *out) {
  char copy[INET6_ADDRSTRLEN];
  if (length == 0 || length >= sizeof copy || memchr(text, 0, length))
    return false;
  memcpy(copy, text, length);
  copy[length] = 0;
  memcpy(out->bytes, four_prefix, sizeof four_prefix);
  return inet_pton(AF_INET, copy, out->bytes + sizeof four_prefix) == 1 || inet_pton(AF_INET6, copy, out->bytes) == 1;
}

bool address_of(const struct sockaddr *address, Address *out) {
  if (address->sa_family == AF_INET6) {
    memcpy(out->bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof out->bytes);
    return true;
  }
  memcpy(out->bytes, four_prefix, sizeof four_prefix);
  if (address->sa_family == AF_INET)
    memcpy(out->bytes + sizeof four_prefix, &((const struct sockaddr_in *)address)->sin_addr, 4);
  return address->sa_family == AF_INET;
}

const char *address_text(const Address *address, char text[NETWORK_TEXT_SIZE]) {
  bool four = address_is_four(address);
  inet_ntop(four ? AF_INET : AF_INET6, address->bytes + (four ? sizeof four_prefix : 0), text, NETWORK_TEXT_SIZE);
  return text;
}

static bool bit_of(const Address *address, unsigned bit) {
  return (address->bytes[bit / 8] >> (7 - bit % 8)) & 1;
}

bool network_parse(const char *text, Network *out) {
  const char *slash = strchrnul(text, '/');
  if (!address_parse(text, (size_t)(slash - text), &out->address))
    return false;
  unsigned base = memchr(text, ':', (size_t)(slash - text)) ? 0 : FOUR_BITS;
  out->bits = 128;
  if (*slash) {
    size_t digits = strspn(slash + 1, "0123456789");
    unsigned long bits = strtoul(slash + 1, NULL, 10);
    if (digits == 0 || digits > 3 || slash[1 + digits] || bits == 0 || bits > 128 - base)
      return false;
    out->bits = base + (unsigned)bits;
  }
  for (unsigned bit = out->bits; bit < 128; bit++)
    if (bit_of(&out->address, bit))
      return false;
  return true;
}

bool network_holds(const Network *network, const Address *address) {
  for (unsigned bit = 0; bit < network->bits; bit++)
    if (bit_of(&network->address, bit) != bit_of(address, bit))
      return false;
  return true;
}
