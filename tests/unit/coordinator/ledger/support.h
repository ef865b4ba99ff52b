/*
 * What the ledger's tests share: a ledger of their own on each database that one may be kept in. LEDGER_TESTS runs a
 * list of tests on all of them: SQLite files, and schemas of a PostgreSQL server that is started for it.
 */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "coordinator/ledger/ledger.h"
#include "server.h"

typedef struct Fixture {
  char dir[64], path[96];
  char *where; /* of the ledger: the path, or a connection string */
  Ledger *ledger;
  Error err;
} Fixture;

#define OK(call) assert_int_equal((call), STATUS_OK)

static LedgerServer *ledger_server; /* NULL: SQLite's turn */

/* Statements beside the ledger's own; false if they fail. */
static inline bool raw(Fixture *f, const char *sql) {
  if (ledger_server)
    return server_sql(ledger_server, f->where, sql);
  sqlite3 *db;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  bool fine = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  return fine;
}

/* For tests that make a ledger of an earlier schema of one of this. */
#define UNDO_10                                                                                                        \
  "DROP TABLE table_list; DROP TABLE silence; DROP TABLE person; DROP TABLE sign_in;"                                  \
  "ALTER TABLE token DROP COLUMN person;"                                                                              \
  "DROP TABLE alert; DROP TABLE notification; DROP TABLE session;"                                                     \
  "DROP TABLE schedule; DROP INDEX job_open_database; ALTER TABLE job DROP COLUMN priority;"
#define UNDO_9                                                                                                         \
  "DROP TABLE coordinator; DROP TABLE hold; ALTER TABLE checkpoint DROP COLUMN pinned_us; ALTER TABLE checkpoint "     \
  "DROP COLUMN pruning_us;"                                                                                            \
  "ALTER TABLE checkpoint DROP COLUMN pruned_us; ALTER TABLE checkpoint DROP COLUMN locked_until_us;"

/* A place for a ledger: it is the test's to open. */
static inline int setup_place(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-ledger-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->path, sizeof f->path, "%s/ledger.db", f->dir);
  f->where = ledger_server ? server_schema(ledger_server) : memory_strdup(f->path);
  *state = f;
  return 0;
}

static inline void shut(Fixture *f) {
  ledger_close(f->ledger);
  f->ledger = NULL;
}

static inline void reopen(Fixture *f) {
  shut(f);
  if (ledger_open(f->where, false, &f->ledger, &f->err) != STATUS_OK)
    fail_msg("%s", f->err.message);
}

static inline int setup(void **state) {
  setup_place(state);
  reopen(*state);
  return 0;
}

static inline int teardown(void **state) {
  Fixture *f = *state;
  shut(f);
  OK(file_remove_tree(f->dir, &f->err));
  free(f->where);
  free(f);
  return 0;
}

static inline Checkpoint sample(const char *id, const char *database, const char *tag) {
  return (Checkpoint){.id = (char *)id,
                      .database = (char *)database,
                      .tag = (char *)tag,
                      .requested_by = (char *)"ci",
                      .state = CHECKPOINT_REQUESTED,
                      .created_us = 1700000000000000,
                      .dump_attempt = 1};
}

static inline int start_server(void **state) {
  (void)state;
  ledger_server = server_start();
  return ledger_server ? 0 : -1;
}

static inline int stop_server(void **state) {
  (void)state;
  server_stop(ledger_server);
  ledger_server = NULL;
  return 0;
}

#define LEDGER_TESTS(tests)                                                                                            \
  (cmocka_run_group_tests_name("SQLite", tests, NULL, NULL) +                                                          \
   cmocka_run_group_tests_name("PostgreSQL", tests, start_server, stop_server))

#endif
