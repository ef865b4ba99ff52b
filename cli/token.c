/* pgseal token create, list, revoke. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

ExitCode command_token_create(Cli *cli, int argc, char **argv) {
  const char *name = NULL, *role = "ci", *output = NULL;
  const Option options[] = {
      {"name", OPTION_TEXT, &name, "NAME", "who will use it, e.g. deploy-pipeline"},
      {"role", OPTION_TEXT, &role, "ROLE", "ci (default): take and look at checkpoints; admin: everything"},
      {"output", OPTION_TEXT, &output, "FILE", "write it there (mode 0600) instead of showing it"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (!name)
    return cli_usage(cli, "--name is missing");
  if (!text_name_valid(name))
    return cli_usage(cli, "a token's name is 1 to 63 of a-z, 0-9, '.', '_' and '-'");
  if (strcmp(role, "ci") != 0 && strcmp(role, "admin") != 0)
    return cli_usage(cli, "--role is ci or admin");
  if (output && file_exists(output)) /* before there is a token that would be lost */
    return cli_usage(cli, "%s exists already", output);
  Error err;
  CLEANUP(api_release) json_t *body = json_pack("{s:s, s:s}", "name", name, "role", role);
  CLEANUP(api_release) json_t *json = NULL;
  if (api_call(cli, "POST", "/api/v1/tokens", body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  const char *token = api_text(json, "token");
  if (output) {
    CLEANUP_FREE char *line = memory_format("%s\n", token);
    if (file_write_atomic(output, 0600, line, strlen(line), &err) != STATUS_OK) {
      error_remedy(&err, "Revoke the token (`pgseal token revoke %s`) and make another.", name);
      return cli_fail(cli, &err);
    }
    cli_note(cli, "token '%s' is in %s", name, output);
  } else if (cli->json) {
    cli_print_json(json);
  } else {
    printf("%s\n", token);
    cli_note(cli, "this is the only time it is shown: the coordinator keeps its hash only");
  }
  return EXIT_DONE;
}

ExitCode command_token_list(Cli *cli, int argc, char **argv) {
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 0, NULL, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (api_get(cli, &json, &err, "/api/v1/tokens") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  CLEANUP(table_release) Table table = {.columns = 5};
  static const char *const heading[] = {"NAME", "ROLE", "CREATED", "LAST USED", "STATE"};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  const json_t *tokens = json_object_get(json, "tokens"), *token;
  size_t index;
  char created[FORMAT_SIZE], used[FORMAT_SIZE];
  json_array_foreach(tokens, index, token) {
    table_add(&table, "%s", api_text(token, "name"));
    table_add(&table, "%s", api_text(token, "role"));
    table_add(&table, "%s", format_time(api_text(token, "created_at"), created));
    table_add(&table, "%s", format_age(api_text(token, "last_used_at"), used));
    table_add(&table, "%s", *api_text(token, "revoked_at") ? "revoked" : "valid");
  }
  table_print(&table, stdout, cli->color_out);
  return EXIT_DONE;
}

ExitCode command_token_revoke(Cli *cli, int argc, char **argv) {
  const char *name = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &name, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP_FREE char *escaped = http_escape(name);
  CLEANUP_FREE char *path = memory_format("/api/v1/tokens/%s", escaped);
  if (api_call(cli, "DELETE", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("token '%s' is revoked\n", name);
  return EXIT_DONE;
}
