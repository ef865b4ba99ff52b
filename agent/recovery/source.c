#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

struct RecoverySource {
  const Manifest *manifest;
  char *prefix;
  PostgresWatch check;
  StoredAhead *ahead;
  const StoredSegment *current; /* NULL: none is held */
  bool *seen;                   /* by segment */
  RecoveryRead read;
};

static RecoveryRead read_nothing(const Manifest *manifest) {
  RecoveryRead read = {.of_segments = manifest->segment_count};
  for (size_t i = 0; i < manifest->segment_count; i++)
    read.of_bytes += manifest->segments[i].size;
  return read;
}

void recovery_source_close(RecoverySource **pointer) {
  RecoverySource *source = *pointer;
  if (!source)
    return;
  stored_ahead_close(&source->ahead);
  free(source->prefix);
  free(source->seen);
  free(source);
  *pointer = NULL;
}

Status recovery_source_open(const StoredPlace *place, const Manifest *manifest, const char *prefix,
                            const PostgresWatch *check, RecoverySource **out, Error *err) {
  CLEANUP(recovery_source_close) RecoverySource *source = memory_alloc(sizeof *source);
  source->manifest = manifest;
  source->prefix = memory_strdup(prefix);
  source->check = *check;
  source->seen = memory_alloc(manifest->segment_count + 1);
  source->read = read_nothing(manifest);
  Status status = stored_ahead_open(place, prefix, &source->ahead, err);
  if (status == STATUS_OK)
    *out = STEAL(source);
  return status;
}

/* The segment that holds the byte at offset, which is in the archive. */
static size_t segment_at(const Manifest *manifest, uint64_t offset) {
  size_t low = 0, high = manifest->segment_count; /* the one sought is in [low, high) */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (manifest->segments[middle].offset <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static uint64_t archive_end(const Manifest *manifest) {
  if (manifest->segment_count == 0)
    return 0;
  const ManifestSegment *last = &manifest->segments[manifest->segment_count - 1];
  return last->offset + last->plain_size;
}

/* Marks the segments that the ranges need; ranges beyond the archive's end need nothing there. */
static void mark_segments(const Manifest *manifest, const ArchiveRange *ranges, size_t count, bool *wanted) {
  uint64_t limit = archive_end(manifest);
  for (size_t i = 0; i < count; i++) {
    uint64_t end = ranges[i].end < limit ? ranges[i].end : limit;
    if (ranges[i].offset >= end)
      continue;
    for (size_t at = segment_at(manifest, ranges[i].offset), last = segment_at(manifest, end - 1); at <= last; at++)
      wanted[at] = true;
  }
}

RecoveryRead recovery_cost(const Manifest *manifest, const ArchiveRange *ranges, size_t count) {
  RecoveryRead cost = read_nothing(manifest);
  CLEANUP_FREE bool *wanted = memory_alloc(manifest->segment_count + 1);
  const ArchiveRange toc = {0, manifest->fingerprint.toc_size};
  mark_segments(manifest, &toc, 1, wanted);
  mark_segments(manifest, ranges, count, wanted);
  for (size_t i = 0; i < manifest->segment_count; i++) {
    cost.segments += wanted[i];
    cost.bytes += wanted[i] ? manifest->segments[i].size : 0;
  }
  return cost;
}

void recovery_source_announce(RecoverySource *source, const ArchiveRange *ranges, size_t count) {
  CLEANUP_FREE bool *wanted = memory_alloc(source->manifest->segment_count + 1);
  mark_segments(source->manifest, ranges, count, wanted);
  stored_ahead_forget(source->ahead);
  for (size_t i = 0; i < source->manifest->segment_count; i++)
    if (wanted[i] && !(source->current && source->current->index == i))
      stored_ahead_want(source->ahead, i);
}

/* Once, however often it is come back to: it is told as a share of all there is. */
static void note_read(RecoverySource *source, const StoredSegment *segment) {
  if (!source->seen[segment->index])
    source->read.bytes += segment->read.size;
  source->read.segments += !source->seen[segment->index];
  source->seen[segment->index] = true;
}

static Status check_segment(const RecoverySource *source, const StoredSegment *segment, Error *err) {
  CLEANUP_FREE char *key = manifest_segment_key(source->prefix, segment->index);
  const ManifestSegment *expected = &source->manifest->segments[segment->index];
  if (segment->status == STATUS_OK || (segment->status == ERR_KEY_MISMATCH && !stored_is(&segment->read, expected)))
    return stored_check(key, &segment->read, expected, err); /* the list of its recipients was altered, not the key */
  *err = segment->failure;
  return segment->status;
}

/* Holds the segment: the current one, one that was announced (those before it are passed over), or asks for it. */
static Status hold_segment(RecoverySource *source, size_t index, Error *err) {
  bool asked = stored_ahead_pending(source->ahead) > 0;
  while (!source->current || source->current->index != index) {
    Status status = source->check.check(source->check.user, err);
    if (status != STATUS_OK)
      return status;
    if (!asked || stored_ahead_pending(source->ahead) == 0) {
      stored_ahead_forget(source->ahead);
      stored_ahead_want(source->ahead, index);
      asked = true;
    }
    source->current = NULL;
    const StoredSegment *segment = stored_ahead_take(source->ahead, RECOVERY_TICK_MS);
    if (!segment)
      continue;
    note_read(source, segment);
    if (segment->index > index) /* what was announced does not hold it */
      asked = false;
    status = check_segment(source, segment, err);
    if (status != STATUS_OK)
      return status;
    source->current = segment;
  }
  return STATUS_OK;
}

Status recovery_source_piece(RecoverySource *source, uint64_t offset, const uint8_t **data, size_t *size, Error *err) {
  if (offset >= archive_end(source->manifest))
    return error_set(err, ERR_INVALID_ARGUMENT, "the archive ends before byte %llu", (unsigned long long)offset);
  size_t index = segment_at(source->manifest, offset);
  Status status = hold_segment(source, index, err);
  if (status != STATUS_OK)
    return status;
  const Buffer *plain = &source->current->plain;
  size_t skip = (size_t)(offset - source->manifest->segments[index].offset);
  *data = plain->data + skip; /* the segment has plain_size bytes: it was checked */
  *size = plain->size - skip;
  return STATUS_OK;
}

static Status read_exactly(void *user, uint64_t offset, uint8_t *out, size_t size, Error *err) {
  while (size > 0) {
    const uint8_t *data;
    size_t got;
    Status status = recovery_source_piece(user, offset, &data, &got, err);
    if (status != STATUS_OK)
      return status;
    got = got < size ? got : size;
    memcpy(out, data, got);
    out += got;
    offset += got;
    size -= got;
  }
  return STATUS_OK;
}

ArchiveSource recovery_source_archive(RecoverySource *source) {
  return (ArchiveSource){.user = source, .read = read_exactly};
}

RecoveryRead recovery_source_read(const RecoverySource *source) {
  return source->read;
}
