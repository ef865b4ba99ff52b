/*
 * Connections that do not get on with their handshake. nng 1.5.2 waits for it without end, so whoever connects and says
 * nothing would keep a descriptor for good: they are looked for, and shut. Internal to common/bus.
 */
#ifndef PGSEAL_COMMON_BUS_UNPROVEN_H
#define PGSEAL_COMMON_BUS_UNPROVEN_H

#include <nng/nng.h>
#include <uv.h>

typedef struct Unproven Unproven;

/* Watches a server's socket, whose connections come to this port by tls+tcp. A connection has from 10 to 15 s. Loop
 * thread, as all of this. */
Unproven *unproven_open(uv_loop_t *loop, nng_socket socket, int port);
void unproven_stop(Unproven *unproven); /* before the socket is closed: nng's threads call no more */
/* After it is. In closed, handle->data is `data`, and the Unproven is to be freed. */
void unproven_close(Unproven *unproven, uv_close_cb closed, void *data);
void unproven_free(Unproven *unproven);

#endif
