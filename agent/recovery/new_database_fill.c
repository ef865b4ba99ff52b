/* Runs pg_restore: what comes before the indexes from a pipe as it is fetched, the rest from the table of contents. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "agent/recovery/new_database.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

enum { FILL_TICK_MS = 200, FILL_POLL_US = 50000, FILL_JOBS_MAX = 8, FILL_ARGUMENTS_MAX = 12 };

static Status start(NewDatabase *new, const char *const *arguments, bool pipe_stdin, Process *process, Error *err) {
  const DumpRun *live = &new->restore->run.live;
  CLEANUP_FREE char *path = memory_format("%s/pg_restore", live->source.tools_dir);
  CLEANUP_FREE char *dbname = drill_dbname(new->name);
  const char *argv[FILL_ARGUMENTS_MAX + 6] = {path, "--format=custom", "--exit-on-error", "--no-password", dbname};
  for (size_t i = 0; i < FILL_ARGUMENTS_MAX && arguments[i]; i++)
    argv[i + 5] = arguments[i];
  ProcessOptions options = {.argv = argv, .env = (const char *const *)live->environment, .pipe_stdin = pipe_stdin};
  Status status = process_start(&options, process, err);
  if (status == STATUS_OK && pipe_stdin)
    (void)fcntl(process->stdin_fd, F_SETFL, O_NONBLOCK);
  return status;
}

/* *open becomes false when it reads no more: its end tells why. */
static Status feed(Restore *restore, Process *process, const uint8_t *data, size_t size, bool *open, Error *err) {
  while (*open && size > 0) {
    Status status = recovery_check(&restore->run, err);
    if (status != STATUS_OK)
      return status;
    struct pollfd wait = {.fd = process->stdin_fd, .events = POLLOUT};
    if (poll(&wait, 1, FILL_TICK_MS) <= 0)
      continue;
    ssize_t written = write(process->stdin_fd, data, size);
    if (written < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (written < 0 && errno != EPIPE)
      return error_set_errno(err, errno, "writing to pg_restore");
    *open = written >= 0;
    if (written > 0) {
      data += written;
      size -= (size_t)written;
      restore_count(restore, 0, written);
    }
  }
  return STATUS_OK;
}

static Status stream(Restore *restore, Process *process, Error *err) {
  RecoverySource *source = restore->run.source;
  const ArchiveRange all = {0, restore->run.manifest.fingerprint.archive_size};
  restore->bytes_expected = (int64_t)all.end;
  recovery_source_announce(source, &all, 1);
  bool open = true;
  for (uint64_t at = 0; open && at < all.end;) {
    const uint8_t *data;
    size_t size;
    Status status = recovery_source_piece(source, at, &data, &size, err);
    if (status == STATUS_OK)
      status = feed(restore, process, data, size, &open, err);
    if (status != STATUS_OK)
      return status;
    at += size;
  }
  return STATUS_OK;
}

/* What it complained of. */
static Status failed(Restore *restore, int exit_code, const char *errors, Error *err) {
  DrillIssues issues = {0};
  drill_classify(errors, archive_index_toc(restore->run.then), &issues);
  const DrillIssue *worst = drill_issues_worst(&issues);
  if (worst) {
    error_set(err, worst->status == ERR_CLUSTER_LOST ? ERR_DATABASE_LOST : worst->status, "pg_restore: %s",
              worst->message);
    error_remedy(err, "%s",
                 worst->status == ERR_CLUSTER_LOST ? error_default_remedy(ERR_DATABASE_LOST) : worst->remedy);
    error_object(err, "%s", worst->object);
  } else {
    error_set(err, ERR_TOOL, "pg_restore ended with exit code %d and did not say why", exit_code);
  }
  drill_issues_release(&issues);
  return err->status;
}

static Status finish(Restore *restore, Process *process, Error *err) {
  int exit_code = 0;
  if (process->stdin_fd >= 0)
    close(process->stdin_fd);
  process->stdin_fd = -1;
  for (bool ended = false; !ended;) {
    Status status = recovery_check(&restore->run, err);
    if (status == STATUS_OK)
      status = process_poll(process, &ended, &exit_code, err);
    if (status != STATUS_OK)
      return status;
    if (!ended)
      usleep(FILL_POLL_US);
  }
  return exit_code == 0 ? STATUS_OK : failed(restore, exit_code, buffer_text(&process->errors), err);
}

static Status run_stream(NewDatabase *new, const char *const *arguments, Error *err) {
  CLEANUP(process_release) Process process = {0};
  Status status = start(new, arguments, true, &process, err);
  if (status == STATUS_OK)
    status = stream(new->restore, &process, err);
  return status == STATUS_OK ? finish(new->restore, &process, err) : status;
}

/* Indexes and constraints need no rows of the archive: header and table of contents are enough, and they can be read by
 * several at once. */
static Status run_indexes(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  const Pgseal__Budgets *budgets = restore->run.context->job->budgets;
  size_t size = (size_t)restore->run.manifest.fingerprint.toc_size;
  CLEANUP_FREE char *path = memory_format("%s/toc.dump", restore->run.context->scratch);
  CLEANUP_FREE uint8_t *toc = memory_alloc(size + 1);
  const ArchiveSource source = recovery_source_archive(restore->run.source);
  unsigned jobs = budgets && budgets->connections > 0 ? budgets->connections : 1;
  CLEANUP_FREE char *parallel = memory_format("--jobs=%u", jobs < FILL_JOBS_MAX ? jobs : FILL_JOBS_MAX);
  CLEANUP(process_release) Process process = {0};
  const char *arguments[] = {"--section=post-data", parallel, path, NULL};
  recovery_phase(&restore->run, "indexing");
  Status status = source.read(source.user, 0, toc, size, err);
  if (status == STATUS_OK)
    status = file_write_atomic(path, 0600, toc, size, err);
  if (status == STATUS_OK)
    status = start(new, arguments, false, &process, err);
  if (status == STATUS_OK)
    status = finish(restore, &process, err);
  (void)unlink(path);
  return status;
}

Status new_database_fill(NewDatabase *new, Error *err) {
  static const char *const whole[] = {"--single-transaction", NULL};
  static const char *const first[] = {"--section=pre-data", "--section=data", NULL};
  recovery_phase(&new->restore->run, "restoring");
  if (new->existed)
    return run_stream(new, whole, err);
  Status status = run_stream(new, first, err);
  return status == STATUS_OK ? run_indexes(new, err) : status;
}
