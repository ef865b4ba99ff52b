/*
 * Child processes for straight-line code (job children, CLI): spawn with pipes, bounded stderr, and no
 * way to outlive the parent (PR_SET_PDEATHSIG SIGKILL). Never passes a shell; argv holds no secret.
 */
#ifndef PGSEAL_COMMON_BASE_PROCESS_H
#define PGSEAL_COMMON_BASE_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

enum { PROCESS_STDERR_LIMIT = 1 << 20 };

typedef struct ProcessOptions {
  const char *const *argv;     /* NULL-terminated; argv[0] is the file, by path or found in PATH */
  const char *const *env;      /* NULL-terminated "K=V" set on top of the parent's environment; "K" alone unsets; may be NULL */
  bool pipe_stdin;             /* else /dev/null */
  bool pipe_stdout;            /* else /dev/null */
  const char *user;            /* run as this system user (needs root), or NULL */
  const char *work_dir;        /* or NULL */
} ProcessOptions;

typedef struct Process {
  pid_t pid;
  int stdin_fd;  /* -1 if not piped; caller may close and set to -1 */
  int stdout_fd; /* -1 if not piped */
  Buffer errors; /* what it wrote to stderr, the last PROCESS_STDERR_LIMIT bytes; valid after process_wait */
  pthread_t drain;
  int stderr_fd;
  bool draining;
} Process;

/* Starts it; a thread drains stderr. On success the caller must call process_wait or process_kill. */
Status process_start(const ProcessOptions *options, Process *process, Error *err) MUST_CHECK;

/* Waits for the end. *exit_code: exit status, or 128+signal. Closes the pipes. */
Status process_wait(Process *process, int *exit_code, Error *err) MUST_CHECK;

/* SIGKILL and reap; safe on a process already waited for, or never started (all zero). */
void process_kill(Process *process);
void process_release(Process *process); /* kill if running, free the buffer */

/* Runs to the end, stdout into `out` up to limit bytes (ERR_TOOL beyond). A non-zero exit is ERR_TOOL with stderr in the message. */
Status process_run(const ProcessOptions *options, size_t limit, Buffer *out, Error *err) MUST_CHECK;

#endif
