/*
 * What the ledger knows of a checkpoint, as spans: one trace each, so that it stands in one picture with the deploy
 * that asked for it. Names of spans and attributes are in docs/traces.md. Pure.
 *
 *   checkpoint                     from the request to its first end; its parent is who asked, by traceparent
 *     dump queued, drill queued    each time that a job waited for an agent
 *     dump, drill                  each attempt, from its lease on, with its agent
 *       preflight, snapshot, ...   the stages, as the agent measured them, counted from its lease
 *   drill                          one that came later: a trace of its own, linked to the checkpoint's
 *
 * Ids follow from the ledger's: made twice, by whichever coordinator, they are the same.
 */
#ifndef PGSEAL_COORDINATOR_TRACES_SPANS_H
#define PGSEAL_COORDINATOR_TRACES_SPANS_H

#include "coordinator/ledger/ledger.h"

typedef struct SpanFacts {
  const Checkpoint *checkpoint;
  const LedgerEvent *events; /* the checkpoint's, in their order, from its request on */
  size_t event_count;
  const char *environment; /* of its database; "": none */
} SpanFacts;

/* job_id: of a drill that was asked for later; NULL: the checkpoint's own life. A new array of spans, as the OTLP's
 * JSON has them; NULL: it has not ended, or who asked wants no trace of it. */
json_t *spans_make(const SpanFacts *facts, const char *job_id);

/* Does this event end something that has a trace? *drill: it is a drill, which may have come later. */
bool spans_ended_by(const LedgerEvent *event, bool *drill);

#endif
