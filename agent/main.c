#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "agent/doctor/doctor.h"
#include "agent/enroll.h"
#include "agent/jobs/job.h"
#include "agent/session/session.h"
#include "common/base/log.h"
#include "common/base/process.h"

enum { STOP_GRACE_MS = 10000, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: pgseal-agent --config FILE            run the agent in the foreground\n"
    "       pgseal-agent check --config FILE      try everything the configuration names (pgseal doctor)\n"
    "       pgseal-agent enroll --coordinator URL --token-file FILE --dir DIR [--http-ca FILE]\n"
    "                                             join by an invitation: makes keys and the beginning of agent.yaml\n"
    "\n"
    "An agent dials the coordinators in its configuration and runs the jobs it is given: dump jobs near the\n"
    "databases, drill jobs where a disposable PostgreSQL can run. It stops on SIGTERM or SIGINT.\n"
    "An annotated example of FILE: deploy/agent.yaml; all keys: docs/configuration.md.\n"
    "\n"
    "  pgseal-agent enroll --coordinator https://pgseal.example.org:8420 --token-file dump-1.token --dir /etc/pgseal\n"
    "  pgseal-agent check --config /etc/pgseal/agent.yaml\n"
    "\n"
    "Options:\n"
    "  -c, --config FILE    agent.yaml\n"
    "  --coordinator URL    its HTTP API: https://HOST:8420, or on its own machine http://127.0.0.1:8420\n"
    "  --token-file FILE    what `pgseal agent invite` gave\n"
    "  --dir DIR            keys and agent.yaml come into it\n"
    "  --http-ca FILE       for https: the authority, if it is not the deployment's own\n"
    "  --help               this text\n"
    "  --version            the version\n"
    "\n"
    "Exit status: 0 success; 1 failure, or something does not work; 2 usage, or the configuration is wrong.\n";

static int PRINTF_LIKE(1, 2) usage_error(const char *format, ...) {
  Error err;
  va_list args;
  va_start(args, format);
  error_set_v(&err, ERR_INVALID_ARGUMENT, format, args);
  va_end(args);
  fprintf(stderr, "pgseal-agent: %s\n`pgseal-agent --help` tells more.\n", err.message);
  return EXIT_USAGE;
}

typedef struct Agent {
  Session *session;
  uv_signal_t signals[2];
} Agent;

static void ignore_signals(Agent *agent) {
  for (int i = 0; i < 2; i++)
    uv_close((uv_handle_t *)&agent->signals[i], NULL);
}

static void on_signal(uv_signal_t *handle, int number) {
  (void)number;
  Agent *agent = handle->data;
  session_stop(agent->session, STOP_GRACE_MS);
  ignore_signals(agent); /* a second one ends the process at once */
}

static void listen_for_signals(uv_loop_t *loop, Agent *agent) {
  static const int numbers[2] = {SIGTERM, SIGINT};
  for (int i = 0; i < 2; i++) {
    uv_signal_init(loop, &agent->signals[i]);
    agent->signals[i].data = agent;
    uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
  }
}

static int run(const char *config_path) {
  /* a peer that goes away must not end the process */
  sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  AgentConfig *config = NULL;
  Error err;
  Status status = agent_config_load(config_path, &config, &err);
  LogLevel level = LOG_LEVEL_INFO;
  if (!status)
    log_level_from_name(config->log_level, &level);
  log_init("agent", level, !status && strcmp(config->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
  uv_loop_t *loop = uv_default_loop();
  Agent agent = {0};
  listen_for_signals(loop, &agent); /* first: one that comes while it starts is taken once the loop runs */
  if (!status)
    status = session_open(loop, config, &agent.session, &err);
  if (status) {
    log_failure(LOG_LEVEL_ERROR, "the agent cannot start", &err);
    ignore_signals(&agent);
    uv_run(loop, UV_RUN_NOWAIT);
    agent_config_free(config);
    return status == ERR_CONFIG ? 2 : 1;
  }
  log_info("started", "agent", config->name, "version", PGSEAL_VERSION, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  log_info("stopped", NULL);
  uv_loop_close(loop);
  agent_config_free(config);
  return 0;
}

static int enroll(const EnrollOptions *options) {
  Error err;
  if (!options->coordinator || !options->token_file || !options->dir)
    return usage_error("%s is missing", !options->coordinator  ? "--coordinator URL"
                                        : !options->token_file ? "--token-file FILE"
                                                               : "--dir DIR");
  umask(077);
  if (agent_enroll(options, &err) == STATUS_OK)
    return 0;
  fprintf(stderr, "pgseal-agent: %s\n  %s\n", err.message, err.remedy);
  return err.status == ERR_INVALID_ARGUMENT ? 2 : 1;
}

static int run_command(const char *command, const char *config) {
  int (*const runs)(const char *) = strcmp(command, "run") == 0     ? run
                                    : strcmp(command, "job") == 0   ? job_main
                                    : strcmp(command, "check") == 0 ? doctor
                                                                    : NULL;
  if (!runs)
    return usage_error("there is no command '%s'", command);
  return config ? runs(config) : usage_error("--config FILE is missing");
}

int main(int argc, char **argv) {
  process_harden(); /* keys, and what connection strings hold */
  static const struct option options[] = {
      {"config", required_argument, NULL, 'c'},     {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'v'},          {"coordinator", required_argument, NULL, 'u'},
      {"token-file", required_argument, NULL, 't'}, {"dir", required_argument, NULL, 'd'},
      {"http-ca", required_argument, NULL, 'a'},    {0}};
  const char *config = NULL;
  EnrollOptions wish = {0};
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
    if (c == 'c')
      config = optarg;
    else if (c == 'u')
      wish.coordinator = optarg;
    else if (c == 't')
      wish.token_file = optarg;
    else if (c == 'd')
      wish.dir = optarg;
    else if (c == 'a')
      wish.http_ca = optarg;
    else if (c == 'h')
      return fputs(HELP, stdout) < 0;
    else if (c == 'v')
      return printf("pgseal-agent %s\n", PGSEAL_VERSION) < 0;
    else
      return usage_error("there is no option '%s', or its value is missing", argv[optind - 1]);
  }
  const char *command = optind < argc ? argv[optind] : "run";
  if (optind + 1 < argc)
    return usage_error("the argument '%s' is one too many", argv[optind + 1]);
  return strcmp(command, "enroll") == 0 ? enroll(&wish) : run_command(command, config);
}
