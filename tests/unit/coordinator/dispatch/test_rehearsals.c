/* Rehearsals: of what, by whom, how often; and that their SQL is not kept. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#define BODY                                                                                                           \
  "{\"database\": \"%s\", \"sql\": [{\"name\": \"0042.sql\", \"text\": \"ALTER ROLE app PASSWORD 'hunter22'\"}], "     \
  "\"nonce\": \"0123456789abcdef\", \"time\": 5, \"mac\": \"" PROOF "\"}"

static char *rehearsal_of(Fixture *f, const char *database) {
  CLEANUP_FREE char *body = memory_format(BODY, database);
  return asked(f, LEDGER_JOB_REHEARSE, body);
}

static Pgseal__Job *poll_rehearse(Fixture *f, int agent) {
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  poll.free_rehearse = 1;
  OK(dispatch_poll(f->dispatch, agent_names[agent], &poll, &job, &f->err));
  return job;
}

static Pgseal__Job *must_rehearse(Fixture *f, int agent, const char *id) {
  Pgseal__Job *job = poll_rehearse(f, agent);
  assert_non_null(job);
  assert_string_equal(job->id, id);
  return job;
}

/* The copy is there, and the migration begins. */
static void hands_over(Fixture *f, int agent, const Pgseal__Job *job) {
  Pgseal__JobProgress inner = PGSEAL__JOB_PROGRESS__INIT;
  Pgseal__TunnelOffer offer = PGSEAL__TUNNEL_OFFER__INIT;
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  Pgseal__ProgressReply *reply = NULL;
  offer.certificate = (char *)"-----BEGIN CERTIFICATE-----";
  offer.mac = (char *)PROOF;
  offer.role = (char *)"r\xc3\xb4le";
  offer.seconds = 60;
  inner.phase = (char *)"rehearsing";
  inner.tunnel = &offer;
  message.job_id = job->id;
  message.fencing = job->fencing;
  message.progress = &inner;
  OK(dispatch_progress(f->dispatch, agent_names[agent], &message, &reply, &f->err));
  assert_false(reply->lease_lost);
  pgseal__progress_reply__free_unpacked(reply, NULL);
}

static bool in_ledger(Fixture *f, const char *text) {
  CLEANUP_FREE char *wal = memory_format("%s-wal", f->path);
  const char *const files[] = {f->path, wal};
  bool found = false;
  dispatch_close(f->dispatch);
  ledger_close(f->ledger); /* what was overwritten leaves the write-ahead log with that */
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    Buffer bytes = {0};
    if (file_exists(files[i]))
      OK(file_read(files[i], 64 << 20, &bytes, &f->err));
    found |= bytes.size && memmem(bytes.data, bytes.size, text, strlen(text));
    buffer_release(&bytes);
  }
  start(f);
  return found;
}

static void test_done(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "prod-api");
  CLEANUP_FREE char *rehearsal = rehearsal_of(f, "prod-api");
  for (int i = 0; i < 3; i++)
    assert_null(poll_rehearse(f, i));
  assert_null(poll_restore(f, RESTORER)); /* it has slots of its own */
  JOB *job = must_rehearse(f, RESTORER, rehearsal);
  assert_int_equal(job->kind, PGSEAL__JOB_KIND__JOB_KIND_REHEARSE);
  assert_string_equal(job->recovery->manifest_sha256, MANIFEST);
  assert_int_equal(job->recovery->n_assertions, 1);
  assert_string_equal(job->recovery->assertions[0]->sql, "SELECT true");
  assert_non_null(strstr(job->recovery->request_json, "hunter22"));
  hands_over(f, RESTORER, job);
  CLEANUP(ledger_job_release) LedgerJob running = {0};
  OK(ledger_job_get(f->ledger, rehearsal, &running, &f->err));
  assert_string_equal(text_in(json_object_get(running.progress, "tunnel"), "role"), "r\xc3\xb4le");
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{\"version\": 1, \"verdict\": \"dangerous\"}"));
  expect_job(f, rehearsal, JOB_DONE, NULL, NULL);
  CLEANUP(free_json) json_t *requested = detail_of(f, "rehearsal.requested", "oncall");
  CLEANUP(free_json) json_t *finished = detail_of(f, "rehearsal.finished", "oncall");
  assert_string_equal(text_in(finished, "verdict"), "dangerous");
  const char *file = json_string_value(json_array_get(json_object_get(requested, "sql"), 0));
  assert_true(strncmp(file, "sha256:", 7) == 0 && strstr(file, " 0042.sql"));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_false(in_ledger(f, "hunter22"));
}

static void test_joins_after_its_end(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *body = memory_format(BODY, "shop");
  CLEANUP(ledger_job_release) LedgerJob first = {0};
  CLEANUP(ledger_job_release) LedgerJob again = {0};
  bool joined;
  OK(ask_for(f, LEDGER_JOB_REHEARSE, body, "ci", "key", &first, &joined));
  JOB *job = must_rehearse(f, RESTORER, first.id);
  assert_true(reports(f, RESTORER, job, ENDS_ERRORED, "query", ""));
  expect_job(f, first.id, JOB_ERRORED, "query", NULL);
  OK(ask_for(f, LEDGER_JOB_REHEARSE, body, "ci", "key", &again, &joined));
  assert_true(joined);
  assert_string_equal(first.id, again.id);
  CLEANUP_FREE char *other = memory_strdup(body);
  memcpy(strstr(other, "hunter22"), "hunter23", 8);
  LedgerJob none = {0};
  assert_int_equal(ask_for(f, LEDGER_JOB_REHEARSE, other, "ci", "key", &none, &joined), ERR_CONFLICT);
}

static void test_of_what_is_proven_alone(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *body = memory_format(BODY, "shop");
  refused(f, LEDGER_JOB_REHEARSE, body, ERR_NOT_FOUND, "no sealed checkpoint");
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  CLEANUP_FREE char *named = memory_format("{\"database\": \"shop\", \"checkpoint\": \"%s\", \"tunnel\": true}", id);
  refused(f, LEDGER_JOB_REHEARSE, named, ERR_CONFLICT, "not proven");
}

/* As a drill until the copy is handed over; then never again. */
static void test_how_often(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *rehearsal = rehearsal_of(f, "shop");
  {
    JOB *job = must_rehearse(f, RESTORER, rehearsal);
    renew(f, RESTORER, job);
    pass(f, LEASE + 1, LIVE);
    assert_int_equal(job_state_of(f, rehearsal, NULL), JOB_QUEUED);
  }
  pass(f, 61, LIVE);
  {
    JOB *job = must_rehearse(f, OTHER_RESTORER, rehearsal);
    assert_true(reports(f, OTHER_RESTORER, job, ENDS_ERRORED, "agent_lost", ""));
    assert_int_equal(job_state_of(f, rehearsal, NULL), JOB_QUEUED);
  }
  pass(f, 61, LIVE);
  JOB *job = must_rehearse(f, RESTORER, rehearsal);
  hands_over(f, RESTORER, job);
  pass(f, LEASE + 1, LIVE);
  expect_job(f, rehearsal, JOB_ERRORED, "agent_lost", "Rehearse it again");
  assert_false(reports(f, RESTORER, job, DONE, NULL, "{\"verdict\": \"clean\"}")); /* too late */
  CLEANUP_FREE char *second = rehearsal_of(f, "shop");
  JOB *of_second = must_rehearse(f, RESTORER, second);
  hands_over(f, RESTORER, of_second);
  assert_true(reports(f, RESTORER, of_second, ENDS_ERRORED, "agent_lost", "{\"verdict\": \"failed\"}"));
  expect_job(f, second, JOB_ERRORED, "agent_lost", NULL);
  CLEANUP(free_json) json_t *kept = report_of(f, second);
  assert_non_null(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_done),
      T(test_joins_after_its_end),
      T(test_of_what_is_proven_alone),
      T(test_how_often),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
