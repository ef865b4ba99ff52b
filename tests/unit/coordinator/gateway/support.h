/* The gateway on a real bus, and peers that are what a test makes them say. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_GATEWAY_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_GATEWAY_SUPPORT_H

#include "tests/unit/coordinator/dispatch/support.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "common/base/id.h"
#include "common/base/text.h"
#include "common/bus/bus.h"
#include "common/bus/envelope.h"
#include "coordinator/gateway/gateway.h"
#include "tests/unit/port.h"

/* nng 1.5.2 itself now and then loses memory of a connection that is closed while it is being made. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libnng.so\n";
}

static const AgentsActor admin = {.name = "me"};

typedef struct World {
  Fixture *f;
  uv_loop_t loop;
  uv_timer_t guard;
  char bus[64], *ca, *ca_key, *certificate, *key;
  Gateway *gateway;
  BusClient *client;
  bool answered;
  Error failure; /* of the bus */
  Pgseal__Envelope *answer;
  Issued issued;
  char token[AGENT_TOKEN_SIZE];
  char *version; /* that agents say they are of; NULL: none */
} World;

typedef struct Peer { /* a session */
  uint8_t id[ENVELOPE_SESSION_SIZE];
} Peer;

static inline void on_guard(uv_timer_t *timer) {
  (void)timer;
  fail_msg("the test hangs");
}

static inline void on_answer(void *user, const Error *err, const uint8_t *data, size_t size) {
  World *w = user;
  w->answered = true;
  if (err)
    w->failure = *err;
  else
    OK(envelope_unpack(data, size, &w->answer, &w->failure));
}

static inline void forget_answer(World *w) {
  if (w->answer)
    pgseal__envelope__free_unpacked(w->answer, NULL);
  w->answer = NULL;
  w->answered = false;
  w->failure = (Error){0};
}

/* Bytes as they are; the answer is in w->answer until the next one. */
static inline Pgseal__Envelope *raw(World *w, const void *data, size_t size, int timeout_ms) {
  forget_answer(w);
  bus_client_request(w->client, data, size, timeout_ms, on_answer, w);
  while (!w->answered)
    uv_run(&w->loop, UV_RUN_ONCE);
  return w->answer;
}

static inline Pgseal__Envelope *call_as(World *w, const Peer *peer, Pgseal__Envelope *envelope,
                                        const char *request_id) {
  Id id = id_new();
  Buffer packed = {0};
  envelope->version = ENVELOPE_VERSION;
  envelope->request_id = (char *)(request_id ? request_id : id.text);
  if (peer)
    envelope->session = (ProtobufCBinaryData){sizeof peer->id, (uint8_t *)peer->id};
  envelope_pack(envelope, &packed);
  raw(w, packed.data, packed.size, 20000);
  buffer_release(&packed);
  return w->answer;
}

static inline bool refused_as(World *w, const char *code) {
  return w->answer && w->answer->body_case == PGSEAL__ENVELOPE__BODY_FAILURE &&
         strcmp(w->answer->failure->code, code) == 0;
}

/* ---- opening ---- */

static inline void open_gateway(World *w) {
  Error err;
  const char *urls[] = {w->bus};
  int64_t until = clock_monotonic_us() + 5000000; /* a port that was closed just now may take a moment */
  while (gateway_open(&w->loop, &w->f->config, w->f->dispatch, w->f->ledger, &w->gateway, &err) != STATUS_OK) {
    if (clock_monotonic_us() > until)
      fail_msg("%s", err.message);
    usleep(50000);
  }
  if (!w->client)
    OK(bus_client_open(&w->loop, urls, 1, NULL, 1000, &w->client, &err));
}

static inline void on_closed(void *user) {
  *(void **)user = NULL;
}

static inline void close_gateway(World *w) {
  gateway_close(w->gateway, on_closed, &w->gateway);
  while (w->gateway)
    uv_run(&w->loop, UV_RUN_ONCE);
}

static inline void make_authority(World *w) {
  Fixture *f = w->f;
  const char *hosts[] = {"localhost"};
  w->ca = memory_format("%s/ca.crt", f->dir);
  w->ca_key = memory_format("%s/ca.key", f->dir);
  w->certificate = memory_format("%s/c.crt", f->dir);
  w->key = memory_format("%s/c.key", f->dir);
  Authority *authority = NULL;
  OK(authority_generate(w->ca_key, w->ca, "test", 10, &f->err));
  OK(authority_load(w->ca, w->ca_key, &authority, &f->err));
  OK(authority_issue_coordinator(authority, w->key, w->certificate, hosts, 1, 10, &f->err));
  authority_free(authority);
  f->config.ca = w->ca;
  f->config.ca_key = w->ca_key;
  f->config.certificate = w->certificate;
  f->config.certificate_key = w->key;
  f->config.agent_certificate_seconds = 3600;
}

static inline int world_setup(void **state) {
  World *w = memory_alloc(sizeof *w);
  void *fixture;
  setup(&fixture);
  w->f = fixture;
  uv_loop_init(&w->loop);
  uv_timer_init(&w->loop, &w->guard);
  uv_timer_start(&w->guard, on_guard, 60000, 0);
  snprintf(w->bus, sizeof w->bus, "tcp://127.0.0.1:%d", free_port());
  w->f->config.bus = w->bus;
  make_authority(w);
  restart(w->f); /* with the authority */
  open_gateway(w);
  *state = w;
  return 0;
}

static inline int world_teardown(void **state) {
  World *w = *state;
  forget_answer(w);
  bus_client_close(w->client, on_closed, &w->client);
  while (w->client)
    uv_run(&w->loop, UV_RUN_ONCE);
  close_gateway(w);
  uv_close((uv_handle_t *)&w->guard, NULL);
  uv_run(&w->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&w->loop), 0);
  void *fixture = w->f;
  teardown(&fixture);
  issued_release(&w->issued);
  free(w->ca);
  free(w->ca_key);
  free(w->certificate);
  free(w->key);
  free(w);
  return 0;
}

/* ---- sessions ---- */

typedef struct Hello {
  uint8_t nonce[ENVELOPE_NONCE_SIZE], challenge[ENVELOPE_NONCE_SIZE], signature[SIGNATURE_SIZE];
} Hello;

static inline void hello(World *w, Hello *h) {
  Pgseal__Hello message = PGSEAL__HELLO__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  memset(h->nonce, 7, sizeof h->nonce);
  message.nonce = (ProtobufCBinaryData){sizeof h->nonce, h->nonce};
  message.agent = (char *)"whoever";
  envelope.body_case = PGSEAL__ENVELOPE__BODY_HELLO;
  envelope.hello = &message;
  call_as(w, NULL, &envelope, NULL);
  assert_int_equal(w->answer->body_case, PGSEAL__ENVELOPE__BODY_CHALLENGE);
  assert_int_equal(w->answer->challenge->nonce.len, ENVELOPE_NONCE_SIZE);
  memcpy(h->challenge, w->answer->challenge->nonce.data, ENVELOPE_NONCE_SIZE);
}

static inline void sign_hello(Hello *h, const SigningKey *key, const char *purpose, const char *name) {
  Error err;
  Buffer statement = {0};
  buffer_append(&statement, h->nonce, sizeof h->nonce);
  buffer_append(&statement, h->challenge, sizeof h->challenge);
  buffer_append_text(&statement, name);
  OK(signing_sign(key, purpose, statement.data, statement.size, h->signature, &err));
  buffer_release(&statement);
}

static inline bool authenticate(World *w, Hello *h, const char *name, Peer *peer) {
  Pgseal__Authenticate message = PGSEAL__AUTHENTICATE__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  message.agent = (char *)name;
  message.version = w->version ? w->version : message.version;
  message.challenge = (ProtobufCBinaryData){sizeof h->challenge, h->challenge};
  message.agent_nonce = (ProtobufCBinaryData){sizeof h->nonce, h->nonce};
  message.signature = (ProtobufCBinaryData){sizeof h->signature, h->signature};
  envelope.body_case = PGSEAL__ENVELOPE__BODY_AUTHENTICATE;
  envelope.authenticate = &message;
  call_as(w, NULL, &envelope, NULL);
  if (w->answer->body_case != PGSEAL__ENVELOPE__BODY_WELCOME) {
    assert_true(refused_as(w, "unauthorized"));
    return false;
  }
  memcpy(peer->id, w->answer->welcome->session.data, sizeof peer->id);
  return true;
}

static inline bool try_join(World *w, const char *name, const SigningKey *key, Peer *peer) {
  Hello h;
  hello(w, &h);
  sign_hello(&h, key, "session", name);
  return authenticate(w, &h, name, peer);
}

static inline Peer join(World *w, int agent) {
  Peer peer;
  assert_true(try_join(w, agent_names[agent], w->f->keys[agent], &peer));
  return peer;
}

/* ---- what a peer sends ---- */

/* The job, freed by the caller; NULL: nothing, or a refusal (then it is in w->answer). Ends within a poll's time. */
static inline Pgseal__Job *poll_peer(World *w, const Peer *peer, int dumps, int drills, const char *running,
                                     const char *request_id) {
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  char *jobs[] = {(char *)running};
  poll.free_dump = (uint32_t)dumps;
  poll.free_drill = (uint32_t)drills;
  poll.n_running_jobs = running ? 1 : 0;
  poll.running_jobs = jobs;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  envelope.poll = &poll;
  call_as(w, peer, &envelope, request_id);
  if (w->answer->body_case != PGSEAL__ENVELOPE__BODY_ASSIGNMENT)
    return NULL;
  Pgseal__Job *job = w->answer->assignment->job;
  w->answer->assignment->job = NULL;
  return job;
}

/* True: the lease was renewed; false: lost, or refused. */
static inline bool progress_peer(World *w, const Peer *peer, const char *job_id, uint64_t fencing,
                                 const char *request_id) {
  Pgseal__JobProgress body = PGSEAL__JOB_PROGRESS__INIT;
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  message.job_id = (char *)job_id;
  message.fencing = fencing;
  message.progress = &body;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_PROGRESS;
  envelope.progress = &message;
  call_as(w, peer, &envelope, request_id);
  if (w->answer->body_case != PGSEAL__ENVELOPE__BODY_PROGRESS_REPLY)
    return false;
  const Pgseal__ProgressReply *reply = w->answer->progress_reply;
  assert_true(!reply->lease_lost || (!reply->follow && !reply->cancel)); /* nothing is told of what is not its own */
  return !reply->lease_lost;
}

static inline bool result_peer(World *w, const Peer *peer, const char *job_id, uint64_t fencing,
                               const char *request_id) {
  Pgseal__DumpResult dump = PGSEAL__DUMP_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  Pgseal__Result message = PGSEAL__RESULT__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  dump.manifest_sha256 = (char *)MANIFEST;
  dump.fingerprint_sha256 = (char *)OTHER;
  dump.server_major = 15;
  result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  result.dump = &dump;
  message.job_id = (char *)job_id;
  message.fencing = fencing;
  message.result = &result;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_RESULT;
  envelope.result = &message;
  call_as(w, peer, &envelope, request_id);
  return w->answer->body_case == PGSEAL__ENVELOPE__BODY_RESULT_REPLY && w->answer->result_reply->accepted;
}

static inline bool certify_peer(World *w, const Peer *peer, const char *request, const char *in_use) {
  Pgseal__Certify message = PGSEAL__CERTIFY__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  message.request = (char *)(request ? request : "");
  message.in_use = (char *)(in_use ? in_use : "");
  envelope.body_case = PGSEAL__ENVELOPE__BODY_CERTIFY;
  envelope.certify = &message;
  call_as(w, peer, &envelope, NULL);
  return w->answer->body_case == PGSEAL__ENVELOPE__BODY_CERTIFIED;
}

/* All that a session can ask is refused. */
static inline void worthless(World *w, const Peer *peer, const Pgseal__Job *job) {
  assert_null(poll_peer(w, peer, 1, 1, NULL, NULL));
  assert_true(refused_as(w, "unauthorized"));
  assert_false(progress_peer(w, peer, job->id, job->fencing, NULL));
  assert_true(refused_as(w, "unauthorized"));
  assert_false(result_peer(w, peer, job->id, job->fencing, NULL));
  assert_true(refused_as(w, "unauthorized"));
  assert_false(certify_peer(w, peer, "x", "y"));
  assert_true(refused_as(w, "unauthorized"));
}

static inline void held_by(World *w, const Pgseal__Job *job, const char *agent) {
  LedgerJob row = {0};
  OK(ledger_job_get(w->f->ledger, job->id, &row, &w->f->err));
  assert_true(job_held(&row));
  assert_string_equal(row.agent, agent);
  assert_int_equal(row.fencing, job->fencing);
  ledger_job_release(&row);
}

static inline void release_job(Pgseal__Job **job) {
  if (*job)
    pgseal__job__free_unpacked(*job, NULL);
}
#define HELD CLEANUP(release_job) Pgseal__Job *

static inline int64_t event_count(World *w) {
  int64_t events;
  char tip[65];
  OK(ledger_chain_verify(w->f->ledger, &events, tip, &w->f->err));
  return events;
}

#endif
