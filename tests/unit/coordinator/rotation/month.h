/*
 * A simulated month of rotation: databases of three environments that make checkpoints, keep some, grow, and are moved
 * to other images, keys and major versions; drill slots; and rotation_pick, as the coordinator calls it. The same seed,
 * the same month.
 */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_ROTATION_MONTH_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_ROTATION_MONTH_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/rotation/rotation.h"

#define MINUTE_US ((int64_t)60 * 1000000)
#define DAY_US ((int64_t)86400 * 1000000)
#define MONTH_BEGINS ((int64_t)1700000000 * 1000000)
enum { KEPT = 5, MONTH_SLOTS = 256 };

typedef struct MonthDatabase {
  double environment, change_per_day;
  int64_t objective_us, every_us, next_us, bytes;
  int kept;
  bool running;
} MonthDatabase;

typedef struct MonthSlot {
  size_t database;
  uint64_t serial;
  int64_t until_us;
  double seconds, expected;
  bool busy;
} MonthSlot; /* free from until_us on */

typedef struct MonthMean {
  double sum;
  size_t count;
} MonthMean;

typedef struct Month {
  uint64_t random, serial;
  size_t database_count, item_count;
  MonthDatabase *databases;
  RotationItem *items; /* KEPT of each database; the newest first */
  uint64_t *serials;
  bool *late; /* by item */
  int64_t *served_us, *wait_from_us;
  size_t *drills;
  RotationBudget budget;
  RotationPurse purse;
  MonthSlot slots[MONTH_SLOTS];
  int64_t now_us;
  double seconds_used, bytes_used;
  size_t drilled, late_count; /* proofs that came to be too old */
  int64_t first_late_us;
  double worst;        /* highest urgency that any proof had */
  double longest_wait; /* of any database for its next drill, in objectives, while it had something due */
  MonthMean with[ROTATION_FACTOR_COUNT], without[ROTATION_FACTOR_COUNT]; /* urgency of what was drilled */
} Month;

static inline double month_random(Month *m) { /* 0..1 */
  m->random ^= m->random << 13;
  m->random ^= m->random >> 7;
  m->random ^= m->random << 17;
  return (double)(m->random >> 11) / 9007199254740992.0;
}

static inline void month_item(Month *m, size_t database, int kept, int64_t finished_us, int64_t proven_us) {
  const MonthDatabase *d = &m->databases[database];
  size_t index = database * KEPT + (size_t)kept;
  m->serials[index] = ++m->serial;
  m->late[index] = false;
  m->items[index] = (RotationItem){.database = database,
                                   .kind = kept == 0 ? ROTATION_LATEST : ROTATION_OLD,
                                   .proven_us = proven_us,
                                   .objective_us = kept < d->kept ? d->objective_us : 0,
                                   .finished_us = finished_us,
                                   .every_us = d->every_us,
                                   .bytes = d->bytes,
                                   .seconds = 240 + (double)d->bytes / 50e6,
                                   .environment = d->environment};
}

static inline void month_database(Month *m, size_t index) {
  MonthDatabase *d = &m->databases[index];
  double kind = month_random(m);
  d->environment = kind < 0.3 ? 1 : kind < 0.5 ? 0.5 : 0.25;
  d->objective_us = (kind < 0.3 ? 7 : kind < 0.5 ? 14 : 21) * DAY_US;
  d->bytes = (int64_t)(1e8 * pow(1000, month_random(m) * month_random(m)));
  d->change_per_day = 0.05 * month_random(m) * month_random(m);
  d->kept = 1 + (int)(month_random(m) * KEPT);
  d->every_us = month_random(m) < 0.2 ? 0 : (int64_t)(1 + 9 * month_random(m)) * DAY_US;
  d->next_us = MONTH_BEGINS + (int64_t)(month_random(m) * (double)d->every_us);
  for (int kept = 0; kept < KEPT; kept++) {
    int64_t step = d->every_us ? d->every_us : 10 * DAY_US;
    int64_t finished = d->next_us - (kept + 1) * step;
    int64_t oldest = MONTH_BEGINS - (int64_t)(0.9 * (double)d->objective_us * month_random(m));
    finished = finished > MONTH_BEGINS ? MONTH_BEGINS : finished;
    month_item(m, index, kept, finished, oldest > finished ? oldest : finished);
    /* what is older than all that was proven within the objective was drilled lately, too */
    if (MONTH_BEGINS - m->items[index * KEPT + (size_t)kept].proven_us > d->objective_us * 9 / 10)
      m->items[index * KEPT + (size_t)kept].proven_us = oldest;
  }
}

static inline void month_open(Month *m, size_t databases, uint64_t seed) {
  *m = (Month){.random = seed * 0x9e3779b97f4a7c15u + 1, .database_count = databases, .item_count = databases * KEPT};
  m->databases = memory_alloc(databases * sizeof *m->databases);
  m->items = memory_alloc(m->item_count * sizeof *m->items);
  m->serials = memory_alloc(m->item_count * sizeof *m->serials);
  m->late = memory_alloc(m->item_count);
  m->served_us = memory_alloc(databases * sizeof *m->served_us);
  m->wait_from_us = memory_alloc(databases * sizeof *m->wait_from_us);
  m->drills = memory_alloc(databases * sizeof *m->drills);
  m->now_us = MONTH_BEGINS;
  for (int i = 0; i < 16; i++)
    month_random(m);
  for (size_t i = 0; i < databases; i++) {
    m->wait_from_us[i] = MONTH_BEGINS;
    month_database(m, i);
  }
}

static inline void month_close(Month *m) {
  free(m->databases);
  free(m->items);
  free(m->serials);
  free(m->late);
  free(m->served_us);
  free(m->wait_from_us);
  free(m->drills);
}

/* A budget of so many times what the objectives need. */
static inline RotationBudget month_budget(const Month *m, double share) {
  RotationBudget one = {.slots = 1};
  RotationLoad load = rotation_load(m->items, m->item_count, &one);
  double seconds = load.seconds * share;
  return (RotationBudget){.slots = (int)ceil(seconds / 86400), .seconds_per_day = seconds};
}

static inline void month_mean(MonthMean *mean, double value) {
  mean->sum += value;
  mean->count++;
}

/* How urgent what is drilled now was, by each factor: high against low. */
static inline void month_note(Month *m, const RotationItem *item) {
  double factors[ROTATION_FACTOR_COUNT], urgency = rotation_urgency(item, m->now_us);
  rotation_risk(item, m->now_us, factors);
  const double low[ROTATION_FACTOR_COUNT] = {0.25, 0.2, 0.05, 0, 0, 0},
               high[ROTATION_FACTOR_COUNT] = {1, 0.4, 0.2, 1, 1, 1};
  for (int i = 0; i < ROTATION_FACTOR_COUNT; i++) {
    if (factors[i] >= high[i])
      month_mean(&m->with[i], urgency);
    else if (factors[i] <= low[i])
      month_mean(&m->without[i], urgency);
  }
}

static inline void month_end_drill(Month *m, MonthSlot *slot) {
  slot->busy = false;
  m->databases[slot->database].running = false;
  for (size_t k = slot->database * KEPT; k < (slot->database + 1) * KEPT; k++) {
    m->items[k].blocked = false;
    if (m->serials[k] != slot->serial)
      continue;
    m->items[k].proven_us = slot->until_us;
    m->items[k].changed = 0;
    m->late[k] = false;
  }
  rotation_settle(&m->purse, slot->seconds - slot->expected, 0);
}

static inline void month_end_drills(Month *m) {
  for (int i = 0; i < MONTH_SLOTS; i++)
    if (m->slots[i].busy && m->slots[i].until_us <= m->now_us)
      month_end_drill(m, &m->slots[i]);
}

static inline void month_new_checkpoints(Month *m) {
  for (size_t i = 0; i < m->database_count; i++) {
    MonthDatabase *d = &m->databases[i];
    if (d->every_us == 0 || d->next_us > m->now_us)
      continue;
    d->next_us += d->every_us;
    int oldest = d->kept - 1; /* every second database keeps its oldest one for ever */
    oldest -= i % 2 && oldest > 1;
    for (int kept = oldest; kept > 0; kept--) {
      size_t to = i * KEPT + (size_t)kept;
      m->items[to] = m->items[to - 1];
      m->items[to].kind = ROTATION_OLD;
      m->serials[to] = m->serials[to - 1];
      m->late[to] = m->late[to - 1];
    }
    month_item(m, i, 0, m->now_us, m->now_us);
  }
}

/* The world changes: on every tenth item in the month, one of the three. */
static inline void month_changes(Month *m, int64_t step_us) {
  double chance = 0.1 * (double)step_us / (30.0 * DAY_US);
  for (size_t i = 0; i < m->item_count; i++) {
    RotationItem *item = &m->items[i];
    const MonthDatabase *d = &m->databases[item->database];
    item->change = fmin(1, d->change_per_day * (double)(m->now_us - item->finished_us) / DAY_US);
    item->blocked = d->running;
    for (int factor = ROTATION_IMAGE_CHANGED; factor <= ROTATION_MAJOR_CHANGED; factor++)
      if (month_random(m) < chance)
        item->changed |= 1u << factor;
  }
}

static inline void month_look(Month *m) {
  for (size_t i = 0; i < m->item_count; i++) {
    const RotationItem *item = &m->items[i];
    double urgency = rotation_urgency(item, m->now_us);
    m->worst = fmax(m->worst, urgency);
    if (urgency < ROTATION_DUE || item->objective_us == 0)
      continue;
    int64_t due_us = item->proven_us + (int64_t)(ROTATION_DUE * (double)item->objective_us);
    int64_t from_us = due_us > m->wait_from_us[item->database] ? due_us : m->wait_from_us[item->database];
    m->longest_wait = fmax(m->longest_wait, (double)(m->now_us - from_us) / (double)item->objective_us);
    if (urgency <= 1 || m->late[i])
      continue;
    m->late[i] = true;
    m->late_count++;
    m->first_late_us = m->first_late_us ? m->first_late_us : m->now_us;
  }
}

static inline void month_begin_drill(Month *m, size_t index, int64_t step_us) {
  const RotationItem *item = &m->items[index];
  MonthSlot *slot = m->slots;
  while (slot->busy)
    slot++;
  month_note(m, item);
  double seconds = item->seconds * (0.9 + 0.2 * month_random(m));
  int64_t from_us = slot->until_us > m->now_us - step_us ? slot->until_us : m->now_us;
  *slot = (MonthSlot){.database = item->database,
                      .serial = m->serials[index],
                      .until_us = from_us + (int64_t)(seconds * 1e6),
                      .seconds = seconds,
                      .expected = item->seconds,
                      .busy = true};
  m->databases[item->database].running = true;
  for (size_t k = item->database * KEPT; k < (item->database + 1) * KEPT; k++)
    m->items[k].blocked = true;
  m->served_us[item->database] = m->wait_from_us[item->database] = m->now_us;
  m->drills[item->database]++;
  m->drilled++;
  m->seconds_used += seconds;
  m->bytes_used += (double)item->bytes;
}

/* A slot that became free in the step that ends now is used from then on. */
static inline void month_begin_drills(Month *m, int64_t step_us) {
  size_t picks[MONTH_SLOTS];
  rotation_fill(&m->purse, &m->budget, m->now_us);
  for (size_t count = 1; count > 0;) {
    size_t room = 0;
    month_end_drills(m);
    for (int i = 0; i < m->budget.slots && i < MONTH_SLOTS; i++)
      room += !m->slots[i].busy;
    count = rotation_pick(m->items, m->item_count, &m->budget, m->served_us, &m->purse, m->now_us, room, picks);
    for (size_t i = 0; i < count; i++)
      month_begin_drill(m, picks[i], step_us);
  }
}

static inline void month_run(Month *m, int days) {
  const int64_t step_us = 5 * MINUTE_US;
  for (int64_t end_us = m->now_us + days * DAY_US; m->now_us < end_us; m->now_us += step_us) {
    month_end_drills(m);
    month_new_checkpoints(m);
    month_changes(m, step_us);
    month_look(m);
    month_begin_drills(m, step_us);
  }
}

/* Jain's index of how much of what each database needed it got: 1 if all got the same share, 1/n if one got all. Of
 * those that needed any. */
static inline double month_fairness(const Month *m, const double *needed) {
  double sum = 0, squares = 0;
  size_t count = 0;
  for (size_t i = 0; i < m->database_count; i++) {
    if (needed[i] < 0.5)
      continue;
    double got = fmin(1, (double)m->drills[i] / needed[i]);
    sum += got;
    squares += got * got;
    count++;
  }
  return count && squares > 0 ? sum * sum / ((double)count * squares) : 1;
}

#endif
