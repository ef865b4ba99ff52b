/* Polls, progress and results, while joined. */
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/result.h"
#include "agent/session/internal.h"
#include "agent/supervisor/spool.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { NEWS_INTERVAL_US = 500 * 1000, RUNNING_LIMIT = 256 };

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
  if (!track)
    return;
  track->news = true;
  const Pgseal__JobProgress *progress = supervisor_progress(session->supervisor, job_id);
  if (progress && progress->tunnel)
    session_relay_begin(session, job_id, track->fencing);
}

void session_untrack(Session *session, const char *job_id) {
  session_relay_end(session, job_id);
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
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_PROGRESS_REPLY, NULL);
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
  MachineMessage space;
  session_add_machine(session, &envelope, &space);
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

void session_release_results(Session *session) {
  while (session->results) {
    PendingResult *pending = session->results;
    session->results = pending->next;
    pgseal__result__free_unpacked(pending->result, NULL);
    free(pending);
  }
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

/* What passes by itself is tried again soon: a drill's result waits for its dump's. What the coordinator cannot take is
 * tried ever more seldom: once the job's lease ran out, it answers that the result came too late. */
static int64_t retry_after_us(PendingResult *pending, Status why) {
  if (why == ERR_UNAUTHORIZED || error_class(why) == ERROR_CLASS_TRANSIENT)
    return SESSION_RETRY_US;
  int64_t after_us = (int64_t)SESSION_RETRY_US << (pending->tries < 8 ? pending->tries : 8);
  pending->tries++;
  return after_us < SESSION_RETRY_MOST_US ? after_us : SESSION_RETRY_MOST_US;
}

static void on_result_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  ResultCall *call = user;
  Session *session = call->session;
  Status why = STATUS_OK;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_RESULT_REPLY, &why);
  call->pending->in_flight = false;
  call->pending->next_us = clock_monotonic_us() + retry_after_us(call->pending, why);
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

typedef struct PollCall {
  Session *session;
  uint64_t serial;
} PollCall;

/* It goes back at once instead of when its lease runs out. */
static void give_back(Session *session, const Pgseal__Job *job) {
  Error err;
  error_set(&err, ERR_AGENT_LOST, "the agent was stopping when it got this");
  log_failure(LOG_LEVEL_WARN, "a job is given back", &err);
  Pgseal__Result *result = memory_alloc(sizeof *result);
  pgseal__result__init(result);
  result->job_id = memory_strdup(job->id);
  result->fencing = job->fencing;
  result->result = memory_alloc(sizeof *result->result);
  pgseal__job_result__init(result->result);
  job_result_set_error(result->result, &err);
  session_add_result(session, result);
}

/* Leaves *slot NULL if the job is taken. */
static void take_job(Session *session, Pgseal__Job **slot) {
  Pgseal__Job *job = *slot;
  if (find_track(session, job->id))
    return;                 /* an assignment that was answered twice */
  if (!id_valid(job->id)) { /* it becomes the name of files */
    log_warn("the coordinator gave a job whose id is none; it is left", NULL);
    return;
  }
  if (session->state == SESSION_STOPPING) {
    give_back(session, job);
    return;
  }
  *slot = NULL;
  track_job(session, job);
  supervisor_start(session->supervisor, job);
}

static void on_assignment(void *user, const Error *err, const uint8_t *data, size_t size) {
  PollCall call = *(PollCall *)user;
  free(user);
  Session *session = call.session;
  Status why = STATUS_OK;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_ASSIGNMENT, &why);
  if (call.serial == session->poll_serial) {
    session->polling = false;
    session->next_poll_us = envelope || why == ERR_UNAUTHORIZED ? 0 : clock_monotonic_us() + SESSION_RETRY_US;
  }
  if (!envelope)
    return;
  if (envelope->assignment->job)
    take_job(session, &envelope->assignment->job);
  pgseal__envelope__free_unpacked(envelope, NULL);
  session_work(session);
}

/* Jobs it works on, and those whose results the coordinator has not taken yet. */
static size_t list_running(const Session *session, char *out[RUNNING_LIMIT]) {
  size_t count = 0, total = supervisor_total(session->supervisor);
  for (size_t i = 0; i < total && count < RUNNING_LIMIT; i++)
    out[count++] = supervisor_job(session->supervisor, i)->id;
  for (const PendingResult *pending = session->results; pending && count < RUNNING_LIMIT; pending = pending->next)
    out[count++] = pending->result->job_id;
  return count;
}

static uint32_t free_slots(const SlotUse *use) {
  return use->total > use->used ? use->total - use->used : 0;
}

/* One poll at a time; but when a slot became free, a new one goes out, and the coordinator answers the old one at once
 * with nothing. (If it had just answered that with a job, it misses that one in the list and knows.) */
static void poll(Session *session) {
  Pgseal__Poll message = PGSEAL__POLL__INIT;
  SlotUse uses[SLOT_KINDS];
  session_slots(session, uses);
  message.free_dump = free_slots(&uses[SLOT_DUMP]);
  message.free_drill = free_slots(&uses[SLOT_DRILL]);
  message.free_rehearse = free_slots(&uses[SLOT_REHEARSE]);
  message.free_restore = free_slots(&uses[SLOT_RESTORE]);
  message.free_prune = free_slots(&uses[SLOT_PRUNE]);
  bool more = message.free_dump > session->polled_dump || message.free_drill > session->polled_drill ||
              message.free_restore > session->polled_restore || message.free_prune > session->polled_prune ||
              message.free_rehearse > session->polled_rehearse;
  if (message.free_dump + message.free_drill + message.free_restore + message.free_prune + message.free_rehearse == 0 ||
      (session->polling && !more) || clock_monotonic_us() < session->next_poll_us)
    return;
  char *running[RUNNING_LIMIT];
  message.n_running_jobs = list_running(session, running);
  message.running_jobs = running;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_POLL;
  envelope.poll = &message;
  MachineMessage space;
  session_add_machine(session, &envelope, &space);
  PollCall *call = memory_alloc(sizeof *call);
  *call = (PollCall){session, ++session->poll_serial};
  session->polling = true;
  session->polled_dump = message.free_dump;
  session->polled_drill = message.free_drill;
  session->polled_restore = message.free_restore;
  session->polled_prune = message.free_prune;
  session->polled_rehearse = message.free_rehearse;
  session_request(session, &envelope, session->poll_seconds * 1000 + SESSION_REQUEST_MS, on_assignment, call);
}

void session_work(Session *session) {
  if (session->state == SESSION_JOINING)
    return;
  send_due_results(session);
  if (session->state != SESSION_JOINED)
    return;
  send_due_progress(session);
  session_relay(session);
  session_renew(session);
  poll(session);
}
