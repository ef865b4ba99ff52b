/* The sockets of a tunnel's client: connections to a loopback port become frames, and frames what is written to them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/tunnel_internal.h"
#include "common/base/memory.h"

enum { BACKLOG = 16, WINDOW_MOST = 64 << 20, TELL_AFTER = TUNNEL_WINDOW / 4, PIECE = TUNNEL_DATA_LIMIT };

Status tunnel_sockets_listen(TunnelClient *client, Error *err) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  client->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  client->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (client->wake < 0 || client->listener < 0 ||
      bind(client->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(client->listener, BACKLOG) != 0 || getsockname(client->listener, (struct sockaddr *)&address, &size) != 0)
    return error_set_errno(err, errno, "cannot listen on a port of 127.0.0.1");
  client->port = ntohs(address.sin_port);
  return STATUS_OK;
}

static void forget(Connection *connection) {
  if (connection->fd >= 0)
    close(connection->fd);
  buffer_release(&connection->in);
  *connection = (Connection){.fd = -1};
}

/* Closed from here. The other end counts it until it has said so, too. */
static void hang_up(TunnelClient *client, Connection *connection) {
  uint32_t number = connection->number;
  forget(connection);
  connection->number = number;
  tunnel_push(client, number, PGSEAL__TUNNEL_FRAME__KIND__CLOSE, NULL, 0, 0);
}

static void accept_one(TunnelClient *client) {
  int fd = accept4(client->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
  if (fd < 0)
    return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (size_t i = 0; i < TUNNEL_CONNECTIONS; i++)
    if (client->connections[i].number == 0) {
      client->connections[i] = (Connection){.fd = fd, .number = ++client->numbers, .window = TUNNEL_WINDOW};
      tunnel_push(client, client->numbers, PGSEAL__TUNNEL_FRAME__KIND__OPEN, NULL, 0, 0);
      return;
    }
  close(fd);
}

static bool would_block(void) {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void read_some(TunnelClient *client, Connection *connection) {
  uint8_t piece[PIECE];
  size_t most = connection->window < PIECE ? connection->window : PIECE;
  ssize_t got = recv(connection->fd, piece, most, 0);
  if (got < 0 && would_block())
    return;
  if (got > 0) {
    connection->window -= (size_t)got;
    tunnel_push(client, connection->number, PGSEAL__TUNNEL_FRAME__KIND__DATA, piece, (size_t)got, 0);
    return;
  }
  hang_up(client, connection);
}

static void write_some(TunnelClient *client, Connection *connection) {
  ssize_t put = send(connection->fd, connection->in.data, connection->in.size, MSG_NOSIGNAL);
  if (put < 0 && would_block())
    return;
  if (put < 0) {
    if (connection->closing)
      forget(connection);
    else
      hang_up(client, connection);
    return;
  }
  connection->in.size -= (size_t)put;
  memmove(connection->in.data, connection->in.data + put, connection->in.size);
  connection->taken += (size_t)put;
  if (connection->taken >= TELL_AFTER && !connection->closing) {
    tunnel_push(client, connection->number, PGSEAL__TUNNEL_FRAME__KIND__WINDOW, NULL, 0, (uint32_t)connection->taken);
    connection->taken = 0;
  }
}

bool tunnel_sockets_take(TunnelClient *client, const Pgseal__TunnelFrame *frame) {
  Connection *connection = NULL;
  for (size_t i = 0; i < TUNNEL_CONNECTIONS && !connection; i++)
    if (frame->connection > 0 && client->connections[i].number == frame->connection)
      connection = &client->connections[i];
  if (!connection)
    return false;
  if (connection->fd < 0) { /* closed here, while this was under way */
    if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__CLOSE)
      forget(connection);
    return true;
  }
  switch (frame->kind) {
  case PGSEAL__TUNNEL_FRAME__KIND__DATA:
    if (connection->closing || connection->in.size + connection->taken + frame->data.len > TUNNEL_WINDOW)
      return false;
    buffer_append(&connection->in, frame->data.data, frame->data.len);
    return true;
  case PGSEAL__TUNNEL_FRAME__KIND__WINDOW:
    connection->window += frame->value;
    return connection->window <= WINDOW_MOST;
  case PGSEAL__TUNNEL_FRAME__KIND__CLOSE:
    connection->closing = true;
    return true;
  default:
    return false;
  }
}

/* One round: what to wait for, then what to do about it. The lock is not held while it waits. */
static size_t prepare(const TunnelClient *client, struct pollfd *items, size_t *which) {
  size_t count = 0, used = 0;
  for (size_t i = 0; i < TUNNEL_CONNECTIONS; i++) {
    const Connection *connection = &client->connections[i];
    used += connection->number != 0;
    if (connection->fd < 0)
      continue;
    short events = connection->in.size > 0 ? POLLOUT : 0;
    if (connection->window > 0 && !connection->closing)
      events |= POLLIN;
    which[count] = i;
    items[count++] = (struct pollfd){.fd = connection->fd, .events = events};
  }
  items[count] = (struct pollfd){.fd = client->wake, .events = POLLIN};
  bool room = used < TUNNEL_CONNECTIONS && !client->draining;
  items[count + 1] = (struct pollfd){.fd = room ? client->listener : -1, .events = POLLIN};
  return count;
}

static void act(TunnelClient *client, const struct pollfd *item, Connection *connection) {
  if (connection->fd != item->fd)
    return;
  if (connection->in.size > 0 && (item->revents & (POLLOUT | POLLERR | POLLHUP)))
    write_some(client, connection);
  if (connection->fd >= 0 && !connection->closing && connection->window > 0 &&
      (item->revents & (POLLIN | POLLERR | POLLHUP)))
    read_some(client, connection);
  if (connection->fd >= 0 && connection->closing && connection->in.size == 0)
    forget(connection);
}

static void close_all(TunnelClient *client) {
  for (size_t i = 0; i < TUNNEL_CONNECTIONS; i++)
    forget(&client->connections[i]);
}

void *tunnel_sockets_run(void *user) {
  TunnelClient *client = user;
  struct pollfd items[TUNNEL_CONNECTIONS + 2];
  size_t which[TUNNEL_CONNECTIONS];
  pthread_mutex_lock(&client->lock);
  while (!atomic_load(&client->stop)) {
    if (client->over)
      close_all(client); /* who asks the copy now is told so at once */
    size_t count = prepare(client, items, which);
    pthread_mutex_unlock(&client->lock);
    int ready = poll(items, count + 2, -1);
    pthread_mutex_lock(&client->lock);
    if (ready < 0 && errno != EINTR)
      break;
    uint64_t ignored;
    if (items[count].revents && read(client->wake, &ignored, sizeof ignored) < 0 && !would_block())
      break;
    for (size_t i = 0; i < count; i++)
      act(client, &items[i], &client->connections[which[i]]);
    if (items[count + 1].revents & POLLIN)
      accept_one(client);
    pthread_cond_broadcast(&client->changed);
  }
  close_all(client);
  pthread_mutex_unlock(&client->lock);
  return NULL;
}
