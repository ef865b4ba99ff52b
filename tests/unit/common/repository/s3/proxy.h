/* A proxy before the real S3 server, with a fault on each connection. */
#ifndef PGSEAL_TESTS_REPOSITORY_S3_PROXY_H
#define PGSEAL_TESTS_REPOSITORY_S3_PROXY_H

#include <poll.h>

#include "tests/unit/common/repository/s3/peer.h"
#include "tests/unit/common/repository/s3/server.h"

typedef enum FaultKind {
  PASS,
  CUT_UP,     /* after so many bytes from the client */
  CUT_DOWN,   /* after so many bytes from the server */
  LOSE_PUT,   /* what the server answers to a PUT never arrives */
  BUSY,       /* 503 SlowDown */
  STALL,      /* nothing at all, until the client gives up */
  ENDLESS,    /* an answer that says not how long it is, and ends */
  SHORT,      /* fewer bytes than announced */
  NONSENSE,   /* no HTTP */
  REDIRECT,   /* elsewhere */
  NOT_LISTED, /* a listing that is none */
  CANNED,     /* what the test says */
  TUNNEL,     /* no fault: what a company's proxy does */
} FaultKind;

typedef struct Fault {
  FaultKind kind;
  long bytes;
} Fault;

typedef struct Proxy {
  Peer peer;
  int upstream;
  Fault first[16], then; /* of the first connections, and of all later ones */
  int first_count;
  const char *canned;
  char endpoint[64];
} Proxy;

static inline bool proxy_forward(int from, int to, long *left, bool *put) {
  char data[16384];
  ssize_t got = recv(from, data, sizeof data, 0);
  if (got <= 0)
    return false;
  if (put && got > 4 && memcmp(data, "PUT ", 4) == 0)
    *put = true;
  long now = *left >= 0 && got > *left ? *left : got;
  if (*left >= 0)
    *left -= now;
  return send(to, data, (size_t)now, MSG_NOSIGNAL) == now && *left != 0;
}

static inline void proxy_relay(const Proxy *proxy, int client, Fault fault) {
  CLEANUP_CLOSE int upstream = peer_connect(proxy->upstream);
  long up = fault.kind == CUT_UP ? fault.bytes : -1, down = fault.kind == CUT_DOWN ? fault.bytes : -1;
  bool put = false;
  while (upstream >= 0) {
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = upstream, .events = POLLIN}};
    if (poll(ends, 2, 20000) <= 0)
      return;
    if (ends[1].revents && fault.kind == LOSE_PUT && put)
      return;
    if ((ends[0].revents && !proxy_forward(client, upstream, &up, &put)) ||
        (ends[1].revents && !proxy_forward(upstream, client, &down, NULL)))
      return;
  }
}

static inline void proxy_say(int fd, const char *text) {
  char head[8192];
  if (peer_read_head(fd, head, sizeof head))
    peer_write(fd, text);
  shutdown(fd, SHUT_WR);
  while (recv(fd, head, sizeof head, 0) > 0) /* what is on its way must not become a reset that eats the answer */
    continue;
}

static inline void proxy_tunnel(Proxy *proxy, int fd) {
  char head[8192];
  if (!peer_read_head(fd, head, sizeof head) || strncmp(head, "CONNECT ", 8) != 0)
    return;
  peer_write(fd, "HTTP/1.1 200 Established\r\nx-amz-version-id: not-the-bucket's\r\n\r\n");
  proxy_relay(proxy, fd, (Fault){PASS, 0});
}

static inline void proxy_serve(Peer *peer, int fd, int number) {
  Proxy *proxy = peer->user;
  Fault fault = number < proxy->first_count ? proxy->first[number] : proxy->then;
  CLEANUP_FREE char *head = NULL;
  char byte;
  switch (fault.kind) {
  case BUSY:
    proxy_say(fd, "HTTP/1.1 503 Slow Down\r\nContent-Length: 86\r\nConnection: close\r\n\r\n<?xml version=\"1.0\"?>"
                  "<Error><Code>SlowDown</Code><Message>Wait</Message></Error>      ");
    return;
  case ENDLESS:
    proxy_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of");
    return;
  case SHORT:
    proxy_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf of");
    return;
  case NONSENSE:
    proxy_say(fd, "SSH-2.0-OpenSSH_9.2p1\r\n");
    return;
  case REDIRECT:
    proxy_say(fd,
              "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-west-7\r\nLocation: http://127.0.0.1:1/\r\n"
              "Content-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  case NOT_LISTED:
    proxy_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>");
    return;
  case CANNED:
    head = memory_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(proxy->canned),
                         proxy->canned);
    proxy_say(fd, head);
    return;
  case TUNNEL:
    proxy_tunnel(proxy, fd);
    return;
  case STALL:
    while (recv(fd, &byte, 1, 0) > 0)
      continue;
    return;
  default:
    proxy_relay(proxy, fd, fault);
  }
}

static inline void proxy_start(Proxy *proxy, const Server *server) {
  proxy->upstream = (int)strtol(strrchr(server->http, ':') + 1, NULL, 10);
  peer_start(&proxy->peer, proxy_serve, proxy);
  snprintf(proxy->endpoint, sizeof proxy->endpoint, "http://127.0.0.1:%d", proxy->peer.port);
}

#endif
