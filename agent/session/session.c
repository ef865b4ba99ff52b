#include "agent/session/session.h"

#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "agent/supervisor/spool.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { RESEND_MS = 5000 };

void session_request(Session *session, Pgseal__Envelope *envelope, int timeout_ms, BusReplyCallback *callback,
                     void *user) {
  Id id = id_new();
  Buffer packed = {0};
  envelope->version = ENVELOPE_VERSION;
  envelope->request_id = id.text;
  if (session->state != SESSION_JOINING)
    envelope->session = (ProtobufCBinaryData){sizeof session->id, session->id};
  envelope_pack(envelope, &packed);
  bus_client_request(session->bus, packed.data, packed.size, timeout_ms, callback, user);
  buffer_release(&packed);
}

/* One line when the coordinator is lost and one when it is back, not one for each try. */
static void complain(Session *session, const Error *err) {
  if (!session->complained && session->state != SESSION_STOPPING)
    log_failure(LOG_LEVEL_WARN, "the coordinator does not answer; trying on", err);
  session->complained = true;
}

Pgseal__Envelope *session_reply(Session *session, const Error *err, const uint8_t *data, size_t size,
                                Pgseal__Envelope__BodyCase expected) {
  if (err) {
    complain(session, err);
    return NULL;
  }
  Pgseal__Envelope *envelope = NULL;
  Error wrong;
  if (envelope_unpack(data, size, &envelope, &wrong) != STATUS_OK) {
    complain(session, &wrong);
    return NULL;
  }
  if (envelope->body_case == expected) {
    session->complained = false;
    return envelope;
  }
  if (envelope->body_case == PGSEAL__ENVELOPE__BODY_FAILURE) {
    envelope_failure_to_error(envelope->failure, &wrong);
    if (wrong.status == ERR_UNAUTHORIZED && session->state == SESSION_JOINED)
      session->state = SESSION_JOINING; /* the coordinator was restarted */
    else
      complain(session, &wrong);
  }
  pgseal__envelope__free_unpacked(envelope, NULL);
  return NULL;
}

static void on_progress(void *user, const char *job_id) {
  session_track_news(user, job_id);
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
  while (session->results) {
    PendingResult *pending = session->results;
    session->results = pending->next;
    pgseal__result__free_unpacked(pending->result, NULL);
    free(pending);
  }
  signing_key_free(session->key);
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
  bus_client_close(session->bus, on_bus_closed, session);
}

static void on_timer(uv_timer_t *timer) {
  Session *session = timer->data;
  if (session->state == SESSION_JOINING)
    session_join(session);
  else
    session_work(session);
  bool idle = supervisor_total(session->supervisor) == 0;
  if (session->state == SESSION_STOPPING && idle && (!session->results || clock_monotonic_us() >= session->stop_by_us))
    finish(session);
}

static Status open_parts(Session *session, Error *err) {
  const AgentConfig *config = session->config;
  Status status = signing_key_load(config->signing_key, &session->key, err);
  if (status)
    return status;
  SupervisorEvents events = {session, on_progress, on_finished};
  status = supervisor_open(session->loop, config, &events, &session->supervisor, err);
  if (status)
    return status;
  status = spool_list(config->data_dir, on_spooled, session, err);
  if (!status)
    status =
        bus_client_open(session->loop, config->coordinators, config->coordinator_count, RESEND_MS, &session->bus, err);
  if (status)
    supervisor_close(session->supervisor);
  return status;
}

Status session_open(uv_loop_t *loop, const AgentConfig *config, Session **out, Error *err) {
  Session *session = memory_alloc(sizeof *session);
  *session = (Session){.loop = loop, .config = config, .lease_seconds = 30, .poll_seconds = 20};
  Status status = open_parts(session, err);
  if (status) {
    signing_key_free(session->key);
    free(session);
    return status;
  }
  agent_tools_find(config, &session->tools);
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
  session->stop_by_us = clock_monotonic_us() + (joined ? (int64_t)grace_ms * 1000 : 0);
  supervisor_stop(session->supervisor);
}
