#include "coordinator/gateway/tunnelling.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

static void on_frames(void *user, const char *job_id) {
  const Tunnelling *tunnelling = user;
  (void)job_id;
  tunnelling->wake(tunnelling->user);
}

void tunnelling_open(Tunnelling *tunnelling, Tunnels *tunnels, int wait_seconds, void (*wake)(void *user), void *user) {
  *tunnelling =
      (Tunnelling){.tunnels = tunnels, .wait_us = (int64_t)wait_seconds * 1000000, .wake = wake, .user = user};
  tunnels_observe(tunnels, TUNNEL_AGENT, on_frames, tunnelling);
}

/* Never cached: a request that is sent again finds what it did by the frames' sequence. */
static void answer(const Tunnelling *tunnelling, BusRequest *request, const char *request_id, const char *job_id,
                   bool frames) {
  CLEANUP(buffer_release) Buffer packed = {0};
  Pgseal__TunnelReply reply = PGSEAL__TUNNEL_REPLY__INIT;
  tunnels_reply(tunnelling->tunnels, TUNNEL_AGENT, job_id, frames, &reply);
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.version = ENVELOPE_VERSION;
  envelope.request_id = (char *)request_id;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_TUNNEL_REPLY;
  envelope.tunnel_reply = &reply;
  envelope_pack(&envelope, &packed);
  free(reply.frames);
  bus_request_reply(request, packed.data, packed.size);
}

static void forget(Tunnelling *tunnelling, size_t index) {
  free(tunnelling->parked[index].request_id);
  free(tunnelling->parked[index].job_id);
  tunnelling->parked[index] = tunnelling->parked[--tunnelling->count];
}

/* An earlier one of the same job: resent, or given up by its agent. Until when it would have waited; 0: there is none.
 */
static int64_t take_place_of(Tunnelling *tunnelling, const char *job_id, const char *request_id) {
  for (size_t i = 0; i < tunnelling->count; i++) {
    ParkedTunnel *parked = &tunnelling->parked[i];
    if (strcmp(parked->job_id, job_id) != 0)
      continue;
    bool resent = strcmp(parked->request_id, request_id) == 0;
    int64_t until_us = resent ? parked->until_us : 0;
    bus_request_drop(parked->request);
    forget(tunnelling, i);
    return until_us;
  }
  return 0;
}

Status tunnelling_request(Tunnelling *tunnelling, BusRequest *request, const ConfigAgent *agent,
                          const Pgseal__Envelope *envelope, Error *err) {
  Pgseal__Tunnel *message = envelope->tunnel;
  bool sends = message->n_frames > 0;
  Status status = tunnels_take(tunnelling->tunnels, TUNNEL_AGENT, agent->name, message->job_id, message, err);
  if (status)
    return status;
  int64_t until_us = sends ? 0 : take_place_of(tunnelling, message->job_id, envelope->request_id);
  if (sends || tunnels_ready(tunnelling->tunnels, TUNNEL_AGENT, message->job_id)) {
    answer(tunnelling, request, envelope->request_id, message->job_id, !sends);
    return STATUS_OK;
  }
  ParkedTunnel parked = {.request = request,
                         .agent = agent,
                         .request_id = memory_strdup(envelope->request_id),
                         .job_id = memory_strdup(message->job_id),
                         .until_us = until_us ? until_us : clock_monotonic_us() + tunnelling->wait_us};
  ARRAY_PUSH(tunnelling->parked, tunnelling->count, parked);
  return STATUS_OK;
}

void tunnelling_serve(Tunnelling *tunnelling) {
  int64_t now = clock_monotonic_us();
  for (size_t i = 0; i < tunnelling->count;) {
    ParkedTunnel *parked = &tunnelling->parked[i];
    if (!bus_request_alive(parked->request)) {
      bus_request_drop(parked->request);
      forget(tunnelling, i);
    } else if (now >= parked->until_us || tunnels_ready(tunnelling->tunnels, TUNNEL_AGENT, parked->job_id)) {
      answer(tunnelling, parked->request, parked->request_id, parked->job_id, true);
      forget(tunnelling, i);
    } else {
      i++;
    }
  }
}

void tunnelling_end(Tunnelling *tunnelling, const ConfigAgent *agent, bool drop) {
  for (size_t i = 0; i < tunnelling->count;) {
    if (agent && tunnelling->parked[i].agent != agent) {
      i++;
      continue;
    }
    if (drop)
      bus_request_drop(tunnelling->parked[i].request);
    forget(tunnelling, i);
  }
  if (!agent) {
    tunnels_observe(tunnelling->tunnels, TUNNEL_AGENT, NULL, NULL);
    free(tunnelling->parked);
    tunnelling->parked = NULL;
  }
}
