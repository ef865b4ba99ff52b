/*
 * The child's side of the pipes: a reader thread keeps what the agent says (follow, cancel) under one lock; progress
 * and the result are written under another, so that frames never mix.
 */
#include "agent/jobs/channel.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/jobs/kind.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/bus/frame.h"
#include "common/rehearsal/tunnel.h"

/* What the windows allow to be under way, and opens, closes and windows in good measure. */
enum { KEPT_BYTES = TUNNEL_CONNECTIONS * TUNNEL_WINDOW + (1 << 20), KEPT_FRAMES = 16384 };

static void wake(const JobChannel *channel) {
  const uint64_t one = 1;
  if (write(channel->tunnel_fd, &one, sizeof one) < 0)
    return; /* its counter is not zero: it is awake */
}

static void keep_frame(JobChannel *channel, Pgseal__TunnelFrame **frame) {
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

static void free_message(Pgseal__JobMessage *message) {
  if (message)
    pgseal__job_message__free_unpacked(message, NULL);
}

static void take_message(JobChannel *channel, Pgseal__JobMessage *message) {
  pthread_mutex_lock(&channel->lock);
  if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_FOLLOW) {
    if (channel->follow)
      pgseal__follow__free_unpacked(channel->follow, NULL);
    channel->follow = message->follow;
    message->follow = NULL;
    message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
    channel->serial++;
  } else if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_CANCEL) {
    channel->canceled = true;
  } else if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_TUNNEL) {
    keep_frame(channel, &message->tunnel);
    if (!message->tunnel)
      message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
  }
  pthread_cond_broadcast(&channel->changed);
  pthread_mutex_unlock(&channel->lock);
}

/* The end of stdin means that the agent is gone. Nothing may outlive it, so the process ends at once; what it started
 * dies with it (PR_SET_PDEATHSIG), and what it leaves on disk or in containers the next agent reaps. */
static void *read_messages(void *arg) {
  JobChannel *channel = arg;
  Buffer frame = {0};
  Error err;
  while (frame_read(channel->in, &frame, &err) == STATUS_OK) {
    Pgseal__JobMessage *message = pgseal__job_message__unpack(NULL, frame.size, frame.data);
    if (!message)
      break;
    take_message(channel, message);
    free_message(message);
  }
  log_warn("the agent is gone; the job ends", NULL);
  _exit(1);
}

Status job_channel_open(JobChannel *channel, int in, int out, Pgseal__Job **job, Error *err) {
  *channel = (JobChannel){.in = in, .out = out};
  Buffer frame = {0};
  Status status = frame_read(in, &frame, err);
  Pgseal__JobMessage *message = status ? NULL : pgseal__job_message__unpack(NULL, frame.size, frame.data);
  buffer_release(&frame);
  if (status)
    return status;
  if (!message || message->body_case != PGSEAL__JOB_MESSAGE__BODY_START) {
    free_message(message);
    return error_set(err, ERR_PROTOCOL, "the agent did not start with a job");
  }
  *job = message->start;
  message->start = NULL;
  message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
  free_message(message);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&channel->changed, &attributes);
  pthread_mutex_init(&channel->lock, NULL);
  pthread_mutex_init(&channel->out_lock, NULL);
  uint32_t seconds = (*job)->budgets ? (*job)->budgets->total_seconds : 0;
  channel->kind = job_kind_name((*job)->kind);
  channel->budget_seconds = seconds;
  snprintf(channel->database, sizeof channel->database, "%s", (*job)->database);
  channel->deadline_us = seconds ? clock_monotonic_us() + (int64_t)seconds * 1000000 : INT64_MAX;
  return STATUS_OK;
}

Status job_channel_listen(JobChannel *channel, Error *err) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, read_messages, channel) != 0)
    return error_set(err, ERR_NO_MEMORY, "cannot start a thread");
  pthread_detach(thread);
  return STATUS_OK;
}

Status job_channel_send(JobChannel *channel, const Pgseal__JobMessage *message, Error *err) {
  size_t size = pgseal__job_message__get_packed_size(message);
  uint8_t *packed = memory_alloc(size + 1);
  pgseal__job_message__pack(message, packed);
  pthread_mutex_lock(&channel->out_lock);
  Status status = frame_write(channel->out, packed, size, err);
  pthread_mutex_unlock(&channel->out_lock);
  free(packed);
  return status;
}
