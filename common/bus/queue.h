/*
 * Hands things from nng's threads to the loop's: a locked list and a uv_async. Internal to common/bus.
 * queue_push is for any thread; the rest for the loop's.
 */
#ifndef PGSEAL_COMMON_BUS_QUEUE_H
#define PGSEAL_COMMON_BUS_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

typedef struct QueueItem { /* embedded as first member of what is handed over */
  struct QueueItem *next;
  bool queued;
} QueueItem;

typedef struct Queue {
  uv_async_t async;
  pthread_mutex_t lock;
  QueueItem *first, *last;
  void (*handle)(void *user, QueueItem *item);
  void *user;
} Queue;

int queue_open(Queue *queue, uv_loop_t *loop, void (*handle)(void *user, QueueItem *item),
               void *user);                         /* 0, or a uv error */
void queue_push(Queue *queue, QueueItem *item);     /* an item may be in the queue once at a time */
void queue_remove(Queue *queue, QueueItem *item);   /* before an item that may still be queued is freed */
void queue_close(Queue *queue, uv_close_cb closed); /* items left are dropped; async.data is the queue */

#endif
