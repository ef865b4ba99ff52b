/* What a ledger in PostgreSQL has to bear: several that write at once, a server that goes away and comes back. */
#include "support.h"

#include <pthread.h>

#include "coordinator/ledger/db.h"

enum { WRITERS = 4, EVENTS = 25 };

static Status append(Ledger *ledger, const char *kind, Error *err) {
  LedgerEvent event = {.kind = (char *)kind};
  return ledger_event_append(ledger, &event, err);
}

static int64_t verified(Fixture *f) {
  int64_t events = -1;
  char tip[65];
  if (ledger_chain_verify(f->ledger, &events, tip, &f->err) != STATUS_OK)
    fail_msg("%s", f->err.message);
  return events;
}

/* ---- several at once ---- */

typedef struct Writer {
  const char *where;
  pthread_t thread;
  uint64_t fencing[EVENTS];
  Status status;
  Error err;
} Writer;

/* As coordinators do: open (all at once, the first makes the schema), then transactions of several statements. */
static void *writer_run(void *user) {
  Writer *writer = user;
  Ledger *ledger = NULL;
  writer->status = ledger_open(writer->where, false, &ledger, &writer->err);
  for (int i = 0; i < EVENTS && writer->status == STATUS_OK; i++) {
    writer->status = ledger_begin(ledger, &writer->err);
    if (writer->status == STATUS_OK)
      writer->status = ledger_fencing_next(ledger, &writer->fencing[i], &writer->err);
    if (writer->status == STATUS_OK)
      writer->status = append(ledger, "a.b", &writer->err);
    if (writer->status == STATUS_OK)
      writer->status = append(ledger, "a.c", &writer->err);
    if (writer->status != STATUS_OK)
      break;
    if (i % 5 == 4)
      ledger_rollback(ledger);
    else
      writer->status = ledger_commit(ledger, &writer->err);
  }
  ledger_close(ledger);
  return NULL;
}

static void test_several_write_one_chain(void **state) {
  Fixture *f = *state;
  Writer writers[WRITERS] = {0};
  for (int i = 0; i < WRITERS; i++) {
    writers[i].where = f->where;
    assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
  }
  for (int i = 0; i < WRITERS; i++) {
    assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    if (writers[i].status != STATUS_OK)
      fail_msg("%s", writers[i].err.message);
  }
  reopen(f);
  assert_int_equal(verified(f), WRITERS * (EVENTS - EVENTS / 5) * 2);
  for (int i = 0; i < WRITERS; i++) { /* no fencing number was committed twice */
    for (int k = 0; k < EVENTS; k++) {
      for (int j = 0; j < i && k % 5 != 4; j++) {
        for (int l = 0; l < EVENTS; l++)
          assert_false(l % 5 != 4 && writers[i].fencing[k] == writers[j].fencing[l]);
      }
    }
  }
}

/* Even one that does not wait for its turn: the tip is not what it took it for. */
static void test_a_fork_is_refused(void **state) {
  Fixture *f = *state;
  OK(append(f->ledger, "a.b", &f->err));
  OK(ledger_begin(f->ledger, &f->err));
  assert_false(raw(f, "SET lock_timeout = '100ms'; UPDATE tip SET sequence = 7"));
  OK(append(f->ledger, "a.c", &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  assert_true(raw(f, "UPDATE tip SET sequence = 1"));
  assert_int_equal(append(f->ledger, "a.d", &f->err), ERR_CONFLICT);
  assert_true(raw(f, "UPDATE tip SET sequence = 2"));
  assert_int_equal(verified(f), 2);
}

/* ---- a server that goes away ---- */

/* Its server ends all its connections. */
static void cut(Fixture *f) {
  assert_true(raw(f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgseal%'"));
}

static void test_cut_connections(void **state) {
  Fixture *f = *state;
  uint64_t fencing = 0;
  OK(append(f->ledger, "a.b", &f->err));
  cut(f);
  assert_int_equal(verified(f), 1); /* a statement that only reads is tried again */
  cut(f);
  OK(append(f->ledger, "a.c", &f->err)); /* and so is a transaction's beginning */
  cut(f);
  assert_int_equal(ledger_fencing_next(f->ledger, &fencing, &f->err), ERR_UNAVAILABLE); /* it may have been written */
  OK(ledger_fencing_next(f->ledger, &fencing, &f->err));
  OK(ledger_begin(f->ledger, &f->err));
  OK(append(f->ledger, "a.d", &f->err));
  cut(f);
  assert_int_equal(append(f->ledger, "a.e", &f->err), ERR_UNAVAILABLE);
  assert_int_equal(ledger_commit(f->ledger, &f->err), ERR_UNAVAILABLE);
  assert_non_null(strstr(f->err.message, "nothing of it was written"));
  OK(ledger_begin(f->ledger, &f->err));
  OK(append(f->ledger, "a.f", &f->err));
  cut(f);
  assert_int_equal(ledger_commit(f->ledger, &f->err), ERR_UNAVAILABLE);
  assert_non_null(strstr(f->err.message, "not known"));
  assert_int_equal(verified(f), 2);
}

/* Nothing more is written in a transaction of which a statement failed, whatever the caller makes of it. */
static void test_failed_statement(void **state) {
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  OK(ledger_begin(f->ledger, &f->err));
  OK(append(f->ledger, "a.b", &f->err));
  assert_int_equal(ledger_checkpoint_insert(f->ledger, &c, &f->err), ERR_CONFLICT);
  assert_int_equal(ledger_commit(f->ledger, &f->err), ERR_UNAVAILABLE);
  assert_int_equal(verified(f), 0);
  OK(append(f->ledger, "a.c", &f->err));
}

static void test_server_away(void **state) {
  Fixture *f = *state;
  OK(append(f->ledger, "a.b", &f->err));
  server_down(ledger_server);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(append(f->ledger, "a.c", &f->err), ERR_UNAVAILABLE);
    assert_non_null(strstr(f->err.message, "postgresql://"));
    assert_non_null(strstr(f->err.remedy, "goes on by itself"));
  }
  Ledger *other = NULL;
  assert_int_equal(ledger_open(f->where, false, &other, &f->err), ERR_UNAVAILABLE);
  assert_true(server_up(ledger_server));
  Status status = ERR_UNAVAILABLE;
  for (int i = 0; i < 100 && status == ERR_UNAVAILABLE; i++) {
    usleep(200000);
    status = append(f->ledger, "a.d", &f->err);
  }
  OK(status);
  assert_int_equal(verified(f), 2);
}

/* A commit is on disk before it is told, even where the server's owner thinks otherwise. */
static void test_settings(void **state) {
  Fixture *f = *state;
  assert_true(raw(f, "ALTER ROLE boss SET synchronous_commit = off"));
  reopen(f);
  {
    STATEMENT(s);
    bool row = false;
    OK(db_statement(f->ledger, "SELECT current_setting('synchronous_commit')", &s, &f->err));
    OK(db_step(f->ledger, s, &row, &f->err));
    assert_string_equal(db_peek_text(s, 0), "on");
  }
  assert_true(raw(f, "ALTER ROLE boss RESET synchronous_commit"));
  Ledger *reader = NULL;
  OK(ledger_open(f->where, true, &reader, &f->err));
  assert_int_not_equal(append(reader, "a.c", &f->err), STATUS_OK);
  ledger_close(reader);
  assert_int_equal(ledger_open("host=/nowhere password=hunter2 dbname=x", false, &reader, &f->err), ERR_UNAVAILABLE);
  assert_true(!strstr(f->err.message, "hunter2") && !strstr(f->err.object, "hunter2"));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_several_write_one_chain, setup_place, teardown),
      T(test_a_fork_is_refused),
      T(test_cut_connections),
      T(test_failed_statement),
      T(test_server_away),
      T(test_settings),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
