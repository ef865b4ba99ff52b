#include "agent/supervisor/task.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/supervisor/internal.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"

static void on_handle_closed(uv_handle_t *handle) {
  Task *task = handle->data;
  if (--task->open_handles == 0)
    supervisor_task_ended(task);
}

/* The child ended, and its output was read to the end: both can come first. */
static void end_if_done(Task *task) {
  if (!task->exited || !task->drained)
    return;
  uv_close((uv_handle_t *)&task->process, on_handle_closed);
  uv_close((uv_handle_t *)&task->in, on_handle_closed);
  uv_close((uv_handle_t *)&task->out, on_handle_closed);
}

static void on_child_exit(uv_process_t *process, int64_t status, int signal) {
  Task *task = process->data;
  task->exited = true;
  task->exited_us = clock_monotonic_us();
  task->exit_status = status;
  task->signal = signal;
  kill(-process->pid, SIGKILL); /* what it started has its death signal; this is for what has lost that */
  end_if_done(task);
}

static Status on_frame(void *user, const uint8_t *data, size_t size, Error *err) {
  Task *task = user;
  Pgseal__JobMessage *message = pgseal__job_message__unpack(NULL, size, data);
  if (!message)
    return error_set(err, ERR_PROTOCOL, "the job process wrote something that is no message");
  if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_PROGRESS) {
    if (task->progress)
      pgseal__job_progress__free_unpacked(task->progress, NULL);
    task->progress = message->progress;
    message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
    task->supervisor->events.progress(task->supervisor->events.user, task->job->id);
  } else if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_TUNNEL) {
    task->supervisor->events.tunnel(task->supervisor->events.user, task->job->id, message->tunnel);
    message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
  } else if (message->body_case == PGSEAL__JOB_MESSAGE__BODY_RESULT && !task->result) {
    task->result = message->result;
    message->body_case = PGSEAL__JOB_MESSAGE__BODY__NOT_SET;
  }
  pgseal__job_message__free_unpacked(message, NULL);
  return STATUS_OK;
}

static void stop_reading(Task *task) {
  if (task->drained)
    return;
  uv_read_stop((uv_stream_t *)&task->out);
  task->drained = true;
  end_if_done(task);
}

void task_give_up_output(Task *task, int64_t before_us) {
  if (task->exited && !task->drained && task->exited_us < before_us)
    stop_reading(task);
}

static void on_child_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  (void)handle;
  *buffer = uv_buf_init(memory_alloc(suggested), (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer) {
  Task *task = stream->data;
  if (got > 0 &&
      frame_reader_feed(&task->reader, buffer->base, (size_t)got, on_frame, task, &task->error) != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "a job process is killed", &task->error);
    task_kill(task);
    got = UV_EOF;
  }
  free(buffer->base);
  if (got < 0)
    stop_reading(task);
}

static int spawn(Task *task) {
  char *argv[] = {(char *)"pgseal-agent", (char *)"job", (char *)"--config", (char *)task->supervisor->config->path,
                  NULL};
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&task->in},
      {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&task->out},
      {.flags = UV_INHERIT_FD, .data.fd = 2},
  };
  uv_process_options_t options = {.exit_cb = on_child_exit,
                                  .file = "/proc/self/exe",
                                  .args = argv,
                                  .stdio_count = 3,
                                  .stdio = stdio,
                                  .flags = UV_PROCESS_DETACHED}; /* a process group of its own */
  return uv_spawn(task->supervisor->loop, &task->process, &options);
}

void task_start(Task *task) {
  uv_pipe_init(task->supervisor->loop, &task->in, 0);
  uv_pipe_init(task->supervisor->loop, &task->out, 0);
  task->in.data = task->out.data = task->process.data = task;
  task->open_handles = 3;
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/%s", task->supervisor->config->data_dir, task->job->id);
  Status status = file_remove_tree(scratch, &task->error);
  if (!status)
    status = file_make_dirs(scratch, 0700, &task->error);
  int rc = status ? 0 : spawn(task);
  if (status || rc) {
    if (rc)
      error_set(&task->error, ERR_TOOL, "cannot start the job's process: %s", uv_strerror(rc));
    if (status)
      task->open_handles--; /* uv_spawn never saw the process handle */
    else
      uv_close((uv_handle_t *)&task->process, on_handle_closed);
    uv_close((uv_handle_t *)&task->in, on_handle_closed);
    uv_close((uv_handle_t *)&task->out, on_handle_closed);
    return;
  }
  task->spawned = true;
  uv_read_start((uv_stream_t *)&task->out, on_child_alloc, on_read);
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_START;
  message.start = task->job;
  task_send(task, &message);
}

typedef struct Write {
  uv_write_t request;
  Buffer bytes;
} Write;

static void on_written(uv_write_t *request, int status) {
  (void)status; /* a child that does not read any more has ended, which is noticed elsewhere */
  Write *write = (Write *)request;
  buffer_release(&write->bytes);
  free(write);
}

void task_send(Task *task, const Pgseal__JobMessage *message) {
  if (!task->spawned || task->exited)
    return;
  size_t size = pgseal__job_message__get_packed_size(message);
  CLEANUP_FREE uint8_t *packed = memory_alloc(size + 1);
  pgseal__job_message__pack(message, packed);
  Write *write = memory_alloc(sizeof *write);
  frame_append(&write->bytes, packed, size);
  uv_buf_t buffer = uv_buf_init((char *)write->bytes.data, (unsigned)write->bytes.size);
  if (uv_write(&write->request, (uv_stream_t *)&task->in, &buffer, 1, on_written) != 0)
    on_written(&write->request, UV_EPIPE);
}

void task_kill(Task *task) {
  if (task->spawned && !task->exited)
    kill(-task->process.pid, SIGKILL);
}
