/* pgseal agent invite, revoke. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/http.h"
#include "cli/secret.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void free_list(OptionList *list) {
  free(list->items);
}

static ExitCode hand_out(Cli *cli, const json_t *json, const char *name, const char *output) {
  CLEANUP_FREE char *what = memory_format("the invitation of agent '%s'", name);
  CLEANUP_FREE char *lost = memory_format(
      "Invite the agent again (`pgseal agent invite %s ...`): this invitation is worth nothing then.", name);
  bool shown = false;
  ExitCode code = secret_hand_out(cli, json, output, what, lost, &shown);
  if (shown) {
    cli_note(cli, "this is the only time it is shown. On the agent's machine, with this line in FILE:");
    cli_note(cli, "  pgseal-agent enroll --coordinator %s --token-file FILE --dir DIR", http_url(cli->http));
  }
  return code;
}

ExitCode command_agent_invite(Cli *cli, int argc, char **argv) {
  const char *name = NULL, *expires = "1h", *output = NULL;
  CLEANUP(free_list) OptionList capabilities = {0};
  CLEANUP(free_list) OptionList databases = {0};
  const Option options[] = {
      {"capability", OPTION_LIST, &capabilities, "dump|drill|restore|rehearse|prune|bare",
       "what it may do; may be repeated. bare: it drills, on a machine with nothing but the repository and one key "
       "(docs/rotation.md)"},
      {"databases", OPTION_LIST, &databases, "GLOB",
       "for which databases, e.g. 'prod-*'; may be repeated (default: *)"},
      {"expires", OPTION_TEXT, &expires, "TIME", "how long the invitation is good: 30m, 1h (default), 2d"},
      {"output", OPTION_TEXT, &output, "FILE", "write it there (mode 0600) instead of showing it"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &name, &code))
    return code;
  int64_t seconds = 0;
  if (capabilities.count == 0)
    return cli_usage(cli, "--capability is missing: dump, drill, restore, rehearse, prune, bare, or several of them");
  if (!text_duration(expires, &seconds) || seconds == 0)
    return cli_usage(cli, "--expires is a time such as 30m, 1h or 2d, not '%s'", expires);
  if (!text_name_valid(name))
    return cli_usage(cli, "an agent's name is 1 to 63 of a-z, 0-9, '.', '_' and '-'");
  if (output && file_exists(output)) /* before there is an invitation that would be lost */
    return cli_usage(cli, "%s exists already", output);
  Error err;
  CLEANUP(api_release)
  json_t *body =
      json_pack("{s:s, s:o, s:o, s:I}", "name", name, "capabilities", api_list(&capabilities), "databases",
                databases.count ? api_list(&databases) : json_pack("[s]", "*"), "expires_seconds", (json_int_t)seconds);
  CLEANUP(api_release) json_t *json = NULL;
  if (api_call(cli, "POST", "/api/v1/agents", body, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  return hand_out(cli, json, name, output);
}

ExitCode command_agent_revoke(Cli *cli, int argc, char **argv) {
  return secret_revoke(cli, argc, argv, "/api/v1/agents", "agent",
                       ": its session is ended, its jobs go to others, its keys are worth nothing");
}
