#include "agent/session/session.h"

#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "agent/supervisor/spool.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { RESEND_MS = 5000, LEAVE_US = 4 * 1000 * 1000 };

/* Around the callback of each request: tells a refusal of this session from one that a former session's request got. */
typedef struct Request {
  Session *session;
  unsigned epoch;
  BusReplyCallback *callback;
  void *user;
} Request;

static void on_bus_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  Request request = *(Request *)user;
  free(user);
  request.session->reply_epoch = request.epoch;
  request.callback(request.user, err, data, size);
}

void session_request(Session *session, Pgseal__Envelope *envelope, int timeout_ms, BusReplyCallback *callback,
                     void *user) {
  Id id = id_new();
  Buffer packed = {0};
  envelope->version = ENVELOPE_VERSION;
  envelope->request_id = id.text;
  if (session->state != SESSION_JOINING)
    envelope->session = (ProtobufCBinaryData){sizeof session->id, session->id};
  envelope_pack(envelope, &packed);
  Request *request = memory_alloc(sizeof *request);
  *request = (Request){session, session->epoch, callback, user};
  bus_client_request(session->bus, packed.data, packed.size, timeout_ms, on_bus_reply, request);
  buffer_release(&packed);
}

/* One line when the coordinator is lost and one when it is back, not one for each try. */
static void complain(Session *session, const char *what, const Error *err) {
  bool again = session->complained || session->state == SESSION_STOPPING;
  log_failure(again ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, what, err);
  session->complained = true;
}

static void refused(Session *session, const Error *err) {
  if (err->status == ERR_UNAUTHORIZED && session->reply_epoch != session->epoch) {
    log_debug("a request of the former session was refused", NULL);
  } else if (err->status == ERR_UNAUTHORIZED && session->state == SESSION_JOINED) {
    log_info("the coordinator does not know this session; joining again", NULL); /* it was restarted */
    session->state = SESSION_JOINING;
  } else if (err->status == ERR_UNAUTHORIZED) {
    complain(session, "the coordinator refuses this agent; trying on", err);
  } else {
    bool passes = error_class(err->status) == ERROR_CLASS_TRANSIENT;
    log_failure(passes ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "the coordinator refused a request", err);
  }
}

Pgseal__Envelope *session_reply(Session *session, const Error *err, const uint8_t *data, size_t size,
                                Pgseal__Envelope__BodyCase expected, Status *why) {
  Pgseal__Envelope *envelope = NULL;
  Error wrong;
  if (err)
    wrong = *err;
  if (err || envelope_unpack(data, size, &envelope, &wrong) != STATUS_OK) {
    complain(session, "the coordinator does not answer; trying on", &wrong);
  } else if (envelope->body_case == expected) {
    if (session->complained)
      log_info("the coordinator answers again", NULL);
    session->complained = false;
    return envelope;
  } else if (envelope->body_case == PGSEAL__ENVELOPE__BODY_FAILURE) {
    envelope_failure_to_error(envelope->failure, &wrong);
    refused(session, &wrong);
  } else {
    error_set(&wrong, ERR_PROTOCOL, "the coordinator answered something else than what was asked");
    complain(session, "the coordinator's answer makes no sense; trying on", &wrong);
  }
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
  if (why)
    *why = wrong.status;
  return NULL;
}

static void on_progress(void *user, const char *job_id) {
  session_track_news(user, job_id);
}

static void on_tunnel(void *user, const char *job_id, Pgseal__TunnelFrame *frame) {
  session_relay_frame(user, job_id, frame);
}

static void on_finished(void *user, const char *job_id, Pgseal__Result *result) {
  session_untrack(user, job_id);
  if (result)
    session_add_result(user, result);
  session_work(user);
}

static void on_spooled(void *user, Pgseal__Result *result) {
  session_add_result(user, result);
}

static void on_timer_closed(uv_handle_t *handle) {
  Session *session = handle->data;
  while (session->jobs)
    session_untrack(session, session->jobs->job_id);
  session_look_end(session);
  session_release_results(session);
  signing_key_free(session->key);
  identity_release(&session->identity);
  secret_text_free(&session->new_key);
  agent_tools_release(&session->tools);
  free(session);
}

static void on_bus_closed(void *user) {
  Session *session = user;
  uv_close((uv_handle_t *)&session->timer, on_timer_closed);
}

/* No task is left, and the results are handed in or the grace is over. */
static void finish(Session *session) {
  uv_timer_stop(&session->timer);
  supervisor_close(session->supervisor);
  machine_close(session->machine);
  bus_client_close(session->bus, on_bus_closed, session);
}

static void on_timer(uv_timer_t *timer) {
  Session *session = timer->data;
  session_look(session);
  if (session->state == SESSION_JOINING && !session_looks(session))
    session_join(session);
  else if (session->state != SESSION_JOINING)
    session_work(session);
  if (session->state != SESSION_STOPPING)
    return;
  int64_t now = clock_monotonic_us();
  bool idle = supervisor_total(session->supervisor) == 0;
  if (idle && (!session->results || now >= session->stop_by_us)) {
    finish(session);
  } else if (now >= session->leave_at_us) { /* results are on disk, and the next start cleans up */
    log_warn("cleaning up takes too long; leaving the rest to the next start", NULL);
    uv_stop(session->loop);
  }
}

static Status open_parts(Session *session, Error *err) {
  const AgentConfig *config = session->config;
  Status status = signing_key_load(config->signing_key, &session->key, err);
  if (!status)
    status = identity_load(config, &session->identity, err);
  if (status)
    return status;
  BusTls tls = identity_tls(&session->identity);
  SupervisorEvents events = {session, on_progress, on_tunnel, on_finished};
  status = supervisor_open(session->loop, config, &events, &session->supervisor, err);
  if (status)
    return status;
  status = spool_list(config->data_dir, on_spooled, session, err);
  if (!status)
    status = bus_client_open(session->loop, config->coordinators, config->coordinator_count,
                             session->identity.authority ? &tls : NULL, RESEND_MS, &session->bus, err);
  if (status)
    supervisor_close(session->supervisor);
  return status;
}

Status session_open(uv_loop_t *loop, const AgentConfig *config, Session **out, Error *err) {
  Session *session = memory_alloc(sizeof *session);
  *session = (Session){.loop = loop, .config = config, .lease_seconds = 30, .poll_seconds = 20};
  Status status = open_parts(session, err);
  if (status) {
    session_release_results(session);
    signing_key_free(session->key);
    identity_release(&session->identity);
    free(session);
    return status;
  }
  agent_tools_find(config, &session->tools);
  session->machine = machine_open(config);
  uv_timer_init(loop, &session->timer);
  session->timer.data = session;
  uv_timer_start(&session->timer, on_timer, 0, SESSION_TICK_MS);
  *out = session;
  return STATUS_OK;
}

void session_stop(Session *session, int grace_ms) {
  if (session->state == SESSION_STOPPING)
    return;
  log_info("stopping", NULL);
  bool joined = session->state == SESSION_JOINED;
  session->state = SESSION_STOPPING;
  int64_t now = clock_monotonic_us();
  session->stop_by_us = now + (joined ? (int64_t)grace_ms * 1000 : 0);
  session->leave_at_us = now + (int64_t)grace_ms * 1000 + LEAVE_US;
  supervisor_stop(session->supervisor);
}
