#include "coordinator/gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/bus/bus.h"
#include "coordinator/gateway/admission.h"
#include "coordinator/gateway/joining.h"
#include "coordinator/gateway/sessions.h"
#include "coordinator/gateway/tunnelling.h"

enum {
  PARALLEL_MINIMUM = 512,
  PARALLEL_PER_AGENT = 6,
  TICK_MS = 500,
  REFUSALS_LOGGED = 20,
  REFUSALS_US = 10 * 1000 * 1000
};
#define DAY_US ((int64_t)86400 * 1000000)

struct Gateway {
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Ledger *ledger;
  BusServer *server;
  Sessions sessions;
  Tunnelling tunnelling;
  Agents *agents;
  uv_timer_t timer;
  uv_async_t work; /* the observer may not call back into dispatch: it only wakes the loop */
  bool closing;
  Admission admission; /* in use; empty without bus_tls */
  bool revoke_due;     /* somebody is revoked, but the bus does not know it yet */
  int64_t warned_us;   /* monotonic: when the certificate was last looked at */
  int64_t refusals_since_us;
  unsigned refusals;
  int handles; /* still to be closed */
  void (*closed)(void *user);
  void *closed_user;
};

/* ---- replies ---- */

/* session NULL: not cached. */
static void reply(BusRequest *request, Session *session, const char *request_id, Pgseal__Envelope *answer) {
  CLEANUP(buffer_release) Buffer packed = {0};
  answer->version = ENVELOPE_VERSION;
  answer->request_id = (char *)request_id;
  envelope_pack(answer, &packed);
  if (session)
    session_cache(session, request_id, &packed,
                  answer->body_case == PGSEAL__ENVELOPE__BODY_ASSIGNMENT && answer->assignment->job);
  bus_request_reply(request, packed.data, packed.size);
}

static void reply_failure(BusRequest *request, const char *request_id, const Error *err) {
  Pgseal__Failure failure = envelope_failure(err);
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_FAILURE;
  answer.failure = &failure;
  reply(request, NULL, request_id, &answer); /* never cached: the next try may succeed */
}

/* What was refused is logged, but not without bound: who is refused may ask again as fast as it likes. */
static void log_refusal(Gateway *gateway, const char *what, const Session *session, const char *job, const char *why) {
  char clean[ID_SIZE];
  int64_t now = clock_monotonic_us();
  if (now - gateway->refusals_since_us > REFUSALS_US) {
    gateway->refusals_since_us = now;
    gateway->refusals = 0;
  }
  if (gateway->refusals++ < REFUSALS_LOGGED)
    log_warn(what, "agent", session ? session->agent->name : "", "job", text_clean(job ? job : "", clean, sizeof clean),
             "reason", why, NULL);
}

/* ---- parked polls ---- */

static void unpark(Parked *parked) {
  pgseal__envelope__free_unpacked(parked->envelope, NULL);
  *parked = (Parked){0};
}

static void drop_parked(Parked *parked) {
  if (!parked->request)
    return;
  bus_request_drop(parked->request);
  unpark(parked);
}

/* ---- before there is a session ---- */

static void on_hello(Gateway *gateway, BusRequest *request, const Pgseal__Envelope *envelope) {
  uint8_t nonce[ENVELOPE_NONCE_SIZE];
  Error err;
  if (sessions_challenge(&gateway->sessions, nonce, &err) != STATUS_OK) {
    reply_failure(request, envelope->request_id, &err);
    return;
  }
  Pgseal__Challenge challenge = PGSEAL__CHALLENGE__INIT;
  challenge.nonce = (ProtobufCBinaryData){sizeof nonce, nonce};
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_CHALLENGE;
  answer.challenge = &challenge;
  reply(request, NULL, envelope->request_id, &answer);
}

static void on_authenticate(Gateway *gateway, BusRequest *request, const Pgseal__Envelope *envelope) {
  Session *session = NULL;
  Error err;
  Status status = sessions_authenticate(&gateway->sessions, envelope->authenticate, &session, &err);
  if (!status)
    status = joining_record(gateway->ledger, session->agent, envelope->authenticate, &session->joining, &err);
  if (status) {
    log_failure(LOG_LEVEL_WARN, "an agent was refused", &err);
    reply_failure(request, envelope->request_id, &err);
    return;
  }
  char version[64];
  log_info("agent joined", "agent", session->agent->name, "version",
           text_clean(envelope->authenticate->version, version, sizeof version), NULL);
  drop_parked(&session->parked); /* it was the former session's */
  dispatch_agent_seen(gateway->dispatch, session->agent->name);
  const Pgseal__Authenticate *told = envelope->authenticate;
  dispatch_agent_offers(gateway->dispatch, session->agent->name, told->capabilities, told->n_capabilities);
  dispatch_agent_tools(gateway->dispatch, session->agent->name, told->tools, told->n_tools);
  Pgseal__Welcome welcome = PGSEAL__WELCOME__INIT;
  welcome.session = (ProtobufCBinaryData){sizeof session->id, session->id};
  welcome.lease_seconds = (uint32_t)gateway->config->lease_seconds;
  welcome.poll_seconds = (uint32_t)gateway->config->poll_seconds;
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_WELCOME;
  answer.welcome = &welcome;
  reply(request, NULL, envelope->request_id, &answer);
}

/* ---- polls ---- */

static void reply_assignment(BusRequest *request, Session *session, const char *request_id, Pgseal__Job *job) {
  Pgseal__Assignment assignment = PGSEAL__ASSIGNMENT__INIT;
  assignment.job = job;
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_ASSIGNMENT;
  answer.assignment = &assignment;
  reply(request, session, request_id, &answer);
}

/* Answers if there is work, or if it went wrong; false: it has to wait. */
static bool try_poll(Gateway *gateway, BusRequest *request, Session *session, const Pgseal__Envelope *envelope) {
  Pgseal__Job *job = NULL;
  Error err;
  if (dispatch_poll(gateway->dispatch, session->agent->name, envelope->poll, &job, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "a poll failed", &err);
    reply_failure(request, envelope->request_id, &err);
    return true;
  }
  if (!job)
    return false;
  reply_assignment(request, session, envelope->request_id, job);
  pgseal__job__free_unpacked(job, NULL);
  return true;
}

/* Takes the envelope. */
static void on_poll(Gateway *gateway, BusRequest *request, Session *session, Pgseal__Envelope *envelope) {
  Parked *parked = &session->parked;
  int64_t until_us = clock_monotonic_us() + (int64_t)gateway->config->poll_seconds * 1000000;
  if (parked->request && strcmp(parked->envelope->request_id, envelope->request_id) == 0) {
    until_us = parked->until_us; /* resent: it must end in time all the same */
    drop_parked(parked);
  } else if (parked->request) { /* the agent asks something else, such as after a slot became free */
    reply_assignment(parked->request, session, parked->envelope->request_id, NULL);
    unpark(parked);
  }
  if (try_poll(gateway, request, session, envelope)) {
    pgseal__envelope__free_unpacked(envelope, NULL);
    return;
  }
  *parked = (Parked){request, envelope, until_us};
}

/* due: all of them are looked at, and those whose time is over answered; else there is new work, for some. */
static void serve_parked(Gateway *gateway, bool due) {
  int64_t now = clock_monotonic_us();
  for (size_t i = 0; i < gateway->sessions.count; i++) {
    Session *session = gateway->sessions.items[i];
    if (!session)
      continue;
    Parked *parked = &session->parked;
    if (!due &&
        (!parked->request || !dispatch_waits_for(gateway->dispatch, session->agent->name, parked->envelope->poll)))
      continue;
    if (parked->request && !bus_request_alive(parked->request))
      drop_parked(parked); /* no job for an agent that is gone */
    if (!parked->request)
      continue;
    bool over = now >= parked->until_us;
    if (over)
      reply_assignment(parked->request, session, parked->envelope->request_id, NULL);
    if (over || try_poll(gateway, parked->request, session, parked->envelope))
      unpark(parked);
    dispatch_agent_seen(gateway->dispatch, session->agent->name); /* a parked poll is a sign of life */
  }
}

static void on_work(uv_async_t *async) {
  Gateway *gateway = async->data;
  serve_parked(gateway, false);
  tunnelling_serve(&gateway->tunnelling);
}

static void wake(void *user) {
  Gateway *gateway = user;
  if (!uv_is_closing((uv_handle_t *)&gateway->work))
    uv_async_send(&gateway->work);
}

static void on_tunnel(Gateway *gateway, BusRequest *request, Session *session, const Pgseal__Envelope *envelope) {
  Error err;
  if (tunnelling_request(&gateway->tunnelling, request, session->agent, envelope, &err) == STATUS_OK)
    return;
  log_refusal(gateway, "a tunnel was refused", session, envelope->tunnel->job_id, err.message);
  reply_failure(request, envelope->request_id, &err);
}

/* ---- progress and results ---- */

static void on_progress(Gateway *gateway, BusRequest *request, Session *session, const Pgseal__Envelope *envelope) {
  Pgseal__ProgressReply *progress = NULL;
  Error err;
  if (dispatch_progress(gateway->dispatch, session->agent->name, envelope->progress, &progress, &err) != STATUS_OK) {
    reply_failure(request, envelope->request_id, &err);
    return;
  }
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_PROGRESS_REPLY;
  answer.progress_reply = progress;
  if (progress->lease_lost)
    log_refusal(gateway, "progress was refused", session, envelope->progress->job_id,
                "the agent does not hold this job");
  reply(request, session, envelope->request_id, &answer);
  pgseal__progress_reply__free_unpacked(progress, NULL);
}

static void on_result(Gateway *gateway, BusRequest *request, Session *session, const Pgseal__Envelope *envelope) {
  bool accepted = false;
  const char *reason = "";
  Error err;
  if (dispatch_result(gateway->dispatch, session->agent->name, envelope->result, &accepted, &reason, &err) !=
      STATUS_OK) {
    reply_failure(request, envelope->request_id, &err); /* the agent keeps the result and sends it again */
    return;
  }
  if (!accepted)
    log_refusal(gateway, "a result was refused", session, envelope->result->job_id, reason);
  Pgseal__ResultReply result = PGSEAL__RESULT_REPLY__INIT;
  result.accepted = accepted;
  result.reason = (char *)(reason ? reason : "");
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_RESULT_REPLY;
  answer.result_reply = &result;
  reply(request, session, envelope->request_id, &answer);
}

/* ---- certificates ---- */

static void on_certify(Gateway *gateway, BusRequest *request, Session *session, const Pgseal__Envelope *envelope) {
  const Agent *agent = agents_find(gateway->agents, session->agent->name);
  const Pgseal__Certify *message = envelope->certify;
  CLEANUP(issued_release) Issued issued = {0};
  Error err;
  Status status = *message->in_use ? agents_renewed(gateway->agents, agent, message->in_use, &err) : STATUS_OK;
  if (!status && *message->request)
    status = agents_renew(gateway->agents, agent, message->request, &issued, &err);
  if (status) {
    log_failure(LOG_LEVEL_WARN, "an agent's certificate was not renewed", &err);
    reply_failure(request, envelope->request_id, &err);
    return;
  }
  Pgseal__Certified certified = PGSEAL__CERTIFIED__INIT;
  const Authority *authority = agents_authority(gateway->agents);
  if (issued.pem) {
    certified.certificate = issued.pem;
    certified.authority = (char *)authority_pem(authority);
  }
  Pgseal__Envelope answer = PGSEAL__ENVELOPE__INIT;
  answer.body_case = PGSEAL__ENVELOPE__BODY_CERTIFIED;
  answer.certified = &certified;
  reply(request, session, envelope->request_id, &answer);
}

static void on_session_request(Gateway *gateway, BusRequest *request, Pgseal__Envelope **envelope) {
  Error err;
  Session *session = sessions_find(&gateway->sessions, &(*envelope)->session);
  if (!session) {
    error_set(&err, ERR_UNAUTHORIZED, "no such session; authenticate first");
    log_refusal(gateway, "a request of no session was refused", NULL, NULL, "");
    reply_failure(request, (*envelope)->request_id, &err);
    return;
  }
  dispatch_agent_seen(gateway->dispatch, session->agent->name);
  if ((*envelope)->machine)
    dispatch_agent_machine(gateway->dispatch, session->agent->name, (*envelope)->machine);
  const Buffer *cached = session_cached(session, (*envelope)->request_id);
  if (cached) {
    bus_request_reply(request, cached->data, cached->size);
    return;
  }
  switch ((*envelope)->body_case) {
  case PGSEAL__ENVELOPE__BODY_POLL:
    on_poll(gateway, request, session, STEAL(*envelope));
    break;
  case PGSEAL__ENVELOPE__BODY_PROGRESS:
    on_progress(gateway, request, session, *envelope);
    break;
  case PGSEAL__ENVELOPE__BODY_RESULT:
    on_result(gateway, request, session, *envelope);
    break;
  case PGSEAL__ENVELOPE__BODY_TUNNEL:
    on_tunnel(gateway, request, session, *envelope);
    break;
  case PGSEAL__ENVELOPE__BODY_CERTIFY:
    on_certify(gateway, request, session, *envelope);
    break;
  default:
    error_set(&err, ERR_PROTOCOL, "not a request");
    reply_failure(request, (*envelope)->request_id, &err);
  }
}

static void on_request(void *user, BusRequest *request, const uint8_t *data, size_t size) {
  Gateway *gateway = user;
  Pgseal__Envelope *envelope = NULL;
  Error err;
  if (envelope_unpack(data, size, &envelope, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_DEBUG, "a message was refused", &err);
    reply_failure(request, "-", &err); /* its own id cannot be told */
    return;
  }
  if (envelope->body_case == PGSEAL__ENVELOPE__BODY_HELLO)
    on_hello(gateway, request, envelope);
  else if (envelope->body_case == PGSEAL__ENVELOPE__BODY_AUTHENTICATE)
    on_authenticate(gateway, request, envelope);
  else
    on_session_request(gateway, request, &envelope);
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
}

/* ---- who is admitted ---- */

static Status load_admission(const Gateway *gateway, Admission *admission, Error *err) {
  CLEANUP_FREE char *revocations = NULL;
  Status status = agents_revocations(gateway->agents, &revocations, err);
  return status ? status : admission_load(gateway->config, revocations, admission, err);
}

static void take_admission(Gateway *gateway, Admission *admission) {
  admission_release(&gateway->admission);
  gateway->admission = *admission;
  *admission = (Admission){0};
  gateway->revoke_due = false;
  gateway->warned_us = clock_monotonic_us();
  admission_log(&gateway->admission, gateway->config);
}

Status gateway_readmit(Gateway *gateway, Error *err) {
  CLEANUP(admission_release) Admission admission = {0};
  Status status = load_admission(gateway, &admission, err);
  if (!status && admission.authority)
    status = bus_server_admit(gateway->server, &admission.tls, err);
  if (!status)
    take_admission(gateway, &admission);
  return status;
}

/* By the certificate in use: what its files hold meanwhile has no say in whether a revocation counts. */
static Status shut_out(Gateway *gateway, Error *err) {
  CLEANUP_FREE char *revocations = NULL;
  Status status = agents_revocations(gateway->agents, &revocations, err);
  if (status || !gateway->admission.authority)
    return status;
  admission_revoke(&gateway->admission, revocations);
  return bus_server_admit(gateway->server, &gateway->admission.tls, err);
}

static void on_timer(uv_timer_t *timer) {
  Gateway *gateway = timer->data;
  Error ignored;
  if (gateway->revoke_due && shut_out(gateway, &ignored) == STATUS_OK) {
    gateway->revoke_due = false;
    log_info("the certificates of who was revoked open no connections any more", NULL);
  }
  if (clock_monotonic_us() - gateway->warned_us >= DAY_US) {
    gateway->warned_us = clock_monotonic_us();
    admission_log(&gateway->admission, gateway->config);
  }
  tunnels_tick(gateway->tunnelling.tunnels);
  tunnelling_serve(&gateway->tunnelling);
  serve_parked(gateway, true);
}

/* A revocation is both at once: the session ends, and no connection with one of its certificates stays or comes back.
 * (One that ran out is refused by the connection anyway.) */
static void on_agent_changed(void *user, const Agent *agent) {
  Gateway *gateway = user;
  Session *session = sessions_of(&gateway->sessions, agent);
  if (agent_admitted(agent) || gateway->closing)
    return;
  if (session) {
    drop_parked(&session->parked);
    tunnelling_end(&gateway->tunnelling, session->agent, true);
    sessions_end(&gateway->sessions, session);
  }
  Error err;
  if (agent->row.state != AGENT_REVOKED || shut_out(gateway, &err) == STATUS_OK)
    return;
  gateway->revoke_due = true;
  log_failure(LOG_LEVEL_ERROR, "the agent's session is ended, but its certificate still opens connections; trying on",
              &err);
}

/* ---- opening and closing ---- */

static void gateway_free(Gateway *gateway) {
  sessions_release(&gateway->sessions);
  admission_release(&gateway->admission);
  free(gateway);
}

Status gateway_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Gateway **out,
                    Error *err) {
  Gateway *gateway = memory_alloc(sizeof *gateway);
  gateway->config = config;
  gateway->dispatch = dispatch;
  gateway->ledger = ledger;
  gateway->agents = dispatch_agents(dispatch);
  sessions_init(&gateway->sessions, gateway->agents);
  size_t parallel = PARALLEL_MINIMUM + agents_count(gateway->agents) * PARALLEL_PER_AGENT;
  CLEANUP(admission_release) Admission admission = {0};
  Status status = load_admission(gateway, &admission, err);
  if (!status)
    status = bus_server_open(loop, config->bus, admission.authority ? &admission.tls : NULL, parallel, on_request,
                             gateway, &gateway->server, err);
  if (status) {
    gateway_free(gateway);
    return status;
  }
  take_admission(gateway, &admission);
  uv_timer_init(loop, &gateway->timer);
  gateway->timer.data = gateway;
  uv_timer_start(&gateway->timer, on_timer, TICK_MS, TICK_MS);
  uv_async_init(loop, &gateway->work, on_work);
  gateway->work.data = gateway;
  tunnelling_open(&gateway->tunnelling, dispatch_tunnels(dispatch), config->poll_seconds, wake, gateway);
  dispatch_observe(dispatch, &(DispatchObserver){.user = gateway, .work = wake});
  agents_observe(gateway->agents, on_agent_changed, gateway);
  *out = gateway;
  return STATUS_OK;
}

static void one_closed(Gateway *gateway) {
  if (--gateway->handles > 0)
    return;
  void (*closed)(void *) = gateway->closed;
  void *user = gateway->closed_user;
  gateway_free(gateway);
  if (closed)
    closed(user);
}

static void on_handle_closed(uv_handle_t *handle) {
  one_closed(handle->data);
}

static void on_server_closed(void *user) {
  one_closed(user);
}

void gateway_close(Gateway *gateway, void (*closed)(void *user), void *user) {
  gateway->closed = closed;
  gateway->closed_user = user;
  gateway->handles = 3;
  gateway->closing = true;
  for (size_t i = 0; i < gateway->sessions.count; i++)
    if (gateway->sessions.items[i] && gateway->sessions.items[i]->parked.request)
      unpark(&gateway->sessions.items[i]->parked); /* the server drops the request itself */
  tunnelling_end(&gateway->tunnelling, NULL, false);
  uv_close((uv_handle_t *)&gateway->timer, on_handle_closed);
  uv_close((uv_handle_t *)&gateway->work, on_handle_closed);
  bus_server_close(gateway->server, on_server_closed, gateway);
}
