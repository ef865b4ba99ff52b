/* pgseal token create, list, rotate, revoke. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "cli/secret.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static const char *const token_roles[] = {"ci", "viewer", "operator", "admin"};

/* True: body has it, if it was given at all. */
static bool token_take_duration(json_t *body, const char *member, const char *text) {
  int64_t seconds = 0;
  if (!text)
    return true;
  if (!text_duration(text, &seconds))
    return false;
  json_object_set_new(body, member, json_integer(seconds));
  return true;
}

static ExitCode token_hand_out(Cli *cli, const json_t *json, const char *name, const char *output) {
  CLEANUP_FREE char *what = memory_format("token '%s'", name);
  CLEANUP_FREE char *lost =
      memory_format("The secret is lost: make another with `pgseal token rotate %s --overlap 0`.", name);
  bool shown = false;
  ExitCode code = secret_hand_out(cli, json, output, what, lost, &shown);
  if (shown)
    cli_note(cli, "this is the only time it is shown: the coordinator keeps its hash only");
  return code;
}

static bool token_role_valid(const char *role) {
  for (size_t i = 0; i < ARRAY_SIZE(token_roles); i++)
    if (strcmp(role, token_roles[i]) == 0)
      return true;
  return false;
}

ExitCode command_token_create(Cli *cli, int argc, char **argv) {
  const char *name = NULL, *role = "ci", *output = NULL, *expires = NULL;
  OptionList databases = {0};
  const Option options[] = {
      {"name", OPTION_TEXT, &name, "NAME", "who will use it, e.g. deploy-pipeline"},
      {"role", OPTION_TEXT, &role, "ROLE", "ci (default), viewer, operator or admin"},
      {"databases", OPTION_LIST, &databases, "GLOB", "only those that match (default: all); may be repeated"},
      {"expires", OPTION_TEXT, &expires, "TIME", "from now, such as 90d or 12h (default: never)"},
      {"output", OPTION_TEXT, &output, "FILE", "write it there (mode 0600) instead of showing it"},
  };
  ExitCode code;
  bool parsed = cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code);
  CLEANUP_FREE const char **globs = databases.items;
  if (!parsed)
    return code;
  if (!name)
    return cli_usage(cli, "--name is missing");
  if (!text_name_valid(name))
    return cli_usage(cli, "a token's name is 1 to 63 of a-z, 0-9, '.', '_' and '-'");
  if (!token_role_valid(role))
    return cli_usage(cli, "--role is ci, viewer, operator or admin");
  if (output && file_exists(output)) /* before there is a token that would be lost */
    return cli_usage(cli, "%s exists already", output);
  Error err;
  CLEANUP(api_release) json_t *body = json_pack("{s:s, s:s}", "name", name, "role", role);
  CLEANUP(api_release) json_t *json = NULL;
  if (databases.count > 0)
    json_object_set_new(body, "databases", api_list(&databases));
  if (!token_take_duration(body, "expires_in", expires))
    return cli_usage(cli, "--expires takes a time from now such as 90d, 12h or 30m, not '%s'", expires);
  if (api_call(cli, "POST", "/api/v1/tokens", body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  return token_hand_out(cli, json, name, output);
}

ExitCode command_token_rotate(Cli *cli, int argc, char **argv) {
  const char *name = NULL, *overlap = NULL, *expires = NULL, *output = NULL;
  const Option options[] = {
      {"overlap", OPTION_TEXT, &overlap, "TIME", "the old secret is valid for so long (default 1h; 0 ends it now)"},
      {"expires", OPTION_TEXT, &expires, "TIME", "of the new secret, from now (default: as long as the old one had)"},
      {"output", OPTION_TEXT, &output, "FILE", "write it there (mode 0600) instead of showing it"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &name, &code))
    return code;
  if (output && file_exists(output))
    return cli_usage(cli, "%s exists already", output);
  Error err;
  CLEANUP(api_release) json_t *body = json_object();
  CLEANUP(api_release) json_t *json = NULL;
  if (!token_take_duration(body, "overlap", overlap))
    return cli_usage(cli, "--overlap takes a time such as 1h or 30m, not '%s'", overlap);
  if (!token_take_duration(body, "expires_in", expires))
    return cli_usage(cli, "--expires takes a time from now such as 90d, 12h or 30m, not '%s'", expires);
  CLEANUP_FREE char *escaped = http_escape(name);
  CLEANUP_FREE char *path = memory_format("/api/v1/tokens/%s/rotate", escaped);
  if (api_call(cli, "POST", path, body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  return token_hand_out(cli, json, name, output);
}

static const char *token_state(const json_t *token) {
  const char *expires = api_text(token, "expires_at");
  if (*api_text(token, "revoked_at"))
    return "revoked";
  if (*expires && clock_parse(expires) <= clock_wall_us())
    return *api_text(token, "replaced_at") ? "replaced" : "expired";
  return *api_text(token, "replaced_at") ? "old secret" : "valid";
}

static void token_add_globs(Table *table, const json_t *databases) {
  CLEANUP(buffer_release) Buffer text = {0};
  size_t index;
  const json_t *glob;
  json_array_foreach(databases, index, glob) {
    buffer_append_format(&text, "%s%s", index ? " " : "", json_is_string(glob) ? json_string_value(glob) : "?");
  }
  table_add(table, "%s", text.size ? buffer_text(&text) : "-");
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
  static const char *const heading[] = {"NAME", "ROLE", "DATABASES", "CREATED", "EXPIRES", "LAST USED", "STATE"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  const json_t *tokens = json_object_get(json, "tokens"), *token;
  size_t index;
  char time[FORMAT_SIZE];
  json_array_foreach(tokens, index, token) {
    table_add(&table, "%s", api_text(token, "name"));
    table_add(&table, "%s", api_text(token, "role"));
    token_add_globs(&table, json_object_get(token, "databases"));
    table_add(&table, "%s", format_time(api_text(token, "created_at"), time));
    table_add(&table, "%s", format_time(api_text(token, "expires_at"), time));
    table_add(&table, "%s", format_age(api_text(token, "last_used_at"), time));
    table_add(&table, "%s", token_state(token));
  }
  table_print(&table, stdout, cli->color_out);
  return EXIT_DONE;
}

ExitCode command_token_revoke(Cli *cli, int argc, char **argv) {
  return secret_revoke(cli, argc, argv, "/api/v1/tokens", "token", "");
}
