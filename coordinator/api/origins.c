/* Where clients come from, and how fast they may ask: a token bucket of requests, and one of failed authentications. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { ORIGIN_LIMIT = 16384, BURST_SECONDS = 5, IPV6_PREFIX = 8 };
#define SECONDS(us) ((double)(us) / 1e6)

static void key_of(const Address *address, uint8_t key[16]) {
  memcpy(key, address->bytes, 16);
  if (!address_is_four(address))
    memset(key + IPV6_PREFIX, 0, 16 - IPV6_PREFIX);
}

static size_t slot_of(const uint8_t key[16]) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < 16; i++)
    hash = (hash ^ key[i]) * 16777619u;
  return hash % ORIGIN_SLOTS;
}

static double request_burst(const Api *api) {
  return (double)api->config->http_requests_per_second * BURST_SECONDS;
}

static void fill(const Api *api, Origin *origin) {
  int64_t now = clock_monotonic_us();
  double passed = SECONDS(now - origin->filled_us);
  origin->filled_us = now;
  origin->requests = fmin(request_burst(api), origin->requests + passed * api->config->http_requests_per_second);
  origin->failures = fmin(api->config->http_failures_per_minute,
                          origin->failures + passed * api->config->http_failures_per_minute / 60);
}

static bool is_full(const Api *api, const Origin *origin) {
  return origin->requests >= request_burst(api) && origin->failures >= api->config->http_failures_per_minute;
}

/* all: also those whose buckets are not full. */
static void forget(Api *api, bool all) {
  for (size_t i = 0; i < ORIGIN_SLOTS; i++)
    for (Origin **at = &api->origins[i]; *at;) {
      Origin *origin = *at;
      fill(api, origin);
      if (origin->connections > 0 || (!all && !is_full(api, origin))) {
        at = &origin->next;
        continue;
      }
      *at = origin->next;
      free(origin);
      api->origin_count--;
    }
}

void origins_sweep(Api *api) {
  if (api->origin_count > 0)
    forget(api, false);
}

void origins_free(Api *api) {
  for (size_t i = 0; i < ORIGIN_SLOTS; i++)
    for (Origin *origin = api->origins[i], *next; origin; origin = next) {
      next = origin->next;
      free(origin);
    }
}

Origin *origin_find(Api *api, const Address *address) {
  uint8_t key[16];
  key_of(address, key);
  size_t slot = slot_of(key);
  for (Origin *origin = api->origins[slot]; origin; origin = origin->next)
    if (memcmp(origin->key, key, sizeof key) == 0)
      return origin;
  if (api->origin_count >= ORIGIN_LIMIT) /* who has that many addresses is not held up by buckets */
    forget(api, true);
  Origin *origin = memory_alloc(sizeof *origin);
  memcpy(origin->key, key, sizeof key);
  origin->requests = request_burst(api);
  origin->failures = api->config->http_failures_per_minute;
  origin->filled_us = clock_monotonic_us();
  origin->next = api->origins[slot];
  api->origins[slot] = origin;
  api->origin_count++;
  return origin;
}

static bool take(double *bucket, double per_second, int *retry_after) {
  if (*bucket >= 1) {
    *bucket -= 1;
    return true;
  }
  *retry_after = (int)ceil((1 - *bucket) / per_second);
  return false;
}

bool origin_may_request(const Api *api, Origin *origin, int *retry_after) {
  fill(api, origin);
  return api->config->http_requests_per_second == 0 ||
         take(&origin->requests, api->config->http_requests_per_second, retry_after);
}

/* The tokens are of 256 random bits: this is not to make guessing hard, but wrong tokens cheap and seldom. So those who
 * share an address with somebody careless, as behind a proxy, are not shut out: a right token always passes. */
bool origin_may_fail(const Api *api, Origin *origin, int *retry_after) {
  fill(api, origin);
  return api->config->http_failures_per_minute == 0 ||
         take(&origin->failures, (double)api->config->http_failures_per_minute / 60, retry_after);
}
