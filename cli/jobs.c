/* pgseal jobs, job show, job cancel, job approve: plans and restores by their own names. */
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/http.h"
#include "cli/recovery.h"
#include "cli/rehearse.h"
#include "cli/restore.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"

static void print_list(const Cli *cli, const json_t *json) {
  static const char *const heading[] = {"JOB", "KIND", "DATABASE", "STATE", "BY", "ASKED", "CHECKPOINT"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *list = json_object_get(json, "jobs"), *job;
  size_t index;
  char age[FORMAT_SIZE];
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, job) {
    bool waits = strcmp(api_text(job, "approval"), "needed") == 0 && strcmp(api_text(job, "state"), "queued") == 0;
    table_add(&table, "%s", api_text(job, "id"));
    table_add(&table, "%s", api_text(job, "kind"));
    table_add(&table, "%s", api_text(job, "database"));
    table_add(&table, "%s", waits ? "needs approval" : format_job_state(api_text(job, "state")));
    table_add(&table, "%s", *api_text(job, "requested_by") ? api_text(job, "requested_by") : "-");
    table_add(&table, "%s", format_age(api_text(job, "created_at"), age));
    table_add(&table, "%s", api_text(job, "checkpoint"));
  }
  if (json_array_size(list) == 0)
    printf("No jobs.\n");
  else
    table_print(&table, stdout, cli->color_out);
}

ExitCode command_jobs(Cli *cli, int argc, char **argv) {
  const char *database = NULL, *kind = NULL;
  int limit = 20;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "of this database only"},
      {"kind", OPTION_TEXT, &kind, "KIND", "plan, restore, rehearse, dump, drill, prune, inventory, trial"},
      {"limit", OPTION_INTEGER, &limit, "N", "the newest N (default 20)"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP_FREE char *escaped = http_escape(database ? database : "");
  CLEANUP_FREE char *escaped_kind = http_escape(kind ? kind : "");
  if (api_get(cli, &json, &err, "/api/v1/jobs?limit=%d%s%s%s%s", limit, database ? "&database=" : "", escaped,
              kind ? "&kind=" : "", escaped_kind) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    print_list(cli, json);
  return EXIT_DONE;
}

/* action: what follows the job's path; NULL: it is only looked at. */
static ExitCode call(Cli *cli, int argc, char **argv, const char *action, json_t **job) {
  const char *id = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &id, &code))
    return code;
  if (!id_valid(id))
    return cli_usage(cli, "'%s' is no job's id; `pgseal jobs` lists them", id);
  Error err;
  CLEANUP_FREE char *path = memory_format("/api/v1/jobs/%s%s%s", id, action ? "/" : "", action ? action : "");
  if (api_call(cli, action ? "POST" : "GET", path, NULL, NULL, job, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(*job);
  return EXIT_DONE;
}

static ExitCode act(Cli *cli, int argc, char **argv, const char *action, const char *done) {
  CLEANUP(api_release) json_t *job = NULL;
  ExitCode code = call(cli, argc, argv, action, &job);
  if (job && !cli->json)
    printf("the %s of %s (%s) %s\n", api_text(job, "kind"), api_text(job, "database"), api_text(job, "id"), done);
  return code;
}

ExitCode command_job_cancel(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv, "cancel", "is being canceled");
}

ExitCode command_job_approve(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv, "approve", "is approved");
}

ExitCode command_job_show(Cli *cli, int argc, char **argv) {
  CLEANUP(api_release) json_t *job = NULL;
  ExitCode code = call(cli, argc, argv, NULL, &job);
  if (!job || cli->json)
    return code;
  const char *kind = api_text(job, "kind"), *state = api_text(job, "state"), *by = api_text(job, "requested_by");
  char time[FORMAT_SIZE];
  printf("%s of %s, %s, asked for by %s at %s\n", kind, api_text(job, "database"), format_job_state(state),
         *by ? by : "pgseal", format_time(api_text(job, "created_at"), time));
  if (strcmp(state, "queued") == 0 && strcmp(api_text(job, "approval"), "needed") == 0)
    printf("  waits for a second person: pgseal job approve %s\n", api_text(job, "id"));
  if (*api_text(job, "approved_by"))
    printf("  approved by %s\n", api_text(job, "approved_by"));
  fflush(stdout);
  follow_tell_error(cli, json_object_get(job, "error"));
  bool done = strcmp(state, "done") == 0 && json_is_object(json_object_get(job, "report"));
  if (done && strcmp(kind, "plan") == 0)
    recovery_show_plan(stdout, cli->color_out, job, true);
  else if (done && strcmp(kind, "restore") == 0)
    restore_show(stdout, cli->color_out, job, NULL);
  else if (json_is_object(json_object_get(job, "report")) && strcmp(kind, "rehearse") == 0)
    rehearse_show(stdout, cli->color_out, job);
  return code;
}
