/* Tries again what may pass, with full jitter, until the time is over. */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/repository/s3/internal.h"

enum { BACKOFF_US = 100000, BACKOFF_MAX_US = 10000000, BACKOFF_DOUBLINGS = 7 };

int64_t s3_backoff_us(int try) {
  int64_t bound = (int64_t)BACKOFF_US << (try < BACKOFF_DOUBLINGS ? try : BACKOFF_DOUBLINGS);
  uint64_t random = 0;
  if (bound > BACKOFF_MAX_US)
    bound = BACKOFF_MAX_US;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    random = (uint64_t)bound / 2;
  return (int64_t)(random % (uint64_t)(bound + 1));
}

static void sleep_us(int64_t us) {
  struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
  while (nanosleep(&pause, &pause) != 0)
    continue;
}

/* Nothing was sent that could have been carried out. */
static bool never_arrived(const S3Reply *reply) {
  return reply->curl == CURLE_COULDNT_CONNECT || reply->curl == CURLE_COULDNT_RESOLVE_HOST ||
         reply->curl == CURLE_COULDNT_RESOLVE_PROXY;
}

/* Gives up, saying so, if the next try would come too late. */
static bool pause_before_next(const S3Reply *reply, int try, int64_t started_us, int64_t end_us, Error *err) {
  int64_t now = clock_monotonic_us(), wait = s3_backoff_us(try);
  if (wait < (int64_t)reply->retry_after * 1000000)
    wait = (int64_t)reply->retry_after * 1000000 + wait;
  if (now + wait >= end_us) {
    error_prefix(err, "given up after %d tries in %.0f s", try + 1, (double)(now - started_us) / 1e6);
    return false;
  }
  log_failure(LOG_LEVEL_WARN, "the bucket did not do it, trying again", err);
  sleep_us(wait);
  return true;
}

Status s3_perform(S3 *s3, const S3Request *request, S3Reply *reply, Error *err) {
  int64_t started = clock_monotonic_us(), end = started + (int64_t)s3->retry_seconds * 1000000;
  char refused[S3_CODE_SIZE] = "";
  for (int try = 0;; try++) {
    Error failure;
    CLEANUP(s3_keys_release) S3Keys keys = {0};
    S3Verdict verdict = S3_AGAIN;
    Status status = s3_credentials_get(s3->credentials, *refused ? refused : NULL, &keys, &failure);
    if (status == STATUS_OK) {
      s3_try(s3, request, &keys, reply);
      verdict = s3_judge(s3, request, reply, &failure);
      if (verdict == S3_DONE)
        return STATUS_OK;
      if (reply->resent)
        reply->maybe_done = true;
    } else if (error_class(status) != ERROR_CLASS_TRANSIENT) {
      verdict = S3_STOP;
    }
    if (verdict == S3_FRESH_KEYS && !*refused) {
      memcpy(refused, reply->key_id, sizeof refused);
      continue;
    }
    if (verdict != S3_AGAIN || !pause_before_next(reply, try, started, end, &failure)) {
      *err = failure;
      return err->status;
    }
    if (status == STATUS_OK && !never_arrived(reply))
      reply->maybe_done = true;
  }
}
