/* The open jobs, in memory: polls and ticks look at all of them, many times a second. */
#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { KINDS = 32 }; /* more than there are: agents' offers have a bit for each */

typedef struct OpenList { /* of an agent, or of a database; stays when it is empty */
  char *name;
  OpenJob *first;
} OpenList;

struct OpenJobs {
  bool known; /* false: to be read from the ledger */
  OpenJob *first, *last;
  OpenJob *ended; /* by `before`; they may still be looked at */
  OpenJob *waiting[KINDS], *waiting_last[KINDS];
  Names ids, dumps;        /* job by its id; open dump by its checkpoint's */
  Names agents, databases; /* OpenList by name */
  uint64_t numbers;
  size_t count;
};

/* ---- lists ---- */

static OpenList *list_of(Names *names, const char *name) {
  OpenList *list = names_get(names, name);
  if (list)
    return list;
  list = memory_alloc(sizeof *list);
  list->name = memory_strdup(name);
  names_put(names, list->name, list);
  return list;
}

static void lists_release(Names *names) {
  for (size_t i = 0; i < names->room; i++) {
    OpenList *list = names->entries[i].value;
    if (!list)
      continue;
    free(list->name);
    free(list);
  }
  names_release(names);
}

static void join_database(OpenJobs *jobs, OpenJob *open) {
  OpenJob **at = &list_of(&jobs->databases, open->job.database)->first;
  while (*at)
    at = &(*at)->next_of_database;
  *at = open;
}

static void leave_database(OpenJobs *jobs, OpenJob *open) {
  OpenJob **at = &list_of(&jobs->databases, open->job.database)->first;
  while (*at != open)
    at = &(*at)->next_of_database;
  *at = open->next_of_database;
}

static void join_agent(OpenJobs *jobs, OpenJob *open) {
  OpenList *list = list_of(&jobs->agents, open->job.agent);
  open->next_of_agent = list->first;
  list->first = open;
}

static void leave_agent(OpenJobs *jobs, OpenJob *open) {
  OpenJob **at = &list_of(&jobs->agents, open->job.agent)->first;
  while (*at != open)
    at = &(*at)->next_of_agent;
  *at = open->next_of_agent;
}

/* ---- what waits ---- */

bool open_jobs_before(const OpenJob *one, const OpenJob *other) {
  if (one->job.priority != other->job.priority)
    return one->job.priority < other->job.priority;
  return one->number < other->number;
}

static void join_waiting(OpenJobs *jobs, OpenJob *open) {
  OpenJob *before = jobs->waiting_last[open->job.kind];
  while (before && open_jobs_before(open, before)) /* most come last; what is tried again was there before */
    before = before->waits_after;
  OpenJob *next = before ? before->next_waiting : jobs->waiting[open->job.kind];
  open->waits_after = before;
  open->next_waiting = next;
  *(before ? &before->next_waiting : &jobs->waiting[open->job.kind]) = open;
  *(next ? &next->waits_after : &jobs->waiting_last[open->job.kind]) = open;
}

static void leave_waiting(OpenJobs *jobs, OpenJob *open) {
  *(open->waits_after ? &open->waits_after->next_waiting : &jobs->waiting[open->job.kind]) = open->next_waiting;
  *(open->next_waiting ? &open->next_waiting->waits_after : &jobs->waiting_last[open->job.kind]) = open->waits_after;
}

OpenJob *open_jobs_next(const Dispatch *dispatch, bool (*may)(void *user, const OpenJob *open), void *user) {
  OpenJob *best = NULL;
  for (int kind = 0; kind < KINDS; kind++) {
    for (OpenJob *open = dispatch->open->waiting[kind]; open; open = open->next_waiting) {
      if (best && open_jobs_before(best, open))
        break;
      if (!may(user, open))
        continue;
      best = open;
      break;
    }
  }
  return best;
}

/* ---- entries ---- */

static void enter(OpenJobs *jobs, OpenJob *open) {
  if (job_held(&open->job) && open->job.agent)
    join_agent(jobs, open);
  if (open->job.state == JOB_QUEUED)
    join_waiting(jobs, open);
}

static void leave(OpenJobs *jobs, OpenJob *open) {
  if (job_held(&open->job) && open->job.agent)
    leave_agent(jobs, open);
  if (open->job.state == JOB_QUEUED)
    leave_waiting(jobs, open);
}

/* What may change; ids and names stay where they are. */
static void copy_changes(OpenJob *open, const LedgerJob *job) {
  LedgerJob *own = &open->job;
  own->state = job->state;
  own->attempt = job->attempt;
  own->fencing = job->fencing;
  own->lease_until_us = job->lease_until_us;
  own->not_before_us = job->not_before_us;
  own->started_us = job->started_us;
  own->finished_us = job->finished_us;
  own->cancel_requested = job->cancel_requested;
  text_set(&own->agent, job->agent);
  text_set(&own->approval, job->approval);
}

static void add(OpenJobs *jobs, const LedgerJob *job) {
  OpenJob *open = memory_alloc(sizeof *open);
  open->job = (LedgerJob){.id = memory_strdup(job->id),
                          .database = memory_strdup(job->database ? job->database : ""),
                          .kind = job->kind,
                          .priority = job->priority,
                          .created_us = job->created_us};
  text_set(&open->job.checkpoint_id, job->checkpoint_id);
  if (job->kind == LEDGER_JOB_DRILL || job->kind == LEDGER_JOB_TRIAL) /* it says whom they suit */
    open->job.request = json_deep_copy(job->request);
  copy_changes(open, job);
  open->number = jobs->numbers++;
  open->before = jobs->last;
  *(jobs->last ? &jobs->last->after : &jobs->first) = open;
  jobs->last = open;
  jobs->count++;
  names_put(&jobs->ids, open->job.id, open);
  if (open->job.kind == LEDGER_JOB_DUMP && open->job.checkpoint_id)
    names_put(&jobs->dumps, open->job.checkpoint_id, open);
  join_database(jobs, open);
  enter(jobs, open);
}

/* open->after stays, for whoever is just looking at it. */
static void end(OpenJobs *jobs, OpenJob *open) {
  leave(jobs, open);
  leave_database(jobs, open);
  names_remove(&jobs->ids, open->job.id);
  if (open->job.kind == LEDGER_JOB_DUMP && open->job.checkpoint_id)
    names_remove(&jobs->dumps, open->job.checkpoint_id);
  *(open->before ? &open->before->after : &jobs->first) = open->after;
  *(open->after ? &open->after->before : &jobs->last) = open->before;
  jobs->count--;
  open->over = true;
  open->before = jobs->ended;
  jobs->ended = open;
}

static void bury(OpenJobs *jobs) {
  while (jobs->ended) {
    OpenJob *open = jobs->ended;
    jobs->ended = open->before;
    ledger_job_release(&open->job);
    free(open);
  }
}

static void on_job(void *user, const LedgerJob *job) {
  OpenJobs *jobs = ((Dispatch *)user)->open;
  if (!job)
    jobs->known = false;
  if (!jobs->known)
    return;
  OpenJob *open = names_get(&jobs->ids, job->id);
  if (!open && !job_state_final(job->state))
    add(jobs, job);
  if (!open)
    return;
  if (!job_state_final(job->state)) {
    leave(jobs, open);
    copy_changes(open, job);
    enter(jobs, open);
    return;
  }
  end(jobs, open);
  copy_changes(open, job);
}

/* ---- for the others ---- */

void open_jobs_watch(Dispatch *dispatch) {
  dispatch->open = memory_alloc(sizeof *dispatch->open);
  ledger_job_watch(dispatch->ledger, on_job, dispatch);
}

static Status read_anew(Dispatch *dispatch, Error *err) {
  OpenJobs *jobs = dispatch->open;
  LedgerJob *rows;
  size_t count;
  Status status = ledger_job_open(dispatch->ledger, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  while (jobs->first)
    end(jobs, jobs->first);
  for (size_t i = 0; i < count; i++)
    add(jobs, &rows[i]);
  ledger_job_list_free(rows, count);
  jobs->known = true;
  return STATUS_OK;
}

Status open_jobs(Dispatch *dispatch, OpenJob **first, Error *err) {
  OpenJobs *jobs = dispatch->open;
  Status status = jobs->known ? STATUS_OK : read_anew(dispatch, err);
  if (status != STATUS_OK)
    return status;
  bury(jobs);
  *first = jobs->first;
  return STATUS_OK;
}

OpenJob *open_jobs_find(const Dispatch *dispatch, const char *job_id) {
  return names_get(&dispatch->open->ids, job_id);
}

OpenJob *open_jobs_dump(const Dispatch *dispatch, const char *checkpoint_id) {
  return names_get(&dispatch->open->dumps, checkpoint_id);
}

OpenJob *open_jobs_held(const Dispatch *dispatch, const char *agent) {
  const OpenList *list = names_get(&dispatch->open->agents, agent);
  return list ? list->first : NULL;
}

OpenJob *open_jobs_of(const Dispatch *dispatch, const char *database) {
  const OpenList *list = names_get(&dispatch->open->databases, database);
  return list ? list->first : NULL;
}

void open_jobs_forget(Dispatch *dispatch) {
  dispatch->open->known = false;
}

void open_jobs_close(Dispatch *dispatch) {
  OpenJobs *jobs = dispatch->open;
  if (!jobs)
    return;
  ledger_job_watch(dispatch->ledger, NULL, NULL);
  while (jobs->first)
    end(jobs, jobs->first);
  bury(jobs);
  names_release(&jobs->ids);
  names_release(&jobs->dumps);
  lists_release(&jobs->agents);
  lists_release(&jobs->databases);
  free(jobs);
}
