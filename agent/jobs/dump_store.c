#include "agent/jobs/dump_store.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { STORE_TRIES = 7, STORE_SLICE_US = 200000, STORE_BACKOFF_US = 200000, STORE_BACKOFF_MAX_US = 10000000 };

static void sleep_us(int64_t us) {
  struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
  nanosleep(&pause, NULL);
}

/* Between half and all of it, so that workers that failed together do not come back together. */
static int64_t jittered(int64_t us) {
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    random = UINT32_MAX / 2;
  return us / 2 + (us / 2) * (int64_t)(random >> 1) / (INT32_MAX);
}

static Status pause_before_retry(const DumpStore *store, int try, Error *err) {
  int64_t backoff = (store->backoff_us ? store->backoff_us : STORE_BACKOFF_US) << try;
  int64_t end = clock_monotonic_us() + jittered(backoff < STORE_BACKOFF_MAX_US ? backoff : STORE_BACKOFF_MAX_US);
  for (;;) {
    Status status = store->check(store->user, err);
    if (status != STATUS_OK)
      return status;
    int64_t left = end - clock_monotonic_us();
    if (left <= 0)
      return STATUS_OK;
    sleep_us(left < STORE_SLICE_US ? left : STORE_SLICE_US);
  }
}

/* A put whose answer got lost may have stored the object: then the next try finds it there. The key is of this
 * attempt alone, so it is ours if it holds these bytes. An agent that may not read leaves that question to the
 * drill, which reads every object back and checks its digest. */
static bool is_ours(const DumpStore *store, const char *key, const Buffer *encoded) {
  CLEANUP(buffer_release) Buffer stored = {0};
  Error ignored;
  if (repository_get(store->repository, key, encoded->size + 1, &stored, &ignored) != STATUS_OK)
    return ignored.status != ERR_SEGMENT_CORRUPT;
  return stored.size == encoded->size && memcmp(stored.data, encoded->data, stored.size) == 0;
}

static Status put_with_retries(const DumpStore *store, const char *key, const Buffer *encoded, const uint8_t *digest,
                               Error *err) {
  int tries = repository_retries(store->repository) ? 1 : STORE_TRIES;
  for (int try = 0;; try++) {
    Error failure;
    Status status = repository_put_hashed(store->repository, key, encoded->data, encoded->size, digest, &failure);
    if (status == STATUS_OK || (status == ERR_OBJECT_EXISTS && try > 0 && is_ours(store, key, encoded)))
      return STATUS_OK;
    if (error_class(status) != ERROR_CLASS_TRANSIENT || try + 1 == tries) {
      *err = failure;
      return status;
    }
    log_failure(LOG_LEVEL_WARN, "put failed, trying again", &failure);
    status = pause_before_retry(store, try, err);
    if (status != STATUS_OK)
      return status;
  }
}

Status dump_store_put(const DumpStore *store, const char *key, const void *plain, size_t size, Buffer *encoded,
                      ManifestSegment *out, Error *err) {
  Status status = store->check(store->user, err);
  if (status == STATUS_OK)
    status = segment_encode(store->recipients, store->zstd_level, plain, size, encoded, err);
  if (status != STATUS_OK)
    return status;
  uint8_t digest[SHA256_SIZE];
  sha256(encoded->data, encoded->size, digest);
  status = put_with_retries(store, key, encoded, digest, err);
  if (status != STATUS_OK)
    return status;
  out->plain_size = size;
  out->size = encoded->size;
  sha256_hex(plain, size, out->plain_sha256);
  text_hex(digest, sizeof digest, out->sha256);
  return STATUS_OK;
}
