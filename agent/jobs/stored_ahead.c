#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "agent/jobs/stored.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { AHEAD_THREADS = 2 };

typedef struct AheadSlot {
  StoredSegment segment;
  bool ready;
} AheadSlot;

struct StoredAhead {
  StoredPlace place;
  char *prefix;
  pthread_t threads[AHEAD_THREADS];
  size_t thread_count;
  bool taken; /* the consumer holds number `consumed` */

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  size_t *wanted; /* indices of segments, by number */
  size_t wanted_count, next, consumed;
  bool stop;
  AheadSlot slots[STORED_AHEAD];
};

static bool ahead_may_read(const StoredAhead *ahead) {
  return ahead->next < ahead->wanted_count && ahead->next < ahead->consumed + STORED_AHEAD;
}

static void *ahead_thread(void *user) {
  StoredAhead *ahead = user;
  pthread_mutex_lock(&ahead->lock);
  for (;;) {
    while (!ahead->stop && !ahead_may_read(ahead))
      pthread_cond_wait(&ahead->changed, &ahead->lock);
    if (ahead->stop)
      break;
    size_t number = ahead->next++;
    AheadSlot *slot = &ahead->slots[number % STORED_AHEAD];
    StoredSegment *segment = &slot->segment;
    segment->index = ahead->wanted[number];
    pthread_mutex_unlock(&ahead->lock);
    CLEANUP_FREE char *key = manifest_segment_key(ahead->prefix, segment->index);
    segment->read = (StoredRead){0};
    segment->status = stored_read(&ahead->place, key, &segment->plain, &segment->read, &segment->failure);
    pthread_mutex_lock(&ahead->lock);
    slot->ready = true;
    pthread_cond_broadcast(&ahead->changed);
  }
  pthread_mutex_unlock(&ahead->lock);
  return NULL;
}

void stored_ahead_close(StoredAhead **pointer) {
  StoredAhead *ahead = *pointer;
  if (!ahead)
    return;
  pthread_mutex_lock(&ahead->lock);
  ahead->stop = true;
  pthread_cond_broadcast(&ahead->changed);
  pthread_mutex_unlock(&ahead->lock);
  for (size_t i = 0; i < ahead->thread_count; i++)
    pthread_join(ahead->threads[i], NULL);
  for (size_t i = 0; i < STORED_AHEAD; i++)
    buffer_release(&ahead->slots[i].segment.plain);
  pthread_cond_destroy(&ahead->changed);
  pthread_mutex_destroy(&ahead->lock);
  free(ahead->wanted);
  free(ahead->prefix);
  free(ahead);
  *pointer = NULL;
}

Status stored_ahead_open(const StoredPlace *place, const char *prefix, StoredAhead **out, Error *err) {
  CLEANUP(stored_ahead_close) StoredAhead *ahead = memory_alloc(sizeof *ahead);
  ahead->place = *place;
  ahead->prefix = memory_strdup(prefix);
  pthread_mutex_init(&ahead->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&ahead->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  for (size_t i = 0; i < AHEAD_THREADS; i++) {
    int failed = pthread_create(&ahead->threads[i], NULL, ahead_thread, ahead);
    if (failed)
      return error_set_errno(err, failed, "cannot start a thread");
    ahead->thread_count++;
  }
  *out = STEAL(ahead);
  return STATUS_OK;
}

void stored_ahead_want(StoredAhead *ahead, size_t index) {
  pthread_mutex_lock(&ahead->lock);
  ARRAY_PUSH(ahead->wanted, ahead->wanted_count, index);
  pthread_cond_broadcast(&ahead->changed);
  pthread_mutex_unlock(&ahead->lock);
}

void stored_ahead_forget(StoredAhead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  ahead->wanted_count = ahead->next;
  pthread_mutex_unlock(&ahead->lock);
}

size_t stored_ahead_pending(StoredAhead *ahead) {
  pthread_mutex_lock(&ahead->lock);
  size_t pending = ahead->wanted_count - ahead->consumed - (ahead->taken ? 1 : 0);
  pthread_mutex_unlock(&ahead->lock);
  return pending;
}

/* Gives the consumer's segment back, and with that room to the threads. With the lock held. */
static void ahead_give_back(StoredAhead *ahead) {
  if (!ahead->taken)
    return;
  ahead->slots[ahead->consumed % STORED_AHEAD].ready = false;
  ahead->consumed++;
  ahead->taken = false;
  pthread_cond_broadcast(&ahead->changed);
}

const StoredSegment *stored_ahead_take(StoredAhead *ahead, int timeout_ms) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&ahead->lock);
  ahead_give_back(ahead);
  const AheadSlot *slot = &ahead->slots[ahead->consumed % STORED_AHEAD];
  int waited = 0;
  while (ahead->consumed < ahead->wanted_count && !slot->ready && waited != ETIMEDOUT)
    waited = pthread_cond_timedwait(&ahead->changed, &ahead->lock, &until);
  ahead->taken = slot->ready; /* no thread touches it now */
  pthread_mutex_unlock(&ahead->lock);
  return ahead->taken ? &slot->segment : NULL;
}
