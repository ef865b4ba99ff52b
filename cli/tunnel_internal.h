/* The TunnelClient itself. Internal to cli/tunnel*.c. */
#ifndef PGSEAL_CLI_TUNNEL_INTERNAL_H
#define PGSEAL_CLI_TUNNEL_INTERNAL_H

#include <pthread.h>

#include "cli/tunnel.h"
#include "common/rehearsal/tunnel.h"
#include "proto/pgseal.pb-c.h"

typedef struct Connection {
  int fd;          /* -1: none */
  uint32_t number; /* 0: the slot is free; without an fd the other end still has it */
  size_t window;   /* bytes that may be sent to the other end */
  Buffer in;       /* from there, not written yet */
  size_t taken;    /* bytes written since the other end was told */
  bool closing;    /* the other end closed it: gone when all is written */
} Connection;

struct TunnelClient {
  Http *sends, *receives; /* each its thread's */
  char *path;
  int listener, port, wake; /* wake: an eventfd that the sockets' thread waits for, too */
  pthread_t threads[3];
  size_t thread_count;
  atomic_bool stop; /* the threads end */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  /* under the lock: */
  Connection connections[TUNNEL_CONNECTIONS];
  Pgseal__TunnelFrame **frames; /* not known to have arrived; owned */
  size_t frame_count;
  uint64_t sequence, received;
  uint32_t numbers;
  bool draining; /* no new connections */
  bool over;     /* the other end said END, or the tunnel is broken: why */
  Error why;
};

/* Under the lock. */
void tunnel_push(TunnelClient *client, uint32_t connection, Pgseal__TunnelFrame__Kind kind, const void *data,
                 size_t size, uint32_t value);
void tunnel_over(TunnelClient *client, const Error *why); /* the first reason counts */
void tunnel_wake(const TunnelClient *client);

/* tunnel_sockets.c */
Status tunnel_sockets_listen(TunnelClient *client, Error *err) MUST_CHECK;
void *tunnel_sockets_run(void *client);
/* Under the lock; false: the frame is against the rules. */
bool tunnel_sockets_take(TunnelClient *client, const Pgseal__TunnelFrame *frame);

#endif
