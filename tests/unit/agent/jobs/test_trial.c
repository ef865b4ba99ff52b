/* Trials: canaries in every way of damage, one that survives, and a forward trial; none leaves anything behind. */
#include "tests/unit/agent/jobs/drill_fixture.h"

#include "common/manifest/trial.h"

static int setup_all(void **state) {
  Source *source = memory_alloc(sizeof *source);
  source_open(source, "postgres");
  *state = source;
  PGconn *session = source_connect(source, "postgres");
  session_run(session, "CREATE TABLE parent (id int PRIMARY KEY, name text)");
  session_run(session, "CREATE TABLE child (parent int REFERENCES parent, bulk text)");
  session_run(session, "INSERT INTO parent SELECT g, 'parent ' || g FROM generate_series(1, 100) g");
  session_run(session, "INSERT INTO child SELECT g % 100 + 1, repeat(md5(g::text), 20) FROM generate_series(1, 300) g");
  PQfinish(session);
  return 0;
}

static int teardown_all(void **state) {
  source_close(*state);
  free(*state);
  return 0;
}

static bool count_one(void *user, const char *key, uint64_t size) {
  (void)key, (void)size;
  (*(size_t *)user)++;
  return true;
}

static size_t objects(const Source *source) {
  size_t count = 0;
  Repository *repository = source_repository(source);
  assert_ok(repository_list(repository, "", count_one, &count, err));
  repository_close(repository);
  return count;
}

static void trial_init(const Source *source, const Checkpoint *checkpoint, const char *kind, Drill *drill) {
  drill_init(source, checkpoint, drill);
  drill->job.kind = PGSEAL__JOB_KIND__JOB_KIND_TRIAL;
  drill->spec.kind = (char *)kind;
  drill->spec.server_major = (uint32_t)source->major;
}

static void trial_run(Drill *drill) {
  drill->status = trial_job_run(&drill->context, &drill->result, &drill->failure);
  assert_null(drill->result.drill); /* whatever it is, it is no proof */
}

static void trial_release_drill(Drill *drill) {
  if (drill->result.trial)
    pgseal__trial_result__free_unpacked(drill->result.trial, NULL);
  if (drill->result.report_json != protobuf_c_empty_string)
    free(drill->result.report_json);
  drill_release(drill);
}

static void assert_signed(const Source *source, const Drill *drill, const char *verdict) {
  TrialVerdict known;
  const Pgseal__TrialResult *trial = drill->result.trial;
  assert_non_null(trial);
  assert_string_equal(trial->verdict, verdict);
  assert_true(trial_verdict_from_name(verdict, &known));
  assert_string_equal(trial->manifest_sha256, drill->spec.manifest_sha256);
  char *statement = trial_statement(drill->job.checkpoint_id, drill->spec.drill_id, trial->manifest_sha256,
                                    drill->result.report_json, known);
  assert_int_equal(trial->signature.len, SIGNATURE_SIZE);
  assert_true(signing_verify(source->public_key, TRIAL_PURPOSE, statement, strlen(statement), trial->signature.data));
  assert_false(signing_verify(source->public_key, "verdict", statement, strlen(statement), trial->signature.data));
  free(statement);
}

static void canary(const Source *source, const Checkpoint *checkpoint, TrialDamage damage, uint64_t at,
                   const char *found) {
  Drill drill;
  trial_init(source, checkpoint, "canary", &drill);
  drill.spec.damage = (char *)trial_damage_name(damage);
  drill.spec.damage_at = at;
  trial_run(&drill);
  if (drill.status != STATUS_OK)
    fail_msg("%s at %llu: %s: %s", drill.spec.damage, (unsigned long long)at, error_code(drill.status),
             drill.failure.message);
  assert_signed(source, &drill, "refuted");
  if (!strstr(drill.result.report_json, found) || !strstr(drill.result.report_json, drill.spec.damage))
    fail_msg("%s: no %s in %s", drill.spec.damage, found, drill.result.report_json);
  trial_release_drill(&drill);
}

static void canaries_are_refuted(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  assert_true(checkpoint.manifest.segment_count >= 2);
  size_t before = objects(source);
  canary(source, &checkpoint, TRIAL_SEGMENT_BYTE, 12345678901, "segment_corrupt");
  if (getenv("PGSEAL_LONG")) { /* a cluster for each: make test-long */
    canary(source, &checkpoint, TRIAL_SEGMENT_TRUNCATED, 1, "segment_corrupt");
    canary(source, &checkpoint, TRIAL_SEGMENT_MISSING, 1, "segment_missing");
    canary(source, &checkpoint, TRIAL_SEGMENT_SWAPPED, 0, "segment_corrupt");
    canary(source, &checkpoint, TRIAL_OBJECT_ADDED, 0, "round_trip_differs");
  }
  for (uint64_t at = 0; at < 5000000; at += 199991)
    canary(source, &checkpoint, TRIAL_MANIFEST_BYTE, at, "manifest_invalid");
  canary(source, &checkpoint, TRIAL_ROW_LOST, 0, "round_trip_differs");
  assert_int_equal(objects(source), before);
  checkpoint_release(&checkpoint);
}

/* A checkpoint that is damaged itself is refuted for that: which says nothing of the canary, nor of the checkpoint. */
static void other_damage_is_unclear(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres", .other_fingerprint = true}, &checkpoint);
  trial_init(source, &checkpoint, "canary", &drill);
  drill.spec.damage = (char *)"row_lost";
  trial_run(&drill);
  assert_outcome(&drill, ERR_CANARY_UNCLEAR);
  assert_null(drill.result.trial);
  assert_int_equal(error_outcome(ERR_CANARY_UNCLEAR), OUTCOME_ERRORED);
  trial_release_drill(&drill);
  checkpoint_release(&checkpoint);
}

/* A pg_dump that gives out what it once saw, whatever is there now: its drills would prove anything. */
static void blind_drills_are_found_out(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  Buffer said = {0};
  char *tools = source_path(source, "blind"), *script = source_path(source, "blind/pg_dump");
  char *command =
      memory_format("ln -s %s/* %s/ && rm %s && %s/pg_dump -Fc -Z0 -h %s -U postgres -f %s/seen postgres",
                    source->tools_dir, tools, script, source->tools_dir, cluster_socket_dir(source->cluster), tools);
  char *text = memory_format("#!/bin/sh\n[ \"$1\" = --version ] && exec %s/pg_dump --version\ncat %s/seen\n",
                             source->tools_dir, tools);
  assert_int_equal(0, mkdir(tools, 0755));
  assert_ok(process_run(&(ProcessOptions){.argv = (const char *[]){"/bin/sh", "-c", command, NULL}}, FIXTURE_LIMIT,
                        &said, err));
  assert_ok(file_write_atomic(script, 0755, text, strlen(text), err));
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  trial_init(source, &checkpoint, "canary", &drill);
  PostgresBinDir dir = {source->major, tools};
  drill.config.bin_dirs = &dir;
  drill.config.bin_dir_count = 1;
  drill.spec.damage = (char *)"row_lost";
  trial_run(&drill);
  assert_outcome(&drill, ERR_CANARY_SURVIVED);
  assert_signed(source, &drill, "survived");
  trial_release_drill(&drill);
  buffer_release(&said);
  free(tools);
  free(script);
  free(command);
  free(text);
  checkpoint_release(&checkpoint);
}

/* Into the same major version, which is the newest here: a newer image of it. */
static void forward_is_ready(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  size_t before = objects(source);
  trial_init(source, &checkpoint, "forward", &drill);
  drill.spec.forward_major = (uint32_t)source->major;
  trial_run(&drill);
  assert_outcome(&drill, STATUS_OK);
  assert_signed(source, &drill, "ready");
  assert_null(strstr(drill.result.report_json, "proven"));
  assert_non_null(strstr(drill.result.report_json, "\"rows\":400"));
  assert_int_equal(objects(source), before);
  trial_release_drill(&drill);
  checkpoint_release(&checkpoint);
}

/* Rows that do not restore, and what another drill would condemn a checkpoint for, make it not ready; no more. */
static void forward_is_not_ready(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source,
                  &(CheckpointOptions){.database = "postgres",
                                       .replace = "REFERENCES public.parent(id)",
                                       .with = "REFERENCES public.parent(ix)"},
                  &checkpoint);
  trial_init(source, &checkpoint, "forward", &drill);
  drill.spec.forward_major = (uint32_t)source->major;
  trial_run(&drill);
  assert_outcome(&drill, STATUS_OK);
  assert_signed(source, &drill, "not_ready");
  assert_non_null(strstr(drill.result.report_json, "restore_object_lost"));
  trial_release_drill(&drill);
  checkpoint_release(&checkpoint);
}

/* A drill that is to be bare is one only where there is nothing else. */
static void bare_is_what_it_says(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  for (int bare = 0; bare <= 1; bare++) {
    Drill drill;
    drill_init(source, &checkpoint, &drill);
    drill.spec.kind = (char *)"bare";
    drill.config.bare = bare;
    drill_run(&drill);
    assert_outcome(&drill, bare ? STATUS_OK : ERR_CONFIG);
    if (bare)
      assert_non_null(strstr(drill.result.drill->notes_json, "drilled bare"));
    drill_release(&drill);
  }
  checkpoint_release(&checkpoint);
}

static void nonsense_is_refused(void **state) {
  const Source *source = *state;
  Checkpoint checkpoint = {0};
  static const struct {
    const char *kind, *damage;
    uint32_t major;
  } rows[] = {{"", "", 0}, {"canary", "burn", 0}, {"forward", "", 9}, {"forward", "", 100}, {"bare", "", 0}};
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    Drill drill;
    trial_init(source, &checkpoint, rows[i].kind, &drill);
    drill.spec.damage = (char *)rows[i].damage;
    drill.spec.forward_major = rows[i].major;
    trial_run(&drill);
    assert_outcome(&drill, ERR_PROTOCOL);
    trial_release_drill(&drill);
  }
  checkpoint_release(&checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(canaries_are_refuted),       cmocka_unit_test(other_damage_is_unclear),
      cmocka_unit_test(blind_drills_are_found_out), cmocka_unit_test(forward_is_ready),
      cmocka_unit_test(forward_is_not_ready),       cmocka_unit_test(nonsense_is_refused),
      cmocka_unit_test(bare_is_what_it_says),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
