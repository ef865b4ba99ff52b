/* pgseal rehearse: a migration is run on a drilled copy first. */
#include "cli/rehearse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"

enum { SQL_LIMIT = 900 << 10, UNSET = -1 };

typedef struct Wish {
  const char *database, *checkpoint, *tag, *shell, *secret_file, *summary, *role;
  int keep_seconds, lock_seconds, slow_seconds, rewrite_mb, threshold; /* UNSET: the default */
  bool fresh, new_secret;
  OptionList sql, digests, rows, allow;
  char *const *command; /* NULL: none */
} Wish;

static void free_lists(Wish *wish) {
  free(wish->sql.items);
  free(wish->digests.items);
  free(wish->rows.items);
  free(wish->allow.items);
}

/* ---- the request ---- */

static Status load_secret(const Wish *wish, RehearsalSecret **out, Error *err) {
  const char *text = getenv("PGSEAL_REHEARSE_SECRET"), *file = getenv("PGSEAL_REHEARSE_SECRET_FILE");
  if (!wish->secret_file && text && *text) {
    Status status = rehearsal_secret_parse(text, out, err);
    return status == STATUS_OK ? status : error_prefix(err, "PGSEAL_REHEARSE_SECRET");
  }
  file = wish->secret_file ? wish->secret_file : file;
  if (file && *file)
    return rehearsal_secret_load(file, out, err);
  error_set(err, ERR_INVALID_ARGUMENT, "the secret that agent and client share is missing");
  error_remedy(err, "PGSEAL_REHEARSE_SECRET holds it, or the file that --secret-file or PGSEAL_REHEARSE_SECRET_FILE "
                    "names; the agent's is in `rehearse.secret_file` of its agent.yaml.");
  return ERR_INVALID_ARGUMENT;
}

static Status add_files(json_t *body, const OptionList *files, Error *err) {
  json_t *list = json_array();
  size_t total = 0;
  json_object_set_new(body, "sql", list);
  for (size_t i = 0; i < files->count; i++) {
    CLEANUP(buffer_release) Buffer text = {0};
    Status status = file_read(files->items[i], SQL_LIMIT, &text, err);
    if (status != STATUS_OK)
      return status;
    total += text.size;
    json_t *file = json_pack("{s:s, s:s%}", "name", files->items[i], "text", buffer_text(&text), text.size);
    if (!file || memchr(buffer_text(&text), 0, text.size))
      return error_set(err, ERR_INVALID_ARGUMENT, "%s is not text in UTF-8", files->items[i]);
    json_array_append_new(list, file);
  }
  if (total <= SQL_LIMIT)
    return STATUS_OK;
  error_set(err, ERR_INVALID_ARGUMENT, "the files are %zu KiB; %d KiB may be sent", total >> 10, SQL_LIMIT >> 10);
  error_remedy(err, "Run what is larger with a command: --command 'psql -f FILE'.");
  return ERR_INVALID_ARGUMENT;
}

static void add_number(json_t *body, const char *member, int value) {
  if (value != UNSET)
    json_object_set_new(body, member, json_integer(value));
}

static void add_names(json_t *body, const char *member, const OptionList *list) {
  if (list->count > 0)
    json_object_set_new(body, member, api_list(list));
}

/* Signed, with all it says. checkpoint: or NULL. */
static Status make_body(const Wish *wish, const char *checkpoint, const RehearsalSecret *secret, json_t **out,
                        Error *err) {
  CLEANUP(api_release)
  json_t *body = json_pack("{s:s, s:s, s:I}", "database", wish->database, "nonce", id_new().text, "time",
                           (json_int_t)(clock_wall_us() / 1000000));
  if (!body)
    return error_set(err, ERR_INVALID_ARGUMENT, "the database's name is not text");
  if (checkpoint)
    json_object_set_new(body, "checkpoint", json_string(checkpoint));
  Status status = STATUS_OK;
  if (wish->sql.count > 0)
    status = add_files(body, &wish->sql, err);
  else
    json_object_set_new(body, "tunnel", json_true());
  add_number(body, "keep_seconds", wish->keep_seconds);
  add_number(body, "lock_seconds", wish->lock_seconds);
  add_number(body, "slow_seconds", wish->slow_seconds);
  if (wish->role)
    json_object_set_new(body, "role", json_string(wish->role));
  add_number(body, "rewrite_mb", wish->rewrite_mb);
  add_number(body, "threshold_percent", wish->threshold);
  add_names(body, "digests", &wish->digests);
  add_names(body, "rows", &wish->rows);
  add_names(body, "allow", &wish->allow);
  if (status != STATUS_OK)
    return status;
  char mac[REHEARSAL_MAC_SIZE];
  rehearsal_request_mac(secret, body, mac);
  json_object_set_new(body, "mac", json_string(mac));
  *out = json_incref(body);
  return STATUS_OK;
}

/* ---- what came of it ---- */

static ExitCode verdict_code(const Cli *cli, const json_t *report) {
  const char *verdict = api_text(report, "verdict");
  if (strcmp(verdict, "clean") == 0)
    return EXIT_DONE;
  if (strcmp(verdict, "dangerous") == 0)
    return EXIT_DAMAGED;
  if (strcmp(verdict, "failed") == 0)
    return EXIT_FAILED;
  cli_note(cli, "the report does not say what came of it");
  return EXIT_ERRORED;
}

static ExitCode write_summary(Cli *cli, const char *path, const json_t *job) {
  FILE *out = fopen(path, "a");
  if (out)
    rehearse_summary(out, job);
  if (out && fclose(out) == 0)
    return EXIT_DONE;
  Error err;
  error_set_errno(&err, errno, "cannot write %s", path);
  return cli_fail(cli, &err);
}

/* A report that only whoever has the secret can have made, for this very request; or none of a rehearsal that is not
 * done. */
static Status believe(const RehearsalSecret *secret, const json_t *body, const json_t *job, Error *err) {
  const json_t *report = json_object_get(job, "report");
  if (!json_is_object(report) && strcmp(api_text(job, "state"), "done") != 0)
    return STATUS_OK;
  return rehearsal_report_check(secret, api_text(body, "nonce"), report, err);
}

static ExitCode tell(Cli *cli, const Wish *wish, const json_t *job) {
  const json_t *report = json_object_get(job, "report");
  ExitCode code = json_is_object(report) ? verdict_code(cli, report) : recovery_end(cli, job);
  if (cli->json)
    cli_print_json(job);
  else if (json_is_object(report))
    rehearse_show(stdout, cli->color_out, job);
  if (json_is_object(report) && strcmp(api_text(job, "state"), "done") != 0)
    code = recovery_end(cli, job); /* broken off: the report has what was seen until then */
  if (wish->summary && json_is_object(report) && write_summary(cli, wish->summary, job) != EXIT_DONE)
    return EXIT_ERRORED;
  return code;
}

static Status run(Cli *cli, const Wish *wish, const json_t *body, const RehearsalSecret *secret, json_t **job,
                  int *exit_status, Error *err) {
  char *const shell[] = {(char *)"/bin/sh", (char *)"-c", (char *)wish->shell, NULL};
  CLEANUP_FREE char *job_path = NULL;
  Status status = recovery_ask(cli, "/api/v1/rehearsals", body, &job_path, err);
  if (status != STATUS_OK)
    return status;
  if (wish->sql.count > 0)
    return recovery_wait(cli, job_path, NULL, job, err);
  return rehearse_command(cli, job_path, secret, wish->shell ? shell : wish->command, exit_status, job, err);
}

static ExitCode rehearse(Cli *cli, const Wish *wish, const RehearsalSecret *secret) {
  Error err;
  CLEANUP_FREE char *fresh = NULL;
  CLEANUP(api_release) json_t *body = NULL;
  CLEANUP(api_release) json_t *job = NULL;
  follow_prepare(cli);
  if (wish->fresh) {
    CLEANUP_FREE char *tag = wish->tag ? memory_strdup(wish->tag) : recovery_tag("rehearse");
    ExitCode code = recovery_checkpoint(cli, wish->database, tag, &fresh);
    if (code != EXIT_DONE)
      return code;
  }
  if (make_body(wish, fresh ? fresh : wish->checkpoint, secret, &body, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  int exit_status = 0;
  if (run(cli, wish, body, secret, &job, &exit_status, &err) != STATUS_OK) {
    api_suggest_database(cli, wish->database, &err);
    return cli_fail(cli, &err);
  }
  if (believe(secret, body, job, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  ExitCode code = tell(cli, wish, job);
  return code == EXIT_DONE && exit_status != 0 ? EXIT_FAILED : code;
}

/* ---- the command line ---- */

static ExitCode check(const Cli *cli, const Wish *wish) {
  if (!wish->database)
    return cli_usage(cli, "the database is missing");
  if ((wish->sql.count > 0) + (wish->shell != NULL) + (wish->command != NULL) != 1)
    return cli_usage(cli, "either --sql, or --command, or a command after `--`");
  if (wish->tag && !wish->fresh)
    return cli_usage(cli, "--tag goes with --fresh; an existing checkpoint is named by --checkpoint");
  if (wish->fresh && wish->checkpoint)
    return cli_usage(cli, "either --fresh or --checkpoint");
  return EXIT_DONE;
}

static ExitCode print_new_secret(void) {
  CLEANUP(secret_text_free) char *secret = rehearsal_secret_generate();
  printf("%s\n", secret);
  return EXIT_DONE;
}

static bool parse(Cli *cli, Wish *wish, int argc, char **argv, ExitCode *code) {
  const Option options[] = {
      {"sql", OPTION_LIST, &wish->sql, "FILE", "a file of the migration; may be repeated, in the order of the run"},
      {"command", OPTION_TEXT, &wish->shell, "COMMAND", "the migration as a command for sh, run here"},
      {"checkpoint", OPTION_TEXT, &wish->checkpoint, "ID|TAG", "a copy of this one (default: the newest sealed)"},
      {"fresh", OPTION_FLAG, &wish->fresh, NULL, "take a checkpoint first, and use that"},
      {"tag", OPTION_TEXT, &wish->tag, "TAG", "of the checkpoint that --fresh takes (default: rehearse-<time>)"},
      {"allow", OPTION_LIST, &wish->allow, "KIND",
       "findings of this kind are no danger, such as lock; may be repeated"},
      {"lock-seconds", OPTION_INTEGER, &wish->lock_seconds, "N",
       "a lock that stops writers is a danger if it is held for longer (default 5)"},
      {"slow-seconds", OPTION_INTEGER, &wish->slow_seconds, "N", "statements that take longer are told (default 60)"},
      {"rewrite-mb", OPTION_INTEGER, &wish->rewrite_mb, "N",
       "a table that is rewritten is a danger if it is larger (default 100)"},
      {"threshold", OPTION_INTEGER, &wish->threshold, "PERCENT",
       "a table that loses more of its rows is a danger (default 5)"},
      {"digest", OPTION_LIST, &wish->digests, "PATTERN", "compare the content of these tables, too"},
      {"rows", OPTION_LIST, &wish->rows, "PATTERN", "compare these row by row, by primary key"},
      {"role", OPTION_TEXT, &wish->role, "ROLE", "run the migration as this one (default: a superuser of the copy)"},
      {"keep", OPTION_INTEGER, &wish->keep_seconds, "SECONDS", "how long the copy is kept for the migration at most"},
      {"summary", OPTION_TEXT, &wish->summary, "FILE", "append the findings to it, in Markdown"},
      {"secret-file", OPTION_TEXT, &wish->secret_file, "FILE", "the secret that agent and client share"},
      {"new-secret", OPTION_FLAG, &wish->new_secret, NULL, "print a new one, and end"},
  };
  int own = 0;
  while (own < argc && strcmp(argv[own], "--") != 0)
    own++;
  wish->command = own + 1 < argc ? argv + own + 1 : NULL;
  return cli_parse(cli, options, ARRAY_SIZE(options), true, own, argv, 0, 1, &wish->database, code);
}

ExitCode command_rehearse(Cli *cli, int argc, char **argv) {
  CLEANUP(free_lists)
  Wish wish = {
      .keep_seconds = UNSET, .lock_seconds = UNSET, .slow_seconds = UNSET, .rewrite_mb = UNSET, .threshold = UNSET};
  ExitCode code;
  if (!parse(cli, &wish, argc, argv, &code))
    return code;
  if (wish.new_secret)
    return print_new_secret();
  code = check(cli, &wish);
  if (code != EXIT_DONE)
    return code;
  Error err;
  RehearsalSecret *secret = NULL;
  if (load_secret(&wish, &secret, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  code = rehearse(cli, &wish, secret);
  rehearsal_secret_free(secret);
  return code;
}
