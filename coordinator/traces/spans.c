#include "coordinator/traces/spans.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/dispatch/dispatch.h"
#include "coordinator/traces/context.h"
#include "coordinator/traces/otlp.h"

/* A job, while the events are walked. */
typedef struct Lane {
  const char *job_id;
  char kind[16];
  int64_t waits_us;  /* since when it waits for an agent */
  int64_t leased_us; /* 0: it waits, or is over */
  const char *agent;
  json_int_t attempt, fencing;
  bool over;
} Lane;

typedef struct Trace {
  const SpanFacts *facts;
  const char *id;
  char root_id[SPAN_ID_SIZE];
  int64_t start_us, end_us;
  json_t *spans, *root; /* root: borrowed */
  Lane *lanes;
  size_t lane_count;
} Trace;

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static bool is(const LedgerEvent *event, const char *kind) {
  return strcmp(event->kind, kind) == 0;
}

bool spans_ended_by(const LedgerEvent *event, bool *drill) {
  static const char *const kinds[] = {"checkpoint.sealed",   "checkpoint.failed", "checkpoint.errored",
                                      "checkpoint.canceled", "drill.proven",      "drill.failed",
                                      "drill.errored",       "drill.canceled"};
  *drill = strncmp(event->kind, "drill.", 6) == 0;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
    if (is(event, kinds[i]))
      return true;
  return false;
}

/* ---- one span ---- */

/* what: of what it is, by which its id is known. parent: NULL: the root. */
static json_t *add(Trace *trace, const char *name, const char *what, const char *parent, int64_t start_us,
                   int64_t end_us) {
  char id[SPAN_ID_SIZE];
  span_id_of(trace->facts->checkpoint->id, what, id);
  const OtlpSpan span = {.trace_id = trace->id,
                         .span_id = id,
                         .parent_id = parent ? parent : trace->root_id,
                         .name = name,
                         .kind = OTLP_INTERNAL,
                         .start_us = start_us,
                         .end_us = end_us};
  json_t *json = otlp_span(&span);
  json_array_append_new(trace->spans, json);
  return json;
}

static void say_job(json_t *span, const Lane *lane) {
  otlp_attribute(span, "pgseal.job.id", json_string(lane->job_id));
  otlp_attribute(span, "pgseal.job.kind", json_string(lane->kind));
}

static void add_wait(Trace *trace, const Lane *lane, int64_t until_us) {
  CLEANUP_FREE char *name = memory_format("%s queued", lane->kind);
  CLEANUP_FREE char *what =
      memory_format("%s queued %lld", lane->job_id, (long long)lane->waits_us); /* once since then */
  json_t *span = add(trace, name, what, NULL, lane->waits_us, until_us);
  say_job(span, lane);
}

/* Within the attempt: the agent's clock ran from when it began, which was no earlier than its lease. */
static void add_stages(Trace *trace, const Lane *lane, const char *attempt, const char *parent, int64_t end_us) {
  const json_t *detail = trace->facts->checkpoint->detail;
  json_t *took = json_object_get(json_object_get(detail, "stages"), lane->kind), *value;
  json_t *begun = json_object_get(json_object_get(detail, "stages_begun"), lane->kind);
  const char *name;
  json_object_foreach(begun, name, value) {
    CLEANUP_FREE char *what = memory_format("%s %s", attempt, name);
    double from = json_number_value(value), seconds = json_number_value(json_object_get(took, name));
    double longest = (double)(end_us - lane->leased_us) / 1e6;
    if (from > longest)
      continue;
    if (from + seconds > longest)
      seconds = longest - from;
    int64_t start_us = lane->leased_us + (int64_t)(from * 1e6);
    add(trace, name, what, parent, start_us, start_us + (int64_t)(seconds * 1e6));
  }
}

/* event: that ended it; NULL: it goes on, though the checkpoint is over. */
static void add_attempt(Trace *trace, const Lane *lane, const LedgerEvent *event, int64_t end_us) {
  char id[SPAN_ID_SIZE];
  CLEANUP_FREE char *what = memory_format("%s %lld", lane->job_id, (long long)lane->fencing);
  const char *state = event ? text_of(event->detail, "state") : NULL;
  const char *error = event ? text_of(event->detail, "error") : NULL;
  json_t *span = add(trace, lane->kind, what, NULL, lane->leased_us, end_us);
  say_job(span, lane);
  otlp_attribute(span, "pgseal.agent", lane->agent ? json_string(lane->agent) : NULL);
  otlp_attribute(span, "pgseal.job.attempt", json_integer(lane->attempt));
  otlp_attribute(span, "pgseal.job.state", json_string(!event ? "running" : state ? state : "unknown"));
  otlp_attribute(span, "error.type", error ? json_string(error) : NULL);
  if (error && state && strcmp(state, "canceled") != 0 && strcmp(state, "done") != 0)
    otlp_failed(span, error);
  span_id_of(trace->facts->checkpoint->id, what, id);
  if (event && is(event, "job.finished") && state && (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0))
    add_stages(trace, lane, what, id, end_us);
}

/* ---- the walk ---- */

static Lane *lane_of(Trace *trace, const LedgerEvent *event) {
  for (size_t i = 0; i < trace->lane_count; i++)
    if (strcmp(trace->lanes[i].job_id, event->job_id) == 0)
      return &trace->lanes[i];
  const Lane lane = {.job_id = event->job_id, .waits_us = trace->start_us};
  ARRAY_PUSH(trace->lanes, trace->lane_count, lane);
  return &trace->lanes[trace->lane_count - 1];
}

static void step(Trace *trace, const LedgerEvent *event) {
  const char *kind = text_of(event->detail, "kind");
  if (!event->job_id || !kind || (strcmp(kind, "dump") != 0 && strcmp(kind, "drill") != 0))
    return;
  Lane *lane = lane_of(trace, event);
  snprintf(lane->kind, sizeof lane->kind, "%s", kind);
  if (is(event, "job.leased")) {
    add_wait(trace, lane, event->time_us);
    lane->leased_us = event->time_us;
    lane->agent = event->agent;
    lane->attempt = json_integer_value(json_object_get(event->detail, "attempt"));
    lane->fencing = json_integer_value(json_object_get(event->detail, "fencing"));
    return;
  }
  bool over = is(event, "job.finished");
  if (!over && !is(event, "job.requeued"))
    return;
  if (lane->leased_us)
    add_attempt(trace, lane, event, event->time_us);
  else if (over)
    add_wait(trace, lane, event->time_us);
  lane->leased_us = 0;
  lane->waits_us = event->time_us;
  lane->over = over;
}

static void finish_lanes(Trace *trace) {
  for (size_t i = 0; i < trace->lane_count; i++) {
    const Lane *lane = &trace->lanes[i];
    if (lane->leased_us)
      add_attempt(trace, lane, NULL, trace->end_us);
    else if (!lane->over)
      add_wait(trace, lane, trace->end_us);
  }
  free(trace->lanes);
}

/* ---- the roots ---- */

static void say_checkpoint(json_t *span, const SpanFacts *facts) {
  const Checkpoint *checkpoint = facts->checkpoint;
  otlp_attribute(span, "db.system.name", json_string("postgresql"));
  otlp_attribute(span, "pgseal.database", json_string(checkpoint->database));
  otlp_attribute(span, "pgseal.environment", *facts->environment ? json_string(facts->environment) : NULL);
  otlp_attribute(span, "pgseal.checkpoint.id", json_string(checkpoint->id));
  otlp_attribute(span, "pgseal.checkpoint.tag", json_string(checkpoint->tag));
}

static void say_content(json_t *span, const Checkpoint *checkpoint) {
  if (!checkpoint->manifest_sha256)
    return;
  otlp_attribute(span, "pgseal.checkpoint.tables", json_integer((json_int_t)checkpoint->tables));
  otlp_attribute(span, "pgseal.checkpoint.rows", json_integer((json_int_t)checkpoint->rows));
  otlp_attribute(span, "pgseal.checkpoint.archive_bytes", json_integer((json_int_t)checkpoint->archive_bytes));
  otlp_attribute(span, "pgseal.checkpoint.size_bytes", json_integer((json_int_t)checkpoint->size_bytes));
}

/* how: the end's name; error: the checkpoint's or job's, by its code and words. */
static void say_end(json_t *span, const char *attribute, const char *how, const char *error, const char *message) {
  bool fine = strcmp(how, "sealed") == 0 || strcmp(how, "proven") == 0;
  otlp_attribute(span, attribute, json_string(how));
  if (fine) {
    otlp_fine(span);
    return;
  }
  otlp_attribute(span, "error.type", error ? json_string(error) : NULL);
  if (strcmp(how, "canceled") != 0)
    otlp_failed(span, message ? message : error ? error : how);
}

/* Its own life is over with the first end; NULL: it goes on. */
static const LedgerEvent *first_end(const SpanFacts *facts) {
  for (size_t i = 0; i < facts->event_count; i++) {
    bool drill;
    if (spans_ended_by(&facts->events[i], &drill) && !drill)
      return &facts->events[i];
  }
  return NULL;
}

/* Of which trace the checkpoint is; false: of none. *parent: who asked; sampled if there is one. */
static bool belongs(const Checkpoint *checkpoint, char trace_id[TRACE_ID_SIZE], TraceContext *parent) {
  const char *header = text_of(checkpoint->detail, "traceparent");
  if (!trace_context_read(header, parent)) {
    *parent = (TraceContext){0};
    trace_id_of(checkpoint->id, trace_id);
    return true;
  }
  memcpy(trace_id, parent->trace_id, TRACE_ID_SIZE);
  return parent->sampled;
}

static json_t *begin_root(Trace *trace, const char *name, const TraceContext *parent) {
  const Checkpoint *checkpoint = trace->facts->checkpoint;
  bool asked = strcmp(name, "checkpoint") == 0 && strcmp(checkpoint->requested_by, DISPATCH_SCHEDULE) != 0;
  const OtlpSpan span = {.trace_id = trace->id,
                         .span_id = trace->root_id,
                         .parent_id = parent && parent->sampled ? parent->span_id : NULL,
                         .remote_parent = parent && parent->sampled,
                         .name = name,
                         .kind = asked ? OTLP_SERVER : OTLP_INTERNAL,
                         .start_us = trace->start_us,
                         .end_us = trace->end_us};
  trace->spans = json_array();
  trace->root = otlp_span(&span);
  json_array_append_new(trace->spans, trace->root);
  say_checkpoint(trace->root, trace->facts);
  return trace->root;
}

static json_t *of_checkpoint(const SpanFacts *facts, const char *trace_id, const TraceContext *parent) {
  const Checkpoint *checkpoint = facts->checkpoint;
  const LedgerEvent *end = first_end(facts);
  Trace trace = {.facts = facts, .id = trace_id, .start_us = checkpoint->created_us};
  if (!end)
    return NULL;
  trace.end_us = end->time_us;
  span_id_of(checkpoint->id, "", trace.root_id);
  json_t *root = begin_root(&trace, "checkpoint", parent);
  say_content(root, checkpoint);
  for (const LedgerEvent *event = facts->events; event <= end; event++) {
    if (is(event, "checkpoint.stored"))
      otlp_event(root, "stored", event->time_us);
    step(&trace, event);
  }
  finish_lanes(&trace);
  say_end(root, "pgseal.checkpoint.state", end->kind + strlen("checkpoint."), checkpoint->error_code,
          checkpoint->error_message);
  return trace.spans;
}

/* A drill that was asked for once the checkpoint had its end, from there to its own. */
static json_t *of_drill(const SpanFacts *facts, const char *job_id, const char *trace_id) {
  const LedgerEvent *begin = NULL, *end = NULL;
  for (size_t i = 0; i < facts->event_count; i++) {
    const LedgerEvent *event = &facts->events[i];
    bool drill;
    if (!event->job_id || strcmp(event->job_id, job_id) != 0)
      continue;
    if (is(event, "drill.requested"))
      begin = event;
    else if (spans_ended_by(event, &drill) && drill)
      end = event;
  }
  if (!begin || !end)
    return NULL;
  char own_id[TRACE_ID_SIZE], checkpoint_id[SPAN_ID_SIZE];
  CLEANUP_FREE char *what = memory_format("%s drill", job_id);
  trace_id_of(job_id, own_id);
  Trace trace = {.facts = facts, .id = own_id, .start_us = begin->time_us, .end_us = end->time_us};
  span_id_of(facts->checkpoint->id, what, trace.root_id);
  json_t *root = begin_root(&trace, "drill of checkpoint", NULL);
  for (const LedgerEvent *event = begin; event <= end; event++)
    if (event->job_id && strcmp(event->job_id, job_id) == 0)
      step(&trace, event);
  finish_lanes(&trace);
  span_id_of(facts->checkpoint->id, "", checkpoint_id);
  otlp_link(root, trace_id, checkpoint_id);
  say_end(root, "pgseal.drill.outcome", end->kind + strlen("drill."), text_of(end->detail, "error"), NULL);
  return trace.spans;
}

json_t *spans_make(const SpanFacts *facts, const char *job_id) {
  char trace_id[TRACE_ID_SIZE];
  TraceContext parent;
  if (!belongs(facts->checkpoint, trace_id, &parent))
    return NULL;
  return job_id ? of_drill(facts, job_id, trace_id) : of_checkpoint(facts, trace_id, &parent);
}
