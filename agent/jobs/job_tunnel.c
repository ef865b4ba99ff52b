/* The frames of a rehearsal's tunnel, on their way through the child's pipes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/jobs/channel.h"
#include "common/base/memory.h"
#include "common/rehearsal/tunnel.h"

/* What the windows allow to be under way, and opens, closes and windows in good measure. */
enum { KEPT_BYTES = TUNNEL_CONNECTIONS * TUNNEL_WINDOW + (1 << 20), KEPT_FRAMES = 16384 };

static void wake(const JobChannel *channel) {
  const uint64_t one = 1;
  if (write(channel->tunnel_fd, &one, sizeof one) < 0)
    return; /* its counter is not zero: it is awake */
}

void job_tunnel_keep(JobChannel *channel, Pgseal__TunnelFrame **frame) {
  if (channel->tunnel_fd <= 0)
    return;
  size_t bytes = (*frame)->data.len;
  if (channel->frame_count >= KEPT_FRAMES || channel->frame_bytes + bytes > KEPT_BYTES) {
    channel->flooded = true;
  } else {
    ARRAY_PUSH(channel->frames, channel->frame_count, *frame);
    channel->frame_bytes += bytes;
    *frame = NULL;
  }
  wake(channel);
}

Status job_tunnel_open(const JobContext *context, int *fd, Error *err) {
  JobChannel *channel = context->channel;
  int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0)
    return error_set_errno(err, errno, "cannot make an eventfd");
  pthread_mutex_lock(&channel->lock);
  channel->tunnel_fd = made;
  pthread_mutex_unlock(&channel->lock);
  *fd = made;
  return STATUS_OK;
}

Status job_tunnel_take(const JobContext *context, Pgseal__TunnelFrame **out, Error *err) {
  JobChannel *channel = context->channel;
  uint64_t count;
  *out = NULL;
  pthread_mutex_lock(&channel->lock);
  bool flooded = channel->flooded;
  if (!flooded && channel->frame_count > 0) {
    *out = channel->frames[0];
    channel->frame_bytes -= (*out)->data.len;
    memmove(channel->frames, channel->frames + 1, --channel->frame_count * sizeof(Pgseal__TunnelFrame *));
  } else if (read(channel->tunnel_fd, &count, sizeof count) < 0 && errno != EAGAIN) {
    flooded = true;
  }
  pthread_mutex_unlock(&channel->lock);
  return flooded ? error_set(err, ERR_PROTOCOL, "the tunnel's client sends more than its windows allow") : STATUS_OK;
}

Status job_tunnel_send(const JobContext *context, const Pgseal__TunnelFrame *frame, Error *err) {
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_TUNNEL;
  message.tunnel = (Pgseal__TunnelFrame *)frame;
  return job_channel_send(context->channel, &message, err);
}
