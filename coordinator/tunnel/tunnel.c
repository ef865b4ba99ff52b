#include "coordinator/tunnel/tunnel.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rehearsal/tunnel.h"

enum {
  PIPE_BYTES = TUNNEL_CONNECTIONS * TUNNEL_WINDOW,
  PIPE_FRAMES = 64 << 10,
  CHECK_US = 2 * 1000 * 1000,
  LINGER_US = 30 * 1000 * 1000 /* one that is over is kept for who still asks */
};

/* One direction: frames that came and are not known to have arrived, in the order of their sequence. */
typedef struct Pipe {
  Pgseal__TunnelFrame **frames; /* owned, as malloc and protobuf-c have it */
  size_t count, bytes;
  uint64_t taken; /* the highest sequence that came */
} Pipe;

typedef struct Tunnel {
  char *job_id, *agent, *client;
  uint64_t fencing;
  Pipe pipes[2];                               /* by the side that they lead to */
  int64_t client_seen_us, checked_us, over_us; /* monotonic; over_us: 0 while it lasts */
  bool client_gone, broken;
  struct Tunnel *next;
} Tunnel;

struct Tunnels {
  Ledger *ledger;
  int64_t (*monotonic_us)(void);
  Tunnel *first;
  struct {
    TunnelWake *wake;
    void *user;
  } observers[2];
};

/* ---- pipes ---- */

static void pipe_drop(Pipe *pipe, size_t count) {
  for (size_t i = 0; i < count; i++) {
    pipe->bytes -= pipe->frames[i]->data.len;
    pgseal__tunnel_frame__free_unpacked(pipe->frames[i], NULL);
  }
  pipe->count -= count;
  if (count > 0 && pipe->count > 0)
    memmove(pipe->frames, pipe->frames + count, pipe->count * sizeof *pipe->frames);
}

static void pipe_release(Pipe *pipe) {
  pipe_drop(pipe, pipe->count);
  free(pipe->frames);
  *pipe = (Pipe){0};
}

static bool frame_valid(const Pgseal__TunnelFrame *frame) {
  switch (frame->kind) {
  case PGSEAL__TUNNEL_FRAME__KIND__OPEN:
  case PGSEAL__TUNNEL_FRAME__KIND__WINDOW:
    return frame->data.len == 0;
  case PGSEAL__TUNNEL_FRAME__KIND__DATA:
    return frame->data.len <= TUNNEL_DATA_LIMIT;
  case PGSEAL__TUNNEL_FRAME__KIND__CLOSE:
  case PGSEAL__TUNNEL_FRAME__KIND__END:
    return frame->data.len <= TUNNEL_TEXT_LIMIT;
  default:
    return false;
  }
}

/* Takes *slot, unless it came before. */
static Status pipe_take(Pipe *pipe, Pgseal__TunnelFrame **slot, Error *err) {
  const Pgseal__TunnelFrame *frame = *slot;
  if (frame->sequence <= pipe->taken && frame->sequence > 0)
    return STATUS_OK;
  if (frame->sequence != pipe->taken + 1)
    return error_set(err, ERR_CONFLICT, "frames of the tunnel are missing");
  if (!frame_valid(frame) || pipe->count >= PIPE_FRAMES || pipe->bytes + frame->data.len > PIPE_BYTES)
    return error_set(err, ERR_PROTOCOL, "the tunnel's frames are out of bounds");
  pipe->taken = frame->sequence;
  pipe->bytes += frame->data.len;
  ARRAY_PUSH(pipe->frames, pipe->count, STEAL(*slot));
  return STATUS_OK;
}

/* The other side has them up to this one. */
static Status pipe_acknowledge(Pipe *pipe, uint64_t received, Error *err) {
  size_t count = 0;
  if (received > pipe->taken)
    return error_set(err, ERR_CONFLICT, "the tunnel's other side knows of frames that never came");
  while (count < pipe->count && pipe->frames[count]->sequence <= received)
    count++;
  pipe_drop(pipe, count);
  return STATUS_OK;
}

/* ---- tunnels ---- */

Tunnels *tunnels_new(Ledger *ledger) {
  Tunnels *tunnels = memory_alloc(sizeof *tunnels);
  tunnels->ledger = ledger;
  tunnels->monotonic_us = clock_monotonic_us;
  return tunnels;
}

void tunnels_clock(Tunnels *tunnels, int64_t (*monotonic_us)(void)) {
  tunnels->monotonic_us = monotonic_us;
}

static void tunnel_free(Tunnel *tunnel) {
  pipe_release(&tunnel->pipes[TUNNEL_CLIENT]);
  pipe_release(&tunnel->pipes[TUNNEL_AGENT]);
  free(tunnel->job_id);
  free(tunnel->agent);
  free(tunnel->client);
  free(tunnel);
}

void tunnels_free(Tunnels *tunnels) {
  if (!tunnels)
    return;
  while (tunnels->first) {
    Tunnel *tunnel = tunnels->first;
    tunnels->first = tunnel->next;
    tunnel_free(tunnel);
  }
  free(tunnels);
}

void tunnels_observe(Tunnels *tunnels, TunnelSide side, TunnelWake *wake, void *user) {
  tunnels->observers[side].wake = wake;
  tunnels->observers[side].user = user;
}

static void wake(const Tunnels *tunnels, TunnelSide side, const char *job_id) {
  if (tunnels->observers[side].wake)
    tunnels->observers[side].wake(tunnels->observers[side].user, job_id);
}

static TunnelSide other(TunnelSide side) {
  return side == TUNNEL_CLIENT ? TUNNEL_AGENT : TUNNEL_CLIENT;
}

static Tunnel *find(const Tunnels *tunnels, const char *job_id) {
  for (Tunnel *tunnel = tunnels->first; tunnel; tunnel = tunnel->next)
    if (strcmp(tunnel->job_id, job_id) == 0)
      return tunnel;
  return NULL;
}

static Status over(Error *err) {
  return error_set(err, ERR_CONFLICT, "the rehearsal is over, or has no copy yet");
}

static bool lasts(const LedgerJob *job) {
  return (job->state == JOB_LEASED || job->state == JOB_RUNNING) && job->agent;
}

/* Of a job that runs. */
static Status make(Tunnels *tunnels, const char *job_id, Tunnel **out, Error *err) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Status status = ledger_job_get(tunnels->ledger, job_id, &job, err);
  if (status != STATUS_OK)
    return status;
  if (job.kind != LEDGER_JOB_REHEARSE || !json_is_true(json_object_get(job.request, "tunnel")))
    return error_set(err, ERR_NOT_FOUND, "job %s has no tunnel", job_id);
  if (!lasts(&job))
    return over(err);
  Tunnel *tunnel = memory_alloc(sizeof *tunnel);
  int64_t now = tunnels->monotonic_us();
  *tunnel = (Tunnel){.job_id = memory_strdup(job.id),
                     .agent = memory_strdup(job.agent),
                     .client = memory_strdup(job.requested_by),
                     .fencing = job.fencing,
                     .client_seen_us = now,
                     .checked_us = now,
                     .next = tunnels->first};
  tunnels->first = *out = tunnel;
  return STATUS_OK;
}

static Status check_side(const Tunnel *tunnel, TunnelSide side, const char *who, uint64_t fencing, Error *err) {
  bool his = strcmp(side == TUNNEL_AGENT ? tunnel->agent : tunnel->client, who) == 0;
  if (his && (side == TUNNEL_CLIENT || tunnel->fencing == fencing))
    return STATUS_OK;
  if (side == TUNNEL_AGENT)
    return over(err);
  error_set(err, ERR_FORBIDDEN, "the rehearsal was asked for with another token");
  error_remedy(err, "Only whoever asked for a rehearsal gets to its copy.");
  return ERR_FORBIDDEN;
}

static void break_off(const Tunnels *tunnels, Tunnel *tunnel) {
  tunnel->broken = true;
  pipe_drop(&tunnel->pipes[TUNNEL_CLIENT], tunnel->pipes[TUNNEL_CLIENT].count);
  pipe_drop(&tunnel->pipes[TUNNEL_AGENT], tunnel->pipes[TUNNEL_AGENT].count);
  wake(tunnels, TUNNEL_CLIENT, tunnel->job_id);
  wake(tunnels, TUNNEL_AGENT, tunnel->job_id);
}

static Status broken(Error *err) {
  error_set(err, ERR_CONFLICT, "the tunnel is broken: the coordinator was restarted, or one of its ends");
  error_remedy(err, "Rehearse it again. Nothing but the copy was touched.");
  return ERR_CONFLICT;
}

Status tunnels_take(Tunnels *tunnels, TunnelSide side, const char *who, const char *job_id, Pgseal__Tunnel *message,
                    Error *err) {
  Tunnel *tunnel = find(tunnels, job_id);
  Status status = tunnel ? STATUS_OK : make(tunnels, job_id, &tunnel, err);
  if (status == STATUS_OK)
    status = check_side(tunnel, side, who, message->fencing, err);
  if (status != STATUS_OK)
    return status;
  if (side == TUNNEL_CLIENT)
    tunnel->client_seen_us = tunnels->monotonic_us();
  if (tunnel->broken || (side == TUNNEL_CLIENT && tunnel->client_gone))
    return broken(err);
  Pipe *pipe = &tunnel->pipes[other(side)];
  uint64_t before = pipe->taken;
  status = pipe_acknowledge(&tunnel->pipes[side], message->received, err);
  for (size_t i = 0; i < message->n_frames && status == STATUS_OK; i++)
    status = pipe_take(pipe, &message->frames[i], err);
  if (status != STATUS_OK) {
    break_off(tunnels, tunnel);
    return status == ERR_CONFLICT ? broken(err) : status;
  }
  if (pipe->taken > before)
    wake(tunnels, other(side), job_id);
  return STATUS_OK;
}

static bool ended(const Tunnel *tunnel, TunnelSide side) {
  return tunnel->over_us || tunnel->broken || (side == TUNNEL_AGENT && tunnel->client_gone);
}

bool tunnels_ready(const Tunnels *tunnels, TunnelSide side, const char *job_id) {
  const Tunnel *tunnel = find(tunnels, job_id);
  return !tunnel || ended(tunnel, side) || tunnel->pipes[side].count > 0;
}

void tunnels_reply(Tunnels *tunnels, TunnelSide side, const char *job_id, bool frames, Pgseal__TunnelReply *reply) {
  Tunnel *tunnel = find(tunnels, job_id);
  if (!tunnel) {
    reply->closed = true;
    return;
  }
  const Pipe *pipe = &tunnel->pipes[side];
  if (side == TUNNEL_CLIENT) /* until now it waited */
    tunnel->client_seen_us = tunnels->monotonic_us();
  reply->received = tunnel->pipes[other(side)].taken;
  size_t bytes = 0;
  while (frames && reply->n_frames < pipe->count && bytes < TUNNEL_REPLY_BYTES)
    bytes += pipe->frames[reply->n_frames++]->data.len + 16;
  reply->closed = ended(tunnel, side) && (!frames || reply->n_frames == pipe->count);
  if (reply->n_frames)
    reply->frames = memory_dup(pipe->frames, reply->n_frames * sizeof *pipe->frames);
}

/* ---- time ---- */

static void check(Tunnels *tunnels, Tunnel *tunnel, int64_t now) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Error ignored; /* looked at again soon */
  tunnel->checked_us = now;
  if (tunnel->over_us || ledger_job_get(tunnels->ledger, tunnel->job_id, &job, &ignored) != STATUS_OK ||
      (lasts(&job) && job.fencing == tunnel->fencing))
    return;
  tunnel->over_us = now;
  wake(tunnels, TUNNEL_CLIENT, tunnel->job_id);
  wake(tunnels, TUNNEL_AGENT, tunnel->job_id);
}

void tunnels_tick(Tunnels *tunnels) {
  int64_t now = tunnels->monotonic_us();
  for (Tunnel **at = &tunnels->first; *at;) {
    Tunnel *tunnel = *at;
    if (now - tunnel->checked_us >= CHECK_US)
      check(tunnels, tunnel, now);
    if (!tunnel->client_gone && now - tunnel->client_seen_us >= (int64_t)TUNNEL_SILENCE_SECONDS * 1000000) {
      tunnel->client_gone = true;
      wake(tunnels, TUNNEL_AGENT, tunnel->job_id);
    }
    if (tunnel->over_us && now - tunnel->over_us >= LINGER_US) {
      *at = tunnel->next;
      tunnel_free(tunnel);
    } else {
      at = &tunnel->next;
    }
  }
}
