/*
 * The child's side of the pipes: a reader thread keeps what the agent says (follow, cancel) under one lock; progress
 * and the result are written under another, so that frames never mix.
 */
#include "agent/jobs/job.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/jobs/channel.h"
#include "agent/jobs/kind.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/bus/frame.h"

enum { PROGRESS_INTERVAL_US = 200 * 1000 };

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
    job_tunnel_keep(channel, &message->tunnel);
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

void job_progress(const JobContext *context, const Pgseal__JobProgress *progress, bool force) {
  JobChannel *channel = context->channel;
  int64_t now = clock_monotonic_us();
  pthread_mutex_lock(&channel->lock);
  bool due = force || now >= channel->next_progress_us;
  if (due)
    channel->next_progress_us = now + PROGRESS_INTERVAL_US;
  pthread_mutex_unlock(&channel->lock);
  if (!due)
    return;
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_PROGRESS;
  message.progress = (Pgseal__JobProgress *)progress;
  Error ignored; /* the reader thread notices a lost agent */
  if (job_channel_send(channel, &message, &ignored))
    return;
}

static Status check_locked(const JobChannel *channel, Error *err) {
  if (channel->canceled)
    return error_set(err, ERR_CANCELED, "the job was canceled");
  if (clock_monotonic_us() > channel->deadline_us) {
    error_set(err, ERR_BUDGET_EXCEEDED, "the %s took longer than its time budget of %u s", channel->kind,
              channel->budget_seconds);
    error_remedy(err, "Raise `budgets.timeout_seconds` of database %s, or find out what was slow.", channel->database);
    error_object(err, "%s", channel->database);
    return err->status;
  }
  return STATUS_OK;
}

Status job_check(const JobContext *context, Error *err) {
  JobChannel *channel = context->channel;
  pthread_mutex_lock(&channel->lock);
  Status status = check_locked(channel, err);
  pthread_mutex_unlock(&channel->lock);
  return status;
}

static char *copy(const char *text) {
  return memory_strdup(text ? text : "");
}

static void copy_follow(const Pgseal__Follow *from, JobFollow *to) {
  *to = (JobFollow){.state = from->state,
                    .segments = from->segments,
                    .roles_stored = from->roles_stored,
                    .manifest_sha256 = copy(from->manifest_sha256),
                    .bootstrap_role = copy(from->bootstrap_role),
                    .database_name = copy(from->database_name),
                    .prefix = copy(from->prefix),
                    .server_major = (int)from->server_major};
}

Status job_follow_wait(const JobContext *context, uint64_t *last, int timeout_ms, JobFollow *out, Error *err) {
  JobChannel *channel = context->channel;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&channel->lock);
  Status status = check_locked(channel, err);
  while (!status && channel->serial == *last && pthread_cond_timedwait(&channel->changed, &channel->lock, &until) == 0)
    status = check_locked(channel, err);
  if (!status) {
    static const Pgseal__Follow unknown = PGSEAL__FOLLOW__INIT;
    *last = channel->serial;
    copy_follow(channel->follow ? channel->follow : &unknown, out);
  }
  pthread_mutex_unlock(&channel->lock);
  return status;
}

void job_follow_release(JobFollow *follow) {
  free(follow->manifest_sha256);
  free(follow->bootstrap_role);
  free(follow->database_name);
  free(follow->prefix);
  *follow = (JobFollow){0};
}
