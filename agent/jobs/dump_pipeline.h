/*
 * Cuts the archive stream into segments, and encodes and stores several of them at once.
 *
 * One thread fills (space, commit, cut, finish, free); the pipeline's own threads encode and put. Memory is
 * bounded: at most workers + 2 plaintext segments, and what encoding one takes per worker. Segments may be stored in
 * any order; `stored` is told how many are there without a gap, which is what a drill may read.
 */
#ifndef PGSEAL_AGENT_JOBS_DUMP_PIPELINE_H
#define PGSEAL_AGENT_JOBS_DUMP_PIPELINE_H

#include "agent/jobs/dump_store.h"

/* Segments double in size after this many, so that there are not too many of a large archive; as far as the memory that
 * they take on their way allows. But none is more than a small part of what is before it, so that whoever wants a few
 * small tables reads little of any archive: one of the PIPELINE_PARTS of it, in whole steps, and one step at least. */
enum { PIPELINE_GROW_AFTER = 1024, PIPELINE_MEMORY = 320 << 20, PIPELINE_PARTS = 256, PIPELINE_STEP = 1 << 20 };

typedef struct DumpPipelineOptions {
  DumpStore store;
  const char *prefix; /* of the keys; outlives the pipeline */
  int workers;
  size_t segment_size;
  /* Any thread, one call at a time: `contiguous` segments from 0 on are stored, `bytes` in all. May be NULL. */
  void (*stored)(void *user, size_t contiguous, uint64_t bytes);
  void *user;
} DumpPipelineOptions;

typedef struct DumpPipeline DumpPipeline;
Status dump_pipeline_open(const DumpPipelineOptions *options, DumpPipeline **out, Error *err) MUST_CHECK;
/* Ends the threads after what they have in hand; stored objects stay. For CLEANUP(). */
void dump_pipeline_close(DumpPipeline **pipeline);

/* Where to put the next bytes, at least one; waits for a buffer. Returns the failure of a worker, too. */
Status dump_pipeline_space(DumpPipeline *pipeline, uint8_t **data, size_t *size, Error *err) MUST_CHECK;
/* `size` bytes of that space were filled. A full segment is handed over. */
void dump_pipeline_commit(DumpPipeline *pipeline, size_t size);
/* Ends the current segment here, unless it is empty. */
void dump_pipeline_cut(DumpPipeline *pipeline);
/* Cuts, and waits until all is stored. *segments is the caller's to free. */
Status dump_pipeline_finish(DumpPipeline *pipeline, ManifestSegment **segments, size_t *count, Error *err) MUST_CHECK;
/* How large segment `index`, which begins at `offset` of the archive, may get, in bytes: the `ordinary` ones, less near
 * the archive's beginning, and more only within PIPELINE_MEMORY. Pure. */
size_t dump_pipeline_segment_size(size_t ordinary, int workers, size_t index, uint64_t offset);

#endif
