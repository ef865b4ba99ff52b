#include "agent/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/jobs/kind.h"
#include "agent/jobs/result.h"
#include "agent/supervisor/cleaning.h"
#include "agent/supervisor/internal.h"
#include "agent/supervisor/spool.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum {
  CANCEL_GRACE_US = 10 * 1000 * 1000,
  BUDGET_GRACE_SECONDS = 30,  /* to notice it, and to take a cluster down */
  DRAIN_US = 5 * 1000 * 1000, /* what is left in the pipe of a child that has ended is read by then */
  TICK_MS = 500
};

static Task *find(const Supervisor *supervisor, const char *job_id) {
  for (Task *task = supervisor->tasks; task; task = task->next)
    if (strcmp(task->job->id, job_id) == 0)
      return task;
  return NULL;
}

/* ---- the end of a task ---- */

static void why_no_result(const Task *task, Error *err) {
  if (task->kill_reason_stopping)
    error_set(err, ERR_AGENT_LOST, "the agent was stopped while it worked on this");
  else if (task->error.status != STATUS_OK)
    *err = task->error;
  else if (task->signal)
    error_set(err, ERR_AGENT_LOST, "the job's process was killed by signal %d (%s)", task->signal,
              strsignal(task->signal));
  else
    error_set(err, ERR_AGENT_LOST, "the job's process ended with status %lld and no result",
              (long long)task->exit_status);
}

static Pgseal__Result *make_result(Task *task) {
  Pgseal__Result *envelope = memory_alloc(sizeof *envelope);
  pgseal__result__init(envelope);
  envelope->job_id = memory_strdup(task->job->id);
  envelope->fencing = task->job->fencing;
  envelope->result = task->result;
  task->result = NULL;
  if (!envelope->result) {
    Error err;
    why_no_result(task, &err);
    log_failure(LOG_LEVEL_WARN, "a job ended without a result", &err);
    envelope->result = memory_alloc(sizeof *envelope->result);
    pgseal__job_result__init(envelope->result);
    job_result_set_error(envelope->result, &err);
  }
  return envelope;
}

/* On the pool: may block. The result first, so that it survives whatever happens to the agent meanwhile. */
static void clean(uv_work_t *work) {
  Task *task = work->data;
  const AgentConfig *config = task->supervisor->config;
  Error err;
  if (task->envelope && spool_put(config->data_dir, task->envelope, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "a result cannot be kept on disk; it is lost if this agent ends before it is sent",
                &err);
  bool drill = task->job->kind == PGSEAL__JOB_KIND__JOB_KIND_DRILL ||
               task->job->kind == PGSEAL__JOB_KIND__JOB_KIND_REHEARSE ||
               task->job->kind == PGSEAL__JOB_KIND__JOB_KIND_TRIAL;
  cleaning_run(config, task->job->id, drill ? CLEANING_DRILL | (task->interrupted ? CLEANING_TWICE : 0) : 0);
}

static void task_free(Task *task) {
  frame_reader_release(&task->reader);
  buffer_release(&task->follow);
  if (task->progress)
    pgseal__job_progress__free_unpacked(task->progress, NULL);
  if (task->result)
    pgseal__job_result__free_unpacked(task->result, NULL);
  pgseal__job__free_unpacked(task->job, NULL);
  free(task);
}

static void on_cleaned(uv_work_t *work, int status) {
  (void)status;
  Task *task = work->data;
  Supervisor *supervisor = task->supervisor;
  for (Task **at = &supervisor->tasks; *at; at = &(*at)->next)
    if (*at == task) {
      *at = task->next;
      break;
    }
  supervisor->events.finished(supervisor->events.user, task->job->id, task->envelope);
  task_free(task);
}

void supervisor_task_ended(Task *task) {
  task->interrupted = !task->result;
  task->envelope = task->drop_result ? NULL : make_result(task);
  task->cleaning.data = task;
  uv_queue_work(task->supervisor->loop, &task->cleaning, clean, on_cleaned);
}

/* ---- orders ---- */

void supervisor_start(Supervisor *supervisor, Pgseal__Job *job) {
  Task *task = memory_alloc(sizeof *task);
  task->supervisor = supervisor;
  task->job = job;
  task->next = supervisor->tasks;
  supervisor->tasks = task;
  log_info("job starts", "job", job->id, "checkpoint", job->checkpoint_id, "database", job->database, "kind",
           job_kind_name(job->kind), NULL);
  if (job->budgets && job->budgets->total_seconds)
    task->budget_ends_us =
        clock_monotonic_us() + (int64_t)(job->budgets->total_seconds + BUDGET_GRACE_SECONDS) * 1000000;
  task_start(task);
}

void supervisor_follow(Supervisor *supervisor, const char *job_id, const Pgseal__Follow *follow) {
  Task *task = find(supervisor, job_id);
  if (!task)
    return;
  Buffer packed = {0};
  buffer_reserve(&packed, pgseal__follow__get_packed_size(follow) + 1);
  packed.size = pgseal__follow__pack(follow, packed.data);
  bool same = packed.size == task->follow.size && memcmp(packed.data, task->follow.data, packed.size) == 0;
  buffer_release(&task->follow);
  task->follow = packed;
  if (same)
    return;
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_FOLLOW;
  message.follow = (Pgseal__Follow *)follow;
  task_send(task, &message);
}

void supervisor_tunnel(Supervisor *supervisor, const char *job_id, const Pgseal__TunnelFrame *frame) {
  Task *task = find(supervisor, job_id);
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_TUNNEL;
  message.tunnel = (Pgseal__TunnelFrame *)frame;
  if (task)
    task_send(task, &message);
}

/* A restore that is killed may have been about to commit: that is not said to be canceled, but lost. */
static Status when_killed(const Task *task, Status otherwise) {
  return task->job->kind == PGSEAL__JOB_KIND__JOB_KIND_RESTORE ? ERR_AGENT_LOST : otherwise;
}

void supervisor_cancel(Supervisor *supervisor, const char *job_id) {
  Task *task = find(supervisor, job_id);
  if (!task || task->kill_at_us)
    return;
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_CANCEL;
  message.cancel = true;
  task_send(task, &message);
  error_set(&task->error, when_killed(task, ERR_CANCELED), "the job was canceled");
  task->kill_at_us = clock_monotonic_us() + CANCEL_GRACE_US;
}

void supervisor_lease_lost(Supervisor *supervisor, const char *job_id) {
  Task *task = find(supervisor, job_id);
  if (!task)
    return;
  log_warn("the lease of a job was lost; it is stopped", "job", job_id, NULL);
  task->drop_result = true;
  task_kill(task);
}

void supervisor_stop(Supervisor *supervisor) {
  for (Task *task = supervisor->tasks; task; task = task->next) {
    task->kill_reason_stopping = true;
    task_kill(task);
  }
}

static void over_budget(Task *task) {
  const Pgseal__Job *job = task->job;
  error_set(&task->error, when_killed(task, ERR_BUDGET_EXCEEDED),
            "the %s went on past its time budget of %u s and was killed", job_kind_name(job->kind),
            job->budgets->total_seconds);
  error_remedy(&task->error, "Raise `budgets.timeout_seconds` of database %s, or find out what was slow.",
               job->database);
  error_object(&task->error, "%s", job->database);
  task_kill(task);
}

static void on_timer(uv_timer_t *timer) {
  Supervisor *supervisor = timer->data;
  int64_t now = clock_monotonic_us();
  for (Task *task = supervisor->tasks; task; task = task->next)
    if (task->exited) {
      task_give_up_output(task, now - DRAIN_US);
    } else if (task->budget_ends_us && now >= task->budget_ends_us) {
      over_budget(task);
    } else if (task->kill_at_us && now >= task->kill_at_us) {
      task_kill(task);
    }
}

/* ---- looking ---- */

size_t supervisor_count(const Supervisor *supervisor, Pgseal__JobKind kind) {
  size_t count = 0;
  for (const Task *task = supervisor->tasks; task; task = task->next)
    count += task->job->kind == kind;
  return count;
}

size_t supervisor_total(const Supervisor *supervisor) {
  size_t count = 0;
  for (const Task *task = supervisor->tasks; task; task = task->next)
    count++;
  return count;
}

const Pgseal__Job *supervisor_job(const Supervisor *supervisor, size_t index) {
  const Task *task = supervisor->tasks;
  while (index-- > 0)
    task = task->next;
  return task->job;
}

const Pgseal__JobProgress *supervisor_progress(const Supervisor *supervisor, const char *job_id) {
  const Task *task = find(supervisor, job_id);
  return task ? task->progress : NULL;
}

/* ---- opening and closing ---- */

static Status take_lock(Supervisor *supervisor, Error *err) {
  CLEANUP_FREE char *path = memory_format("%s/lock", supervisor->config->data_dir);
  supervisor->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (supervisor->lock_fd < 0)
    return error_set_errno(err, errno, "cannot open %s", path);
  if (flock(supervisor->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return STATUS_OK;
  error_set(err, ERR_CONFLICT, "another agent works in %s", supervisor->config->data_dir);
  error_remedy(err, "Give each agent a data directory of its own (`agent.data`), or stop the other one.");
  return err->status;
}

/* 0700 also if somebody made it before, less private. */
static Status make_private(const char *path, Error *err) {
  Status status = file_make_dirs(path, 0700, err);
  if (!status && chmod(path, 0700) != 0)
    return error_set_errno(err, errno, "cannot make %s private", path);
  return status;
}

static Status prepare(Supervisor *supervisor, Error *err) {
  const AgentConfig *config = supervisor->config;
  Status status = make_private(config->data_dir, err);
  if (!status)
    status = take_lock(supervisor, err);
  if (status)
    return status;
  CLEANUP_FREE char *scratch = memory_format("%s/scratch", config->data_dir);
  CLEANUP_FREE char *spool = memory_format("%s/spool", config->data_dir);
  /* Whatever a killed predecessor left; what it was just making shows only after a moment. */
  bool interrupted = rmdir(scratch) != 0 && errno != ENOENT;
  cleaning_run(config, NULL,
               (config->can_drill || config->can_rehearse ? CLEANING_DRILL : 0) | (interrupted ? CLEANING_TWICE : 0));
  status = make_private(scratch, err);
  return status ? status : make_private(spool, err);
}

Status supervisor_open(uv_loop_t *loop, const AgentConfig *config, const SupervisorEvents *events, Supervisor **out,
                       Error *err) {
  Supervisor *supervisor = memory_alloc(sizeof *supervisor);
  *supervisor = (Supervisor){.loop = loop, .config = config, .events = *events, .lock_fd = -1};
  Status status = prepare(supervisor, err);
  if (status) {
    if (supervisor->lock_fd >= 0)
      close(supervisor->lock_fd);
    free(supervisor);
    return status;
  }
  uv_timer_init(loop, &supervisor->timer);
  supervisor->timer.data = supervisor;
  uv_timer_start(&supervisor->timer, on_timer, TICK_MS, TICK_MS);
  *out = supervisor;
  return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *handle) {
  free(handle->data);
}

void supervisor_close(Supervisor *supervisor) {
  close(supervisor->lock_fd);
  uv_close((uv_handle_t *)&supervisor->timer, on_timer_closed);
}
