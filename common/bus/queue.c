#include "common/bus/queue.h"

static QueueItem *take(Queue *queue) {
  pthread_mutex_lock(&queue->lock);
  QueueItem *item = queue->first;
  if (item) {
    queue->first = item->next;
    if (!queue->first)
      queue->last = NULL;
    item->queued = false;
  }
  pthread_mutex_unlock(&queue->lock);
  return item;
}

static void on_async(uv_async_t *async) {
  Queue *queue = async->data;
  QueueItem *item;
  while (!uv_is_closing((uv_handle_t *)async) && (item = take(queue)))
    queue->handle(queue->user, item);
}

int queue_open(Queue *queue, uv_loop_t *loop, void (*handle)(void *user, QueueItem *item), void *user) {
  *queue = (Queue){.handle = handle, .user = user};
  pthread_mutex_init(&queue->lock, NULL);
  int rc = uv_async_init(loop, &queue->async, on_async);
  queue->async.data = queue;
  return rc;
}

void queue_push(Queue *queue, QueueItem *item) {
  pthread_mutex_lock(&queue->lock);
  if (!item->queued) {
    item->queued = true;
    item->next = NULL;
    if (queue->last)
      queue->last->next = item;
    else
      queue->first = item;
    queue->last = item;
  }
  pthread_mutex_unlock(&queue->lock);
  uv_async_send(&queue->async);
}

void queue_remove(Queue *queue, QueueItem *item) {
  pthread_mutex_lock(&queue->lock);
  QueueItem *before = NULL;
  for (QueueItem *at = queue->first; at && item->queued; before = at, at = at->next) {
    if (at != item)
      continue;
    if (before)
      before->next = item->next;
    else
      queue->first = item->next;
    if (queue->last == item)
      queue->last = before;
    item->queued = false;
  }
  pthread_mutex_unlock(&queue->lock);
}

void queue_close(Queue *queue, uv_close_cb closed) {
  uv_close((uv_handle_t *)&queue->async, closed);
}
