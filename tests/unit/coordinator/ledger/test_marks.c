/* Retention's marks, what is held back, and what is newest, in every database that a ledger may be kept in. */
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

/* One more of the database, older than those after it; with an event, as dispatch does it. */
static void put_checkpoint(Fixture *f, const char *id, const char *database, CheckpointState state,
                           const char *detail) {
  Checkpoint c = sample(id, database, id);
  c.state = state;
  c.finished_us = c.created_us + 1000000;
  c.manifest_sha256 = c.proof_sha256 = (char *)"m";
  c.size_bytes = 10;
  c.seconds = 1.5;
  c.detail = detail ? json_loads(detail, 0, NULL) : NULL;
  LedgerEvent event = {.kind = (char *)"checkpoint.done", .checkpoint_id = c.id, .database = c.database};
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  OK(ledger_event_append(f->ledger, &event, &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  json_decref(c.detail);
}

static LedgerNewest *newest_of(LedgerNewest *items, size_t count, const char *database) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(items[i].database, database) == 0)
      return &items[i];
  fail_msg("nothing of %s", database);
  return NULL;
}

static void test_newest(void **state) {
  Fixture *f = *state;
  LedgerNewest *items = NULL;
  size_t count = 9;
  int64_t sequence = 9, later;
  OK(ledger_newest_list(f->ledger, -1, &items, &count, &f->err));
  OK(ledger_sequence(f->ledger, &sequence, &f->err));
  assert_true(count == 0 && sequence == 0);
  put_checkpoint(f, "a1", "a", CHECKPOINT_FAILED, NULL); /* before one that sealed: no failure any more */
  put_checkpoint(f, "a2", "a", CHECKPOINT_SEALED,
                 "{\"proven_us\": 1800000000000000, \"stages\": {\"dump\": {\"x\": 1, \"y\": 0.5},"
                 " \"drill\": {\"restore\": 7}}, \"omissions\": [1, 2]}");
  put_checkpoint(f, "b1", "b", CHECKPOINT_ERRORED, NULL);
  put_checkpoint(f, "a3", "a", CHECKPOINT_FAILED, NULL);
  put_checkpoint(f, "b2", "b", CHECKPOINT_CANCELED, NULL);
  put_checkpoint(f, "a4", "a", CHECKPOINT_ERRORED, NULL);
  put_checkpoint(f, "a5", "a", CHECKPOINT_DUMPING, NULL);
  put_checkpoint(f, "c\xc3\xa9", "c", CHECKPOINT_SEALED, NULL);
  OK(ledger_newest_list(f->ledger, -1, &items, &count, &f->err));
  assert_int_equal(count, 3);
  const LedgerNewest *a = newest_of(items, count, "a"), *b = newest_of(items, count, "b"),
                     *c = newest_of(items, count, "c");
  assert_string_equal(a->id, "a5");
  assert_int_equal(a->state, CHECKPOINT_DUMPING);
  assert_string_equal(a->sealed_id, "a2");
  assert_int_equal(a->failures, 2);
  assert_true(a->proven_us == 1800000000000000 && a->sealed_us < a->proven_us && a->omissions == 2);
  assert_true(a->dump_seconds == 1.5 && a->drill_seconds == 7 && a->seconds == 1.5 && a->size_bytes == 10);
  assert_string_equal(b->id, "b2");
  assert_null(b->sealed_id);
  assert_true(b->failures == 1 && b->sealed_us == 0 && b->proven_us == 0);
  assert_string_equal(c->sealed_tag, "c\xc3\xa9");
  assert_true(c->failures == 0 && c->proven_us == c->sealed_us);
  ledger_newest_list_free(items, count);

  OK(ledger_sequence(f->ledger, &sequence, &f->err));
  Checkpoint sealed = {0};
  OK(ledger_checkpoint_get(f->ledger, "a2", &sealed, &f->err));
  sealed.pruning_us = 5; /* it goes: what is left of the database is not sealed */
  OK(ledger_checkpoint_update(f->ledger, &sealed, &f->err));
  checkpoint_release(&sealed);
  LedgerEvent event = {.kind = (char *)"prune.requested", .database = (char *)"a"},
              other = {.kind = (char *)"fleet.applied"};
  OK(ledger_event_append(f->ledger, &event, &f->err));
  OK(ledger_event_append(f->ledger, &other, &f->err));
  OK(ledger_newest_list(f->ledger, sequence, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_string_equal(items[0].database, "a");
  assert_null(items[0].sealed_id);
  assert_int_equal(items[0].failures, 3);
  ledger_newest_list_free(items, count);
  OK(ledger_sequence(f->ledger, &later, &f->err));
  assert_true(later == sequence + 2);
  OK(ledger_newest_list(f->ledger, later, &items, &count, &f->err));
  assert_int_equal(count, 0);
}

static void expect_page(Fixture *f, const char *first, const char *last, const char *scope, bool sealed,
                        const char *ids) {
  Checkpoint *items = NULL;
  size_t count = 0;
  char found[128] = "";
  if (ledger_checkpoint_page(f->ledger, first, last, scope, sealed, &items, &count, &f->err) != STATUS_OK)
    fail_msg("%s", f->err.message);
  for (size_t i = 0; i < count; i++)
    snprintf(found + strlen(found), sizeof found - strlen(found), "%s ", items[i].id);
  assert_string_equal(found, ids);
  checkpoint_list_free(items, count);
}

static void test_pages(void **state) {
  Fixture *f = *state;
  expect_page(f, "a", "z", NULL, false, "");
  put_checkpoint(f, "c1", "c", CHECKPOINT_SEALED, NULL);
  put_checkpoint(f, "a1", "a", CHECKPOINT_SEALED, NULL);
  put_checkpoint(f, "b1", "b-x", CHECKPOINT_ERRORED, NULL);
  put_checkpoint(f, "a2", "a", CHECKPOINT_SEALED, NULL);
  put_checkpoint(f, "a3", "a", CHECKPOINT_FAILED, NULL);
  put_checkpoint(f, "d1", "d", CHECKPOINT_DUMPING, NULL);
  expect_page(f, "a", "d", NULL, false, "a3 b1 c1 d1 ");
  expect_page(f, "a", "d", NULL, true, "a2 c1 ");
  expect_page(f, "a0", "c", NULL, false, "b1 c1 ");
  expect_page(f, "a", "a", NULL, false, "a3 ");
  expect_page(f, "e", "z", NULL, false, "");
  expect_page(f, "a", "z", "[\"b-*\", \"d\"]", false, "b1 d1 ");
  Checkpoint sealed = {0};
  OK(ledger_checkpoint_get(f->ledger, "a2", &sealed, &f->err));
  sealed.pruning_us = 5;
  OK(ledger_checkpoint_update(f->ledger, &sealed, &f->err));
  checkpoint_release(&sealed);
  expect_page(f, "a", "c", NULL, true, "a1 c1 ");
}

static void put_silence(Fixture *f, const char *id, const char *alert_id, int64_t created_us, int64_t until_us) {
  const LedgerSilence silence = {.id = (char *)id,
                                 .alert_id = (char *)alert_id,
                                 .database = (char *)"a",
                                 .actor = (char *)"ann",
                                 .reason = (char *)"x",
                                 .created_us = created_us,
                                 .until_us = until_us};
  OK(ledger_silence_insert(f->ledger, &silence, &f->err));
}

static void expect_silences(Fixture *f, int64_t now_us, bool all, const char *ids) {
  LedgerSilence *items = NULL;
  size_t count = 0;
  char found[128] = "";
  OK(ledger_silence_list(f->ledger, now_us, all, &items, &count, &f->err));
  for (size_t i = 0; i < count; i++)
    snprintf(found + strlen(found), sizeof found - strlen(found), "%s ", items[i].id);
  assert_string_equal(found, ids);
  ledger_silence_list_free(items, count);
}

/* In force: not ended, not over, and not made by a clock that was ahead and has been set back. */
static void test_silences(void **state) {
  Fixture *f = *state;
  const int64_t now_us = 1764000000000000, hour_us = 3600000000;
  put_silence(f, "over", NULL, now_us - 2 * hour_us, now_us);
  put_silence(f, "holds", NULL, now_us - hour_us, now_us + 1);
  put_silence(f, "ended", NULL, now_us, now_us + hour_us);
  put_silence(f, "beside", NULL, now_us + 1000000, now_us + hour_us); /* another coordinator's clock */
  put_silence(f, "ahead", NULL, now_us + hour_us, now_us + 2 * hour_us);
  put_silence(f, "taken", "alert-1", now_us + 2 * hour_us, 0);
  OK(ledger_silence_end(f->ledger, "ended", "bob", now_us, &f->err));
  expect_silences(f, now_us, false, "taken beside holds ");
  expect_silences(f, now_us, true, "taken ahead beside ended holds over ");
  expect_silences(f, now_us + hour_us, false, "taken ahead ");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {T(test_checkpoints), T(test_holds), T(test_newest), T(test_pages),
                                     T(test_silences)};
  return LEDGER_TESTS(tests);
}
