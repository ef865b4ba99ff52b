/* Agents that joined by invitation: revoked, in whatever they are about, and renewed in their own name alone. */
#include "tests/unit/coordinator/gateway/support.h"

static const Agent *invite(World *w, const char *name) {
  json_t *capabilities = json_pack("[s]", "dump"), *databases = json_pack("[s]", "prod-*");
  const Agent *agent = NULL;
  OK(agents_invite(dispatch_agents(w->f->dispatch), name, capabilities, databases, 60, &admin, w->token, &agent,
                   &w->f->err));
  json_decref(capabilities);
  json_decref(databases);
  return agent;
}

static Status enroll_with(World *w, const char *csr, const SigningKey *key) {
  Fixture *f = w->f;
  const Agent *agent = NULL;
  AgentRequest wish = {.token = w->token, .request = csr};
  signing_key_public(key, wish.public_key);
  Buffer statement = {0};
  buffer_append(&statement, w->token, strlen(w->token) + 1);
  buffer_append_text(&statement, csr);
  OK(signing_sign(key, "enroll", statement.data, statement.size, wish.signature, &f->err));
  buffer_release(&statement);
  issued_release(&w->issued);
  return agents_enroll(dispatch_agents(f->dispatch), &wish, &agent, &w->issued, &f->err);
}

static Status try_enroll(World *w, const char *name, const SigningKey *key) {
  CLEANUP(secret_text_free) char *tls_key = NULL;
  CLEANUP_FREE char *csr = NULL;
  OK(certificate_request(name, &tls_key, &csr, &w->f->err));
  return enroll_with(w, csr, key);
}

static const Agent *enroll(World *w, const char *name, const SigningKey *key) {
  const Agent *agent = invite(w, name);
  OK(try_enroll(w, name, key));
  return agent;
}

static SigningKey *new_key(World *w, const char *name) {
  SigningKey *key = NULL;
  CLEANUP_FREE char *path = memory_format("%s/%s.key", w->f->dir, name);
  CLEANUP_FREE char *public = memory_format("%s/%s.pub", w->f->dir, name);
  OK(signing_key_generate(path, public, &w->f->err));
  OK(signing_key_load(path, &key, &w->f->err));
  return key;
}

static void test_revoked(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *key = new_key(w, "joined");
  Peer peer, other;
  enroll(w, "joined", key);
  assert_true(try_join(w, "joined", key, &peer));
  CLEANUP_FREE char *id = request(f, "prod-api", "t");
  HELD job = poll_peer(w, &peer, 1, 0, NULL, NULL);
  assert_non_null(job);
  assert_true(progress_peer(w, &peer, job->id, job->fencing, "progress-1"));
  OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err));
  int attempt = 0;
  assert_int_equal(job_state_of(f, job->id, &attempt), JOB_QUEUED); /* at once, whatever its lease was */
  assert_int_equal(attempt, 2);
  worthless(w, &peer, job);
  assert_false(progress_peer(w, &peer, job->id, job->fencing, "progress-1")); /* not what was answered before, either */
  assert_true(refused_as(w, "unauthorized"));
  assert_false(try_join(w, "joined", key, &other));
  clock_moved_us += 60 * 1000000LL;
  Peer good = join(w, 0);
  HELD taken = poll_peer(w, &good, 1, 0, NULL, NULL);
  assert_string_equal(taken->id, job->id);
  assert_true(result_peer(w, &good, taken->id, taken->fencing, NULL));
  close_gateway(w); /* and a coordinator that starts anew knows it */
  restart(f);
  open_gateway(w);
  assert_false(try_join(w, "joined", key, &other));
  signing_key_free(key);
}

/* Whatever it was enrolled with since, and whoever brings it: a key that was revoked is worth nothing. */
static void test_revoked_keys_stay_so(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *keys[] = {new_key(w, "k0"), new_key(w, "k1"), new_key(w, "k2")};
  Peer peer;
  for (int i = 0; i < 2; i++) {
    enroll(w, "joined", keys[i]);
    OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err));
  }
  enroll(w, "joined", keys[2]);
  Agent *agent = (Agent *)agents_find(dispatch_agents(f->dispatch), "joined");
  agent->row.expires_us = clock_wall_us();
  agents_tick(dispatch_agents(f->dispatch));
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 3; i++) {
      invite(w, "other");
      assert_int_equal(try_enroll(w, "other", keys[i]), ERR_CONFLICT);
      invite(w, "joined");
      assert_int_equal(try_enroll(w, "joined", keys[i]), i < 2 ? ERR_CONFLICT : STATUS_OK); /* the last ran out only */
      if (i == 2)
        assert_true(try_join(w, "joined", keys[i], &peer));
      else
        assert_false(try_join(w, "joined", keys[i], &peer));
    }
    close_gateway(w);
    restart(f); /* and it is known from the ledger */
    open_gateway(w);
    agent = (Agent *)agents_find(dispatch_agents(f->dispatch), "joined");
    agent->row.expires_us = clock_wall_us();
    agents_tick(dispatch_agents(f->dispatch));
  }
  for (int i = 0; i < 3; i++)
    signing_key_free(keys[i]);
}

/* A poll that waits when its agent is revoked gets no job any more. */
static void test_revoked_while_it_waits(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *key = new_key(w, "joined");
  Peer peer;
  enroll(w, "joined", key);
  assert_true(try_join(w, "joined", key, &peer));
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  poll.free_dump = 1;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  envelope.poll = &poll;
  envelope.version = ENVELOPE_VERSION;
  envelope.request_id = (char *)"parked";
  envelope.session = (ProtobufCBinaryData){sizeof peer.id, peer.id};
  Buffer packed = {0};
  envelope_pack(&envelope, &packed);
  forget_answer(w);
  bus_client_request(w->client, packed.data, packed.size, 5000, on_answer, w);
  buffer_release(&packed);
  while (!dispatch_agent_live(f->dispatch, "joined"))
    uv_run(&w->loop, UV_RUN_ONCE);
  for (int i = 0; i < 20; i++)
    uv_run(&w->loop, UV_RUN_NOWAIT);
  OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err));
  CLEANUP_FREE char *id = request(f, "prod-api", "t");
  while (!w->answered)
    uv_run(&w->loop, UV_RUN_ONCE);
  assert_true(!w->answer || refused_as(w, "unauthorized"));
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  signing_key_free(key);
}

/* The coordinator's clock is wrong, and set right: the agent is out, and in again, with what it had. */
static void test_expired_by_a_wrong_clock(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *key = new_key(w, "joined");
  Peer peer;
  Agent *agent = (Agent *)enroll(w, "joined", key);
  const int64_t expires_us = agent->row.expires_us;
  assert_true(try_join(w, "joined", key, &peer));
  CLEANUP_FREE char *id = request(f, "prod-api", "t");
  HELD job = poll_peer(w, &peer, 1, 0, NULL, NULL);
  agents_tick(dispatch_agents(f->dispatch));
  assert_int_equal(agent->row.state, AGENT_ENROLLED);
  agent->row.expires_us = clock_wall_us(); /* it is later than it is */
  agents_tick(dispatch_agents(f->dispatch));
  assert_int_equal(agent->row.state, AGENT_EXPIRED);
  assert_int_equal(job_state_of(f, job->id, NULL), JOB_QUEUED);
  assert_false(progress_peer(w, &peer, job->id, job->fencing, "progress-1"));
  assert_false(try_join(w, "joined", key, &peer));
  agents_tick(dispatch_agents(f->dispatch));
  assert_int_equal(agent->row.state, AGENT_EXPIRED);
  agent->row.expires_us = expires_us;
  agents_tick(dispatch_agents(f->dispatch));
  assert_int_equal(agent->row.state, AGENT_ENROLLED);
  assert_true(try_join(w, "joined", key, &peer));
  OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err)); /* time undoes no revocation */
  agents_tick(dispatch_agents(f->dispatch));
  assert_int_equal(agent->row.state, AGENT_REVOKED);
  assert_false(try_join(w, "joined", key, &peer));
  signing_key_free(key);
}

static void test_invitation_expired_by_a_wrong_clock(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  Agents *agents = dispatch_agents(f->dispatch);
  SigningKey *key = new_key(w, "joined");
  Agent *agent = (Agent *)invite(w, "joined");
  const int64_t expires_us = agent->row.token_expires_us;
  agent->row.token_expires_us = clock_wall_us();
  agents_tick(agents);
  assert_int_equal(agent->row.state, AGENT_EXPIRED);
  assert_int_equal(try_enroll(w, "joined", key), ERR_UNAUTHORIZED);
  agent->row.token_expires_us = expires_us;
  assert_int_equal(try_enroll(w, "joined", key), ERR_UNAUTHORIZED); /* not before it is known to last */
  agents_tick(agents);
  assert_int_equal(agent->row.state, AGENT_INVITED);
  assert_int_equal(try_enroll(w, "joined", key), STATUS_OK);
  assert_int_equal(agent->row.state, AGENT_ENROLLED);
  assert_int_equal(try_enroll(w, "joined", key), ERR_UNAUTHORIZED); /* once */
  signing_key_free(key);
}

/* As versions wrote it that did not keep the hash of an invitation that ran out. */
static void test_revoked_and_its_next_invitation_expired(void **state) {
  World *w = *state;
  Agents *agents = dispatch_agents(w->f->dispatch);
  SigningKey *key = new_key(w, "joined");
  Peer peer;
  Agent *agent = (Agent *)enroll(w, "joined", key);
  assert_true(agent->row.expires_us > clock_wall_us());
  OK(agents_revoke(agents, "joined", &admin, &w->f->err));
  invite(w, "joined");
  agent->row.state = AGENT_EXPIRED;
  agent->row.token_hash[0] = 0;
  agents_tick(agents);
  assert_int_equal(agent->row.state, AGENT_EXPIRED);
  assert_false(try_join(w, "joined", key, &peer));
  signing_key_free(key);
}

static void start_with(World *w, char *ca, char *ca_key) {
  close_gateway(w);
  w->f->config.ca = ca;
  w->f->config.ca_key = ca_key;
  restart(w->f);
  open_gateway(w);
}

/* bus_tls is taken out of coordinator.yaml while an invitation is under way: refused, and good again when it is back.
 */
static void test_the_authority_is_gone(void **state) {
  World *w = *state;
  SigningKey *key = new_key(w, "joined");
  invite(w, "joined");
  start_with(w, NULL, NULL);
  assert_int_equal(try_enroll(w, "joined", key), ERR_CONFIG);
  start_with(w, w->ca, NULL); /* or its key alone */
  assert_int_equal(try_enroll(w, "joined", key), ERR_CONFIG);
  start_with(w, w->ca, w->ca_key);
  OK(try_enroll(w, "joined", key));
  signing_key_free(key);
}

static void expect_same(World *w, const char *csr, const SigningKey *key, const char *pem) {
  int64_t events = event_count(w);
  OK(enroll_with(w, csr, key));
  assert_string_equal(w->issued.pem, pem);
  assert_int_equal(event_count(w), events);
}

/* The invitation is spent, and the answer was lost: whoever asked gets it, and nobody else does. */
static void test_the_answer_is_lost(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *key = new_key(w, "joined"), *other = new_key(w, "other");
  CLEANUP(secret_text_free) char *tls_key = NULL;
  CLEANUP_FREE char *csr = NULL;
  Peer peer;
  OK(certificate_request("x", &tls_key, &csr, &f->err));
  invite(w, "joined");
  OK(enroll_with(w, csr, key));
  CLEANUP_FREE char *pem = memory_strdup(w->issued.pem);
  expect_same(w, csr, key, pem);
  start_with(w, w->ca, w->ca_key);
  expect_same(w, csr, key, pem);
  assert_int_equal(enroll_with(w, csr, other), ERR_UNAUTHORIZED);
  assert_int_equal(try_enroll(w, "x", key), ERR_UNAUTHORIZED); /* another request */
  w->token[strlen(w->token) - 1] ^= 1;
  assert_int_equal(enroll_with(w, csr, key), ERR_UNAUTHORIZED);
  w->token[strlen(w->token) - 1] ^= 1;
  start_with(w, NULL, NULL);
  assert_int_equal(enroll_with(w, csr, key), ERR_CONFIG);
  start_with(w, w->ca, w->ca_key);
  Agent *agent = (Agent *)agents_find(dispatch_agents(f->dispatch), "joined");
  const int64_t until_us = agent->row.token_expires_us;
  agent->row.token_expires_us = clock_wall_us();
  assert_int_equal(enroll_with(w, csr, key), ERR_UNAUTHORIZED);
  agent->row.token_expires_us = until_us;
  expect_same(w, csr, key, pem);
  assert_true(try_join(w, "joined", key, &peer));
  agent->row.issued_us -= 3000 * 1000000LL;
  assert_true(certify_peer(w, &peer, csr, NULL));
  assert_int_equal(enroll_with(w, csr, key), ERR_UNAUTHORIZED); /* there is a newer one */
  OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err));
  invite(w, "joined");
  OK(enroll_with(w, csr, other));
  OK(agents_revoke(dispatch_agents(f->dispatch), "joined", &admin, &f->err));
  assert_int_equal(enroll_with(w, csr, other), ERR_UNAUTHORIZED);
  signing_key_free(key);
  signing_key_free(other);
}

static void test_renewal_is_for_its_own(void **state) {
  World *w = *state;
  Fixture *f = w->f;
  SigningKey *key = new_key(w, "joined");
  CLEANUP(secret_text_free) char *tls_key = NULL;
  CLEANUP_FREE char *csr = NULL;
  Peer peer, listed = join(w, 0);
  const Agent *agent = enroll(w, "joined", key);
  assert_true(try_join(w, "joined", key, &peer));
  OK(certificate_request("both", &tls_key, &csr, &f->err)); /* in another's name */
  assert_false(certify_peer(w, &listed, csr, NULL));        /* has none */
  assert_true(refused_as(w, "config"));
  assert_false(certify_peer(w, &peer, csr, NULL)); /* has had one just now */
  assert_true(refused_as(w, "too_many"));
  ((Agent *)agent)->row.issued_us -= 3000 * 1000000LL; /* time passes */
  assert_false(certify_peer(w, &peer, "no request", NULL));
  assert_true(refused_as(w, "invalid_argument"));
  assert_true(certify_peer(w, &peer, csr, NULL));
  CertificateFacts facts;
  OK(certificate_facts(w->answer->certified->certificate, &facts, &f->err));
  assert_string_equal(facts.name, "joined"); /* its own name, whatever it asked for */
  assert_int_equal(agent->row.state, AGENT_RENEWING);
  assert_true(certify_peer(w, &peer, NULL, "0123")); /* one that was never issued */
  assert_int_equal(agent->row.state, AGENT_RENEWING);
  assert_true(certify_peer(w, &peer, NULL, facts.serial));
  assert_int_equal(agent->row.state, AGENT_ENROLLED);
  assert_string_equal(agent->row.serial, facts.serial);
  signing_key_free(key);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      T(test_revoked),
      T(test_revoked_keys_stay_so),
      T(test_revoked_while_it_waits),
      T(test_expired_by_a_wrong_clock),
      T(test_invitation_expired_by_a_wrong_clock),
      T(test_revoked_and_its_next_invitation_expired),
      T(test_the_authority_is_gone),
      T(test_the_answer_is_lost),
      T(test_renewal_is_for_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
