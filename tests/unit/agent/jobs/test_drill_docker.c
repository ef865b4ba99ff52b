/*
 * A drill in a container. The source is of the machine's own PostgreSQL version; with PGSEAL_TEST_BIN_17 naming a
 * directory that `deploy/images/tools 17` made, of PostgreSQL 17, through those wrappers.
 */
#include "tests/unit/agent/engine/podman_fixture.h"
#include "tests/unit/agent/jobs/drill_fixture.h"
#include "tests/unit/agent/rehearsal/relay.h"

static int setup_all(void **state) {
  const char *bin_17 = getenv("PGSEAL_TEST_BIN_17");
  podman.major = bin_17 ? 17 : FIXTURE_MAJOR;
  if (start_podman(state) != 0)
    return -1;
  if (!podman.socket)
    return 0;
  Source *source = memory_alloc(sizeof *source);
  source->major = podman.major;
  if (bin_17) {
    source->bin_dirs[0] = (PostgresBinDir){17, bin_17};
    source->bin_dir_count = 1;
  }
  source_open(source, "the \"boss");
  *state = source;
  PGconn *session = source_connect(source, "postgres");
  session_run(session, "CREATE ROLE alice");
  session_run(session, "SET allow_in_place_tablespaces = on");
  session_run(session, "CREATE TABLESPACE fast LOCATION ''");
  session_run(session, "CREATE EXTENSION hstore; CREATE EXTENSION pgcrypto");
  session_run(session, "CREATE TABLE t (a int PRIMARY KEY, b text, h hstore) TABLESPACE fast");
  session_run(session, "ALTER TABLE t OWNER TO alice; CREATE INDEX ON t (b)");
  session_run(session, "INSERT INTO t SELECT g, md5(g::text), 'a=>1' FROM generate_series(1, 20000) g");
  session_run(session, "SELECT lo_from_bytea(g, 'x') FROM generate_series(5000, 5200) g");
  session_run(session, "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM t; CREATE STATISTICS s ON a, b FROM t");
  PQfinish(session);
  return 0;
}

static int teardown_all(void **state) {
  if (*state) {
    source_close(*state);
    free(*state);
  }
  return stop_podman(state);
}

static void container_proves(void **state) {
  if (!*state)
    skip();
  Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.config.drill =
      (DrillConfig){.engine = DRILL_ENGINE_DOCKER, .socket = podman.socket, .memory_mb = 512, .cpus = 2, .jobs = 2};
  drill_run(&drill);
  assert_outcome(&drill, STATUS_OK);
  assert_string_equal("docker", drill.result.drill->engine);
  assert_non_null(strstr(drill.result.drill->image, "pgseal/postgres:"));
  assert_int_equal(20000, drill.result.drill->rows);
  print_message("stages: %s\n", drill.result.stages_json);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

static int update_all(Relay *relay) {
  PGconn *open = relay_connect(relay, NULL, "guessed", NULL, NULL);
  assert_int_equal(PQstatus(open), CONNECTION_BAD);
  PQfinish(open);
  PGconn *session = relay_connect(relay, NULL, NULL, NULL, NULL);
  if (PQstatus(session) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(session));
  session_run(session, "UPDATE t SET b = ''");
  PQfinish(session);
  return 0;
}

/* A rehearsal in a container: who comes in is decided there, and its socket is the only way. */
static void container_is_rehearsed_on(void **state) {
  if (!*state)
    skip();
  Shop shop = {.source = *(Source *)*state};
  Rehearse it;
  Relay relay;
  checkpoint_make(&shop.source, &(CheckpointOptions){.database = "postgres"}, &shop.checkpoint);
  shop_secret(&shop);
  tunnel_init(&shop, json_object(), &it);
  it.drill.config.drill =
      (DrillConfig){.engine = DRILL_ENGINE_DOCKER, .socket = podman.socket, .memory_mb = 512, .cpus = 2, .jobs = 2};
  relay_rehearse(&relay, &shop, &it, update_all);
  assert_verdict(&it, "dangerous");
  assert_string_equal(finding(&it, "rows_changed", "public.t", true), "20000 of 20000 rows have other values");
  assert_string_equal(text_of(json_object_get(it.report, "copy"), "engine"), "docker");
  rehearse_release(&it);
  rehearsal_secret_free(shop.secret);
  free(shop.secret_path);
  checkpoint_release(&shop.checkpoint);
}

/* Somebody removes the container in mid-drill: errored, and nothing is condemned. */
static void *remove_container(void *user) {
  Drill *drill = user;
  Engine *engine = NULL;
  Error failed;
  int count = 0;
  CLEANUP_FREE char *owner = agent_config_owner(&drill->config);
  if (engine_open(&drill->config.drill, &engine, &failed) != STATUS_OK)
    return NULL;
  for (int i = 0; i < 300 && count == 0; i++) {
    usleep(50000);
    if (engine_reap(engine, owner, drill->job.id, &count, &failed) != STATUS_OK)
      break;
  }
  engine_close(engine);
  return NULL;
}

static void lost_container_condemns_nothing(void **state) {
  if (!*state)
    skip();
  Source *source = *state;
  Checkpoint checkpoint = {0};
  Drill drill;
  pthread_t thread;
  checkpoint_make(source, &(CheckpointOptions){.database = "postgres"}, &checkpoint);
  drill_init(source, &checkpoint, &drill);
  drill.config.drill =
      (DrillConfig){.engine = DRILL_ENGINE_DOCKER, .socket = podman.socket, .memory_mb = 512, .jobs = 2};
  assert_int_equal(0, pthread_create(&thread, NULL, remove_container, &drill));
  drill_run(&drill);
  pthread_join(thread, NULL);
  if (drill.status != ERR_CLUSTER_LOST)
    assert_outcome(&drill, ERR_CLUSTER_START);
  assert_int_equal(OUTCOME_ERRORED, error_outcome(drill.status));
  assert_null(drill.result.drill);
  drill_release(&drill);
  checkpoint_release(&checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(container_proves),
      cmocka_unit_test(container_is_rehearsed_on),
      cmocka_unit_test(lost_container_condemns_nothing),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
