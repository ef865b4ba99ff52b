#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/rehearsal/bridge.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/rehearsal/tunnel.h"

enum {
  REQUEST_SIZE = 8,
  REQUEST_TLS = 80877103, /* PostgreSQL's protocol: what a connection may start with instead of a startup message */
  REQUEST_GSS = 80877104,
  REQUEST_CANCEL = 80877102,
  CANCEL_SIZE = 16,
  STARTUP_LIMIT = 10000,
  PIECE = 16 << 10,
  HELD_LIMIT = 128 << 10, /* of what waits for the copy, or for the client */
  GSS_LIMIT = 2
};

typedef enum State { STATE_PLAIN, STATE_HANDSHAKE, STATE_STARTUP, STATE_OPEN, STATE_ENDING } State;

struct BridgeConnection {
  const BridgeEnd *end;
  uint32_t id;
  State state;
  SSL *tls;
  BIO *in, *out; /* of tls */
  int fd;        /* to the copy; -1: none */
  bool hung_up, server_done;
  int gss_requests;
  Buffer head;      /* before TLS, then the startup message */
  Buffer to_server; /* plaintext */
  Buffer to_client; /* what goes into frames */
  uint32_t may_send, may_receive;
  uint32_t taken; /* of what was received: not told to the client yet */
  Observer *observer;
  const char *why;
};

BridgeConnection *bridge_connection_new(const BridgeEnd *end, uint32_t id) {
  BridgeConnection *connection = memory_alloc(sizeof *connection);
  *connection = (BridgeConnection){.end = end,
                                   .id = id,
                                   .tls = SSL_new(end->tls),
                                   .in = BIO_new(BIO_s_mem()),
                                   .out = BIO_new(BIO_s_mem()),
                                   .fd = -1,
                                   .may_send = TUNNEL_WINDOW,
                                   .may_receive = TUNNEL_WINDOW,
                                   .observer = observer_new(end->statements),
                                   .why = ""};
  if (!connection->tls || !connection->in || !connection->out)
    abort(); /* out of memory, as memory.h has it */
  SSL_set_bio(connection->tls, connection->in, connection->out);
  SSL_set_accept_state(connection->tls);
  return connection;
}

void bridge_connection_free(BridgeConnection *connection) {
  SSL_free(connection->tls); /* and the BIOs */
  if (connection->fd >= 0)
    close(connection->fd);
  buffer_release(&connection->head);
  buffer_release(&connection->to_server);
  buffer_release(&connection->to_client);
  observer_free(connection->observer);
  free(connection);
}

uint32_t bridge_connection_id(const BridgeConnection *connection) {
  return connection->id;
}

Status bridge_connection_widen(BridgeConnection *connection, uint32_t size, Error *err) {
  if (size > TUNNEL_WINDOW - connection->may_send)
    return error_set(err, ERR_PROTOCOL, "the tunnel's client opens a window further than there is one");
  connection->may_send += size;
  return STATUS_OK;
}

void bridge_connection_hang_up(BridgeConnection *connection) {
  connection->hung_up = true;
}

static void drop_front(Buffer *buffer, size_t size) {
  memmove(buffer->data, buffer->data + size, buffer->size - size);
  buffer->size -= size;
}

/* It is over, once the client was told of what waits for it. */
static void end(BridgeConnection *connection, const char *why) {
  if (connection->state == STATE_ENDING)
    return;
  if (connection->state == STATE_OPEN || connection->state == STATE_STARTUP)
    SSL_shutdown(connection->tls);
  connection->state = STATE_ENDING;
  connection->why = why;
  buffer_clear(&connection->to_server);
}

/* An ErrorResponse, so that libpq says more than that the connection was closed. */
static void refuse(BridgeConnection *connection, const char *why) {
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_format(&text, "SFATAL%cVFATAL%cC28000%cM%s%c%c", 0, 0, 0, why, 0, 0);
  const uint32_t size = (uint32_t)text.size + 4;
  const uint8_t head[] = {'E', (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
  if (connection->state == STATE_PLAIN) {
    buffer_append(&connection->to_client, head, sizeof head);
    buffer_append(&connection->to_client, text.data, text.size);
  } else {
    (void)SSL_write(connection->tls, head, sizeof head);
    (void)SSL_write(connection->tls, text.data, (int)text.size);
  }
  end(connection, why);
}

static uint32_t number_at(const Buffer *buffer, size_t at) {
  const uint8_t *b = buffer->data + at;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Before TLS: one request for it. */
static void take_plain(BridgeConnection *connection) {
  while (connection->state == STATE_PLAIN && connection->head.size >= REQUEST_SIZE) {
    const uint32_t size = number_at(&connection->head, 0), code = number_at(&connection->head, 4);
    if (size == REQUEST_SIZE && code == REQUEST_GSS && connection->gss_requests++ < GSS_LIMIT) {
      buffer_append_byte(&connection->to_client, 'N');
      drop_front(&connection->head, REQUEST_SIZE);
    } else if (size == REQUEST_SIZE && code == REQUEST_TLS && connection->head.size == REQUEST_SIZE) {
      buffer_append_byte(&connection->to_client, 'S');
      buffer_clear(&connection->head);
      connection->state = STATE_HANDSHAKE;
    } else {
      refuse(connection, "a rehearsal's copy is connected to by TLS only (sslmode=verify-ca)");
    }
  }
}

Status bridge_connection_receive(BridgeConnection *connection, const void *data, size_t size, Error *err) {
  if (size > connection->may_receive)
    return error_set(err, ERR_PROTOCOL, "the tunnel's client sends more than its window allows");
  connection->may_receive -= (uint32_t)size;
  connection->taken += (uint32_t)size;
  if (connection->state == STATE_PLAIN) {
    buffer_append(&connection->head, data, size);
    take_plain(connection);
  } else if (connection->state != STATE_ENDING && BIO_write(connection->in, data, (int)size) != (int)size) {
    abort();
  }
  return STATUS_OK;
}

/* ---- the startup message ---- */

static Status reach_copy(BridgeConnection *connection) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(connection->end->socket_path) >= sizeof address.sun_path)
    return ERR_INTERNAL;
  memcpy(address.sun_path, connection->end->socket_path, strlen(connection->end->socket_path) + 1);
  connection->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
      fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0)
    return ERR_CLUSTER_LOST;
  return STATUS_OK;
}

/* Names and values, each with a zero byte behind it, and one more. True: `role` wants `database`, and no replication.
 */
static bool is_offered(const BridgeConnection *connection, const char *at, const char *stop) {
  bool role = false, database = false;
  while (at < stop && *at) {
    const char *name = at, *value = name + strnlen(name, (size_t)(stop - name)) + 1;
    if (value >= stop)
      return false;
    at = value + strnlen(value, (size_t)(stop - value)) + 1;
    if (at > stop)
      return false;
    if (strcmp(name, "user") == 0)
      role = strcmp(value, connection->end->role) == 0;
    else if (strcmp(name, "database") == 0)
      database = strcmp(value, connection->end->database) == 0;
    else if (strcmp(name, "replication") == 0)
      return false;
  }
  return role && database && at + 1 == stop;
}

static void take_startup(BridgeConnection *connection) {
  const Buffer *head = &connection->head;
  const uint32_t size = head->size >= REQUEST_SIZE ? number_at(head, 0) : 0;
  if (head->size < REQUEST_SIZE || (size <= STARTUP_LIMIT && size >= REQUEST_SIZE && head->size < size))
    return; /* there is more to come */
  const uint32_t code = number_at(head, 4);
  const bool cancel = code == REQUEST_CANCEL && size == CANCEL_SIZE && head->size == size;
  if (size > STARTUP_LIMIT || size < REQUEST_SIZE || (!cancel && code >> 16 != 3)) {
    refuse(connection, "this is not PostgreSQL's protocol");
  } else if (!cancel &&
             !is_offered(connection, (const char *)head->data + REQUEST_SIZE, (const char *)head->data + size)) {
    refuse(connection, "a rehearsal's copy is for the role and the database that were offered");
  } else if (reach_copy(connection) != STATUS_OK) {
    refuse(connection, "the rehearsal's copy accepts no connection");
  } else {
    buffer_append(&connection->to_server, head->data, head->size);
    observer_client(connection->observer, head->data + size, head->size - size);
    buffer_clear(&connection->head);
    connection->state = STATE_OPEN;
  }
}

/* ---- bytes ---- */

static void shake_hands(BridgeConnection *connection) {
  int done = SSL_do_handshake(connection->tls);
  if (done == 1)
    connection->state = STATE_STARTUP;
  else if (SSL_get_error(connection->tls, done) != SSL_ERROR_WANT_READ)
    end(connection, "the TLS handshake failed");
}

/* Out of TLS, as long as the copy takes it. */
static void read_client(BridgeConnection *connection) {
  uint8_t piece[PIECE];
  while ((connection->state == STATE_STARTUP || connection->state == STATE_OPEN) &&
         connection->to_server.size < HELD_LIMIT) {
    int got = SSL_read(connection->tls, piece, sizeof piece);
    if (got <= 0) {
      int reason = SSL_get_error(connection->tls, got);
      if (reason == SSL_ERROR_ZERO_RETURN)
        connection->hung_up = true;
      else if (reason != SSL_ERROR_WANT_READ)
        end(connection, "what the client sent was altered on its way, or is no TLS");
      return;
    }
    if (connection->state == STATE_STARTUP) {
      buffer_append(&connection->head, piece, (size_t)got);
      take_startup(connection);
    } else {
      observer_client(connection->observer, piece, (size_t)got);
      buffer_append(&connection->to_server, piece, (size_t)got);
    }
  }
}

static void write_server(BridgeConnection *connection) {
  while (connection->fd >= 0 && connection->to_server.size > 0) {
    ssize_t sent = send(connection->fd, connection->to_server.data, connection->to_server.size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0 && errno != EAGAIN)
      connection->server_done = true; /* what it said last is still to be read */
    if (sent < 0)
      break;
    drop_front(&connection->to_server, (size_t)sent);
  }
  if (connection->server_done)
    buffer_clear(&connection->to_server);
}

/* As much as can be: nothing wakes us for what TLS holds already. */
static void pass_on(BridgeConnection *connection) {
  size_t before, left = SIZE_MAX;
  do {
    before = left;
    read_client(connection);
    write_server(connection);
    left = BIO_ctrl_pending(connection->in);
  } while (left > 0 && left < before && connection->to_server.size == 0);
}

static void read_server(BridgeConnection *connection) {
  uint8_t piece[PIECE];
  while (connection->state == STATE_OPEN &&
         connection->to_client.size + BIO_ctrl_pending(connection->out) < HELD_LIMIT) {
    ssize_t got = recv(connection->fd, piece, sizeof piece, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EAGAIN)
      return;
    if (got <= 0) {
      end(connection, "");
      return;
    }
    observer_server(connection->observer, piece, (size_t)got);
    if (SSL_write(connection->tls, piece, (int)got) != (int)got) {
      end(connection, "TLS failed");
      return;
    }
  }
}

static void encrypted(BridgeConnection *connection) {
  uint8_t piece[PIECE];
  int got;
  while ((got = BIO_read(connection->out, piece, sizeof piece)) > 0)
    buffer_append(&connection->to_client, piece, (size_t)got);
}

static Status tell_client(BridgeConnection *connection, const BridgeLink *link, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && connection->to_client.size > 0 && connection->may_send > 0) {
    size_t size = connection->to_client.size;
    size = size < TUNNEL_DATA_LIMIT ? size : TUNNEL_DATA_LIMIT;
    size = size < connection->may_send ? size : connection->may_send;
    status = link->data(link->user, connection->id, connection->to_client.data, size, err);
    connection->may_send -= (uint32_t)size;
    drop_front(&connection->to_client, size);
  }
  /* what it sent was taken: by the copy, or by TLS, which waits for the rest of a record */
  if (status == STATUS_OK && connection->taken > 0 && connection->to_server.size < HELD_LIMIT &&
      BIO_ctrl_pending(connection->in) < TUNNEL_DATA_LIMIT && connection->state != STATE_ENDING) {
    status = link->window(link->user, connection->id, connection->taken, err);
    connection->may_receive += connection->taken;
    connection->taken = 0;
  }
  return status;
}

short bridge_connection_events(const BridgeConnection *connection, int *fd) {
  *fd = connection->fd;
  if (connection->fd < 0 || connection->state != STATE_OPEN)
    return 0;
  return (short)((connection->to_client.size < HELD_LIMIT ? POLLIN : 0) |
                 (connection->to_server.size > 0 && !connection->server_done ? POLLOUT : 0));
}

Status bridge_connection_pump(BridgeConnection *connection, const BridgeLink *link, bool *over, const char **why,
                              Error *err) {
  ERR_clear_error(); /* SSL_get_error looks at what others left there */
  if (connection->state == STATE_HANDSHAKE)
    shake_hands(connection);
  pass_on(connection);
  read_server(connection);
  encrypted(connection);
  Status status = tell_client(connection, link, err);
  if (status != STATUS_OK)
    return status;
  if (connection->hung_up && connection->to_server.size == 0)
    end(connection, "");
  *over = connection->state == STATE_ENDING && (connection->hung_up || connection->to_client.size == 0);
  *why = connection->why;
  return STATUS_OK;
}
