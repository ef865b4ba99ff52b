/* Rehearsals' tunnels: frames between a job's child and the coordinator, who passes them on to the client. */
#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/rehearsal/tunnel.h"

enum { SEND_BYTES = 1 << 20 };

/* Begins when the child offers its copy, and ends with the job. One request with frames at a time, which is answered at
 * once; and one without, which waits for what the client sends. */
struct Relay {
  char *job_id;
  uint64_t fencing;
  Pgseal__TunnelFrame **frames; /* of the child, that the coordinator is not known to have; owned */
  size_t count;
  uint64_t received; /* the highest sequence that the child got */
  bool sending, waiting, closed;
  int64_t retry_us; /* monotonic: not before */
  struct Relay *next;
};

typedef struct RelayCall {
  Session *session;
  char *job_id;
  uint64_t fencing;
  bool sends;
} RelayCall;

static Relay *find(const Session *session, const char *job_id) {
  for (Relay *relay = session->relays; relay; relay = relay->next)
    if (strcmp(relay->job_id, job_id) == 0)
      return relay;
  return NULL;
}

static void drop(Relay *relay, size_t count) {
  for (size_t i = 0; i < count; i++)
    pgseal__tunnel_frame__free_unpacked(relay->frames[i], NULL);
  relay->count -= count;
  if (count > 0 && relay->count > 0)
    memmove(relay->frames, relay->frames + count, relay->count * sizeof *relay->frames);
}

void session_relay_end(Session *session, const char *job_id) {
  for (Relay **at = &session->relays; *at; at = &(*at)->next)
    if (strcmp((*at)->job_id, job_id) == 0) {
      Relay *gone = *at;
      *at = gone->next;
      drop(gone, gone->count);
      free(gone->frames);
      free(gone->job_id);
      free(gone);
      return;
    }
}

/* The child is told that its client is gone, and why. */
static void close_relay(Session *session, Relay *relay, const char *why) {
  if (relay->closed)
    return;
  Pgseal__TunnelFrame frame = PGSEAL__TUNNEL_FRAME__INIT;
  frame.kind = PGSEAL__TUNNEL_FRAME__KIND__END;
  frame.data = (ProtobufCBinaryData){strnlen(why, TUNNEL_TEXT_LIMIT), (uint8_t *)why};
  relay->closed = true;
  drop(relay, relay->count);
  log_info("a rehearsal's tunnel is closed", "job", relay->job_id, "reason", why, NULL);
  supervisor_tunnel(session->supervisor, relay->job_id, &frame);
}

static void take_reply(Session *session, Relay *relay, const Pgseal__TunnelReply *reply) {
  size_t arrived = 0;
  while (arrived < relay->count && relay->frames[arrived]->sequence <= reply->received)
    arrived++;
  drop(relay, arrived);
  for (size_t i = 0; i < reply->n_frames && !relay->closed; i++)
    if (reply->frames[i]->sequence == relay->received + 1) {
      relay->received++;
      supervisor_tunnel(session->supervisor, relay->job_id, reply->frames[i]);
    }
  if (reply->closed)
    close_relay(session, relay, "the client is gone");
}

/* What passes by itself is tried again: that the coordinator is away, or does not know this session any more. */
static void take_refusal(Session *session, Relay *relay, Status why) {
  relay->retry_us = clock_monotonic_us() + SESSION_RETRY_US;
  if (why == ERR_CONFLICT || why == ERR_FORBIDDEN || why == ERR_NOT_FOUND || why == ERR_PROTOCOL)
    close_relay(session, relay, "the coordinator does not pass on the tunnel's frames any more");
}

static void on_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  RelayCall *call = user;
  Session *session = call->session;
  Status why = STATUS_OK;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_TUNNEL_REPLY, &why);
  Relay *relay = find(session, call->job_id);
  if (relay && relay->fencing == call->fencing) {
    *(call->sends ? &relay->sending : &relay->waiting) = false;
    if (envelope)
      take_reply(session, relay, envelope->tunnel_reply);
    else
      take_refusal(session, relay, why);
  }
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
  free(call->job_id);
  free(call);
  session_relay(session);
}

static void request(Session *session, Relay *relay, size_t count) {
  Pgseal__Tunnel message = PGSEAL__TUNNEL__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  message.job_id = relay->job_id;
  message.fencing = relay->fencing;
  message.frames = relay->frames;
  message.n_frames = count;
  message.received = relay->received;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_TUNNEL;
  envelope.tunnel = &message;
  RelayCall *call = memory_alloc(sizeof *call);
  *call = (RelayCall){session, memory_strdup(relay->job_id), relay->fencing, count > 0};
  *(count > 0 ? &relay->sending : &relay->waiting) = true;
  session_request(session, &envelope, (count > 0 ? 0 : session->poll_seconds * 1000) + SESSION_REQUEST_MS, on_reply,
                  call);
}

void session_relay(Session *session) {
  int64_t now = clock_monotonic_us();
  if (session->state != SESSION_JOINED)
    return;
  for (Relay *relay = session->relays; relay; relay = relay->next) {
    if (relay->closed || now < relay->retry_us)
      continue;
    size_t count = 0, bytes = 0;
    while (count < relay->count && bytes < SEND_BYTES)
      bytes += relay->frames[count++]->data.len + 16;
    if (count > 0 && !relay->sending)
      request(session, relay, count);
    if (!relay->waiting)
      request(session, relay, 0);
  }
}

void session_relay_begin(Session *session, const char *job_id, uint64_t fencing) {
  if (find(session, job_id))
    return;
  Relay *relay = memory_alloc(sizeof *relay);
  *relay = (Relay){.job_id = memory_strdup(job_id), .fencing = fencing, .next = session->relays};
  session->relays = relay;
  session_relay(session);
}

void session_relay_frame(Session *session, const char *job_id, Pgseal__TunnelFrame *frame) {
  Relay *relay = find(session, job_id);
  if (!relay || relay->closed) {
    pgseal__tunnel_frame__free_unpacked(frame, NULL);
    return;
  }
  ARRAY_PUSH(relay->frames, relay->count, frame);
  session_relay(session);
}
