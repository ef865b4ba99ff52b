/* Polls, progress and results, while joined. */
#include <stdlib.h>
#include <string.h>

#include "agent/session/internal.h"
#include "agent/supervisor/spool.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { NEWS_INTERVAL_US = 400 * 1000, RUNNING_LIMIT = 256 };

/* ---- tracked jobs ---- */

static JobTrack *find_track(Session *session, const char *job_id) {
  for (JobTrack *track = session->jobs; track; track = track->next)
    if (strcmp(track->job_id, job_id) == 0)
      return track;
  return NULL;
}

static void track_job(Session *session, const Pgseal__Job *job) {
  JobTrack *track = memory_alloc(sizeof *track);
  *track = (JobTrack){.job_id = memory_strdup(job->id),
                      .fencing = job->fencing,
                      .drill = job->kind == PGSEAL__JOB_KIND__JOB_KIND_DRILL,
                      .news = true,
                      .next = session->jobs};
  session->jobs = track;
}

void session_track_news(Session *session, const char *job_id) {
  JobTrack *track = find_track(session, job_id);
  if (track)
    track->news = true;
}

void session_untrack(Session *session, const char *job_id) {
  for (JobTrack **at = &session->jobs; *at; at = &(*at)->next)
    if (strcmp((*at)->job_id, job_id) == 0) {
      JobTrack *gone = *at;
      *at = gone->next;
      free(gone->job_id);
      free(gone);
      return;
    }
}

/* ---- progress ---- */

/* A reply finds its job by name again: the job may have ended meanwhile. */
typedef struct ProgressCall {
  Session *session;
  char *job_id;
  uint64_t fencing;
} ProgressCall;

static void take_progress_reply(Session *session, const char *job_id, JobTrack *track,
                                const Pgseal__ProgressReply *reply) {
  if (reply->lease_lost) {
    supervisor_lease_lost(session->supervisor, job_id);
    return;
  }
  if (reply->follow) {
    track->stored_followed = reply->follow->state == PGSEAL__FOLLOW__STATE__STORED;
    supervisor_follow(session->supervisor, job_id, reply->follow);
  }
  if (reply->cancel)
    supervisor_cancel(session->supervisor, job_id);
}

static void on_progress_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  ProgressCall *call = user;
  Session *session = call->session;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_PROGRESS_REPLY);
  JobTrack *track = find_track(session, call->job_id);
  if (track && track->fencing == call->fencing) {
    track->in_flight = false;
    if (envelope)
      take_progress_reply(session, call->job_id, track, envelope->progress_reply);
    else
      track->news = true;
  }
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
  free(call->job_id);
  free(call);
}

static void send_progress(Session *session, JobTrack *track) {
  static const Pgseal__JobProgress nothing_yet = PGSEAL__JOB_PROGRESS__INIT;
  const Pgseal__JobProgress *progress = supervisor_progress(session->supervisor, track->job_id);
  Pgseal__Progress message = PGSEAL__PROGRESS__INIT;
  message.job_id = track->job_id;
  message.fencing = track->fencing;
  message.progress = (Pgseal__JobProgress *)(progress ? progress : &nothing_yet);
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_PROGRESS;
  envelope.progress = &message;
  ProgressCall *call = memory_alloc(sizeof *call);
  *call = (ProgressCall){session, memory_strdup(track->job_id), track->fencing};
  track->in_flight = true;
  track->news = false;
  track->sent_us = clock_monotonic_us();
  session_request(session, &envelope, SESSION_REQUEST_MS, on_progress_reply, call);
}

static void send_due_progress(Session *session) {
  int64_t now = clock_monotonic_us(), renewal = (int64_t)session->lease_seconds * 1000000 / 3;
  for (JobTrack *track = session->jobs; track; track = track->next) {
    bool eager = track->news || (track->drill && !track->stored_followed);
    if (!track->in_flight && now - track->sent_us >= (eager ? NEWS_INTERVAL_US : renewal))
      send_progress(session, track);
  }
}

/* ---- results ---- */

void session_add_result(Session *session, Pgseal__Result *result) {
  PendingResult *pending = memory_alloc(sizeof *pending);
  *pending = (PendingResult){.result = result, .next = session->results};
  session->results = pending;
}

static void acknowledged(Session *session, PendingResult *pending) {
  spool_remove(session->config->data_dir, pending->result);
  for (PendingResult **at = &session->results; *at; at = &(*at)->next)
    if (*at == pending) {
      *at = pending->next;
      break;
    }
  pgseal__result__free_unpacked(pending->result, NULL);
  free(pending);
}

typedef struct ResultCall {
  Session *session;
  PendingResult *pending; /* stays until its reply: only replies remove it */
} ResultCall;

static void on_result_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  ResultCall *call = user;
  Session *session = call->session;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_RESULT_REPLY);
  call->pending->in_flight = false;
  call->pending->next_us = clock_monotonic_us() + SESSION_RETRY_US;
  if (envelope) {
    if (!envelope->result_reply->accepted)
      log_warn("a result came too late", "job", call->pending->result->job_id, "reason", envelope->result_reply->reason,
               NULL);
    acknowledged(session, call->pending);
    pgseal__envelope__free_unpacked(envelope, NULL);
  }
  free(call);
}

static void send_due_results(Session *session) {
  int64_t now = clock_monotonic_us();
  for (PendingResult *pending = session->results; pending; pending = pending->next) {
    if (pending->in_flight || now < pending->next_us)
      continue;
    Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
    envelope.body_case = PGSEAL__ENVELOPE__BODY_RESULT;
    envelope.result = pending->result;
    ResultCall *call = memory_alloc(sizeof *call);
    *call = (ResultCall){session, pending};
    pending->in_flight = true;
    session_request(session, &envelope, SESSION_REQUEST_MS, on_result_reply, call);
  }
}

/* ---- polls ---- */

static void on_assignment(void *user, const Error *err, const uint8_t *data, size_t size) {
  Session *session = user;
  session->polling = false;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_ASSIGNMENT);
  if (!envelope)
    return;
  Pgseal__Job *job = envelope->assignment->job;
  if (job && session->state == SESSION_JOINED && !find_track(session, job->id)) {
    envelope->assignment->job = NULL;
    track_job(session, job);
    supervisor_start(session->supervisor, job);
  }
  pgseal__envelope__free_unpacked(envelope, NULL);
  if (session->state == SESSION_JOINED)
    session_work(session);
}

static void poll(Session *session) {
  char *running[RUNNING_LIMIT];
  size_t dumps = supervisor_count(session->supervisor, PGSEAL__JOB_KIND__JOB_KIND_DUMP);
  size_t drills = supervisor_count(session->supervisor, PGSEAL__JOB_KIND__JOB_KIND_DRILL);
  Pgseal__Poll message = PGSEAL__POLL__INIT;
  int free_dump = session->config->can_dump ? session->config->dump_slots - (int)dumps : 0;
  int free_drill = session->config->can_drill ? session->config->drill_slots - (int)drills : 0;
  message.free_dump = free_dump > 0 ? (uint32_t)free_dump : 0;
  message.free_drill = free_drill > 0 ? (uint32_t)free_drill : 0;
  if (message.free_dump + message.free_drill == 0)
    return;
  size_t total = supervisor_total(session->supervisor);
  for (size_t i = 0; i < total && i < RUNNING_LIMIT; i++)
    running[message.n_running_jobs++] = supervisor_job(session->supervisor, i)->id;
  message.running_jobs = running;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  envelope.poll = &message;
  session->polling = true;
  session_request(session, &envelope, session->poll_seconds * 1000 + SESSION_REQUEST_MS, on_assignment, session);
}

void session_work(Session *session) {
  if (session->state == SESSION_JOINING)
    return;
  send_due_results(session);
  if (session->state != SESSION_JOINED)
    return;
  send_due_progress(session);
  if (!session->polling && !session->results)
    poll(session);
}
