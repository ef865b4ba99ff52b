/* pgseal plan: what of a checkpoint is missing or changed in the live database, and the ways back. */
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/recovery.h"
#include "common/base/cleanup.h"

static void add_names(json_t *body, const char *member, const OptionList *list) {
  if (list->count > 0)
    json_object_set_new(body, member, api_list(list));
}

static void free_list(OptionList *list) {
  free(list->items);
}

ExitCode command_plan(Cli *cli, int argc, char **argv) {
  const char *database = NULL, *checkpoint = NULL;
  CLEANUP(free_list) OptionList tables = {0};
  CLEANUP(free_list) OptionList digests = {0};
  CLEANUP(free_list) OptionList rows = {0};
  const Option options[] = {
      {"checkpoint", OPTION_TEXT, &checkpoint, "ID|TAG", "which one (default: the newest that is sealed)"},
      {"table", OPTION_LIST, &tables, "PATTERN", "only these tables, such as orders or 'audit.*'; may be repeated"},
      {"digest", OPTION_LIST, &digests, "PATTERN", "compare the content of these tables, too: reads all their rows"},
      {"rows", OPTION_LIST, &rows, "PATTERN",
       "compare these row by row, by primary key: which are missing, changed, new"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &database, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *body = json_pack("{s:s}", "database", database);
  CLEANUP(api_release) json_t *job = NULL;
  if (!body)
    return cli_usage(cli, "the database's name is not text");
  if (checkpoint)
    json_object_set_new(body, "checkpoint", json_string(checkpoint));
  add_names(body, "tables", &tables);
  add_names(body, "digests", &digests);
  add_names(body, "rows", &rows);
  follow_prepare(cli);
  if (recovery_run(cli, "/api/v1/plans", body, &job, &err) != STATUS_OK) {
    api_suggest_database(cli, database, &err);
    return cli_fail(cli, &err);
  }
  code = recovery_end(cli, job);
  if (cli->json)
    cli_print_json(job);
  else if (code == EXIT_DONE)
    recovery_show_plan(stdout, cli->color_out, job, true);
  return code == EXIT_DONE ? recovery_verdict(cli, job) : code;
}
