/* pgseal checkpoint, drill, cancel: what asks for work. */
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { PATIENCE_SECONDS = 60 };
#define PATIENCE_HELP "how long the coordinator may be away meanwhile (default 60)"

ExitCode command_checkpoint(Cli *cli, int argc, char **argv) {
  const char *database = NULL, *tag = NULL, *key = NULL;
  bool no_wait = false;
  int patience = PATIENCE_SECONDS;
  const Option options[] = {
      {"tag", OPTION_TEXT, &tag, "TAG", "what it is called, e.g. pre-deploy-4f3a9c1"},
      {"no-wait", OPTION_FLAG, &no_wait, NULL, "ask, print the id, and do not wait for the end"},
      {"idempotency-key", OPTION_TEXT, &key, "KEY",
       "a repeated request with the same key joins the first (default: random)"},
      {"patience", OPTION_INTEGER, &patience, "SECONDS", PATIENCE_HELP},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &database, &code))
    return code;
  if (!tag)
    return cli_usage(cli, "--tag is missing: it is what you will look for when you need this checkpoint");
  if (!text_tag_valid(tag))
    return cli_usage(cli, "the tag must be 1 to 128 bytes of printable text");
  if (key && strpbrk(key, "\r\n"))
    return cli_usage(cli, "the idempotency key holds a line break");
  Id id = id_new();
  Error err;
  CLEANUP(api_release) json_t *body = json_pack("{s:s, s:s, s:b}", "database", database, "tag", tag, "wait", 0);
  CLEANUP(api_release) json_t *json = NULL;
  if (!body)
    return cli_usage(cli, "the database's name is not text");
  follow_prepare(cli);
  Status status = follow_request(cli, patience, "POST", "/api/v1/checkpoints", body, key ? key : id.text, &json, &err);
  if (status == ERR_CANCELED)
    error_remedy(&err, "The request may have been made: look with `pgseal ledger --database %s`.", database);
  if (status != STATUS_OK) {
    api_suggest_database(cli, database, &err);
    return cli_fail(cli, &err);
  }
  if (no_wait) {
    if (cli->json)
      cli_print_json(json);
    else
      printf("%s\n", api_text(json, "id"));
    return EXIT_DONE;
  }
  Follow follow = {.id = api_text(json, "id"), .patience_seconds = patience};
  return follow_run(cli, &follow);
}

ExitCode command_drill(Cli *cli, int argc, char **argv) {
  const char *which = NULL, *database = NULL;
  bool no_wait = false;
  int patience = PATIENCE_SECONDS;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "whose tag it is, where several databases have it"},
      {"no-wait", OPTION_FLAG, &no_wait, NULL, "ask, print the drill's id, and do not wait for the end"},
      {"patience", OPTION_INTEGER, &patience, "SECONDS", PATIENCE_HELP},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &which, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *checkpoint = NULL;
  CLEANUP(api_release) json_t *json = NULL;
  if (api_checkpoint(cli, which, database, &checkpoint, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  follow_prepare(cli);
  CLEANUP_FREE char *path = memory_format("/api/v1/checkpoints/%s/drills", api_text(checkpoint, "id"));
  if (api_call(cli, "POST", path, NULL, NULL, &json, &err) != STATUS_OK) /* once: it may not be repeated blindly */
    return cli_fail(cli, &err);
  if (no_wait) {
    if (cli->json)
      cli_print_json(json);
    else
      printf("%s\n", api_text(json, "drill_id"));
    return EXIT_DONE;
  }
  http_watch_signals(cli->http);
  Follow follow = {
      .id = api_text(checkpoint, "id"), .drill_id = api_text(json, "drill_id"), .patience_seconds = patience};
  return follow_run(cli, &follow);
}

/* A checkpoint that is sealed stays sealed: what ends is the drill that runs anew. */
static void tell_canceled(const json_t *checkpoint, const json_t *after) {
  bool drill = strcmp(api_text(after, "state"), "sealed") == 0;
  printf("the %s of %s, tag %s (%s), is being canceled%s\n", drill ? "drill" : "checkpoint",
         api_text(checkpoint, "database"), api_text(checkpoint, "tag"), api_text(checkpoint, "id"),
         drill ? "; the checkpoint stays sealed" : "");
}

ExitCode command_cancel(Cli *cli, int argc, char **argv) {
  const char *which = NULL, *database = NULL;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "whose tag it is, where several databases have it"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &which, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *checkpoint = NULL;
  CLEANUP(api_release) json_t *json = NULL;
  if (api_checkpoint(cli, which, database, &checkpoint, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  CLEANUP_FREE char *path = memory_format("/api/v1/checkpoints/%s/cancel", api_text(checkpoint, "id"));
  if (api_call(cli, "POST", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    tell_canceled(checkpoint, json);
  return EXIT_DONE;
}
