#include "agent/jobs/job.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/jobs/channel.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { PROGRESS_INTERVAL_US = 200 * 1000 };

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
