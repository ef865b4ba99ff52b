/* Plans of a damaged shop, and looking into what they say. */
#ifndef PGSEAL_TESTS_PLAN_FIXTURE_H
#define PGSEAL_TESTS_PLAN_FIXTURE_H

#include "tests/unit/agent/recovery/recovery_fixture.h"

typedef struct Shop {
  Fixture *fixture;
  Sealed sealed;
} Shop;

static inline int setup_all(void **state) {
  void *fixture = NULL;
  recovery_setup(&fixture);
  Shop *shop = memory_alloc(sizeof *shop);
  shop->fixture = fixture;
  shop->sealed = seal(fixture, "shop");
  *state = shop;
  return 0;
}

static inline int teardown_all(void **state) {
  Shop *shop = *state;
  void *fixture = shop->fixture;
  sealed_release(&shop->sealed);
  free(shop);
  return fixture_teardown(&fixture);
}

static inline Status try_plan(const Shop *shop, const Sealed *sealed, const char *more, const char *request,
                              json_t **report, Error *err) {
  Fixture *fixture = shop->fixture;
  Pgseal__RecoverySpec spec;
  recovery_job(fixture, sealed, more, request, &spec);
  JobContext context = {&fixture->config, &fixture->job, fixture->scratch, &fixture->channel};
  Pgseal__JobResult *result = memory_alloc(sizeof *result);
  pgseal__job_result__init(result);
  Status status = plan_job_run(&context, result, err);
  if (status == STATUS_OK) {
    *report = json_loads(result->report_json, 0, NULL);
    assert_non_null(*report);
  }
  assert_non_null(strstr(result->stages_json, "\"looking\""));
  pgseal__job_result__free_unpacked(result, NULL);
  fixture->job.recovery = NULL;
  fixture->channel.hook = NULL;
  return status;
}

/* Damages a copy of the shop, and plans. */
static inline json_t *plan_after(const Shop *shop, const char *damage, const char *request) {
  copy_database(shop->fixture, "live");
  sql(shop->fixture, "live", damage);
  json_t *report = NULL;
  Error err = {0};
  if (try_plan(shop, &shop->sealed, "user=postgres dbname=live", request, &report, &err) != STATUS_OK)
    fail_msg("%s: %s", error_code(err.status), err.message);
  return report;
}

static inline const char *text_of(const json_t *json, const char *member) {
  const char *text = json_string_value(json_object_get(json, member));
  return text ? text : "";
}

static inline int64_t number_of(const json_t *json, const char *member) {
  const json_t *number = json_object_get(json, member);
  return json_is_integer(number) ? json_integer_value(number) : -1;
}

/* The item of a list whose members have these values; NULL: any. */
static inline json_t *find(const json_t *report, const char *list, const char *a, const char *a_is, const char *b,
                           const char *b_is) {
  size_t index;
  json_t *item;
  json_array_foreach(json_object_get(report, list), index,
                     item) if (strcmp(text_of(item, a), a_is) == 0 &&
                               (!b || strcmp(text_of(item, b), b_is) == 0)) return item;
  return NULL;
}

static inline json_t *found(const json_t *report, const char *list, const char *a, const char *a_is, const char *b,
                            const char *b_is) {
  json_t *item = find(report, list, a, a_is, b, b_is);
  if (!item) {
    CLEANUP_FREE char *all = json_dumps(json_object_get(report, list), JSON_INDENT(1));
    fail_msg("no %s %s, %s in %s: %.4000s", a, a_is, b_is ? b_is : "", list, all);
  }
  return item;
}

static inline json_t *table_of(const json_t *report, const char *name) {
  return found(report, "tables", "name", name, NULL, NULL);
}

static inline json_t *way_of(const json_t *report, const char *name, bool possible) {
  json_t *way = found(report, "ways", "way", name, NULL, NULL);
  if (json_is_true(json_object_get(way, "possible")) != possible) {
    CLEANUP_FREE char *all = json_dumps(json_object_get(report, "ways"), JSON_INDENT(1));
    fail_msg("%s: %.6000s", name, all);
  }
  return way;
}

static inline bool mentions(const json_t *json, const char *what) {
  CLEANUP_FREE char *text = json_dumps(json, JSON_ENCODE_ANY);
  return strstr(text, what) != NULL;
}

static inline void assert_damage(const json_t *report, const char *damage) {
  if (strcmp(text_of(report, "damage"), damage) != 0) {
    CLEANUP_FREE char *all = json_dumps(report, JSON_INDENT(1));
    fail_msg("not %s: %.8000s", damage, all);
  }
}

/* Runs what the plan says a migration should run, and plans again: nothing may be left that it covers. */
static inline json_t *roll_forward(const Shop *shop, const json_t *report) {
  size_t index;
  json_t *statement;
  PGconn *session = connect_to(shop->fixture, "live", "postgres");
  sql_on(session, "SET search_path = ''; BEGIN");
  json_array_foreach(json_object_get(way_of(report, "roll_forward", true), "sql"), index, statement)
      sql_on(session, json_string_value(statement));
  sql_on(session, "COMMIT");
  PQfinish(session);
  json_t *again = NULL;
  Error err = {0};
  if (try_plan(shop, &shop->sealed, "user=postgres dbname=live", "{}", &again, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return again;
}

static inline void assert_rolls_forward(const Shop *shop, const json_t *report) {
  CLEANUP(json_decrefp) json_t *again = roll_forward(shop, report);
  assert_damage(again, "none");
  assert_int_equal(json_array_size(json_object_get(again, "objects")), 0);
  assert_int_equal(json_array_size(json_object_get(again, "columns")), 0);
  way_of(again, "roll_forward", false);
}

#endif
