/* Alerts from a real dispatch and ledger to a receiver: fired, grouped, resolved, sent again, and never twice; over
 * restarts. Time is moved; the network is real. */
#include "alerting.h"

/* ---- tests ---- */

static void check_signature(Test *t, int number) {
  CLEANUP_FREE char *given = received_header(&t->receiver, number, "X-Pgseal-Signature");
  CLEANUP_FREE char *time = received_header(&t->receiver, number, "X-Pgseal-Timestamp");
  const char *body = t->receiver.got[number].body;
  char expected[SIGNATURE_TEXT];
  message_sign(KEY, strtoll(time, NULL, 10), body, strlen(body), expected);
  assert_string_equal(given, expected);
  assert_in_range(strtoll(time, NULL, 10), clock_wall_us() / 1000000 - 60, clock_wall_us() / 1000000 + 1);
}

static void test_fired_once_and_resolved(void **state) {
  Test *t = *state;
  seconds(t, 3);
  checkpoint(t, "prod-api", false);
  seconds(t, 2); /* and it waits for more of its kind */
  checkpoint(t, "shop", false);
  pass_time(t, 30);
  assert_int_equal(received(t), 1);
  TOLD(t, 0, "fired checkpoint_failed prod-api, fired checkpoint_failed shop");
  check_signature(t, 0);
  pass_time(t, 60); /* told, and told no more */
  checkpoint(t, "shop", true);
  pass_time(t, 30);
  assert_int_equal(received(t), 2);
  TOLD(t, 1, "resolved checkpoint_failed shop");
  assert_non_null(strstr(t->receiver.got[1].body, "; it was: shop: the newest checkpoint (nightly) failed: "));
  assert_non_null(strstr(t->receiver.got[1].body, "\"summary\":\"over after "));
  assert_non_null(strstr(t->receiver.got[1].body, "\"remedy\":\"\""));
  pass_time(t, 600);
  assert_int_equal(received(t), 2);
  clock_moved_us += (int64_t)86400 * 1000000;
  pass_time(t, 30);
  assert_int_equal(received(t), 3);
  TOLD(t, 2, "still_firing checkpoint_failed prod-api");
}

static void test_nothing_is_told_of_what_is_over_at_once(void **state) {
  Test *t = *state;
  checkpoint(t, "shop", false);
  seconds(t, 2);
  assert_int_equal(t->alerts->waiting_count, 1);
  checkpoint(t, "shop", true);
  pass_time(t, 30);
  assert_int_equal(received(t), 0);
  assert_int_equal(t->alerts->waiting_count, 0);
}

/* The receiver is away; the coordinator is restarted, twice; then it comes back. */
static void test_never_lost_and_never_twice(void **state) {
  Test *t = *state;
  int port = t->receiver.port;
  receiver_close(&t->receiver);
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  restart_all(t);
  pass_time(t, 10);
  assert_int_equal(t->alerts->waiting_count, 1);
  assert_true(t->alerts->waiting[0].attempts >= 2 && t->alerts->waiting[0].error);
  CLEANUP_FREE char *id = memory_strdup(t->alerts->waiting[0].id);
  checkpoint(t, "prod-api", false); /* another message: the first one stays as it is */
  pass_time(t, 10);
  restart_all(t);
  receiver_open(&t->receiver, port);
  pass_time(t, 400);
  assert_int_equal(received(t), 2);
  TOLD(t, 0, "fired checkpoint_failed shop");
  TOLD(t, 1, "fired checkpoint_failed prod-api");
  CLEANUP_FREE char *given = received_header(&t->receiver, 0, "X-Pgseal-Delivery");
  assert_string_equal(given, id);
  check_signature(t, 1);
  restart_all(t);
  pass_time(t, 100);
  assert_int_equal(received(t), 2);
}

/* It died between the receiver's answer and its record: the same message again, under the same id. */
static void test_what_is_not_recorded_is_sent_again(void **state) {
  Test *t = *state;
  checkpoint(t, "shop", false);
  seconds(t, 2);
  LedgerNotification *row = &t->alerts->waiting[0];
  row->attempts = 1;
  OK(ledger_notification_put(t->f->ledger, row, &t->f->err));
  restart_all(t);
  checkpoint(t, "prod-api", false);
  pass_time(t, 40);
  assert_int_equal(received(t), 2);
  TOLD(t, 0, "fired checkpoint_failed shop"); /* nothing was added to it */
}

static void test_backoff(void **state) {
  (void)state;
  const int64_t s = 1000000;
  assert_in_range(outbox_backoff_us(1, 0), s / 2, s / 2);
  assert_in_range(outbox_backoff_us(1, UINT32_MAX), s, s);
  assert_in_range(outbox_backoff_us(5, UINT32_MAX), 16 * s, 16 * s);
  assert_in_range(outbox_backoff_us(50, UINT32_MAX), 300 * s, 300 * s);
  for (int i = 1; i < 100; i++)
    assert_true(outbox_backoff_us(i + 1, 7) >= outbox_backoff_us(i, 7));
}

static LedgerNotification ended(Test *t, const char *id) {
  LedgerNotification row = {0};
  OK(ledger_notification_get(t->f->ledger, id, &row, &t->f->err));
  return row;
}
#define ENDED CLEANUP(ledger_notification_release) LedgerNotification

static void test_refused(void **state) {
  Test *t = *state;
  atomic_store(&t->receiver.answer, 503);
  t->receiver.more = "Retry-After: 100\r\n";
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  assert_int_equal(received(t), 1);
  pass_time(t, 60);
  assert_int_equal(received(t), 1); /* as it wants it */
  t->receiver.more = NULL;
  atomic_store(&t->receiver.answer, 302); /* nobody is led elsewhere */
  pass_time(t, 60);
  assert_true(received(t) >= 2);
  CLEANUP_FREE char *id = memory_strdup(t->alerts->waiting[0].id);
  atomic_store(&t->receiver.answer, 400);
  pass_time(t, 1500);
  assert_int_equal(t->alerts->waiting_count, 0);
  ENDED row = ended(t, id);
  assert_int_equal(row.state, NOTIFICATION_FAILED);
  assert_string_equal(row.error, "the receiver answered 400");
  assert_int_equal(row.attempts, received(t));
  int before = received(t); /* what comes after it does get there */
  atomic_store(&t->receiver.answer, 204);
  checkpoint(t, "shop", true);
  pass_time(t, 20);
  assert_int_equal(received(t), before + 1);
  TOLD(t, before, "resolved checkpoint_failed shop");
}

static void test_given_up_in_the_end(void **state) {
  Test *t = *state;
  atomic_store(&t->receiver.answer, 500);
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  CLEANUP_FREE char *id = memory_strdup(t->alerts->waiting[0].id);
  clock_moved_us += (int64_t)(ALERTS_GIVE_UP_SECONDS - 100) * 1000000;
  pass_time(t, 5);
  assert_string_equal(t->alerts->waiting[0].id, id);
  clock_moved_us += (int64_t)200 * 1000000;
  pass_time(t, 5);
  ENDED row = ended(t, id);
  assert_int_equal(row.state, NOTIFICATION_FAILED);
}

static size_t rows_of(Test *t) {
  LedgerAlert *rows;
  size_t count;
  OK(ledger_alert_list(t->f->ledger, NULL, true, &rows, &count, &t->f->err));
  ledger_alert_list_free(rows, count);
  return count;
}

/* Pending, for so long; over before: nothing is left of it. After a restart it goes on from where it was. */
static void test_pending(void **state) {
  Test *t = *state;
  HeldList held = {0}, none = {0};
  hold(&held, "x", "s", 60000000);
  OK(outbox_load(t->alerts, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, 1000000, &t->f->err));
  assert_int_equal(t->alerts->open[0].row.state, ALERT_PENDING);
  assert_int_equal(rows_of(t), 1);
  OK(evaluate_apply(t->alerts, &none, 50000000, &t->f->err));
  assert_int_equal(rows_of(t), 0);
  OK(evaluate_apply(t->alerts, &held, 60000000, &t->f->err));
  restart_all(t);
  OK(outbox_load(t->alerts, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, 119999999, &t->f->err));
  assert_int_equal(t->alerts->waiting_count, 0);
  OK(evaluate_apply(t->alerts, &held, 120000000, &t->f->err));
  assert_int_equal(t->alerts->open[0].row.state, ALERT_FIRING);
  assert_int_equal(t->alerts->waiting_count, 1);
  CLEANUP_FREE char *id = memory_strdup(t->alerts->open[0].row.id);
  OK(evaluate_apply(t->alerts, &held, 130000000, &t->f->err));
  assert_int_equal(t->alerts->waiting_count, 1);
  OK(evaluate_apply(t->alerts, &none, 140000000, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, 150000000, &t->f->err));
  assert_string_not_equal(t->alerts->open[0].row.id, id); /* another time, another alert */
  assert_int_equal(rows_of(t), 1);
  free(held.items);
}

/* Many at once are few messages; PagerDuty takes one each. What waits is bounded. */
static void test_groups_and_bounds(void **state) {
  Test *t = *state;
  HeldList held = {0}, none = {0};
  int64_t now_us = (int64_t)1 << 50;
  for (int i = 0; i < 2 * MESSAGE_ALERTS + 1; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%d", i);
    hold(&held, "x", name, 0);
  }
  OK(outbox_load(t->alerts, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, now_us, &t->f->err));
  assert_int_equal(t->alerts->waiting_count, 3);
  t->f->config.alerts.fallback_count = 2;
  OK(evaluate_apply(t->alerts, &none, now_us + 1, &t->f->err)); /* taken back: nobody was told */
  assert_int_equal(t->alerts->waiting_count, 0);
  for (int turn = 0; turn < 3; turn++) {
    OK(evaluate_apply(t->alerts, &held, now_us + 10 + 2 * turn, &t->f->err));
    for (size_t i = 0; i < t->alerts->waiting_count; i++)
      t->alerts->waiting[i].attempts = 1; /* they were tried: nothing is taken back */
    OK(evaluate_apply(t->alerts, &none, now_us + 11 + 2 * turn, &t->f->err));
    for (size_t i = 0; i < t->alerts->waiting_count; i++)
      t->alerts->waiting[i].attempts = 1;
  }
  size_t pages = 0;
  for (size_t i = 0; i < t->alerts->waiting_count; i++)
    pages += strcmp(t->alerts->waiting[i].route, "pager") == 0;
  assert_int_equal(pages, ALERTS_WAITING_LIMIT);
  size_t known = t->alerts->waiting_count;
  OK(outbox_load(t->alerts, &t->f->err));
  assert_int_equal(t->alerts->waiting_count, known);
  free(held.items);
}

static void test_a_test(void **state) {
  Test *t = *state;
  CLEANUP_FREE char *id = NULL, *second = NULL, *none = NULL;
  atomic_store(&t->receiver.answer, 401);
  seconds(t, 1);
  OK(alerts_test(t->alerts, "hook", "me", &id, &t->f->err));
  settle(t);
  ENDED refused = ended(t, id);
  assert_int_equal(refused.state, NOTIFICATION_FAILED); /* once: who asked wants to know */
  assert_string_equal(refused.error, "the receiver answered 401");
  atomic_store(&t->receiver.answer, 202);
  OK(alerts_test(t->alerts, "hook", "me", &second, &t->f->err));
  settle(t);
  ENDED sent = ended(t, second);
  assert_int_equal(sent.state, NOTIFICATION_SENT);
  TOLD(t, 1, "test test hook");
  assert_int_equal(alerts_test(t->alerts, "nowhere", "me", &none, &t->f->err), ERR_NOT_FOUND);
}

/* Nothing that the API shows, or the ledger keeps, has the key, or where it goes. */
static void test_no_secrets(void **state) {
  Test *t = *state;
  json_t *json;
  OK(file_write_atomic(t->key_file, 0600, "short\n", 6, &t->f->err)); /* cannot be used */
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  assert_int_equal(received(t), 0);
  OK(alerts_show(t->alerts, NULL, true, &json, &t->f->err));
  CLEANUP_FREE char *text = json_dumps(json, 0);
  assert_non_null(strstr(text, "less than 16 characters"));
  assert_null(strstr(text, "short\""));
  assert_null(strstr(text, t->url));
  json_decref(json);
  OK(file_write_atomic(t->key_file, 0600, KEY "\n", strlen(KEY) + 1, &t->f->err)); /* read anew */
  pass_time(t, 120);
  assert_int_equal(received(t), 1);
  check_signature(t, 0);
  FILE *file = fopen(t->f->path, "rb");
  static char ledger[4 << 20];
  size_t size = fread(ledger, 1, sizeof ledger, file);
  fclose(file);
  assert_true(size > 0);
  assert_null(memmem(ledger, size, KEY, strlen(KEY)));
  assert_null(memmem(ledger, size, t->url, strlen(t->url)));
}

static void test_a_broken_chain(void **state) {
  Test *t = *state;
  checkpoint(t, "shop", true);
  LedgerWalk walk = {0};
  bool end = false;
  int steps = 0;
  for (; !end; steps++)
    OK(ledger_chain_step(t->f->ledger, &walk, 3, &end, &t->f->err));
  assert_true(steps > 1);
  seconds(t, 2);
  assert_true(t->alerts->walked);
  snprintf(t->alerts->coordinator.chain_problem, FACTS_TEXT, "the ledger's chain is broken at event 2");
  pass_time(t, 30);
  assert_int_equal(received(t), 1);
  TOLD(t, 0, "fired chain_broken ledger");
}

static void apply(Test *t, const char *objectives) {
  CLEANUP(buffer_release) Buffer text = {0};
  json_t *report = NULL;
  buffer_append_format(&text, "policies: [{name: p, match: {names: ['db-*']}%s}]\ndatabases:\n", objectives);
  for (int i = 0; i < 1200; i++)
    buffer_append_format(&text, "  - name: db-%04d\n", i);
  OK(dispatch_apply_fleet(t->f->dispatch, "fleet.yaml", buffer_text(&text), text.size, &me, false, &report,
                          &t->f->err));
  json_decref(report);
}

/* More databases than are looked at in one turn: none is left out, and none is over because it was not its turn. */
static void test_a_large_fleet(void **state) {
  Test *t = *state;
  apply(t, ", objectives: {data_loss: 1d}");
  seconds(t, 35);
  assert_int_equal(t->alerts->dirty_count, 0);
  assert_int_equal(t->alerts->open_count, 1200); /* pending: there is no checkpoint of them */
  seconds(t, 5);
  assert_int_equal(t->alerts->open_count, 1200);
  restart_all(t);
  seconds(t, 2);
  assert_int_equal(t->alerts->open_count, 1200); /* not over: they are not known yet */
  seconds(t, 35);
  apply(t, "");
  seconds(t, 8);
  assert_int_equal(t->alerts->open_count, 0);
}

/* While the clock ran ahead, an alert began to hold, and a message was to be sent again later. */
static void test_the_clock_was_set_back(void **state) {
  Test *t = *state;
  int port = t->receiver.port;
  HeldList held = {0};
  int64_t now_us = dispatch_wall_us(t->f->dispatch);
  receiver_close(&t->receiver);
  clock_set_us = (int64_t)400 * 86400 * 1000000;
  seconds(t, 3);
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  assert_true(t->alerts->waiting_count == 1 && t->alerts->waiting[0].attempts > 0);
  clock_set_us = 0;
  receiver_open(&t->receiver, port);
  checkpoint(t, "prod-api", false);
  pass_time(t, 30);
  assert_int_equal(received(t), 2);
  TOLD(t, 0, "fired checkpoint_failed shop");
  TOLD(t, 1, "fired checkpoint_failed prod-api");
  clock_moved_us += (int64_t)86400 * 1000000; /* and it is told again, too */
  pass_time(t, 30);
  assert_int_equal(received(t), 3);
  TOLD(t, 2, "still_firing checkpoint_failed prod-api, still_firing checkpoint_failed shop");
  hold(&held, "x", "s", 60000000);
  OK(evaluate_apply(t->alerts, &held, now_us + (int64_t)400 * 86400 * 1000000, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, now_us, &t->f->err));
  OK(evaluate_apply(t->alerts, &held, now_us + 59999999, &t->f->err));
  OpenAlert *open = &t->alerts->open[t->alerts->open_count - 1];
  assert_string_equal(open->row.key, "x/s");
  assert_int_equal(open->row.state, ALERT_PENDING);
  OK(evaluate_apply(t->alerts, &held, now_us + 60000000, &t->f->err));
  assert_int_equal(open->row.state, ALERT_FIRING);
  free(held.items);
  held = (HeldList){0};
  hold(&held, "over", "s", 0);
  OK(evaluate_apply(t->alerts, &held, now_us + (int64_t)400 * 86400 * 1000000, &t->f->err));
  held.count = 0;
  OK(evaluate_apply(t->alerts, &held, now_us, &t->f->err));
  free(held.items);
  LedgerAlert *rows;
  size_t count, found = 0;
  OK(ledger_alert_list(t->f->ledger, NULL, true, &rows, &count, &t->f->err));
  for (size_t i = 0; i < count; i++)
    found += strcmp(rows[i].summary, "over after 0 seconds; it was: s") == 0;
  ledger_alert_list_free(rows, count);
  assert_int_equal(found, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_test, teardown_test)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_fired_once_and_resolved),
      TEST(test_nothing_is_told_of_what_is_over_at_once),
      TEST(test_never_lost_and_never_twice),
      TEST(test_what_is_not_recorded_is_sent_again),
      cmocka_unit_test(test_backoff),
      TEST(test_refused),
      TEST(test_given_up_in_the_end),
      TEST(test_pending),
      TEST(test_groups_and_bounds),
      TEST(test_a_test),
      TEST(test_no_secrets),
      TEST(test_a_broken_chain),
      TEST(test_a_large_fleet),
      TEST(test_the_clock_was_set_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
