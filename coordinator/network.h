/* IP addresses and networks, of both families in one form: an IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). Pure.
 */
#ifndef PGSEAL_COORDINATOR_NETWORK_H
#define PGSEAL_COORDINATOR_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { NETWORK_TEXT_SIZE = 48 };

typedef struct Address {
  uint8_t bytes[16];
} Address;

typedef struct Network {
  Address address;
  unsigned bits; /* 1 to 128 */
} Network;

/* 192.0.2.1, 2001:db8::1; false if it is neither. The text need not be terminated. */
bool address_parse(const char *text, size_t length, Address *out);
bool address_of(const struct sockaddr *address, Address *out); /* false: of another family */
bool address_is_four(const Address *address);
const char *address_text(const Address *address, char text[NETWORK_TEXT_SIZE]); /* returns text */

/* 10.0.0.0/8, 2001:db8::/32, or one address. False: it is none, has bits beyond its prefix, or is everything (/0). */
bool network_parse(const char *text, Network *out);
bool network_holds(const Network *network, const Address *address);

#endif
