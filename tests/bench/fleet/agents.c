/*
 * Many agents in one process, of which each speaks the real protocol with a session of its own: for the coordinator
 * they are agents like any other. Only their jobs pretend: a dump takes its time and names a manifest that nobody
 * stored, a drill follows it and says, signed with its agent's key, that it is proven.
 *
 *   agents keys DIR DUMPERS DRILLERS      makes the keys of those that have none
 *   agents URL[,URL] DIR DUMPERS DRILLERS SLOTS DUMP_SECONDS DRILL_SECONDS
 *
 * Of two coordinators, every other agent begins with the second one. (At most URLS of them.)
 *
 * Keys: DIR/<name>.key of dump-0, ..., drill-0, ... Prints "joined" once all are, and then for each job that it is
 * given "KIND CHECKPOINT MICROSECONDS DATABASE" (monotonic), and "refused JOB" for a result that was. Ends with its
 * standard input.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <uv.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/bus/bus.h"
#include "common/bus/envelope.h"
#include "common/crypto/signing.h"
#include "common/manifest/manifest.h"

enum {
  RESEND_MS = 5000,
  REQUEST_MS = 60000,
  JOBS = 8,
  URLS = 2,
  TICK_MS = 100,
  JOIN_SPREAD_MS = 5,
  AGAIN_US = 500 * 1000
};

typedef struct Sim Sim;
typedef struct Member Member;

typedef struct Work { /* a job that a member pretends to do */
  Member *member;
  Pgseal__Job *job; /* NULL: free */
  bool asking, over, followed;
  int64_t begun_us, ends_us, told_us, renew_us; /* ends: 0 if not known yet */
  char manifest[65];
} Work;

struct Member {
  Sim *sim;
  char name[32];
  bool drills, joined, polling;
  unsigned polls;
  BusClient *bus;
  SigningKey *key;
  uint8_t nonce[ENVELOPE_NONCE_SIZE], session[ENVELOPE_SESSION_SIZE];
  int64_t lease_us, poll_us, join_at_us, poll_at_us;
  Work work[JOBS];
};

struct Sim {
  uv_loop_t loop;
  uv_timer_t timer;
  uv_pipe_t input;
  Member *members;
  size_t count, joined;
  int slots;
  double dump_seconds, drill_seconds;
  const char *urls[2 * URLS]; /* twice, to begin with any */
  size_t url_count;
};

static void die(const char *what, const Error *err) {
  fprintf(stderr, "agents: %s: %s\n", what, err ? err->message : "");
  exit(1);
}

/* ---- requests ---- */

static void on_assignment(Member *member, Work *work, const Pgseal__Envelope *answer);

typedef struct Call {
  Member *member;
  Work *work; /* or NULL */
  unsigned polls;
  void (*answered)(Member *member, Work *work, const Pgseal__Envelope *answer /* NULL: none */);
} Call;

static void on_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  Call call = *(Call *)user;
  free(user);
  Pgseal__Envelope *answer = NULL;
  Error wrong;
  if (!err && envelope_unpack(data, size, &answer, &wrong) != STATUS_OK)
    die("an answer", &wrong);
  if (answer && answer->body_case == PGSEAL__ENVELOPE__BODY_FAILURE &&
      strcmp(answer->failure->code, "unauthorized") == 0)
    call.member->joined = false; /* the coordinator was restarted */
  if (call.answered == on_assignment && call.polls == call.member->polls)
    call.member->polling = false; /* else it is that of an earlier poll, which another took the place of */
  call.answered(call.member, call.work, answer);
  if (answer)
    pgseal__envelope__free_unpacked(answer, NULL);
}

static void ask(Member *member, Work *work, Pgseal__Envelope *envelope,
                void (*answered)(Member *, Work *, const Pgseal__Envelope *)) {
  Id id = id_new();
  Buffer packed = {0};
  envelope->version = ENVELOPE_VERSION;
  envelope->request_id = id.text;
  if (member->joined)
    envelope->session = (ProtobufCBinaryData){sizeof member->session, member->session};
  envelope_pack(envelope, &packed);
  Call *call = memory_alloc(sizeof *call);
  *call = (Call){member, work, member->polls, answered};
  bus_client_request(member->bus, packed.data, packed.size, REQUEST_MS, on_reply, call);
  buffer_release(&packed);
}

static void poll_for_work(Member *member);

/* ---- joining ---- */

static void on_welcome(Member *member, Work *work, const Pgseal__Envelope *answer) {
  (void)work;
  if (!answer || answer->body_case != PGSEAL__ENVELOPE__BODY_WELCOME) {
    member->join_at_us = clock_monotonic_us() + AGAIN_US;
    return;
  }
  memcpy(member->session, answer->welcome->session.data, sizeof member->session);
  member->lease_us = (int64_t)answer->welcome->lease_seconds * 1000000;
  member->joined = true;
  member->polling = false;
  if (++member->sim->joined == member->sim->count)
    puts("joined");
}

static void on_challenge(Member *member, Work *work, const Pgseal__Envelope *answer) {
  (void)work;
  if (!answer || answer->body_case != PGSEAL__ENVELOPE__BODY_CHALLENGE) {
    member->join_at_us = clock_monotonic_us() + AGAIN_US;
    return;
  }
  Buffer statement = {0};
  uint8_t signature[SIGNATURE_SIZE];
  Error err;
  buffer_append(&statement, member->nonce, sizeof member->nonce);
  buffer_append(&statement, answer->challenge->nonce.data, answer->challenge->nonce.len);
  buffer_append_text(&statement, member->name);
  if (signing_sign(member->key, "session", statement.data, statement.size, signature, &err) != STATUS_OK)
    die("signing", &err);
  buffer_release(&statement);
  char *capabilities[] = {(char *)(member->drills ? "drill" : "dump")}, *databases[] = {(char *)"*"};
  Pgseal__Authenticate message = PGSEAL__AUTHENTICATE__INIT;
  message.agent = member->name;
  message.challenge = answer->challenge->nonce;
  message.agent_nonce = (ProtobufCBinaryData){sizeof member->nonce, member->nonce};
  message.signature = (ProtobufCBinaryData){sizeof signature, signature};
  message.version = (char *)PGSEAL_VERSION;
  message.host = (char *)"simulated";
  message.n_capabilities = message.n_databases = 1;
  message.capabilities = capabilities;
  message.databases = databases;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_AUTHENTICATE;
  envelope.authenticate = &message;
  ask(member, NULL, &envelope, on_welcome);
}

static void join(Member *member) {
  member->join_at_us = INT64_MAX;
  if (getrandom(member->nonce, sizeof member->nonce, 0) != (ssize_t)sizeof member->nonce)
    die("no random bytes", NULL);
  Pgseal__Hello hello = PGSEAL__HELLO__INIT;
  hello.agent = member->name;
  hello.nonce = (ProtobufCBinaryData){sizeof member->nonce, member->nonce};
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_HELLO;
  envelope.hello = &hello;
  ask(member, NULL, &envelope, on_challenge);
}

/* ---- work ---- */

static void work_free(Work *work) {
  if (work->job)
    pgseal__job__free_unpacked(work->job, NULL);
  *work = (Work){.member = work->member};
}

static void on_result_reply(Member *member, Work *work, const Pgseal__Envelope *answer) {
  work->asking = false;
  if (!answer || answer->body_case != PGSEAL__ENVELOPE__BODY_RESULT_REPLY) {
    work->told_us = clock_monotonic_us() + AGAIN_US; /* kept, and sent again */
    return;
  }
  if (!answer->result_reply->accepted)
    printf("refused %s\n", work->job->id);
  work_free(work);
  poll_for_work(member); /* a slot is free: the poll that waits does not know */
}

static void send_result(Work *work, Pgseal__JobResult *result) {
  Pgseal__Result message = PGSEAL__RESULT__INIT;
  message.job_id = work->job->id;
  message.fencing = work->job->fencing;
  message.result = result;
  result->outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  result->seconds = (double)(clock_monotonic_us() - work->begun_us) / 1e6;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_RESULT;
  envelope.result = &message;
  work->asking = true;
  ask(work->member, work, &envelope, on_result_reply);
}

static void end_dump(Work *work) {
  Pgseal__DumpResult dump = PGSEAL__DUMP_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  char fingerprint[65];
  snprintf(work->manifest, sizeof work->manifest, "%064llx", (unsigned long long)work->job->fencing);
  snprintf(fingerprint, sizeof fingerprint, "%064llx", (unsigned long long)work->job->fencing + 1);
  dump.manifest_sha256 = work->manifest;
  dump.fingerprint_sha256 = fingerprint;
  dump.segments = 12;
  dump.size_stored = 123456789;
  dump.size_archive = 412345678;
  dump.tables = 184;
  dump.rows = 9200000;
  dump.entries = 2400;
  dump.server_version = dump.dump_version = (char *)"15.14";
  dump.server_major = 15;
  dump.omissions_json = (char *)"[{\"kind\": \"role_passwords\", \"object\": \"\", \"detail\": \"2 roles\"}]";
  result.dump = &dump;
  result.stages_json = (char *)"{\"preflight\": 0.2, \"dumping\": 1.5, \"storing\": 0.3}";
  send_result(work, &result);
}

static void end_drill(Work *work) {
  static const char proof[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  Pgseal__DrillResult drill = PGSEAL__DRILL_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  uint8_t signature[SIGNATURE_SIZE];
  char key[512];
  Error err;
  char *statement =
      verdict_statement(work->job->checkpoint_id, work->job->drill->drill_id, work->manifest, proof, OUTCOME_PROVEN);
  if (signing_sign(work->member->key, "verdict", statement, strlen(statement), signature, &err) != STATUS_OK)
    die("signing", &err);
  free(statement);
  snprintf(key, sizeof key, "%sproofs/%s.json.cms", work->job->prefix, work->job->drill->drill_id);
  drill.manifest_sha256 = work->manifest;
  drill.proof_sha256 = (char *)proof;
  drill.verdict_signature = (ProtobufCBinaryData){sizeof signature, signature};
  drill.verdict = (char *)"proven";
  drill.tables = 184;
  drill.rows = 9200000;
  drill.image = (char *)"pgseal-drill:15";
  drill.engine = (char *)"docker";
  drill.server_version = (char *)"15.14";
  drill.proof_key = key;
  result.drill = &drill;
  result.stages_json = (char *)"{\"preparing\": 0.4, \"restoring\": 2.5, \"dumping\": 1.1, \"comparing\": 0.1}";
  send_result(work, &result);
}

static void follow(Work *work, const Pgseal__Follow *news) {
  if (!news || work->followed || news->state != PGSEAL__FOLLOW__STATE__STORED)
    return;
  work->followed = true;
  snprintf(work->manifest, sizeof work->manifest, "%s", news->manifest_sha256);
  work->ends_us = clock_monotonic_us() + (int64_t)(work->member->sim->drill_seconds * 1e6);
}

static void on_progress_reply(Member *member, Work *work, const Pgseal__Envelope *answer) {
  work->asking = false;
  if (!answer || answer->body_case != PGSEAL__ENVELOPE__BODY_PROGRESS_REPLY)
    return;
  if (answer->progress_reply->lease_lost || answer->progress_reply->cancel) {
    printf("lost %s\n", work->job->id);
    work_free(work);
    poll_for_work(member);
    return;
  }
  follow(work, answer->progress_reply->follow);
}

/* As agents do it: twice a second while there is something to follow, once a second while there is something to tell,
 * and else often enough for the lease. */
static void send_progress(Work *work) {
  Member *member = work->member;
  int64_t now = clock_monotonic_us(), ran = (now - work->begun_us) / 1000000;
  Pgseal__JobProgress progress = PGSEAL__JOB_PROGRESS__INIT;
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  progress.phase = (char *)(member->drills ? (work->followed ? "restoring" : "preparing")
                            : ran          ? "dumping"
                                           : "preflight");
  progress.tables_done = ran;
  progress.tables_total = 184;
  progress.rows = ran * 40000;
  progress.bytes = ran * 1000000;
  progress.segments = member->drills ? 0 : (uint64_t)ran / 3;
  progress.roles_stored = !member->drills;
  progress.server_major = member->drills ? 0 : 15;
  progress.bootstrap_role = (char *)"postgres";
  progress.database_name = (char *)"app";
  message.job_id = work->job->id;
  message.fencing = work->job->fencing;
  message.progress = &progress;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_PROGRESS;
  envelope.progress = &message;
  work->asking = true;
  work->told_us = now + (!member->drills ? 1000000 : work->followed ? member->lease_us / 3 : AGAIN_US);
  ask(member, work, &envelope, on_progress_reply);
}

static void step(Work *work, int64_t now) {
  if (!work->job || work->asking || !work->member->joined)
    return;
  if (work->ends_us && now >= work->ends_us && (!work->over || now >= work->told_us)) {
    work->over = true;
    work->member->drills ? end_drill(work) : end_dump(work);
  } else if (now >= work->told_us) {
    send_progress(work);
  }
}

/* ---- polls ---- */

static void take_job(Member *member, const Pgseal__Job *job) {
  size_t size = pgseal__job__get_packed_size(job);
  uint8_t *packed = memory_alloc(size);
  pgseal__job__pack(job, packed);
  int64_t now = clock_monotonic_us();
  for (size_t i = 0; i < JOBS; i++) {
    Work *work = &member->work[i];
    if (work->job)
      continue;
    *work = (Work){.member = member, .job = pgseal__job__unpack(NULL, size, packed), .begun_us = now};
    if (!member->drills) /* between half and one and a half of it */
      work->ends_us = now + (int64_t)(member->sim->dump_seconds * 1e6 * (0.5 + (double)(job->fencing % 101) / 100));
    else if (job->drill->manifest_sha256[0])
      follow(work,
             &(Pgseal__Follow){.state = PGSEAL__FOLLOW__STATE__STORED, .manifest_sha256 = job->drill->manifest_sha256});
    printf("%s %s %lld %s\n", member->drills ? "drill" : "dump", job->checkpoint_id, (long long)now, job->database);
    break;
  }
  free(packed);
}

static void on_assignment(Member *member, Work *work, const Pgseal__Envelope *answer) {
  (void)work;
  if (!member->polling)
    member->poll_at_us = answer ? 0 : clock_monotonic_us() + AGAIN_US;
  if (answer && answer->body_case == PGSEAL__ENVELOPE__BODY_ASSIGNMENT && answer->assignment->job)
    take_job(member, answer->assignment->job);
}

static void poll_for_work(Member *member) {
  char *running[JOBS];
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  for (size_t i = 0; i < JOBS; i++)
    if (member->work[i].job)
      running[poll.n_running_jobs++] = member->work[i].job->id;
  uint32_t free_slots = (uint32_t)member->sim->slots - (uint32_t)poll.n_running_jobs;
  if (poll.n_running_jobs >= (size_t)member->sim->slots)
    free_slots = 0;
  poll.running_jobs = running;
  *(member->drills ? &poll.free_drill : &poll.free_dump) = free_slots;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  envelope.poll = &poll;
  member->polling = true;
  member->polls++;
  ask(member, NULL, &envelope, on_assignment);
}

static void on_tick(uv_timer_t *timer) {
  Sim *sim = timer->data;
  int64_t now = clock_monotonic_us();
  for (size_t i = 0; i < sim->count; i++) {
    Member *member = &sim->members[i];
    if (!member->joined && now >= member->join_at_us)
      join(member);
    if (!member->joined && member->join_at_us == INT64_MAX && member->lease_us)
      member->join_at_us = now + AGAIN_US; /* it was, and has to again */
    for (size_t j = 0; j < JOBS; j++)
      step(&member->work[j], now);
    if (member->joined && !member->polling && now >= member->poll_at_us)
      poll_for_work(member);
  }
  fflush(stdout);
}

/* ---- the process ---- */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer) {
  static char bytes[256];
  (void)handle;
  (void)size;
  *buffer = uv_buf_init(bytes, sizeof bytes);
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
  (void)buffer;
  if (size < 0) {
    fflush(stdout);
    _exit(0); /* as agents end whose machine does */
  }
  (void)stream;
}

static void add(Sim *sim, const char *dir, const char *kind, int number) {
  Member *member = &sim->members[sim->count];
  char path[512];
  Error err;
  member->sim = sim;
  member->drills = strcmp(kind, "drill") == 0;
  for (size_t i = 0; i < JOBS; i++)
    member->work[i].member = member;
  snprintf(member->name, sizeof member->name, "%s-%d", kind, number);
  snprintf(path, sizeof path, "%s/%s.key", dir, member->name);
  if (signing_key_load(path, &member->key, &err) != STATUS_OK ||
      bus_client_open(&sim->loop, &sim->urls[(size_t)number % sim->url_count], sim->url_count, NULL, RESEND_MS,
                      &member->bus, &err) != STATUS_OK)
    die(member->name, &err);
  member->join_at_us = clock_monotonic_us() + (int64_t)sim->count * JOIN_SPREAD_MS * 1000;
  sim->count++;
}

static int make_keys(const char *dir, const char *kind, int count) {
  for (int i = 0; i < count; i++) {
    char private_path[512], public_path[512];
    Error err;
    snprintf(private_path, sizeof private_path, "%s/%s-%d.key", dir, kind, i);
    snprintf(public_path, sizeof public_path, "%s/%s-%d.pub", dir, kind, i);
    if (!file_exists(private_path) && signing_key_generate(private_path, public_path, &err) != STATUS_OK)
      die(private_path, &err);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "keys") == 0)
    return make_keys(argv[2], "dump", atoi(argv[3])) + make_keys(argv[2], "drill", atoi(argv[4]));
  if (argc != 8) {
    fputs("Usage: agents URL[,URL] DIR DUMPERS DRILLERS SLOTS DUMP_SECONDS DRILL_SECONDS\n", stderr);
    return 2;
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  log_init("agents", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
  signal(SIGPIPE, SIG_IGN);
  int dumpers = atoi(argv[3]), drillers = atoi(argv[4]);
  Sim sim = {.slots = atoi(argv[5]), .dump_seconds = atof(argv[6]), .drill_seconds = atof(argv[7])};
  for (char *rest = NULL, *url = strtok_r(argv[1], ",", &rest); url && sim.url_count < URLS;
       url = strtok_r(NULL, ",", &rest))
    sim.urls[sim.url_count++] = url;
  memcpy(sim.urls + sim.url_count, sim.urls, sim.url_count * sizeof *sim.urls);
  uv_loop_init(&sim.loop);
  sim.members = memory_alloc((size_t)(dumpers + drillers) * sizeof *sim.members);
  for (int i = 0; i < dumpers; i++)
    add(&sim, argv[2], "dump", i);
  for (int i = 0; i < drillers; i++)
    add(&sim, argv[2], "drill", i);
  uv_timer_init(&sim.loop, &sim.timer);
  sim.timer.data = &sim;
  uv_timer_start(&sim.timer, on_tick, TICK_MS, TICK_MS);
  uv_pipe_init(&sim.loop, &sim.input, 0);
  uv_pipe_open(&sim.input, 0);
  uv_read_start((uv_stream_t *)&sim.input, on_alloc, on_input);
  return uv_run(&sim.loop, UV_RUN_DEFAULT);
}
