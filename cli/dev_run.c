/* Running the two daemons of `pgseal dev`, and stopping them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/dev.h"
#include "cli/http.h"
#include "cli/http.h"
#include "common/base/program.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { DEV_START_SECONDS = 40, DEV_STOP_SECONDS = 30, DEV_TAIL = 4096, DEV_PATH = 4096, DEV_TOKEN_LIMIT = 4096 };

static Status daemon_start(const Dev *dev, const char *name, const char *config, const char *log, Process *process,
                           Error *err) {
  CLEANUP_FREE char *path = program_path(name);
  CLEANUP_FREE char *config_path = dev_path(dev, config);
  const char *argv[] = {path, "--config", config_path, NULL};
  const char *env[] = {"PGSEAL_TOKEN", NULL};
  /* own group: Ctrl-C is for us, and they are stopped in order; SIGTERM should we be killed */
  ProcessOptions options = {.argv = argv,
                            .env = env,
                            .log_path = log,
                            .pass_secrets = true, /* the agent's, for a bucket */
                            .own_group = true,
                            .death_signal = SIGTERM};
  return process_start(&options, process, err);
}

/* What a daemon said last in this run. */
static void daemon_tail(const char *log, off_t from) {
  CLEANUP_CLOSE int fd = open(log, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0 || info.st_size <= from)
    return;
  off_t start = info.st_size - from > DEV_TAIL ? info.st_size - DEV_TAIL : from;
  char text[DEV_TAIL + 1];
  ssize_t got = pread(fd, text, DEV_TAIL, start);
  if (got <= 0)
    return;
  text[got] = '\0';
  char *rest = text;
  for (char *line; (line = strsep(&rest, "\n"));) {
    char clean[DEV_TAIL];
    if (*line)
      fprintf(stderr, "  %s\n", text_clean(line, clean, sizeof clean));
  }
}

static off_t file_size(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 ? info.st_size : 0;
}

typedef struct Run {
  Cli *cli;
  Dev *dev;
  off_t coordinator_from, agent_from; /* where this run's lines begin in the logs */
} Run;

/* True if both still run; else says which ended, and why. */
static bool run_alive(const Run *run) {
  struct {
    const char *name, *log;
    Process *process;
    off_t from;
  } children[] = {{"coordinator", run->dev->coordinator_log, &run->dev->coordinator, run->coordinator_from},
                  {"agent", run->dev->agent_log, &run->dev->agent, run->agent_from}};
  for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
    bool ended = false;
    int code = 0;
    Error err;
    if (children[i].process->pid <= 0)
      continue;
    if (process_poll(children[i].process, &ended, &code, &err) != STATUS_OK || !ended)
      continue;
    cli_note(run->cli, "the %s ended with %s %d; its last lines, from %s:", children[i].name,
             code > 128 ? "signal" : "exit code", code > 128 ? code - 128 : code, children[i].log);
    daemon_tail(children[i].log, children[i].from);
    return false;
  }
  return true;
}

/* Sleeps, or returns true at once when SIGINT, SIGTERM or SIGHUP comes. */
static bool run_interrupted(int milliseconds) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL);
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  return sigtimedwait(&set, NULL, &time) > 0;
}

static bool agent_is_live(const json_t *json) {
  const json_t *agents = json_object_get(json, "agents"), *agent;
  size_t index;
  json_array_foreach(agents, index, agent) {
    if (api_true(agent, "live"))
      return true;
  }
  return false;
}

typedef enum Wait { WAIT_READY, WAIT_INTERRUPTED, WAIT_FAILED } Wait;

static Wait run_wait(const Run *run) {
  int64_t deadline = clock_monotonic_us() + DEV_START_SECONDS * (int64_t)1000000;
  Error err;
  for (;;) {
    CLEANUP(api_release) json_t *json = NULL;
    Status status = api_get(run->cli, &json, &err, "/api/v1/agents");
    if (status == STATUS_OK && agent_is_live(json))
      return WAIT_READY;
    if (!run_alive(run))
      return WAIT_FAILED;
    bool hopeless = status != STATUS_OK && status != ERR_UNAVAILABLE;
    if (hopeless || clock_monotonic_us() > deadline) {
      if (status == STATUS_OK)
        error_set(&err, ERR_AGENT_LOST, "the agent did not join the coordinator in time");
      cli_fail(run->cli, &err);
      daemon_tail(status == STATUS_OK ? run->dev->agent_log : run->dev->coordinator_log,
                  status == STATUS_OK ? run->agent_from : run->coordinator_from);
      return WAIT_FAILED;
    }
    if (run_interrupted(100))
      return WAIT_INTERRUPTED;
  }
}

/* SIGTERM, patience, SIGKILL; a second Ctrl-C shortens the patience. True if it ended by itself, with 0. */
static bool run_stop(const Run *run, Process *process, const char *name) {
  if (process->pid <= 0)
    return true;
  kill(process->pid, SIGTERM);
  int64_t deadline = clock_monotonic_us() + DEV_STOP_SECONDS * (int64_t)1000000;
  for (;;) {
    Error err;
    bool ended = false;
    int code = 0;
    if (process_poll(process, &ended, &code, &err) != STATUS_OK || ended)
      return ended && code == 0;
    if (run_interrupted(50) || clock_monotonic_us() > deadline) {
      cli_note(run->cli, "the %s is killed: it did not stop in time", name);
      process_kill(process);
      return false;
    }
  }
}

static void quote(Buffer *out, const char *text) { /* for a shell */
  if (text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,-")] == '\0') {
    buffer_append_text(out, text);
    return;
  }
  buffer_append_byte(out, '\'');
  for (; *text; text++) {
    if (*text == '\'')
      buffer_append_text(out, "'\\''");
    else
      buffer_append_byte(out, (uint8_t)*text);
  }
  buffer_append_text(out, "'");
}

static void run_welcome(const Dev *dev) {
  CLEANUP_FREE char *token = dev_path(dev, "token");
  CLEANUP_FREE char *keys = dev_path(dev, "keys/escrow");
  CLEANUP_FREE char *repository =
      dev->repository_path ? memory_strdup(dev->repository_path) : dev_path(dev, "repository");
  CLEANUP(buffer_release) Buffer token_quoted = {0}, keys_quoted = {0}, repository_quoted = {0};
  quote(&token_quoted, token);
  quote(&keys_quoted, keys);
  quote(&repository_quoted, repository);
  const char *t = buffer_text(&token_quoted), *name = dev->databases[0].name;
  printf("\npgseal is running: %s\n\n", dev->url);
  printf("  token  %s\n  logs   %s\n         %s\n", token, dev->coordinator_log, dev->agent_log);
  for (size_t i = 0; i < dev->database_count; i++)
    printf("  %s %s%s\n", i ? "      " : "for   ", dev->databases[i].name,
           dev->databases[i].production ? " [production]" : "");
  printf("\nA checkpoint, answered when it is proven:\n\n"
         "  curl -sS -X POST %s/api/checkpoint \\\n    -H \"Authorization: Bearer $(cat %s)\" \\\n"
         "    -d '{\"database\": \"%s\", \"tag\": \"pre-deploy-1\"}'\n",
         dev->url, t, name);
  printf("\nThe same with progress, and what to do with it:\n\n"
         "  export PGSEAL_URL=%s%s PGSEAL_TOKEN_FILE=%s\n"
         "  pgseal checkpoint %s --tag pre-deploy-2\n  pgseal ledger\n  pgseal show pre-deploy-2\n"
         "  pgseal fetch pre-deploy-2 --repository %s \\\n    --key %s.key --certificate %s.crt --output %s.dump\n",
         dev->url, http_is_overheard(dev->url) ? " PGSEAL_UNENCRYPTED=1" : "", t, name, buffer_text(&repository_quoted),
         buffer_text(&keys_quoted), buffer_text(&keys_quoted), name);
  printf("\nCtrl-C stops it; the same command goes on with what is in %s.\n", dev->dir);
  fflush(stdout);
}

static Status run_start(Run *run, Error *err) {
  Dev *dev = run->dev;
  CLEANUP_FREE char *token = dev_path(dev, "token");
  Status status = file_read_text(token, DEV_TOKEN_LIMIT, &run->cli->token, err);
  if (status != STATUS_OK)
    return status;
  run->cli->url = dev->url;
  run->cli->unencrypted = true; /* whatever address it was given, it is this machine */
  run->coordinator_from = file_size(dev->coordinator_log);
  run->agent_from = file_size(dev->agent_log);
  status = daemon_start(dev, "pgseal-coordinator", "coordinator.yaml", dev->coordinator_log, &dev->coordinator, err);
  if (status == STATUS_OK)
    status = daemon_start(dev, "pgseal-agent", "agent.yaml", dev->agent_log, &dev->agent, err);
  return status;
}

ExitCode dev_run(Cli *cli, Dev *dev) {
  Run run = {.cli = cli, .dev = dev};
  Error err;
  run_interrupted(0); /* from here on signals are awaited, not suffered */
  Status status = run_start(&run, &err);
  Wait wait = status == STATUS_OK ? run_wait(&run) : WAIT_FAILED;
  if (status != STATUS_OK)
    cli_fail(cli, &err);
  if (wait == WAIT_READY) {
    run_welcome(dev);
    while (wait == WAIT_READY)
      wait = run_interrupted(250) ? WAIT_INTERRUPTED : run_alive(&run) ? WAIT_READY : WAIT_FAILED;
  }
  if (wait == WAIT_INTERRUPTED)
    printf("\nStopping...\n");
  bool clean = run_stop(&run, &dev->agent, "agent"); /* first, so that it can still report */
  clean = run_stop(&run, &dev->coordinator, "coordinator") && clean;
  return wait == WAIT_INTERRUPTED && clean ? EXIT_DONE : EXIT_ERRORED;
}
