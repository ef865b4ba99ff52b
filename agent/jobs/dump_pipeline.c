#include "agent/jobs/dump_pipeline.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { PIPELINE_TICK_MS = 200, PIPELINE_WORKERS_MAX = 64 };

typedef struct Slot {
  uint8_t *data;
  size_t capacity, used, index;
  uint64_t offset;
  struct Slot *next; /* in the free list or the queue */
} Slot;

struct DumpPipeline {
  DumpPipelineOptions options;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* monotonic clock */
  pthread_t *threads;
  size_t thread_count;
  Slot *slots, *current; /* current belongs to the filling thread */
  Slot *free_list, *queue_head, *queue_tail;
  ManifestSegment *segments;
  bool *done;
  size_t segment_count, contiguous, done_count; /* segment_count: handed over */
  uint64_t offset, bytes_stored;
  bool closing, failed;
  Error failure;
};

size_t dump_pipeline_segment_size(size_t ordinary, int workers, size_t index, uint64_t offset) {
  /* Data that does not compress is held three times over while a worker encodes it: packed, encrypted, encoded. */
  size_t held = (size_t)workers + 2 + 3 * (size_t)workers, size = ordinary;
  for (size_t doublings = index / PIPELINE_GROW_AFTER; doublings > 0; doublings--) {
    if (2 * size * held > PIPELINE_MEMORY)
      break;
    size *= 2;
  }
  uint64_t share = offset / PIPELINE_PARTS / PIPELINE_STEP * PIPELINE_STEP;
  share = share > PIPELINE_STEP ? share : PIPELINE_STEP;
  return share < size ? (size_t)share : size;
}

static Slot *queue_take(DumpPipeline *pipeline) {
  Slot *slot = pipeline->queue_head;
  if (slot)
    pipeline->queue_head = slot->next;
  if (!pipeline->queue_head)
    pipeline->queue_tail = NULL;
  return slot;
}

/* Under the lock. */
static void mark_stored(DumpPipeline *pipeline, const Slot *slot, const ManifestSegment *segment) {
  pipeline->segments[slot->index] = *segment;
  pipeline->done[slot->index] = true;
  pipeline->done_count++;
  pipeline->bytes_stored += segment->size;
  while (pipeline->contiguous < pipeline->segment_count && pipeline->done[pipeline->contiguous])
    pipeline->contiguous++;
  if (pipeline->options.stored)
    pipeline->options.stored(pipeline->options.user, pipeline->contiguous, pipeline->bytes_stored);
}

static void *work(void *argument) {
  DumpPipeline *pipeline = argument;
  CLEANUP(buffer_release) Buffer encoded = {0};
  pthread_mutex_lock(&pipeline->lock);
  for (;;) {
    while (!pipeline->queue_head && !pipeline->closing)
      pthread_cond_wait(&pipeline->changed, &pipeline->lock);
    Slot *slot = pipeline->closing ? NULL : queue_take(pipeline);
    if (!slot)
      break;
    pthread_mutex_unlock(&pipeline->lock);

    CLEANUP_FREE char *key = manifest_segment_key(pipeline->options.prefix, slot->index);
    ManifestSegment segment = {.offset = slot->offset};
    Error failure;
    Status status = dump_store_put(&pipeline->options.store, key, slot->data, slot->used, &encoded, &segment, &failure);

    pthread_mutex_lock(&pipeline->lock);
    if (status == STATUS_OK) {
      mark_stored(pipeline, slot, &segment);
    } else if (!pipeline->failed) {
      pipeline->failed = true;
      pipeline->failure = failure;
    }
    slot->next = pipeline->free_list;
    pipeline->free_list = slot;
    pthread_cond_broadcast(&pipeline->changed);
  }
  pthread_mutex_unlock(&pipeline->lock);
  return NULL;
}

static void condition_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

Status dump_pipeline_open(const DumpPipelineOptions *options, DumpPipeline **out, Error *err) {
  if (options->workers < 1 || options->workers > PIPELINE_WORKERS_MAX || options->segment_size < 1)
    return error_set(err, ERR_INVALID_ARGUMENT, "%d segment workers: between 1 and %d are possible", options->workers,
                     PIPELINE_WORKERS_MAX);
  CLEANUP(dump_pipeline_close) DumpPipeline *pipeline = memory_alloc(sizeof *pipeline);
  pipeline->options = *options;
  pthread_mutex_init(&pipeline->lock, NULL);
  condition_init(&pipeline->changed);
  size_t workers = (size_t)options->workers;
  pipeline->slots = memory_alloc((workers + 2) * sizeof *pipeline->slots);
  for (size_t i = 0; i < workers + 2; i++) {
    pipeline->slots[i].next = pipeline->free_list;
    pipeline->free_list = &pipeline->slots[i];
  }
  pipeline->threads = memory_alloc(workers * sizeof *pipeline->threads);
  for (; pipeline->thread_count < workers; pipeline->thread_count++) {
    int failed = pthread_create(&pipeline->threads[pipeline->thread_count], NULL, work, pipeline);
    if (failed)
      return error_set(err, ERR_NO_MEMORY, "a thread for encoding segments could not be started: %s", strerror(failed));
  }
  *out = STEAL(pipeline);
  return STATUS_OK;
}

static void join(DumpPipeline *pipeline) {
  pthread_mutex_lock(&pipeline->lock);
  pipeline->closing = true;
  pthread_cond_broadcast(&pipeline->changed);
  pthread_mutex_unlock(&pipeline->lock);
  for (size_t i = 0; i < pipeline->thread_count; i++)
    pthread_join(pipeline->threads[i], NULL);
  pipeline->thread_count = 0;
}

void dump_pipeline_close(DumpPipeline **pipeline_pointer) {
  DumpPipeline *pipeline = STEAL(*pipeline_pointer);
  if (!pipeline)
    return;
  join(pipeline);
  for (int i = 0; i < pipeline->options.workers + 2; i++)
    free(pipeline->slots[i].data);
  free(pipeline->slots);
  free(pipeline->threads);
  free(pipeline->segments);
  free(pipeline->done);
  pthread_cond_destroy(&pipeline->changed);
  pthread_mutex_destroy(&pipeline->lock);
  free(pipeline);
}

/* Under the lock: waits a tick for a change, then says whether to go on. */
static Status wait_for_change(DumpPipeline *pipeline, Error *err) {
  if (!pipeline->failed) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PIPELINE_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&pipeline->changed, &pipeline->lock, &until);
  }
  if (pipeline->failed) {
    *err = pipeline->failure;
    return err->status;
  }
  return pipeline->options.store.check(pipeline->options.store.user, err);
}

static Status take_slot(DumpPipeline *pipeline, Error *err) {
  Status status = STATUS_OK;
  pthread_mutex_lock(&pipeline->lock);
  while (status == STATUS_OK && (!pipeline->free_list || pipeline->failed))
    status = wait_for_change(pipeline, err);
  if (status == STATUS_OK) {
    pipeline->current = pipeline->free_list;
    pipeline->free_list = pipeline->current->next;
  }
  size_t index = pipeline->segment_count;
  pthread_mutex_unlock(&pipeline->lock);
  if (status != STATUS_OK)
    return status;

  Slot *slot = pipeline->current;
  size_t wanted =
      dump_pipeline_segment_size(pipeline->options.segment_size, pipeline->options.workers, index, pipeline->offset);
  if (slot->capacity != wanted) {
    free(slot->data);
    slot->data = memory_alloc(wanted);
    slot->capacity = wanted;
  }
  slot->used = 0;
  return STATUS_OK;
}

Status dump_pipeline_space(DumpPipeline *pipeline, uint8_t **data, size_t *size, Error *err) {
  if (!pipeline->current) {
    Status status = take_slot(pipeline, err);
    if (status != STATUS_OK)
      return status;
  }
  *data = pipeline->current->data + pipeline->current->used;
  *size = pipeline->current->capacity - pipeline->current->used;
  return STATUS_OK;
}

void dump_pipeline_commit(DumpPipeline *pipeline, size_t size) {
  pipeline->current->used += size;
  if (pipeline->current->used == pipeline->current->capacity)
    dump_pipeline_cut(pipeline);
}

void dump_pipeline_cut(DumpPipeline *pipeline) {
  Slot *slot = pipeline->current;
  if (!slot || slot->used == 0)
    return;
  pipeline->current = NULL;
  slot->next = NULL;
  slot->offset = pipeline->offset;
  pipeline->offset += slot->used;
  pthread_mutex_lock(&pipeline->lock);
  slot->index = pipeline->segment_count;
  size_t flags = pipeline->segment_count;
  ARRAY_PUSH(pipeline->done, flags, false);
  ARRAY_PUSH(pipeline->segments, pipeline->segment_count, (ManifestSegment){0});
  if (pipeline->queue_tail)
    pipeline->queue_tail->next = slot;
  else
    pipeline->queue_head = slot;
  pipeline->queue_tail = slot;
  pthread_cond_broadcast(&pipeline->changed);
  pthread_mutex_unlock(&pipeline->lock);
}

Status dump_pipeline_finish(DumpPipeline *pipeline, ManifestSegment **segments, size_t *count, Error *err) {
  dump_pipeline_cut(pipeline);
  Status status = STATUS_OK;
  pthread_mutex_lock(&pipeline->lock);
  while (status == STATUS_OK && (pipeline->done_count < pipeline->segment_count || pipeline->failed))
    status = wait_for_change(pipeline, err);
  pthread_mutex_unlock(&pipeline->lock);
  if (status != STATUS_OK)
    return status;
  join(pipeline);
  *segments = STEAL(pipeline->segments);
  *count = pipeline->segment_count;
  return STATUS_OK;
}
