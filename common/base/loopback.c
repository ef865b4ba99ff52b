#include "common/base/loopback.h"

#include <arpa/inet.h>
#include <string.h>

bool loopback_address(const char *address) {
  char bare[INET6_ADDRSTRLEN];
  size_t length = strlen(address), bracket = length > 2 && *address == '[' && address[length - 1] == ']';
  struct in_addr four;
  struct in6_addr six;
  if (inet_pton(AF_INET, address, &four) == 1)
    return (ntohl(four.s_addr) >> 24) == 127;
  if (length - 2 * bracket >= sizeof bare)
    return false;
  memcpy(bare, address + bracket, length - 2 * bracket);
  bare[length - 2 * bracket] = '\0';
  return inet_pton(AF_INET6, bare, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool loopback_host(const char *host) {
  return strcmp(host, "localhost") == 0 || loopback_address(host);
}
