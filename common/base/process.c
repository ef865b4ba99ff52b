#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

extern char **environ;

enum { PROCESS_GROUP_LIMIT = 64, PROCESS_MESSAGE_TAIL = 1500 };

/* All that the child needs, made before fork: after it only async-signal-safe calls are allowed. */
typedef struct Launch {
  const ProcessOptions *options;
  char **env;
  bool switch_user;
  uid_t uid;
  gid_t gid;
  gid_t groups[PROCESS_GROUP_LIMIT];
  int group_count;
  int stdin_pipe[2], stdout_pipe[2], stderr_pipe[2], failure_pipe[2];
  int null_fd, log_fd;
  pid_t parent;
} Launch;

static int launch_steal(int *fd) {
  int stolen = *fd;
  *fd = -1;
  return stolen;
}

static void launch_close(int *fd) {
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

static void launch_release(Launch *launch) {
  int *fds[] = {launch->stdin_pipe,  launch->stdin_pipe + 1,  launch->stdout_pipe,  launch->stdout_pipe + 1,
                launch->stderr_pipe, launch->stderr_pipe + 1, launch->failure_pipe, launch->failure_pipe + 1,
                &launch->null_fd,    &launch->log_fd};
  for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    launch_close(fds[i]);
  for (char **e = launch->env; e && *e; e++)
    free(*e);
  free(launch->env);
}

static size_t process_key_length(const char *pair) {
  return strcspn(pair, "=");
}

static bool process_overridden(const char *pair, const char *const *env) {
  size_t length = process_key_length(pair);
  for (; env && *env; env++)
    if (process_key_length(*env) == length && memcmp(*env, pair, length) == 0)
      return true;
  return false;
}

/* What a drill's server holds, who wrote the archive can read: better too much is left out. */
static bool process_looks_secret(const char *pair) {
  static const char *const parts[] = {"SECRET",  "TOKEN", "PASSW",      "PASSPHRASE",  "CREDENTIAL",
                                      "PRIVATE", "_KEY",  "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
  CLEANUP_FREE char *name = memory_strndup(pair, process_key_length(pair));
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
    if (strcasestr(name, parts[i]))
      return true;
  return strncmp(name, "AWS_", 4) == 0;
}

static char **process_environment(const char *const *env, bool secrets) {
  char **merged = NULL;
  size_t count = 0;
  for (char **e = environ; e && *e; e++)
    if (!process_overridden(*e, env) && (secrets || !process_looks_secret(*e)))
      ARRAY_PUSH(merged, count, memory_strdup(*e));
  for (const char *const *e = env; e && *e; e++)
    if (strchr(*e, '=') && !process_overridden(*e, e + 1))
      ARRAY_PUSH(merged, count, memory_strdup(*e));
  ARRAY_PUSH(merged, count, NULL);
  return merged;
}

static Status launch_find_user(Launch *launch, const char *user, Error *err) {
  char space[16384];
  struct passwd entry, *found = NULL;
  int failed = getpwnam_r(user, &entry, space, sizeof space, &found);
  if (!found) {
    if (failed)
      return error_set_errno(err, failed, "cannot look up user %s", user);
    error_set(err, ERR_CONFIG, "there is no system user %s", user);
    error_object(err, "%s", user);
    return err->status;
  }
  launch->uid = found->pw_uid;
  launch->gid = found->pw_gid;
  launch->group_count = PROCESS_GROUP_LIMIT;
  if (getgrouplist(user, found->pw_gid, launch->groups, &launch->group_count) < 0)
    launch->group_count = PROCESS_GROUP_LIMIT;
  launch->switch_user = geteuid() != found->pw_uid;
  return STATUS_OK;
}

static Status launch_open(Launch *launch, Error *err) {
  const ProcessOptions *options = launch->options;
  if (options->user) {
    Status status = launch_find_user(launch, options->user, err);
    if (status != STATUS_OK)
      return status;
  }
  launch->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (launch->null_fd < 0)
    return error_set_errno(err, errno, "cannot open /dev/null");
  if (options->log_path) {
    launch->log_fd = open(options->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (launch->log_fd < 0)
      return error_set_errno(err, errno, "cannot open %s", options->log_path);
  }
  if ((options->pipe_stdin && pipe2(launch->stdin_pipe, O_CLOEXEC) != 0) ||
      (options->pipe_stdout && pipe2(launch->stdout_pipe, O_CLOEXEC) != 0) ||
      (!options->log_path && pipe2(launch->stderr_pipe, O_CLOEXEC) != 0) || pipe2(launch->failure_pipe, O_CLOEXEC) != 0)
    return error_set_errno(err, errno, "cannot make a pipe for %s", options->argv[0]);
  launch->env = process_environment(options->env, options->pass_secrets);
  launch->parent = getpid();
  return STATUS_OK;
}

static void child_reset_signals(void) {
  struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int i = 1; i < NSIG; i++)
    sigaction(i, &standard, NULL); /* fails for SIGKILL, SIGSTOP and libc's own, which is as well */
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool child_prepare(const Launch *launch) {
  const ProcessOptions *options = launch->options;
  int out_fd = launch->log_fd >= 0 ? launch->log_fd : launch->null_fd;
  if (dup2(options->pipe_stdin ? launch->stdin_pipe[0] : launch->null_fd, 0) < 0 ||
      dup2(options->pipe_stdout ? launch->stdout_pipe[1] : out_fd, 1) < 0 ||
      dup2(launch->log_fd >= 0 ? launch->log_fd : launch->stderr_pipe[1], 2) < 0)
    return false;
  /* whatever a library forgot to mark; older kernels refuse the flag, and then our own marks must do */
  (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (options->own_group && setpgid(0, 0) != 0)
    return false;
  if (launch->switch_user && (setgroups((size_t)launch->group_count, launch->groups) != 0 || setgid(launch->gid) != 0 ||
                              setuid(launch->uid) != 0))
    return false;
  /* after setuid, which clears it; and the parent may have gone already */
  if (prctl(PR_SET_PDEATHSIG, options->death_signal ? options->death_signal : SIGKILL) != 0)
    return false;
  if (getppid() != launch->parent)
    _exit(127);
  return !options->work_dir || chdir(options->work_dir) == 0;
}

static _Noreturn void child_run(const Launch *launch) {
  child_reset_signals();
  if (child_prepare(launch))
    execvpe(launch->options->argv[0], (char *const *)launch->options->argv, launch->env);
  int failed = errno;
  ssize_t ignored = write(launch->failure_pipe[1], &failed, sizeof failed);
  (void)ignored;
  _exit(127);
}

void process_harden(void) {
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  prctl(PR_SET_DUMPABLE, 0); /* where dumps go to a program, the limit is not asked */
}

/* True once stderr has ended, or gave an error. */
static bool process_drain_once(Process *process) {
  uint8_t piece[16384];
  ssize_t got = read(process->stderr_fd, piece, sizeof piece);
  if (got < 0 && (errno == EINTR || errno == EAGAIN))
    return false;
  if (got <= 0)
    return true;
  Buffer *errors = &process->errors;
  buffer_append(errors, piece, (size_t)got);
  if (errors->size > 2 * (size_t)PROCESS_STDERR_LIMIT) {
    memmove(errors->data, errors->data + errors->size - PROCESS_STDERR_LIMIT, PROCESS_STDERR_LIMIT);
    errors->size = PROCESS_STDERR_LIMIT;
  }
  return false;
}

/* Until the child has ended AND what it wrote is read; not until end of file, since a grandchild may hold the pipe. */
static void *process_drain(void *user) {
  Process *process = user;
  for (;;) {
    struct pollfd fds[2] = {{.fd = process->stderr_fd, .events = POLLIN}, {.fd = process->stop_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR)
      break;
    if (fds[0].revents) {
      if (process_drain_once(process))
        break;
    } else if (fds[1].revents) {
      break;
    }
  }
  return NULL;
}

static Status process_start_drain(Process *process, Error *err) {
  process->stop_fd = eventfd(0, EFD_CLOEXEC);
  if (process->stop_fd < 0)
    return error_set_errno(err, errno, "cannot make an event descriptor");
  sigset_t all, before; /* signals are for the caller's own threads */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = pthread_create(&process->drain, NULL, process_drain, process);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed)
    return error_set_errno(err, failed, "cannot start a thread");
  process->draining = true;
  return STATUS_OK;
}

static Status process_launched(const Launch *launch, Error *err) {
  int failed = 0;
  ssize_t got;
  do
    got = read(launch->failure_pipe[0], &failed, sizeof failed);
  while (got < 0 && errno == EINTR);
  if (got != (ssize_t)sizeof failed)
    return STATUS_OK; /* closed by exec */
  const char *file = launch->options->argv[0];
  error_set(err, ERR_TOOL, "cannot run %s: %s", file, strerrordesc_np(failed));
  error_remedy(err, "Check that %s is installed, may be executed%s, and that the working directory exists.", file,
               launch->options->user ? " by that user" : "");
  error_object(err, "%s", file);
  return err->status;
}

Status process_start(const ProcessOptions *options, Process *process, Error *err) {
  CLEANUP(launch_release)
  Launch launch = {.options = options,
                   .stdin_pipe = {-1, -1},
                   .stdout_pipe = {-1, -1},
                   .stderr_pipe = {-1, -1},
                   .failure_pipe = {-1, -1},
                   .null_fd = -1,
                   .log_fd = -1};
  Status status = launch_open(&launch, err);
  if (status != STATUS_OK)
    return status;
  /* blocked across fork, so that no handler of the parent runs in the child */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = fork();
  if (pid == 0)
    child_run(&launch);
  int failed = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (pid < 0)
    return error_set_errno(err, failed, "cannot fork for %s", options->argv[0]);

  Process started = {.pid = pid, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .stop_fd = -1};
  launch_close(&launch.failure_pipe[1]);
  status = process_launched(&launch, err);
  if (status != STATUS_OK) {
    process_release(&started);
    return status;
  }
  started.stdin_fd = launch_steal(&launch.stdin_pipe[1]);
  started.stdout_fd = launch_steal(&launch.stdout_pipe[0]);
  started.stderr_fd = launch_steal(&launch.stderr_pipe[0]);
  *process = started;
  if (!options->log_path)
    status = process_start_drain(process, err);
  if (status != STATUS_OK)
    process_release(process);
  return status;
}

static void process_close(int *fd) {
  launch_close(fd);
}

static int process_exit_code(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* After the child is reaped. */
static void process_finish(Process *process) {
  process->pid = 0;
  process_close(&process->stdin_fd);
  process_close(&process->stdout_fd);
  if (process->draining) {
    eventfd_write(process->stop_fd, 1);
    pthread_join(process->drain, NULL);
    process->draining = false;
  }
  process_close(&process->stderr_fd);
  process_close(&process->stop_fd);
  if (process->errors.size > PROCESS_STDERR_LIMIT) {
    size_t excess = process->errors.size - PROCESS_STDERR_LIMIT;
    memmove(process->errors.data, process->errors.data + excess, PROCESS_STDERR_LIMIT);
    process->errors.size = PROCESS_STDERR_LIMIT;
  }
  buffer_text(&process->errors);
}

static Status process_reap(Process *process, int flags, bool *ended, int *exit_code, Error *err) {
  int wait_status = 0;
  pid_t got;
  do
    got = waitpid(process->pid, &wait_status, flags);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return error_set_errno(err, errno, "cannot wait for process %d", (int)process->pid);
  *ended = got > 0;
  if (!*ended)
    return STATUS_OK;
  *exit_code = process_exit_code(wait_status);
  process_finish(process);
  return STATUS_OK;
}

Status process_wait(Process *process, int *exit_code, Error *err) {
  if (process->pid <= 0)
    return error_set(err, ERR_INTERNAL, "process_wait on a process that is not running");
  process_close(&process->stdin_fd);
  process_close(&process->stdout_fd);
  bool ended;
  return process_reap(process, 0, &ended, exit_code, err);
}

Status process_poll(Process *process, bool *ended, int *exit_code, Error *err) {
  if (process->pid <= 0)
    return error_set(err, ERR_INTERNAL, "process_poll on a process that is not running");
  return process_reap(process, WNOHANG, ended, exit_code, err);
}

void process_kill(Process *process) {
  if (process->pid <= 0)
    return;
  kill(process->pid, SIGKILL);
  int exit_code;
  Error ignored;
  Status status = process_wait(process, &exit_code, &ignored);
  if (status != STATUS_OK) /* somebody else reaped it */
    process_finish(process);
}

void process_release(Process *process) {
  process_kill(process);
  buffer_release(&process->errors);
}

/* What the tool said last is what says why. */
static Status process_failed(const char *file, int exit_code, Process *process, Error *err) {
  const char *said = buffer_text(&process->errors);
  if (process->errors.size > PROCESS_MESSAGE_TAIL)
    said += process->errors.size - PROCESS_MESSAGE_TAIL;
  if (exit_code > 128)
    error_set(err, ERR_TOOL, "%s was ended by signal %d%s%s", file, exit_code - 128, *said ? ": " : "", said);
  else
    error_set(err, ERR_TOOL, "%s ended with exit code %d%s%s", file, exit_code, *said ? ": " : "", said);
  error_object(err, "%s", file);
  return err->status;
}

Status process_run(const ProcessOptions *options, size_t limit, Buffer *out, Error *err) {
  ProcessOptions own = *options;
  own.pipe_stdin = false;
  own.pipe_stdout = true;
  CLEANUP(process_release) Process process = {0};
  Status status = process_start(&own, &process, err);
  if (status != STATUS_OK)
    return status;
  size_t total = 0;
  for (;;) {
    uint8_t piece[65536];
    ssize_t got = read(process.stdout_fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return error_set_errno(err, errno, "cannot read the output of %s", own.argv[0]);
    if (got == 0)
      break;
    if ((size_t)got > limit - total) {
      error_set(err, ERR_TOOL, "%s wrote more than the %zu bytes allowed", own.argv[0], limit);
      error_object(err, "%s", own.argv[0]);
      return err->status;
    }
    total += (size_t)got;
    buffer_append(out, piece, (size_t)got);
  }
  int exit_code = 0;
  status = process_wait(&process, &exit_code, err);
  if (status != STATUS_OK)
    return status;
  return exit_code == 0 ? STATUS_OK : process_failed(own.argv[0], exit_code, &process, err);
}
