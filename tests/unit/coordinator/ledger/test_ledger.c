/* The ledger, on each database that it may be kept in: rows come back as they went in, transactions, the chain and
 * tampering with it. */
#include "support.h"

#include <sys/stat.h>

#include "common/crypto/digest.h"

static void event(Fixture *f, const char *kind, const char *checkpoint) {
  LedgerEvent e = {.kind = (char *)kind, .checkpoint_id = (char *)checkpoint, .database = (char *)"shop"};
  e.detail = json_pack("{s:s, s:i}", "tag", "ünïcode \n\x01", "n", 5);
  OK(ledger_event_append(f->ledger, &e, &f->err));
  json_decref(e.detail);
}

static void test_checkpoint_round_trip(void **state) {
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "tag ünï");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  Checkpoint back = {0};
  OK(ledger_checkpoint_get(f->ledger, "one", &back, &f->err));
  assert_string_equal(back.tag, "tag ünï");
  assert_null(back.manifest_sha256);
  assert_null(back.detail);
  assert_null(back.idempotency_key);
  checkpoint_release(&back);
  c.state = CHECKPOINT_SEALED;
  c.finished_us = 1700000000000001;
  c.manifest_sha256 = (char *)"mmm";
  c.proof_sha256 = (char *)"ppp";
  c.restore_drill = (char *)"proven";
  c.dump_agent = (char *)"agent";
  c.size_bytes = INT64_MAX;
  c.archive_bytes = 2;
  c.tables = 3;
  c.rows = 4;
  c.server_major = 15;
  c.seconds = 1.25;
  c.error_code = c.error_message = c.error_remedy = c.error_object = (char *)"e";
  c.detail = json_pack("{s:[s,s]}", "notes", "a", "b");
  OK(ledger_checkpoint_update(f->ledger, &c, &f->err));
  reopen(f);
  OK(ledger_checkpoint_get(f->ledger, "one", &back, &f->err));
  assert_int_equal(back.state, CHECKPOINT_SEALED);
  assert_string_equal(back.manifest_sha256, "mmm");
  assert_string_equal(back.proof_sha256, "ppp");
  assert_string_equal(back.dump_agent, "agent");
  assert_true(back.size_bytes == INT64_MAX && back.archive_bytes == 2 && back.tables == 3 && back.rows == 4);
  assert_true(back.seconds == 1.25 && back.server_major == 15 && back.created_us == 1700000000000000);
  assert_true(json_equal(back.detail, c.detail));
  checkpoint_release(&back);
  json_decref(c.detail);
  assert_int_equal(ledger_checkpoint_get(f->ledger, "two", &back, &f->err), ERR_NOT_FOUND);
  c = sample("two", "shop", "t");
  assert_int_equal(ledger_checkpoint_update(f->ledger, &c, &f->err), ERR_NOT_FOUND);
}

/* Even a defect in dispatch cannot write a sealed checkpoint without manifest and proof. */
static void test_sealed_needs_manifest_and_proof(void **state) {
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  c.state = CHECKPOINT_SEALED;
  assert_int_equal(ledger_checkpoint_update(f->ledger, &c, &f->err), ERR_CONFLICT);
  c.manifest_sha256 = (char *)"m";
  assert_int_equal(ledger_checkpoint_update(f->ledger, &c, &f->err), ERR_CONFLICT);
  c.proof_sha256 = (char *)"p";
  OK(ledger_checkpoint_update(f->ledger, &c, &f->err));
}

static void test_find_and_list(void **state) {
  Fixture *f = *state;
  const char *const ids[] = {"c1", "c2", "c3", "c4"};
  for (int i = 0; i < 4; i++) {
    Checkpoint c = sample(ids[i], i % 2 ? "shop" : "bank", i < 2 ? "old" : "new");
    c.idempotency_key = (char *)(i == 3 ? "key" : NULL);
    OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  }
  Checkpoint found = {0};
  OK(ledger_checkpoint_find(f->ledger, NULL, "old", NULL, &found, &f->err));
  assert_string_equal(found.id, "c2");
  checkpoint_release(&found);
  OK(ledger_checkpoint_find(f->ledger, "bank", "old", NULL, &found, &f->err));
  assert_string_equal(found.id, "c1");
  checkpoint_release(&found);
  OK(ledger_checkpoint_find(f->ledger, NULL, "c3", NULL, &found, &f->err));
  assert_string_equal(found.id, "c3");
  checkpoint_release(&found);
  assert_int_equal(ledger_checkpoint_find(f->ledger, "shop", "c3", NULL, &found, &f->err), ERR_NOT_FOUND);
  OK(ledger_checkpoint_by_key(f->ledger, "ci", "key", &found, &f->err));
  assert_string_equal(found.id, "c4");
  checkpoint_release(&found);
  assert_int_equal(ledger_checkpoint_by_key(f->ledger, "other", "key", &found, &f->err), ERR_NOT_FOUND);
  Checkpoint twice = sample("c5", "shop", "x");
  twice.idempotency_key = (char *)"key";
  assert_int_equal(ledger_checkpoint_insert(f->ledger, &twice, &f->err), ERR_CONFLICT);

  Checkpoint *items;
  size_t count;
  OK(ledger_checkpoint_list(f->ledger, &(CheckpointFilter){.limit = 3}, &items, &count, &f->err));
  assert_int_equal(count, 3);
  assert_string_equal(items[0].id, "c4");
  checkpoint_list_free(items, count);
  CheckpointFilter filter = {.database = "bank", .state = "requested", .before_id = "c3", .limit = 10};
  OK(ledger_checkpoint_list(f->ledger, &filter, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_string_equal(items[0].id, "c1");
  checkpoint_list_free(items, count);
}

static void test_jobs(void **state) {
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  LedgerJob job = {.id = (char *)"j1",
                   .checkpoint_id = (char *)"one",
                   .database = (char *)"shop",
                   .kind = LEDGER_JOB_DUMP,
                   .state = JOB_QUEUED,
                   .attempt = 1,
                   .created_us = 5};
  OK(ledger_job_insert(f->ledger, &job, &f->err));
  job.id = (char *)"j2";
  job.kind = LEDGER_JOB_DRILL;
  OK(ledger_job_insert(f->ledger, &job, &f->err));
  job.id = (char *)"j3";
  job.checkpoint_id = (char *)"nowhere";
  assert_int_equal(ledger_job_insert(f->ledger, &job, &f->err), ERR_CONFLICT); /* foreign key */
  LedgerJob back;
  OK(ledger_job_get(f->ledger, "j1", &back, &f->err));
  back.state = JOB_DONE;
  back.fencing = 1ull << 40;
  back.cancel_requested = true;
  back.agent = memory_strdup("a");
  back.progress = json_pack("{s:s}", "phase", "dumping");
  OK(ledger_job_update(f->ledger, &back, &f->err));
  ledger_job_release(&back);
  OK(ledger_job_get(f->ledger, "j1", &back, &f->err));
  assert_true(back.fencing == 1ull << 40 && back.cancel_requested);
  assert_string_equal(json_string_value(json_object_get(back.progress, "phase")), "dumping");
  ledger_job_release(&back);
  LedgerJob *items;
  size_t count;
  OK(ledger_job_open(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_string_equal(items[0].id, "j2");
  ledger_job_list_free(items, count);
  OK(ledger_job_list(f->ledger, "one", &items, &count, &f->err));
  assert_int_equal(count, 2);
  assert_string_equal(items[0].id, "j1");
  ledger_job_list_free(items, count);
  assert_int_equal(ledger_job_get(f->ledger, "j9", &back, &f->err), ERR_NOT_FOUND);
}

static void test_fencing_only_grows(void **state) {
  Fixture *f = *state;
  uint64_t last = 0, next;
  for (int i = 0; i < 5; i++) {
    OK(ledger_fencing_next(f->ledger, &next, &f->err));
    assert_true(next > last);
    last = next;
    reopen(f);
  }
}

static void test_transactions(void **state) {
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "t"), back;
  OK(ledger_begin(f->ledger, &f->err));
  assert_int_equal(ledger_begin(f->ledger, &f->err), ERR_INTERNAL);
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  event(f, "checkpoint.requested", "one");
  ledger_rollback(f->ledger);
  ledger_rollback(f->ledger); /* fine when nothing is open */
  assert_int_equal(ledger_checkpoint_get(f->ledger, "one", &back, &f->err), ERR_NOT_FOUND);
  assert_int_equal(ledger_commit(f->ledger, &f->err), ERR_INTERNAL);
  int64_t events = -1;
  char tip[65];
  OK(ledger_chain_verify(f->ledger, &events, tip, &f->err));
  assert_int_equal(events, 0);
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  reopen(f); /* as a crash before the commit would */
  assert_int_equal(ledger_checkpoint_get(f->ledger, "one", &back, &f->err), ERR_NOT_FOUND);
}

static void test_chain(void **state) {
  Fixture *f = *state;
  int64_t events;
  char first[65], tip[65];
  event(f, "a.b", "one");
  OK(ledger_chain_verify(f->ledger, &events, first, &f->err));
  assert_int_equal(events, 1);
  LedgerEvent *items;
  size_t count;
  OK(ledger_event_list(f->ledger, &(EventFilter){.after = 0, .limit = 10}, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_string_equal(items[0].hash, first);
  /* The documented form, written out by hand. */
  char *whole = memory_format(
      "%064d{\"checkpoint\":\"one\",\"database\":\"shop\",\"detail\":{\"n\":5,\"tag\":\"ünïcode \\n\\u0001\"},"
      "\"kind\":\"a.b\",\"sequence\":1,\"time_us\":%lld}",
      0, (long long)items[0].time_us);
  char expected[65];
  sha256_hex(whole, strlen(whole), expected);
  assert_string_equal(first, expected);
  free(whole);
  ledger_event_list_free(items, count);
  for (int i = 0; i < 20; i++)
    event(f, "a.c", i % 2 ? "one" : "two");
  reopen(f);
  OK(ledger_chain_verify(f->ledger, &events, tip, &f->err));
  assert_int_equal(events, 21);
  assert_string_not_equal(first, tip);
  OK(ledger_event_list(f->ledger, &(EventFilter){.after = 5, .limit = 3}, &items, &count, &f->err));
  assert_int_equal(count, 3);
  assert_int_equal(items[0].sequence, 6);
  ledger_event_list_free(items, count);
  OK(ledger_event_list(f->ledger, &(EventFilter){.after = 1, .limit = 100, .checkpoint_id = "one"}, &items, &count,
                       &f->err));
  assert_int_equal(count, 10);
  ledger_event_list_free(items, count);
}

static void tamper(Fixture *f, const char *sql) {
  assert_true(raw(f, ledger_server ? "ALTER TABLE event DISABLE TRIGGER ALL"
                                   : "DROP TRIGGER event_update; DROP TRIGGER event_delete;"));
  assert_true(raw(f, sql));
}

static void check_tampered(void **state, const char *sql, const char *what) {
  Fixture *f = *state;
  for (int i = 0; i < 9; i++)
    event(f, i == 3 ? "checkpoint.failed" : "x.y", "one");
  shut(f);
  tamper(f, sql);
  assert_int_equal(ledger_open(f->where, false, &f->ledger, &f->err), ERR_CONFLICT);
  if (!strstr(f->err.message, what))
    fail_msg("'%s' does not say '%s'", f->err.message, what);
  assert_true(f->err.remedy[0]);
  Ledger *reader;
  OK(ledger_open(f->where, true, &reader, &f->err));
  int64_t events;
  char tip[65];
  assert_int_equal(ledger_chain_verify(reader, &events, tip, &f->err), ERR_CONFLICT);
  ledger_close(reader);
}

static void test_changed_kind(void **state) {
  check_tampered(state, "UPDATE event SET kind = 'checkpoint.sealed' WHERE sequence = 4", "at event 4");
}
static void test_changed_detail(void **state) {
  check_tampered(state, "UPDATE event SET detail = replace(detail, '5', '6') WHERE sequence = 5", "at event 5");
}
static void test_broken_detail(void **state) {
  check_tampered(state, "UPDATE event SET detail = '{' WHERE sequence = 5", "at event 5");
}
static void test_changed_time(void **state) {
  check_tampered(state, "UPDATE event SET time_us = time_us - 1 WHERE sequence = 1", "at event 1");
}
static void test_changed_actor(void **state) {
  check_tampered(state, "UPDATE event SET actor = 'me' WHERE sequence = 7", "at event 7");
}
static void test_removed_event(void **state) {
  check_tampered(state, "DELETE FROM event WHERE sequence = 6", "at event 6");
}
static void test_removed_last(void **state) {
  check_tampered(state, "DELETE FROM event WHERE sequence > 7", "its last event is 7, but 9 were written");
}
static void test_removed_all(void **state) {
  check_tampered(state, "DELETE FROM event", "its last event is 0");
}
static void test_added_event(void **state) {
  check_tampered(state,
                 "INSERT INTO event SELECT 10, time_us, kind, NULL, NULL, NULL, NULL, NULL, NULL, hash FROM event "
                 "WHERE sequence = 9",
                 "at event 10");
}
static void test_swapped_events(void **state) {
  check_tampered(state,
                 "UPDATE event SET sequence = 100 WHERE sequence = 3; UPDATE event SET sequence = 3 WHERE "
                 "sequence = 4; UPDATE event SET sequence = 4 WHERE sequence = 100",
                 "at event 3");
}

static void test_events_are_append_only(void **state) {
  Fixture *f = *state;
  event(f, "x.y", "one");
  assert_false(raw(f, "UPDATE event SET kind = 'z'"));
  assert_false(raw(f, "DELETE FROM event"));
}

static void test_file(void **state) {
  Fixture *f = *state;
  event(f, "x.y", "one");
  struct stat info;
  const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
  for (int i = 0; i < 4; i++) {
    char *path = memory_format("%s%s", f->path, suffixes[i]);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    free(path);
  }
  Ledger *second = NULL;
  assert_int_equal(ledger_open_sqlite(f->path, &second, &f->err), ERR_CONFLICT);
  assert_non_null(strstr(f->err.message, "another coordinator"));
  assert_null(second);
  OK(ledger_open_sqlite_readonly(f->path, &second, &f->err)); /* beside the one that writes */
  int64_t events;
  char tip[65];
  OK(ledger_chain_verify(second, &events, tip, &f->err));
  assert_int_equal(events, 1);
  Checkpoint c = sample("x", "shop", "t");
  assert_int_not_equal(ledger_checkpoint_insert(second, &c, &f->err), STATUS_OK);
  ledger_close(second);
  chmod(f->path, 0644);
  reopen(f);
  assert_int_equal(stat(f->path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
}

static void test_foreign_files(void **state) {
  Fixture *f = *state;
  char path[128];
  Ledger *ledger = NULL;
  snprintf(path, sizeof path, "%s/text.db", f->dir);
  OK(file_write_atomic(path, 0600, "this is no database, not at all, in no way whatsoever", 50, &f->err));
  assert_int_not_equal(ledger_open_sqlite(path, &ledger, &f->err), STATUS_OK);
  assert_non_null(strstr(f->err.message, path));
  snprintf(path, sizeof path, "%s/other.db", f->dir);
  sqlite3 *db;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (a); PRAGMA user_version = 1", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  assert_int_equal(ledger_open_sqlite(path, &ledger, &f->err), ERR_CONFIG);
  assert_non_null(strstr(f->err.message, "not a ledger"));
  snprintf(path, sizeof path, "%s/absent.db", f->dir);
  assert_int_equal(ledger_open_sqlite_readonly(path, &ledger, &f->err), ERR_NOT_FOUND);
  snprintf(path, sizeof path, "%s/no/such/dir.db", f->dir);
  assert_int_equal(ledger_open_sqlite(path, &ledger, &f->err), ERR_IO);
  assert_int_equal(ledger_open_sqlite(f->dir, &ledger, &f->err), ERR_IO);
  assert_null(ledger);
}

static void test_newer_schema(void **state) {
  Fixture *f = *state;
  shut(f);
  assert_true(raw(f, ledger_server ? "UPDATE schema_version SET version = 999" : "PRAGMA user_version = 999"));
  assert_int_equal(ledger_open(f->where, false, &f->ledger, &f->err), ERR_CONFIG);
  assert_non_null(strstr(f->err.remedy, "newer"));
}

static void test_tokens(void **state) {
  Fixture *f = *state;
  LedgerToken token = {.id = (char *)"t1", .name = (char *)"ci", .role = (char *)"ci", .created_us = 1};
  snprintf(token.hash, sizeof token.hash, "%064d", 1);
  OK(ledger_token_insert(f->ledger, &token, &f->err));
  token.id = (char *)"t2";
  snprintf(token.hash, sizeof token.hash, "%064d", 2);
  assert_int_equal(ledger_token_insert(f->ledger, &token, &f->err), ERR_CONFLICT);
  assert_non_null(strstr(f->err.message, "named ci"));
  LedgerToken back;
  OK(ledger_token_by_hash(f->ledger, "0000000000000000000000000000000000000000000000000000000000000001", &back,
                          &f->err));
  assert_string_equal(back.id, "t1");
  back.revoked_us = 7;
  back.last_used_us = 6;
  OK(ledger_token_update(f->ledger, &back, &f->err));
  OK(ledger_token_used(f->ledger, "t1", 6, &f->err));  /* by who read it before it was revoked */
  OK(ledger_token_insert(f->ledger, &token, &f->err)); /* a revoked token's name is free */
  ledger_token_release(&back);
  OK(ledger_token_by_hash(f->ledger, "0000000000000000000000000000000000000000000000000000000000000001", &back,
                          &f->err));
  assert_true(back.revoked_us == 7 && back.last_used_us == 6);
  ledger_token_release(&back);
  assert_int_equal(ledger_token_by_hash(f->ledger, "x", &back, &f->err), ERR_NOT_FOUND);
  LedgerToken *items;
  size_t count;
  OK(ledger_token_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 2);
  ledger_token_list_free(items, count);
}

static void test_agents(void **state) {
  Fixture *f = *state;
  LedgerAgent agent = {.name = (char *)"a", .version = (char *)"1", .first_seen_us = 1, .last_seen_us = 2};
  agent.detail = json_pack("{s:i}", "x", 1);
  OK(ledger_agent_put(f->ledger, &agent, &f->err));
  agent.version = (char *)"2";
  agent.first_seen_us = 9;
  agent.last_seen_us = 10;
  OK(ledger_agent_put(f->ledger, &agent, &f->err));
  LedgerAgent *items;
  size_t count;
  OK(ledger_agent_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_string_equal(items[0].version, "2");
  assert_null(items[0].host);
  assert_true(items[0].first_seen_us == 1 && items[0].last_seen_us == 10 && json_equal(items[0].detail, agent.detail));
  ledger_agent_list_free(items, count);
  json_decref(agent.detail);
}

/* The newest document counts; older ones go in time. */
static void test_fleets(void **state) {
  Fixture *f = *state;
  LedgerFleet row = {.name = (char *)"fleet.yaml", .text = (char *)"databases: []\n", .applied_us = 5}, found = {0};
  int64_t version = -1;
  OK(ledger_fleet_version(f->ledger, &version, &f->err));
  assert_int_equal(version, 0);
  assert_int_equal(ledger_fleet_get(f->ledger, &found, &f->err), ERR_NOT_FOUND);
  OK(ledger_begin(f->ledger, &f->err));
  for (row.version = 1; row.version <= LEDGER_FLEETS_KEPT + 2; row.version++)
    OK(ledger_fleet_insert(f->ledger, &row, &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  OK(ledger_fleet_version(f->ledger, &version, &f->err));
  assert_int_equal(version, LEDGER_FLEETS_KEPT + 2);
  OK(ledger_fleet_get(f->ledger, &found, &f->err));
  assert_true(found.version == version && found.applied_us == 5 && !found.applied_by);
  assert_string_equal(found.text, row.text);
  ledger_fleet_release(&found);
  row.version = version;
  assert_int_equal(ledger_fleet_insert(f->ledger, &row, &f->err), ERR_CONFLICT);
}

/* Only who knows where a schedule stands moves it on. */
static void test_schedules(void **state) {
  Fixture *f = *state;
  LedgerSchedule row = {.database = (char *)"shop", .spec = (char *)"@hourly UTC", .slot_us = 100}, *items;
  size_t count;
  OK(ledger_schedule_put(f->ledger, &row, &f->err));
  row.slot_us = 200;
  row.outcome = (char *)"requested";
  row.missed_count = 3;
  assert_int_equal(ledger_schedule_advance(f->ledger, &row, 99, &f->err), ERR_CONFLICT);
  OK(ledger_schedule_advance(f->ledger, &row, 100, &f->err));
  assert_int_equal(ledger_schedule_advance(f->ledger, &row, 100, &f->err), ERR_CONFLICT);
  row.spec = (char *)"@daily UTC";
  assert_int_equal(ledger_schedule_advance(f->ledger, &row, 200, &f->err), ERR_CONFLICT);
  OK(ledger_schedule_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 1);
  assert_true(items[0].slot_us == 200 && items[0].missed_count == 3 && !items[0].checkpoint_id);
  assert_string_equal(items[0].spec, "@hourly UTC");
  assert_string_equal(items[0].outcome, "requested");
  ledger_schedule_list_free(items, count);
  OK(ledger_schedule_remove(f->ledger, "shop", &f->err));
  OK(ledger_schedule_remove(f->ledger, "shop", &f->err));
  OK(ledger_schedule_list(f->ledger, &items, &count, &f->err));
  assert_int_equal(count, 0);
  ledger_schedule_list_free(items, count);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_checkpoint_round_trip),
      T(test_sealed_needs_manifest_and_proof),
      T(test_find_and_list),
      T(test_jobs),
      T(test_fencing_only_grows),
      T(test_transactions),
      T(test_chain),
      T(test_changed_kind),
      T(test_changed_detail),
      T(test_broken_detail),
      T(test_changed_time),
      T(test_changed_actor),
      T(test_removed_event),
      T(test_removed_last),
      T(test_removed_all),
      T(test_added_event),
      T(test_swapped_events),
      T(test_events_are_append_only),
      T(test_newer_schema),
      T(test_tokens),
      T(test_agents),
      T(test_fleets),
      T(test_schedules),
  };
  const struct CMUnitTest files[] = {T(test_file), T(test_foreign_files)};
  return LEDGER_TESTS(tests) + cmocka_run_group_tests(files, NULL, NULL);
}
