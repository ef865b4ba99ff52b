/* The proof's JSON: nothing is lost, and a proof that contradicts itself proves nothing. */
#include "tests/unit/common/manifest/support.h"

static json_t *good_json(bool proven) {
  CLEANUP(proof_release) Proof p = {0};
  fill_proof(&p, proven);
  return as_stored(proof_to_json(&p));
}

static void test_round_trips(void **state) {
  (void)state;
  for (int proven = 0; proven < 2; proven++) {
    Error err;
    CLEANUP(proof_release) Proof back = {0};
    CLEANUP(free_json) json_t *json = good_json(proven);
    assert_ok(proof_from_json(json, &back, &err), &err);
    CLEANUP(free_json) json_t *again = proof_to_json(&back);
    assert_true(json_equal(json, again));
    assert_int_equal(back.outcome, proven ? OUTCOME_PROVEN : OUTCOME_FAILED);
    assert_int_equal(back.error.status, proven ? STATUS_OK : ERR_ROUND_TRIP_DIFFERS);
    assert_int_equal(back.difference_count, proven ? 0 : 1);
    assert_string_equal(back.manifest_sha256, HEX);
    assert_int_equal(back.rows, 1000);
    assert_int_equal(back.note_count, 1);
    if (!proven)
      assert_string_equal(back.error.object, "public.orders");
  }
}

static void expect_refused(const json_t *json) {
  Error err;
  Proof untouched;
  memset(&untouched, 0x5a, sizeof untouched);
  Proof before = untouched;
  assert_int_equal(proof_from_json(json, &untouched, &err), ERR_PROOF_INVALID);
  assert_memory_equal(&untouched, &before, sizeof before);
  assert_true(err.message[0]);
}

static void test_every_field_is_needed_and_typed(void **state) {
  (void)state;
  static const char *const fields[] = {"version",
                                       "drill",
                                       "checkpoint",
                                       "database",
                                       "tag",
                                       "agent",
                                       "outcome",
                                       "manifest_sha256",
                                       "started_us",
                                       "finished_us",
                                       "cluster",
                                       "compared",
                                       "assertions",
                                       "stages",
                                       "error",
                                       "differences",
                                       "notes",
                                       "cluster.server_version",
                                       "cluster.pg_dump_version",
                                       "cluster.image",
                                       "cluster.engine",
                                       "cluster.pgseal_version",
                                       "compared.tables",
                                       "compared.rows",
                                       "compared.bytes",
                                       "compared.entries",
                                       "compared.large_objects",
                                       "compared.fingerprint_sha256",
                                       "assertions.0.name",
                                       "assertions.0.ok",
                                       "error.code",
                                       "error.message",
                                       "error.remedy",
                                       "error.object",
                                       "differences.0.kind",
                                       "differences.0.object",
                                       "differences.0.detail",
                                       "differences.0.remedy"};
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    CLEANUP(free_json) json_t *gone = good_json(false), *real = good_json(false), *list = good_json(false);
    put_at(gone, fields[i], NULL);
    expect_refused(gone);
    put_at(real, fields[i], json_real(1.5));
    expect_refused(real);
    put_at(list, fields[i], json_pack("[[]]"));
    expect_refused(list);
  }
}

static void refuse_with(bool proven, const char *path, json_t *value) {
  CLEANUP(free_json) json_t *json = good_json(proven);
  put_at(json, path, value);
  expect_refused(json);
}

/* "proven" beside an error, a difference or a false assertion: somebody wrote that by hand. */
static void test_contradictions(void **state) {
  (void)state;
  CLEANUP(free_json) json_t *failed = good_json(false);
  refuse_with(true, "error", json_deep_copy(json_object_get(failed, "error")));
  refuse_with(true, "differences", json_deep_copy(json_object_get(failed, "differences")));
  refuse_with(true, "assertions.0.ok", json_false());
  refuse_with(false, "outcome", json_string("proven"));
  refuse_with(false, "error", json_null());
  refuse_with(true, "outcome", json_string("failed"));
  /* these say nothing about a checkpoint and are never stored */
  refuse_with(false, "outcome", json_string("errored"));
  refuse_with(false, "outcome", json_string("canceled"));
  refuse_with(true, "outcome", json_string("errored"));
}

static void test_wrong_values(void **state) {
  (void)state;
  refuse_with(true, "version", json_integer(2));
  refuse_with(true, "outcome", json_string("PROVEN"));
  refuse_with(true, "outcome", json_string(""));
  refuse_with(true, "manifest_sha256", json_string("0"));
  refuse_with(true, "compared.rows", json_integer(-1));
  refuse_with(true, "stages", json_pack("{s:f}", "restore", -1.0));
  refuse_with(true, "stages", json_pack("{s:s}", "restore", "1"));
  refuse_with(true, "notes", json_pack("[i]", 1));
  refuse_with(false, "error.code", json_string("no_such_code"));
  refuse_with(false, "error.code", json_string("ok"));
  expect_refused(NULL);
}

static void test_no_assertions_and_no_stages(void **state) {
  (void)state;
  Error err;
  CLEANUP(proof_release) Proof p = {0};
  CLEANUP(proof_release) Proof back = {0};
  fill_proof(&p, true);
  json_decref(p.assertions);
  json_decref(p.stages);
  p.assertions = p.stages = NULL;
  CLEANUP(free_json) json_t *json = as_stored(proof_to_json(&p));
  assert_ok(proof_from_json(json, &back, &err), &err);
  assert_int_equal(json_array_size(back.assertions), 0);
}

/* A server's message may be in any encoding. */
static void test_messages_in_other_encodings(void **state) {
  (void)state;
  Error err;
  CLEANUP(proof_release) Proof p = {0};
  CLEANUP(proof_release) Proof back = {0};
  fill_proof(&p, false);
  free(p.differences[0].detail);
  p.differences[0].detail = memory_strdup("relation \"caf\xe9\" does not exist");
  CLEANUP(free_json) json_t *json = as_stored(proof_to_json(&p));
  assert_ok(proof_from_json(json, &back, &err), &err);
  assert_string_equal(back.differences[0].detail, "relation \"caf?\" does not exist");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trips),
      cmocka_unit_test(test_every_field_is_needed_and_typed),
      cmocka_unit_test(test_contradictions),
      cmocka_unit_test(test_wrong_values),
      cmocka_unit_test(test_no_assertions_and_no_stages),
      cmocka_unit_test(test_messages_in_other_encodings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
