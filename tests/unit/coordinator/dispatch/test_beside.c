/* Two coordinators on one ledger in PostgreSQL: what one does the other hears of, nothing is done twice, one leads. */
#include "support.h"

#include "tests/unit/coordinator/ledger/server.h"

typedef struct Pair {
  Fixture *a, *b; /* the same databases, agents and keys */
  char *where;
} Pair;

static LedgerServer *server;

static int setup_pair(void **state) {
  Pair *pair = memory_alloc(sizeof *pair);
  void *first;
  pair->where = server_schema(server);
  setup(&first);
  pair->a = first;
  dispatch_close(pair->a->dispatch);
  ledger_close(pair->a->ledger);
  pair->a->where = pair->where;
  start(pair->a);
  pair->b = memory_dup(pair->a, sizeof *pair->a);
  pair->b->config.databases = pair->b->databases;
  pair->b->config.agents = pair->b->agents;
  pair->b->ledger = NULL;
  pair->b->dispatch = NULL;
  start(pair->b);
  dispatch_tick(pair->a->dispatch);
  dispatch_tick(pair->b->dispatch);
  assert_true(dispatch_leads(pair->a->dispatch) && !dispatch_leads(pair->b->dispatch));
  *state = pair;
  return 0;
}

/* As if it was killed. */
static void die(Fixture *f) {
  dispatch_close(f->dispatch);
  ledger_close(f->ledger);
  f->dispatch = NULL;
  f->ledger = NULL;
}

static int teardown_pair(void **state) {
  Pair *pair = *state;
  if (pair->b->dispatch)
    die(pair->b);
  if (!pair->a->dispatch)
    start(pair->a);
  open_jobs_forget(pair->a->dispatch);
  void *first = pair->a;
  teardown(&first);
  free(pair->b);
  free(pair->where);
  free(pair);
  return 0;
}

/* Until both have been told of all there is. */
static void follow(const Pair *pair) {
  for (int i = 0; i < 2; i++) {
    Fixture *f = i ? pair->b : pair->a;
    int64_t last = 0;
    OK(ledger_sequence(f->ledger, &last, &f->err));
    for (int k = 0; k < 500 && f->dispatch->followed < last; k++) {
      dispatch_follow(f->dispatch);
      usleep(10000);
    }
    assert_int_equal(f->dispatch->followed, last);
  }
}

/* Time passes for both, a second at a time; a's agents and b's. */
static void both_pass(const Pair *pair, int seconds, unsigned live_a, unsigned live_b) {
  for (int i = 0; i < seconds; i++) {
    tick_after(pair->a, 1000000, live_a);
    tick_after(pair->b, 0, live_b);
    follow(pair);
  }
}

/* Asked for at the one, run by agents of the other, which has not been told yet; told to all who watch, in order. */
static void test_asked_here_done_there(void **state) {
  Pair *pair = *state;
  Fixture *a = pair->a, *b = pair->b;
  assert_null(poll_as(b, 1, 1, 0, NULL)); /* b knows of no job */
  CLEANUP_FREE char *id = request(a, "prod-api", "t");
  follow(pair);
  assert_true(b->seen.work > 0);
  JOB *dump = must_get(b, 1, DUMP);
  follow(pair);
  JOB *drill = must_get(a, 2, DRILL);
  assert_null(poll_as(a, 0, 1, 1, NULL));
  Pgseal__ProgressReply *reply = progress_as(b, 1, dump, 3);
  pgseal__progress_reply__free_unpacked(reply, NULL);
  reply = progress_as(a, 2, drill, 0);
  assert_int_equal(reply->follow->segments, 3); /* what the dump's agent told the other */
  pgseal__progress_reply__free_unpacked(reply, NULL);
  assert_true(dump_done(b, 1, dump, MANIFEST));
  bool accepted = false;
  CLEANUP_FREE char *prefix = manifest_prefix("prod-api", id, 1);
  OK(drill_says(b, 2, drill, 2, OUTCOME_PROVEN, "proven", MANIFEST, prefix, &accepted)); /* its agent has moved to b */
  assert_true(accepted);
  follow(pair);
  assert_int_equal(state_of(a, id), CHECKPOINT_SEALED);
  assert_string_equal(a->seen.last_finished, id);
  assert_string_equal(a->seen.kinds, b->seen.kinds);
  assert_non_null(strstr(a->seen.kinds, "checkpoint.requested job.leased job.leased"));
  accepted = false;
  OK(drill_says(a, 2, drill, 2, OUTCOME_PROVEN, "proven", MANIFEST, prefix, &accepted)); /* its answer was lost */
  assert_true(accepted);
  assert_string_equal(a->seen.kinds, b->seen.kinds);
}

/* Both have seen that it waits; one of them gives it away. */
static void test_given_once(void **state) {
  Pair *pair = *state;
  CLEANUP_FREE char *one = request(pair->a, "prod-api", "one");
  CLEANUP_FREE char *two = request(pair->b, "prod-api", "two");
  follow(pair);
  assert_open_jobs_agree(pair->a);
  assert_open_jobs_agree(pair->b);
  JOB *dump = must_get(pair->a, 1, DUMP);
  assert_string_equal(dump->checkpoint_id, one);
  assert_null(poll_as(pair->b, 0, 1, 0, NULL)); /* nor the second one's: never two dumps of a database at once */
  assert_true(dump_done(pair->b, 1, dump, MANIFEST));
  follow(pair);
  JOB *next = must_get(pair->a, 0, DUMP);
  assert_string_equal(next->checkpoint_id, two);
  assert_true(next->fencing > dump->fencing);
}

/* The same Idempotency-Key at the other one. */
static void test_asked_again_elsewhere(void **state) {
  Pair *pair = *state;
  Checkpoint first = {0}, again = {0};
  bool joined = false;
  OK(dispatch_request_checkpoint(pair->a->dispatch, "shop", "t", &me, "key", &first, &joined, &pair->a->err));
  assert_false(joined);
  OK(dispatch_request_checkpoint(pair->b->dispatch, "shop", "t", &me, "key", &again, &joined, &pair->b->err));
  assert_true(joined);
  assert_string_equal(first.id, again.id);
  checkpoint_release(&first);
  checkpoint_release(&again);
}

/* The leader does not hear of the agent, but of its renewals; and of their end. */
static void test_leases_are_the_ledgers(void **state) {
  Pair *pair = *state;
  int attempt = 0;
  CLEANUP_FREE char *id = request(pair->b, "prod-api", "t");
  JOB *dump = must_get(pair->b, 1, DUMP);
  for (int i = 0; i < 3 * LEASE / 5; i++) {
    renew(pair->b, 1, dump);
    both_pass(pair, 5, 4, 2);
  }
  assert_int_equal(job_state_of(pair->a, dump->id, &attempt), JOB_RUNNING);
  assert_int_equal(attempt, 1);
  both_pass(pair, LEASE - 7, 4, 2);
  assert_int_equal(job_state_of(pair->a, dump->id, &attempt), JOB_RUNNING);
  both_pass(pair, 10, 4, 2);
  assert_int_equal(job_state_of(pair->a, dump->id, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
  Pgseal__ProgressReply *late = progress_as(pair->b, 1, dump, 9);
  assert_true(late->lease_lost);
  pgseal__progress_reply__free_unpacked(late, NULL);
  assert_false(dump_done(pair->b, 1, dump, MANIFEST)); /* refused by both */
  assert_false(dump_done(pair->a, 1, dump, MANIFEST));
}

/* Whoever led is gone: the other leads within a tick, and gives every lease its whole time. */
static void test_the_leader_dies(void **state) {
  Pair *pair = *state;
  int attempt = 0;
  CLEANUP_FREE char *id = request(pair->a, "prod-api", "t");
  JOB *dump = must_get(pair->a, 1, DUMP);
  both_pass(pair, LEASE - 5, 6, 0);
  die(pair->a);
  tick_after(pair->b, 1000000, 0);
  for (int i = 0; i < 50 && !dispatch_leads(pair->b->dispatch); i++) { /* the server takes a moment to notice */
    usleep(100000);
    dispatch_tick(pair->b->dispatch);
  }
  assert_true(dispatch_leads(pair->b->dispatch));
  pass(pair->b, LEASE - 2, 4);
  assert_int_equal(job_state_of(pair->b, dump->id, &attempt), JOB_LEASED);
  assert_true(dump_done(pair->b, 1, dump, MANIFEST));
  start(pair->a);
  dispatch_tick(pair->a->dispatch);
  assert_false(dispatch_leads(pair->a->dispatch));
}

/* An agent that talks to the other one is there; one that talks to nobody is not. */
static void test_whom_the_others_hear(void **state) {
  Pair *pair = *state;
  CLEANUP_FREE char *id = request(pair->a, "shop", "t");
  both_pass(pair, WAIT + 15, 0, 6);
  assert_true(dispatch_agent_live(pair->a->dispatch, "dumper"));
  assert_int_equal(state_of(pair->a, id), CHECKPOINT_REQUESTED);
  both_pass(pair, 30, 0, 0);
  assert_false(dispatch_agent_live(pair->a->dispatch, "dumper"));
  both_pass(pair, WAIT + 5, 0, 0);
  expect_error(pair->a, id, CHECKPOINT_ERRORED, "no_agent");
}

/* What an agent tells one of its machine the other knows, with its age; and it is forgotten with the agent. */
static void test_machines_told_to_others(void **state) {
  Pair *pair = *state;
  Pgseal__Machine message = PGSEAL__MACHINE__INIT;
  Pgseal__Disk disk = PGSEAL__DISK__INIT, *disks[] = {&disk};
  char *places[] = {(char *)"data", (char *)"drill"};
  int64_t age_us = 0;
  disk.places = places;
  disk.n_places = 2;
  disk.free_bytes = 5;
  disk.total_bytes = 100;
  message.load1 = 1.5;
  message.cpus = 8;
  message.disks = disks;
  message.n_disks = 1;
  both_pass(pair, 6, 0, 2);
  dispatch_agent_machine(pair->b->dispatch, "dumper", &message);
  assert_null(dispatch_machine(pair->a->dispatch, "dumper", &age_us));
  both_pass(pair, 12, 0, 2);
  const AgentMachine *told = dispatch_machine(pair->a->dispatch, "dumper", &age_us);
  assert_non_null(told);
  assert_true(told->load1 == 1.5 && told->cpus == 8 && told->disk_count == 1 && told->disks[0].free_bytes == 5);
  assert_string_equal(told->disks[0].places, "data+drill");
  assert_in_range(age_us, 6 * 1000000, 12 * 1000000); /* 12 s, but for how long it was under way */
  both_pass(pair, 30, 0, 0);
  assert_null(dispatch_machine(pair->a->dispatch, "dumper", &age_us));
  assert_null(dispatch_machine(pair->b->dispatch, "dumper", &age_us));
}

static int start_server(void **state) {
  (void)state;
  server = server_start();
  return server ? 0 : -1;
}

static int stop_server(void **state) {
  (void)state;
  server_stop(server);
  return 0;
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_pair, teardown_pair)
  const struct CMUnitTest tests[] = {
      T(test_asked_here_done_there),   T(test_given_once),      T(test_asked_again_elsewhere),
      T(test_leases_are_the_ledgers),  T(test_the_leader_dies), T(test_whom_the_others_hear),
      T(test_machines_told_to_others),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
