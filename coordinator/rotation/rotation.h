/*
 * Drill rotation: which sealed checkpoints are drilled again, and when. Pure: no clock, no ledger, no memory of its
 * own.
 *
 * An item is one proof that must not grow older than its objective: of a database's newest checkpoint, of an older one
 * that is kept, or of a kind of drill that is made of a database now and then. Items are ranked by
 *
 *   urgency = age of the proof / objective          1: it is as old as it may be
 *   risk    = what makes it likelier that a proof does not hold any more, 0..1, a weighted sum (rotation_weights)
 *   score   = urgency * (1 + risk)                  so the riskiest are drilled when they are half as old, at most
 *
 * Where the budget can hold all objectives (load <= 1): what is due (urgency >= ROTATION_DUE) goes by its deadline, the
 * earliest first; what is left of the budget goes by score, from half of the objective on, or earlier as the load needs
 * it. Where it cannot (load > 1): newest checkpoints by score, and every ROTATION_OLD_TURN-th drill to the other items,
 * the database that waited longest first. Scores grow with time, so nobody waits for ever, however many checkpoints
 * somebody else keeps. (Above a load of about 0.87, deadlines that lie close together may be missed although the budget
 * holds all of them in the long run. The forecast is made by picking over time to come, so it says so.)
 *
 * The budget is bytes and drill time per day, given out evenly over the day. A drill may overdraw it, and is paid back
 * before the next: a database larger than a day's budget gets its turn, too.
 */
#ifndef PGSEAL_COORDINATOR_ROTATION_ROTATION_H
#define PGSEAL_COORDINATOR_ROTATION_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum RotationKind {                      /* bits */
                            ROTATION_LATEST = 1, /* a database's newest sealed checkpoint */
                            ROTATION_OLD = 2,    /* another one that is kept */
                            ROTATION_BARE = 4,   /* by an agent with nothing but the repository and the escrow key */
                            ROTATION_FORWARD =
                                8, /* into the next major version: shows that an upgrade would work, proves nothing */
                            ROTATION_CANARY = 16 /* a copy that the agent damages, which it must refute: shows that
                                                    drills see damage */
} RotationKind;
enum { ROTATION_KINDS = 5, ROTATION_ALL = 31 };
const char *rotation_kind_name(RotationKind kind); /* "latest", ... */
bool rotation_kind_from_name(const char *name, RotationKind *kind);

typedef enum RotationFactor {
  ROTATION_ENVIRONMENT,
  ROTATION_CHECKPOINT_AGE,
  ROTATION_CHANGE,        /* of the database's size since the checkpoint */
  ROTATION_IMAGE_CHANGED, /* another image than the one of the newest proof would be used now */
  ROTATION_KEY_CHANGED,   /* the agent that made the checkpoint has another key by now */
  ROTATION_MAJOR_CHANGED, /* the database's newest checkpoint is of another major version */
  ROTATION_FACTOR_COUNT
} RotationFactor;
extern const double rotation_weights[ROTATION_FACTOR_COUNT]; /* their sum is 1 */
const char *rotation_factor_name(RotationFactor factor);     /* "environment", ... */

/* Microseconds of the wall clock, where nothing else is said. */
typedef struct RotationItem {
  size_t database; /* whose, by number */
  RotationKind kind;
  int64_t proven_us;    /* the newest drill of this kind */
  int64_t objective_us; /* how old that may get; > 0 */
  int64_t finished_us;  /* the checkpoint */
  int64_t every_us;     /* LATEST: how often a new checkpoint, with its own proof, is made; 0: not known */
  int64_t bytes;        /* that a drill reads */
  double seconds;       /* that it takes */
  double environment;   /* rotation_environment() */
  double change;        /* share of the size, 0..1 */
  unsigned changed;     /* bits: 1u << ROTATION_IMAGE_CHANGED, ... */
  bool blocked;         /* not now: of it, or of its database, a drill is under way, or nobody can */
  bool barred;          /* no agent that is there can, or offers what it needs: a forecast counts on none */
} RotationItem;

typedef struct RotationBudget { /* 0: no limit, but of slots: 1 */
  int slots;
  double seconds_per_day, bytes_per_day;
} RotationBudget;

typedef struct RotationPurse { /* what of the budget may be used now; {0} at first */
  double seconds, bytes;
  int64_t filled_us;
  uint64_t turn;
} RotationPurse;

double rotation_environment(const char *name); /* production 1, staging 1/2, others 1/4 */
/* 0..1. factors: each one's own, 0..1, unweighted; or NULL. */
double rotation_risk(const RotationItem *item, int64_t now_us, double factors[ROTATION_FACTOR_COUNT]);
double rotation_urgency(const RotationItem *item, int64_t now_us);
double rotation_score(const RotationItem *item, int64_t now_us);

#define ROTATION_DUE 0.8
enum { ROTATION_OLD_TURN = 4 };

typedef struct RotationLoad {
  double seconds, bytes; /* per day, that all objectives need in the long run */
  double share;          /* of the budget; more than 1: it cannot hold them */
} RotationLoad;
RotationLoad rotation_load(const RotationItem *items, size_t count, const RotationBudget *budget);

/* Time has passed: the purse fills, up to a quarter of a day's worth. */
void rotation_fill(RotationPurse *purse, const RotationBudget *budget, int64_t now_us);
/* What a drill took beyond what its item said; negative: less. */
void rotation_settle(RotationPurse *purse, double seconds, double bytes);
/* What to drill now, at most `limit` items, one of each database: their indices into picks, the first first. served_us:
 * by database, when rotation last drilled any of its items. The purse, filled before, pays for them. Returns how many.
 */
size_t rotation_pick(const RotationItem *items, size_t count, const RotationBudget *budget, const int64_t *served_us,
                     RotationPurse *purse, int64_t now_us, size_t limit, size_t *picks);
/* All of them in the order in which they would be picked with nothing blocked: indices into order, which has room for
 * count. Returns how many are not too early to be drilled at all. */
size_t rotation_queue(const RotationItem *items, size_t count, const RotationBudget *budget, const int64_t *served_us,
                      int64_t now_us, size_t *order);

typedef struct RotationForecast {
  RotationLoad load;
  int64_t until_us; /* what is foreseen goes up to here */
  size_t
      late; /* proofs that are older than their objective now; not counted in what follows before they are made anew */
  int64_t first_us;         /* the first proof that will be older than its objective; 0: none */
  size_t first;             /* the item it is of */
  size_t missed, databases; /* how many proofs will be too old at some time, and of how many databases */
  size_t barred;            /* databases with items that are barred: no budget helps */
  size_t unproven;          /* databases with an objective of which there is nothing to drill yet */
  bool enough;              /* no more than `late`, nothing barred, nothing unproven */
  bool attainable;          /* `needed` was found */
  RotationBudget needed;    /* with it, none would be, but for what is barred: the given one if it is enough for that */
} RotationForecast;

/* Runs rotation_pick over simulated time, with the items as they are and nothing new. missed: by database, set to true
 * where it misses an objective; or NULL. databases: how many there are. unproven: of how many more that have an
 * objective nothing is sealed. horizon_us: how far. */
RotationForecast rotation_forecast(const RotationItem *items, size_t count, size_t databases, size_t unproven,
                                   const RotationBudget *budget, int64_t now_us, int64_t horizon_us, bool *missed);

#endif
