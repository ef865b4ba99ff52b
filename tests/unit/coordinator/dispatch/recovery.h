/* Plans and restores in the tests of dispatch: asking for them, getting them, reporting what came of them. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_RECOVERY_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_RECOVERY_H

#include "tests/unit/coordinator/dispatch/support.h"

enum { RESTORER = 3, OTHER_RESTORER = 4 };
#define LIVE ((1u << RESTORER) | (1u << OTHER_RESTORER))
#define PLAN_REPORT                                                                                                    \
  "{\"version\": 1, \"kind\": \"plan\", \"damage\": \"%s\", \"seconds\": 1.5, \"objects\": [{\"change\": "             \
  "\"missing\", "                                                                                                      \
  "\"desc\": \"TABLE\", \"schema\": \"public\", \"name\": \"orders\"}]}"

static inline void free_json(json_t **json) {
  json_decref(*json);
}

static inline char *sealed_of(Fixture *f, const char *database) {
  char *id = stored(f, database, MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  return id;
}

static inline Status ask_for(Fixture *f, LedgerJobKind kind, const char *body, const char *who, const char *key,
                             LedgerJob *out, bool *joined) {
  CLEANUP(free_json) json_t *request_json = json_loads(body, 0, NULL);
  assert_non_null(request_json);
  return dispatch_request_recovery(f->dispatch, kind, request_json, &(Requester){.name = who, .address = "10.0.0.9"},
                                   key, out, joined, &f->err);
}

/* New string: the job's id. */
static inline char *asked(Fixture *f, LedgerJobKind kind, const char *body) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  bool joined;
  OK(ask_for(f, kind, body, "oncall", NULL, &job, &joined));
  assert_false(joined);
  return memory_strdup(job.id);
}

static inline void refused(Fixture *f, LedgerJobKind kind, const char *body, Status wanted, const char *text) {
  LedgerJob job = {0};
  bool joined;
  Status status = ask_for(f, kind, body, "oncall", NULL, &job, &joined);
  if (status != wanted || !strstr(f->err.message, text))
    fail_msg("%s: status %d, '%s'; wanted %d, '%s'", body, status, status ? f->err.message : "", wanted, text);
  assert_true(f->err.remedy[0]);
}

static inline Pgseal__Job *poll_restore(Fixture *f, int agent) {
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  poll.free_restore = 1;
  poll.free_dump = poll.free_drill = 1;
  OK(dispatch_poll(f->dispatch, agent_names[agent], &poll, &job, &f->err));
  return job;
}

static inline Pgseal__Job *must_recover(Fixture *f, int agent, const char *id) {
  Pgseal__Job *job = poll_restore(f, agent);
  assert_non_null(job);
  assert_string_equal(job->id, id);
  return job;
}

static inline bool reports(Fixture *f, int agent, const Pgseal__Job *job, int outcome, const char *code,
                           const char *report) {
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  failure.code = (char *)code;
  failure.message = (char *)"it went wrong";
  result.outcome = (Pgseal__JobResult__Outcome)outcome;
  result.error = code ? &failure : NULL;
  result.report_json = (char *)report;
  bool accepted;
  OK(send_result(f, agent, job, &result, &accepted));
  return accepted;
}
#define DONE PGSEAL__JOB_RESULT__OUTCOME__DONE

static inline json_t *report_of(Fixture *f, const char *id) {
  json_t *report = NULL;
  OK(ledger_job_report_get(f->ledger, id, &report, &f->err));
  return report;
}

static inline void expect_job(Fixture *f, const char *id, JobState state, const char *code, const char *remedy) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  OK(ledger_job_get(f->ledger, id, &job, &f->err));
  assert_string_equal(job_state_name(job.state), job_state_name(state));
  if (!code) {
    assert_null(job.error_code);
    return;
  }
  assert_string_equal(job.error_code, code);
  if (remedy && !strstr(job.error_remedy, remedy))
    fail_msg("remedy '%s' lacks '%s'", job.error_remedy, remedy);
}

/* The newest event of this kind; new reference to its detail, {} if there is none. */
static inline json_t *detail_of(Fixture *f, const char *kind, const char *actor) {
  LedgerEvent *events;
  size_t count;
  json_t *detail = NULL;
  OK(ledger_event_list(f->ledger, &(EventFilter){.limit = -1}, &events, &count, &f->err));
  for (size_t i = 0; i < count; i++) {
    if (strcmp(events[i].kind, kind) != 0)
      continue;
    assert_string_equal(events[i].actor, actor);
    assert_true(events[i].job_id && events[i].checkpoint_id && events[i].database);
    json_decref(detail);
    detail = json_incref(events[i].detail);
  }
  ledger_event_list_free(events, count);
  if (!detail)
    fail_msg("there is no event %s", kind);
  return detail;
}

static inline const char *text_in(const json_t *object, const char *member) {
  const char *text = json_string_value(json_object_get(object, member));
  return text ? text : "";
}

#define RESTORE "{\"database\": \"shop\", \"mode\": \"in_place\", \"tables\": [\"orders\"]%s}"

static inline char *restore_of_shop(Fixture *f, const char *more) {
  CLEANUP_FREE char *body = memory_format(RESTORE, more);
  return asked(f, LEDGER_JOB_RESTORE, body);
}

#endif
