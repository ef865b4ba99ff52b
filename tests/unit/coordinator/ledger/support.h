/* What the ledger's tests share: a ledger in a directory of its own. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_LEDGER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "coordinator/ledger/ledger.h"

typedef struct Fixture {
  char dir[64], path[96];
  Ledger *ledger;
  Error err;
} Fixture;

#define OK(call) assert_int_equal((call), STATUS_OK)

/* The directory alone: the ledger is the test's to open. */
static inline int setup_directory(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-ledger-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->path, sizeof f->path, "%s/ledger.db", f->dir);
  *state = f;
  return 0;
}

static inline void shut(Fixture *f) {
  ledger_close(f->ledger);
  f->ledger = NULL;
}

static inline void reopen(Fixture *f) {
  shut(f);
  OK(ledger_open_sqlite(f->path, &f->ledger, &f->err));
}

static inline int setup(void **state) {
  setup_directory(state);
  reopen(*state);
  return 0;
}

static inline int teardown(void **state) {
  Fixture *f = *state;
  shut(f);
  OK(file_remove_tree(f->dir, &f->err));
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

#endif
