/* A receiver of HTTP on loopback, on a thread of its own: it keeps what it got and answers what it is told to. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_ALERTS_RECEIVER_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_ALERTS_RECEIVER_H

#include <arpa/inet.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/memory.h"

enum { RECEIVED_LIMIT = 64, RECEIVED_SIZE = 64 << 10 };

typedef struct Received {
  char *head, *body; /* one text: the body follows the head */
} Received;

typedef struct Receiver {
  int fd, port;
  pthread_t thread;
  atomic_int answer; /* the status of the next answers */
  const char *more;  /* headers of them; or NULL */
  atomic_int count;  /* of what is complete in got */
  Received got[RECEIVED_LIMIT];
  atomic_bool stopping;
} Receiver;

static inline bool receive_all(int fd, char *text, size_t size) {
  size_t used = 0;
  for (;;) {
    ssize_t got = recv(fd, text + used, size - used - 1, 0);
    if (got <= 0)
      return false;
    used += (size_t)got;
    text[used] = 0;
    char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "Content-Length: ");
    if (end && used >= (size_t)(end + 4 - text) + (length ? strtoul(length + 16, NULL, 10) : 0))
      return true;
  }
}

static inline void *receiver_run(void *argument) {
  Receiver *r = argument;
  while (!atomic_load(&r->stopping)) {
    int fd = accept(r->fd, NULL, NULL);
    if (fd < 0)
      break;
    int number = atomic_load(&r->count);
    char *text = memory_alloc(RECEIVED_SIZE), answer[256];
    if (number < RECEIVED_LIMIT && receive_all(fd, text, RECEIVED_SIZE)) {
      char *end = strstr(text, "\r\n\r\n");
      end[2] = 0;
      r->got[number] = (Received){text, end + 4};
      snprintf(answer, sizeof answer, "HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n%s\r\nok",
               atomic_load(&r->answer), r->more ? r->more : "");
      atomic_store(&r->count, number + 1); /* ahead of the answer: whoever has that finds this */
      (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    } else {
      free(text);
    }
    close(fd);
  }
  return NULL;
}

/* port 0: any. */
static inline void receiver_open(Receiver *r, int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  memset(r, 0, sizeof *r);
  atomic_store(&r->answer, 200);
  r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(r->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  assert_int_equal(bind(r->fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(r->fd, 16), 0);
  assert_int_equal(getsockname(r->fd, (struct sockaddr *)&address, &size), 0);
  r->port = ntohs(address.sin_port);
  assert_int_equal(pthread_create(&r->thread, NULL, receiver_run, r), 0);
}

static inline void receiver_close(Receiver *r) {
  atomic_store(&r->stopping, true);
  shutdown(r->fd, SHUT_RDWR);
  pthread_join(r->thread, NULL);
  close(r->fd);
  for (int i = 0; i < atomic_load(&r->count); i++)
    free(r->got[i].head);
}

static inline json_t *received_body(const Receiver *r, int number) {
  json_t *json = json_loads(r->got[number].body, 0, NULL);
  assert_non_null(json);
  return json;
}

static inline char *received_header(const Receiver *r, int number, const char *name) {
  const char *at = strcasestr(r->got[number].head, name);
  assert_non_null(at);
  at += strlen(name) + 2;
  return memory_strndup(at, strcspn(at, "\r"));
}

#endif
