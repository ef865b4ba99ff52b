/*
 * Connections that do not get on with their handshake. nng 1.5.2 waits for it without end, so whoever connects and says
 * nothing would keep a descriptor for good: they are looked for, and shut. So are the oldest, where there are more than
 * there may be of one address, or in all, at once (it is nng that accepts, so that for a second there may be more). Of
 * those with a handshake as many may be; there it is the newest that is shut. Internal to common/bus.
 */
#ifndef PGSEAL_COMMON_BUS_UNPROVEN_H
#define PGSEAL_COMMON_BUS_UNPROVEN_H

#include <nng/nng.h>
#include <uv.h>

typedef struct Unproven Unproven;

/* Watches a server's socket, whose connections come to this port by tls+tcp. A connection has from 10 to 11 s. Loop
 * thread, as all of this. */
Unproven *unproven_open(uv_loop_t *loop, nng_socket socket, int port);
/* At first 1024 of one address (an IPv6 /64 counts as one), and 4096 in all; of each kind. */
void unproven_limit(Unproven *unproven, size_t of_address, size_t in_all);
void unproven_stop(Unproven *unproven); /* before the socket is closed: nng's threads call no more */
/* After it is. In closed, handle->data is `data`, and the Unproven is to be freed. */
void unproven_close(Unproven *unproven, uv_close_cb closed, void *data);
void unproven_free(Unproven *unproven);

#endif
