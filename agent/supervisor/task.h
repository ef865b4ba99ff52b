/* One job's child. Internal to agent/supervisor; loop thread only, but for the part marked as the pool's. */
#ifndef PGSEAL_AGENT_SUPERVISOR_TASK_H
#define PGSEAL_AGENT_SUPERVISOR_TASK_H

#include "agent/supervisor/supervisor.h"
#include "common/bus/frame.h"

typedef struct Task {
  Supervisor *supervisor;
  Pgseal__Job *job;
  uv_process_t process;
  uv_pipe_t in, out; /* the child's stdin and stdout */
  int open_handles;  /* process and pipes not closed yet */
  bool spawned, exited, drained, drop_result, kill_reason_stopping;
  bool interrupted;  /* it left no result: whatever it was doing was cut off */
  int64_t exited_us; /* monotonic */
  int64_t exit_status;
  int signal;
  FrameReader reader;
  Pgseal__JobProgress *progress;
  Buffer follow; /* packed, the last one passed on */
  Pgseal__JobResult *result;
  Error error;            /* why there is no result; status STATUS_OK if unknown */
  int64_t kill_at_us;     /* monotonic; 0: not canceled */
  int64_t budget_ends_us; /* monotonic; 0: no budget */
  uv_work_t cleaning;
  Pgseal__Result *envelope; /* what is spooled; the pool's while cleaning */
  struct Task *next;
} Task;

/* Spawns the child. On failure the task ends by itself, with an errored result. */
void task_start(Task *task);
void task_send(Task *task, const Pgseal__JobMessage *message);
void task_kill(Task *task);
/* Reads no more of the output of a child that ended before `before_us`: something else holds its pipe open. */
void task_give_up_output(Task *task, int64_t before_us);
/* Called by the task when child and pipes are closed. */
void supervisor_task_ended(Task *task);

#endif
