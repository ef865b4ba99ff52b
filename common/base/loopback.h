/* What is this machine alone, so that nobody else can read what goes there. Pure; any thread. */
#ifndef PGSEAL_COMMON_BASE_LOOPBACK_H
#define PGSEAL_COMMON_BASE_LOOPBACK_H

#include <stdbool.h>

/* An address of 127.0.0.0/8, or ::1 (with brackets or without). A name is none: "127.example.com" is anybody's. */
bool loopback_address(const char *address);
/* The same, or "localhost", which is loopback wherever it is looked up (RFC 6761, 6.3). */
bool loopback_host(const char *host);

#endif
