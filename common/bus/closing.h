/* Closes an nng socket without ever blocking the loop. Internal to common/bus; loop thread only. */
#ifndef PGSEAL_COMMON_BUS_CLOSING_H
#define PGSEAL_COMMON_BUS_CLOSING_H

#include <nng/nng.h>
#include <uv.h>

/* Dialers of one socket that are being closed. */
typedef struct BusDrops BusDrops;
BusDrops *bus_drops_new(void);
/* On a thread of its own: it may wait for a connection that is being made. */
void bus_drop_dialer(BusDrops *drops, nng_dialer dialer);
void bus_drops_end(BusDrops *drops); /* waits for all of them, and frees it */

/* drops: stolen; or NULL. The socket is closed once its dialers are: nng 1.5.2 frees it under one that is being closed
 * meanwhile, and panics.
 * Calls closed on the loop when the socket is closed, or after some seconds: nng 1.5.2 may wait forever for a
 * connection that was being made at that moment (its pull request 1636). The process then leaves nng's own exit handler
 * out. */
void bus_close_socket(uv_loop_t *loop, nng_socket socket, BusDrops *drops, void (*closed)(void *user), void *user);

#endif
