/* Ledgers of earlier versions go on. ledger-v1.sql is what a coordinator of schema 1 wrote (`.dump`): two checkpoints,
 * a pipeline's token, and one that was revoked. */
#include "support.h"

#include "common/base/cleanup.h"
#include "common/crypto/digest.h"

#define PIPELINE "pgseal_eNpNnum5m9WQw0rG53Rv5iXWS3GNrm6kObhGXpRNSUs"
enum { SQL_LIMIT = 1 << 20 };

static int setup_version_1(void **state) {
  setup_place(state);
  Fixture *f = *state;
  CLEANUP_FREE char *sql_path = memory_format("%.*s/ledger-v1.sql", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
  CLEANUP_FREE char *sql = NULL;
  OK(file_read_text(sql_path, SQL_LIMIT, &sql, &f->err));
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  return 0;
}

static LedgerToken token_of(Fixture *f, Ledger *ledger, const char *secret) {
  LedgerToken token = {0};
  char hash[SHA256_HEX_SIZE];
  sha256_hex(secret, strlen(secret), hash);
  OK(ledger_token_by_hash(ledger, hash, &token, &f->err));
  return token;
}

static void check_contents(Fixture *f, Ledger *ledger) {
  int64_t events;
  char tip[65];
  OK(ledger_chain_verify(ledger, &events, tip, &f->err));
  assert_int_equal(events, 9);
  CLEANUP(ledger_token_release) LedgerToken admin = token_of(f, ledger, "first-admin-token-of-version-1");
  CLEANUP(ledger_token_release) LedgerToken pipeline = token_of(f, ledger, PIPELINE);
  assert_string_equal(admin.role, "admin");
  assert_string_equal(pipeline.role, "ci");
  assert_string_equal(pipeline.name, "pipeline");
  assert_true(!pipeline.databases && !pipeline.expires_us && !pipeline.replaced_us && !pipeline.revoked_us);
  Checkpoint *items;
  size_t count;
  OK(ledger_checkpoint_list(ledger, &(CheckpointFilter){.limit = 10}, &items, &count, &f->err));
  assert_int_equal(count, 2);
  assert_string_equal(items[1].database, "prod-api");
  assert_string_equal(items[1].requested_by, "pipeline");
  checkpoint_list_free(items, count);
}

/* Until it is migrated, reading beside it says what to do; afterwards nothing is lost, and it opens again and again. */
static void test_from_1(void **state) {
  Fixture *f = *state;
  Ledger *ledger = NULL;
  assert_int_equal(ledger_open_sqlite_readonly(f->path, &ledger, &f->err), ERR_CONFIG);
  assert_non_null(strstr(f->err.remedy, "Start the coordinator"));
  for (int i = 0; i < 3; i++) {
    OK(ledger_open_sqlite(f->path, &ledger, &f->err));
    check_contents(f, ledger);
    ledger_close(ledger);
  }
  OK(ledger_open_sqlite_readonly(f->path, &ledger, &f->err));
  check_contents(f, ledger);
  ledger_close(ledger);
}

/* What came with schema 2 works on it: a replaced token leaves its name to the next. */
static void test_tokens_of_2(void **state) {
  Fixture *f = *state;
  Ledger *ledger = NULL;
  OK(ledger_open_sqlite(f->path, &ledger, &f->err));
  CLEANUP(ledger_token_release) LedgerToken old = token_of(f, ledger, PIPELINE);
  LedgerToken next = {.id = (char *)"next",
                      .name = old.name,
                      .role = (char *)"viewer",
                      .databases = (char *)"[\"prod-*\"]",
                      .created_us = 5,
                      .expires_us = 7};
  memset(next.hash, 'a', 64);
  assert_int_equal(ledger_token_insert(ledger, &next, &f->err), ERR_CONFLICT);
  old.replaced_us = 5;
  old.expires_us = 6;
  OK(ledger_token_update(ledger, &old, &f->err));
  OK(ledger_token_insert(ledger, &next, &f->err));
  CLEANUP(ledger_token_release) LedgerToken back = {0};
  OK(ledger_token_by_hash(ledger, next.hash, &back, &f->err));
  assert_string_equal(back.databases, "[\"prod-*\"]");
  assert_int_equal(back.expires_us, 7);
  CLEANUP(ledger_token_release) LedgerToken replaced = token_of(f, ledger, PIPELINE);
  assert_true(replaced.replaced_us == 5 && replaced.expires_us == 6);
  ledger_close(ledger);
}

/* Schema 4 makes the table of jobs anew: those there were are still there, in their order, and go on. */
static void test_jobs_of_4(void **state) {
  Fixture *f = *state;
  Ledger *ledger = NULL;
  LedgerJob *items, job = {0};
  size_t count;
  OK(ledger_open_sqlite(f->path, &ledger, &f->err));
  OK(ledger_job_recent(ledger, &(JobFilter){.limit = 10}, &items, &count, &f->err));
  assert_int_equal(count, 4);
  assert_string_equal(items[3].id, "01m7yrcjcd79pewcd3q9h72xaf");
  assert_true(items[3].kind == LEDGER_JOB_DUMP && items[3].state == JOB_QUEUED && items[3].created_us > 0);
  assert_true(items[0].kind == LEDGER_JOB_DRILL && items[0].state == JOB_CANCELED && items[0].cancel_requested);
  assert_true(!items[0].request && !items[0].requested_by && !items[0].approval);
  json_t *request = json_pack("{s:s}", "database", "shop");
  LedgerJob plan = {.id = (char *)"plan",
                    .checkpoint_id = items[0].checkpoint_id,
                    .database = items[0].database,
                    .kind = LEDGER_JOB_PLAN,
                    .state = JOB_QUEUED,
                    .attempt = 1,
                    .requested_by = (char *)"me",
                    .request = request};
  OK(ledger_job_insert(ledger, &plan, &f->err));
  plan.id = (char *)"unasked";
  plan.request = NULL;
  assert_int_equal(ledger_job_insert(ledger, &plan, &f->err), ERR_CONFLICT);
  json_decref(request);
  ledger_job_list_free(items, count);
  OK(ledger_job_open(ledger, &items, &count, &f->err));
  assert_int_equal(count, 3);
  ledger_job_list_free(items, count);
  OK(ledger_job_get(ledger, "plan", &job, &f->err));
  ledger_job_release(&job);
  ledger_close(ledger);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_version_1, teardown)
      T(test_from_1),
      T(test_tokens_of_2),
      T(test_jobs_of_4),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
