/* The dump job against a real server: what it stores is complete, signed, in order, and says what it left out. */
#include "tests/unit/agent/jobs/dump_fixture.h"

static const char schema_sql[] =
    "CREATE ROLE \"Odd Role\" LOGIN PASSWORD 'hidden-in-roles';"
    "CREATE SCHEMA \"odd.schema\"; CREATE SCHEMA odd;"
    "CREATE TABLE plain (id serial PRIMARY KEY, t text);"
    "INSERT INTO plain (t) SELECT repeat(md5(g::text), 10) FROM generate_series(1, 20000) g;"
    "CREATE TABLE \"odd.schema\".\"t\" (a int); INSERT INTO \"odd.schema\".t VALUES (1);"
    "CREATE TABLE odd.\"schema.t\" (a int); INSERT INTO odd.\"schema.t\" VALUES (1), (2);"
    "CREATE TABLE \"line\nbreak\" (\"a\nb\" text); INSERT INTO \"line\nbreak\" VALUES ('x\ny'), ('\\.');"
    "CREATE TABLE \"quo\"\"te'\\\" (a int); INSERT INTO \"quo\"\"te'\\\" VALUES (NULL);"
    "CREATE TABLE \"\303\274n\303\257\" (a int); INSERT INTO \"\303\274n\303\257\" SELECT generate_series(1, 5);"
    "CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;"
    "CREATE TABLE only_generated (a int GENERATED ALWAYS AS (1) STORED); INSERT INTO only_generated DEFAULT VALUES;"
    "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);"
    "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);"
    "CREATE TABLE parts (a int) PARTITION BY RANGE (a);"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);"
    "INSERT INTO parts SELECT generate_series(0, 19);"
    "CREATE UNLOGGED TABLE quick (a int); INSERT INTO quick VALUES (1);"
    "CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM plain;"
    "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
    "CREATE FOREIGN TABLE far (a int) SERVER files OPTIONS (filename '/nonexistent');"
    "SELECT lo_from_bytea(4711, 'one'), lo_from_bytea(4712, ''), lo_from_bytea(4713, decode(repeat('00ff', 9000), "
    "'hex'));";

/* An extension's tables: pg_dump dumps the rows of configuration tables alone, through their filter. */
static const char extension_sql[] =
    "CREATE EXTENSION hstore; SET allow_system_table_mods = on;"
    "CREATE TABLE settings (a int, builtin bool); INSERT INTO settings VALUES (1, true), (2, false), (3, false);"
    "CREATE TABLE more_settings () INHERITS (settings); INSERT INTO more_settings VALUES (4, false);"
    "CREATE TABLE internal (a int); INSERT INTO internal VALUES (1);"
    "CREATE TABLE internal_empty (a int);"
    "ALTER EXTENSION hstore ADD TABLE settings; ALTER EXTENSION hstore ADD TABLE internal;"
    "ALTER EXTENSION hstore ADD TABLE internal_empty;"
    "UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid],"
    " extcondition = ARRAY['WHERE NOT builtin'] WHERE extname = 'hstore';";

static int setup(void **state) {
  fixture_setup(state);
  sql(*state, "postgres", "CREATE DATABASE \"shop = odd'name\"");
  sql(*state, "postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1");
  sql(*state, "postgres", "CREATE DATABASE empty");
  sql(*state, "shop = odd'name", schema_sql);
  sql(*state, "shop = odd'name", extension_sql);
  return 0;
}

static Repository *open_repository(const Fixture *fixture) {
  Repository *repository = NULL;
  Error err;
  assert_int_equal(directory_repository_open(fixture->repository_directory, &repository, &err), STATUS_OK);
  return repository;
}

static void read_manifest(const Fixture *fixture, Manifest *manifest, const char *expected_sha256) {
  Repository *repository = open_repository(fixture);
  Error err;
  json_t *json = NULL;
  char sha256[SHA256_HEX_SIZE];
  CLEANUP_FREE char *key = manifest_key(fixture->job.prefix);
  if (document_get(repository, key, "manifest", fixture->public_key, fixture->key, &json, sha256, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_string_equal(sha256, expected_sha256);
  if (manifest_from_json(json, manifest, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  json_decref(json);
  repository_close(repository);
}

/* Reads one object back, and checks it against what the manifest says of it. */
static void read_segment(const Fixture *fixture, Repository *repository, const char *key,
                         const ManifestSegment *segment, Buffer *plain) {
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  char hex[SHA256_HEX_SIZE];
  assert_int_equal(repository_get(repository, key, 1 << 24, &object, &err), STATUS_OK);
  assert_int_equal(object.size, segment->size);
  sha256_hex(object.data, object.size, hex);
  assert_string_equal(hex, segment->sha256);
  assert_int_equal(segment_decode(fixture->key, object.data, object.size, 1 << 24, plain, &err), STATUS_OK);
  assert_int_equal(plain->size, segment->plain_size);
  sha256_hex(plain->data, plain->size, hex);
  assert_string_equal(hex, segment->plain_sha256);
}

/* The archive as the segments concatenate to, in the fixture's directory. */
static char *read_archive(const Fixture *fixture, const Manifest *manifest) {
  Repository *repository = open_repository(fixture);
  CLEANUP(buffer_release) Buffer archive = {0}, plain = {0};
  for (size_t i = 0; i < manifest->segment_count; i++) {
    CLEANUP_FREE char *key = manifest_segment_key(fixture->job.prefix, i);
    assert_int_equal(manifest->segments[i].offset, archive.size);
    read_segment(fixture, repository, key, &manifest->segments[i], &plain);
    buffer_append(&archive, plain.data, plain.size);
  }
  repository_close(repository);
  assert_int_equal(archive.size, manifest->fingerprint.archive_size);
  char *path = memory_format("%s/archive", fixture->directory);
  Error err;
  assert_int_equal(file_write_atomic(path, 0600, archive.data, archive.size, &err), STATUS_OK);
  return path;
}

static const FingerprintTable *find_table(const Manifest *manifest, const char *schema, const char *name) {
  for (size_t i = 0; i < manifest->fingerprint.table_count; i++) {
    const FingerprintTable *table = &manifest->fingerprint.tables[i];
    if (strcmp(table->schema, schema) == 0 && strcmp(table->name, name) == 0)
      return table;
  }
  return NULL;
}

static void expect_rows(const Manifest *manifest, const char *schema, const char *name, int64_t rows) {
  const FingerprintTable *table = find_table(manifest, schema, name);
  if (!table)
    fail_msg("no table %s.%s", schema, name);
  assert_int_equal(table->rows, rows);
}

static bool has_omission(const Manifest *manifest, const char *kind, const char *object) {
  for (size_t i = 0; i < manifest->omission_count; i++)
    if (strcmp(manifest->omissions[i].kind, kind) == 0 && strcmp(manifest->omissions[i].object, object) == 0)
      return true;
  return false;
}

/* pg_dump's bytes are read once there is a snapshot, and stored once they are read. */
static void assert_stages(const Pgseal__JobResult *result) {
  static const char *const names[] = {"preflight", "snapshot", "dumping", "storing"};
  json_t *took = json_loads(result->stages_json, 0, NULL), *begun = json_loads(result->stages_begun_json, 0, NULL);
  double end = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    assert_non_null(json_object_get(begun, names[i]));
    double at = json_number_value(json_object_get(begun, names[i]));
    assert_true(at >= end - 0.001);
    end = at + json_number_value(json_object_get(took, names[i]));
  }
  assert_true(end > 0);
  json_decref(took);
  json_decref(begun);
}

static void dump_ok(Fixture *fixture, const char *more, Pgseal__JobResult **result, Manifest *manifest) {
  Error err = {0};
  if (run_dump(fixture, more, result, &err) != STATUS_OK)
    fail_msg("%s: %s", error_code(err.status), err.message);
  assert_non_null((*result)->dump);
  assert_stages(*result);
  read_manifest(fixture, manifest, (*result)->dump->manifest_sha256);
  assert_int_equal((*result)->dump->segments, manifest->segment_count);
  assert_int_equal(fixture->channel.segments, manifest->segment_count);
}

static void check_rows(const Manifest *manifest) {
  expect_rows(manifest, "public", "plain", 20000);
  expect_rows(manifest, "odd.schema", "t", 1);
  expect_rows(manifest, "odd", "schema.t", 2);
  expect_rows(manifest, "public", "line\nbreak", 2);
  expect_rows(manifest, "public", "quo\"te'\\", 1);
  expect_rows(manifest, "public", "\303\274n\303\257", 5);
  expect_rows(manifest, "public", "no_columns", 2);
  expect_rows(manifest, "public", "only_generated", 1);
  expect_rows(manifest, "public", "parent", 1);
  expect_rows(manifest, "public", "child", 2);
  expect_rows(manifest, "public", "parts_1", 10);
  expect_rows(manifest, "public", "parts_2", 10);
  expect_rows(manifest, "public", "quick", 1);
  expect_rows(manifest, "public", "more_settings", 1);
  assert_non_null(find_table(manifest, "public", "settings"));
  assert_null(find_table(manifest, "public", "internal"));
  assert_null(find_table(manifest, "public", "parts"));
  assert_int_equal(manifest->fingerprint.blob_count, 3);
}

/* What the coordinator is told of tables and of the source is what the manifest says. */
static void check_told(const Manifest *manifest, const Pgseal__DumpResult *dump) {
  const Pgseal__TableList *list = dump->table_list;
  int64_t last = INT64_MAX;
  assert_int_equal(list->n_tables, manifest->fingerprint.table_count);
  assert_int_equal(list->more, 0);
  for (size_t i = 0; i < list->n_tables; i++) {
    const Pgseal__TableFacts *told = list->tables[i];
    const FingerprintTable *table = find_table(manifest, told->schema, told->name);
    assert_non_null(table);
    assert_true(told->rows == table->rows && told->bytes == table->bytes && told->bytes <= last);
    last = told->bytes;
  }
  assert_string_equal(list->tables[0]->name, "plain");
  assert_string_equal(dump->source->encoding, "UTF8");
  assert_string_equal(dump->source->collation_provider, "libc");
  assert_true(manifest->collation[0]);
  assert_string_equal(dump->source->collation, manifest->collation);
  assert_string_equal(dump->source->collation_actual, manifest->collation_actual);
}

static void check_omissions(const Manifest *manifest) {
  assert_true(has_omission(manifest, "foreign_table_data", "public.far"));
  assert_true(has_omission(manifest, "materialized_view_data", "public.summary"));
  assert_true(has_omission(manifest, "extension_table_data", "public.internal"));
  assert_false(has_omission(manifest, "extension_table_data", "public.internal_empty"));
  assert_false(has_omission(manifest, "extension_table_data", "public.settings"));
  assert_true(has_omission(manifest, "role_passwords", ""));
}

static void check_roles(const Fixture *fixture, const Manifest *manifest) {
  Repository *repository = open_repository(fixture);
  CLEANUP(buffer_release) Buffer roles = {0};
  CLEANUP_FREE char *key = manifest_roles_key(fixture->job.prefix);
  assert_true(manifest->has_roles);
  read_segment(fixture, repository, key, &manifest->roles, &roles);
  assert_non_null(memmem(roles.data, roles.size, "CREATE ROLE \"Odd Role\"", 22));
  assert_null(memmem(roles.data, roles.size, "PASSWORD", 8));
  repository_close(repository);
}

static void test_whole(void **state) {
  Fixture *fixture = *state;
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  dump_ok(fixture, "user=postgres dbname='shop = odd\\'name'", &result, &manifest);
  assert_string_equal(manifest.database, "shop");
  assert_string_equal(manifest.database_name, "shop = odd'name");
  assert_string_equal(manifest.bootstrap_role, "postgres");
  assert_int_equal(manifest.server_major, 15);
  assert_true(strlen(manifest.lsn) > 2 && strlen(manifest.snapshot) > 5);
  assert_true(manifest.segment_count > 5);
  check_rows(&manifest);
  check_omissions(&manifest);
  check_roles(fixture, &manifest);
  assert_true(fixture->channel.roles_before_segments);
  assert_string_equal(fixture->channel.bootstrap_role, "postgres");
  assert_int_equal(fixture->channel.server_major, 15);

  CLEANUP_FREE char *archive = read_archive(fixture, &manifest);
  const char *list[] = {TOOLS "/pg_restore", "-l", archive, NULL};
  const char *everything[] = {TOOLS "/pg_restore", "-f", "/dev/null", archive, NULL};
  run_tool(list, NULL);
  run_tool(everything, NULL);
  assert_int_equal(result->dump->rows, manifest.fingerprint.rows);
  assert_int_equal(result->dump->size_archive, manifest.fingerprint.archive_size);
  check_told(&manifest, result->dump);
  pgseal__job_result__free_unpacked(result, NULL);
}

/* Same database, same content: same fingerprint, however many connections count. */
static void test_repeatable(void **state) {
  Fixture *fixture = *state;
  Pgseal__JobResult *first = NULL, *second = NULL;
  CLEANUP(manifest_release) Manifest one = {0}, two = {0};
  dump_ok(fixture, "user=postgres dbname='shop = odd\\'name'", &first, &one);
  dump_ok(fixture, "user=postgres dbname='shop = odd\\'name' options='-c datestyle=german'", &second, &two);
  assert_string_equal(first->dump->fingerprint_sha256, second->dump->fingerprint_sha256);
  pgseal__job_result__free_unpacked(first, NULL);
  pgseal__job_result__free_unpacked(second, NULL);
}

static void test_empty_without_roles(void **state) {
  Fixture *fixture = *state;
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  fixture->database.roles = false;
  dump_ok(fixture, "user=postgres dbname=empty", &result, &manifest);
  fixture->database.roles = true;
  assert_false(manifest.has_roles);
  assert_true(has_omission(&manifest, "roles", ""));
  assert_int_equal(manifest.fingerprint.table_count, 0);
  pgseal__job_result__free_unpacked(result, NULL);
}

/* An ordinary role with a password: the tools get it, and nothing that is left behind holds it. */
static void test_unprivileged(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres", "CREATE ROLE locked LOGIN PASSWORD 'sesame:\\open'; GRANT pg_read_all_data TO locked");
  sql(fixture, "empty", "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  dump_ok(fixture, "user=locked dbname=empty password='sesame:\\\\open'", &result, &manifest);
  expect_rows(&manifest, "public", "t", 1);
  sql(fixture, "empty", "DROP TABLE t");
  pgseal__job_result__free_unpacked(result, NULL);
}

/* Of the tables as the coordinator is told them. */
static void expect_told(const Pgseal__TableList *list, const char *schema, const char *name, int64_t rows) {
  for (size_t i = 0; i < list->n_tables; i++)
    if (strcmp(list->tables[i]->schema, schema) == 0 && strcmp(list->tables[i]->name, name) == 0) {
      assert_int_equal(list->tables[i]->rows, rows);
      return;
    }
  fail_msg("%s.%s is not told", schema, name);
}

/* Names come from catalog and archive in the database's own encoding, and so match; they are told in UTF-8. Those whose
 * bytes would be UTF-8, of other letters, are no exception. */
static void test_latin1(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "latin",
      "CREATE TABLE U&\"caf\\00E9\" (U&\"\\00E9\" text); INSERT INTO U&\"caf\\00E9\" VALUES (U&'\\00E8')");
  sql(fixture, "latin", "CREATE TABLE plain (a text); INSERT INTO plain VALUES ('\303\250')");
  sql(fixture, "latin",
      "CREATE SCHEMA U&\"\\00C3\\00A9\"; CREATE TABLE U&\"\\00C3\\00A9\".U&\"\\\\x\\00F6\" AS SELECT 1 a;"
      "CREATE TABLE U&\"\\00C3\\00A9\".U&\"\\00E4\"\"\n\" AS SELECT 1 a");
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  dump_ok(fixture, "user=postgres dbname=latin", &result, &manifest);
  expect_rows(&manifest, "public", "plain", 1);
  expect_rows(&manifest, "public", "caf\351", 1);
  assert_int_equal(result->dump->rows, 4);
  assert_string_equal(manifest.encoding, "LATIN1");
  const Pgseal__TableList *told = result->dump->table_list;
  assert_int_equal(told->n_tables, 4);
  expect_told(told, "public", "plain", 1);
  expect_told(told, "public", "caf\303\251", 1);
  expect_told(told, "\303\203\302\251", "\\x5c78c3b6", 1); /* it begins with \x */
  expect_told(told, "\303\203\302\251", "\303\244\"\n", 1);
  pgseal__job_result__free_unpacked(result, NULL);
}

/* What has no letter in UTF-8 is told as its bytes; the others are none the worse for it. */
static void test_without_utf8(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres", "CREATE DATABASE win TEMPLATE template0 ENCODING WIN1252 LC_COLLATE 'C' LC_CTYPE 'C'");
  sql(fixture, "win", "CREATE TABLE \"caf\351\" AS SELECT 1 a; CREATE TABLE \"no\201\" AS SELECT 1 a");
  sql(fixture, "win",
      "CREATE TABLE \"\200\" AS SELECT 1 a; CREATE SCHEMA s\201; CREATE TABLE s\201.t\353 AS SELECT 1 a");
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  dump_ok(fixture, "user=postgres dbname=win", &result, &manifest);
  const Pgseal__TableList *told = result->dump->table_list;
  assert_int_equal(told->n_tables, 4);
  expect_told(told, "public", "caf\303\251", 1);
  expect_told(told, "public", "\\x6e6f81", 1);
  expect_told(told, "public", "\342\202\254", 1); /* the euro sign */
  expect_told(told, "\\x7381", "t\303\253", 1);
  pgseal__job_result__free_unpacked(result, NULL);
}

/* An index that lost half of its entries (here: one that is no longer said to be partial) is the source's trouble, and
 * worth a warning; the dump has all rows. */
static void test_corrupt_index(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "empty",
      "CREATE TABLE wide (a int, t text); INSERT INTO wide SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g;"
      "CREATE INDEX half ON wide (a) WHERE a > 10000; SET allow_system_table_mods = on;"
      "UPDATE pg_index SET indpred = NULL WHERE indexrelid = 'half'::regclass");
  sql(fixture, "empty", "VACUUM ANALYZE wide");
  Pgseal__JobResult *result = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  dump_ok(fixture, "user=postgres dbname=empty", &result, &manifest);
  expect_rows(&manifest, "public", "wide", 20000);
  assert_true(has_omission(&manifest, "warning", "public.wide"));
  sql(fixture, "empty", "DROP TABLE wide");
  pgseal__job_result__free_unpacked(result, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole),
      cmocka_unit_test(test_repeatable),
      cmocka_unit_test(test_empty_without_roles),
      cmocka_unit_test(test_unprivileged),
      cmocka_unit_test(test_latin1),
      cmocka_unit_test(test_without_utf8),
      cmocka_unit_test(test_corrupt_index),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
