/*
 * Bus: one request, one reply, over nng REQ/REP on a uv loop. nng calls back on its own threads; the bus
 * moves every event onto the loop's thread, so users never see another thread. A message is opaque bytes
 * here (see envelope.h), at most BUS_MESSAGE_LIMIT bytes.
 *
 * All functions are for the loop's thread only. close is asynchronous like uv_close: nothing is called
 * after `closed`. Waiting time is bounded by timeout_ms, whether the request could be sent or not.
 */
#ifndef PGSEAL_COMMON_BUS_BUS_H
#define PGSEAL_COMMON_BUS_BUS_H

#include <uv.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

enum { BUS_MESSAGE_LIMIT = 4 << 20, BUS_PATIENCE_MS = 1000 };

/* What a side of tls+tcp:// shows and whom it admits: PEM texts. TLS 1.2, both sides with a certificate of one
 * authority (mutual; mbedTLS inside nng). It admits a connection and no more: nng 1.5.2 does not say whose certificate
 * it saw, so who the peer *is* has to be shown inside (the gateway's sessions: a signed challenge). */
typedef struct BusTls {
  const char *authority;   /* certificate of whom the peer's must be */
  const char *revocations; /* the authority's list, or NULL; servers only */
  const char *certificate, *key;
  const char *peer_name; /* the name in the server's certificate; clients only */
} BusTls;

/* ---- server (coordinator) ---- */
typedef struct BusServer BusServer;
typedef struct BusRequest BusRequest; /* one request that waits for its reply; may be kept (parked) */

/* Called on the loop. The callee must answer each request exactly once, now or later, with
 * bus_request_reply or bus_request_drop. data is valid during the call only. */
typedef void BusRequestCallback(void *user, BusRequest *request, const uint8_t *data, size_t size);

/* url: "tls+tcp://0.0.0.0:8421", or "tcp://127.0.0.1:8421"; what address.h refuses is ERR_CONFIG, and so is tls+tcp
 * without `tls` (which is copied; else it may be NULL). At most `parallel` requests are held at once. */
Status bus_server_open(uv_loop_t *loop, const char *url, const BusTls *tls, size_t parallel,
                       BusRequestCallback *callback, void *user, BusServer **out, Error *err) MUST_CHECK;
/* From now on with this certificate, authority and list of revocations. Every connection is closed and made anew by
 * whoever is still admitted; requests under way are resent by their clients, and sessions outlive it.
 * ERR_KEY_UNREADABLE, with the old one still in use. */
Status bus_server_admit(BusServer *server, const BusTls *tls, Error *err) MUST_CHECK;
/* How many connections there may be of one address (an IPv6 /64 counts as one), and in all: with a handshake, and again
 * as many without one, of which the oldest gives way. At first 1024 and 4096; with tls+tcp only. */
void bus_server_limit(BusServer *server, size_t of_address, size_t in_all);
void bus_request_reply(BusRequest *request, const void *data, size_t size);
void bus_request_drop(BusRequest *request); /* no answer: the peer resends later */
/* Is the connection it came by still open? If not, a reply would reach nobody. Not known at once: a host that vanishes
 * leaves its connection open. */
bool bus_request_alive(const BusRequest *request);
void bus_server_close(BusServer *server, void (*closed)(void *user), void *user); /* parked requests are dropped */

/* ---- client (agent) ---- */
typedef struct BusClient BusClient;
/* err is NULL on success; ERR_UNAVAILABLE or ERR_TIMEOUT otherwise. Called exactly once per request. */
typedef void BusReplyCallback(void *user, const Error *err, const uint8_t *data, size_t size);

/* urls: one or more coordinators. One of them is talked to at a time, the first one at first, since sessions are
 * theirs; another one once there is no connection to it for BUS_PATIENCE_MS, or once it did not answer a request in its
 * time. The connection is made and made again in the background, REQ resends after resend_ms. tls: as for the server;
 * needed when one of the urls is tls+tcp. */
Status bus_client_open(uv_loop_t *loop, const char *const *urls, size_t url_count, const BusTls *tls, int resend_ms,
                       BusClient **out, Error *err) MUST_CHECK;
/* New connections with this certificate, then the old ones are closed. Requests under way are sent again by the new
 * ones. ERR_KEY_UNREADABLE, with the old one still in use. */
Status bus_client_admit(BusClient *client, const BusTls *tls, Error *err) MUST_CHECK;
void bus_client_request(BusClient *client, const void *data, size_t size, int timeout_ms, BusReplyCallback *callback,
                        void *user);
void bus_client_close(BusClient *client, void (*closed)(void *user),
                      void *user); /* open requests end with ERR_UNAVAILABLE */

#endif
