/* Picking: which items go next, inside the budget. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/rotation/internal.h"

#define DAY_US ((double)86400 * 1000000)
#define EARLIEST 0.5 /* of the objective: nothing is drilled again before, unless the budget needs it */

/* ---- the budget ---- */

/* Slots bound the time, too. */
static double day_seconds(const RotationBudget *budget) {
  double slots = 86400.0 * (budget->slots > 0 ? budget->slots : 1);
  return budget->seconds_per_day > 0 && budget->seconds_per_day < slots ? budget->seconds_per_day : slots;
}

static double day_bytes(const RotationBudget *budget) {
  return budget->bytes_per_day > 0 ? budget->bytes_per_day : INFINITY;
}

bool rotation_concerns(const RotationItem *item) {
  bool renewed = item->kind == ROTATION_LATEST && item->every_us > 0 && item->every_us < item->objective_us;
  return item->objective_us > 0 && !renewed;
}

RotationLoad rotation_load(const RotationItem *items, size_t count, const RotationBudget *budget) {
  RotationLoad load = {0};
  for (size_t i = 0; i < count; i++) {
    if (!rotation_concerns(&items[i]))
      continue;
    double per_day = DAY_US / (double)items[i].objective_us;
    load.seconds += items[i].seconds * per_day;
    load.bytes += (double)items[i].bytes * per_day;
  }
  load.share = fmax(load.seconds / day_seconds(budget), load.bytes / day_bytes(budget));
  return load;
}

void rotation_fill_up_to(RotationPurse *purse, const RotationBudget *budget, int64_t now_us, double days) {
  double passed = purse->filled_us && now_us > purse->filled_us ? (double)(now_us - purse->filled_us) / DAY_US : 0;
  double seconds = day_seconds(budget), bytes = day_bytes(budget);
  purse->filled_us = now_us;
  if (isinf(bytes))
    purse->bytes = 1;
  if (passed <= 0)
    return;
  purse->seconds = fmin(purse->seconds + passed * seconds, days * seconds);
  if (!isinf(bytes))
    purse->bytes = fmin(purse->bytes + passed * bytes, days * bytes);
}

void rotation_fill(RotationPurse *purse, const RotationBudget *budget, int64_t now_us) {
  rotation_fill_up_to(purse, budget, now_us, ROTATION_PURSE_DAYS);
}

void rotation_settle(RotationPurse *purse, double seconds, double bytes) {
  purse->seconds -= seconds;
  purse->bytes -= bytes;
}

/* ---- the order ---- */

/* Lower goes first, lane by lane, key by key. */
typedef struct Ranked {
  size_t index;
  int lane;
  double key[2];
} Ranked;

enum { LANE_DUE, LANE_LATEST, LANE_OTHERS, LANE_EARLY, LANE_COUNT };

static int compare(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  if (x->lane != y->lane)
    return x->lane < y->lane ? -1 : 1;
  for (int i = 0; i < 2; i++)
    if (x->key[i] != y->key[i])
      return x->key[i] < y->key[i] ? -1 : 1;
  return x->index < y->index ? -1 : x->index > y->index; /* the same input, the same order */
}

typedef struct Ranking {
  Ranked *items;
  size_t count;
  size_t from[LANE_COUNT + 1]; /* where each lane begins */
} Ranking;

static void ranking_release(Ranking *ranking) {
  free(ranking->items);
}

/* False: it is too early for it. */
static bool rank(const RotationItem *item, double share, const int64_t *served_us, int64_t now_us, Ranked *out) {
  double urgency = rotation_urgency(item, now_us), score = rotation_score(item, now_us);
  if (item->objective_us <= 0 || urgency < fmin(EARLIEST, fmax(0, 1 - share)) * 0.9)
    return false;
  if (urgency < ROTATION_DUE) {
    out->lane = LANE_EARLY;
    out->key[0] = -score;
  } else if (share <= 1) {
    out->lane = LANE_DUE;
    out->key[0] = (double)(item->proven_us + item->objective_us);
    out->key[1] = -score;
  } else if (item->kind == ROTATION_LATEST) {
    out->lane = LANE_LATEST;
    out->key[0] = -score;
  } else {
    out->lane = LANE_OTHERS;
    out->key[0] = (double)served_us[item->database];
    out->key[1] = -score;
  }
  return true;
}

static void rank_all(const RotationItem *items, size_t count, double share, const int64_t *served_us, int64_t now_us,
                     bool blocked_too, Ranking *out) {
  out->items = memory_alloc((count + 1) * sizeof *out->items);
  for (size_t i = 0; i < count; i++) {
    Ranked ranked = {.index = i};
    if ((blocked_too || !items[i].blocked) && rank(&items[i], share, served_us, now_us, &ranked))
      out->items[out->count++] = ranked;
  }
  qsort(out->items, out->count, sizeof *out->items, compare);
  size_t at = 0;
  for (int lane = 0; lane <= LANE_COUNT; lane++) {
    while (at < out->count && out->items[at].lane < lane)
      at++;
    out->from[lane] = at;
  }
}

/* Walks the lanes: those of one database's second and further items are passed over. */
typedef struct Walk {
  const Ranking *ranking;
  const RotationItem *items;
  size_t at[LANE_COUNT];
  bool *taken; /* by database; NULL: any number of each */
} Walk;

static size_t walk_lane(Walk *walk, int lane) {
  while (walk->at[lane] < walk->ranking->from[lane + 1]) {
    size_t index = walk->ranking->items[walk->at[lane]++].index;
    if (!walk->taken || !walk->taken[walk->items[index].database])
      return index;
  }
  return SIZE_MAX;
}

static size_t walk_next(Walk *walk, uint64_t turn) {
  bool others = turn % ROTATION_OLD_TURN == ROTATION_OLD_TURN - 1;
  const int lanes[] = {LANE_DUE, others ? LANE_OTHERS : LANE_LATEST, others ? LANE_LATEST : LANE_OTHERS, LANE_EARLY};
  size_t index = SIZE_MAX;
  for (size_t i = 0; index == SIZE_MAX && i < ARRAY_SIZE(lanes); i++)
    index = walk_lane(walk, lanes[i]);
  return index;
}

static size_t databases_of(const RotationItem *items, size_t count) {
  size_t most = 0;
  for (size_t i = 0; i < count; i++)
    most = items[i].database >= most ? items[i].database + 1 : most;
  return most;
}

static Walk walk_of(const Ranking *ranking, const RotationItem *items) {
  Walk walk = {.ranking = ranking, .items = items};
  memcpy(walk.at, ranking->from, sizeof walk.at);
  return walk;
}

size_t rotation_pick(const RotationItem *items, size_t count, const RotationBudget *budget, const int64_t *served_us,
                     RotationPurse *purse, int64_t now_us, size_t limit, size_t *picks) {
  if (limit == 0 || purse->seconds <= 0 || purse->bytes <= 0)
    return 0;
  CLEANUP(ranking_release) Ranking ranking = {0};
  rank_all(items, count, rotation_load(items, count, budget).share, served_us, now_us, false, &ranking);
  CLEANUP_FREE bool *taken = memory_alloc(databases_of(items, count) + 1);
  Walk walk = walk_of(&ranking, items);
  walk.taken = taken;
  size_t picked = 0, index;
  while (picked < limit && purse->seconds > 0 && purse->bytes > 0 &&
         (index = walk_next(&walk, purse->turn)) != SIZE_MAX) {
    purse->turn++;
    purse->seconds -= items[index].seconds;
    if (budget->bytes_per_day > 0)
      purse->bytes -= (double)items[index].bytes;
    taken[items[index].database] = true;
    picks[picked++] = index;
  }
  return picked;
}

size_t rotation_queue(const RotationItem *items, size_t count, const RotationBudget *budget, const int64_t *served_us,
                      int64_t now_us, size_t *order) {
  CLEANUP(ranking_release) Ranking ranking = {0};
  rank_all(items, count, rotation_load(items, count, budget).share, served_us, now_us, true, &ranking);
  Walk walk = walk_of(&ranking, items);
  size_t listed = 0, index;
  while ((index = walk_next(&walk, listed)) != SIZE_MAX)
    order[listed++] = index;
  return listed;
}
