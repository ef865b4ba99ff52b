/* Frames on their way between a rehearsal's agent and its client: each once and in order, whatever is sent again; for
 * nobody else; never more than the bounds. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#include "common/rehearsal/tunnel.h"
#include "coordinator/tunnel/tunnel.h"

#define AGENT agent_names[RESTORER]
#define CLIENT "oncall"
#define DATA PGSEAL__TUNNEL_FRAME__KIND__DATA
#define SIGNED "\"nonce\": \"0123456789abcdef\", \"time\": 5, \"mac\": \"" PROOF "\"}"

typedef struct Woken {
  int times[2];
} Woken;

static void woken_client(void *user, const char *job_id) {
  assert_true(*job_id);
  ((Woken *)user)->times[TUNNEL_CLIENT]++;
}

static void woken_agent(void *user, const char *job_id) {
  assert_true(*job_id);
  ((Woken *)user)->times[TUNNEL_AGENT]++;
}

/* A rehearsal that runs; freed by the caller. */
static Pgseal__Job *rehearsal(Fixture *f, Woken *woken, bool tunnel) {
  Tunnels *tunnels = dispatch_tunnels(f->dispatch);
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *rehearsal_id =
      asked(f, LEDGER_JOB_REHEARSE,
            tunnel ? "{\"database\": \"shop\", \"tunnel\": true, " SIGNED
                   : "{\"database\": \"shop\", \"sql\": [{\"name\": \"a\", \"text\": \"SELECT 1\"}], " SIGNED);
  tunnels_clock(tunnels, moved_monotonic_us);
  tunnels_observe(tunnels, TUNNEL_CLIENT, woken_client, woken);
  tunnels_observe(tunnels, TUNNEL_AGENT, woken_agent, woken);
  Pgseal__Tunnel early = PGSEAL__TUNNEL__INIT;
  assert_int_equal(tunnels_take(tunnels, TUNNEL_CLIENT, CLIENT, rehearsal_id, &early, &f->err),
                   tunnel ? ERR_CONFLICT : ERR_NOT_FOUND);
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  poll.free_rehearse = 1;
  OK(dispatch_poll(f->dispatch, AGENT, &poll, &job, &f->err));
  assert_non_null(job);
  return job;
}

static Pgseal__TunnelFrame *frame_of(uint64_t sequence, Pgseal__TunnelFrame__Kind kind, const char *data, size_t size) {
  Pgseal__TunnelFrame *frame = memory_alloc(sizeof *frame);
  pgseal__tunnel_frame__init(frame);
  frame->sequence = sequence;
  frame->connection = 1;
  frame->kind = kind;
  frame->data = (ProtobufCBinaryData){size, size ? memory_dup(data, size) : NULL};
  return frame;
}

/* One frame for each character. */
static Status sends(Fixture *f, TunnelSide side, const Pgseal__Job *job, uint64_t first, const char *letters,
                    uint64_t received) {
  Pgseal__Tunnel message = PGSEAL__TUNNEL__INIT;
  Pgseal__TunnelFrame *frames[16] = {0};
  size_t count = strlen(letters);
  for (size_t i = 0; i < count; i++)
    frames[i] = frame_of(first + i, DATA, letters + i, 1);
  message.frames = frames;
  message.n_frames = count;
  message.received = received;
  message.fencing = job->fencing;
  Status status = tunnels_take(dispatch_tunnels(f->dispatch), side, side == TUNNEL_AGENT ? AGENT : CLIENT, job->id,
                               &message, &f->err);
  for (size_t i = 0; i < count; i++)
    if (frames[i])
      pgseal__tunnel_frame__free_unpacked(frames[i], NULL);
  return status;
}

static void expect(Fixture *f, TunnelSide side, const Pgseal__Job *job, const char *letters, uint64_t first,
                   uint64_t received, bool closed) {
  Pgseal__TunnelReply reply = PGSEAL__TUNNEL_REPLY__INIT;
  Tunnels *tunnels = dispatch_tunnels(f->dispatch);
  assert_int_equal(tunnels_ready(tunnels, side, job->id), *letters || closed);
  tunnels_reply(tunnels, side, job->id, true, &reply);
  assert_int_equal(reply.n_frames, strlen(letters));
  assert_int_equal(reply.received, received);
  assert_int_equal(reply.closed, closed);
  for (size_t i = 0; i < reply.n_frames; i++) {
    assert_int_equal(reply.frames[i]->sequence, first + i);
    assert_memory_equal(reply.frames[i]->data.data, letters + i, 1);
  }
  free(reply.frames);
}

static void test_each_once_and_in_order(void **state) {
  Fixture *f = *state;
  Woken woken = {0};
  JOB *job = rehearsal(f, &woken, true);
  OK(sends(f, TUNNEL_CLIENT, job, 1, "abc", 0));
  expect(f, TUNNEL_AGENT, job, "abc", 1, 0, false);
  OK(sends(f, TUNNEL_CLIENT, job, 2, "bcd", 0)); /* again, and one more */
  OK(sends(f, TUNNEL_AGENT, job, 1, "xy", 2));   /* it has a and b */
  expect(f, TUNNEL_AGENT, job, "cd", 3, 2, false);
  expect(f, TUNNEL_CLIENT, job, "xy", 1, 4, false);
  OK(sends(f, TUNNEL_CLIENT, job, 5, "", 2));
  OK(sends(f, TUNNEL_AGENT, job, 1, "xy", 4)); /* late: nothing of it is new */
  expect(f, TUNNEL_CLIENT, job, "", 0, 4, false);
  expect(f, TUNNEL_AGENT, job, "", 0, 2, false);
  assert_int_equal(woken.times[TUNNEL_AGENT], 2);
  assert_int_equal(woken.times[TUNNEL_CLIENT], 1);
}

static void test_for_nobody_else(void **state) {
  Fixture *f = *state;
  Woken woken = {0};
  JOB *job = rehearsal(f, &woken, true);
  Tunnels *tunnels = dispatch_tunnels(f->dispatch);
  Pgseal__Tunnel message = PGSEAL__TUNNEL__INIT;
  message.fencing = job->fencing;
  assert_int_equal(tunnels_take(tunnels, TUNNEL_CLIENT, "another", job->id, &message, &f->err), ERR_FORBIDDEN);
  assert_int_equal(tunnels_take(tunnels, TUNNEL_AGENT, agent_names[OTHER_RESTORER], job->id, &message, &f->err),
                   ERR_CONFLICT);
  message.fencing++;
  assert_int_equal(tunnels_take(tunnels, TUNNEL_AGENT, AGENT, job->id, &message, &f->err), ERR_CONFLICT);
  assert_int_equal(tunnels_take(tunnels, TUNNEL_AGENT, AGENT, "nonesuch", &message, &f->err), ERR_NOT_FOUND);
  OK(sends(f, TUNNEL_CLIENT, job, 1, "a", 0));
}

static void test_none_without_one(void **state) {
  Fixture *f = *state;
  Woken woken = {0};
  JOB *job = rehearsal(f, &woken, false);
  assert_int_equal(sends(f, TUNNEL_AGENT, job, 1, "a", 0), ERR_NOT_FOUND);
}

/* What is lost here is never made up: both sides are told that it is over. */
static void test_breaks(void **state) {
  Fixture *f = *state;
  for (int i = 0; i < 3; i++) {
    Woken woken = {0};
    JOB *job = rehearsal(f, &woken, true);
    OK(sends(f, TUNNEL_CLIENT, job, 1, "ab", 0));
    Status status = i == 0   ? sends(f, TUNNEL_CLIENT, job, 4, "d", 0)  /* c is missing */
                    : i == 1 ? sends(f, TUNNEL_AGENT, job, 1, "x", 3)   /* it cannot have that */
                             : sends(f, TUNNEL_CLIENT, job, 3, "c", 1); /* as after a restart */
    assert_int_equal(status, ERR_CONFLICT);
    assert_non_null(strstr(f->err.remedy, "Rehearse it again"));
    expect(f, TUNNEL_AGENT, job, "", 0, 0, true); /* what waited is not worth anything now */
    assert_int_equal(sends(f, TUNNEL_AGENT, job, 1, "x", 0), ERR_CONFLICT);
    assert_true(woken.times[TUNNEL_CLIENT] && woken.times[TUNNEL_AGENT]);
    assert_true(reports(f, RESTORER, job, ENDS_ERRORED, "unavailable", "{\"verdict\": \"failed\"}"));
  }
}

static void test_bounds(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *large = memory_alloc(TUNNEL_DATA_LIMIT + 1);
  static const struct {
    Pgseal__TunnelFrame__Kind kind;
    size_t size;
  } bad[] = {{DATA, TUNNEL_DATA_LIMIT + 1},
             {PGSEAL__TUNNEL_FRAME__KIND__END, TUNNEL_TEXT_LIMIT + 1},
             {PGSEAL__TUNNEL_FRAME__KIND__OPEN, 1},
             {PGSEAL__TUNNEL_FRAME__KIND__UNSPECIFIED, 0},
             {DATA, TUNNEL_DATA_LIMIT}}; /* well, but too many of them */
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    Woken woken = {0};
    JOB *job = rehearsal(f, &woken, true);
    size_t count = i + 1 < ARRAY_SIZE(bad) ? 1 : TUNNEL_CONNECTIONS * (TUNNEL_WINDOW / TUNNEL_DATA_LIMIT) + 1;
    for (size_t n = 1; n <= count; n++) {
      Pgseal__TunnelFrame *frame = frame_of(n, bad[i].kind, large, bad[i].size);
      Pgseal__Tunnel message = PGSEAL__TUNNEL__INIT;
      message.frames = &frame;
      message.n_frames = 1;
      Status status = tunnels_take(dispatch_tunnels(f->dispatch), TUNNEL_CLIENT, CLIENT, job->id, &message, &f->err);
      if (frame)
        pgseal__tunnel_frame__free_unpacked(frame, NULL);
      assert_int_equal(status, n == count ? ERR_PROTOCOL : STATUS_OK);
    }
    assert_true(reports(f, RESTORER, job, ENDS_ERRORED, "unavailable", "{}"));
  }
}

/* A client that is gone is told of to the agent; a job that is over, to both. */
static void test_ends(void **state) {
  Fixture *f = *state;
  Woken woken = {0};
  JOB *job = rehearsal(f, &woken, true);
  Tunnels *tunnels = dispatch_tunnels(f->dispatch);
  OK(sends(f, TUNNEL_AGENT, job, 1, "x", 0));
  OK(sends(f, TUNNEL_CLIENT, job, 1, "a", 0));
  clock_moved_us += (int64_t)(TUNNEL_SILENCE_SECONDS - 1) * 1000000;
  tunnels_tick(tunnels);
  expect(f, TUNNEL_AGENT, job, "a", 1, 1, false);
  OK(sends(f, TUNNEL_CLIENT, job, 2, "", 0));
  clock_moved_us += (int64_t)(TUNNEL_SILENCE_SECONDS - 1) * 1000000;
  tunnels_tick(tunnels);
  expect(f, TUNNEL_AGENT, job, "a", 1, 1, false);
  clock_moved_us += 2 * 1000000;
  tunnels_tick(tunnels);
  expect(f, TUNNEL_AGENT, job, "a", 1, 1, true);
  assert_int_equal(sends(f, TUNNEL_CLIENT, job, 2, "b", 0), ERR_CONFLICT); /* too late */
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{\"verdict\": \"clean\"}"));
  clock_moved_us += 3 * 1000000;
  tunnels_tick(tunnels);
  expect(f, TUNNEL_CLIENT, job, "x", 1, 1, true);
  clock_moved_us += 60 * 1000000;
  tunnels_tick(tunnels);
  expect(f, TUNNEL_CLIENT, job, "", 0, 0, true);
  assert_int_equal(sends(f, TUNNEL_CLIENT, job, 2, "b", 0), ERR_CONFLICT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_each_once_and_in_order),
      T(test_for_nobody_else),
      T(test_none_without_one),
      T(test_breaks),
      T(test_bounds),
      T(test_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
