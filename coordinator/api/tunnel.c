/* The client's end of a rehearsal's tunnel. A body is a packed pgseal.Tunnel, an answer a packed pgseal.TunnelReply. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { WAIT_US = 20 * 1000 * 1000 };

static enum MHD_Result reply(Request *request, const char *job_id, bool frames) {
  CLEANUP(buffer_release) Buffer packed = {0};
  Pgseal__TunnelReply message = PGSEAL__TUNNEL_REPLY__INIT;
  tunnels_reply(dispatch_tunnels(request->api->dispatch), TUNNEL_CLIENT, job_id, frames, &message);
  buffer_reserve(&packed, pgseal__tunnel_reply__get_packed_size(&message) + 1); /* it may be empty */
  packed.size = pgseal__tunnel_reply__pack(&message, packed.data);
  free(message.frames);
  return respond_bytes(request, MHD_HTTP_OK, "application/octet-stream", packed.data, packed.size);
}

static Status find(Request *request, Error *err) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Status status = ledger_job_get(request->api->ledger, request->arg, &job, err);
  if (status || scope_sees(&request->scope, job.database))
    return status;
  error_set(err, ERR_NOT_FOUND, "there is no job %s", request->arg);
  error_object(err, "%s", request->arg);
  return ERR_NOT_FOUND;
}

enum MHD_Result jobs_tunnel(Request *request) {
  Tunnels *tunnels = dispatch_tunnels(request->api->dispatch);
  Error err;
  Status status = find(request, &err);
  Pgseal__Tunnel *message = status ? NULL : pgseal__tunnel__unpack(NULL, request->body.size, request->body.data);
  if (!status && !message)
    status = error_set(&err, ERR_INVALID_ARGUMENT, "the body is no message of a tunnel");
  bool sends = message && message->n_frames > 0;
  if (!status)
    status = tunnels_take(tunnels, TUNNEL_CLIENT, request->actor, request->arg, message, &err);
  if (message)
    pgseal__tunnel__free_unpacked(message, NULL);
  if (status == ERR_PROTOCOL)
    return respond_error(request, MHD_HTTP_BAD_REQUEST, &err, NULL);
  if (status)
    return respond_failure(request, &err);
  if (sends || tunnels_ready(tunnels, TUNNEL_CLIENT, request->arg))
    return reply(request, request->arg, !sends);
  request->waiting_for = memory_strdup(request->arg);
  request->answer = tunnel_answer;
  request->until_us = clock_monotonic_us() + WAIT_US;
  request->phase = PHASE_WAITING;
  request_suspend(request);
  return MHD_YES;
}

enum MHD_Result tunnel_answer(Request *request) {
  Error err;
  if (auth_still_good(request->api, request->token_hash, request->session_hash, true))
    return reply(request, request->waiting_for, true);
  error_set(&err, ERR_UNAUTHORIZED, "the token was revoked while the request waited");
  return respond_failure(request, &err);
}

static void on_frames(void *user, const char *job_id) {
  Api *api = user;
  for (Request *request = api->requests; request; request = request->next) {
    if (request->phase == PHASE_WAITING && request->answer == tunnel_answer &&
        strcmp(request->waiting_for, job_id) == 0) {
      request->finished = true;
      request_resume(request);
    }
  }
}

void tunnel_observe(Api *api) {
  tunnels_observe(dispatch_tunnels(api->dispatch), TUNNEL_CLIENT, on_frames, api);
}

void tunnel_sweep(Api *api) {
  int64_t now = clock_monotonic_us();
  for (Request *request = api->requests; request; request = request->next) {
    if (request->phase == PHASE_WAITING && request->until_us && now >= request->until_us) {
      request->finished = true;
      request_resume(request);
    }
  }
}
