/* pgseal agent invite, revoke. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* "45m", "1h", "2d", "90" or "90s": seconds; 0 if it is none of them. */
static int64_t duration(const char *text) {
  char *end = NULL;
  int64_t number = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
  static const struct {
    const char *unit;
    int64_t seconds;
  } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  for (size_t i = 0; end && number > 0 && number < 100000000 && i < ARRAY_SIZE(units); i++)
    if (strcmp(end, units[i].unit) == 0)
      return number * units[i].seconds;
  return 0;
}

static void free_list(OptionList *list) {
  free(list->items);
}

static json_t *list_json(const OptionList *list) {
  json_t *json = json_array();
  for (size_t i = 0; i < list->count; i++)
    json_array_append_new(json, json_string(list->items[i]));
  return json;
}

static ExitCode show_token(Cli *cli, const json_t *json, const char *name, const char *output) {
  const char *token = api_text(json, "token");
  Error err;
  if (output) {
    CLEANUP_FREE char *line = memory_format("%s\n", token);
    if (file_write_atomic(output, 0600, line, strlen(line), &err) != STATUS_OK) {
      error_remedy(
          &err, "Invite the agent again (`pgseal agent invite %s ...`): this invitation is worth nothing then.", name);
      return cli_fail(cli, &err);
    }
    cli_note(cli, "the invitation of agent '%s' is in %s", name, output);
  } else if (cli->json) {
    cli_print_json(json);
  } else {
    printf("%s\n", token);
    cli_note(cli, "this is the only time it is shown. On the agent's machine, with this line in FILE:");
    cli_note(cli, "  pgseal-agent enroll --coordinator %s --token-file FILE --dir DIR", http_url(cli->http));
  }
  return EXIT_DONE;
}

ExitCode command_agent_invite(Cli *cli, int argc, char **argv) {
  const char *name = NULL, *expires = "1h", *output = NULL;
  CLEANUP(free_list) OptionList capabilities = {0};
  CLEANUP(free_list) OptionList databases = {0};
  const Option options[] = {
      {"capability", OPTION_LIST, &capabilities, "dump|drill", "what it may do; may be repeated"},
      {"databases", OPTION_LIST, &databases, "GLOB",
       "for which databases, e.g. 'prod-*'; may be repeated (default: *)"},
      {"expires", OPTION_TEXT, &expires, "TIME", "how long the invitation is good: 30m, 1h (default), 2d"},
      {"output", OPTION_TEXT, &output, "FILE", "write it there (mode 0600) instead of showing it"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &name, &code))
    return code;
  int64_t seconds = duration(expires);
  if (capabilities.count == 0)
    return cli_usage(cli, "--capability is missing: dump, drill, or both");
  if (seconds == 0)
    return cli_usage(cli, "--expires is a time such as 30m, 1h or 2d, not '%s'", expires);
  if (!text_name_valid(name))
    return cli_usage(cli, "an agent's name is 1 to 63 of a-z, 0-9, '.', '_' and '-'");
  if (output && file_exists(output)) /* before there is an invitation that would be lost */
    return cli_usage(cli, "%s exists already", output);
  Error err;
  CLEANUP(api_release)
  json_t *body = json_pack("{s:s, s:o, s:o, s:I}", "name", name, "capabilities", list_json(&capabilities), "databases",
                           databases.count ? list_json(&databases) : json_pack("[s]", "*"), "expires_seconds",
                           (json_int_t)seconds);
  CLEANUP(api_release) json_t *json = NULL;
  if (api_call(cli, "POST", "/api/v1/agents", body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  return show_token(cli, json, name, output);
}

ExitCode command_agent_revoke(Cli *cli, int argc, char **argv) {
  const char *name = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &name, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP_FREE char *escaped = http_escape(name);
  CLEANUP_FREE char *path = memory_format("/api/v1/agents/%s", escaped);
  if (api_call(cli, "DELETE", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("agent '%s' is revoked: its session is ended, its jobs go to others, its keys are worth nothing\n", name);
  return EXIT_DONE;
}
