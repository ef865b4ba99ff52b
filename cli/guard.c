/* pgseal guard: a proven checkpoint, then the migration, then what the migration did. */
#include <string.h>

#include "cli/api.h"
#include "cli/command_run.h"
#include "cli/follow.h"
#include "cli/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

typedef struct Guard {
  const char *database, *tag, *on_damage;
  int threshold; /* percent; 0: the default */
  bool before, after;
  char *const *command; /* NULL: none */
} Guard;

/* checkpoint: its id, or a tag. */
static ExitCode compare(Cli *cli, const Guard *guard, const char *checkpoint, json_t **job) {
  Error err;
  CLEANUP(api_release)
  json_t *body =
      json_pack("{s:s, s:s, s:s}", "database", guard->database, "checkpoint", checkpoint, "purpose", "guard");
  if (!body)
    return cli_usage(cli, "a name is not text");
  if (guard->threshold > 0)
    json_object_set_new(body, "threshold_percent", json_integer(guard->threshold));
  follow_prepare(cli);
  if (recovery_run(cli, "/api/v1/plans", body, job, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  ExitCode code = recovery_end(cli, *job);
  if (code != EXIT_DONE)
    return code;
  code = recovery_verdict(cli, *job);
  if (cli->json)
    cli_print_json(*job);
  else if (code != EXIT_DONE)
    recovery_show_plan(stderr, cli->color_err, *job, strcmp(guard->on_damage, "rollback-plan") == 0);
  else
    cli_note(cli, "%s", api_text(json_object_get(*job, "report"), "advice"));
  return code == EXIT_DAMAGED && strcmp(guard->on_damage, "report") == 0 ? EXIT_DONE : code;
}

/* The command's own end counts unless something was lost, or nobody can say whether. */
static int run_and_compare(Cli *cli, const Guard *guard, const char *id) {
  Error err;
  int status = 0;
  CLEANUP(api_release) json_t *job = NULL;
  if (command_run(guard->command, &status, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (status != 0)
    cli_note(cli, "the command ended with exit status %d", status);
  ExitCode code = compare(cli, guard, id, &job);
  if (code != EXIT_DONE && code != EXIT_DAMAGED)
    cli_note(cli, "what the command did to %s is not known: `pgseal plan %s --checkpoint %s`", guard->database,
             guard->database, id);
  return code == EXIT_DAMAGED || status == 0 ? (int)code : status;
}

static int guard_run(Cli *cli, const Guard *guard) {
  CLEANUP_FREE char *id = NULL;
  CLEANUP(api_release) json_t *job = NULL;
  if (guard->after)
    return compare(cli, guard, guard->tag, &job);
  follow_prepare(cli);
  ExitCode code = recovery_checkpoint(cli, guard->database, guard->tag, &id); /* nothing is run unless it is sealed */
  if (code != EXIT_DONE) {
    if (guard->command)
      cli_note(cli, "%s was not run: there is no proven checkpoint", guard->command[0]);
    return code;
  }
  return guard->before ? EXIT_DONE : run_and_compare(cli, guard, id);
}

static ExitCode check(const Cli *cli, const Guard *guard) {
  static const char *const actions[] = {"report", "fail", "rollback-plan"};
  bool known = false;
  for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
    known |= strcmp(actions[i], guard->on_damage) == 0;
  if (!known)
    return cli_usage(cli, "--on-damage is report, fail or rollback-plan, not '%s'", guard->on_damage);
  if (guard->before + guard->after + (guard->command != NULL) != 1)
    return cli_usage(cli, "either a command after `--`, or --before, or --after");
  if ((guard->before || guard->after) && !guard->tag)
    return cli_usage(cli, "--tag is missing: with it --after finds what --before took");
  if (guard->tag && !text_tag_valid(guard->tag))
    return cli_usage(cli, "the tag must be 1 to 128 bytes of printable text");
  if (guard->threshold < 0 || guard->threshold > 100)
    return cli_usage(cli, "--threshold is a percentage, 1 to 100");
  return EXIT_DONE;
}

ExitCode command_guard(Cli *cli, int argc, char **argv) {
  Guard guard = {.on_damage = "fail"};
  const Option options[] = {
      {"tag", OPTION_TEXT, &guard.tag, "TAG", "of the checkpoint (default: guard-<time>)"},
      {"on-damage", OPTION_TEXT, &guard.on_damage, "WHAT",
       "fail: exit status 5 and the plan (default); rollback-plan: with all its SQL; report: the plan only"},
      {"threshold", OPTION_INTEGER, &guard.threshold, "PERCENT",
       "a table that lost more of its rows counts as damaged (default 5)"},
      {"before", OPTION_FLAG, &guard.before, NULL, "only the checkpoint: the migration runs elsewhere"},
      {"after", OPTION_FLAG, &guard.after, NULL, "only the comparison with the checkpoint of that tag"},
  };
  int own = 0;
  while (own < argc && strcmp(argv[own], "--") != 0)
    own++;
  guard.command = own + 1 < argc ? argv + own + 1 : NULL;
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, own, argv, 1, 1, &guard.database, &code))
    return code;
  code = check(cli, &guard);
  if (code != EXIT_DONE)
    return code;
  CLEANUP_FREE char *made = guard.tag ? NULL : recovery_tag("guard");
  if (!guard.tag)
    guard.tag = made;
  return (ExitCode)guard_run(cli, &guard); /* also a command's own status */
}
