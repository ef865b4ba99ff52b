/* A dispatch on a real ledger file, with agents that are only their keys, and a clock that the test moves. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/crypto/signing.h"
#include "common/manifest/manifest.h"
#include "coordinator/dispatch/internal.h"
#include "coordinator/tables/tables.h"

#define OK(call) assert_int_equal((call), STATUS_OK)
#define MANIFEST "1111111111111111111111111111111111111111111111111111111111111111"
#define OTHER "2222222222222222222222222222222222222222222222222222222222222222"
#define PROOF "3333333333333333333333333333333333333333333333333333333333333333"

enum { AGENTS = 6, PRUNER = 5, LEASE = 30, WAIT = 60 };

static const char *const agent_names[AGENTS] = {"both", "dumper", "driller", "restorer", "restorer-2", "pruner"};
static const Requester me = {.name = "me"};
static int64_t clock_moved_us; /* time passes */
static int64_t clock_set_us;   /* the wall clock is set: no time passes */

static inline int64_t moved_wall_us(void) {
  return clock_wall_us() + clock_moved_us + clock_set_us;
}
static inline int64_t moved_monotonic_us(void) {
  return clock_monotonic_us() + clock_moved_us;
}

typedef struct Seen { /* by the observer */
  int work, finished, progress;
  char last_finished[32];
  char kinds[4096]; /* of events, each with a space after it */
} Seen;

typedef struct Fixture {
  char dir[64], path[96];
  const char *where; /* of the ledger; NULL: path */
  CoordinatorConfig config;
  ConfigDatabase databases[2];
  ConfigAgent agents[AGENTS];
  ConfigAssertion assertion;
  SigningKey *keys[AGENTS];
  Ledger *ledger;
  Dispatch *dispatch;
  Seen seen;
  Error err;
} Fixture;

static inline void on_event(void *user, const LedgerEvent *event) {
  Seen *seen = user;
  size_t used = strlen(seen->kinds);
  snprintf(seen->kinds + used, sizeof seen->kinds - used, "%s ", event->kind);
}
static inline void on_progress(void *user, const char *checkpoint, const char *job, json_t *progress) {
  assert_true((!checkpoint || checkpoint[0]) && job[0] && json_is_object(progress));
  ((Seen *)user)->progress++;
}
static inline void on_work(void *user) {
  ((Seen *)user)->work++;
}
static inline void on_finished(void *user, const char *checkpoint) {
  Seen *seen = user;
  seen->finished++;
  snprintf(seen->last_finished, sizeof seen->last_finished, "%s", checkpoint);
}

static inline int64_t age_of(Fixture *f, const char *job_id) {
  LedgerJob job = {0};
  OK(ledger_job_get(f->ledger, job_id, &job, &f->err));
  int64_t age = moved_wall_us() - job.created_us;
  ledger_job_release(&job);
  return age > 0 ? age : 0;
}

static inline void start(Fixture *f) {
  OK(ledger_open(f->where ? f->where : f->path, false, &f->ledger, &f->err));
  OK(dispatch_open(&f->config, f->ledger, &f->dispatch, &f->err));
  f->dispatch->wall_us = moved_wall_us;
  f->dispatch->monotonic_us = moved_monotonic_us;
  f->dispatch->awake_us = moved_monotonic_us();
  for (size_t i = 0; i < f->dispatch->track_count; i++) { /* they were made by the real clock */
    f->dispatch->tracks[i].begun_us = moved_monotonic_us() - age_of(f, f->dispatch->tracks[i].job_id);
    f->dispatch->tracks[i].granted_us += clock_moved_us;
    f->dispatch->tracks[i].lease_until_us += clock_moved_us;
    f->dispatch->tracks[i].capable_us += clock_moved_us;
  }
  DispatchObserver observer = {&f->seen, on_event, on_progress, on_work, on_finished};
  dispatch_observe(f->dispatch, &observer);
}

/* What dispatch knows of the open jobs is what the ledger has of them. */
static inline void assert_open_jobs_agree(Fixture *f) {
  LedgerJob *jobs;
  size_t count, known = 0;
  OpenJob *first;
  OK(ledger_job_open(f->ledger, &jobs, &count, &f->err));
  OK(open_jobs(f->dispatch, &first, &f->err));
  for (OpenJob *open = first; open; open = open->after, known++) {
    assert_true(known < count);
    const LedgerJob *job = &jobs[known];
    assert_string_equal(open->job.id, job->id);
    assert_string_equal(open->job.agent ? open->job.agent : "", job->agent ? job->agent : "");
    assert_string_equal(open->job.approval ? open->job.approval : "", job->approval ? job->approval : "");
    assert_true(open->job.state == job->state && open->job.fencing == job->fencing);
    assert_true(open->job.not_before_us == job->not_before_us && open->job.cancel_requested == job->cancel_requested);
  }
  assert_int_equal(known, count);
  ledger_job_list_free(jobs, count);
}

/* What is left of a coordinator that died: nothing but its ledger. */
static inline void restart(Fixture *f) {
  assert_open_jobs_agree(f);
  dispatch_close(f->dispatch);
  ledger_close(f->ledger);
  start(f);
}

static inline void configure(Fixture *f) {
  static const char *both[] = {"dump", "drill"}, *restore[] = {"restore", "rehearse"}, *prune[] = {"prune"},
                    *all[] = {"*"};
  f->assertion = (ConfigAssertion){"rows", "SELECT true"};
  f->databases[0] = (ConfigDatabase){"prod-api", "production", "", &f->assertion, 1, 900, 5, 2, false, "GOVERNANCE", 3};
  f->databases[1] = (ConfigDatabase){"shop", "", "", NULL, 0, 900, 5, 2, false, NULL, 0};
  for (int i = 0; i < AGENTS; i++) {
    f->agents[i] = (ConfigAgent){.name = agent_names[i], .databases = all, .database_count = 1};
    f->agents[i].capabilities = i == PRUNER ? prune : i > 2 ? restore : i == 2 ? both + 1 : both;
    f->agents[i].capability_count = i == 0 || i == 3 || i == 4 ? 2 : 1;
    char *key = memory_format("%s/%d.key", f->dir, i), *pub = memory_format("%s/%d.pub", f->dir, i);
    OK(signing_key_generate(key, pub, &f->err));
    OK(signing_key_load(key, &f->keys[i], &f->err));
    signing_key_public(f->keys[i], f->agents[i].key);
    free(key);
    free(pub);
  }
  f->config = (CoordinatorConfig){.path = "coordinator.yaml",
                                  .lease_seconds = LEASE,
                                  .poll_seconds = 10,
                                  .max_attempts = 3,
                                  .agent_wait_seconds = WAIT,
                                  .databases = f->databases,
                                  .database_count = 2,
                                  .agents = f->agents,
                                  .agent_count = AGENTS};
}

static inline int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
  clock_moved_us = clock_set_us = 0;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-dispatch-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->path, sizeof f->path, "%s/ledger.db", f->dir);
  configure(f);
  start(f);
  *state = f;
  return 0;
}

static inline int teardown(void **state) {
  Fixture *f = *state;
  int64_t events;
  char tip[65];
  OK(ledger_chain_verify(f->ledger, &events, tip, &f->err));
  assert_open_jobs_agree(f);
  dispatch_close(f->dispatch);
  ledger_close(f->ledger);
  for (int i = 0; i < AGENTS; i++)
    signing_key_free(f->keys[i]);
  OK(file_remove_tree(f->dir, &f->err));
  free(f);
  return 0;
}

/* Time passes between two ticks; live agents are those named (bits), which poll now. */
static inline void tick_after(Fixture *f, int64_t moved_us, unsigned live) {
  clock_moved_us += moved_us;
  for (int i = 0; i < AGENTS; i++) {
    if (live & (1u << i))
      dispatch_agent_seen(f->dispatch, agent_names[i]);
  }
  dispatch_tick(f->dispatch);
}

/* Time passes, with a tick every second. */
static inline void pass(Fixture *f, double seconds, unsigned live) {
  int64_t left_us = (int64_t)(seconds * 1e6);
  for (; left_us > 1000000; left_us -= 1000000)
    tick_after(f, 1000000, live);
  tick_after(f, left_us, live);
}

static inline char *request(Fixture *f, const char *database, const char *tag) {
  Checkpoint c = {0};
  bool joined = true;
  OK(dispatch_request_checkpoint(f->dispatch, database, tag, &(Requester){.name = "ci"}, NULL, &c, &joined, &f->err));
  assert_false(joined);
  assert_int_equal(c.state, CHECKPOINT_REQUESTED);
  char *id = memory_strdup(c.id);
  checkpoint_release(&c);
  return id;
}

static inline CheckpointState state_of(Fixture *f, const char *id) {
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  CheckpointState state = c.state;
  bool final = checkpoint_state_final(state);
  assert_true(!final || (c.finished_us > 0 && c.seconds > 0));
  assert_true(state != CHECKPOINT_SEALED || (c.manifest_sha256 && c.proof_sha256));
  checkpoint_release(&c);
  return state;
}

static inline void expect_error(Fixture *f, const char *id, CheckpointState state, const char *code) {
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(checkpoint_state_name(c.state), checkpoint_state_name(state));
  assert_string_equal(c.error_code, code);
  assert_true(c.error_message && c.error_remedy);
  checkpoint_release(&c);
}

static inline JobState job_state_of(Fixture *f, const char *job_id, int *attempt) {
  LedgerJob job = {0};
  OK(ledger_job_get(f->ledger, job_id, &job, &f->err));
  JobState state = job.state;
  if (attempt)
    *attempt = job.attempt;
  ledger_job_release(&job);
  return state;
}

/* NULL if there is nothing. running: a job the agent says it runs, or NULL. */
static inline Pgseal__Job *poll_as(Fixture *f, int agent, int dumps, int drills, const char *running) {
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  char *jobs[] = {(char *)running};
  poll.free_dump = (uint32_t)dumps;
  poll.free_drill = (uint32_t)drills;
  poll.n_running_jobs = running ? 1 : 0;
  poll.running_jobs = jobs;
  Pgseal__Job *job = NULL;
  OK(dispatch_poll(f->dispatch, agent_names[agent], &poll, &job, &f->err));
  return job;
}

static inline Pgseal__Job *must_get(Fixture *f, int agent, Pgseal__JobKind kind) {
  bool dump = kind == PGSEAL__JOB_KIND__JOB_KIND_DUMP;
  Pgseal__Job *job = poll_as(f, agent, dump, !dump, NULL);
  assert_non_null(job);
  assert_int_equal(job->kind, kind);
  return job;
}
#define DUMP PGSEAL__JOB_KIND__JOB_KIND_DUMP
#define DRILL PGSEAL__JOB_KIND__JOB_KIND_DRILL

static inline Pgseal__ProgressReply *progress_as(Fixture *f, int agent, const Pgseal__Job *job, uint64_t segments) {
  Pgseal__JobProgress body = PGSEAL__JOB_PROGRESS__INIT;
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  body.phase = (char *)(job->kind == DUMP ? "dumping" : "restoring");
  body.segments = segments;
  body.roles_stored = segments > 0;
  body.server_major = 15;
  body.bootstrap_role = (char *)"post\ngres";
  body.database_name = (char *)"db";
  message.job_id = job->id;
  message.fencing = job->fencing;
  message.progress = &body;
  Pgseal__ProgressReply *reply = NULL;
  OK(dispatch_progress(f->dispatch, agent_names[agent], &message, &reply, &f->err));
  return reply;
}

/* Renews the lease and forgets the reply. */
static inline void renew(Fixture *f, int agent, const Pgseal__Job *job) {
  Pgseal__ProgressReply *reply = progress_as(f, agent, job, 0);
  assert_false(reply->lease_lost);
  pgseal__progress_reply__free_unpacked(reply, NULL);
}

static inline Status send_result(Fixture *f, int agent, const Pgseal__Job *job, Pgseal__JobResult *result,
                                 bool *accepted) {
  Pgseal__Result message = PGSEAL__RESULT__INIT;
  const char *reason = NULL;
  message.job_id = job->id;
  message.fencing = job->fencing;
  message.result = result;
  *accepted = false;
  Status status = dispatch_result(f->dispatch, agent_names[agent], &message, accepted, &reason, &f->err);
  assert_true(status != STATUS_OK || *accepted || (reason && reason[0]));
  return status;
}

/* Two tables of 50 rows: as dump_done tells them. */
static inline Pgseal__TableList *two_tables(void) {
  Pgseal__TableList *list = memory_alloc(sizeof *list);
  pgseal__table_list__init(list);
  for (int i = 0; i < 2; i++) {
    Pgseal__TableFacts *facts = memory_alloc(sizeof *facts);
    pgseal__table_facts__init(facts);
    facts->schema = memory_strdup("public");
    facts->name = memory_strdup(i ? "items" : "orders");
    facts->rows = i ? 9 : 41;
    facts->bytes = i ? 90 : 4100;
    ARRAY_PUSH(list->tables, list->n_tables, facts);
  }
  return list;
}

/* What the ledger has of them: how many; -1: nothing. */
static inline int tables_of(Fixture *f, const char *id) {
  CLEANUP_FREE char *packed = NULL;
  CLEANUP(tables_release) Tables tables = {0};
  OK(ledger_tables_get(f->ledger, id, &packed, &f->err));
  if (!packed)
    return -1;
  OK(tables_unpack(packed, &tables, &f->err));
  for (size_t i = 0; i < tables.count; i++)
    assert_string_equal(tables.items[i].name, i ? "orders" : "items"); /* in the order of names */
  return (int)tables.count;
}

static inline bool dump_done(Fixture *f, int agent, const Pgseal__Job *job, const char *manifest) {
  Pgseal__DumpResult dump = PGSEAL__DUMP_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  dump.manifest_sha256 = (char *)manifest;
  dump.segments = 4;
  dump.size_stored = 1000;
  dump.size_archive = 3000;
  dump.tables = 2;
  dump.rows = 50;
  dump.server_version = (char *)"15.14";
  dump.dump_version = (char *)"15.14";
  dump.server_major = 15;
  dump.omissions_json = (char *)"[{\"kind\": \"role_passwords\", \"object\": \"\", \"detail\": \"2 roles\"}]";
  dump.fingerprint_sha256 = (char *)OTHER;
  dump.table_list = two_tables();
  result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  result.dump = &dump;
  result.stages_json = (char *)"{\"dumping\": 1.5}";
  bool accepted;
  OK(send_result(f, agent, job, &result, &accepted));
  pgseal__table_list__free_unpacked(dump.table_list, NULL);
  return accepted;
}

/* said: the verdict in words, beside the outcome that is signed. */
static inline Status drill_says(Fixture *f, int agent, const Pgseal__Job *job, int signer, Outcome outcome,
                                const char *said, const char *manifest, const char *prefix, bool *accepted) {
  Pgseal__DrillResult drill = PGSEAL__DRILL_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  uint8_t signature[SIGNATURE_SIZE];
  char *statement = verdict_statement(job->checkpoint_id, job->drill->drill_id, manifest, PROOF, outcome);
  OK(signing_sign(f->keys[signer], "verdict", statement, strlen(statement), signature, &f->err));
  free(statement);
  char *key = memory_format("%sproofs/%s.json.cms", prefix, job->drill->drill_id);
  drill.manifest_sha256 = (char *)manifest;
  result.stages_json = (char *)"{\"restore\": 2.5}";
  drill.proof_sha256 = (char *)PROOF;
  drill.verdict_signature = (ProtobufCBinaryData){sizeof signature, signature};
  drill.verdict = (char *)said;
  drill.proof_key = key;
  drill.engine = (char *)"local";
  drill.notes_json = (char *)"[\"a note\"]";
  result.outcome = outcome == OUTCOME_PROVEN ? PGSEAL__JOB_RESULT__OUTCOME__DONE : PGSEAL__JOB_RESULT__OUTCOME__FAILED;
  result.drill = &drill;
  if (outcome != OUTCOME_PROVEN) {
    failure.code = (char *)"segment_corrupt";
    failure.message = (char *)"segment 1 was altered";
    result.error = &failure;
    drill.differences_json = (char *)"[{\"kind\": \"rows\", \"object\": \"t\", \"detail\": \"d\", \"remedy\": \"r\"}]";
  }
  Status status = send_result(f, agent, job, &result, accepted);
  free(key);
  return status;
}

static inline Status drill_ends(Fixture *f, int agent, const Pgseal__Job *job, int signer, Outcome outcome,
                                const char *manifest, const char *prefix, bool *accepted) {
  return drill_says(f, agent, job, signer, outcome, outcome_name(outcome), manifest, prefix, accepted);
}

static inline bool drill_proven(Fixture *f, int agent, const Pgseal__Job *job, const char *manifest) {
  bool accepted;
  OK(drill_ends(f, agent, job, agent, OUTCOME_PROVEN, manifest, job->prefix, &accepted));
  return accepted;
}

static inline bool ends_with(Fixture *f, int agent, const Pgseal__Job *job, int outcome, const char *code) {
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  failure.code = (char *)code;
  failure.message = (char *)"it went wrong";
  result.outcome = (Pgseal__JobResult__Outcome)outcome;
  result.error = &failure;
  bool accepted;
  OK(send_result(f, agent, job, &result, &accepted));
  return accepted;
}
#define ENDS_FAILED PGSEAL__JOB_RESULT__OUTCOME__FAILED
#define ENDS_ERRORED PGSEAL__JOB_RESULT__OUTCOME__ERRORED
#define ENDS_CANCELED PGSEAL__JOB_RESULT__OUTCOME__CANCELED

static inline void job_free(Pgseal__Job **job) {
  if (*job)
    pgseal__job__free_unpacked(*job, NULL);
}
#define JOB CLEANUP(job_free) Pgseal__Job
static inline void reply_free(Pgseal__ProgressReply **reply) {
  if (*reply)
    pgseal__progress_reply__free_unpacked(*reply, NULL);
}
#define REPLY CLEANUP(reply_free) Pgseal__ProgressReply

/* A stored checkpoint, its drill not leased yet. */
static inline char *stored(Fixture *f, const char *database, const char *manifest) {
  char *id = request(f, database, "t");
  JOB *dump = must_get(f, 1, DUMP);
  assert_string_equal(dump->checkpoint_id, id);
  assert_true(dump_done(f, 1, dump, manifest));
  assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
  return id;
}

static inline char *sealed(Fixture *f) {
  char *id = stored(f, "prod-api", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  return id;
}

#endif
