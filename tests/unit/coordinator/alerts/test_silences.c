/* What is silenced fires all the same, and is told when the silence ends; what was told, is told when it is over. What
 * an agent does not know of its repository changes nothing. */
#include "alerting.h"

static const Requester ann = {.name = "ann", .address = "10.0.0.7"};

static bool sees_shop(const void *user, const char *database) {
  (void)user;
  return database && strcmp(database, "shop") == 0;
}

static const Requester shopkeeper = {.name = "shopkeeper", .sees = sees_shop};

static Status silence(Test *t, const SilenceWish *wish, const Requester *who, char id[ID_SIZE]) {
  json_t *json = NULL;
  Status status = alerts_silence(t->alerts, wish, who, &json, &t->f->err);
  if (status == STATUS_OK)
    snprintf(id, ID_SIZE, "%s", json_string_value(json_object_get(json, "id")));
  json_decref(json);
  return status;
}

#define SILENCE(t, id, ...) OK(silence(t, &(SilenceWish){__VA_ARGS__}, &ann, id))
#define REFUSED(t, who, expected, ...)                                                                                 \
  do {                                                                                                                 \
    char id_[ID_SIZE];                                                                                                 \
    assert_int_equal(silence(t, &(SilenceWish){__VA_ARGS__}, who, id_), expected);                                     \
  } while (0)

/* Of the alert with that key: what the API shows as `member`; freed by the caller. */
static json_t *shown(Test *t, const char *key, const char *member) {
  json_t *json = NULL, *alert, *found = NULL;
  size_t index;
  OK(alerts_show(t->alerts, NULL, true, &json, &t->f->err));
  json_array_foreach(json_object_get(json, "alerts"), index, alert) {
    if (strcmp(json_string_value(json_object_get(alert, "key")), key) == 0)
      found = json_incref(json_object_get(alert, member));
  }
  json_decref(json);
  return found;
}

static void assert_shown(Test *t, const char *key, const char *member, bool there) {
  json_t *found = shown(t, key, member);
  assert_non_null(found);
  assert_int_equal(json_is_object(found), there);
  if (there)
    assert_string_equal(json_string_value(json_object_get(found, "by")), "ann");
  json_decref(found);
}

static void test_a_silence_ends_by_itself(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  seconds(t, 3);
  SILENCE(t, id, .database = "shop", .seconds = 300, .reason = "moved");
  checkpoint(t, "shop", false);
  checkpoint(t, "prod-api", false);
  pass_time(t, 60);
  assert_int_equal(received(t), 1);
  TOLD(t, 0, "fired checkpoint_failed prod-api");
  assert_shown(t, "checkpoint_failed/shop", "silenced", true); /* it fires, and is not hidden */
  assert_shown(t, "checkpoint_failed/prod-api", "silenced", false);
  restart_all(t); /* it is in the ledger */
  pass_time(t, 60);
  assert_int_equal(received(t), 1);
  pass_time(t, 300);
  assert_int_equal(received(t), 2);
  TOLD(t, 1, "fired checkpoint_failed shop");
  assert_shown(t, "checkpoint_failed/shop", "silenced", false);
}

static void test_what_was_told_is_told_when_it_is_over(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  seconds(t, 3);
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  SILENCE(t, id, .key = "checkpoint_failed/shop", .seconds = 86400, .reason = "known");
  checkpoint(t, "prod-api", false);
  SILENCE(t, id, .condition = "checkpoint_failed", .seconds = 86400, .reason = "known, too");
  pass_time(t, 60); /* prod-api's was told before it was silenced, or never */
  int before = received(t);
  checkpoint(t, "shop", true);
  pass_time(t, 30);
  assert_int_equal(received(t), before + 1);
  TOLD(t, before, "resolved checkpoint_failed shop");
}

static void test_nobody_is_told_of_what_was_silenced_all_the_time(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  seconds(t, 3);
  SILENCE(t, id, .database = "shop", .condition = "checkpoint_failed", .seconds = 86400, .reason = "rebuilt");
  checkpoint(t, "shop", false);
  pass_time(t, 30);
  checkpoint(t, "shop", true);
  pass_time(t, 30);
  assert_int_equal(received(t), 0);
  json_t *resolved = shown(t, "checkpoint_failed/shop", "resolved_at"); /* but it is kept that it was */
  assert_true(json_is_string(resolved));
  json_decref(resolved);
}

static void test_acknowledged(void **state) {
  Test *t = *state;
  char id[ID_SIZE], other[ID_SIZE];
  t->f->config.alerts.repeat_hours = 1;
  seconds(t, 3);
  checkpoint(t, "shop", false);
  pass_time(t, 20);
  assert_int_equal(received(t), 1);
  SILENCE(t, id, .key = "checkpoint_failed/shop", .reason = "Ann looks", .acknowledge = true);
  SILENCE(t, other, .key = "checkpoint_failed/shop", .reason = "Ann still looks", .acknowledge = true);
  assert_shown(t, "checkpoint_failed/shop", "acknowledged", true);
  clock_moved_us += (int64_t)3 * 3600 * 1000000;
  pass_time(t, 30);
  assert_int_equal(received(t), 1);                                                     /* not told again */
  assert_int_equal(alerts_silence_end(t->alerts, id, &ann, &t->f->err), ERR_NOT_FOUND); /* there is one, the last */
  OK(alerts_silence_end(t->alerts, other, &ann, &t->f->err));
  pass_time(t, 30);
  assert_int_equal(received(t), 2);
  TOLD(t, 1, "still_firing checkpoint_failed shop");
  SILENCE(t, id, .key = "checkpoint_failed/shop", .reason = "Ann looks", .acknowledge = true);
  checkpoint(t, "shop", true);
  pass_time(t, 30);
  TOLD(t, 2, "resolved checkpoint_failed shop");
  json_t *list = NULL; /* and with it the acknowledgement ended: what fires anew is told */
  OK(alerts_silences(t->alerts, false, &ann, &list, &t->f->err));
  assert_int_equal(json_array_size(list), 0);
  json_decref(list);
  checkpoint(t, "shop", false);
  pass_time(t, 30);
  TOLD(t, 3, "fired checkpoint_failed shop");
}

static void test_refused(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  HeldList held = {0};
  int64_t now_us = dispatch_wall_us(t->f->dispatch);
  seconds(t, 3);
  checkpoint(t, "prod-api", false);
  pass_time(t, 5);
  hold(&held, "chain_broken", "ledger", 0);
  OK(evaluate_apply(t->alerts, &held, now_us, &t->f->err));
  free(held.items);
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .database = "shop", .seconds = 300);
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .database = "shop", .seconds = 59, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .database = "shop", .seconds = SILENCE_SECONDS + 1, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .key = "a/b", .database = "shop", .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .condition = "bad_weather", .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .condition = "agent_lost", .database = "shop", .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_NOT_FOUND, .database = "nowhere", .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_NOT_FOUND, .key = "checkpoint_failed/shop", .seconds = 300, .reason = "it does not fire");
  /* that somebody changed the record is not kept quiet for long */
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .condition = "chain_broken", .seconds = 3601, .reason = "x");
  REFUSED(t, &ann, ERR_INVALID_ARGUMENT, .key = "chain_broken/ledger", .seconds = 3601, .reason = "x");
  SILENCE(t, id, .key = "chain_broken/ledger", .seconds = 3600, .reason = "restored at 14:00");
  /* and whoever is for some databases has a say of those alone */
  REFUSED(t, &shopkeeper, ERR_NOT_FOUND, .database = "prod-api", .seconds = 300, .reason = "x");
  REFUSED(t, &shopkeeper, ERR_NOT_FOUND, .key = "checkpoint_failed/prod-api", .seconds = 300, .reason = "x");
  REFUSED(t, &shopkeeper, ERR_NOT_FOUND, .key = "chain_broken/ledger", .seconds = 300, .reason = "x");
  REFUSED(t, &shopkeeper, ERR_FORBIDDEN, .condition = "checkpoint_failed", .seconds = 300, .reason = "x");
  assert_int_equal(alerts_silence_end(t->alerts, id, &shopkeeper, &t->f->err), ERR_NOT_FOUND);
  json_t *list = NULL;
  OK(alerts_silences(t->alerts, true, &shopkeeper, &list, &t->f->err));
  assert_int_equal(json_array_size(list), 0);
  json_decref(list);
  OK(silence(t, &(SilenceWish){.database = "shop", .seconds = 300, .reason = "x"}, &shopkeeper, id));
}

/* Whatever is silenced or acknowledged: that somebody changed the record is told within an hour, once. */
static void test_a_broken_chain_is_told(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  seconds(t, 3);
  SILENCE(t, id, .condition = "chain_broken", .seconds = 3600, .reason = "before anybody looks");
  snprintf(t->alerts->coordinator.chain_problem, FACTS_TEXT, "the ledger's chain is broken at event 2");
  pass_time(t, 30);
  assert_int_equal(received(t), 0);
  SILENCE(t, id, .key = "chain_broken/ledger", .reason = "it is mine", .acknowledge = true);
  clock_moved_us += (int64_t)3500 * 1000000;
  pass_time(t, 5);
  SILENCE(t, id, .condition = "chain_broken", .seconds = 3600, .reason = "and again");
  pass_time(t, 20);
  assert_int_equal(received(t), 0);
  clock_moved_us += (int64_t)100 * 1000000;
  pass_time(t, 30);
  assert_int_equal(received(t), 1);
  TOLD(t, 0, "fired chain_broken ledger");
  clock_moved_us += (int64_t)25 * 3600 * 1000000;
  pass_time(t, 30);
  assert_int_equal(received(t), 1); /* it was told, and is acknowledged */
}

/* Whatever can fire can be silenced by its name. */
static void test_all_conditions(void **state) {
  (void)state;
  static const char up[] = "tests/unit/coordinator/alerts/";
  CLEANUP(buffer_release) Buffer text = {0};
  Error err;
  int found = 0;
  const char *here = strstr(__FILE__, up);
  CLEANUP_FREE char *path = memory_format("%.*sdocs/alerts.md", (int)(here - __FILE__), __FILE__);
  assert_int_equal(file_read(path, 1 << 20, &text, &err), STATUS_OK);
  for (const char *at = buffer_text(&text); (at = strstr(at, "\n| `")); found++) {
    char name[FACTS_NAME], of[FACTS_NAME];
    at += 4;
    if (sscanf(at, "%63[a-z_]` | %*[a-z] | %63[^|]|", name, of) != 2)
      break; /* another table */
    bool of_database = strcmp(of, "a database ") == 0;
    if (!condition_known(name, false) || condition_known(name, true) != of_database)
      fail_msg("%s, of %s", name, of);
  }
  assert_true(found > 20);
}

/* The clock ran ahead when it was silenced, and was set right. */
static void test_the_clock_was_set_back(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  seconds(t, 3);
  clock_set_us = (int64_t)400 * 86400 * 1000000;
  SILENCE(t, id, .database = "shop", .seconds = 300, .reason = "moved");
  clock_set_us = 0;
  checkpoint(t, "shop", false);
  pass_time(t, 30);
  assert_int_equal(received(t), 1);
  SILENCE(t, id, .database = "shop", .seconds = 300, .reason = "moved"); /* and by some minutes: it holds */
  clock_set_us = -(int64_t)300 * 1000000;
  checkpoint(t, "shop", true);
  checkpoint(t, "shop", false);
  pass_time(t, 30);
  assert_int_equal(received(t), 1);
}

static void test_there_are_no_more_than_so_many(void **state) {
  Test *t = *state;
  char id[ID_SIZE];
  for (int i = 0; i < LEDGER_SILENCES; i++)
    SILENCE(t, id, .database = "shop", .seconds = 300, .reason = "x");
  REFUSED(t, &ann, ERR_CONFLICT, .database = "shop", .seconds = 300, .reason = "x");
  OK(alerts_silence_end(t->alerts, id, &ann, &t->f->err));
  SILENCE(t, id, .database = "shop", .seconds = 300, .reason = "x");
}

/* Not found out now is neither well nor bad. */
static void test_repository_unknown(void **state) {
  Test *t = *state;
  HeldList held = {0}, nothing = {0};
  int64_t now_us = dispatch_wall_us(t->f->dispatch);
  seconds(t, 3);
  hold(&held, "repository_unlocked", "dump-1", 0);
  OK(evaluate_apply(t->alerts, &held, now_us, &t->f->err));
  free(held.items);
  AgentFacts *one = memory_alloc(sizeof *one);
  *one = (AgentFacts){.name = "dump-1", .repository = "bucket", .lock = "unknown", .removes = "no"};
  free(t->alerts->agents);
  t->alerts->agents = one;
  t->alerts->agent_count = 1;
  OK(evaluate_apply(t->alerts, &nothing, now_us, &t->f->err));
  assert_int_equal(t->alerts->open_count, 1);
  snprintf(one->lock, sizeof one->lock, "GOVERNANCE 3 days");
  OK(evaluate_apply(t->alerts, &nothing, now_us, &t->f->err));
  assert_int_equal(t->alerts->open_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_test, teardown_test)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_silence_ends_by_itself),
      TEST(test_what_was_told_is_told_when_it_is_over),
      TEST(test_nobody_is_told_of_what_was_silenced_all_the_time),
      TEST(test_acknowledged),
      TEST(test_refused),
      TEST(test_repository_unknown),
      TEST(test_a_broken_chain_is_told),
      cmocka_unit_test(test_all_conditions),
      TEST(test_the_clock_was_set_back),
      TEST(test_there_are_no_more_than_so_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
