/* pgseal status, databases, agents: the fleet at a glance. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

static void status_heading(Table *table, const char *const *heading) {
  table->columns = 0;
  for (; heading[table->columns]; table->columns++)
    table_add(table, "%s", heading[table->columns]);
}

/* Of what its policies want of it: what is not so. False: something is not. */
static bool status_objectives(Buffer *out, const Cli *cli, const json_t *database) {
  static const struct {
    const char *member, *missed;
    const char *wants; /* of that there has to be a sealed checkpoint; NULL: of no age */
    bool could;        /* it could be met; whether it is, is another question */
  } kinds[] = {{"proof_age_met", "proof too old", "proof_age_seconds", false},
               {"restore_time_met", "restores too slow", NULL, false},
               {"data_loss_met", "data too old", "data_loss_seconds", false},
               {"schedule_meets_data_loss", "schedule too seldom", NULL, true}};
  const json_t *objectives = json_object_get(database, "objectives");
  bool any = false, sealed = json_is_object(json_object_get(database, "newest_sealed")), none = false, fine = true;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const json_t *is = json_object_get(objectives, kinds[i].member);
    any |= json_is_boolean(is) && !kinds[i].could;
    none |= !sealed && kinds[i].wants && json_is_integer(json_object_get(objectives, kinds[i].wants));
    fine &= !json_is_false(is) || kinds[i].could;
    if (json_is_false(is))
      buffer_append_format(out, "%s%s%s%s", out->size ? ", " : "", cli_style(cli->color_out, STYLE_WARN),
                           kinds[i].missed, cli_reset(cli->color_out));
  }
  if (none)
    buffer_append_format(out, "%s%snothing sealed%s", out->size ? ", " : "", cli_style(cli->color_out, STYLE_WARN),
                         cli_reset(cli->color_out));
  if (out->size == 0)
    buffer_append_text(out, any ? "met" : "-");
  return fine && !none;
}

static void status_databases(const Cli *cli, const json_t *json) {
  static const char *const heading[] = {"DATABASE", "OWNER", "NEWEST CHECKPOINT", "TAG",
                                        "WHEN",     "SIZE",  "OBJECTIVES",        NULL};
  CLEANUP(table_release) Table table = {0};
  status_heading(&table, heading);
  const json_t *databases = json_object_get(json, "databases"), *database;
  size_t index;
  char age[FORMAT_SIZE];
  json_array_foreach(databases, index, database) {
    const json_t *newest = json_object_get(database, "newest");
    const char *environment = api_text(database, "environment");
    CLEANUP(buffer_release) Buffer name = {0}, state = {0}, objectives = {0};
    format_database(&name, cli->color_out, api_text(database, "name"), environment);
    if (*environment && strcmp(environment, "production") != 0)
      buffer_append_format(&name, " (%s)", environment);
    if (json_is_object(json_object_get(database, "cordoned")))
      buffer_append_text(&name, " cordoned");
    if (json_is_object(newest))
      format_state(&state, cli->color_out, api_text(newest, "state"));
    else
      buffer_append_format(&state, "%snone%s", cli_style(cli->color_out, STYLE_WARN), cli_reset(cli->color_out));
    table_add(&table, "%s", buffer_text(&name));
    table_add(&table, "%s", *api_text(database, "owner") ? api_text(database, "owner") : "-");
    table_add(&table, "%s", buffer_text(&state));
    table_add(&table, "%s", *api_text(newest, "tag") ? api_text(newest, "tag") : "-");
    table_add(&table, "%s", format_age(api_text(newest, "created_at"), age));
    table_add(&table, "%s", *api_text(newest, "size") ? api_text(newest, "size") : "-");
    (void)status_objectives(&objectives, cli, database);
    table_add(&table, "%s", buffer_text(&objectives));
  }
  if (json_array_size(databases) == 0)
    printf("No databases: name them under `databases` in coordinator.yaml.\n");
  else
    table_print(&table, stdout, cli->color_out);
}

static void status_join(Buffer *out, const json_t *list) {
  const json_t *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (json_string_value(item))
      buffer_append_format(out, "%s%s", index ? "," : "", json_string_value(item));
  }
  buffer_append_text(out, out->size ? "" : "-");
}

/* "2/4": of the slots of all capabilities. */
static void status_jobs(const json_t *agent, const json_t *jobs, Table *table) {
  int64_t count = json_is_array(jobs) ? (int64_t)json_array_size(jobs) : api_integer(agent, "jobs"), total = 0;
  const json_t *slots;
  size_t index;
  json_array_foreach(json_object_get(json_object_get(agent, "machine"), "slots"), index, slots) total +=
      api_integer(slots, "total");
  if (total)
    table_add(table, "%" PRId64 "/%" PRId64, count, total);
  else
    table_add(table, "%" PRId64, count);
}

/* "0.42/8" of its processors; "data 12.3 GB (4 %)" of the disk that has the smallest part left. */
static void status_machine(const json_t *machine, Table *table) {
  const json_t *disks = json_object_get(machine, "disks"), *disk, *fullest = NULL;
  size_t index;
  double least = 2;
  char left[TEXT_SIZE_SIZE];
  json_array_foreach(disks, index, disk) {
    double share = (double)api_integer(disk, "free_bytes") / (double)api_integer(disk, "total_bytes");
    fullest = share < least ? disk : fullest;
    least = share < least ? share : least;
  }
  if (json_is_object(machine))
    table_add(table, "%.2f/%" PRId64, json_number_value(json_object_get(machine, "load1")),
              api_integer(machine, "cpus"));
  else
    table_add(table, "-");
  CLEANUP(buffer_release) Buffer places = {0};
  status_join(&places, json_object_get(fullest, "places"));
  if (fullest)
    table_add(table, "%s %s (%d %%)", buffer_text(&places), text_size(api_integer(fullest, "free_bytes"), left),
              (int)(least * 100));
  else
    table_add(table, "-");
}

static void status_agents(const Cli *cli, const json_t *json) {
  static const char *const heading[] = {"AGENT",     "STATE",   "CAPABILITIES", "JOBS",    "LOAD",
                                        "DISK FREE", "EXPIRES", "HOST",         "VERSION", NULL};
  CLEANUP(table_release) Table table = {0};
  status_heading(&table, heading);
  const json_t *agents = json_object_get(json, "agents"), *agent;
  size_t index;
  char expires[FORMAT_SIZE];
  json_array_foreach(agents, index, agent) {
    bool live = api_true(agent, "live");
    const json_t *jobs = json_object_get(agent, "jobs");
    CLEANUP(buffer_release) Buffer capabilities = {0};
    status_join(&capabilities, json_object_get(agent, "capabilities"));
    table_add(&table, "%s", api_text(agent, "name"));
    const char *state = api_text(agent, "state");
    bool admitted =
        !*state || strcmp(state, "listed") == 0 || strcmp(state, "enrolled") == 0 || strcmp(state, "renewing") == 0;
    bool drained = json_is_object(json_object_get(agent, "drained"));
    table_add(&table, "%s%s%s",
              cli_style(cli->color_out, !live     ? STYLE_BAD
                                        : drained ? STYLE_WARN
                                                  : STYLE_GOOD),
              !admitted ? state
              : !live   ? "lost"
              : drained ? "drained"
                        : "live",
              cli_reset(cli->color_out));
    table_add(&table, "%s", buffer_text(&capabilities));
    status_jobs(agent, jobs, &table);
    status_machine(json_object_get(agent, "machine"), &table);
    table_add(&table, "%s", format_time(api_text(agent, "expires_at"), expires));
    table_add(&table, "%s", *api_text(agent, "host") ? api_text(agent, "host") : "-");
    table_add(&table, "%s", *api_text(agent, "version") ? api_text(agent, "version") : "-");
  }
  if (json_array_size(agents) == 0)
    printf("No agents: `pgseal agent invite` lets one join.\n");
  else
    table_print(&table, stdout, cli->color_out);
}

typedef void StatusPrint(const Cli *cli, const json_t *json);

/* path: NULL: the databases. */
static ExitCode status_one(Cli *cli, int argc, char **argv, const char *path, StatusPrint *print) {
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 0, NULL, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if ((path ? api_get(cli, &json, &err, "%s", path) : api_databases(cli, &json, &err)) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    print(cli, json);
  return EXIT_DONE;
}

ExitCode command_databases(Cli *cli, int argc, char **argv) {
  return status_one(cli, argc, argv, NULL, status_databases);
}

ExitCode command_agents(Cli *cli, int argc, char **argv) {
  return status_one(cli, argc, argv, "/api/v1/agents", status_agents);
}

/* It may be meant so: a bucket's lifecycle rules do it as well. */
static void status_unpruned(Cli *cli) {
  Error ignored;
  CLEANUP(api_release) json_t *overview = NULL;
  if (api_get(cli, &overview, &ignored, "/api/v1/overview?limit=1") != STATUS_OK)
    return;
  int64_t count = api_integer(overview, "unpruned");
  if (count > 0)
    printf("\n%sNobody prunes%s %" PRId64
           " database%s whose policies say what is to be kept: no agent with the capability "
           "`prune` is there.\n",
           cli_style(cli->color_out, STYLE_WARN), cli_reset(cli->color_out), count, count == 1 ? "" : "s");
}

/* Those that do not meet an objective. */
static size_t status_missed(const Cli *cli, const json_t *json) {
  const json_t *database;
  size_t index, count = 0;
  json_array_foreach(json_object_get(json, "databases"), index, database) {
    CLEANUP(buffer_release) Buffer text = {0};
    count += !status_objectives(&text, cli, database);
  }
  return count;
}

ExitCode command_status(Cli *cli, int argc, char **argv) {
  bool check = false;
  const Option options[] = {
      {"check", OPTION_FLAG, &check, NULL, "exit with 1 if a database does not meet an objective of its policies"}};
  ExitCode code;
  if (!cli_parse(cli, options, 1, true, argc, argv, 0, 0, NULL, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *databases = NULL;
  CLEANUP(api_release) json_t *agents = NULL;
  Status status = api_databases(cli, &databases, &err);
  if (status == STATUS_OK)
    status = api_get(cli, &agents, &err, "/api/v1/agents");
  if (status == ERR_FORBIDDEN && databases) /* a pipeline's token: its databases are what there is for it */
    agents = json_pack("{s:n}", "agents");
  else if (status != STATUS_OK)
    return cli_fail(cli, &err);
  size_t missed = status_missed(cli, databases);
  ExitCode end = check && missed > 0 ? EXIT_FAILED : EXIT_DONE;
  if (cli->json) {
    CLEANUP(api_release)
    json_t *both = json_pack("{s:O, s:O}", "databases", json_object_get(databases, "databases"), "agents",
                             json_object_get(agents, "agents"));
    cli_print_json(both);
    return end;
  }
  printf("Coordinator %s\n\n", http_url(cli->http));
  status_databases(cli, databases);
  if (json_is_array(json_object_get(agents, "agents"))) {
    printf("\n");
    status_agents(cli, agents);
    status_unpruned(cli);
  }
  if (missed > 0)
    printf("\n%s%zu database%s not meet an objective of %s policies.%s\n", cli_style(cli->color_out, STYLE_WARN),
           missed, missed == 1 ? " does" : "s do", missed == 1 ? "its" : "their", cli_reset(cli->color_out));
  return end;
}
