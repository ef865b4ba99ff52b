/*
 * Retention: what the policies keep of each database's checkpoints, and that the rest goes.
 *
 * Looking changes nothing. Pruning marks what goes and makes a job of each (dispatch_prune), at most
 * RETENTION_OPEN_MOST at once in the whole fleet; agents with the capability `prune` do them. Where none is there
 * nothing is marked: a bucket's lifecycle rules may do it instead (docs/retention.md).
 *
 * Goes, too: what a former prune left locked, once the lock is over; what it was interrupted in; and the attempts of
 * dumps that were lost, when the checkpoint is older than the policy's grace time. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_RETENTION_RETENTION_H
#define PGSEAL_COORDINATOR_RETENTION_RETENTION_H

#include "coordinator/dispatch/dispatch.h"

enum { RETENTION_OPEN_MOST = 64, RETENTION_ROUND_SECONDS = 600 };

typedef struct RetentionView { /* of one database */
  Checkpoint *items;           /* of which something may be in the repository; newest first */
  unsigned *rules;             /* RetentionRule's of each; 0: it goes, or is going */
  size_t count;
} RetentionView;

/* ERR_NOT_FOUND: there is no such database. */
Status retention_look(const Dispatch *dispatch, Ledger *ledger, const char *database, RetentionView *out,
                      Error *err) MUST_CHECK;
void retention_view_release(RetentionView *view);

typedef enum RetentionAction {
  RETENTION_NOTHING,
  RETENTION_PRUNE,   /* no rule keeps it */
  RETENTION_FINISH,  /* a prune of it was broken off, or left what was locked then */
  RETENTION_ATTEMPTS /* only attempts that were lost */
} RetentionAction;
RetentionAction retention_action(const RetentionView *view, size_t index, const RetentionPolicy *policy,
                                 int64_t now_us);

/* Marks what goes now. *marked: how many. What cannot be marked at the moment (a drill of it runs) is left for the next
 * time. ERR_NO_AGENT: there is nobody to prune it, and nothing is marked. */
Status retention_prune(Dispatch *dispatch, Ledger *ledger, const char *database, const Requester *requester,
                       size_t *marked, Error *err) MUST_CHECK;

/* Goes round all databases: once every RETENTION_ROUND_SECONDS, and when the fleet has changed. */
typedef struct Retention {
  size_t next;
  int64_t began_us, fleet_changes; /* of this round; monotonic. All 0 to begin with. */
} Retention;
/* Every second. */
void retention_tick(Retention *retention, Dispatch *dispatch, Ledger *ledger);

#endif
