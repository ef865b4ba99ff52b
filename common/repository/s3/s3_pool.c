/* Connections kept open between requests, memory that forgets, and the bandwidth's limit. */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/repository/s3/internal.h"

/* ---- memory: curl signs, so it holds copies of the secret key and of the session's token ---------------- */

static void forget(void *p) {
  if (p)
    OPENSSL_cleanse(p, malloc_usable_size(p));
  free(p);
}

static void *resize(void *p, size_t size) {
  void *larger = malloc(size);
  if (!larger || !p)
    return larger;
  size_t had = malloc_usable_size(p);
  memcpy(larger, p, had < size ? had : size);
  forget(p);
  return larger;
}

static void init_once(void) {
  curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, forget, resize, strdup, calloc);
}

void s3_curl_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_once);
}

void s3_secret_free(char **text) {
  if (*text)
    OPENSSL_cleanse(*text, strlen(*text));
  free(*text);
  *text = NULL;
}

void s3_secret_release(Buffer *buffer) {
  if (buffer->data)
    OPENSSL_cleanse(buffer->data, buffer->capacity);
  buffer_release(buffer);
}

void s3_keys_release(S3Keys *keys) {
  s3_secret_free(&keys->access_key);
  s3_secret_free(&keys->secret_key);
  s3_secret_free(&keys->session_token);
  keys->expires_us = 0;
}

/* ---- connections ------------------------------------------------------------------------------------ */

void s3_pool_init(S3Pool *pool) {
  s3_curl_init();
  pthread_mutex_init(&pool->lock, NULL);
  pool->count = 0;
}

void s3_pool_release(S3Pool *pool) {
  for (size_t i = 0; i < pool->count; i++)
    curl_easy_cleanup(pool->idle[i]);
  pthread_mutex_destroy(&pool->lock);
}

CURL *s3_pool_take(S3Pool *pool) {
  pthread_mutex_lock(&pool->lock);
  CURL *curl = pool->count ? pool->idle[--pool->count] : NULL;
  pthread_mutex_unlock(&pool->lock);
  return curl ? curl : curl_easy_init();
}

void s3_pool_give(S3Pool *pool, CURL *curl) {
  curl_easy_reset(curl); /* forgets options and secrets, keeps the connection */
  pthread_mutex_lock(&pool->lock);
  if (pool->count < S3_POOL_SIZE) {
    pool->idle[pool->count++] = curl;
    curl = NULL;
  }
  pthread_mutex_unlock(&pool->lock);
  if (curl)
    curl_easy_cleanup(curl);
}

/* ---- bandwidth -------------------------------------------------------------------------------------- */

void s3_throttle_wait(S3Throttle *throttle, size_t bytes) {
  if (!throttle->bytes_per_second)
    return;
  pthread_mutex_lock(&throttle->lock);
  int64_t now = clock_monotonic_us();
  if (throttle->free_at_us < now)
    throttle->free_at_us = now;
  throttle->free_at_us += (int64_t)bytes * 1000000 / throttle->bytes_per_second;
  int64_t wait = throttle->free_at_us - now;
  pthread_mutex_unlock(&throttle->lock);
  struct timespec pause = {.tv_sec = wait / 1000000, .tv_nsec = (wait % 1000000) * 1000};
  nanosleep(&pause, NULL);
}
