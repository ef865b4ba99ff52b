/* Facts of single tables, out of what the ledger has of the newest two checkpoints that are sealed. */
#include "tests/unit/coordinator/dispatch/support.h"

#include "coordinator/alerts/internal.h"

#define TABLE(s, n, r)                                                                                                 \
  { (char *)(s), (char *)(n), (r), 8 * (r) }

static void put_tables(Fixture *f, const char *id, size_t count, const Table *items, int64_t more) {
  const Tables tables = {.items = (Table *)items, .count = count, .more = more};
  CLEANUP_FREE char *packed = tables_pack(&tables);
  OK(ledger_tables_put(f->ledger, id, packed, &f->err));
}

static void seal(Fixture *f, char id[ID_SIZE]) {
  CLEANUP_FREE char *made = request(f, "shop", "nightly");
  Pgseal__Job *dump = must_get(f, 1, DUMP), *drill = must_get(f, 2, DRILL);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  pgseal__job__free_unpacked(dump, NULL);
  pgseal__job__free_unpacked(drill, NULL);
  snprintf(id, ID_SIZE, "%s", made);
}

static size_t collect(Fixture *f, DatabaseFacts *facts) {
  static const char *except[] = {"other:*", "shop:queue.*", "*.log"};
  const AlertSettings settings = {
      .table_percent = 50, .table_rows = 10, .table_except = except, .table_except_count = 3};
  Alerts alerts = {.ledger = f->ledger, .settings = &settings};
  size_t work = 0;
  OK(collect_tables(&alerts, facts, &work, &f->err));
  return work;
}

static void expect(const DatabaseFacts *facts, const char *wanted) {
  CLEANUP_FREE char *text =
      facts->fallen ? json_dumps(facts->fallen, JSON_COMPACT | JSON_SORT_KEYS) : memory_strdup("");
  assert_string_equal(text, wanted);
}

/* Those that lost most are named, and those that may fall, or were small, are not. */
static void test_fallen(void **state) {
  static const Table before[] = {TABLE("public", "a", 1000), TABLE("public", "b", 100),  TABLE("public", "c", 50),
                                 TABLE("public", "d", 20),   TABLE("public", "few", 9),  TABLE("public", "half", 100),
                                 TABLE("queue", "x", 900),   TABLE("public", "log", 90), TABLE("s", "same", 70)};
  static const Table now[] = {TABLE("public", "a", 0),   TABLE("public", "b", 10),    TABLE("public", "d", 0),
                              TABLE("public", "few", 0), TABLE("public", "half", 51), TABLE("queue", "x", 0),
                              TABLE("public", "log", 0), TABLE("s", "same", 70)};
  Fixture *f = *state;
  CLEANUP(database_facts_release) DatabaseFacts facts = {.name = "shop", .sealed_count = 2};
  seal(f, facts.sealed[1].id);
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, ARRAY_SIZE(before), before, 0);
  put_tables(f, facts.sealed[0].id, ARRAY_SIZE(now), now, 0);
  assert_int_equal(collect(f, &facts), ARRAY_SIZE(before) + ARRAY_SIZE(now));
  assert_int_equal(facts.fallen_count, 4);
  expect(&facts,
         "[{\"before\":1000,\"now\":0,\"table\":\"public.a\"},{\"before\":100,\"now\":10,\"table\":\"public.b\"},"
         "{\"before\":50,\"now\":null,\"table\":\"public.c\"}]");
  assert_int_equal(collect(f, &facts), 0); /* it is known */
  assert_int_equal(facts.fallen_count, 4);
}

/* Where a list is not whole, what it does not have any more may be there, but then it is no larger than what it has. */
static void test_not_listed(void **state) {
  static const Table before[] = {TABLE("public", "huge", 1000), TABLE("public", "last", 30)};
  static const Table now[] = {TABLE("public", "next", 25)};
  Fixture *f = *state;
  CLEANUP(database_facts_release) DatabaseFacts facts = {.name = "shop", .sealed_count = 2};
  seal(f, facts.sealed[1].id);
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, ARRAY_SIZE(before), before, 7);
  put_tables(f, facts.sealed[0].id, ARRAY_SIZE(now), now, 7);
  collect(f, &facts);
  assert_int_equal(facts.fallen_count, 1);
  expect(&facts, "[{\"before\":1000,\"now\":-1,\"table\":\"public.huge\"}]");
}

static void test_not_known(void **state) {
  Fixture *f = *state;
  CLEANUP(database_facts_release) DatabaseFacts facts = {.name = "shop", .sealed_count = 1};
  static const Table before[] = {TABLE("public", "orders", 1000)};
  seal(f, facts.sealed[0].id);
  assert_int_equal(collect(f, &facts), 0); /* there is nothing before it */
  facts.sealed[1] = facts.sealed[0];
  facts.sealed_count = 2;
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, 1, before, 0);
  collect(f, &facts);
  assert_int_equal(facts.fallen_count, 1);
  snprintf(facts.sealed[1].id, ID_SIZE, "%s", facts.sealed[0].id);
  seal(f, facts.sealed[0].id); /* the same tables as before */
  collect(f, &facts);
  assert_true(facts.fallen_count == 0 && !facts.fallen);
  snprintf(facts.sealed[1].id, ID_SIZE, "%s", facts.sealed[0].id);
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, 1, before, 0);
  OK(ledger_tables_remove(f->ledger, facts.sealed[0].id, &f->err));
  collect(f, &facts);
  assert_true(facts.fallen_count == 0 && !facts.fallen);
}

/* What the newest one says that it leaves out is not gone: another alert says so. */
static void test_left_out(void **state) {
  static const Table before[] = {TABLE("public", "Odd \"log\"", 5000), TABLE("public", "cache", 1000),
                                 TABLE("public", "orders", 90), TABLE("public", "user", 80)};
  Fixture *f = *state;
  CLEANUP(database_facts_release) DatabaseFacts facts = {.name = "shop", .sealed_count = 2};
  seal(f, facts.sealed[1].id);
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, ARRAY_SIZE(before), before, 0);
  put_tables(f, facts.sealed[0].id, 0, NULL, 0);
  facts.sealed[0].omissions =
      json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "kind", "unlogged_data", "object",
                "public.\"Odd \"\"log\"\"\"", "kind", "foreign_table_data", "object", "public.cache", "kind",
                "tablespace", "object", "orders", "kind", "unlogged_data", "object", "public.\"user\"");
  collect(f, &facts);
  assert_int_equal(facts.fallen_count, 1);
  expect(&facts, "[{\"before\":90,\"now\":null,\"table\":\"public.orders\"}]");
}

/* A list that cannot be read is not known: no other alert waits for it. */
static void test_damaged(void **state) {
  static const Table before[] = {TABLE("public", "orders", 90)};
  Fixture *f = *state;
  CLEANUP(database_facts_release) DatabaseFacts facts = {.name = "shop", .sealed_count = 2};
  seal(f, facts.sealed[1].id);
  seal(f, facts.sealed[0].id);
  put_tables(f, facts.sealed[1].id, 1, before, 0);
  OK(ledger_tables_put(f->ledger, facts.sealed[0].id, "AAAA", &f->err));
  collect(f, &facts);
  assert_true(facts.fallen_count == 0 && !facts.fallen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_fallen), TEST(test_not_listed), TEST(test_not_known),
                                     TEST(test_left_out), TEST(test_damaged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
