/* Whole drills of real checkpoints, on the local engine. */
#include "tests/unit/agent/jobs/drill_fixture.h"

#include <dirent.h>

static const char *const cluster_sql[] = {
    "CREATE ROLE \"odd \"\"owner\" LOGIN",
    "CREATE ROLE reader",
    "GRANT reader TO \"odd \"\"owner\"",
    "COMMENT ON ROLE reader IS E'two lines;\nCREATE ROLE x; -- \\\\ it''s'",
    "ALTER ROLE reader SET search_path = 'a; b', \"c\"",
    "SET allow_in_place_tablespaces = on",
    "CREATE TABLESPACE \"fast disk\" LOCATION ''",
    "CREATE DATABASE \"prod = \"\"db\" TEMPLATE template0 ENCODING 'LATIN1' TABLESPACE \"fast disk\" CONNECTION LIMIT "
    "3",
    "ALTER DATABASE \"prod = \"\"db\" SET default_transaction_read_only = on",
    /* what would lock the drill out, were it taken over */
    "ALTER ROLE \"the \"\"boss\" SET transform_null_equals = on",
    "ALTER ROLE \"the \"\"boss\" CONNECTION LIMIT 0",
};

static const char rich_schema[] =
    "CREATE EXTENSION hstore; CREATE SCHEMA \"Odd schema\" AUTHORIZATION \"odd \"\"owner\";"
    "CREATE TYPE mood AS ENUM ('sad', 'it''s');"
    "CREATE TABLE \"Odd schema\".\"t \"\"1\" (id bigserial PRIMARY KEY, \"a b\" text, m mood, h hstore, f float8, n "
    "numeric,"
    "  g int GENERATED ALWAYS AS (length(\"a b\")) STORED, b bytea, ts timestamptz, i interval) TABLESPACE \"fast "
    "disk\";"
    "ALTER TABLE \"Odd schema\".\"t \"\"1\" OWNER TO \"odd \"\"owner\";"
    "INSERT INTO \"Odd schema\".\"t \"\"1\" (\"a b\", m, h, f, n, b, ts, i) SELECT E'tab\\t nl\\n \\\\ ' || g, 'sad', "
    "'a=>1',"
    "  random(), g / 7.0, decode(md5(g::text), 'hex'), now() - g * interval '1 hour', g * interval '1 month 3 s'"
    "  FROM generate_series(1, 3000) g;"
    "CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;"
    "CREATE TABLE empty (a int); GRANT SELECT (a) ON empty TO reader;"
    "CREATE TABLE parent (a int, b text); CREATE TABLE child (z int, b text, a int); ALTER TABLE child INHERIT parent;"
    "ALTER TABLE parent ADD c int; INSERT INTO child SELECT 1, 'b', g, 3 FROM generate_series(1, 50) g;"
    "CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k);"
    "CREATE TABLE parts_1 (v text, k int); ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (10);"
    "INSERT INTO parts SELECT g % 10, 'x' || g FROM generate_series(1, 100) g;"
    "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM parts; CREATE VIEW v AS SELECT * FROM parent;"
    "CREATE INDEX ON parts (v); CREATE TABLE reff (id bigint REFERENCES \"Odd schema\".\"t \"\"1\");"
    "INSERT INTO reff SELECT id FROM \"Odd schema\".\"t \"\"1\" LIMIT 20;"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TRIGGER tr BEFORE UPDATE ON empty FOR EACH ROW EXECUTE FUNCTION f();"
    "ALTER TABLE reff ENABLE ROW LEVEL SECURITY; ALTER TABLE reff FORCE ROW LEVEL SECURITY;"
    "CREATE POLICY nobody ON reff USING (false);"
    "SELECT lo_from_bytea(4242, decode(repeat('ab', 5000), 'hex')); COMMENT ON LARGE OBJECT 4242 IS 'big';"
    "CREATE SEQUENCE s START 7; SELECT nextval('s'); CREATE TABLE marks (v int); INSERT INTO marks VALUES (1000001);"
    "CREATE PUBLICATION p FOR TABLE empty; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;";

static const char odd_database[] = "prod = \"db";

static int setup_all(void **state) {
  Source *source = memory_alloc(sizeof *source);
  source_open(source, "the \"boss");
  *state = source;
  PGconn *session = source_connect(source, "postgres");
  for (size_t i = 0; i < ARRAY_SIZE(cluster_sql); i++)
    session_run(session, cluster_sql[i]);
  PQfinish(session);
  session = source_connect(source, odd_database);
  session_run(session, "SET default_transaction_read_only = off");
  session_run(session, rich_schema);
  PQfinish(session);
  return 0;
}

static int teardown_all(void **state) {
  source_close(*state);
  free(*state);
  return 0;
}

static size_t files_in(const char *path) {
  size_t count = 0;
  DIR *dir = opendir(path);
  for (struct dirent *e; dir && (e = readdir(dir));)
    count += e->d_name[0] != '.';
  if (dir)
    closedir(dir);
  return count;
}

/* The proof is there, signed, says so, and the verdict's signature is over it. */
static void assert_proof(const Source *source, const Drill *drill, const char *verdict) {
  const Pgseal__DrillResult *result = drill->result.drill;
  assert_non_null(result);
  assert_string_equal(verdict, result->verdict);
  Repository *repository = source_repository(source);
  DecryptionKey *key = NULL;
  json_t *json = NULL;
  Proof proof = {0};
  char sha256_text[SHA256_HEX_SIZE];
  assert_ok(decryption_key_load(source->drill_key, source->drill_certificate, &key, err));
  assert_ok(document_get(repository, result->proof_key, "proof", source->public_key, key, &json, sha256_text, err));
  assert_ok(proof_from_json(json, &proof, err));
  assert_string_equal(sha256_text, result->proof_sha256);
  assert_string_equal(outcome_name(proof.outcome), verdict);
  assert_string_equal(proof.manifest_sha256, result->manifest_sha256);
  char *statement =
      verdict_statement(proof.checkpoint_id, proof.drill_id, proof.manifest_sha256, sha256_text, proof.outcome);
  assert_int_equal(SIGNATURE_SIZE, result->verdict_signature.len);
  assert_true(
      signing_verify(source->public_key, "verdict", statement, strlen(statement), result->verdict_signature.data));
  free(statement);
  proof_release(&proof);
  json_decref(json);
  decryption_key_free(key);
  repository_close(repository);
}

/* One checkpoint, one drill. */
/* One after the other, as they were walked; all of them, if it was proven. */
static void assert_stages(const Pgseal__JobResult *result, bool all) {
  static const char *const names[] = {"prepare", "roles", "restore", "index", "assert", "redump", "compare"};
  json_t *took = json_loads(result->stages_json, 0, NULL), *begun = json_loads(result->stages_begun_json, 0, NULL);
  double end = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const json_t *at = json_object_get(begun, names[i]);
    if (all)
      assert_non_null(at);
    if (!at)
      continue;
    assert_true(json_number_value(at) >= end - 0.001);
    end = json_number_value(at) + json_number_value(json_object_get(took, names[i]));
  }
  assert_true(end > 0);
  json_decref(took);
  json_decref(begun);
}

static void drill_once(const Source *source, const CheckpointOptions *options, Status expected, const char *object) {
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, options, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill_run(&drill);
  assert_outcome(&drill, expected);
  if (object && !strstr(drill.failure.object, object))
    fail_msg("object %s instead of %s", drill.failure.object, object);
  Outcome outcome = error_outcome(expected);
  if (expected == STATUS_OK || outcome == OUTCOME_FAILED)
    assert_proof(source, &drill, expected == STATUS_OK ? "proven" : "failed");
  else
    assert_null(drill.result.drill);
  assert_int_equal(0, files_in(checkpoint.scratch));
  assert_non_null(strstr(drill.result.stages_json, "\"restore\""));
  assert_stages(&drill.result, outcome == OUTCOME_PROVEN);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

static void odd_database_is_proven(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  Pgseal__Assertion good;
  pgseal__assertion__init(&good);
  good.name = (char *)"marks";
  good.sql = (char *)"SELECT count(*) = 1 FROM marks";
  Pgseal__Assertion *assertions[] = {&good};
  checkpoint_make(source, &(CheckpointOptions){.database = odd_database}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.spec.assertions = assertions;
  drill.spec.n_assertions = 1;
  drill_run(&drill);
  assert_outcome(&drill, STATUS_OK);
  assert_proof(source, &drill, "proven");
  assert_int_equal(checkpoint.manifest.fingerprint.rows, drill.result.drill->rows);
  assert_int_equal(checkpoint.manifest.fingerprint.table_count, drill.result.drill->tables);
  assert_string_equal("local", drill.result.drill->engine);
  assert_string_equal("[]", drill.result.drill->differences_json);
  assert_true(checkpoint.manifest.segment_count > 3);
  assert_int_equal(0, files_in(checkpoint.scratch));
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

static void database_named_postgres_is_proven(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = "postgres"}, STATUS_OK, NULL);
}

static void database_named_template1_is_proven(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = "template1"}, STATUS_OK, NULL);
}

static void changed_row_is_found(void **state) {
  /* what is restored as 1, and not as what was dumped */
  drill_once(*state, &(CheckpointOptions){.database = odd_database, .replace = "1000001\n", .with = "0000001\n"},
             ERR_ROUND_TRIP_DIFFERS, "marks");
}

static void lost_rows_are_found(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = odd_database, .replace = "1000001\n", .with = "100000x\n"},
             ERR_RESTORE_DATA_LOST, "TABLE DATA public.marks");
}

static void missing_role_is_named(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = odd_database, .no_roles = true}, ERR_ROLE_MISSING, NULL);
}

static void broken_roles_are_found(void **state) {
  drill_once(
      *state,
      &(CheckpointOptions){.database = odd_database, .roles_replace = "GRANT reader", .roles_with = "GRANT readex"},
      ERR_ROLE_MISSING, "GRANT readex");
}

static void missing_extension_is_no_failure(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = odd_database, .replace = "hstore", .with = "hstorf"},
             ERR_EXTENSION_ABSENT, "hstorf");
}

static void missing_locale_is_no_failure(void **state) {
  drill_once(*state, &(CheckpointOptions){.database = odd_database, .replace = "LOCALE = 'C'", .with = "LOCALE = 'Q'"},
             ERR_LOCALE_ABSENT, "DATABASE");
}

static void flipped_bit_is_found(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = odd_database}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  char *key = manifest_segment_key(checkpoint.prefix, 1);
  char *path = memory_format("%s/%s", drill.config.repository_directory, key);
  assert_int_equal(0, chmod(path, 0600));
  int fd = open(path, O_RDWR);
  uint8_t byte;
  assert_int_equal(1, pread(fd, &byte, 1, 9000));
  byte ^= 4;
  assert_int_equal(1, pwrite(fd, &byte, 1, 9000));
  close(fd);
  drill_run(&drill);
  assert_outcome(&drill, ERR_SEGMENT_CORRUPT);
  assert_string_equal(key, drill.failure.object);
  assert_proof(source, &drill, "failed");
  assert_int_equal(0, unlink(path));
  drill_release(&drill);
  drill_init(source, &checkpoint, &drill);
  drill_run(&drill);
  assert_outcome(&drill, ERR_SEGMENT_MISSING);
  assert_proof(source, &drill, "failed");
  drill_release(&drill);
  free(key);
  free(path);
  checkpoint_release(&checkpoint);
}

/* Segments of the right size and key, but of another checkpoint. */
static void swapped_segments_are_found(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = odd_database}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  char *paths[3];
  for (size_t i = 0; i < 2; i++) {
    char *key = manifest_segment_key(checkpoint.prefix, i + 1);
    paths[i] = memory_format("%s/%s", drill.config.repository_directory, key);
    free(key);
  }
  paths[2] = memory_format("%s.x", paths[0]);
  assert_int_equal(0, rename(paths[0], paths[2]) | rename(paths[1], paths[0]) | rename(paths[2], paths[1]));
  drill_run(&drill);
  assert_outcome(&drill, ERR_SEGMENT_CORRUPT);
  assert_proof(source, &drill, "failed");
  drill_release(&drill);
  for (size_t i = 0; i < 3; i++)
    free(paths[i]);
  checkpoint_release(&checkpoint);
}

static void foreign_key_condemns_nothing(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.config.decryption_key = source->foreign_key;
  drill.config.decryption_certificate = source->foreign_certificate;
  drill_run(&drill);
  assert_outcome(&drill, ERR_KEY_MISMATCH);
  assert_null(drill.result.drill);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

/* A manifest by another agent, or another than the coordinator was told of. */
static void foreign_manifest_is_refused(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  uint8_t other_key[PUBLIC_KEY_SIZE] = {1};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.spec.dump_public_key.data = other_key;
  drill_run(&drill);
  assert_outcome(&drill, ERR_MANIFEST_INVALID);
  assert_proof(source, &drill, "failed");
  drill_release(&drill);
  drill_init(source, &checkpoint, &drill);
  char other_sha256[SHA256_HEX_SIZE];
  memset(other_sha256, 'a', sizeof other_sha256 - 1);
  other_sha256[SHA256_HEX_SIZE - 1] = '\0';
  drill.spec.manifest_sha256 = other_sha256;
  drill_run(&drill);
  assert_outcome(&drill, ERR_MANIFEST_INVALID);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

/* The agent that dumped signed a fingerprint that is not of what it stored: whatever the copy is like, it proves
 * nothing. */
static void other_fingerprint_is_refused(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  PGconn *session = source_connect(source, "postgres");
  session_run(session, "CREATE TABLE IF NOT EXISTS fingerprinted AS SELECT 1 AS a");
  PQfinish(session);
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres", .other_fingerprint = true}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill_run(&drill);
  assert_outcome(&drill, ERR_MANIFEST_INVALID);
  assert_proof(source, &drill, "failed");
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

static void assertions_decide(void **state) {
  static const struct {
    const char *sql;
    Status expected;
  } cases[] = {
      {"SELECT count(*) = 2 FROM pg_class", ERR_ASSERTION_FAILED},
      {"SELECT NULL::bool", ERR_ASSERTION_FAILED},
      {"SELECT true; COMMIT; DROP TABLE x", ERR_ASSERTION_ERROR},
      {"SELECT true FROM generate_series(1, 2)", ERR_ASSERTION_ERROR},
      {"SELECT nonsense", ERR_ASSERTION_ERROR},
      {"SELECT pg_sleep(0) IS NOT NULL", STATUS_OK},
  };
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Drill drill;
    Pgseal__Assertion assertion;
    pgseal__assertion__init(&assertion);
    assertion.name = (char *)"owner's";
    assertion.sql = (char *)cases[i].sql;
    Pgseal__Assertion *list[] = {&assertion};
    drill_init(source, &checkpoint, &drill);
    drill.spec.assertions = list;
    drill.spec.n_assertions = 1;
    drill_run(&drill);
    assert_outcome(&drill, cases[i].expected);
    drill_release(&drill);
  }
  checkpoint_release(&checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(odd_database_is_proven),
      cmocka_unit_test(database_named_postgres_is_proven),
      cmocka_unit_test(database_named_template1_is_proven),
      cmocka_unit_test(changed_row_is_found),
      cmocka_unit_test(lost_rows_are_found),
      cmocka_unit_test(missing_role_is_named),
      cmocka_unit_test(broken_roles_are_found),
      cmocka_unit_test(missing_extension_is_no_failure),
      cmocka_unit_test(missing_locale_is_no_failure),
      cmocka_unit_test(flipped_bit_is_found),
      cmocka_unit_test(swapped_segments_are_found),
      cmocka_unit_test(foreign_key_condemns_nothing),
      cmocka_unit_test(foreign_manifest_is_refused),
      cmocka_unit_test(other_fingerprint_is_refused),
      cmocka_unit_test(assertions_decide),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
