/*
 * A client of a rehearsal's tunnel, as small as can be: a port of the loopback, whose connections become frames on the
 * job's pipes, and a command that uses it. Between the two it can do what a coordinator could.
 */
#ifndef PGSEAL_TESTS_RELAY_H
#define PGSEAL_TESTS_RELAY_H

#include "tests/unit/agent/rehearsal/rehearsal_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/bus/frame.h"
#include "common/rehearsal/tunnel.h"

enum { RELAY_CONNECTIONS = 64 };

typedef struct RelayConnection {
  int fd; /* -1: closed */
  uint32_t may_send;
} RelayConnection;

typedef struct Relay {
  const Shop *shop;
  char job_id[64];
  int to_child, from_child, listener, port;
  pthread_mutex_t lock;
  uint64_t sent;
  RelayConnection connections[RELAY_CONNECTIONS + 1]; /* by number, from 1 on */
  uint32_t opened;
  atomic_bool alter; /* a bit of what the client sends, from its second frame on */
  atomic_size_t altered;
  atomic_bool stop;
  Pgseal__TunnelOffer *offer;
  char *certificate_path;
  int (*command)(struct Relay *relay); /* its exit status; negative: the tunnel breaks instead */
  pthread_t reader, sockets, client;
  bool offered;
  PGconn *left; /* open when the command ended, or NULL */
  char farewell[TUNNEL_TEXT_LIMIT + 1];
} Relay;

static inline void relay_send(Relay *relay, Pgseal__TunnelFrame__Kind kind, uint32_t connection, uint8_t *data,
                              size_t size, uint32_t value) {
  Pgseal__TunnelFrame frame = PGSEAL__TUNNEL_FRAME__INIT;
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  bool breaks = kind == PGSEAL__TUNNEL_FRAME__KIND__END && data;
  pthread_mutex_lock(&relay->lock);
  frame.sequence = breaks ? 0 : ++relay->sent;
  frame.connection = connection;
  frame.kind = kind;
  frame.data = (ProtobufCBinaryData){size, data};
  frame.value = value;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_TUNNEL;
  message.tunnel = &frame;
  size_t packed_size = pgseal__job_message__get_packed_size(&message);
  uint8_t *packed = memory_alloc(packed_size);
  pgseal__job_message__pack(&message, packed);
  Error err;
  for (int times = frame.sequence % 3 == 0 ? 2 : 1; times > 0;
       times--) /* some come twice, as when they are sent again */
    assert_int_equal(frame_write(relay->to_child, packed, packed_size, &err), STATUS_OK);
  free(packed);
  pthread_mutex_unlock(&relay->lock);
}

static inline void relay_take(Relay *relay, const Pgseal__TunnelFrame *frame) {
  if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__END) {
    snprintf(relay->farewell, sizeof relay->farewell, "%.*s", (int)frame->data.len, (const char *)frame->data.data);
    return;
  }
  assert_true(frame->connection >= 1 && frame->connection <= RELAY_CONNECTIONS);
  RelayConnection *connection = &relay->connections[frame->connection];
  pthread_mutex_lock(&relay->lock);
  int fd = connection->fd;
  if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__WINDOW)
    connection->may_send += frame->value;
  pthread_mutex_unlock(&relay->lock);
  if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__DATA && fd >= 0) {
    Error gone;
    if (file_write_all(fd, frame->data.data, frame->data.len, &gone) == STATUS_OK)
      relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__WINDOW, frame->connection, NULL, 0, (uint32_t)frame->data.len);
  } else if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__CLOSE && fd >= 0) {
    shutdown(fd, SHUT_RDWR);
  }
}

static inline void *relay_command(void *arg) {
  Relay *relay = arg;
  int status = relay->command(relay);
  if (status < 0)
    relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__END, 0, (uint8_t *)"the client is gone", 18, 0);
  else
    relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__END, 0, NULL, 0, (uint32_t)status);
  return NULL;
}

static inline void relay_offered(Relay *relay, Pgseal__JobProgress *progress) {
  if (!progress->tunnel || relay->offered)
    return;
  relay->offered = true;
  relay->offer = progress->tunnel;
  progress->tunnel = NULL;
  char mac[REHEARSAL_MAC_SIZE];
  rehearsal_offer_mac(relay->shop->secret, relay->job_id, relay->offer->certificate, relay->offer->role,
                      relay->offer->database, mac);
  assert_string_equal(mac, relay->offer->mac);
  assert_ok(file_write_atomic(relay->certificate_path, 0600, relay->offer->certificate,
                              strlen(relay->offer->certificate), err));
  assert_int_equal(pthread_create(&relay->client, NULL, relay_command, relay), 0);
}

static inline void *relay_read(void *arg) {
  Relay *relay = arg;
  Buffer frame = {0};
  Error end;
  while (frame_read(relay->from_child, &frame, &end) == STATUS_OK) {
    Pgseal__JobMessage *message = pgseal__job_message__unpack(NULL, frame.size, frame.data);
    assert_non_null(message);
    if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_PROGRESS)
      relay_offered(relay, message->progress);
    else if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_TUNNEL)
      relay_take(relay, message->tunnel);
    pgseal__job_message__free_unpacked(message, NULL);
  }
  buffer_release(&frame);
  return NULL;
}

static inline void relay_pass(Relay *relay, uint32_t id) {
  uint8_t data[4096];
  RelayConnection *connection = &relay->connections[id];
  pthread_mutex_lock(&relay->lock);
  size_t most = connection->may_send < sizeof data ? connection->may_send : sizeof data;
  pthread_mutex_unlock(&relay->lock);
  ssize_t got = recv(connection->fd, data, most, MSG_DONTWAIT);
  if (got < 0)
    return;
  if (got == 0) {
    pthread_mutex_lock(&relay->lock);
    close(connection->fd);
    connection->fd = -1;
    pthread_mutex_unlock(&relay->lock);
    relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__CLOSE, id, NULL, 0, 0);
    return;
  }
  if (relay->alter && got > 60) { /* behind the handshake: in somebody's statement */
    data[got / 2] ^= 1;
    relay->altered++;
  }
  pthread_mutex_lock(&relay->lock);
  connection->may_send -= (uint32_t)got;
  pthread_mutex_unlock(&relay->lock);
  relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__DATA, id, data, (size_t)got, 0);
}

static inline void relay_accept(Relay *relay) {
  int fd = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  assert_true(relay->opened < RELAY_CONNECTIONS);
  uint32_t id = ++relay->opened;
  pthread_mutex_lock(&relay->lock);
  relay->connections[id] = (RelayConnection){fd, TUNNEL_WINDOW};
  pthread_mutex_unlock(&relay->lock);
  relay_send(relay, PGSEAL__TUNNEL_FRAME__KIND__OPEN, id, NULL, 0, 0);
}

static inline void *relay_sockets(void *arg) {
  Relay *relay = arg;
  while (!relay->stop) {
    struct pollfd fds[RELAY_CONNECTIONS + 1];
    pthread_mutex_lock(&relay->lock);
    fds[0] = (struct pollfd){.fd = relay->listener, .events = POLLIN};
    for (uint32_t i = 1; i <= relay->opened; i++)
      fds[i] = (struct pollfd){.fd = relay->connections[i].may_send ? relay->connections[i].fd : -1, .events = POLLIN};
    uint32_t count = relay->opened;
    pthread_mutex_unlock(&relay->lock);
    if (poll(fds, count + 1, 20) <= 0)
      continue;
    for (uint32_t i = 1; i <= count; i++)
      if (fds[i].revents)
        relay_pass(relay, i);
    if (fds[0].revents)
      relay_accept(relay);
  }
  return NULL;
}

static inline void relay_start(Relay *relay, const Shop *shop, Rehearse *it, int (*command)(Relay *relay)) {
  int down[2], up[2];
  *relay = (Relay){.shop = shop, .command = command};
  snprintf(relay->job_id, sizeof relay->job_id, "%s", it->drill.job.id);
  relay->certificate_path = source_path(&shop->source, "tunnel.crt");
  pthread_mutex_init(&relay->lock, NULL);
  assert_int_equal(pipe2(down, O_CLOEXEC), 0);
  assert_int_equal(pipe2(up, O_CLOEXEC), 0);
  relay->to_child = down[1];
  relay->from_child = up[0];
  close(it->drill.channel.out);
  /* the job's reader thread lives as long as the process, and what it reads from */
  JobChannel *channel = memory_alloc(sizeof *channel);
  *channel = it->drill.channel;
  channel->in = down[0];
  channel->out = up[1];
  it->drill.channel.out = -1;
  it->drill.context.channel = channel;
  assert_ok(job_channel_listen(channel, err));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(relay->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(relay->listener, 16), 0);
  assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&address, &size), 0);
  relay->port = ntohs(address.sin_port);
  assert_int_equal(pthread_create(&relay->reader, NULL, relay_read, relay), 0);
  assert_int_equal(pthread_create(&relay->sockets, NULL, relay_sockets, relay), 0);
}

static inline void relay_stop(Relay *relay, Rehearse *it) {
  close(it->drill.context.channel->out); /* to_child stays open: its end would end the process */
  pthread_join(relay->reader, NULL);
  if (relay->offered)
    pthread_join(relay->client, NULL);
  relay->stop = true;
  pthread_join(relay->sockets, NULL);
  for (uint32_t i = 1; i <= relay->opened; i++)
    if (relay->connections[i].fd >= 0)
      close(relay->connections[i].fd);
  close(relay->from_child);
  close(relay->listener);
  PQfinish(relay->left);
  if (relay->offer)
    pgseal__tunnel_offer__free_unpacked(relay->offer, NULL);
  free(relay->certificate_path);
}

/* Runs a rehearsal whose command is at the relay's other end. */
static inline void relay_rehearse(Relay *relay, const Shop *shop, Rehearse *it, int (*command)(Relay *relay)) {
  relay_start(relay, shop, it, command);
  rehearse_run(it);
  relay_stop(relay, it);
}

/* What `more` (taken) asks for besides a tunnel. */
static inline void tunnel_init(const Shop *shop, json_t *more, Rehearse *it) {
  json_t *request = request_of(more);
  json_object_set_new(request, "tunnel", json_true());
  sign(shop, request);
  rehearse_init(shop, request, it);
  json_decref(request);
}

/* A session through it; what is given replaces what is right. */
static inline PGconn *relay_connect(const Relay *relay, const char *user, const char *password, const char *database,
                                    const char *sslmode) {
  char right[REHEARSAL_MAC_SIZE];
  rehearsal_password(relay->shop->secret, relay->job_id, right);
  CLEANUP_FREE char *port = memory_format("%d", relay->port);
  const char *keys[] = {"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "connect_timeout",
                        NULL};
  const char *values[] = {"127.0.0.1",
                          port,
                          user ? user : relay->offer->role,
                          password ? password : right,
                          database ? database : relay->offer->database,
                          sslmode ? sslmode : "verify-full",
                          relay->certificate_path,
                          "20",
                          NULL};
  return PQconnectdbParams(keys, values, 0);
}

#endif
