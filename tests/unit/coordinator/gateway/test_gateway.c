/* Peers that speak the protocol and mean ill: whatever they send, they get at nothing that is another's. */
#include "tests/unit/coordinator/gateway/support.h"

static void test_only_its_own_key_opens_a_session(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  Peer peer;
  Hello h;
  assert_true(try_join(w, "both", f->keys[0], &peer));
  assert_false(try_join(w, "both", f->keys[1], &peer)); /* another's key */
  assert_false(try_join(w, "nobody", f->keys[0], &peer));
  assert_false(try_join(w, "", f->keys[0], &peer));
  hello(w, &h); /* signed for another purpose, or another name */
  sign_hello(&h, f->keys[0], "manifest", "both");
  assert_false(authenticate(w, &h, "both", &peer));
  hello(w, &h);
  sign_hello(&h, f->keys[0], "session", "dumper");
  assert_false(authenticate(w, &h, "both", &peer));
  hello(w, &h); /* a challenge of its own making */
  memset(h.challenge, 9, sizeof h.challenge);
  sign_hello(&h, f->keys[0], "session", "both");
  assert_false(authenticate(w, &h, "both", &peer));
}

static void test_a_challenge_is_good_once(void **state) {
  World *w = *state;
  Peer first, second;
  Hello h;
  hello(w, &h);
  sign_hello(&h, w->f->keys[0], "session", "both");
  assert_true(authenticate(w, &h, "both", &first));
  assert_false(authenticate(w, &h, "both", &second)); /* replayed */
  CLEANUP_FREE char *id = request(w->f, "prod-api", "t");
  HELD job = poll_peer(w, &first, 1, 0, NULL, NULL); /* and the session is untouched by it */
  assert_non_null(job);
  hello(w, &h); /* spent by a wrong signature, too: no guessing on one challenge */
  sign_hello(&h, w->f->keys[1], "session", "both");
  assert_false(authenticate(w, &h, "both", &second));
  sign_hello(&h, w->f->keys[0], "session", "both");
  assert_false(authenticate(w, &h, "both", &second));
}

static void test_no_session_no_answer(void **state) {
  World *w = *state;
  CLEANUP_FREE char *id = request(w->f, "prod-api", "t");
  Peer owner = join(w, 0), none = {0}, guessed;
  HELD job = poll_peer(w, &owner, 1, 0, NULL, NULL);
  int64_t events = event_count(w);
  memset(guessed.id, 0x5a, sizeof guessed.id);
  worthless(w, &none, job);
  worthless(w, &guessed, job);
  memcpy(guessed.id, owner.id, sizeof guessed.id);
  guessed.id[31] ^= 1;
  worthless(w, &guessed, job);
  Pgseal__Envelope empty = PGSEAL__ENVELOPE__INIT; /* and without any */
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  empty.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  empty.poll = &poll;
  call_as(w, NULL, &empty, NULL);
  assert_true(refused_as(w, "unauthorized"));
  held_by(w, job, "both");
  assert_int_equal(event_count(w), events);
}

static void test_anothers_job(void **state) {
  World *w = *state;
  CLEANUP_FREE char *id = request(w->f, "prod-api", "t");
  Peer owner = join(w, 0), thief = join(w, 1);
  HELD job = poll_peer(w, &owner, 1, 0, NULL, NULL);
  assert_non_null(job);
  int64_t events = event_count(w);
  assert_false(progress_peer(w, &thief, job->id, job->fencing, NULL));
  assert_false(result_peer(w, &thief, job->id, job->fencing, NULL));
  assert_false(result_peer(w, &thief, job->id, job->fencing + 1, NULL));
  /* its own, but by another lease's number; and what is no job at all */
  const uint64_t numbers[] = {0, job->fencing - 1, job->fencing + 1, UINT64_MAX};
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
    assert_false(progress_peer(w, &owner, job->id, numbers[i], NULL));
    assert_false(result_peer(w, &owner, job->id, numbers[i], NULL));
  }
  const char *ids[] = {"", "nonesuch", "../../etc", "00000000000000000000000000", "' OR 1=1 --"};
  for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
    assert_false(progress_peer(w, &thief, ids[i], job->fencing, NULL));
    assert_false(result_peer(w, &thief, ids[i], job->fencing, NULL));
  }
  w->f->config.poll_seconds = 1;
  assert_null(poll_peer(w, &thief, 1, 0, job->id, NULL)); /* that it says it runs it makes it no more its own */
  held_by(w, job, "both");
  assert_int_equal(event_count(w), events);
  assert_int_equal(state_of(w->f, id), CHECKPOINT_DUMPING);
  assert_true(progress_peer(w, &owner, job->id, job->fencing, NULL));
}

/* By capability and by database, however much room it says it has. */
static void test_only_jobs_for_it(void **state) {
  World *w = *state;
  static const char *only[] = {"shop"};
  w->f->config.poll_seconds = 1;
  close_gateway(w);
  w->f->agents[1].databases = only; /* dumper */
  restart(w->f);
  open_gateway(w);
  CLEANUP_FREE char *id = request(w->f, "prod-api", "t");
  Peer driller = join(w, 2), dumper = join(w, 1), both = join(w, 0);
  assert_null(poll_peer(w, &driller, 1000, 0, NULL, NULL));
  assert_null(poll_peer(w, &dumper, 1000, 1000, NULL, NULL));
  HELD job = poll_peer(w, &both, 1, 0, NULL, NULL);
  assert_non_null(job);
  assert_null(poll_peer(w, &dumper, 1000, 1000, NULL, NULL)); /* nor the drill that has become ready */
}

static void test_replays(void **state) {
  World *w = *state;
  w->f->config.poll_seconds = 1;
  CLEANUP_FREE char *one = request(w->f, "prod-api", "t");
  CLEANUP_FREE char *two = request(w->f, "shop", "t");
  Peer owner = join(w, 0);
  HELD job = poll_peer(w, &owner, 1, 0, NULL, "poll-1");
  assert_non_null(job);
  int64_t events = event_count(w);
  HELD again = poll_peer(w, &owner, 1, 0, NULL, "poll-1"); /* the same answer, and no second job */
  assert_string_equal(again->id, job->id);
  assert_int_equal(again->fencing, job->fencing);
  assert_int_equal(event_count(w), events);
  assert_true(result_peer(w, &owner, job->id, job->fencing, "result-1"));
  events = event_count(w);
  assert_true(result_peer(w, &owner, job->id, job->fencing, "result-1"));
  assert_true(result_peer(w, &owner, job->id, job->fencing, "result-2"));
  assert_int_equal(event_count(w), events);
  Peer thief = join(w, 1); /* the very bytes of another's request, in a session of its own */
  events = event_count(w);
  assert_false(result_peer(w, &thief, job->id, job->fencing, "result-1"));
  Peer anew = join(w, 0);
  worthless(w, &owner, job); /* the session before it, even for what was answered already */
  assert_null(poll_peer(w, &owner, 1, 0, NULL, "poll-1"));
  assert_true(refused_as(w, "unauthorized"));
  assert_true(result_peer(w, &anew, job->id, job->fencing, "result-1"));
  assert_int_equal(event_count(w), events);
}

/* ---- noise ---- */

static uint32_t next(uint32_t *seed) {
  return *seed = *seed * 1664525 + 1013904223;
}

static void test_noise(void **state) {
  World *w = *state;
  CLEANUP_FREE char *id = request(w->f, "prod-api", "t");
  Peer owner = join(w, 0);
  HELD job = poll_peer(w, &owner, 1, 0, NULL, NULL);
  int64_t events = event_count(w);
  uint32_t seed = 1;
  uint8_t bytes[512];
  for (int round = 0; round < 300; round++) {
    size_t size = next(&seed) % sizeof bytes;
    for (size_t i = 0; i < size; i++)
      bytes[i] = (uint8_t)(next(&seed) >> 24);
    raw(w, bytes, size, 10000);
    assert_true(refused_as(w, "protocol") || refused_as(w, "unauthorized"));
  }
  /* good requests, with a byte or two of them turned; the session, too */
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  message.job_id = job->id;
  message.fencing = job->fencing + 1;
  envelope.version = ENVELOPE_VERSION;
  envelope.request_id = (char *)"r";
  envelope.session = (ProtobufCBinaryData){sizeof owner.id, owner.id};
  envelope.body_case = PGSEAL__ENVELOPE__BODY_PROGRESS;
  envelope.progress = &message;
  Buffer packed = {0};
  envelope_pack(&envelope, &packed);
  w->f->config.poll_seconds = 1; /* should one of them become a poll */
  for (int round = 0; round < 300; round++) {
    Buffer turned = {0};
    buffer_append(&turned, packed.data, packed.size);
    for (int i = 0; i <= round % 2; i++)
      turned.data[next(&seed) % turned.size] ^= (uint8_t)(1u << (next(&seed) >> 24) % 8);
    raw(w, turned.data, turned.size, 10000);
    assert_non_null(w->answer);
    buffer_release(&turned);
  }
  buffer_release(&packed);
  held_by(w, job, "both");
  assert_int_equal(event_count(w), events);
  assert_true(progress_peer(w, &owner, job->id, job->fencing, NULL));
}

/* An agent may join as often as it likes, and say something else each time: the ledger does not grow by it. */
static void test_joins_again_and_again(void **state) {
  World *w = *state;
  LedgerAgent *rows = NULL;
  size_t count = 0;
  char version[16];
  int64_t before = event_count(w);
  w->version = version;
  for (int i = 0; i < 20; i++) {
    snprintf(version, sizeof version, "9.%d", i);
    join(w, 0);
    join(w, 1);
  }
  assert_int_equal(event_count(w), before + 2); /* one of each agent */
  OK(ledger_agent_list(w->f->ledger, &rows, &count, &w->f->err));
  assert_int_equal(count, 2);
  assert_string_equal(rows[0].version, "9.19");
  ledger_agent_list_free(rows, count);
  close_gateway(w);
  open_gateway(w);
  join(w, 0); /* the same as before */
  assert_int_equal(event_count(w), before + 2);
  snprintf(version, sizeof version, "10");
  join(w, 0);
  join(w, 0);
  assert_int_equal(event_count(w), before + 3);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      T(test_only_its_own_key_opens_a_session),
      T(test_a_challenge_is_good_once),
      T(test_no_session_no_answer),
      T(test_anothers_job),
      T(test_only_jobs_for_it),
      T(test_replays),
      T(test_joins_again_and_again),
      T(test_noise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
