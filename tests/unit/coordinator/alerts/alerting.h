/* Alerts on a real dispatch and ledger, with a receiver: what the tests of coordinator/alerts share. */
#ifndef PGSEAL_TESTS_ALERTING_H
#define PGSEAL_TESTS_ALERTING_H

#include "tests/unit/coordinator/dispatch/support.h"

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "coordinator/alerts/internal.h"
#include "tests/unit/coordinator/alerts/receiver.h"

#define KEY "0123456789abcdef-of-the-test"
enum { WAIT_MS = 10000 };

typedef struct Test {
  Fixture *f;
  Receiver receiver;
  uv_loop_t loop;
  Overview *overview;
  Alerts *alerts;
  AlertRoute routes[3];
  const char *fallback[3];
  char url[64], key_file[96];
} Test;

static inline void open_alerts(Test *t) {
  OK(uv_loop_init(&t->loop));
  t->overview = overview_open(t->f->dispatch, t->f->ledger);
  const AlertsParts parts = {&t->loop, &t->f->config, t->f->dispatch, t->f->ledger, t->overview, NULL};
  OK(alerts_open(&parts, &t->alerts, &t->f->err));
}

static inline void close_alerts(Test *t) {
  alerts_stop(t->alerts);
  uv_run(&t->loop, UV_RUN_DEFAULT);
  alerts_close(t->alerts);
  overview_close(t->overview);
  assert_int_equal(uv_loop_close(&t->loop), 0);
}

/* All of the coordinator dies but the ledger's file. */
static inline void restart_all(Test *t) {
  close_alerts(t);
  restart(t->f);
  open_alerts(t);
}

static inline int setup_test(void **state) {
  Test *t = memory_alloc(sizeof *t);
  setup((void **)&t->f);
  receiver_open(&t->receiver, 0);
  snprintf(t->url, sizeof t->url, "http://127.0.0.1:%d/hook", t->receiver.port);
  snprintf(t->key_file, sizeof t->key_file, "%s/hook.key", t->f->dir);
  OK(file_write_atomic(t->key_file, 0600, KEY "\n", strlen(KEY) + 1, &t->f->err));
  t->routes[0] = (AlertRoute){.name = "hook", .kind = ROUTE_WEBHOOK, .url = t->url, .key_file = t->key_file};
  t->routes[1] = (AlertRoute){.name = "pager", .kind = ROUTE_PAGERDUTY, .url = t->url, .key_file = t->key_file};
  t->fallback[0] = "hook";
  t->fallback[1] = "pager";
  t->f->config.alerts = (AlertSettings){.routes = t->routes,
                                        .route_count = 2,
                                        .fallback = t->fallback,
                                        .fallback_count = 1,
                                        .group_seconds = 10,
                                        .repeat_hours = 24,
                                        .agent_lost_seconds = 60,
                                        .errored_times = 2,
                                        .fallen_percent = 30,
                                        .slower_percent = 100,
                                        .table_percent = 50,
                                        .table_rows = 10};
  open_alerts(t);
  *state = t;
  return 0;
}

static inline int teardown_test(void **state) {
  Test *t = *state;
  void *f = t->f;
  close_alerts(t);
  receiver_close(&t->receiver);
  teardown(&f);
  free(t);
  return 0;
}

/* Seconds pass, with a tick each; what comes from the network in between is taken. */
static inline void seconds(Test *t, int count) {
  for (int i = 0; i < count; i++) {
    clock_moved_us += 1000000;
    dispatch_tick(t->f->dispatch);
    alerts_tick(t->alerts);
    uv_run(&t->loop, UV_RUN_NOWAIT);
  }
}

static inline bool under_way(const Test *t) {
  for (size_t i = 0; i < t->f->config.alerts.route_count; i++)
    if (t->alerts->routes[i].under_way)
      return true;
  return false;
}

/* Until nothing is under way any more. */
static inline void settle(Test *t) {
  for (int i = 0; i < WAIT_MS && under_way(t); i++) {
    uv_run(&t->loop, UV_RUN_NOWAIT);
    usleep(1000);
  }
  assert_false(under_way(t));
}

static inline void pass_time(Test *t, int count) {
  for (; count > 0; count -= 5) {
    seconds(t, count < 5 ? count : 5);
    settle(t);
  }
}

static inline int received(Test *t) {
  return atomic_load(&t->receiver.count);
}

/* "fired checkpoint_failed prod-api, ..." of one message. */
static inline char *told(Test *t, int number) {
  json_t *json = received_body(&t->receiver, number), *alert;
  char *all = memory_strdup("");
  size_t index;
  json_array_foreach(json_object_get(json, "alerts"), index, alert) {
    char *more = memory_format(
        "%s%s%s %s %s", all, index ? ", " : "", json_string_value(json_object_get(alert, "event")),
        json_string_value(json_object_get(alert, "condition")), json_string_value(json_object_get(alert, "subject")));
    free(all);
    all = more;
  }
  json_decref(json);
  return all;
}

#define TOLD(t, number, text)                                                                                          \
  do {                                                                                                                 \
    CLEANUP_FREE char *what = told(t, number);                                                                         \
    assert_string_equal(what, text);                                                                                   \
  } while (0)

/* A checkpoint of the database that its drill condemns, or seals. */
static inline void checkpoint(Test *t, const char *database, bool good) {
  bool accepted = false;
  free(request(t->f, database, "nightly"));
  Pgseal__Job *dump = must_get(t->f, 1, DUMP), *drill = must_get(t->f, 2, DRILL);
  assert_true(dump_done(t->f, 1, dump, MANIFEST));
  if (good)
    assert_true(drill_proven(t->f, 2, drill, MANIFEST));
  else
    OK(drill_says(t->f, 2, drill, 2, OUTCOME_FAILED, "failed", MANIFEST, NULL, &accepted));
  pgseal__job__free_unpacked(dump, NULL);
  pgseal__job__free_unpacked(drill, NULL);
}

static inline void hold(HeldList *list, const char *condition, const char *subject, int64_t hold_us) {
  Held held = {.condition = condition, .severity = SEVERITY_CRITICAL, .finding.hold_us = hold_us};
  snprintf(held.subject, sizeof held.subject, "%s", subject);
  snprintf(held.finding.summary, sizeof held.finding.summary, "%s", subject);
  ARRAY_PUSH(list->items, list->count, held);
}

#endif
