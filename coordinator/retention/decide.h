/*
 * Which checkpoints of one database are kept, and why: a pure function of what there is, a policy and a time.
 *
 * A rule that counts looks at sealed checkpoints alone, newest first: `last: 3` keeps three; `daily: 7` keeps the
 * newest of each of the last seven days that have one, and so on for hours, weeks (from Monday on), months and years;
 * all in UTC. A tag's rule keeps for so many days what was taken under a tag that matches. The rules add up: what any
 * of them keeps is kept. Whatever the policy says, these are kept:
 *
 *   - what is pinned, is not over yet, or is known to be locked
 *   - the newest sealed one: a database that has a proven copy never loses the last
 *   - what is stored but not sealed, as long as nothing newer is sealed: it may be the best there is
 *   - what is not sealed (a dump that failed, a checkpoint that a drill condemned) for `grace_hours`
 *   - what was rebuilt from the repository for as long: whoever had it pinned can do so again
 *
 * Properties, which the tests check: a policy that asks for more keeps no less; deciding again over what was kept keeps
 * all of it; the order of the list does not matter. Any thread.
 */
#ifndef PGSEAL_COORDINATOR_RETENTION_DECIDE_H
#define PGSEAL_COORDINATOR_RETENTION_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct RetentionTag {
  const char *match; /* a glob, as text_glob has it */
  int keep_days;
} RetentionTag;

enum { RETENTION_GRACE_HOURS = 168, RETENTION_COUNT_MAX = 100000 };

typedef struct RetentionPolicy {
  int last, hourly, daily, weekly, monthly, yearly; /* 0: no such rule */
  const RetentionTag *tags;
  size_t tag_count;
  int grace_hours; /* of what was never sealed; RETENTION_GRACE_HOURS where nothing is said */
} RetentionPolicy;

typedef struct RetentionItem {
  const char *id, *tag;
  int64_t taken_us;        /* when it was asked for, wall clock: what it holds is about as old */
  int64_t finished_us;     /* 0: not over */
  int64_t locked_until_us; /* as far as is known; 0: not locked */
  int64_t rebuilt_us;      /* when it was put into a ledger that had lost it, pins and all; 0: never */
  bool sealed, stored, pinned;
} RetentionItem;

/* Why it is kept: bits, since more than one rule may want it. None: it goes. */
typedef enum RetentionRule {
  RETENTION_ALL = 1, /* there is no policy */
  RETENTION_PINNED = 2,
  RETENTION_OPEN = 4,
  RETENTION_NEWEST = 8, /* the last sealed one */
  RETENTION_TAG = 16,
  RETENTION_LAST = 32,
  RETENTION_HOURLY = 64,
  RETENTION_DAILY = 128,
  RETENTION_WEEKLY = 256,
  RETENTION_MONTHLY = 512,
  RETENTION_YEARLY = 1024,
  RETENTION_UNPROVEN = 2048, /* nothing newer is sealed */
  RETENTION_GRACE = 4096,
  RETENTION_LOCKED = 8192
} RetentionRule;

/* rules[i] is of items[i]. policy NULL: everything is kept. */
void retention_decide(const RetentionItem *items, size_t count, const RetentionPolicy *policy, int64_t now_us,
                      unsigned *rules);
const char *retention_rule_name(RetentionRule rule); /* "daily"; NULL: there is no such rule */

#endif
