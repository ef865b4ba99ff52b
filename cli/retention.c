/* pgseal retention, prune, pin, unpin: what is kept of a database, and why; and that the rest goes. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* "daily, monthly"; "-" if there is none. */
static void join_rules(Buffer *out, const json_t *item) {
  const json_t *list = json_object_get(item, "rules"), *rule;
  size_t index;
  json_array_foreach(list, index, rule) {
    buffer_append_format(out, "%s%s", index ? ", " : "", json_string_value(rule) ? json_string_value(rule) : "");
  }
  if (json_array_size(list) == 0)
    buffer_append_text(out, "-");
}

static void add_row(Table *table, const Cli *cli, const json_t *item) {
  char age[FORMAT_SIZE], size[TEXT_SIZE_SIZE];
  const char *fate = api_text(item, "fate"), *until = api_text(item, "locked_until");
  CLEANUP(buffer_release) Buffer why = {0};
  bool goes = strcmp(fate, "keep") != 0;
  join_rules(&why, item);
  table_add(table, "%s", api_text(item, "id"));
  table_add(table, "%s", api_text(item, "tag"));
  table_add(table, "%s", api_text(item, "state"));
  table_add(table, "%s", format_age(api_text(item, "created_at"), age));
  table_add(table, "%s", text_size(api_integer(item, "size_bytes"), size));
  table_add(table, "%s%s%s", cli_style(cli->color_out, goes ? STYLE_WARN : STYLE_GOOD), fate,
            cli_reset(cli->color_out));
  table_add(table, "%s%s%s%s", buffer_text(&why), *until ? "; locked until " : "", until,
            api_true(item, "lost_attempts") ? "; its lost attempts go" : "");
}

static void print_view(const Cli *cli, const json_t *json) {
  static const char *const heading[] = {"CHECKPOINT", "TAG", "STATE", "TAKEN", "SIZE", "", "BECAUSE OF"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *list = json_object_get(json, "checkpoints"), *item;
  size_t index, going = 0;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, item) {
    going += strcmp(api_text(item, "fate"), "prune") == 0 || api_true(item, "lost_attempts");
    add_row(&table, cli, item);
  }
  if (json_array_size(list) == 0)
    printf("Nothing of %s is in the repository.\n", api_text(json, "database"));
  else
    table_print(&table, stdout, cli->color_out);
  fflush(stdout);
  if (!json_is_object(json_object_get(json, "policy")))
    cli_note(cli, "No policy says what is kept of %s: all of it is.", api_text(json, "database"));
  else if (!api_true(json, "prune_agent") && going > 0)
    cli_note(cli, "No agent that prunes %s is there: nothing goes until one is, or the bucket's lifecycle rules do it.",
             api_text(json, "database"));
}

static ExitCode finish(const Cli *cli, const json_t *json) {
  if (cli->json)
    cli_print_json(json);
  else
    print_view(cli, json);
  return EXIT_DONE;
}

static Status look(Cli *cli, const char *database, json_t **json, Error *err) {
  CLEANUP_FREE char *name = http_escape(database);
  Status status = api_get(cli, json, err, "/api/v1/databases/%s/retention", name);
  if (status == ERR_NOT_FOUND)
    api_suggest_database(cli, database, err);
  return status;
}

ExitCode command_retention(Cli *cli, int argc, char **argv) {
  const char *database = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &database, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  return look(cli, database, &json, &err) == STATUS_OK ? finish(cli, json) : cli_fail(cli, &err);
}

ExitCode command_prune(Cli *cli, int argc, char **argv) {
  const char *database = NULL;
  bool dry_run = false;
  const Option options[] = {{"dry-run", OPTION_FLAG, &dry_run, NULL, "only say what would go"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &database, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (dry_run)
    return look(cli, database, &json, &err) == STATUS_OK ? finish(cli, json) : cli_fail(cli, &err);
  CLEANUP_FREE char *name = http_escape(database);
  CLEANUP_FREE char *path = memory_format("/api/v1/databases/%s/prune", name);
  if (api_call(cli, "POST", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  code = finish(cli, json);
  if (!cli->json)
    printf("%lld to go now\n", (long long)api_integer(json, "marked"));
  return code;
}

static ExitCode pin(Cli *cli, int argc, char **argv, bool wanted) {
  const char *name = NULL, *database = NULL, *reason = NULL;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "whose tag it is, where several databases have it"},
      {"reason", OPTION_TEXT, &reason, "TEXT", "why, for whoever wants to know later"}};
  ExitCode code;
  if (!cli_parse(cli, options, wanted ? 2 : 1, true, argc, argv, 1, 1, &name, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *found = NULL;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *body = reason ? json_pack("{s:s}", "reason", reason) : NULL;
  if (api_checkpoint(cli, name, database, &found, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  CLEANUP_FREE char *path = memory_format("/api/v1/checkpoints/%s/%s", api_text(found, "id"), wanted ? "pin" : "unpin");
  if (api_call(cli, "POST", path, body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("%s of %s (%s) is %s\n", api_text(json, "tag"), api_text(json, "database"), api_text(json, "id"),
           wanted ? "pinned: it is kept until it is unpinned" : "not pinned any more");
  return EXIT_DONE;
}

ExitCode command_pin(Cli *cli, int argc, char **argv) {
  return pin(cli, argc, argv, true);
}

ExitCode command_unpin(Cli *cli, int argc, char **argv) {
  return pin(cli, argc, argv, false);
}
