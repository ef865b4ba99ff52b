/*
 * The letter that is to be sent, from its report to the message: one at a time. Gathering and writing take a while:
 * they are work of threads. What was written stays until it is sent, or another one is to be. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_REPORT_WRITING_H
#define PGSEAL_COORDINATOR_REPORT_WRITING_H

#include "coordinator/report/plans.h"
#include "coordinator/report/reports.h"

typedef struct Writing Writing;

/* written: called when one is, or cannot be. */
Status writing_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, void (*written)(void *user),
                    void *user, Writing **out, Error *err) MUST_CHECK;
void writing_stop(Writing *writing); /* calls nobody any more; the loop is free of it soon after */
void writing_free(Writing *writing); /* after the loop has ended; NULL is fine */

/* The message of that notification. *body NULL: it is being written. Else why it cannot be. *body: freed by the caller.
 */
Status writing_ask(Writing *writing, const ReportPlan *plan, const LedgerNotification *row, char **body, size_t *size,
                   Error *err) MUST_CHECK;
/* SHA-256 of the document in it; NULL: there is none, or it is not known any more. Borrowed. */
const char *writing_digest(const Writing *writing, const char *id);
void writing_forget(Writing *writing, const char *id);

#endif
