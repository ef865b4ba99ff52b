/* The tables themselves: pairs unique, every state reachable, every state can end, and the rules of state.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/state/state.h"

typedef struct Edge {
  int from, event, to;
} Edge;

static size_t checkpoint_edges(Edge *edges) {
  for (size_t i = 0; i < checkpoint_transition_count; i++)
    edges[i] = (Edge){(int)checkpoint_transitions[i].from, (int)checkpoint_transitions[i].event,
                      (int)checkpoint_transitions[i].to};
  return checkpoint_transition_count;
}

static size_t job_edges(Edge *edges) {
  for (size_t i = 0; i < job_transition_count; i++)
    edges[i] = (Edge){(int)job_transitions[i].from, (int)job_transitions[i].event, (int)job_transitions[i].to};
  return job_transition_count;
}

static size_t agent_edges(Edge *edges) {
  for (size_t i = 0; i < agent_transition_count; i++)
    edges[i] = (Edge){(int)agent_transitions[i].from, (int)agent_transitions[i].event, (int)agent_transitions[i].to};
  return agent_transition_count;
}

static void reach(const Edge *edges, size_t count, int from, bool *reached) {
  reached[from] = true;
  for (bool more = true; more;) {
    more = false;
    for (size_t i = 0; i < count; i++) {
      if (reached[edges[i].from] && !reached[edges[i].to])
        reached[edges[i].to] = more = true;
    }
  }
}

static void check_table(const Edge *edges, size_t count, int states, int events, const bool *final) {
  for (size_t i = 0; i < count; i++) {
    assert_in_range(edges[i].from, 0, states - 1);
    assert_in_range(edges[i].to, 0, states - 1);
    assert_in_range(edges[i].event, 0, events - 1);
    for (size_t j = 0; j < i; j++)
      assert_false(edges[i].from == edges[j].from && edges[i].event == edges[j].event);
  }
  bool reached[32] = {false}, used[32] = {false};
  reach(edges, count, 0, reached);
  for (size_t i = 0; i < count; i++)
    used[edges[i].event] = true;
  for (int i = 0; i < events; i++)
    assert_true(used[i]);
  for (int i = 0; i < states; i++) {
    assert_true(reached[i]);
    bool from_here[32] = {false}, ends = false;
    reach(edges, count, i, from_here);
    for (int j = 0; j < states; j++)
      ends = ends || (from_here[j] && final[j]);
    assert_true(ends);
  }
}

static void test_checkpoint_table(void **state) {
  (void)state;
  Edge edges[128] = {0};
  bool final[CHECKPOINT_STATE_COUNT];
  assert_true(checkpoint_transition_count < 128);
  for (int i = 0; i < CHECKPOINT_STATE_COUNT; i++)
    final[i] = checkpoint_state_final((CheckpointState)i);
  check_table(edges, checkpoint_edges(edges), CHECKPOINT_STATE_COUNT, CHECKPOINT_EVENT_COUNT, final);
}

static void test_job_table(void **state) {
  (void)state;
  Edge edges[128] = {0};
  bool final[JOB_STATE_COUNT];
  assert_true(job_transition_count < 128);
  for (int i = 0; i < JOB_STATE_COUNT; i++)
    final[i] = job_state_final((JobState)i);
  check_table(edges, job_edges(edges), JOB_STATE_COUNT, JOB_EVENT_COUNT, final);
  for (size_t i = 0; i < job_transition_count; i++)
    assert_false(job_state_final(job_transitions[i].from)); /* a job that ended has ended */
}

static void test_agent_table(void **state) {
  (void)state;
  Edge edges[128] = {0};
  const bool final[AGENT_STATE_COUNT] = {[AGENT_REVOKED] = true, [AGENT_EXPIRED] = true};
  assert_true(agent_transition_count < 128);
  check_table(edges, agent_edges(edges), AGENT_STATE_COUNT, AGENT_EVENT_COUNT, final);
  for (size_t i = 0; i < agent_transition_count; i++) {
    const AgentTransition *t = &agent_transitions[i];
    /* In by a token alone, and everybody can be thrown out at any time. */
    if (!agent_state_admitted(t->from) && agent_state_admitted(t->to))
      assert_true(t->event == AGENT_EVENT_ENROLL ||
                  (t->from == AGENT_EXPIRED && t->event == AGENT_EVENT_CERTIFICATE_LASTS));
    if (t->event == AGENT_EVENT_ENROLL)
      assert_int_equal(t->from, AGENT_INVITED);
    if (t->event == AGENT_EVENT_REVOKE)
      assert_int_equal(t->to, AGENT_REVOKED);
  }
  for (int from = 0; from < AGENT_STATE_COUNT; from++) {
    AgentState at = (AgentState)from, named;
    assert_true(agent_state_from_name(agent_state_name(at), &named));
    assert_int_equal(named, at);
    assert_true(agent_walk(&at, AGENT_EVENT_REVOKE) || from == AGENT_REVOKED);
    assert_int_equal(at, AGENT_REVOKED);
  }
}

static void test_alert_tables(void **state) {
  (void)state;
  Edge edges[16] = {0};
  const bool over[ALERT_STATE_COUNT] = {[ALERT_RESOLVED] = true};
  const bool ended[NOTIFICATION_STATE_COUNT] = {[NOTIFICATION_SENT] = true, [NOTIFICATION_FAILED] = true};
  for (size_t i = 0; i < alert_transition_count; i++) {
    const AlertTransition *t = &alert_transitions[i];
    edges[i] = (Edge){(int)t->from, (int)t->event, (int)t->to};
    assert_true(t->to != ALERT_FIRING || t->from == ALERT_PENDING); /* it always had to hold for long enough */
  }
  check_table(edges, alert_transition_count, ALERT_STATE_COUNT, ALERT_EVENT_COUNT, over);
  for (size_t i = 0; i < notification_transition_count; i++) {
    const NotificationTransition *t = &notification_transitions[i];
    edges[i] = (Edge){(int)t->from, (int)t->event, (int)t->to};
    assert_false(ended[t->from]); /* what was sent is not sent again */
    assert_true(t->to != NOTIFICATION_SENT || t->event == NOTIFICATION_EVENT_ACCEPTED);
  }
  check_table(edges, notification_transition_count, NOTIFICATION_STATE_COUNT, NOTIFICATION_EVENT_COUNT, ended);
  for (int i = 0; i < ALERT_STATE_COUNT; i++) {
    AlertState named;
    assert_true(alert_state_from_name(alert_state_name((AlertState)i), &named) && (int)named == i);
  }
  for (int i = 0; i < NOTIFICATION_STATE_COUNT; i++) {
    NotificationState named;
    assert_true(notification_state_from_name(notification_state_name((NotificationState)i), &named) && (int)named == i);
  }
}

/* Invariant 1, as far as a table can hold it: sealed is entered by DRILL_PROVEN alone, and only from drilling. */
static void test_only_a_proof_seals(void **state) {
  (void)state;
  for (size_t i = 0; i < checkpoint_transition_count; i++) {
    const CheckpointTransition *t = &checkpoint_transitions[i];
    if (t->to == CHECKPOINT_SEALED && t->from != CHECKPOINT_SEALED) {
      assert_int_equal(t->event, CHECKPOINT_EVENT_DRILL_PROVEN);
      assert_int_equal(t->from, CHECKPOINT_DRILLING);
    }
    if (t->event == CHECKPOINT_EVENT_DRILL_PROVEN)
      assert_int_equal(t->to, CHECKPOINT_SEALED);
    if (t->event == CHECKPOINT_EVENT_DRILL_FAILED)
      assert_int_equal(t->to, CHECKPOINT_FAILED);
    assert_int_not_equal(t->from, CHECKPOINT_FAILED);
  }
}

static void test_sealed_only_leaves_by_failing(void **state) {
  (void)state;
  for (int event = 0; event < CHECKPOINT_EVENT_COUNT; event++) {
    CheckpointState at = CHECKPOINT_SEALED;
    checkpoint_walk(&at, (CheckpointEvent)event);
    assert_int_equal(at, event == CHECKPOINT_EVENT_DRILL_FAILED ? CHECKPOINT_FAILED : CHECKPOINT_SEALED);
  }
}

static void test_drilled_anew(void **state) {
  (void)state;
  for (int from = 0; from < CHECKPOINT_STATE_COUNT; from++) {
    CheckpointState at = (CheckpointState)from;
    bool may = from == CHECKPOINT_ERRORED || from == CHECKPOINT_SEALED || from == CHECKPOINT_CANCELED;
    assert_int_equal(checkpoint_walk(&at, CHECKPOINT_EVENT_DRILL_REQUESTED), may);
    if (!may)
      assert_int_equal(at, from); /* untouched */
  }
  CheckpointState at = CHECKPOINT_ERRORED;
  assert_true(checkpoint_walk(&at, CHECKPOINT_EVENT_DRILL_REQUESTED));
  assert_true(checkpoint_walk(&at, CHECKPOINT_EVENT_DRILL_STARTED));
  assert_true(checkpoint_walk(&at, CHECKPOINT_EVENT_DRILL_PROVEN));
  assert_int_equal(at, CHECKPOINT_SEALED);
}

static void test_every_open_state_can_be_canceled(void **state) {
  (void)state;
  for (int i = 0; i < CHECKPOINT_STATE_COUNT; i++) {
    CheckpointState at = (CheckpointState)i;
    if (!checkpoint_state_final(at)) {
      assert_true(checkpoint_walk(&at, CHECKPOINT_EVENT_CANCEL));
      assert_int_equal(at, CHECKPOINT_CANCELED);
    }
  }
  for (int i = 0; i < JOB_STATE_COUNT; i++) {
    JobState at = (JobState)i;
    assert_int_equal(job_walk(&at, JOB_EVENT_CANCEL), !job_state_final((JobState)i));
  }
}

static void test_names(void **state) {
  (void)state;
  for (int i = 0; i < CHECKPOINT_STATE_COUNT; i++) {
    CheckpointState back;
    assert_true(checkpoint_state_from_name(checkpoint_state_name((CheckpointState)i), &back));
    assert_int_equal(back, i);
  }
  for (int i = 0; i < JOB_STATE_COUNT; i++) {
    JobState back;
    assert_true(job_state_from_name(job_state_name((JobState)i), &back));
    assert_int_equal(back, i);
  }
  CheckpointState c;
  JobState j;
  assert_false(checkpoint_state_from_name("done", &c));
  assert_false(job_state_from_name("sealed", &j));
  assert_string_equal(checkpoint_state_name(CHECKPOINT_STATE_COUNT), "unknown");
  assert_string_equal(job_state_name(JOB_STATE_COUNT), "unknown");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checkpoint_table),
      cmocka_unit_test(test_job_table),
      cmocka_unit_test(test_agent_table),
      cmocka_unit_test(test_alert_tables),
      cmocka_unit_test(test_only_a_proof_seals),
      cmocka_unit_test(test_sealed_only_leaves_by_failing),
      cmocka_unit_test(test_drilled_anew),
      cmocka_unit_test(test_every_open_state_can_be_canceled),
      cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
