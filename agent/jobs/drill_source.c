#include <stdlib.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

struct DrillSource {
  DrillRun *run;
  StoredAhead *ahead;
  size_t asked, taken; /* segments */
};

void drill_source_close(DrillSource **pointer) {
  DrillSource *source = *pointer;
  if (!source)
    return;
  stored_ahead_close(&source->ahead);
  free(source);
  *pointer = NULL;
}

Status drill_source_open(DrillRun *run, DrillSource **out, Error *err) {
  CLEANUP(drill_source_close) DrillSource *source = memory_alloc(sizeof *source);
  source->run = run;
  const StoredPlace place = drill_place(run);
  Status status = stored_ahead_open(&place, run->prefix, &source->ahead, err);
  if (status == STATUS_OK)
    *out = STEAL(source);
  return status;
}

static Status source_take(DrillSource *source, const StoredSegment *segment, const Buffer **plain, Error *err) {
  DrillRun *run = source->run;
  source->taken++;
  if (segment->status != STATUS_OK) {
    *err = segment->failure;
    return drill_manifest_blame(run, segment->index, &segment->read, err);
  }
  ARRAY_PUSH(run->segments_read, run->segment_count, segment->read);
  Status status = run->manifest_read ? drill_manifest_check_segment(run, run->segment_count - 1, err) : STATUS_OK;
  if (status == STATUS_OK)
    *plain = &segment->plain;
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
    while (source->asked < run->available)
      stored_ahead_want(source->ahead, source->asked++);
    if (run->manifest_read && source->taken >= run->manifest.segment_count) {
      *plain = NULL;
      return STATUS_OK;
    }
    bool idle = source->taken >= source->asked;
    const StoredSegment *segment = stored_ahead_take(source->ahead, idle ? 0 : DRILL_TICK_MS);
    if (segment)
      return source_take(source, segment, plain, err);
    if (idle && !run->stored)
      status = drill_follow(run, DRILL_TICK_MS, err);
    if (status != STATUS_OK)
      return status;
    drill_report(run, false);
  }
}

Status drill_manifest_blame(DrillRun *run, size_t index, const StoredRead *read, Error *err) {
  if (err->status != ERR_KEY_MISMATCH)
    return err->status;
  const Error mismatch = *err;
  Status status = drill_await_manifest(run, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *key =
      index == DRILL_ROLES ? manifest_roles_key(run->prefix) : manifest_segment_key(run->prefix, index);
  if (index == DRILL_ROLES && run->manifest.has_roles && !stored_is(read, &run->manifest.roles))
    return stored_check(key, read, &run->manifest.roles, err);
  if (index < run->manifest.segment_count && !stored_is(read, &run->manifest.segments[index]))
    return stored_check(key, read, &run->manifest.segments[index], err);
  *err = mismatch;
  return err->status;
}
