/* fleet.yaml: what it means for each database, what is wrong with it and where, and what applying another changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "coordinator/fleet/fleet.h"

#define OK(call) assert_int_equal((call), STATUS_OK)

static ConfigAssertion own_assertions[] = {{"rows", "SELECT own"}};
static ConfigDatabase listed[] = {
    {"listed-1", "staging", "core", own_assertions, 1, 900, 5, 2, false, "GOVERNANCE", 3},
    {"listed-2", "", "", NULL, 0, 900, 5, 2, true, NULL, 0},
};
static CoordinatorConfig config = {.path = "coordinator.yaml", .databases = listed, .database_count = 2};

static void free_fleet(Fleet **fleet) {
  fleet_free(*fleet);
}
static void free_json(json_t **json) {
  json_decref(*json);
}
#define FLEET CLEANUP(free_fleet) Fleet
#define JSON CLEANUP(free_json) json_t

static Fleet *make(const char *text, json_t **notes) {
  Fleet *fleet = NULL;
  json_t *found = NULL;
  Error err;
  Status status = fleet_make(&config, "fleet.yaml", text, strlen(text), &fleet, &found, &err);
  if (status != STATUS_OK)
    fail_msg("%s", err.message);
  if (notes)
    *notes = found;
  else
    json_decref(found);
  return fleet;
}

/* The message has all of these in it. */
static void refused(const char *text, const char *place, const char *reason) {
  Fleet *fleet = NULL;
  json_t *notes = NULL;
  Error err;
  Status status = fleet_make(&config, "fleet.yaml", text, strlen(text), &fleet, &notes, &err);
  assert_int_equal(status, ERR_CONFIG);
  assert_null(fleet);
  assert_null(notes);
  if (!strstr(err.message, place) || !strstr(err.message, reason))
    fail_msg("'%s' is not at '%s' because of '%s'", err.message, place, reason);
}

static const char whole[] = "databases:\n"
                            "  - name: pay\n"
                            "    environment: production\n"
                            "    owner: payments\n"
                            "    host: pg-1\n"
                            "    labels: [tier=gold, region=eu]\n"
                            "    assertions: [{name: rows, sql: SELECT mine}]\n"
                            "    budgets: {connections: 4}\n"
                            "  - {name: shop, environment: production, owner: sales, labels: [tier=silver]}\n"
                            "  - {name: wiki, owner: core}\n"
                            "policies:\n"
                            "  - name: all\n"
                            "    schedule: {cron: '15 3 * * *', jitter_seconds: 600}\n"
                            "    drill: {assertions: [{name: rows, sql: SELECT 1}, {name: more, sql: SELECT 2}]}\n"
                            "    budgets: {timeout_seconds: 100, connections: 3}\n"
                            "    retention: {last: 2, daily: 7, tags: [{match: pre-*, keep_days: 30}]}\n"
                            "    objectives: {proof_age: 7d, restore_time: 2h}\n"
                            "  - name: production\n"
                            "    match: {environments: [prod*]}\n"
                            "    schedule: {cron: '@hourly', time_zone: Europe/Berlin, missed: skip, overlap: true}\n"
                            "    retention: {daily: 30, grace_hours: 24}\n"
                            "    rotation: {proof_age: 3d, kinds: [latest, canary]}\n"
                            "    lock: {mode: compliance, days: 14}\n"
                            "  - name: gold\n"
                            "    match: {names: [p*], labels: [tier=gold, 'region=*'], owners: [payments]}\n"
                            "    restore_approval: true\n"
                            "    objectives: {proof_age: 1d}\n"
                            "    alerts: [pager]\n"
                            "quotas: [{owner: payments, queued: 20}, {owner: core, running: 3}]\n"
                            "limits: {running: 50, host_running: 2}\n"
                            "rotation: {slots: 4, hours_per_day: 20, gigabytes_per_day: 500}\n";

static void test_later_policies_override_setting_by_setting(void **state) {
  (void)state;
  FLEET *fleet = make(whole, NULL);
  const FleetDatabase *pay = fleet_database(fleet, "pay"), *wiki = fleet_database(fleet, "wiki");
  assert_int_equal(fleet_count(fleet), 5);
  assert_int_equal(pay->policy_count, 3);
  assert_string_equal(pay->policies[2], "gold");
  assert_string_equal(pay->policy.schedule.cron, "@hourly");
  assert_string_equal(pay->policy.schedule.time_zone, "Europe/Berlin");
  assert_int_equal(pay->policy.schedule.jitter_seconds, 600);
  assert_true(!pay->policy.schedule.make_up && pay->policy.schedule.overlap);
  assert_int_equal(pay->policy.retention.last, 2);
  assert_int_equal(pay->policy.retention.daily, 30);
  assert_int_equal(pay->policy.retention.grace_hours, 24);
  assert_int_equal(pay->policy.retention.tag_count, 1);
  assert_int_equal(pay->policy.retention.tags[0].keep_days, 30);
  assert_int_equal(pay->policy.rotation.proof_age_seconds, 3 * 86400);
  assert_int_equal(pay->policy.rotation.kinds, ROTATION_LATEST | ROTATION_CANARY);
  assert_int_equal(pay->policy.objectives.proof_age, 86400);
  assert_int_equal(pay->policy.objectives.restore_time, 7200);
  assert_int_equal(pay->policy.objectives.data_loss, 0);
  assert_string_equal(pay->policy.alerts[0], "pager");
  assert_true(pay->config.restore_approval);
  assert_int_equal(pay->config.timeout_seconds, 100);
  assert_int_equal(pay->config.connections, 4); /* its own */
  assert_int_equal(pay->config.lock_timeout_seconds, 30);
  assert_string_equal(pay->config.lock_mode, "COMPLIANCE");
  assert_int_equal(pay->config.assertion_count, 2);
  assert_string_equal(pay->config.assertions[0].sql, "SELECT mine");
  assert_string_equal(pay->config.assertions[1].sql, "SELECT 2");
  assert_string_equal(pay->host, "pg-1");
  assert_int_equal(wiki->policy_count, 1);
  assert_string_equal(wiki->policy.schedule.time_zone, "UTC");
  assert_true(wiki->policy.schedule.make_up && !wiki->policy.schedule.overlap);
  assert_int_equal(wiki->policy.retention.grace_hours, RETENTION_GRACE_HOURS);
  assert_int_equal(wiki->config.connections, 3);
  assert_null(wiki->config.lock_mode);
}

static void test_databases_of_coordinator_yaml(void **state) {
  (void)state;
  FLEET *fleet = make(whole, NULL);
  const FleetDatabase *one = fleet_database(fleet, "listed-1");
  assert_false(one->declared);
  assert_string_equal(one->policy.schedule.cron, "15 3 * * *");
  assert_int_equal(one->config.timeout_seconds, 900);
  assert_string_equal(one->config.lock_mode, "GOVERNANCE");
  assert_int_equal(one->config.assertion_count, 2);
  assert_string_equal(one->config.assertions[0].sql, "SELECT own");
  assert_true(fleet_config(fleet, "listed-2")->restore_approval);
  FLEET *alone = NULL;
  JSON *notes = NULL;
  Error err;
  OK(fleet_make(&config, "", NULL, 0, &alone, &notes, &err));
  assert_int_equal(fleet_count(alone), 2);
  assert_int_equal(json_array_size(notes), 0);
  assert_int_equal(fleet_database(alone, "listed-1")->config.assertion_count, 1);
  assert_false(fleet_database(alone, "listed-1")->policy.retains);
}

static void test_the_rest_of_a_document(void **state) {
  (void)state;
  FLEET *fleet = make(whole, NULL);
  assert_int_equal(fleet_quota(fleet, "payments")->queued, 20);
  assert_int_equal(fleet_quota(fleet, "core")->running, 3);
  assert_null(fleet_quota(fleet, "sales"));
  assert_int_equal(fleet_limits(fleet)->host_running, 2);
  assert_int_equal(fleet_capacity(fleet)->slots, 4);
  assert_int_equal(fleet_capacity(fleet)->bytes_per_day, 500000000000);
  assert_null(fleet_database(fleet, "pa"));
  assert_null(fleet_database(fleet, ""));
}

static bool noted(const json_t *notes, int line, const char *message) {
  size_t index;
  const json_t *note;
  json_array_foreach(notes, index, note) {
    if (json_integer_value(json_object_get(note, "line")) == line &&
        strcmp(json_string_value(json_object_get(note, "message")), message) == 0)
      return true;
  }
  return false;
}

static void test_dead_policies_and_databases_without_any(void **state) {
  (void)state;
  static const char text[] = "policies:\n"
                             "  - match:\n"
                             "      names: [nobody-*]\n"
                             "    name: dead\n"
                             "  - {name: some, match: {names: ['*-1', wiki]}, alerts: [pager]}\n"
                             "databases:\n"
                             "  - name: wiki\n"
                             "  - owner: x\n"
                             "    name: lonely\n";
  JSON *notes = NULL;
  FLEET *fleet = make(text, &notes);
  assert_int_equal(json_array_size(notes), 4);
  assert_true(noted(notes, 5, "policy some names the alert route pager, which coordinator.yaml does not have"));
  assert_true(noted(notes, 4, "policy dead matches no database"));
  assert_true(noted(notes, 9, "no policy matches database lonely"));
  assert_true(noted(notes, 0, "no policy matches database listed-2, which is in coordinator.yaml"));
  assert_int_equal(fleet_policy_count(fleet), 2);
}

/* One note for all databases with the same schedule and the same objective. */
static void test_schedules_that_cannot_meet_their_objective(void **state) {
  (void)state;
  static const char text[] =
      "policies:\n"
      "  - {name: all, schedule: {cron: '@daily'}}\n"
      "  - name: strict\n"
      "    match: {names: [a, b]}\n"
      "    objectives:\n"
      "      data_loss: 12h\n"
      "  - {name: enough, match: {names: [c]}, objectives: {data_loss: 24h}}\n"
      "  - {name: berlin, match: {names: [d]}, schedule: {time_zone: Europe/Berlin}, objectives: {data_loss: 24h}}\n"
      "databases: [{name: a}, {name: b}, {name: c}, {name: d}]\n";
  JSON *notes = NULL;
  FLEET *fleet = make(text, &notes);
  assert_int_equal(json_array_size(notes), 2);
  assert_true(noted(
      notes, 6, "objectives.data_loss is 12h, but the schedule leaves up to 1d between two checkpoints (database a)"));
  assert_true(noted(
      notes, 8, "objectives.data_loss is 1d, but the schedule leaves up to 25h between two checkpoints (database d)"));
  assert_int_equal(fleet_database(fleet, "c")->policy.schedule.gap_seconds, 86400);
  JSON *none = NULL;
  FLEET *unscheduled =
      make("policies: [{name: p, match: {names: [a]}, objectives: {data_loss: 90m}}]\ndatabases: [{name: a}]\n", &none);
  assert_true(noted(
      none, 1, "objectives.data_loss is 90m, but there is no schedule: checkpoints are left to others (database a)"));
  assert_int_equal(fleet_database(unscheduled, "a")->policy.schedule.gap_seconds, 0);
}

static void test_what_is_wrong_is_told_with_its_line(void **state) {
  (void)state;
  refused("databases:\n  - name: a\n    colour: red\n", "fleet.yaml:3:", "colour");
  refused("databases:\n  - name: a\n  - name: A\n", "fleet.yaml:3: database A: name:", "alphanumeric");
  refused("databases:\n  - name: a\n  - name: b\n  - name: a\n", "fleet.yaml:4:", "twice");
  refused("databases:\n  - name: listed-1\n", "fleet.yaml:2:", "also in coordinator.yaml");
  refused("policies:\n  - name: p\n    schedule:\n      missed: never\n", "fleet.yaml:4:", "run_once or skip");
  refused("policies:\n  - name: p\n    schedule:\n      cron: 61 * * * *\n", "fleet.yaml:4:", "minute");
  refused("policies:\n  - name: p\n    schedule: {time_zone: Mars/Base}\n", "fleet.yaml:3:", "no time zone");
  refused("policies:\n  - name: p\n  - name: q\n    rotation:\n      kinds:\n        - blind\n",
          "fleet.yaml:5:", "policy q");
  refused("policies:\n  - name: p\n  - name: p\n", "fleet.yaml:3:", "two policies");
  refused("policies:\n  - name: p\n    retention: {daily: -1}\n", "fleet.yaml:3:", "retention.daily");
  refused("policies:\n  - name: p\n    objectives:\n      proof_age: soon\n", "fleet.yaml:4:", "7d");
  refused("policies:\n  - name: p\n    match: {names: ['a*b*c*d*e*f']}\n", "fleet.yaml:3:", "match.names");
  refused("policies:\n  - name: p\n    lock: {mode: hard, days: 1}\n", "fleet.yaml:3:", "governance");
  refused("databases:\n  - name: a\n    labels: [gold]\n", "fleet.yaml:3:", "KEY=VALUE");
  refused("databases:\n  - name: a\n    labels: [a=1, a=2]\n", "fleet.yaml:3:", "twice");
  refused("databases:\n  - name: a\ndatabases:\n  - name: b\n", "fleet.yaml:3:", "databases is there twice");
  refused("databases:\n  - name: a\n    owner: x\n    owner: y\n", "fleet.yaml:4:", "owner is there twice");
  refused("limits:\n  running: -1\n", "fleet.yaml:2:", "limits.running");
  refused("quotas:\n  - {owner: a, queued: 1}\n  - {owner: a, queued: 2}\n", "fleet.yaml:3:", "two quotas");
  refused("databases: []\n---\ndatabases:\n  - name: b\n", "fleet.yaml:", "second document");
  refused("databases: [\n", "fleet.yaml", "");
  refused("", "fleet.yaml", "empty");
}

static void test_difference(void **state) {
  (void)state;
  FLEET *from = make("databases: [{name: a, owner: x}, {name: b}, {name: c}]\n"
                     "policies: [{name: p, schedule: {cron: '@daily'}}]\nlimits: {running: 3}",
                     NULL);
  FLEET *to = make("databases: [{name: d}, {name: b}, {name: a, owner: y}]\n"
                   "policies: [{name: p, schedule: {cron: '@daily'}}, {name: q, match: {names: [b]}, alerts: [r]}]\n",
                   NULL);
  JSON *difference = fleet_difference(from, to);
  char text[] = "{'added': ['d'], 'removed': ['c'], 'changed': ["
                "{'name': 'a', 'settings': {'owner': {'from': 'x', 'to': 'y'}}},"
                "{'name': 'b', 'settings': {'policies': {'from': ['p'], 'to': ['p', 'q']},"
                " 'alerts': {'from': null, 'to': ['r']}}}],"
                "'fleet': {'limits.running': {'from': 3, 'to': null}},"
                "'counts': {'added': 1, 'removed': 1, 'changed': 2}}";
  for (char *at = text; (at = strchr(at, '\'')); at++)
    *at = '"';
  JSON *expected = json_loads(text, 0, NULL);
  assert_non_null(expected);
  assert_true(json_equal(difference, expected));
  JSON *none = fleet_difference(to, to);
  assert_int_equal(json_object_size(json_object_get(none, "fleet")), 0);
  assert_int_equal(json_array_size(json_object_get(none, "changed")), 0);
}

/* Each is found among 10,000, and all lookups together cost less than one making of the fleet. */
static void test_ten_thousand(void **state) {
  (void)state;
  enum { MANY = 10000 };
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "policies: [{name: all, schedule: {cron: '@hourly'}}]\ndatabases:\n");
  for (int i = MANY; i-- > 0;)
    buffer_append_format(&text, "  - {name: db-%d, owner: team-%d, labels: [shard=%d]}\n", i, i % 50, i % 7);
  int64_t before = clock_monotonic_us();
  FLEET *fleet = make(buffer_text(&text), NULL);
  int64_t made = clock_monotonic_us();
  for (int i = 0; i < MANY; i++) {
    char name[32], owner[32];
    snprintf(name, sizeof name, "db-%d", i);
    snprintf(owner, sizeof owner, "team-%d", i % 50);
    const FleetDatabase *database = fleet_database(fleet, name);
    assert_non_null(database);
    assert_string_equal(database->config.owner, owner);
  }
  assert_true(clock_monotonic_us() - made < made - before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_later_policies_override_setting_by_setting),
      cmocka_unit_test(test_databases_of_coordinator_yaml),
      cmocka_unit_test(test_the_rest_of_a_document),
      cmocka_unit_test(test_dead_policies_and_databases_without_any),
      cmocka_unit_test(test_schedules_that_cannot_meet_their_objective),
      cmocka_unit_test(test_what_is_wrong_is_told_with_its_line),
      cmocka_unit_test(test_difference),
      cmocka_unit_test(test_ten_thousand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
