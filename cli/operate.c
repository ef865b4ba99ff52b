/* pgseal drain, undrain, cordon, uncordon, pause, resume, holds. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* path: with a %s for the name, if it takes one. said: what is so then, after the name. */
typedef struct Act {
  const char *kind, *action, *said;
  bool named, on;
} Act;

static ExitCode act(Cli *cli, int argc, char **argv, const Act *what) {
  const char *name = NULL, *reason = NULL;
  const Option options[] = {{"reason", OPTION_TEXT, &reason, "TEXT", "why, for whoever wants to know"}};
  ExitCode code;
  int places = what->named ? 1 : 0;
  if (!cli_parse(cli, options, what->on ? 1 : 0, true, argc, argv, places, places, &name, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *body = reason ? json_pack("{s:s}", "reason", reason) : NULL;
  CLEANUP_FREE char *escaped = http_escape(name ? name : "");
  CLEANUP_FREE char *path =
      memory_format("/api/v1/%s%s%s/%s", what->kind, what->named ? "/" : "", escaped, what->action);
  Status status = api_call(cli, "POST", path, body, NULL, &json, &err);
  if (status == ERR_NOT_FOUND && strcmp(what->kind, "databases") == 0)
    api_suggest_database(cli, name, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("%s %s\n", name ? name : "the fleet", what->said);
  return EXIT_DONE;
}

ExitCode command_drain(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv,
             &(Act){"agents", "drain", "is drained: it gets no more jobs, and ends what it has", true, true});
}

ExitCode command_undrain(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv, &(Act){"agents", "undrain", "gets jobs again", true, false});
}

ExitCode command_cordon(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv,
             &(Act){"databases", "cordon", "is cordoned: nothing of it is dumped or pruned", true, true});
}

ExitCode command_uncordon(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv, &(Act){"databases", "uncordon", "is not cordoned any more", true, false});
}

ExitCode command_pause(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv,
             &(Act){"fleet", "pause", "is paused: no dump, drill or prune begins; what runs goes on", false, true});
}

ExitCode command_resume(Cli *cli, int argc, char **argv) {
  return act(cli, argc, argv, &(Act){"fleet", "resume", "goes on", false, false});
}

ExitCode command_holds(Cli *cli, int argc, char **argv) {
  static const char *const heading[] = {"WHAT", "NAME", "SINCE", "BY", "REASON"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  CLEANUP(api_release) json_t *json = NULL;
  ExitCode code;
  Error err;
  char age[FORMAT_SIZE];
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (api_get(cli, &json, &err, "/api/v1/holds") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  const json_t *list = json_object_get(json, "holds"), *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, item) {
    const char *what = api_text(item, "what");
    table_add(&table, "%s",
              strcmp(what, "agent") == 0      ? "drained agent"
              : strcmp(what, "database") == 0 ? "cordoned database"
                                              : "paused fleet");
    table_add(&table, "%s", *api_text(item, "name") ? api_text(item, "name") : "-");
    table_add(&table, "%s", format_age(api_text(item, "since"), age));
    table_add(&table, "%s", *api_text(item, "by") ? api_text(item, "by") : "-");
    table_add(&table, "%s", api_text(item, "reason"));
  }
  if (json_array_size(list) == 0)
    printf("Nothing is held back.\n");
  else
    table_print(&table, stdout, cli->color_out);
  return EXIT_DONE;
}
