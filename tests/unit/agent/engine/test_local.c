#include "tests/unit/agent/engine/engine_tests.h"

#include <signal.h>
#include <sys/wait.h>

static int setup(void **state) {
  EngineTest *test = memory_alloc(sizeof *test);
  test->config = (DrillConfig){.engine = DRILL_ENGINE_LOCAL, .memory_mb = 256, .jobs = 1};
  test->major = 15;
  engine_test_init(test, "/tmp");
  *state = test;
  return 0;
}

static int teardown(void **state) {
  engine_test_release(*state);
  free(*state);
  return 0;
}

static void lives_with_odd_superuser(void **state) {
  engine_test_life(*state, "odd \"r'ole$(id)\\ \xc3\xa4");
}

static void lives_in_a_long_path(void **state) {
  EngineTest *test = *state;
  char *longer = memory_format("%s/%0100d", test->scratch, 0);
  assert_int_equal(0, mkdir(longer, 0700));
  assert_int_equal(0, chmod(test->scratch, 0711));
  char *before = test->scratch;
  test->scratch = longer;
  engine_test_life(test, "postgres");
  test->scratch = before;
  free(longer);
}

static void lives_behind_a_closed_directory(void **state) {
  EngineTest *test = *state;
  assert_int_equal(0, chmod(test->root, 0700));
  engine_test_life(test, "postgres");
}

static void loss_is_noticed(void **state) {
  engine_test_lost(*state);
}

static void cancel_leaves_nothing(void **state) {
  engine_test_cancel(*state);
}

/* Whatever kills the job's process ends its cluster; reap removes what it left. */
static void killed_job_is_reaped(void **state) {
  EngineTest *test = *state;
  int ready[2];
  assert_int_equal(0, pipe(ready));
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    Error failed;
    Engine *engine;
    Cluster *cluster;
    ClusterOptions options = engine_test_options(test, "postgres");
    if (engine_open(&test->config, &engine, &failed) != STATUS_OK ||
        cluster_start(engine, &options, &cluster, &failed) != STATUS_OK || write(ready[1], "x", 1) != 1)
      _exit(1);
    for (;;)
      pause();
  }
  close(ready[1]);
  char byte;
  assert_int_equal(1, read(ready[0], &byte, 1));
  close(ready[0]);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  Engine *engine;
  int count = 0;
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_status_ok(engine_reap(engine, "another-agent", test->job_id, &count, err));
  assert_int_equal(0, count);
  assert_status_ok(engine_reap(engine, test->agent, test->job_id, &count, err));
  assert_int_equal(1, count);
  assert_scratch_empty(test);
  assert_status_ok(engine_reap(engine, test->agent, test->job_id, &count, err));
  assert_int_equal(0, count);
  engine_close(engine);
}

static void missing_server_is_named(void **state) {
  EngineTest *test = *state;
  Engine *engine;
  Cluster *cluster;
  Error failed = {0};
  test->major = 99;
  ClusterOptions options = engine_test_options(test, "postgres");
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_int_equal(ERR_TOOLS_MISSING, cluster_start(engine, &options, &cluster, &failed));
  assert_non_null(strstr(failed.message, "99"));
  assert_scratch_empty(test);
  engine_close(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(lives_with_odd_superuser, setup, teardown),
      cmocka_unit_test_setup_teardown(lives_in_a_long_path, setup, teardown),
      cmocka_unit_test_setup_teardown(lives_behind_a_closed_directory, setup, teardown),
      cmocka_unit_test_setup_teardown(loss_is_noticed, setup, teardown),
      cmocka_unit_test_setup_teardown(cancel_leaves_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(killed_job_is_reaped, setup, teardown),
      cmocka_unit_test_setup_teardown(missing_server_is_named, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
