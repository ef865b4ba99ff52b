/* Closes an nng socket without ever blocking the loop. Internal to common/bus; loop thread only. */
#ifndef PGSEAL_COMMON_BUS_CLOSING_H
#define PGSEAL_COMMON_BUS_CLOSING_H

#include <nng/nng.h>
#include <uv.h>

/* Calls closed on the loop when the socket is closed, or after some seconds: nng 1.5.2 may wait forever for a
 * connection that was being made at that moment (its pull request 1636). The process then leaves nng's own exit handler
 * out. */
void bus_close_socket(uv_loop_t *loop, nng_socket socket, void (*closed)(void *user), void *user);

#endif
