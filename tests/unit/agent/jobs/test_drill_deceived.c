/* What a drill has to see through: things that are well-formed, signed, or end well, and are wrong all the same. */
#include "tests/unit/agent/jobs/drill_fixture.h"

static int setup_all(void **state) {
  Source *source = memory_alloc(sizeof *source);
  source_open(source, "postgres");
  *state = source;
  PGconn *session = source_connect(source, "postgres");
  session_run(session, "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 100) g");
  session_run(session, "CREATE DATABASE meddled");
  PQfinish(session);
  session = source_connect(source, "meddled");
  /* A restore puts inherited columns first, so that `child` is read again; and restoring `writer` writes into it. */
  session_run(session,
              "CREATE TABLE parent (a int); CREATE TABLE child (b int, a int); ALTER TABLE child INHERIT parent");
  session_run(session, "INSERT INTO child VALUES (1, 2)");
  session_run(session, "CREATE FUNCTION meddle(i int) RETURNS bool LANGUAGE plpgsql AS "
                       "$$BEGIN UPDATE public.child SET b = b + i - 424241 - 1; RETURN true; END$$");
  session_run(session, "CREATE TABLE writer (i int CHECK (meddle(i))); INSERT INTO writer VALUES (424242)");
  session_run(session, "UPDATE child SET b = 1");
  PQfinish(session);
  return 0;
}

static int teardown_all(void **state) {
  source_close(*state);
  free(*state);
  return 0;
}

static void failed(Drill *drill, Status expected) {
  drill_run(drill);
  assert_outcome(drill, expected);
  assert_non_null(drill->result.drill);
  assert_string_equal("failed", drill->result.drill->verdict);
}

/* Signed by the right agent, announced by the coordinator, and of another checkpoint. */
static void manifest_of_another_checkpoint(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.job.checkpoint_id = (char *)"01arz3ndektsv4rrffq69g5fav";
  failed(&drill, ERR_MANIFEST_INVALID);
  drill_release(&drill);
  drill_init(source, &checkpoint, &drill);
  drill.job.database = (char *)"another";
  failed(&drill, ERR_MANIFEST_INVALID);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

/* Other roles, properly encrypted for everybody who is to read them. */
static void roles_put_in_their_place(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  ManifestSegment ignored = {0};
  Recipients *recipients = NULL;
  const char *paths[] = {source->drill_certificate};
  static const char roles[] = "CREATE ROLE intruder SUPERUSER;\n";
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  Repository *repository = source_repository(source);
  char *key = manifest_roles_key(checkpoint.prefix);
  assert_ok(recipients_load(paths, 1, &recipients, err));
  assert_ok(repository_remove(repository, key, err));
  checkpoint_put(repository, recipients, key, (const uint8_t *)roles, sizeof roles - 1, &ignored);
  drill_init(source, &checkpoint, &drill);
  failed(&drill, ERR_SEGMENT_CORRUPT);
  assert_string_equal(key, drill.failure.object);
  drill_release(&drill);
  recipients_free(recipients);
  repository_close(repository);
  free(key);
  checkpoint_release(&checkpoint);
}

/* Columns in another order are forgiven where the rows are the same, and nowhere else. */
static void reordered_and_altered(void **state) {
  const Source *source = *state;
  static const struct {
    const char *with;
    Status expected;
  } rows[] = {{NULL, STATUS_OK}, {"424243", ERR_ROUND_TRIP_DIFFERS}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    Checkpoint checkpoint = {0};
    Drill drill;
    checkpoint_make(
        source,
        &(CheckpointOptions){.database = "meddled", .replace = rows[i].with ? "424242" : NULL, .with = rows[i].with},
        &checkpoint);
    drill_init(source, &checkpoint, &drill);
    if (rows[i].expected != STATUS_OK) {
      failed(&drill, rows[i].expected);
      assert_string_equal("TABLE DATA public.child", drill.failure.object);
    } else {
      drill_run(&drill);
      assert_outcome(&drill, STATUS_OK);
    }
    drill_release(&drill);
    checkpoint_release(&checkpoint);
  }
}

/* A pg_dump of the copy that writes everything and then ends badly has not dumped it. */
static void dump_that_ends_badly(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  char *tools = source_path(source, "tools"), *script = source_path(source, "tools/pg_dump");
  char *command = memory_format("ln -s %s/* %s/ && rm %s", source->tools_dir, tools, script);
  const char *shell[] = {"/bin/sh", "-c", command, NULL};
  Buffer said = {0};
  char *text =
      memory_format("#!/bin/sh\n%s/pg_dump \"$@\" || exit 1\n[ \"$1\" = --version ] || exit 3\n", source->tools_dir);
  assert_int_equal(0, mkdir(tools, 0755));
  assert_ok(process_run(&(ProcessOptions){.argv = shell}, FIXTURE_LIMIT, &said, err));
  assert_ok(file_write_atomic(script, 0755, text, strlen(text), err));
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  PostgresBinDir dir = {source->major, tools};
  drill.config.bin_dirs = &dir;
  drill.config.bin_dir_count = 1;
  drill_run(&drill);
  assert_outcome(&drill, ERR_TOOL);
  assert_null(drill.result.drill);
  drill_release(&drill);
  free(tools);
  free(script);
  free(command);
  buffer_release(&said);
  free(text);
  checkpoint_release(&checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(manifest_of_another_checkpoint),
      cmocka_unit_test(roles_put_in_their_place),
      cmocka_unit_test(reordered_and_altered),
      cmocka_unit_test(dump_that_ends_badly),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
