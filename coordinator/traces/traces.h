/*
 * Traces: what checkpoints and drills did, and when, sent to a receiver of the OpenTelemetry Protocol once they have
 * ended. The leader makes them out of the ledger (spans.h) and a thread sends them (delivery/sender.h): neither a slow
 * receiver nor one that is away holds up anything.
 *
 * They are kept in memory alone, and only so many: what does not fit any more, what the receiver refuses, and what is
 * left when the coordinator stops is counted and gone. The ledger is what happened; traces are a picture of it.
 *
 *   a batch of spans:  WAITING --nothing is under way, its time has come--> SENT
 *   SENT --2xx--> gone: sent, but for those that the receiver says it rejected
 *   SENT --no answer, 408, 429, 5xx--> WAITING, for as long as the receiver says, or ever longer, a minute at most
 *   SENT --anything else--> gone: refused
 *
 * Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_TRACES_TRACES_H
#define PGSEAL_COORDINATOR_TRACES_TRACES_H

#include <uv.h>

#include "coordinator/dispatch/dispatch.h"

enum { TRACES_SPANS = 8192, TRACES_BATCH = 512, TRACES_ENDED = 1024 };

typedef struct Traces Traces;
/* Watches dispatch from now on; sends nothing where config names no endpoint. *out is closed after dispatch tells
 * nothing any more. ERR_INTERNAL: no thread. */
Status traces_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Traces **out,
                   Error *err) MUST_CHECK;
void traces_tick(Traces *traces); /* once a second */
/* What has ended by now is sent, once; the loop is free of it within three seconds. NULL, as below, is fine. */
void traces_stop(Traces *traces);
void traces_close(Traces *traces);

/* Since the coordinator was started. */
typedef struct TracesNumbers {
  int64_t sent, refused, dropped; /* spans; dropped: there was no room. A trace that could not be made counts as one */
  int64_t queued;                 /* now */
} TracesNumbers;
bool traces_numbers(const Traces *traces, TracesNumbers *out); /* false: nothing is to be sent */

#endif
