/* Agents that joined by invitation, and their keys and certificates: rows come back as they went in. */
#include "support.h"

static void test_rows_and_certificates(void **state) {
  Fixture *f = *state;
  LedgerEnrollment row = {.name = (char *)"dump-1", .state = AGENT_INVITED, .invited_us = 1, .token_expires_us = 2};
  row.capabilities = json_pack("[s]", "dump");
  row.databases = json_pack("[s]", "prod-*");
  snprintf(row.token_hash, sizeof row.token_hash, "%064d", 7);
  OK(ledger_enrollment_put(f->ledger, &row, &f->err));
  row.state = AGENT_ENROLLED; /* without key and certificate: no such thing */
  assert_int_equal(ledger_enrollment_put(f->ledger, &row, &f->err), ERR_CONFLICT);
  row.public_key = (char *)"ab";
  row.serial = (char *)"01";
  row.token_hash[0] = 0;
  row.expires_us = 100;
  row.certificate = (char *)"PEM";
  snprintf(row.spent_hash, sizeof row.spent_hash, "%064d", 8);
  snprintf(row.request_sha256, sizeof row.request_sha256, "%064d", 9);
  OK(ledger_enrollment_put(f->ledger, &row, &f->err));
  const char *serials[] = {"01", "02", "03"};
  for (int i = 0; i < 3; i++)
    OK(ledger_certificate_insert(f->ledger, serials[i], "dump-1", 100 + i, &f->err));
  assert_int_equal(ledger_certificate_insert(f->ledger, "01", "dump-1", 1, &f->err), ERR_CONFLICT);
  char **revoked = NULL;
  size_t count = 9;
  OK(ledger_certificate_revoked(f->ledger, 0, &revoked, &count, &f->err));
  assert_int_equal(count, 0);
  OK(ledger_certificate_revoke(f->ledger, "nobody", 50, &f->err));
  OK(ledger_certificate_revoke(f->ledger, "dump-1", 50, &f->err));
  reopen(f);
  OK(ledger_certificate_revoked(f->ledger, 100, &revoked, &count, &f->err)); /* those that would be valid still */
  assert_int_equal(count, 2);
  for (size_t i = 0; i < count; i++) {
    assert_string_equal(revoked[i], serials[i + 1]);
    free(revoked[i]);
  }
  free(revoked);
  LedgerEnrollment *rows = NULL;
  OK(ledger_enrollment_list(f->ledger, &rows, &count, &f->err));
  assert_int_equal(count, 1);
  assert_int_equal(rows[0].state, AGENT_ENROLLED);
  assert_string_equal(rows[0].public_key, "ab");
  assert_string_equal(rows[0].token_hash, "");
  assert_string_equal(rows[0].spent_hash, row.spent_hash);
  assert_string_equal(rows[0].request_sha256, row.request_sha256);
  assert_string_equal(rows[0].certificate, "PEM");
  assert_true(json_equal(rows[0].databases, row.databases) && json_equal(rows[0].capabilities, row.capabilities));
  assert_true(rows[0].expires_us == 100 && rows[0].invited_us == 1);
  ledger_enrollment_release(&rows[0]);
  free(rows);
  json_decref(row.capabilities);
  json_decref(row.databases);
}

static void expect_key(Fixture *f, const char *key, const char *agent, bool revoked) {
  char *owner = NULL;
  bool was_revoked = !revoked;
  OK(ledger_signing_key_get(f->ledger, key, &owner, &was_revoked, &f->err));
  assert_true(agent ? owner && strcmp(owner, agent) == 0 : !owner);
  assert_int_equal(was_revoked, revoked);
  free(owner);
}

static void put_invited(Fixture *f, const char *name) {
  LedgerEnrollment row = {.name = (char *)name, .state = AGENT_INVITED};
  row.capabilities = json_pack("[s]", "dump");
  row.databases = json_pack("[s]", "*");
  OK(ledger_enrollment_put(f->ledger, &row, &f->err));
  json_decref(row.capabilities);
  json_decref(row.databases);
}

/* One row that cannot be read: no list at all, and nothing of those before it is left behind. */
static void test_rows_that_make_no_sense(void **state) {
  Fixture *f = *state;
  LedgerEnrollment *rows = NULL, one;
  size_t count = 9;
  static const char *const names[] = {"a", "b", "c"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    put_invited(f, names[i]);
  shut(f);
  assert_true(raw(f, "UPDATE enrollment SET databases = '{}' WHERE name = 'c'"));
  reopen(f);
  assert_int_equal(ledger_enrollment_list(f->ledger, &rows, &count, &f->err), ERR_CONFLICT);
  assert_string_equal(f->err.message, "the ledger's row of agent c makes no sense");
  assert_true(!rows && count == 9);
  assert_int_equal(ledger_enrollment_get(f->ledger, "c", &one, &f->err), ERR_CONFLICT);
  assert_int_equal(ledger_enrollment_get(f->ledger, "d", &one, &f->err), ERR_NOT_FOUND);
  assert_string_equal(f->err.message, "the ledger has no agent d");
}

static void test_signing_keys(void **state) {
  Fixture *f = *state;
  put_invited(f, "a");
  put_invited(f, "b");
  expect_key(f, "k1", NULL, false);
  OK(ledger_signing_key_insert(f->ledger, "k1", "a", &f->err));
  OK(ledger_signing_key_insert(f->ledger, "k1", "a", &f->err));
  OK(ledger_signing_key_insert(f->ledger, "k2", "a", &f->err));
  OK(ledger_signing_key_insert(f->ledger, "k3", "b", &f->err));
  assert_int_equal(ledger_signing_key_insert(f->ledger, "k1", "b", &f->err), ERR_CONFLICT);
  OK(ledger_signing_key_revoke(f->ledger, "nobody", 7, &f->err));
  OK(ledger_signing_key_revoke(f->ledger, "a", 7, &f->err));
  assert_int_equal(ledger_signing_key_insert(f->ledger, "k1", "a", &f->err), ERR_CONFLICT);
  reopen(f);
  expect_key(f, "k1", "a", true);
  expect_key(f, "k2", "a", true);
  expect_key(f, "k3", "b", false);
}

/* Ledgers older than the table have the keys in their events. */
static void test_signing_keys_of_4(void **state) {
  Fixture *f = *state;
  static const char *const told[][3] = {{"agent.enrolled", "a", "k1"}, {"agent.revoked", "a", NULL},
                                        {"agent.enrolled", "a", "k2"}, {"agent.enrolled", "b", "k3"},
                                        {"agent.enrolled", "a", "k1"}, {"agent.enrolled", "b", "k4"},
                                        {"agent.revoked", "b", NULL},  {"agent.renewed", "b", "k9"}};
  put_invited(f, "a");
  put_invited(f, "b");
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
    LedgerEvent event = {.kind = (char *)told[i][0], .agent = (char *)told[i][1]};
    event.detail = told[i][2] ? json_pack("{s:s}", "public_key", told[i][2]) : NULL;
    OK(ledger_event_append(f->ledger, &event, &f->err));
    json_decref(event.detail);
  }
  shut(f);
  static const char before[] =
      "DROP TABLE fleet; DROP TABLE signing_key; ALTER TABLE enrollment DROP COLUMN spent_hash; "
      "ALTER TABLE enrollment DROP COLUMN request_sha256; "
      "ALTER TABLE enrollment DROP COLUMN certificate;" UNDO_10 UNDO_9 "PRAGMA user_version = 4";
  assert_true(raw(f, before));
  reopen(f);
  expect_key(f, "k1", "a", true);
  expect_key(f, "k2", "a", false);
  expect_key(f, "k3", "b", true);
  expect_key(f, "k4", "b", true);
  expect_key(f, "k9", NULL, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_rows_and_certificates),
      T(test_rows_that_make_no_sense),
      T(test_signing_keys),
  };
  const struct CMUnitTest files[] = {T(test_signing_keys_of_4)};
  return LEDGER_TESTS(tests) + cmocka_run_group_tests(files, NULL, NULL);
}
