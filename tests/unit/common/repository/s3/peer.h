/* A TCP peer on a thread of its own, one connection after the other or each on its own thread, as the test scripts it.
 */
#ifndef PGSEAL_TESTS_REPOSITORY_S3_PEER_H
#define PGSEAL_TESTS_REPOSITORY_S3_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Peer Peer;
typedef void PeerHandle(Peer *peer, int fd, int number); /* fd is closed afterwards */

struct Peer {
  PeerHandle *handle;
  void *user;
  int listener, port;
  pthread_t thread;
  atomic_int connections, live;
};

typedef struct PeerCall {
  Peer *peer;
  int fd, number;
} PeerCall;

static inline void *peer_call(void *user) {
  PeerCall *call = user;
  call->peer->handle(call->peer, call->fd, call->number);
  close(call->fd);
  atomic_fetch_sub(&call->peer->live, 1);
  free(call);
  return NULL;
}

static inline void *peer_loop(void *user) {
  Peer *peer = user;
  for (;;) {
    int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
      return NULL;
    PeerCall *call = malloc(sizeof *call);
    *call = (PeerCall){peer, fd, atomic_fetch_add(&peer->connections, 1)};
    atomic_fetch_add(&peer->live, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, peer_call, call) == 0)
      pthread_detach(thread);
  }
}

static inline void peer_start(Peer *peer, PeerHandle *handle, void *user) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  *peer = (Peer){.handle = handle, .user = user, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(peer->listener, 64), 0);
  assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &size), 0);
  peer->port = ntohs(address.sin_port);
  assert_int_equal(pthread_create(&peer->thread, NULL, peer_loop, peer), 0);
}

/* Clients' connections must be closed by then. */
static inline void peer_stop(Peer *peer) {
  shutdown(peer->listener, SHUT_RDWR);
  pthread_join(peer->thread, NULL);
  close(peer->listener);
  for (int i = 0; i < 1000 && atomic_load(&peer->live) > 0; i++)
    usleep(10000);
  assert_int_equal(atomic_load(&peer->live), 0);
}

/* Head of a request, up to its empty line; 0 at the end of the connection. */
static inline size_t peer_read_head(int fd, char *head, size_t size) {
  size_t length = 0;
  while (length + 1 < size) {
    if (read(fd, head + length, 1) != 1)
      return 0;
    head[++length] = '\0';
    if (length >= 4 && strcmp(head + length - 4, "\r\n\r\n") == 0)
      return length;
  }
  return 0;
}

static inline void peer_write(int fd, const char *text) {
  ssize_t ignored = send(fd, text, strlen(text), MSG_NOSIGNAL);
  (void)ignored;
}

static inline int peer_connect(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

#endif
