/* pgseal-coordinator: one libuv loop that owns the ledger, dispatch, the agents' gateway and the HTTP API. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <uv.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/config/yaml.h"
#include "coordinator/alerts/alerts.h"
#include "coordinator/api/api.h"
#include "coordinator/config.h"
#include "coordinator/dispatch/dispatch.h"
#include "coordinator/gateway/admission.h"
#include "coordinator/gateway/gateway.h"
#include "coordinator/init.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/ledger_command.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/oidc/oidc.h"
#include "coordinator/overview/overview.h"
#include "coordinator/report/mailing.h"
#include "coordinator/retention/retention.h"
#include "coordinator/rotation/run.h"
#include "coordinator/schedule/schedule.h"
#include "coordinator/traces/traces.h"

enum { TICK_MS = 1000, FOLLOW_MS = 200, STOP_LIMIT_MS = 15000, EXIT_USAGE = 2, HOSTS_LIMIT = 32 };

static const char usage_text[] =
    "Usage: pgseal-coordinator [COMMAND] --config FILE\n"
    "       pgseal-coordinator init --dir DIR [--name HOST ...]\n"
    "\n"
    "Without a command it runs in the foreground until SIGTERM or SIGINT, and logs to stderr. On SIGHUP it reads its\n"
    "certificates anew: those of the HTTP API and of the bus.\n"
    "\n"
    "Commands:\n"
    "  check           check the configuration, with its keys, certificates and alert routes, and exit\n"
    "  init            make a deployment in DIR: its certificate authority, this coordinator's certificate for the "
    "names\n"
    "                  given (default: this machine's), the first token, and coordinator.yaml\n"
    "  certificate     make a new key and certificate for this coordinator, with --name HOST ...; SIGHUP takes them\n"
    "  ledger verify   verify the ledger's chain of events, and the signatures that checkpoints were sealed on; may "
    "run\n"
    "                  beside a coordinator\n"
    "  ledger keys     write the keys of all agents to stdout, as former_agents for a coordinator.yaml: kept "
    "elsewhere,\n"
    "                  they let `pgseal ledger rebuild` make a new ledger out of the repository\n"
    "  ledger export   write all of the ledger to stdout, as lines of JSON; may run beside a coordinator\n"
    "  ledger import   fill a new ledger with an export from stdin, once its chain is verified\n"
    "\n"
    "Options:\n"
    "  -c, --config FILE   the coordinator's configuration, coordinator.yaml\n"
    "      --dir DIR       of init\n"
    "      --name HOST     a name or address under which agents and clients reach it; may be repeated\n"
    "      --help          show this help\n"
    "      --version       show the version\n"
    "\n"
    "Examples:\n"
    "  pgseal-coordinator init --dir /etc/pgseal --name pgseal.example.org\n"
    "  pgseal-coordinator check --config /etc/pgseal/coordinator.yaml\n"
    "\n"
    "An annotated coordinator.yaml: deploy/coordinator.yaml; all keys: docs/configuration.md.\n"
    "Exit status: 0 success; 1 failure, of the configuration too; 2 usage.\n";

typedef struct Coordinator {
  uv_loop_t loop;
  uv_timer_t tick, follow, due, limit;
  uv_signal_t signals[2], reload;
  CoordinatorConfig *config;
  Ledger *ledger;
  Dispatch *dispatch;
  Retention retention;
  Rotation *rotation;
  Gateway *gateway;
  Api *api;
  Schedule *schedule;
  Overview *overview;
  Metrics *metrics;
  Alerts *alerts;
  Mailing *mailing;
  Traces *traces;
  bool stopping, overdue, scheduling;
} Coordinator;

static int complain(const Error *err) {
  fprintf(stderr, "pgseal-coordinator: %s\n", err->message);
  if (err->remedy[0])
    fprintf(stderr, "  %s\n", err->remedy);
  return 1;
}

/* ---- running ---- */

static void on_tick(uv_timer_t *timer) {
  Coordinator *coordinator = timer->data;
  dispatch_tick(coordinator->dispatch);
  alerts_tick(coordinator->alerts);
  mailing_tick(coordinator->mailing);
  traces_tick(coordinator->traces);
  if (!dispatch_leads(coordinator->dispatch))
    return;
  retention_tick(&coordinator->retention, coordinator->dispatch, coordinator->ledger);
  rotation_tick(coordinator->rotation);
}

/* What is due is the leader's to ask for; what another one asked for while it led is in the ledger. */
static void on_due(uv_timer_t *timer) {
  Coordinator *coordinator = timer->data;
  bool leads = dispatch_leads(coordinator->dispatch);
  if (leads && !coordinator->scheduling)
    schedule_forget(coordinator->schedule);
  coordinator->scheduling = leads;
  if (!leads)
    schedule_follow(coordinator->schedule);
  int64_t wait_us = leads ? schedule_run(coordinator->schedule) : TICK_MS * 1000;
  uv_timer_start(timer, on_due, (uint64_t)(wait_us + 999) / 1000, 0);
}

static void on_follow(uv_timer_t *timer) {
  Coordinator *coordinator = timer->data;
  dispatch_follow(coordinator->dispatch);
}

/* Something still holds the loop: what is acknowledged is in the ledger, so ending anyway loses nothing. */
static void on_limit(uv_timer_t *timer) {
  Coordinator *coordinator = timer->data;
  coordinator->overdue = true;
  uv_stop(&coordinator->loop);
}

static void on_gateway_closed(void *user) {
  Coordinator *coordinator = user;
  coordinator->gateway = NULL;
}

/* Everything that holds the loop is closed; uv_run returns once the last of it is. */
static void stop(Coordinator *coordinator) {
  if (coordinator->stopping)
    return;
  coordinator->stopping = true;
  uv_close((uv_handle_t *)&coordinator->tick, NULL);
  uv_close((uv_handle_t *)&coordinator->due, NULL);
  uv_close((uv_handle_t *)&coordinator->follow, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(coordinator->signals); i++)
    uv_close((uv_handle_t *)&coordinator->signals[i], NULL);
  uv_close((uv_handle_t *)&coordinator->reload, NULL);
  alerts_stop(coordinator->alerts);
  mailing_stop(coordinator->mailing);
  traces_stop(coordinator->traces);
  if (coordinator->api)
    api_close(coordinator->api);
  coordinator->api = NULL;
  if (coordinator->gateway)
    gateway_close(coordinator->gateway, on_gateway_closed, coordinator);
  uv_timer_start(&coordinator->limit, on_limit, STOP_LIMIT_MS, 0);
  uv_unref((uv_handle_t *)&coordinator->limit);
}

static void on_signal(uv_signal_t *handle, int number) {
  log_info("stopping", "signal", number == SIGINT ? "SIGINT" : "SIGTERM", NULL);
  stop(handle->data);
}

static void on_reload(uv_signal_t *handle, int number) {
  (void)number;
  Coordinator *coordinator = handle->data;
  log_info("reloading", "signal", "SIGHUP", NULL);
  if (coordinator->api)
    api_reload(coordinator->api);
  Error err;
  if (!coordinator->gateway || coordinator->stopping)
    return;
  if (gateway_readmit(coordinator->gateway, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "the bus's new certificate is not used; the old one still is", &err);
  else
    log_info("the bus's certificates are read anew", NULL);
}

static void handles_init(Coordinator *coordinator) {
  const int numbers[] = {SIGTERM, SIGINT};
  uv_timer_init(&coordinator->loop, &coordinator->tick);
  uv_timer_init(&coordinator->loop, &coordinator->due);
  uv_timer_init(&coordinator->loop, &coordinator->limit);
  uv_timer_init(&coordinator->loop, &coordinator->follow);
  coordinator->tick.data = coordinator->follow.data = coordinator->due.data = coordinator->limit.data = coordinator;
  for (size_t i = 0; i < ARRAY_SIZE(coordinator->signals); i++) {
    uv_signal_init(&coordinator->loop, &coordinator->signals[i]);
    coordinator->signals[i].data = coordinator;
    uv_signal_start(&coordinator->signals[i], on_signal, numbers[i]);
  }
  uv_signal_init(&coordinator->loop, &coordinator->reload);
  coordinator->reload.data = coordinator;
  uv_signal_start(&coordinator->reload, on_reload, SIGHUP);
  uv_timer_start(&coordinator->tick, on_tick, TICK_MS, TICK_MS);
  if (ledger_shared(coordinator->ledger))
    uv_timer_start(&coordinator->follow, on_follow, FOLLOW_MS, FOLLOW_MS);
}

static Status open_all(Coordinator *coordinator, Error *err) {
  Status status = ledger_open(coordinator->config->ledger, false, &coordinator->ledger, err);
  if (status == STATUS_OK)
    status = dispatch_open(coordinator->config, coordinator->ledger, &coordinator->dispatch, err);
  if (status == STATUS_OK)
    status = schedule_open(coordinator->dispatch, coordinator->ledger, &coordinator->schedule, err);
  if (status != STATUS_OK)
    return status;
  coordinator->overview = overview_open(coordinator->dispatch, coordinator->ledger);
  overview_schedule(coordinator->overview, coordinator->schedule);
  overview_warm(coordinator->overview);
  coordinator->metrics = metrics_open(coordinator->dispatch, coordinator->ledger, coordinator->overview);
  const AlertsParts parts = {&coordinator->loop,  coordinator->config,   coordinator->dispatch,
                             coordinator->ledger, coordinator->overview, coordinator->schedule};
  status = alerts_open(&parts, &coordinator->alerts, err);
  if (status != STATUS_OK)
    return status;
  status = mailing_open(&coordinator->loop, coordinator->config, coordinator->dispatch, coordinator->ledger,
                        coordinator->alerts, &coordinator->mailing, err);
  if (status == STATUS_OK)
    status = traces_open(&coordinator->loop, coordinator->config, coordinator->dispatch, coordinator->ledger,
                         &coordinator->traces, err);
  if (status != STATUS_OK)
    return status;
  coordinator->rotation = rotation_open(&coordinator->loop, coordinator->dispatch, coordinator->ledger);
  handles_init(coordinator);
  status = gateway_open(&coordinator->loop, coordinator->config, coordinator->dispatch, coordinator->ledger,
                        &coordinator->gateway, err);
  if (status == STATUS_OK)
    status = api_open(&coordinator->loop, coordinator->config, coordinator->dispatch, coordinator->ledger,
                      &coordinator->api, err);
  if (status != STATUS_OK) {
    stop(coordinator);
    return status;
  }
  api_rotation(coordinator->api, coordinator->rotation);
  api_show_schedule(coordinator->api, coordinator->schedule);
  api_show_overview(coordinator->api, coordinator->overview);
  metrics_rotation(coordinator->metrics, coordinator->rotation);
  metrics_traces(coordinator->metrics, coordinator->traces);
  api_show_metrics(coordinator->api, coordinator->metrics);
  api_show_alerts(coordinator->api, coordinator->alerts);
  api_show_mailing(coordinator->api, coordinator->mailing);
  uv_timer_start(&coordinator->due, on_due, 0, 0);
  return STATUS_OK;
}

/* Runs what is left of the loop, then closes in the reverse order of opening. */
static bool close_all(Coordinator *coordinator) {
  uv_run(&coordinator->loop, UV_RUN_DEFAULT);
  bool clean = !coordinator->overdue && !coordinator->gateway;
  if (uv_is_active((uv_handle_t *)&coordinator->limit) && !uv_is_closing((uv_handle_t *)&coordinator->limit)) {
    uv_close((uv_handle_t *)&coordinator->limit, NULL);
    uv_run(&coordinator->loop, clean ? UV_RUN_DEFAULT : UV_RUN_NOWAIT);
  }
  schedule_close(coordinator->schedule);
  if (clean) { /* else somebody may still refer to them: the process ends anyway */
    traces_close(coordinator->traces);
    mailing_close(coordinator->mailing);
    alerts_close(coordinator->alerts);
    rotation_close(coordinator->rotation);
    dispatch_close(coordinator->dispatch);
    metrics_close(coordinator->metrics);
    overview_close(coordinator->overview);
  }
  ledger_close(coordinator->ledger);
  return uv_loop_close(&coordinator->loop) == 0 && clean;
}

static LogLevel level_of(const CoordinatorConfig *config) {
  LogLevel level = LOG_LEVEL_INFO;
  return log_level_from_name(config->log_level, &level) ? level : LOG_LEVEL_INFO;
}

/* Connections that say nothing cost a descriptor each until they are closed: there must be some left for agents,
 * clients and the ledger. */
static void raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(CoordinatorConfig *config) {
  Coordinator coordinator = {.config = config};
  Error err;
  log_init("coordinator", level_of(config),
           strcmp(config->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
  raise_descriptors();
  sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  if (uv_loop_init(&coordinator.loop) != 0)
    return complain((error_set(&err, ERR_INTERNAL, "the event loop could not be made"), &err));
  Status status = open_all(&coordinator, &err);
  if (status == STATUS_OK)
    log_info("coordinator started", "http", config->http, "bus", config->bus, "ledger", ledger_name(coordinator.ledger),
             "version", PGSEAL_VERSION, NULL);
  bool clean = close_all(&coordinator);
  if (status != STATUS_OK)
    return complain(&err);
  log_info("coordinator stopped", NULL);
  return clean ? 0 : 1;
}

/* ---- commands ---- */

static void warn(void *user, const char *text) {
  const CoordinatorConfig *config = user;
  fprintf(stderr, "%s: warning: %s\n", config->path, text);
}

static bool any_is(const char *const *names, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0)
      return true;
  return false;
}

static bool is_for_reports(const ReportPlans *reports, const char *route) {
  for (size_t i = 0; i < reports->count; i++)
    if (strcmp(reports->items[i].route, route) == 0)
      return true;
  return false;
}

/* Routes by which nobody is told. Without a file of the fleet its policies are in the ledger, which is not asked. */
static void warn_unused(const CoordinatorConfig *config, const Fleet *fleet) {
  const AlertSettings *alerts = &config->alerts;
  for (size_t i = 0; config->fleet && i < alerts->route_count; i++) {
    const AlertRoute *route = &alerts->routes[i];
    bool used = route->kind == ROUTE_PING || is_for_reports(&config->reports, route->name) ||
                any_is(alerts->fallback, alerts->fallback_count, route->name);
    for (size_t j = 0; j < fleet_count(fleet) && !used; j++)
      used = any_is(fleet_at(fleet, j)->policy.alerts, fleet_at(fleet, j)->policy.alert_count, route->name);
    CLEANUP_FREE char *text = memory_format(
        "alerts: route %s is neither under `default` nor in a policy of a database: nobody is told by it", route->name);
    if (!used)
      warn((void *)config, text);
  }
}

/* Of the file that is named, if one is; what does nothing in it is told. *databases: how many there are with it. */
static Status check_fleet(const CoordinatorConfig *config, size_t *databases, Error *err) {
  Fleet *fleet = NULL;
  json_t *notes = NULL, *note;
  size_t index;
  Status status = fleet_load(config, &fleet, &notes, err);
  json_array_foreach(notes, index, note) {
    fprintf(stderr, "%s:%d: %s\n", config->fleet, (int)json_integer_value(json_object_get(note, "line")),
            json_string_value(json_object_get(note, "message")));
  }
  json_decref(notes);
  if (fleet)
    warn_unused(config, fleet);
  *databases = fleet ? fleet_count(fleet) : 0;
  fleet_free(fleet);
  return status;
}

/* An issuer that is away, or not as it should be, is no reason not to start: all but one way of signing in goes on. */
static Status check_issuer(const CoordinatorConfig *config, Error *err) {
  Status status = oidc_check(&config->oidc, err);
  if (status != ERR_UNAVAILABLE)
    return status;
  warn((void *)config, err->message);
  return STATUS_OK;
}

/* Of a file that is not there yet: can it be made? A server is not asked. */
static Status check_ledger(const CoordinatorConfig *config, Error *err) {
  if (ledger_is_postgres(config->ledger))
    return STATUS_OK;
  CLEANUP_FREE char *directory = config_directory(config->ledger);
  if (file_exists(directory))
    return STATUS_OK;
  error_set(err, ERR_CONFIG, "%s: ledger: there is no directory %s", config->path, directory);
  error_remedy(err, "Make it, for the coordinator's user alone (mode 0700), or correct `ledger`.");
  return ERR_CONFIG;
}

static int check(const CoordinatorConfig *config) {
  Error err;
  size_t databases = 0;
  if (check_ledger(config, &err) != STATUS_OK || api_check(config, &err) != STATUS_OK ||
      admission_check(config, &err) != STATUS_OK || alert_settings_check(&config->alerts, &err) != STATUS_OK ||
      trace_settings_check(&config->traces, &err) != STATUS_OK || check_fleet(config, &databases, &err) != STATUS_OK ||
      check_issuer(config, &err) != STATUS_OK)
    return complain(&err);
  alert_settings_warn(&config->alerts, warn, (void *)config);
  size_t routes = config->alerts.route_count;
  printf("%s is valid: %zu database%s, %zu agent%s, %zu alert route%s\n", config->path, databases,
         databases == 1 ? "" : "s", config->agent_count, config->agent_count == 1 ? "" : "s", routes,
         routes == 1 ? "" : "s");
  return 0;
}

static int PRINTF_LIKE(1, 2) usage_error(const char *format, ...) {
  Error err;
  va_list args;
  va_start(args, format);
  error_set_v(&err, ERR_INVALID_ARGUMENT, format, args);
  va_end(args);
  fprintf(stderr, "pgseal-coordinator: %s\n`pgseal-coordinator --help` tells more.\n", err.message);
  return EXIT_USAGE;
}

static void config_cleanup(CoordinatorConfig **config) {
  coordinator_config_free(*config);
}

typedef struct Words { /* of the command line */
  const char *path, *dir;
  const char *hosts[HOSTS_LIMIT];
  size_t host_count;
  char *const *commands;
  int count;
} Words;

static bool is(const Words *words, const char *command) {
  return words->count == 1 && strcmp(words->commands[0], command) == 0;
}

static int init(const Words *words) {
  Error err;
  if (!words->dir)
    return usage_error("--dir DIR is missing");
  return coordinator_init(words->dir, words->hosts, words->host_count, &err) ? complain(&err) : 0;
}

static int command(const Words *words) {
  bool of_ledger =
      words->count == 2 && strcmp(words->commands[0], "ledger") == 0 && ledger_command_known(words->commands[1]);
  if (is(words, "init"))
    return init(words);
  if (words->count > 0 && !is(words, "check") && !is(words, "certificate") && !of_ledger)
    return usage_error("there is no command '%s%s%s'", words->commands[0], words->count > 1 ? " " : "",
                       words->count > 1 ? words->commands[1] : "");
  if (!words->path)
    return usage_error("--config FILE is missing");
  CLEANUP(config_cleanup) CoordinatorConfig *config = NULL;
  Error err;
  if (coordinator_config_load(words->path, &config, &err) != STATUS_OK)
    return complain(&err);
  if (is(words, "check"))
    return check(config);
  if (is(words, "certificate"))
    return coordinator_certificate(config, words->hosts, words->host_count, &err) ? complain(&err) : 0;
  if (of_ledger)
    return ledger_command(config, words->commands[1], &err) ? complain(&err) : 0;
  return run(config);
}

int main(int argc, char **argv) {
  process_harden(); /* the authority's key, and tokens as they are made */
  static const struct option options[] = {
      {"config", required_argument, NULL, 'c'}, {"dir", required_argument, NULL, 'd'},
      {"name", required_argument, NULL, 'n'},   {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'v'},      {0}};
  Words words = {0};
  umask(077);
  opterr = 0;
  for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
    if (option == 'h') {
      fputs(usage_text, stdout);
      return 0;
    }
    if (option == 'v') {
      printf("pgseal-coordinator %s\n", PGSEAL_VERSION);
      return 0;
    }
    if (option == 'c')
      words.path = optarg;
    else if (option == 'd')
      words.dir = optarg;
    else if (option == 'n' && words.host_count < HOSTS_LIMIT)
      words.hosts[words.host_count++] = optarg;
    else
      return usage_error("there is no option '%s', or its value is missing", argv[optind - 1]);
  }
  words.commands = argv + optind;
  words.count = argc - optind;
  return command(&words);
}
