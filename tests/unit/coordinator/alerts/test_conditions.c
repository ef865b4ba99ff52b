/* Each condition: when it holds, just when it does not, and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "coordinator/alerts/conditions.h"

#define NOW ((int64_t)1800000000 * 1000000)
#define DAY ((int64_t)86400 * 1000000)

static const AlertSettings settings = {.agent_lost_seconds = 180,
                                       .errored_times = 2,
                                       .fallen_percent = 30,
                                       .slower_percent = 100,
                                       .disk_free_percent = 10};

#define FACTS CLEANUP(database_facts_release) DatabaseFacts

/* A database of which nothing is wrong: n sealed checkpoints, the newest first. */
static DatabaseFacts well(size_t n) {
  DatabaseFacts f = {.name = "shop", .known = true, .ended_count = n, .sealed_count = n, .drill_count = n};
  for (size_t i = 0; i < n; i++) {
    CheckpointFacts c = {.state = CHECKPOINT_SEALED,
                         .server_major = 15,
                         .archive_bytes = 100 << 20,
                         .rows = 1000000,
                         .drill_seconds = 60};
    snprintf(c.id, sizeof c.id, "cp-%zu", i);
    f.ended[i] = f.sealed[i] = c;
    f.drills[i].state = JOB_DONE;
    snprintf(f.drills[i].checkpoint, sizeof f.drills[i].checkpoint, "cp-%zu", i);
  }
  return f;
}

/* Which of all conditions hold, as "a b ". *finding: of the last one. */
static const char *holding(const DatabaseFacts *f, Finding *finding) {
  static char names[512];
  names[0] = 0;
  for (size_t i = 0; i < database_rule_count; i++) {
    Finding one;
    if (!database_rules[i].holds(f, &settings, NOW, &one))
      continue;
    assert_non_null(strstr(one.summary, "shop"));
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s ", database_rules[i].name);
    *finding = one;
  }
  return names;
}

#define HOLDS(f, names) assert_string_equal(holding(&(f), &finding), names)
#define SAYS(text)                                                                                                     \
  do {                                                                                                                 \
    if (!strstr(finding.summary, text))                                                                                \
      fail_msg("%s: %s", text, finding.summary);                                                                       \
  } while (0)

static void test_well(void **state) {
  (void)state;
  Finding finding;
  for (size_t n = 0; n <= FACTS_CHECKPOINTS; n++) {
    FACTS f = well(n);
    f.proof_age_s = f.data_age_s = n ? 10 : -1;
    HOLDS(f, "");
  }
}

static void test_checkpoint_failed(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(3);
  f.ended[1].state = CHECKPOINT_FAILED; /* an older one: there is a newer that sealed */
  HOLDS(f, "");
  f.ended[0].state = CHECKPOINT_FAILED;
  f.ended[0].tag = memory_strdup("nightly");
  f.ended[0].message = memory_strdup("table t differs");
  f.ended[0].remedy = memory_strdup("Do not rely on it.");
  f.drills[0].state = JOB_FAILED; /* it is about the same */
  HOLDS(f, "checkpoint_failed ");
  SAYS("(nightly) failed: table t differs");
  assert_string_equal(finding.remedy, "Do not rely on it.");
}

static void test_checkpoint_errored(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(4);
  f.ended[0].state = CHECKPOINT_ERRORED;
  f.ended[0].code = memory_strdup("database_unreachable");
  HOLDS(f, "");
  f.ended[1].state = CHECKPOINT_ERRORED;
  HOLDS(f, "checkpoint_errored ");
  SAYS("2 checkpoints in a row ended with an error, the last with database_unreachable");
  f.ended[0].state = CHECKPOINT_SEALED;
  HOLDS(f, "");
}

static void test_drill_failed(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(3);
  f.drills[0].state = JOB_FAILED;
  snprintf(f.drills[0].checkpoint, sizeof f.drills[0].checkpoint, "old");
  f.drills[0].message = memory_strdup("segment 3 was altered");
  HOLDS(f, "drill_failed ");
  SAYS("checkpoint old did not restore any more: segment 3 was altered");
  f.drills[0].state = JOB_DONE;
  f.drills[1].state = JOB_FAILED; /* what was drilled since is well */
  HOLDS(f, "");
}

static void test_drill_errored(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(3);
  f.drills[0].state = JOB_ERRORED;
  HOLDS(f, "");
  f.drills[1].state = JOB_ERRORED;
  HOLDS(f, "drill_errored ");
  f.ended[0].state = CHECKPOINT_ERRORED; /* the newest checkpoint's own: told as that, once it is too often */
  HOLDS(f, "");
}

static void test_canary(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(1);
  f.canary_survived = true;
  HOLDS(f, "canary_survived ");
}

static void test_proof_overdue(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(1);
  f.proof_objective_s = 7 * 86400;
  f.proof_age_s = f.proof_objective_s;
  HOLDS(f, "");
  f.proof_age_s++;
  HOLDS(f, "proof_overdue ");
  SAYS("7 days old; the objective is 7 days");
  assert_int_equal(finding.hold_us, 0);
  f.proof_age_s = -1; /* it may have been added a minute ago */
  HOLDS(f, "proof_overdue ");
  assert_int_equal(finding.hold_us, 7 * DAY);
  f.proof_objective_s = 0;
  HOLDS(f, "");
}

static void test_checkpoint_overdue(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(1);
  f.data_loss_objective_s = 26 * 3600;
  f.data_age_s = f.data_loss_objective_s;
  HOLDS(f, "");
  f.data_age_s = 3 * 86400;
  HOLDS(f, "checkpoint_overdue ");
  SAYS("asked for 3 days ago; no more than 26 hours may be lost");
  f.data_age_s = -1;
  HOLDS(f, "checkpoint_overdue ");
  assert_int_equal(finding.hold_us, (int64_t)26 * 3600 * 1000000);
}

static void test_schedule_missed(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(1);
  f.missed = true;
  f.slot_us = NOW;
  f.missed_count = 3;
  HOLDS(f, "schedule_missed ");
  SAYS("of 2027-01-15T08:00:00.000Z was missed (3 ever were)");
}

static void test_restore_slow(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(5);
  f.restore_objective_s = 3600;
  f.sealed[0].drill_seconds = 3601;
  HOLDS(f, "restore_slow ");
  SAYS("took 3601 s; the objective is 3600 s");
  f.sealed[0].drill_seconds = 120; /* twice as long as usual, not more */
  HOLDS(f, "");
  f.sealed[0].drill_seconds = 121;
  HOLDS(f, "restore_slow ");
  SAYS("took 121 s; those before it took 60 s");
  f.sealed[1].drill_seconds = f.sealed[2].drill_seconds = 0; /* two are no trend */
  HOLDS(f, "");
  for (size_t i = 0; i < 5; i++)
    f.sealed[i].drill_seconds = i ? 1 : 5; /* noise */
  HOLDS(f, "");
}

static void test_fallen(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  f.sealed[0].archive_bytes = (int64_t)(0.71 * (100 << 20));
  f.sealed[0].rows = 700001;
  HOLDS(f, "");
  f.sealed[0].archive_bytes = 70 << 20;
  HOLDS(f, "size_fallen ");
  SAYS("has 73.4 MB; the one before it had 104.9 MB");
  assert_non_null(strstr(finding.remedy, "pgseal plan shop --checkpoint cp-1"));
  f.sealed[0].archive_bytes = 100 << 20;
  f.sealed[0].rows = 0;
  HOLDS(f, "rows_fallen ");
  SAYS("has 0 rows; the one before it had 1000000");
  f.sealed[1].rows = 999; /* too few to tell */
  HOLDS(f, "");
  f.sealed_count = 1;
  f.sealed[0].archive_bytes = 0;
  HOLDS(f, "");
}

static void test_omissions(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  f.sealed[1].omissions = json_pack("[{s:s, s:s}]", "kind", "role_passwords", "object", "");
  f.sealed[0].omissions =
      json_pack("[{s:s, s:s}, {s:s, s:s}]", "kind", "role_passwords", "object", "", "kind", "more", "object", "");
  HOLDS(f, "");
  json_array_append_new(f.sealed[0].omissions, json_pack("{s:s, s:s}", "kind", "unlogged_table", "object", "public.q"));
  HOLDS(f, "omissions_new ");
  SAYS("leaves out 1 object that the one before it did not: unlogged_table public.q");
  json_decref(f.sealed[0].omissions);
  f.sealed[0].omissions = NULL; /* fewer are none */
  HOLDS(f, "");
  json_decref(f.sealed[1].omissions);
  static const char warned[] = "{s:s, s:s, s:s}";
  f.sealed[1].omissions = json_pack("[o]", json_pack(warned, "kind", "warning", "object", "", "detail", "one"));
  f.sealed[0].omissions = json_pack("[o]", json_pack(warned, "kind", "warning", "object", "", "detail", "one"));
  HOLDS(f, "");
  json_array_append_new(f.sealed[0].omissions, json_pack(warned, "kind", "warning", "object", "", "detail", "two"));
  HOLDS(f, "omissions_new "); /* another warning than before */
  SAYS("warning two");
}

static void test_version(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  f.sealed[0].server_major = 16;
  HOLDS(f, "version_changed ");
  SAYS("PostgreSQL 16 now; at the checkpoint before it was 15");
  f.sealed[1].server_major = 0;
  HOLDS(f, "");
}

static json_t *fact(const char *table, int64_t before, json_t *now) {
  return json_pack("{s:s, s:I, s:o}", "table", table, "before", (json_int_t)before, "now", now);
}

static void test_tables(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  HOLDS(f, "");
  f.fallen_count = 1;
  f.fallen = json_pack("[o]", fact("public.orders", 20000, json_integer(0)));
  HOLDS(f, "table_fallen ");
  SAYS("public.orders has 0 rows (it had 20000)");
  assert_non_null(strstr(finding.remedy, "pgseal plan shop --checkpoint cp-1; all tables: pgseal tables cp-0"));
  json_array_append_new(f.fallen, fact("s.gone", 1000, json_null()));
  json_array_append_new(f.fallen, fact("s.\"odd\" <b>", 1000, json_integer(-1)));
  f.fallen_count = 12;
  HOLDS(f, "table_fallen ");
  SAYS("12 tables have fallen, among them public.orders has 0 rows");
  SAYS("s.gone is gone (it had 1000 rows)");
  SAYS("s.\"odd\" <b> is not among the largest tables any more (it had 1000 rows)");
  f.sealed_count = 1;
  HOLDS(f, "");
}

static json_t *sorts(const char *provider, const char *name, const char *version, const char *actual) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s}", "encoding", "UTF8", "collation_provider", provider, "collation", name,
                   "collation_version", version, "collation_actual", actual);
}

static void set_sources(DatabaseFacts *f, json_t *before, json_t *now) {
  json_decref(f->sealed[0].source);
  json_decref(f->sealed[1].source);
  f->sealed[0].source = now;
  f->sealed[1].source = before;
}

static void test_collation(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  set_sources(&f, sorts("libc", "de_DE.utf8", "2.31", "2.31"), sorts("libc", "de_DE.utf8", "2.31", "2.31"));
  HOLDS(f, "");
  set_sources(&f, sorts("libc", "de_DE.utf8", "2.31", "2.31"), sorts("libc", "de_DE.utf8", "2.31", "2.36"));
  HOLDS(f, "collation_changed ");
  SAYS("sorted by libc de_DE.utf8 2.36 now; at the checkpoint before it was libc de_DE.utf8 2.31");
  assert_non_null(strstr(finding.remedy, "REINDEX"));
  set_sources(&f, sorts("libc", "de_DE.utf8", "2.31", "2.36"), sorts("libc", "de_DE.utf8", "2.31", "2.36"));
  HOLDS(f, "collation_changed "); /* nothing was done about it */
  SAYS("version 2.36 of its collation's library; its indexes may be of version 2.31");
  set_sources(&f, sorts("libc", "de_DE.utf8", "2.31", "2.36"), sorts("libc", "de_DE.utf8", "2.36", "2.36"));
  HOLDS(f, "");
  set_sources(&f, sorts("libc", "de_DE.utf8", "", ""), sorts("icu", "de", "", ""));
  HOLDS(f, "collation_changed ");
  SAYS("sorted by icu de now; at the checkpoint before it was libc de_DE.utf8");
  assert_null(strstr(finding.remedy, "REINDEX"));
  set_sources(&f, NULL, sorts("libc", "de_DE.utf8", "2.36", "2.36")); /* of an agent that did not tell */
  HOLDS(f, "");
  set_sources(&f, sorts("libc", "C", "", ""), sorts("libc", "C", "", ""));
  HOLDS(f, "");
}

static void test_encoding(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(2);
  set_sources(&f, json_pack("{s:s}", "encoding", "LATIN1"), json_pack("{s:s}", "encoding", "UTF8"));
  HOLDS(f, "encoding_changed ");
  SAYS("its encoding is UTF8 now; at the checkpoint before it was LATIN1");
  set_sources(&f, json_pack("{s:s}", "encoding", ""), json_pack("{s:s}", "encoding", "UTF8"));
  HOLDS(f, "");
  f.sealed_count = 1;
  HOLDS(f, "");
}

static void test_agents(void **state) {
  (void)state;
  Finding finding;
  AgentFacts f = {.name = "dump-1", .seen = true, .live = true};
  assert_false(condition_agent_lost(&f, &settings, &finding));
  f.live = false;
  assert_true(condition_agent_lost(&f, &settings, &finding));
  assert_int_equal(finding.hold_us, (int64_t)180 * 1000000);
  f.seen = false; /* it never was here: nobody misses it */
  assert_false(condition_agent_lost(&f, &settings, &finding));
  assert_false(condition_certificate_expiring(&f, NOW, &finding));
  f.certificate_from_us = NOW - 80 * DAY;
  f.certificate_us = NOW + 20 * DAY;
  assert_false(condition_certificate_expiring(&f, NOW, &finding));
  f.certificate_us = NOW + 19 * DAY;
  assert_true(condition_certificate_expiring(&f, NOW, &finding));
  SAYS("dump-1: its certificate expires at");
  f.certificate_us = NOW - 1;
  assert_true(condition_certificate_expiring(&f, NOW, &finding));
  SAYS("expired");
}

static void test_agent_disk(void **state) {
  (void)state;
  Finding finding;
  AlertSettings nobody = settings;
  AgentFacts f = {.name = "dump-1", .seen = true, .live = true, .free_bytes = 99, .total_bytes = 1000};
  assert_false(condition_agent_disk(&f, &settings, &finding)); /* of which one is not known */
  snprintf(f.fullest, sizeof f.fullest, "data and drill");
  assert_true(condition_agent_disk(&f, &settings, &finding));
  SAYS("agent dump-1: 99 B of 1.0 kB are free on the disk of its data and drill");
  assert_int_equal(finding.hold_us, (int64_t)60 * 1000000);
  f.free_bytes = 100;
  assert_false(condition_agent_disk(&f, &settings, &finding));
  f.free_bytes = 0;
  nobody.disk_free_percent = 0;
  assert_false(condition_agent_disk(&f, &nobody, &finding));
}

static void test_expiring(void **state) {
  (void)state;
  Finding finding;
  ExpiryFacts f = {.name = "ci", .from_us = NOW - 300 * DAY, .until_us = NOW + 21 * DAY};
  assert_false(condition_expiring("the token", &f, NOW, &finding));
  f.until_us--;
  assert_true(condition_expiring("the token", &f, NOW, &finding));
  SAYS("the token ci expires at");
  f = (ExpiryFacts){.name = "ci", .from_us = NOW - 7 * DAY, .until_us = NOW + 3 * DAY}; /* of a short life, a fifth */
  assert_false(condition_expiring("the token", &f, NOW, &finding));
  assert_true(condition_expiring("the token", &f, NOW + 2 * DAY, &finding));
}

static void test_coordinator(void **state) {
  (void)state;
  Finding finding;
  CoordinatorFacts f = {0};
  assert_false(condition_chain_broken(&f, &finding) || condition_fleet_unusable(&f, &finding));
  snprintf(f.chain_problem, sizeof f.chain_problem, "the ledger's chain is broken at event 7");
  snprintf(f.fleet_problem, sizeof f.fleet_problem, "fleet.yaml:3: no");
  assert_true(condition_chain_broken(&f, &finding));
  SAYS("event 7");
  assert_true(condition_fleet_unusable(&f, &finding));
  SAYS("fleet.yaml:3");
}

/* What a server says may be anything; what is told is one line of text. */
static void test_hostile_texts(void **state) {
  (void)state;
  Finding finding;
  FACTS f = well(1);
  f.ended[0].state = CHECKPOINT_FAILED;
  f.ended[0].message = memory_alloc(5000);
  memset(f.ended[0].message, 'x', 4999);
  memcpy(f.ended[0].message, "a\r\nBcc: b\xff\x1b[0m", 15);
  HOLDS(f, "checkpoint_failed ");
  assert_null(strpbrk(finding.summary, "\r\n\x1b\xff"));
  assert_true(strlen(finding.summary) < FINDING_SUMMARY);
}

/* What there is, is documented. */
static void test_docs(void **state) {
  (void)state;
  static const char *const others[] = {
      "repository_unlocked", "repository_removable", "agent_lost",   "agent_disk_low", "agent_certificate_expiring",
      "token_expiring",      "certificate_expiring", "chain_broken", "fleet_unusable"};
  static const char up[] = "tests/unit/coordinator/alerts/";
  CLEANUP(buffer_release) Buffer text = {0};
  Error err;
  const char *here = strstr(__FILE__, up);
  CLEANUP_FREE char *path = memory_format("%.*sdocs/alerts.md", (int)(here - __FILE__), __FILE__);
  assert_int_equal(file_read(path, 1 << 20, &text, &err), STATUS_OK);
  for (size_t i = 0; i < database_rule_count + ARRAY_SIZE(others); i++) {
    bool of_database = i < database_rule_count;
    CLEANUP_FREE char *row = of_database ? memory_format("| `%s` | %s | a database |", database_rules[i].name,
                                                         severity_name(database_rules[i].severity))
                                         : memory_format("| `%s` | ", others[i - database_rule_count]);
    if (!strstr(buffer_text(&text), row))
      fail_msg("docs/alerts.md does not have: %s", row);
  }
}

static void test_repository(void **state) {
  (void)state;
  Finding finding;
  static const char *accepted[] = {"lab-*"};
  AlertSettings lenient = settings; /* what is meant so is not told */
  lenient.accept_unlocked = accepted;
  lenient.accept_unlocked_count = 1;
  AgentFacts f = {.name = "dump-1", .repository = "bucket", .lock = "COMPLIANCE 30 days", .removes = "no"};
  assert_false(condition_repository_unlocked(&f, &settings, &finding));
  assert_false(condition_repository_removable(&f, &finding));
  snprintf(f.lock, sizeof f.lock, "none");
  snprintf(f.removes, sizeof f.removes, "yes");
  assert_true(condition_repository_unlocked(&f, &lenient, &finding));
  SAYS("agent dump-1: its bucket has no Object Lock");
  assert_true(condition_repository_removable(&f, &finding));
  SAYS("agent dump-1: its key may delete");
  snprintf(f.lock, sizeof f.lock, "unused"); /* unless policies lock all that it stores */
  assert_true(condition_repository_unlocked(&f, &settings, &finding));
  SAYS("what is stored there is not locked");
  f.locked_by_policy = true;
  assert_false(condition_repository_unlocked(&f, &settings, &finding));
  snprintf(f.lock, sizeof f.lock, "unknown");
  snprintf(f.removes, sizeof f.removes, "unknown");
  assert_false(condition_repository_unlocked(&f, &settings, &finding));
  assert_false(condition_repository_removable(&f, &finding));
  AgentFacts older = {.name = "older"}; /* says nothing */
  assert_false(condition_repository_unlocked(&older, &settings, &finding));
  assert_false(condition_repository_removable(&older, &finding));
  AgentFacts directory = {.name = "lab-3", .repository = "directory", .lock = "none", .removes = "yes"};
  assert_true(condition_repository_unlocked(&directory, &settings, &finding));
  SAYS("agent lab-3 stores in a directory");
  assert_false(condition_repository_unlocked(&directory, &lenient, &finding));
  assert_false(condition_repository_removable(&directory, &finding)); /* that says it all */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_repository),
      cmocka_unit_test(test_well),
      cmocka_unit_test(test_checkpoint_failed),
      cmocka_unit_test(test_checkpoint_errored),
      cmocka_unit_test(test_drill_failed),
      cmocka_unit_test(test_drill_errored),
      cmocka_unit_test(test_canary),
      cmocka_unit_test(test_proof_overdue),
      cmocka_unit_test(test_checkpoint_overdue),
      cmocka_unit_test(test_schedule_missed),
      cmocka_unit_test(test_restore_slow),
      cmocka_unit_test(test_fallen),
      cmocka_unit_test(test_omissions),
      cmocka_unit_test(test_version),
      cmocka_unit_test(test_tables),
      cmocka_unit_test(test_collation),
      cmocka_unit_test(test_encoding),
      cmocka_unit_test(test_agents),
      cmocka_unit_test(test_agent_disk),
      cmocka_unit_test(test_expiring),
      cmocka_unit_test(test_coordinator),
      cmocka_unit_test(test_hostile_texts),
      cmocka_unit_test(test_docs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
