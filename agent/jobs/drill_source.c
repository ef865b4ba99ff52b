#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { SOURCE_THREADS = 2, SOURCE_WINDOW = 3 };

typedef struct SourceSlot {
  Buffer plain;
  DrillRead read;
  Status status;
  Error failure;
  bool ready;
} SourceSlot;

struct DrillSource {
  DrillRun *run; /* threads use its repository and key only */
  char *prefix;
  pthread_t threads[SOURCE_THREADS];
  size_t thread_count;
  bool taken; /* the consumer holds the segment before `consumed` + 1 */

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  size_t available, next, consumed;
  bool stop;
  SourceSlot slots[SOURCE_WINDOW];
};

Status drill_object_read(const DrillRun *run, const char *key, Buffer *plain, DrillRead *read, Error *err) {
  CLEANUP(buffer_release) Buffer stored = {0};
  Status status = repository_get_stored(run->repository, key, DRILL_OBJECT_LIMIT, &stored, err);
  if (status != STATUS_OK)
    return status;
  *read = (DrillRead){.size = stored.size};
  sha256_hex(stored.data, stored.size, read->sha256);
  status = segment_decode(run->key, stored.data, stored.size, DRILL_OBJECT_LIMIT, plain, err);
  if (status != STATUS_OK) {
    error_prefix(err, "%s", key);
    if (!*err->object)
      error_object(err, "%s", key);
    return status;
  }
  read->plain_size = plain->size;
  sha256_hex(plain->data, plain->size, read->plain_sha256);
  return STATUS_OK;
}

static bool source_may_read(const DrillSource *source) {
  return source->next < source->available && source->next < source->consumed + SOURCE_WINDOW;
}

static void *source_thread(void *user) {
  DrillSource *source = user;
  pthread_mutex_lock(&source->lock);
  for (;;) {
    while (!source->stop && !source_may_read(source))
      pthread_cond_wait(&source->changed, &source->lock);
    if (source->stop)
      break;
    size_t index = source->next++;
    SourceSlot *slot = &source->slots[index % SOURCE_WINDOW];
    pthread_mutex_unlock(&source->lock);
    CLEANUP_FREE char *key = manifest_segment_key(source->prefix, index);
    slot->status = drill_object_read(source->run, key, &slot->plain, &slot->read, &slot->failure);
    pthread_mutex_lock(&source->lock);
    slot->ready = true;
    pthread_cond_broadcast(&source->changed);
  }
  pthread_mutex_unlock(&source->lock);
  return NULL;
}

void drill_source_close(DrillSource **pointer) {
  DrillSource *source = *pointer;
  if (!source)
    return;
  pthread_mutex_lock(&source->lock);
  source->stop = true;
  pthread_cond_broadcast(&source->changed);
  pthread_mutex_unlock(&source->lock);
  for (size_t i = 0; i < source->thread_count; i++)
    pthread_join(source->threads[i], NULL);
  for (size_t i = 0; i < SOURCE_WINDOW; i++)
    buffer_release(&source->slots[i].plain);
  pthread_cond_destroy(&source->changed);
  pthread_mutex_destroy(&source->lock);
  free(source->prefix);
  free(source);
  *pointer = NULL;
}

Status drill_source_open(DrillRun *run, DrillSource **out, Error *err) {
  CLEANUP(drill_source_close) DrillSource *source = memory_alloc(sizeof *source);
  source->run = run;
  source->prefix = memory_strdup(run->prefix);
  pthread_mutex_init(&source->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&source->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  for (size_t i = 0; i < SOURCE_THREADS; i++) {
    int failed = pthread_create(&source->threads[i], NULL, source_thread, source);
    if (failed)
      return error_set_errno(err, failed, "cannot start a thread");
    source->thread_count++;
  }
  *out = STEAL(source);
  return STATUS_OK;
}

/* With the lock held. Waits at most a tick. */
static void source_wait(DrillSource *source) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)DRILL_TICK_MS * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  (void)pthread_cond_timedwait(&source->changed, &source->lock, &until);
}

/* Gives the consumer's segment back, and tells the threads how far they may go. */
static void source_advance(DrillSource *source) {
  pthread_mutex_lock(&source->lock);
  if (source->taken) {
    source->slots[source->consumed % SOURCE_WINDOW].ready = false;
    source->consumed++;
    source->taken = false;
  }
  source->available = (size_t)source->run->available;
  pthread_cond_broadcast(&source->changed);
  pthread_mutex_unlock(&source->lock);
}

/* Is the next one read? If it is still being read, waits a little. *idle: there is nothing to wait for yet. */
static bool source_ready(DrillSource *source, bool *idle) {
  pthread_mutex_lock(&source->lock);
  SourceSlot *slot = &source->slots[source->consumed % SOURCE_WINDOW];
  *idle = source->consumed >= source->available;
  if (!*idle && !slot->ready)
    source_wait(source);
  bool ready = !*idle && slot->ready;
  pthread_mutex_unlock(&source->lock);
  return ready;
}

static Status source_take(DrillSource *source, const Buffer **plain, Error *err) {
  DrillRun *run = source->run;
  SourceSlot *slot = &source->slots[source->consumed % SOURCE_WINDOW]; /* ready: no thread touches it */
  source->taken = true;
  if (slot->status != STATUS_OK) {
    *err = slot->failure;
    return drill_manifest_blame(run, source->consumed, &slot->read, err);
  }
  ARRAY_PUSH(run->segments_read, run->segment_count, slot->read);
  Status status = run->manifest_read ? drill_manifest_check_segment(run, run->segment_count - 1, err) : STATUS_OK;
  if (status == STATUS_OK)
    *plain = &slot->plain;
  return status;
}

Status drill_source_next(DrillSource *source, const Buffer **plain, Error *err) {
  DrillRun *run = source->run;
  for (;;) {
    Status status = drill_check(run, err);
    if (status == STATUS_OK && run->stored && !run->manifest_read)
      status = drill_manifest_read(run, err);
    if (status != STATUS_OK)
      return status;
    source_advance(source);
    if (run->manifest_read && source->consumed >= run->manifest.segment_count) {
      *plain = NULL;
      return STATUS_OK;
    }
    bool idle;
    if (source_ready(source, &idle))
      return source_take(source, plain, err);
    if (idle && !run->stored)
      status = drill_follow(run, DRILL_TICK_MS, err);
    if (status != STATUS_OK)
      return status;
    drill_report(run, false);
  }
}
