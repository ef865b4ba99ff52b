/* A ledger as lines of JSON, and back: the same rows in either kind of database, or none of them. */
#include "support.h"

#include "coordinator/ledger/sign_in.h"

#include <unistd.h>

#include "common/base/cleanup.h"
#include "coordinator/ledger/db.h"

/* One of everything that the tables hold: numbers at their limits, texts with all there may be in them. */
static void fill(Fixture *f) {
  json_t *detail = json_pack("{s:s, s:i}", "text", "\xC3\xBCn\xC3\xAF \n\x01\"'\\", "n", 5), *request = json_object();
  for (int i = 0; i < 3; i++) {
    char id[] = {'c', (char)('1' + i), 0};
    Checkpoint c = sample(id, "shop", "it's \"one\"; DROP TABLE tip; -- ?");
    c.size_bytes = INT64_MAX - i;
    c.seconds = 0.1;
    c.detail = detail;
    OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
    OK(ledger_tables_put(f->ledger, id, "KLUv/SA=", &f->err));
    LedgerJob job = {.id = id,
                     .checkpoint_id = id,
                     .database = (char *)"shop",
                     .kind = LEDGER_JOB_PLAN,
                     .state = JOB_DONE,
                     .requested_by = (char *)"me",
                     .request = request};
    OK(ledger_job_insert(f->ledger, &job, &f->err));
    OK(ledger_job_report_put(f->ledger, &job, detail, &f->err));
  }
  for (int i = 0; i < 1203; i++) { /* more than two pages */
    LedgerEvent event = {.kind = (char *)"a.b", .database = (char *)"shop", .detail = i % 2 ? detail : NULL};
    if (i % 400 == 0)
      OK(ledger_begin(f->ledger, &f->err));
    OK(ledger_event_append(f->ledger, &event, &f->err));
    if (i % 400 == 399 || i == 1202)
      OK(ledger_commit(f->ledger, &f->err));
  }
  uint64_t fencing;
  OK(ledger_fencing_next(f->ledger, &fencing, &f->err));
  LedgerToken token = {.id = (char *)"t1", .name = (char *)"ci", .role = (char *)"ci", .created_us = 1};
  OK(ledger_token_insert(f->ledger, &token, &f->err));
  LedgerAgent agent = {.name = (char *)"a", .detail = detail};
  OK(ledger_agent_put(f->ledger, &agent, &f->err));
  LedgerAlert alert = {.key = (char *)"x/shop",
                       .id = (char *)"1",
                       .condition = (char *)"x",
                       .subject = (char *)"shop",
                       .severity = (char *)"warning",
                       .summary = (char *)"",
                       .remedy = (char *)""};
  OK(ledger_alert_put(f->ledger, &alert, &f->err));
  json_t *alerts = json_array();
  LedgerNotification message = {.id = (char *)"1", .route = (char *)"r", .alerts = alerts};
  OK(ledger_notification_put(f->ledger, &message, &f->err));
  LedgerSilence silence = {.id = (char *)"1", .reason = (char *)"moved", .created_us = 1, .until_us = INT64_MAX};
  OK(ledger_silence_insert(f->ledger, &silence, &f->err));
  char name[LEDGER_NAME_SIZE] = "ann@example.com";
  OK(ledger_person_name(f->ledger, "subject", "other", 1, name, &f->err));
  json_decref(alerts);
  json_decref(detail);
  json_decref(request);
}

static char *exported(Fixture *f, int64_t *rows) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  OK(ledger_export(f->ledger, out, rows, &f->err));
  fclose(out);
  return text;
}

static Status imported(Fixture *f, const char *text, int64_t *rows) {
  FILE *in = fmemopen((void *)text, strlen(text), "r");
  Status status = ledger_import(f->ledger, in, rows, &f->err);
  fclose(in);
  return status;
}

/* Into the other kind of database: what that exports is, byte by byte, the same. */
static void test_there_and_back(void **state) {
  Fixture *f = *state;
  int64_t rows = 0, taken = 0, again = 0;
  fill(f);
  CLEANUP_FREE char *text = exported(f, &rows);
  assert_true(rows > 1203 + 9);
  LedgerServer *server = ledger_server;
  for (int i = 0; i < 2; i++) {
    void *other;
    ledger_server = i ? server : NULL;
    setup(&other);
    Fixture *to = other;
    OK(imported(to, text, &taken));
    CLEANUP_FREE char *back = exported(to, &again);
    assert_true(taken == rows && again == rows);
    assert_string_equal(back, text);
    assert_int_equal(imported(to, text, &taken), ERR_CONFLICT);
    assert_non_null(strstr(to->err.message, "has events already"));
    Checkpoint c = sample("new", "shop", "t");
    OK(ledger_checkpoint_insert(to->ledger, &c, &to->err)); /* with the next number */
    uint64_t fencing = 0;
    OK(ledger_fencing_next(to->ledger, &fencing, &to->err));
    assert_int_equal(fencing, 2);
    teardown(&other);
  }
  ledger_server = server;
}

/* Nothing of it is taken. */
static void test_damaged(void **state) {
  Fixture *f = *state;
  int64_t rows = 0, events;
  char tip[65];
  void *other;
  fill(f);
  CLEANUP_FREE char *text = exported(f, &rows);
  setup(&other);
  Fixture *to = other;
  static const struct {
    const char *find, *put, *says;
    Status status;
  } cases[] = {
      {"{\"pgseal_ledger\":1", "{\"pgseal_ledger\":2", "no export of a ledger", ERR_INVALID_ARGUMENT},
      {"\"schema\":", "\"schema\":9", "of a ledger of schema 9", ERR_CONFIG},
      {"{\"table\":\"job\"", "{\"table\":\"jobs\"", "no row of a ledger", ERR_INVALID_ARGUMENT},
      {"\"dump_attempt\":", "\"dump_attempt) --\":", "no row of a ledger", ERR_INVALID_ARGUMENT},
      {"\"kind\":\"a.b\"", "\"kind\":\"a.c\"", "chain is broken at event 1", ERR_CONFLICT},
      {"{\"rows\":", "{\"rows\":9", "rows are missing", ERR_INVALID_ARGUMENT},
      {"{\"rows\":", "", "no JSON object", ERR_INVALID_ARGUMENT},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const char *at = strstr(text, cases[i].find);
    assert_non_null(at);
    CLEANUP_FREE char *bad =
        memory_format("%.*s%s%s", (int)(at - text), text, cases[i].put, at + strlen(cases[i].find));
    Status status = imported(to, bad, &rows);
    if (status != cases[i].status || !strstr(to->err.message, cases[i].says))
      fail_msg("%s: %d %s", cases[i].put, (int)status, to->err.message);
    OK(ledger_chain_verify(to->ledger, &events, tip, &to->err));
    assert_int_equal(events, 0);
  }
  CLEANUP_FREE char *cut = memory_strndup(text, (size_t)(strstr(text, "{\"rows\":") - text));
  assert_int_equal(imported(to, cut, &rows), ERR_INVALID_ARGUMENT);
  assert_non_null(strstr(to->err.message, "its end is missing"));
  OK(imported(to, text, &rows));
  teardown(&other);
}

/* A table that is forgotten here would be lost. */
static void test_every_table(void **state) {
  Fixture *f = *state;
  STATEMENT(s);
  bool row = true;
  int64_t rows;
  fill(f);
  CLEANUP_FREE char *text = exported(f, &rows);
  OK(db_statement(f->ledger,
                  ledger_server
                      ? "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
                      : "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
                  &s, &f->err));
  static const char *const empty[] = {"enrollment", "certificate", "signing_key", "fleet", "hold", "schedule"};
  static const char *const left_out[] = {"coordinator", "schema_version", "session", "sign_in"};
  for (;;) {
    OK(db_step(f->ledger, s, &row, &f->err));
    if (!row)
      break;
    const char *name = db_peek_text(s, 0);
    bool excused = false;
    for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
      excused = excused || strcmp(name, empty[i]) == 0;
    for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
      excused = excused || strcmp(name, left_out[i]) == 0;
    CLEANUP_FREE char *line = memory_format("{\"table\":\"%s\"", name);
    if (!excused && !strstr(text, line))
      fail_msg("the table %s is not exported", name);
  }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {T(test_there_and_back), T(test_damaged), T(test_every_table)};
  ledger_server = server_start(); /* both kinds are wanted at once */
  assert_non_null(ledger_server);
  LedgerServer *server = ledger_server;
  int failed = cmocka_run_group_tests_name("PostgreSQL", tests, NULL, NULL);
  server_stop(server);
  ledger_server = NULL;
  return failed;
}
