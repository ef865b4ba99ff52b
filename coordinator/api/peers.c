/*
 * The connections of the API, so that none holds a place for nothing.
 *
 * Those that have not sent a whole request (PEER_READING: idle, in the TLS handshake, or slow) are many and cheap: they
 * give way, the oldest first, when there is no room for a new one, of the same client or at all; and a request has to
 * come within a time, however busy its sender seems. Cutting one is shutdown(2): libmicrohttpd then closes it.
 *
 * libmicrohttpd 0.9.75 with its edge-triggered epoll does not notice a FIN that comes together with data, nor anything
 * about a suspended connection. So each second the kernel is asked whose other side has closed.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { PEER_LIMIT = 4096, PEER_LEAST = 64, OTHER_FILES = 256, CLOSING_SWEEPS = 2 };
#define SECOND_US ((int64_t)1000000)
#define READ_LIMIT_US (30 * SECOND_US)    /* for a request's head, and again for its body */
#define ANSWER_LIMIT_US (300 * SECOND_US) /* for reading an answer, should somebody do so byte by byte */

/* As many as this process may have files for. */
void peers_open(Api *api) {
  struct rlimit files;
  rlim_t wanted = PEER_LIMIT + OTHER_FILES;
  api->read_limit_us = READ_LIMIT_US;
  api->answer_limit_us = ANSWER_LIMIT_US;
  api->peer_limit = PEER_LEAST;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0)
    return;
  if (files.rlim_cur < wanted) {
    struct rlimit raised = {.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted, .rlim_max = files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
      files = raised;
  }
  if (files.rlim_cur >= wanted)
    api->peer_limit = PEER_LIMIT;
  else if (files.rlim_cur > PEER_LEAST + OTHER_FILES)
    api->peer_limit = (unsigned)files.rlim_cur - OTHER_FILES;
}

static void cut(Peer *peer) {
  peer->cut = true;
  shutdown(peer->fd, SHUT_RDWR);
}

/* Room for one more: of this origin, or (NULL) of all. False: all of them are at work. */
static bool make_room(Api *api, const Origin *origin) {
  for (Peer *peer = api->oldest; peer; peer = peer->newer)
    if (peer->state == PEER_READING && !peer->cut && (!origin || peer->origin == origin)) {
      cut(peer);
      return true;
    }
  return false;
}

enum MHD_Result peers_accept(void *user, const struct sockaddr *address, socklen_t size) {
  (void)size;
  Api *api = user;
  Address from;
  if (!address_of(address, &from))
    return MHD_NO;
  const Origin *origin = origin_find(api, &from);
  unsigned limit = api->config->http_connections ? (unsigned)api->config->http_connections : api->peer_limit;
  /* A proxy's connections are many clients', and which is whose is not known before there is a request. */
  if (origin->connections >= limit && !forwarded_by_proxy(api, address) && !make_room(api, origin))
    return MHD_NO;
  return api->peer_count < api->peer_limit || make_room(api, NULL) ? MHD_YES : MHD_NO;
}

static void begin(Api *api, struct MHD_Connection *connection, void **context) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  Address from;
  if (!info || !info->client_addr || !address_of(info->client_addr, &from))
    return;
  Peer *peer = memory_alloc(sizeof *peer);
  *peer = (Peer){.api = api, .since_us = clock_monotonic_us(), .origin = origin_find(api, &from)};
  peer->origin->connections++;
  info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  peer->fd = info ? info->connect_fd : -1;
  peer->older = api->newest;
  *(api->newest ? &api->newest->newer : &api->oldest) = peer;
  api->newest = peer;
  api->peer_count++;
  *context = peer;
  if (!api->credentials)
    return;
  peer->credentials = tls_reference(api->credentials);
  info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  if (info && info->tls_session)
    gnutls_session_set_ptr(info->tls_session, peer);
}

static void end(Api *api, Peer *peer) {
  peer->origin->connections--;
  *(peer->older ? &peer->older->newer : &api->oldest) = peer->newer;
  *(peer->newer ? &peer->newer->older : &api->newest) = peer->older;
  api->peer_count--;
  if (peer->request)
    peer->request->peer = NULL;
  tls_release(peer->credentials);
  free(peer);
}

void peers_notify(void *user, struct MHD_Connection *connection, void **context,
                  enum MHD_ConnectionNotificationCode code) {
  if (code == MHD_CONNECTION_NOTIFY_STARTED)
    begin(user, connection, context);
  else if (*context)
    end(user, *context);
}

Peer *peer_of(struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? info->socket_context : NULL;
}

void peer_set(Peer *peer, PeerState state) {
  peer->state = state;
  peer->since_us = clock_monotonic_us();
  peer->closing = 0;
}

/* The other side has sent its FIN, or is gone altogether. */
static bool has_closed(const Peer *peer) {
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  return getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         (info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_CLOSE);
}

/* A client that waits and closes is not there any more: nothing speaks HTTP with one half of a connection. */
static void let_go(Peer *peer) {
  Request *request = peer->request;
  if (!request || peer->state != PEER_LASTING) {
    cut(peer);
    return;
  }
  request->gone = true;
  if (request->stream)
    request->stream->cut = true;
  request_resume(request);
}

static bool is_late(const Api *api, const Peer *peer, int64_t now) {
  int64_t age = now - peer->since_us;
  return (peer->state == PEER_READING && age > api->read_limit_us) ||
         (peer->state == PEER_ANSWERING && age > api->answer_limit_us);
}

void peers_sweep(Api *api) {
  int64_t now = clock_monotonic_us();
  for (Peer *peer = api->oldest; peer; peer = peer->newer) {
    if (peer->cut)
      continue;
    if (is_late(api, peer, now))
      cut(peer);
    else if (peer->state != PEER_ANSWERING && has_closed(peer) && ++peer->closing >= CLOSING_SWEEPS)
      let_go(peer);
  }
  origins_sweep(api);
}
