/* Retention's marks, and what is held back, in every database that a ledger may be kept in. */
#include "support.h"

#include <string.h>

#define LATE ((int64_t)1 << 60)

static size_t count_of(Fixture *f, CheckpointFilter filter) {
  Checkpoint *items = NULL;
  size_t count = 0;
  OK(ledger_checkpoint_list(f->ledger, &filter, &items, &count, &f->err));
  checkpoint_list_free(items, count);
  return count;
}

static void test_checkpoints(void **state) {
  Fixture *f = *state;
  Checkpoint pinned = sample("pinned", "shop", "t"), marked = sample("marked", "shop", "t"),
             pruned = sample("pruned", "shop", "t"), locked = sample("locked", "shop", "t"), back = {0};
  pinned.pinned_us = LATE;
  marked.pruning_us = LATE + 1;
  pruned.pruning_us = pruned.pruned_us = LATE + 2;
  locked = (Checkpoint){.id = locked.id,
                        .database = locked.database,
                        .tag = locked.tag,
                        .requested_by = locked.requested_by,
                        .created_us = 1,
                        .dump_attempt = 1,
                        .pruning_us = 2,
                        .pruned_us = 3,
                        .locked_until_us = INT64_MAX};
  const Checkpoint *const all[] = {&pinned, &marked, &pruned, &locked};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    OK(ledger_checkpoint_insert(f->ledger, all[i], &f->err));
  reopen(f);
  OK(ledger_checkpoint_get(f->ledger, "locked", &back, &f->err));
  assert_true(back.pinned_us == 0 && back.pruning_us == 2 && back.pruned_us == 3 && back.locked_until_us == INT64_MAX);
  checkpoint_release(&back);
  assert_int_equal(count_of(f, (CheckpointFilter){.database = "shop"}), 4);
  assert_int_equal(count_of(f, (CheckpointFilter){.database = "shop", .kept = true}), 1);
  assert_int_equal(count_of(f, (CheckpointFilter){.there = true}), 3); /* all but the one that is gone */
  marked.pruning_us = 0;
  OK(ledger_checkpoint_update(f->ledger, &marked, &f->err));
  assert_int_equal(count_of(f, (CheckpointFilter){.kept = true}), 2);
}

static void put(Fixture *f, const char *what, const char *name, const char *actor, const char *reason) {
  const LedgerHold hold = {(char *)what, (char *)name, LATE, (char *)actor, (char *)reason};
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_hold_put(f->ledger, &hold, &f->err));
  OK(ledger_commit(f->ledger, &f->err));
}

static void test_holds(void **state) {
  Fixture *f = *state;
  LedgerHold *items;
  size_t count;
  put(f, "fleet", "", NULL, NULL);
  put(f, "agent", "dump-1", "ops", "new disk");
  put(f, "database", "dump-1", "ops", NULL);
  put(f, "agent", "dump-1", "someone", NULL); /* instead of the first */
  reopen(f);
  OK(ledger_hold_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 3);
  assert_string_equal(items[0].what, "agent");
  assert_string_equal(items[0].actor, "someone");
  assert_null(items[0].reason);
  assert_true(items[0].since_us == LATE);
  assert_string_equal(items[1].what, "database");
  assert_string_equal(items[2].name, "");
  assert_null(items[2].actor);
  ledger_hold_list_free(items, count);
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_hold_remove(f->ledger, "agent", "dump-1", &f->err));
  OK(ledger_hold_remove(f->ledger, "agent", "dump-1", &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  OK(ledger_hold_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 2);
  ledger_hold_list_free(items, count);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {T(test_checkpoints), T(test_holds)};
  return LEDGER_TESTS(tests);
}
