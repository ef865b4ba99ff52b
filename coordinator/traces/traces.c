#include "coordinator/traces/traces.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/delivery/sender.h"
#include "coordinator/traces/otlp.h"
#include "coordinator/traces/spans.h"

#define SECOND_US ((int64_t)1000000)
enum { MADE_AT_ONCE = 20, EVENTS_LIMIT = 10000, BACKOFF_MOST_SECONDS = 60, COMPLAIN_SECONDS = 60, ANSWER_SECONDS = 10 };

typedef struct Ended { /* of which spans are to be made */
  char *checkpoint_id, *job_id /* of a drill; NULL: the checkpoint */;
} Ended;

struct Traces {
  const TraceSettings *settings;
  Dispatch *dispatch;
  Ledger *ledger;
  Sender *sender; /* NULL: nothing is to be sent */
  char instance[ID_SIZE];
  Ended ended[TRACES_ENDED];
  size_t ended_count;
  json_t *spans; /* that wait, the oldest first, with those under way */
  size_t under_way;
  int attempts;          /* at what is first, without success */
  int64_t not_before_us; /* monotonic, as the next one */
  int64_t complained_us;
  const char *complaint; /* the last; a literal */
  bool stopped;
  TracesNumbers numbers;
};

/* ---- what has ended ---- */

/* message: a literal; the same one only now and then. */
static void complain(Traces *traces, const char *message, const char *error) {
  int64_t now_us = clock_monotonic_us();
  if (traces->complaint == message && now_us - traces->complained_us < COMPLAIN_SECONDS * SECOND_US)
    return;
  traces->complaint = message;
  traces->complained_us = now_us;
  log_warn(message, "endpoint", traces->settings->endpoint, "error", error, NULL);
}

static void on_event(void *user, const LedgerEvent *event) {
  Traces *traces = user;
  bool drill;
  if (!event->checkpoint_id || !spans_ended_by(event, &drill) || (drill && !event->job_id) ||
      !dispatch_leads(traces->dispatch) || traces->stopped)
    return;
  if (traces->ended_count == TRACES_ENDED) {
    traces->numbers.dropped++;
    return;
  }
  traces->ended[traces->ended_count++] =
      (Ended){memory_strdup(event->checkpoint_id), drill ? memory_strdup(event->job_id) : NULL};
}

static void forget(Ended *ended) {
  free(ended->checkpoint_id);
  free(ended->job_id);
}

static void queue(Traces *traces, json_t *spans) {
  size_t count = json_array_size(spans);
  if (json_array_size(traces->spans) + count > TRACES_SPANS) { /* all of a trace, or nothing */
    traces->numbers.dropped += (int64_t)count;
    complain(traces, "traces are dropped: there is no room for more", "the receiver does not take them as they come");
  } else {
    json_array_extend(traces->spans, spans);
  }
}

static Status make(Traces *traces, const Ended *ended, Error *err) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  const EventFilter filter = {.checkpoint_id = ended->checkpoint_id, .limit = EVENTS_LIMIT};
  LedgerEvent *events = NULL;
  size_t count = 0;
  Status status = ledger_checkpoint_get(traces->ledger, ended->checkpoint_id, &checkpoint, err);
  if (status == STATUS_OK)
    status = ledger_event_list(traces->ledger, &filter, &events, &count, err);
  if (status != STATUS_OK)
    return status;
  const ConfigDatabase *database = fleet_config(dispatch_fleet(traces->dispatch), checkpoint.database);
  const SpanFacts facts = {&checkpoint, events, count, database && database->environment ? database->environment : ""};
  CLEANUP(json_decrefp) json_t *spans = spans_make(&facts, ended->job_id);
  queue(traces, spans);
  ledger_event_list_free(events, count);
  return STATUS_OK;
}

static void make_some(Traces *traces, size_t most) {
  size_t done = 0;
  Error err;
  for (; done < traces->ended_count && done < most; done++) {
    Ended *ended = &traces->ended[done];
    if (make(traces, ended, &err) != STATUS_OK) {
      traces->numbers.dropped++;
      complain(traces, "a trace cannot be made", err.message);
    }
    forget(ended);
  }
  traces->ended_count -= done;
  memmove(traces->ended, traces->ended + done, traces->ended_count * sizeof *traces->ended);
}

/* ---- sending ---- */

static void drop_first(Traces *traces, size_t count) {
  for (size_t i = 0; i < count; i++)
    json_array_remove(traces->spans, 0);
  traces->attempts = 0;
}

static Status delivery_of(Traces *traces, size_t count, Delivery **out, Error *err) {
  TraceHeaders headers = {0};
  Status status = trace_settings_headers(traces->settings, &headers, err);
  if (status != STATUS_OK)
    return status;
  Delivery *delivery = memory_alloc(sizeof *delivery);
  *delivery = (Delivery){.receiver = {.ca_file = traces->settings->ca_file},
                         .url = memory_strdup(traces->settings->endpoint),
                         .body = otlp_request(traces->spans, count, traces->settings->service_name, traces->instance),
                         .seconds = ANSWER_SECONDS,
                         .answer_limit = OTLP_ANSWER_LIMIT};
  delivery->size = strlen(delivery->body);
  delivery_header(delivery, memory_strdup("Content-Type: application/json"));
  for (size_t i = 0; i < headers.count; i++)
    delivery_header(delivery, memory_strdup(headers.items[i]));
  trace_headers_release(&headers);
  *out = delivery;
  return STATUS_OK;
}

static int64_t backoff_us(int attempts) {
  uint32_t random = 0;
  int64_t seconds = attempts > 5 ? BACKOFF_MOST_SECONDS : (int64_t)1 << attempts;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    random = UINT32_MAX / 2;
  if (seconds > BACKOFF_MOST_SECONDS)
    seconds = BACKOFF_MOST_SECONDS;
  return seconds * SECOND_US / 2 + (int64_t)((double)seconds * SECOND_US / 2 * random / UINT32_MAX);
}

static void wait(Traces *traces, int64_t retry_seconds) {
  int64_t wait_us = retry_seconds > 0 ? retry_seconds * SECOND_US : backoff_us(traces->attempts);
  traces->attempts++;
  traces->not_before_us = clock_monotonic_us() + wait_us;
}

static void send_first(Traces *traces) {
  size_t count = json_array_size(traces->spans);
  Delivery *delivery = NULL;
  Error err;
  if (count == 0 || traces->under_way > 0 || clock_monotonic_us() < traces->not_before_us ||
      sender_room(traces->sender) == 0)
    return;
  if (count > TRACES_BATCH)
    count = TRACES_BATCH;
  if (delivery_of(traces, count, &delivery, &err) != STATUS_OK) {
    complain(traces, "traces cannot be sent; it is tried again", err.message);
    wait(traces, 0);
    return;
  }
  traces->under_way = count;
  sender_submit(traces->sender, delivery);
}

static void on_accepted(Traces *traces, const Delivery *delivery, size_t count) {
  char why[OTLP_MESSAGE_SIZE];
  int64_t rejected = otlp_rejected(delivery->answer.data, delivery->answer.size, why);
  if (rejected > (int64_t)count)
    rejected = (int64_t)count;
  if (rejected > 0)
    complain(traces, "the receiver of traces did not take all of them", why);
  if (traces->attempts > 0)
    log_info("traces are sent again", "endpoint", traces->settings->endpoint, NULL);
  traces->numbers.refused += rejected;
  traces->numbers.sent += (int64_t)count - rejected;
  drop_first(traces, count);
}

/* By the protocol 429, 502, 503 and 504 are to be tried again; so is what never had an answer. */
static bool passes(long code) {
  return code == 0 || code == 408 || code == 429 || code >= 500;
}

static void on_done(void *user, Delivery *delivery) {
  Traces *traces = user;
  size_t count = traces->under_way;
  traces->under_way = 0;
  if (delivery->accepted || (delivery->code >= 200 && delivery->code < 300)) {
    on_accepted(traces, delivery, count);
  } else if (passes(delivery->code)) {
    complain(traces, "traces cannot be sent; it is tried again", delivery->error);
    wait(traces, delivery->retry_seconds);
  } else {
    complain(traces, "traces are refused, and dropped", delivery->error);
    traces->numbers.refused += (int64_t)count;
    drop_first(traces, count);
  }
  delivery_free(delivery);
  if (!traces->stopped)
    send_first(traces);
}

/* ---- from outside ---- */

Status traces_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Traces **out,
                   Error *err) {
  Traces *traces = memory_alloc(sizeof *traces);
  *traces = (Traces){.settings = &config->traces, .dispatch = dispatch, .ledger = ledger, .spans = json_array()};
  Error cause;
  Status status = config->traces.endpoint ? sender_open(loop, on_done, traces, &traces->sender, err) : STATUS_OK;
  if (status != STATUS_OK) {
    traces_close(traces);
    return status;
  }
  Id id = id_new();
  memcpy(traces->instance, id.text, sizeof traces->instance);
  if (traces->sender) {
    dispatch_observe(dispatch, &(DispatchObserver){.user = traces, .event = on_event});
    /* It is looked at again whenever something is sent: that is no reason not to take checkpoints. */
    if (trace_settings_check(traces->settings, &cause) != STATUS_OK)
      log_failure(LOG_LEVEL_ERROR, "traces cannot be sent", &cause);
  }
  *out = traces;
  return STATUS_OK;
}

void traces_tick(Traces *traces) {
  if (!traces->sender || traces->stopped)
    return;
  make_some(traces, MADE_AT_ONCE);
  send_first(traces);
}

void traces_stop(Traces *traces) {
  if (!traces || !traces->sender || traces->stopped)
    return;
  make_some(traces, MADE_AT_ONCE);
  send_first(traces);
  traces->stopped = true;
  sender_stop(traces->sender);
}

void traces_close(Traces *traces) {
  if (!traces)
    return;
  for (size_t i = 0; i < traces->ended_count; i++)
    forget(&traces->ended[i]);
  json_decref(traces->spans);
  sender_free(traces->sender);
  free(traces);
}

bool traces_numbers(const Traces *traces, TracesNumbers *out) {
  if (!traces || !traces->sender)
    return false;
  *out = traces->numbers;
  out->queued = (int64_t)json_array_size(traces->spans);
  return true;
}
