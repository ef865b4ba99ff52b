#include "coordinator/report/pdf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/process.h"
#include "common/base/program.h"

enum { LOOK_MS = 250, PIECE = 1 << 16 };

typedef struct Talk { /* with the child: what it reads, and what it writes */
  Process *process;
  const char *text;
  size_t size, at;
  Buffer *out;
  const atomic_bool *stop;
  int64_t end_us;
} Talk;

static void no_waiting(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* A child that reads no more says itself why. */
static void write_some(Talk *talk) {
  Process *process = talk->process;
  ssize_t wrote = write(process->stdin_fd, talk->text + talk->at, talk->size - talk->at);
  if (wrote > 0)
    talk->at += (size_t)wrote;
  if (talk->at < talk->size && (wrote >= 0 || errno == EAGAIN || errno == EINTR))
    return;
  close(process->stdin_fd);
  process->stdin_fd = -1;
}

/* False: that was all. */
static bool read_some(Talk *talk) {
  uint8_t piece[PIECE];
  ssize_t got = read(talk->process->stdout_fd, piece, sizeof piece);
  if (got > 0)
    buffer_append(talk->out, piece, (size_t)got);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static Status talk_to_it(Talk *talk, Error *err) {
  Process *process = talk->process;
  no_waiting(process->stdin_fd);
  no_waiting(process->stdout_fd);
  for (;;) {
    struct pollfd fds[] = {{.fd = process->stdout_fd, .events = POLLIN}, {.fd = process->stdin_fd, .events = POLLOUT}};
    poll(fds, 2, LOOK_MS); /* -1 is no descriptor to poll */
    if (atomic_load(talk->stop))
      return error_set(err, ERR_CANCELED, "the coordinator is stopping");
    if (clock_monotonic_us() > talk->end_us)
      return error_set(err, ERR_TIMEOUT, "pgseal-pdf took longer than %d seconds", PDF_SECONDS);
    if (process->stdin_fd >= 0 && fds[1].revents)
      write_some(talk);
    if (fds[0].revents && !read_some(talk))
      return STATUS_OK;
    if (talk->out->size > PDF_LIMIT)
      return error_set(err, ERR_TOO_MANY, "the PDF is larger than %d MiB", PDF_LIMIT >> 20);
  }
}

Status report_pdf(const char *text, size_t size, const char *trust, const atomic_bool *stop, Buffer *out, Error *err) {
  CLEANUP_FREE char *program = program_path("pgseal-pdf");
  CLEANUP(process_release) Process process = {0};
  const char *const argv[] = {program, trust, "-", NULL};
  ProcessOptions options = {.argv = argv, .pipe_stdin = true, .pipe_stdout = true, .own_group = true};
  Talk talk = {.process = &process,
               .text = text,
               .size = size,
               .out = out,
               .stop = stop,
               .end_us = clock_monotonic_us() + PDF_SECONDS * (int64_t)1000000};
  int exit_code = 0;
  if (size > PDF_REPORT_LIMIT)
    return error_set(err, ERR_TOO_MANY, "the report is larger than %d MiB", PDF_REPORT_LIMIT >> 20);
  Status status = process_start(&options, &process, err);
  if (!status)
    status = talk_to_it(&talk, err);
  if (!status)
    status = process_wait(&process, &exit_code, err);
  if (!status && (exit_code != 0 || out->size == 0))
    status = error_set(err, ERR_TOOL, "pgseal-pdf ended with %d: %.200s", exit_code, buffer_text(&process.errors));
  return status;
}
