#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

enum { TOOL_ARGUMENTS_MAX = 16, TOOL_PIPE_SIZE = 1 << 20, TOOL_POLL_MS = 20, TOOL_LOG_LIMIT = 1 << 30 };

void drill_tool_release(DrillTool *tool) {
  process_release(&tool->process);
  environment_free(tool->environment);
  free(tool->path);
  if (tool->log)
    (void)unlink(tool->log);
  free(tool->log);
  *tool = (DrillTool){0};
}

Status drill_tool_start(DrillRun *run, DrillTool *tool, const char *const *arguments, bool pipe_stdin, bool pipe_stdout,
                        Error *err) {
  Status status = drill_environment(run, &tool->environment, err);
  if (status != STATUS_OK)
    return status;
  tool->path = memory_format("%s/%s", run->tools_dir, arguments[0]);
  const char *argv[TOOL_ARGUMENTS_MAX + 2] = {tool->path};
  size_t count = 1;
  for (; arguments[count] && count < TOOL_ARGUMENTS_MAX; count++)
    argv[count] = arguments[count];
  argv[count] = "--no-password";
  tool->log = memory_format("%s/%s.log", run->context->scratch, arguments[0]);
  ProcessOptions options = {.argv = argv,
                            .env = (const char *const *)tool->environment,
                            .log_path = tool->log,
                            .pipe_stdin = pipe_stdin,
                            .pipe_stdout = pipe_stdout};
  status = process_start(&options, &tool->process, err);
  if (status != STATUS_OK)
    return status;
  /* fewer, larger pieces; smaller pipes work too */
  if (pipe_stdin) {
    (void)fcntl(tool->process.stdin_fd, F_SETPIPE_SZ, TOOL_PIPE_SIZE);
    (void)fcntl(tool->process.stdin_fd, F_SETFL, O_NONBLOCK);
  }
  if (pipe_stdout)
    (void)fcntl(tool->process.stdout_fd, F_SETPIPE_SZ, TOOL_PIPE_SIZE);
  return STATUS_OK;
}

Status drill_tool_write(DrillRun *run, DrillTool *tool, const void *data, size_t size, bool *open, Error *err) {
  const uint8_t *at = data;
  while (*open && size > 0) {
    Status status = drill_check(run, err);
    if (status != STATUS_OK)
      return status;
    struct pollfd wait = {.fd = tool->process.stdin_fd, .events = POLLOUT};
    if (poll(&wait, 1, DRILL_TICK_MS) <= 0) {
      drill_report(run, false);
      continue;
    }
    ssize_t written = write(tool->process.stdin_fd, at, size);
    if (written < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (written < 0 && errno != EPIPE)
      return error_set_errno(err, errno, "writing to %s", tool->path);
    if (written < 0)
      *open = false;
    else
      at += written, size -= (size_t)written;
  }
  return STATUS_OK;
}

Status drill_tool_read(DrillRun *run, DrillTool *tool, void *data, size_t size, size_t *got, Error *err) {
  for (;;) {
    Status status = drill_check(run, err);
    if (status != STATUS_OK)
      return status;
    struct pollfd wait = {.fd = tool->process.stdout_fd, .events = POLLIN};
    if (poll(&wait, 1, DRILL_TICK_MS) <= 0) {
      drill_report(run, false);
      continue;
    }
    ssize_t count = read(tool->process.stdout_fd, data, size);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (count < 0)
      return error_set_errno(err, errno, "reading from %s", tool->path);
    *got = (size_t)count;
    return STATUS_OK;
  }
}

Status drill_tool_wait(DrillRun *run, DrillTool *tool, int *exit_code, Error *err) {
  if (tool->process.stdin_fd >= 0)
    close(tool->process.stdin_fd);
  tool->process.stdin_fd = -1;
  for (bool ended = false; !ended;) {
    Status status = drill_check(run, err);
    if (status == STATUS_OK)
      status = process_poll(&tool->process, &ended, exit_code, err);
    if (status != STATUS_OK)
      return status;
    drill_report(run, false);
    if (!ended)
      usleep(TOOL_POLL_MS * 1000);
  }
  return STATUS_OK;
}

Status drill_tool_errors(const DrillTool *tool, Buffer *out, Error *err) {
  return file_read(tool->log, TOOL_LOG_LIMIT, out, err);
}
