/* The docker engine against a podman of the test's own, on a private socket. Images are kept between runs. */
#include "tests/unit/agent/engine/engine_tests.h"

#include "tests/unit/agent/engine/podman_fixture.h"

static int setup(void **state) {
  if (!podman.socket)
    return 0;
  EngineTest *test = memory_alloc(sizeof *test);
  test->config =
      (DrillConfig){.engine = DRILL_ENGINE_AUTO, .socket = podman.socket, .memory_mb = 256, .cpus = 1, .jobs = 1};
  test->major = IMAGE_MAJOR;
  engine_test_init(test, "/tmp");
  *state = test;
  return 0;
}

static int teardown(void **state) {
  if (!*state)
    return 0;
  engine_test_release(*state);
  free(*state);
  return 0;
}

static EngineTest *required(void **state) {
  if (!*state)
    skip();
  return *state;
}

static void lives_with_odd_superuser(void **state) {
  engine_test_life(required(state), "odd \"r'ole$(id)\\ \xc3\xa4");
}

static void loss_is_noticed(void **state) {
  engine_test_lost(required(state));
}

static void cancel_leaves_nothing(void **state) {
  engine_test_cancel(required(state));
}

static void lives_on_tmpfs(void **state) {
  EngineTest *test = required(state);
  test->config.tmpfs_mb = 512;
  engine_test_life(test, "postgres");
}

static void container_is_closed(void **state) {
  EngineTest *test = required(state);
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  ClusterOptions options = engine_test_options(test, "postgres");
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_string_equal("docker", engine_name(engine));
  assert_status_ok(cluster_start(engine, &options, &cluster, err));
  assert_non_null(strstr(cluster_image(cluster), "pgseal/postgres:15 (sha256:"));
  PGconn *connection = engine_test_connect(cluster);
  PQclear(PQexec(connection, "CREATE TABLE seen (line text)"));
  PQclear(PQexec(connection, "COPY seen FROM PROGRAM 'ls /sys/class/net'"));
  assert_query(connection, "SELECT string_agg(line, ' ') FROM seen", "lo");
  PQclear(PQexec(connection, "TRUNCATE seen"));
  PQclear(PQexec(connection, "COPY seen FROM PROGRAM 'grep CapEff /proc/self/status | cut -f 2'"));
  assert_query(connection, "SELECT line FROM seen", "0000000000000000");
  PQclear(PQexec(connection, "TRUNCATE seen"));
  PQclear(PQexec(connection, "COPY seen FROM PROGRAM 'touch /usr/x 2>/dev/null || echo closed'"));
  assert_query(connection, "SELECT line FROM seen", "closed");
  PQfinish(connection);
  cluster_stop(cluster);
  engine_close(engine);
}

/* What a killed job leaves, reap removes: its own only. */
static void reap_removes_what_is_left(void **state) {
  EngineTest *test = required(state);
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  ClusterOptions options = engine_test_options(test, "postgres");
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_status_ok(cluster_start(engine, &options, &cluster, err));
  int count = -1;
  assert_status_ok(engine_reap(engine, "another-agent", NULL, &count, err));
  assert_int_equal(0, count);
  assert_status_ok(engine_reap(engine, test->agent, "another-job", &count, err));
  assert_int_equal(0, count);
  assert_status_ok(engine_reap(engine, test->agent, NULL, &count, err));
  assert_int_equal(1, count);
  Error failed = {0};
  assert_int_equal(ERR_CLUSTER_LOST, cluster_alive(cluster, &failed));
  assert_non_null(strstr(failed.message, "removed by somebody else"));
  cluster_stop(cluster);
  engine_close(engine);
}

static void missing_image_is_named(void **state) {
  EngineTest *test = required(state);
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  DrillImage image = {.major = IMAGE_MAJOR, .image = "localhost/no-such-image:1"};
  test->config.images = &image;
  test->config.image_count = 1;
  ClusterOptions options = engine_test_options(test, "postgres");
  Error failed = {0};
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_int_equal(ERR_IMAGE_MISSING, cluster_start(engine, &options, &cluster, &failed));
  assert_string_equal("localhost/no-such-image:1", failed.object);
  assert_non_null(strstr(failed.remedy, "deploy/images/build 15"));
  image.image = "bad name; rm";
  assert_int_equal(ERR_CONFIG, cluster_start(engine, &options, &cluster, &failed));
  engine_close(engine);
}

/* What a policy asks for must be allowed here; then it is that one, whatever is configured. */
static void image_that_is_asked_for(void **state) {
  EngineTest *test = required(state);
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  const char *patterns[] = {"localhost/other/*", "localhost/pgseal/*:15"};
  DrillImage image = {.major = IMAGE_MAJOR, .image = "localhost/no-such-image:1"};
  test->config.images = &image;
  test->config.image_count = 1;
  ClusterOptions options = engine_test_options(test, "postgres");
  options.image = "localhost/pgseal/postgres:15";
  Error failed = {0};
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_int_equal(ERR_CONFIG, cluster_start(engine, &options, &cluster, &failed));
  assert_non_null(strstr(failed.message, "does not allow"));
  test->config.allow_images = patterns;
  test->config.allow_image_count = 1;
  assert_int_equal(ERR_CONFIG, cluster_start(engine, &options, &cluster, &failed));
  test->config.allow_image_count = 2;
  assert_status_ok(cluster_start(engine, &options, &cluster, err));
  assert_non_null(strstr(cluster_image(cluster), "localhost/pgseal/postgres:15 (sha256:"));
  cluster_stop(cluster);
  test->config.allow_image_count = 0;
  engine_close(engine);
}

static void image_of_another_version_is_refused(void **state) {
  EngineTest *test = required(state);
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  DrillImage image = {.major = 16, .image = "localhost/pgseal/postgres:15"};
  test->config.images = &image;
  test->config.image_count = 1;
  test->major = 16;
  ClusterOptions options = engine_test_options(test, "postgres");
  Error failed = {0};
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_int_equal(ERR_IMAGE_MISSING, cluster_start(engine, &options, &cluster, &failed));
  assert_non_null(strstr(failed.message, "no PostgreSQL 16 server"));
  assert_scratch_empty(test);
  engine_close(engine);
}

static void silent_socket_is_unavailable(void **state) {
  (void)state;
  DrillConfig config = {.engine = DRILL_ENGINE_DOCKER, .socket = "/tmp/no-such-socket"};
  Engine *engine = NULL;
  Error failed = {0};
  assert_int_equal(ERR_ENGINE_UNAVAILABLE, engine_open(&config, &engine, &failed));
  assert_string_equal("/tmp/no-such-socket", failed.object);
  config.engine = DRILL_ENGINE_AUTO;
  assert_status_ok(engine_open(&config, &engine, err));
  assert_string_equal("local", engine_name(engine));
  engine_close(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(lives_with_odd_superuser, setup, teardown),
      cmocka_unit_test_setup_teardown(lives_on_tmpfs, setup, teardown),
      cmocka_unit_test_setup_teardown(loss_is_noticed, setup, teardown),
      cmocka_unit_test_setup_teardown(cancel_leaves_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(container_is_closed, setup, teardown),
      cmocka_unit_test_setup_teardown(reap_removes_what_is_left, setup, teardown),
      cmocka_unit_test_setup_teardown(missing_image_is_named, setup, teardown),
      cmocka_unit_test_setup_teardown(image_that_is_asked_for, setup, teardown),
      cmocka_unit_test_setup_teardown(image_of_another_version_is_refused, setup, teardown),
      cmocka_unit_test(silent_socket_is_unavailable),
  };
  return cmocka_run_group_tests(tests, start_podman, stop_podman);
}
