/* What a queued job waits for. The same question is asked when an agent polls (may it start?) and when somebody looks
 * (why does it not?). */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"

/* Never two dumps of one database at once, and in order: of those that wait, only the first may start. */
static bool first_of_database(const Dispatch *dispatch, const OpenJob *dump) {
  for (const OpenJob *open = open_jobs_of(dispatch, dump->job.database); open; open = open->next_of_database)
    if (open != dump && open->job.kind == LEDGER_JOB_DUMP && (job_held(&open->job) || open_jobs_before(open, dump)))
      return false;
  return true;
}

/* A drill takes a slot only once there is something to follow: its dump is at work, or over. */
static bool dump_underway(const Dispatch *dispatch, const char *checkpoint_id) {
  const OpenJob *dump = open_jobs_dump(dispatch, checkpoint_id);
  return !dump || job_held(&dump->job);
}

/* Never two restores of one database at once. */
static bool restore_underway(const Dispatch *dispatch, const char *database) {
  for (const OpenJob *open = open_jobs_of(dispatch, database); open; open = open->next_of_database)
    if (open->job.kind == LEDGER_JOB_RESTORE && job_held(&open->job))
      return true;
  return false;
}

static Wait waits_by_kind(const Dispatch *dispatch, const OpenJob *open) {
  const LedgerJob *job = &open->job;
  switch (job->kind) {
  case LEDGER_JOB_DUMP:
    return first_of_database(dispatch, open) ? WAIT_NONE : WAIT_TURN;
  case LEDGER_JOB_DRILL:
    return dump_underway(dispatch, job->checkpoint_id) ? WAIT_NONE : WAIT_DUMP;
  case LEDGER_JOB_RESTORE:
    if (job->approval && strcmp(job->approval, "given") != 0)
      return WAIT_APPROVAL;
    return restore_underway(dispatch, job->database) ? WAIT_RESTORE : WAIT_NONE;
  case LEDGER_JOB_PLAN:
  case LEDGER_JOB_REHEARSE:
  case LEDGER_JOB_PRUNE:
  case LEDGER_JOB_INVENTORY:
  case LEDGER_JOB_TRIAL:
    return WAIT_NONE;
  }
  return WAIT_TURN; /* of no kind that is known: never */
}

Wait job_waits(const Dispatch *dispatch, const OpenJob *open) {
  const LedgerJob *job = &open->job;
  if (job->cancel_requested)
    return WAIT_CANCEL;
  int64_t wait = job->not_before_us - dispatch->wall_us();
  if (wait > 0 && wait < 120 * (int64_t)1000000) /* more than any backoff: the clock was set back */
    return WAIT_BACKOFF;
  return hold_withholds(dispatch, job) ? WAIT_HELD : waits_by_kind(dispatch, open);
}

/* ---- in words ---- */

static char *of_agents(Dispatch *dispatch, const LedgerJob *job) {
  const char *image = image_of_job(dispatch, job);
  bool may = false, suits = false, there = false;
  for (size_t i = 0; i < agents_count(dispatch->agents); i++) {
    const ConfigAgent *agent = &agents_at(dispatch->agents, i)->who;
    if (!agents_admitted(dispatch->agents, agent->name) || !agent_can(agent, job->kind, job->database))
      continue;
    may = true;
    if (!job_suits(dispatch, agent, job))
      continue;
    suits = true;
    if (!dispatch_agent_live(dispatch, agent->name))
      continue;
    there = true;
    if (!dispatch_held(dispatch, HOLD_AGENT, agent->name))
      return memory_strdup("an agent with a free slot");
  }
  if (there)
    return memory_strdup("an agent that is not drained: those that can take it are");
  if (suits)
    return memory_strdup("an agent that is connected: those that can take it are away");
  if (may && *image)
    return memory_format("an agent that offers the image %s: none that is known does", image);
  return memory_format("an agent with the capability %s for %s: there is none%s", job_needs(job), job->database,
                       may ? " that uses it" : "");
}

static char *in_words(Dispatch *dispatch, const OpenJob *open, Wait wait) {
  const LedgerJob *job = &open->job;
  switch (wait) {
  case WAIT_CANCEL:
    return memory_strdup("its end: it is being canceled");
  case WAIT_BACKOFF:
    return memory_format("its next try, in %lld s",
                         (long long)((job->not_before_us - dispatch->wall_us()) / 1000000 + 1));
  case WAIT_HELD:
    return memory_strdup(dispatch_held(dispatch, HOLD_FLEET, "") ? "the fleet to be resumed: it is paused"
                                                                 : "the database to be uncordoned");
  case WAIT_TURN:
    return memory_strdup("an earlier dump of this database to end");
  case WAIT_DUMP:
    return memory_strdup("its dump to begin");
  case WAIT_APPROVAL:
    return memory_strdup("somebody else's approval");
  case WAIT_RESTORE:
    return memory_strdup("another restore of this database to end");
  case WAIT_NONE:
    break;
  }
  return of_agents(dispatch, job);
}

char *dispatch_waits_why(Dispatch *dispatch, const char *job_id) {
  OpenJob *first;
  Error ignored; /* then it is not known */
  if (open_jobs(dispatch, &first, &ignored) != STATUS_OK)
    return NULL;
  const OpenJob *open = open_jobs_find(dispatch, job_id);
  if (!open || open->over || open->job.state != JOB_QUEUED)
    return NULL;
  Wait wait = job_waits(dispatch, open);
  CLEANUP(limits_release) Limits limits = {0};
  if (wait == WAIT_NONE && open->job.kind == LEDGER_JOB_DUMP && !limits_allow(dispatch, first, &open->job, &limits))
    return memory_strdup("other dumps to end: as many run as the fleet's limits or the owner's quota allow");
  return in_words(dispatch, open, wait);
}
