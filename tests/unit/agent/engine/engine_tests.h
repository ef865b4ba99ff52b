/* What every engine must do, run against each of them. */
#ifndef PGSEAL_TESTS_ENGINE_TESTS_H
#define PGSEAL_TESTS_ENGINE_TESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine/engine.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"

typedef struct EngineTest {
  DrillConfig config;
  int major;
  char *root;    /* removed at the end */
  char *scratch; /* of the job */
  char *job_id, *agent;
} EngineTest;

#define assert_status_ok(call)                                                                                         \
  do {                                                                                                                 \
    Error test_error = {0};                                                                                            \
    Error *err = &test_error;                                                                                          \
    if ((call) != STATUS_OK)                                                                                           \
      fail_msg("%s: %s (%s)", #call, test_error.message, test_error.remedy);                                           \
  } while (0)

static inline void engine_test_init(EngineTest *test, const char *parent) {
  test->root = memory_format("%s/pgseal-test-XXXXXX", parent);
  assert_non_null(mkdtemp(test->root));
  test->job_id = memory_strdup(id_new().text);
  test->agent = memory_format("test-%s", test->job_id);
  test->scratch = memory_format("%s/%s", test->root, test->job_id);
  assert_int_equal(0, mkdir(test->scratch, 0700));
  assert_int_equal(0, chmod(test->root, 0711));
}

static inline void engine_test_release(EngineTest *test) {
  assert_status_ok(file_remove_tree(test->root, err));
  free(test->root);
  free(test->scratch);
  free(test->job_id);
  free(test->agent);
}

static inline ClusterOptions engine_test_options(const EngineTest *test, const char *superuser) {
  return (ClusterOptions){.major = test->major,
                          .superuser = superuser,
                          .job_id = test->job_id,
                          .agent = test->agent,
                          .scratch = test->scratch};
}

static inline PGconn *engine_test_connect(const Cluster *cluster) {
  const char *keys[] = {"host", "user", "dbname", NULL};
  const char *values[] = {cluster_socket_dir(cluster), cluster_superuser(cluster), "postgres", NULL};
  PGconn *connection = PQconnectdbParams(keys, values, 0);
  if (PQstatus(connection) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(connection));
  return connection;
}

static inline void assert_query(PGconn *connection, const char *sql, const char *expected) {
  PGresult *result = PQexec(connection, sql);
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", sql, PQerrorMessage(connection));
  assert_string_equal(PQgetvalue(result, 0, 0), expected);
  PQclear(result);
}

/* Nothing of the cluster is left in scratch. */
static inline void assert_scratch_empty(const EngineTest *test) {
  DIR *dir = opendir(test->scratch);
  for (struct dirent *e; (e = readdir(dir));)
    if (e->d_name[0] != '.')
      fail_msg("%s is left in scratch", e->d_name);
  closedir(dir);
}

/* A cluster has the source's bootstrap role as its own, answers, and leaves nothing. */
static inline void engine_test_life(EngineTest *test, const char *superuser) {
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  ClusterOptions options = engine_test_options(test, superuser);
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_status_ok(cluster_start(engine, &options, &cluster, err));
  assert_status_ok(cluster_alive(cluster, err));
  assert_string_equal(cluster_superuser(cluster), superuser);
  assert_non_null(strstr(cluster_image(cluster), ""));
  PGconn *connection = engine_test_connect(cluster);
  assert_query(connection, "SELECT rolname FROM pg_roles WHERE oid = 10", superuser);
  assert_query(connection, "SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'", "1");
  assert_query(connection, "SHOW fsync", "off");
  assert_query(connection, "SHOW listen_addresses", "");
  assert_query(connection, "SHOW TimeZone", "UTC");
  assert_query(connection, "SELECT current_setting('server_version_num')::int / 10000",
               test->major == 17 ? "17" : "15");
  PQfinish(connection);
  cluster_stop(cluster);
  assert_scratch_empty(test);
  int count = -1;
  assert_status_ok(engine_reap(engine, test->agent, NULL, &count, err));
  assert_int_equal(0, count);
  engine_close(engine);
}

/* A server that dies is noticed, with its reason. */
static inline void engine_test_lost(EngineTest *test) {
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  ClusterOptions options = engine_test_options(test, "postgres");
  assert_status_ok(engine_open(&test->config, &engine, err));
  assert_status_ok(cluster_start(engine, &options, &cluster, err));
  PGconn *connection = engine_test_connect(cluster);
  /* what the kernel does to a backend that takes too much memory */
  PQclear(PQexec(connection, "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"));
  PQfinish(connection);
  Error failed = {0};
  for (int i = 0; i < 200 && cluster_alive(cluster, &failed) == STATUS_OK; i++)
    usleep(50000);
  assert_int_equal(ERR_CLUSTER_LOST, failed.status);
  assert_non_null(strstr(failed.remedy, "memory_mb"));
  cluster_stop(cluster);
  assert_scratch_empty(test);
  engine_close(engine);
}

static inline Status engine_test_give_up(void *user, Error *err) {
  (void)user;
  return error_set(err, ERR_CANCELED, "test");
}

/* A cancel while it starts leaves nothing. */
static inline void engine_test_cancel(EngineTest *test) {
  Engine *engine = NULL;
  Cluster *cluster = NULL;
  Error failed = {0};
  ClusterOptions options = engine_test_options(test, "postgres");
  options.check = engine_test_give_up;
  assert_status_ok(engine_open(&test->config, &engine, err));
  if (cluster_start(engine, &options, &cluster, &failed) == STATUS_OK)
    cluster_stop(cluster); /* it was ready at once */
  else
    assert_int_equal(ERR_CANCELED, failed.status);
  assert_scratch_empty(test);
  int count = -1;
  assert_status_ok(engine_reap(engine, test->agent, test->job_id, &count, err));
  assert_int_equal(0, count);
  engine_close(engine);
}

#endif
