#include "cli/command_run.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static Status start(char *const *argv, pid_t *child, Error *err) {
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  fflush(stdout);
  fflush(stderr);
  int failed = posix_spawnp(child, argv[0], NULL, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  if (failed == 0)
    return STATUS_OK;
  error_set(err, ERR_TOOL, "%s cannot be run: %s", argv[0], strerror(failed));
  error_remedy(err, "Nothing was run, so nothing has changed. Check the command that follows `--`.");
  return ERR_TOOL;
}

/* Ctrl-C reaches the command by the terminal; what somebody sends to this process alone has to be handed on. */
static void hand_on(const siginfo_t *info, pid_t child) {
  bool of_terminal = info->si_signo == SIGINT && info->si_code == SI_KERNEL;
  if (!of_terminal)
    kill(child, info->si_signo);
}

Status command_run(char *const *argv, int *exit_status, Error *err) {
  sigset_t set, before;
  pid_t child;
  int status;
  /* whoever started us may ignore it: then no child has an end to wait for */
  sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, &before);
  Status started = start(argv, &child, err);
  while (started == STATUS_OK) {
    siginfo_t info = {0};
    if (waitpid(child, &status, WNOHANG) == child)
      break;
    if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD)
      hand_on(&info, child);
  }
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (started != STATUS_OK)
    return started;
  *exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return STATUS_OK;
}
