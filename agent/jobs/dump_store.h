/* One object of a checkpoint: encode, hash, put, with retries of what may pass. Any thread; blocks. */
#ifndef PGSEAL_AGENT_JOBS_DUMP_STORE_H
#define PGSEAL_AGENT_JOBS_DUMP_STORE_H

#include "common/manifest/manifest.h"

typedef struct DumpStore {
  Repository *repository;
  const Recipients *recipients;
  int zstd_level;
  Status (*check)(void *user, Error *err); /* cancel and budget; asked between tries */
  void *user;
  int64_t backoff_us; /* before the second try; doubles, with jitter. 0: 200 ms */
} DumpStore;

/* Stores plain[0..size) under key. Fills *out but for its offset. `encoded` is scratch memory that may be reused. */
Status dump_store_put(const DumpStore *store, const char *key, const void *plain, size_t size, Buffer *encoded,
                      ManifestSegment *out, Error *err) MUST_CHECK;

#endif
