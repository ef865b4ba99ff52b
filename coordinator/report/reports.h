/*
 * Reports that were asked for: gathered one after the other, each in a thread of libuv's pool with a connection to the
 * ledger of its own, so that nothing waits for it but who asked. What was made is kept for a moment, for who asks the
 * same. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_REPORT_REPORTS_H
#define PGSEAL_COORDINATOR_REPORT_REPORTS_H

#include <uv.h>

#include "coordinator/dispatch/dispatch.h"

typedef struct ReportWish {
  int64_t from_us, to_us;
  const char *database, *owner, *environment;           /* at most one; NULL; database: also several, with commas */
  const char *scope;                                    /* as the ledger has it; NULL: all */
  bool (*sees)(const void *user, const char *database); /* the same, of the fleet */
  const void *user;
} ReportWish;

typedef struct Reports Reports;
/* made: called when one is, or failed, with its key. Loads config->signing_key, if there is one. */
Status reports_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch,
                    void (*made)(void *user, const char *key), void *user, Reports **out, Error *err) MUST_CHECK;
void reports_close(Reports *reports); /* the loop must still be run; nobody is called any more. NULL is fine */

/* Of the parts of a wish that are given: what is wrong with them. ERR_INVALID_ARGUMENT. */
Status report_wish_check(const ReportWish *wish, Error *err) MUST_CHECK;

/* *key: of the wish, freed by the caller. It is made, or will be. ERR_NOT_FOUND: there is no such database or owner to
 * be seen; ERR_TOO_MANY: too many are waited for already. */
Status reports_ask(Reports *reports, const ReportWish *wish, char **key, Error *err) MUST_CHECK;
/* STATUS_OK: *text and *size are it, borrowed in this turn; NULL: it is not made yet. Else why it could not be.
 * ERR_UNAVAILABLE: it is not kept any more. */
Status reports_get(Reports *reports, const char *key, const char **text, size_t *size, Error *err) MUST_CHECK;
void reports_sweep(Reports *reports); /* forgets what was made a while ago */

#endif
