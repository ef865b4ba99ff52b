/* The frames of a rehearsal's tunnel, on their way through the child's pipes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/jobs/channel.h"

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
