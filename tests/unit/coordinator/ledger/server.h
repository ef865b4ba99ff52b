/* A PostgreSQL server of the test's own, for ledgers: each in a schema of its own. Over a UNIX socket; as `postgres`
 * where the tests run as root. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SERVER_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/postgres/connection.h"

typedef struct LedgerServer {
  char dir[64];
  char *bin, *data;
  int schemas;
} LedgerServer;

static inline bool server_run(const char *const *argv) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  ProcessOptions options = {.argv = argv, .user = geteuid() == 0 ? "postgres" : NULL, .work_dir = "/tmp"};
  if (process_run(&options, 1 << 20, &out, &err) == STATUS_OK)
    return true;
  fprintf(stderr, "%s\n", err.message);
  return false;
}

static inline bool server_up(LedgerServer *server) {
  CLEANUP_FREE char *pg_ctl = memory_format("%s/pg_ctl", server->bin);
  CLEANUP_FREE char *log = memory_format("%s/log", server->dir);
  CLEANUP_FREE char *options =
      memory_format("-c fsync=off -c unix_socket_directories=%s -c listen_addresses=''", server->dir);
  return server_run((const char *[]){pg_ctl, "-D", server->data, "-w", "-s", "-l", log, "-o", options, "start", NULL});
}

static inline void server_down(LedgerServer *server) {
  CLEANUP_FREE char *pg_ctl = memory_format("%s/pg_ctl", server->bin);
  server_run((const char *[]){pg_ctl, "-D", server->data, "-w", "-s", "-m", "immediate", "stop", NULL});
}

static inline LedgerServer *server_start(void) {
  Error err;
  CLEANUP_FREE char *version = NULL;
  LedgerServer *server = memory_alloc(sizeof *server);
  snprintf(server->dir, sizeof server->dir, "/tmp/pgseal-test-pg-XXXXXX");
  if (!mkdtemp(server->dir) || chmod(server->dir, 0777) != 0 ||
      postgres_tools_find(NULL, 0, 15, &server->bin, &version, &err) != STATUS_OK)
    return NULL;
  server->data = memory_format("%s/data", server->dir);
  CLEANUP_FREE char *initdb = memory_format("%s/initdb", server->bin);
  bool up = server_run((const char *[]){initdb, "-D", server->data, "-U", "boss", "--auth=trust", "-N",
                                        "--locale=C.UTF-8", NULL}) &&
            server_up(server);
  return up ? server : NULL;
}

static inline void server_stop(LedgerServer *server) {
  Error err;
  server_down(server);
  assert_int_equal(file_remove_tree(server->dir, &err), STATUS_OK);
  free(server->bin);
  free(server->data);
  free(server);
}

static inline bool server_sql(const LedgerServer *server, const char *where, const char *sql) {
  (void)server;
  PGconn *connection = PQconnectdb(where);
  PGresult *result = PQexec(connection, sql);
  ExecStatusType got = PQresultStatus(result);
  PQclear(result);
  PQfinish(connection);
  return got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK;
}

/* A connection string to a new schema, the caller's to free. */
static inline char *server_schema(LedgerServer *server) {
  CLEANUP_FREE char *sql = memory_format("CREATE SCHEMA s%d", ++server->schemas);
  char *where =
      memory_format("host=%s user=boss dbname=postgres options=-csearch_path=s%d", server->dir, server->schemas);
  assert_true(server_sql(server, where, sql));
  return where;
}

#endif
