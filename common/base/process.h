/*
 * Child processes for straight-line code (job children, CLI): spawn with pipes, bounded stderr, and no
 * way to outlive the parent (PR_SET_PDEATHSIG SIGKILL). Never passes a shell; argv holds no secret, and what looks like
 * one in the parent's environment (AWS_*, names with TOKEN, SECRET, PASSWORD, ...; proxies, whose URLs may hold one) is
 * not passed on.
 */
#ifndef PGSEAL_COMMON_BASE_PROCESS_H
#define PGSEAL_COMMON_BASE_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

enum { PROCESS_STDERR_LIMIT = 1 << 20 };

typedef struct ProcessOptions {
  const char *const *argv; /* NULL-terminated; argv[0] is the file, by path or found in PATH */
  const char *const
      *env;         /* NULL-terminated "K=V" set on top of the parent's environment; "K" alone unsets; may be NULL */
  bool pipe_stdin;  /* else /dev/null */
  bool pipe_stdout; /* else /dev/null */
  const char *user; /* run as this system user (needs root), or NULL */
  const char *work_dir; /* or NULL */
  const char *log_path; /* stderr (and stdout, unless piped) is appended to this file instead of being kept; or NULL */
  bool pass_secrets;    /* the child is one of our own daemons, configured by the same environment */
  bool own_group;       /* a process group of its own: a terminal's Ctrl-C does not reach it */
  int death_signal;     /* what it gets when the starting thread ends; 0: SIGKILL */
} ProcessOptions;

typedef struct Process {
  pid_t pid;
  int stdin_fd;  /* -1 if not piped; caller may close and set to -1 */
  int stdout_fd; /* -1 if not piped */
  Buffer errors; /* what it wrote to stderr, the last PROCESS_STDERR_LIMIT bytes; valid after process_wait */
  pthread_t drain;
  int stderr_fd;
  int stop_fd; /* tells the draining thread that the child has ended */
  bool draining;
} Process;

/* Starts it; a thread drains stderr, so *process must stay where it is. The child dies with the thread that
 * started it (PR_SET_PDEATHSIG), not only with the process. ERR_TOOL if the file cannot be run. On success the caller
 * must call process_wait or process_kill. */
Status process_start(const ProcessOptions *options, Process *process, Error *err) MUST_CHECK;

/* Closes the pipes (read stdout to its end first) and waits for the end. *exit_code: exit status, or 128+signal. */
Status process_wait(Process *process, int *exit_code, Error *err) MUST_CHECK;

/* Like process_wait, at once: *ended false if it still runs (the pipes then stay open). */
Status process_poll(Process *process, bool *ended, int *exit_code, Error *err) MUST_CHECK;

/* SIGKILL and reap; safe on a process already waited for, or never started (all zero). */
void process_kill(Process *process);
void process_release(Process *process); /* kill if running, free the buffer */

/* Runs to the end, stdout into `out` up to limit bytes (ERR_TOOL beyond). A non-zero exit is ERR_TOOL with stderr in
 * the message. */
Status process_run(const ProcessOptions *options, size_t limit, Buffer *out, Error *err) MUST_CHECK;

/* Of this process, before it gets to hold a secret: no core dump, whatever handles them, and nobody but root attaches
 * to it or reads its memory or environment, of the same user neither. Lasts until an exec; the limit is inherited. */
void process_harden(void);

#endif
