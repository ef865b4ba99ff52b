/* The manifest's JSON: nothing is lost, and nothing that is wrong is believed. */
#include "tests/unit/common/manifest/support.h"

static void test_round_trip(void **state) {
  (void)state;
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  CLEANUP(manifest_release) Manifest back = {0};
  fill_manifest(&m);
  CLEANUP(free_json) json_t *json = as_stored(manifest_to_json(&m));
  assert_ok(manifest_from_json(json, &back, &err), &err);
  CLEANUP(free_json) json_t *again = manifest_to_json(&back);
  assert_true(json_equal(json, again));
  assert_string_equal(back.tag, m.tag);
  assert_string_equal(back.lsn, "0/1A2B3C4D");
  assert_string_equal(back.encoding, "UTF8");
  assert_string_equal(back.collation_provider, "libc");
  assert_string_equal(back.collation, "de_DE.utf8");
  assert_string_equal(back.collation_actual, "2.37");
  assert_int_equal(back.attempt, 2);
  assert_int_equal(back.started_us, m.started_us);
  assert_true(back.has_roles);
  assert_int_equal(back.roles.plain_size, 500);
  assert_int_equal(back.segment_count, 2);
  assert_int_equal(back.segments[1].offset, 50000);
  assert_string_equal(back.segments[1].sha256, m.segments[1].sha256);
  assert_string_equal(back.recipients[0], HEX);
  assert_string_equal(back.omissions[0].object, "public.remote");
  assert_int_equal(back.fingerprint.blobs[0].oid, 4294967295u);
  uint8_t a[DIGEST_SIZE], b[DIGEST_SIZE];
  fingerprint_digest(&m.fingerprint, a);
  fingerprint_digest(&back.fingerprint, b);
  assert_memory_equal(a, b, DIGEST_SIZE);
}

static void test_without_roles(void **state) {
  (void)state;
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  CLEANUP(manifest_release) Manifest back = {0};
  fill_manifest(&m);
  m.has_roles = false;
  CLEANUP(free_json) json_t *json = as_stored(manifest_to_json(&m));
  assert_true(json_is_null(json_object_get(json, "roles")));
  assert_ok(manifest_from_json(json, &back, &err), &err);
  assert_false(back.has_roles);
}

/* A database in SQL_ASCII names things in any bytes; a manifest is UTF-8 all the same. */
static void test_names_in_other_encodings(void **state) {
  (void)state;
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  CLEANUP(manifest_release) Manifest back = {0};
  fill_manifest(&m);
  free(m.omissions[0].object);
  m.omissions[0].object = memory_strdup("public.caf\xe9");
  free(m.fingerprint.tables[0].name);
  m.fingerprint.tables[0].name = memory_strdup("caf\xe9");
  CLEANUP(free_json) json_t *json = as_stored(manifest_to_json(&m));
  assert_ok(manifest_from_json(json, &back, &err), &err);
  assert_string_equal(back.omissions[0].object, "public.caf?");
  assert_string_equal(back.fingerprint.tables[0].name, "caf\xe9"); /* compared, so kept to the byte */
}

/* Manifests of earlier versions do not say how the server sorts. */
static void test_earlier(void **state) {
  (void)state;
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  CLEANUP(manifest_release) Manifest back = {0};
  fill_manifest(&m);
  CLEANUP(free_json) json_t *json = as_stored(manifest_to_json(&m));
  static const char *const later[] = {"encoding", "collation_provider", "collation", "collation_actual"};
  for (size_t i = 0; i < ARRAY_SIZE(later); i++)
    assert_int_equal(json_object_del(json_object_get(json, "source"), later[i]), 0);
  assert_ok(manifest_from_json(json, &back, &err), &err);
  assert_string_equal(back.collation_actual, "");
  assert_string_equal(back.encoding, "");
}

static json_t *good_json(void) {
  CLEANUP(manifest_release) Manifest m = {0};
  fill_manifest(&m);
  return as_stored(manifest_to_json(&m));
}

static void expect_refused(const json_t *json) {
  Error err;
  Manifest untouched;
  memset(&untouched, 0x5a, sizeof untouched);
  Manifest before = untouched;
  assert_int_equal(manifest_from_json(json, &untouched, &err), ERR_MANIFEST_INVALID);
  assert_memory_equal(&untouched, &before, sizeof before);
  assert_true(err.message[0]);
}

static void test_every_field_is_needed_and_typed(void **state) {
  (void)state;
  static const char *const fields[] = {"version",
                                       "checkpoint",
                                       "database",
                                       "tag",
                                       "agent",
                                       "attempt",
                                       "started_us",
                                       "finished_us",
                                       "source",
                                       "roles",
                                       "segments",
                                       "recipients",
                                       "omissions",
                                       "fingerprint",
                                       "source.server_version",
                                       "source.pg_dump_version",
                                       "source.pgseal_version",
                                       "source.server_major",
                                       "source.database_name",
                                       "source.bootstrap_role",
                                       "source.snapshot",
                                       "source.lsn",
                                       "source.collation_version",
                                       "segments.0.offset",
                                       "segments.0.plain_size",
                                       "segments.1.size",
                                       "segments.1.sha256",
                                       "segments.0.plain_sha256",
                                       "roles.sha256",
                                       "omissions.0.kind",
                                       "omissions.0.object",
                                       "omissions.0.detail",
                                       "fingerprint.tables",
                                       "fingerprint.archive_size"};
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
    CLEANUP(free_json) json_t *gone = good_json(), *real = good_json(), *list = good_json();
    put_at(gone, fields[i], NULL);
    expect_refused(gone);
    put_at(real, fields[i], json_real(1.5));
    expect_refused(real);
    put_at(list, fields[i], json_pack("[[]]"));
    expect_refused(list);
  }
}

static void test_wrong_values(void **state) {
  (void)state;
  struct {
    const char *path;
    json_t *value;
  } cases[] = {
      {"version", json_integer(2)},
      {"version", json_string("1")},
      {"attempt", json_integer(-1)},
      {"attempt", json_integer(1LL << 40)},
      {"started_us", json_integer(-5)},
      {"roles", json_true()},
      {"roles.sha256", json_string("abc")},
      {"segments", json_array()},
      {"segments.0", json_null()},
      {"segments.0.offset", json_integer(1)},         /* does not begin at the beginning */
      {"segments.1.offset", json_integer(49999)},     /* overlap */
      {"segments.1.offset", json_integer(50001)},     /* gap */
      {"segments.1.plain_size", json_integer(19999)}, /* ends before the archive does */
      {"segments.1.plain_size", json_integer(20001)}, /* or behind it */
      {"segments.1.plain_size", json_integer(0)},
      {"segments.1.plain_size", json_integer(INT64_MAX)},
      {"segments.1.plain_size", json_integer(-20000)},
      {"segments.0.sha256", json_string("F123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")},
      {"segments.0.sha256", json_string(HEX "0")},
      {"recipients", json_array()}, /* nobody could open it */
      {"recipients.0", json_string("drill")},
      {"recipients.0", json_integer(1)},
      {"fingerprint.archive_size", json_integer(70001)},
      {"fingerprint.rows", json_integer(999)},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP(free_json) json_t *json = good_json();
    put_at(json, cases[i].path, cases[i].value);
    expect_refused(json);
  }
}

static void test_other_documents(void **state) {
  (void)state;
  static const char *const texts[] = {"[]", "{}", "{\"version\":1}", "[1,2]", "{\"version\":1,\"source\":[]}"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    CLEANUP(free_json) json_t *json = json_loads(texts[i], 0, NULL);
    expect_refused(json);
  }
  expect_refused(NULL);
}

/* A later version may add fields; this one reads what it knows. */
static void test_unknown_fields_are_left_alone(void **state) {
  (void)state;
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  CLEANUP(free_json) json_t *json = good_json();
  json_object_set_new(json, "later", json_pack("{s:i}", "x", 1));
  assert_ok(manifest_from_json(json, &m, &err), &err);
}

static void expect_text(char *text, const char *expected) {
  assert_string_equal(text, expected);
  free(text);
}

static void test_keys(void **state) {
  (void)state;
  expect_text(manifest_prefix("prod-api", "01kb", 3), "prod-api/01kb/attempt-3/");
  expect_text(manifest_segment_key("p/", 0), "p/000000.zst.cms");
  expect_text(manifest_segment_key("p/", 123456), "p/123456.zst.cms");
  expect_text(manifest_roles_key("p/"), "p/roles.sql.zst.cms");
  expect_text(manifest_key("p/"), "p/manifest.json.cms");
  expect_text(proof_key("p/", "01kc"), "p/proofs/01kc.json.cms");
  CLEANUP_FREE char *prefix = manifest_prefix("a.b_c-9", "01kb0000000000000000000000", 1);
  CLEANUP_FREE char *key = proof_key(prefix, "01kc0000000000000000000000-2");
  assert_true(repository_key_valid(key));
}

static void test_verdict_statement(void **state) {
  (void)state;
  expect_text(verdict_statement("c", "d", "m", "p", OUTCOME_PROVEN),
              "checkpoint=c\ndrill=d\nmanifest=m\nproof=p\noutcome=proven\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_without_roles),
      cmocka_unit_test(test_earlier),
      cmocka_unit_test(test_names_in_other_encodings),
      cmocka_unit_test(test_every_field_is_needed_and_typed),
      cmocka_unit_test(test_wrong_values),
      cmocka_unit_test(test_other_documents),
      cmocka_unit_test(test_unknown_fields_are_left_alone),
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_verdict_statement),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
