/* pgseal restore: what a checkpoint has comes back, by way of an agent that may write to the target. */
#include "cli/restore.h"

#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/crypto/digest.h"

/* ---- the command line ---- */

static ExitCode check_script(const Cli *cli, const RestoreWish *wish) {
  if (wish->tables.count > 0 || wish->beside || wish->replace || wish->columns.count > 0 || wish->foreign_keys)
    return cli_usage(cli, "--run-script takes everything else from the restore that made the script");
  return EXIT_DONE;
}

static ExitCode check_tables(const Cli *cli, const RestoreWish *wish) {
  if (wish->columns.count > 0 && !wish->beside)
    return cli_usage(cli, "--column goes with --beside: the script updates those columns");
  if (wish->foreign_keys && wish->beside)
    return cli_usage(cli, "--foreign-keys does not go with --beside, which makes none");
  if (wish->foreign_keys && strcmp(wish->foreign_keys, "validate") != 0 && strcmp(wish->foreign_keys, "not-valid") != 0)
    return cli_usage(cli, "--foreign-keys is validate or not-valid, not '%s'", wish->foreign_keys);
  return EXIT_DONE;
}

static ExitCode check(const Cli *cli, RestoreWish *wish) {
  int ways = (wish->tables.count > 0) + (wish->new_database != NULL) + (wish->run_script != NULL);
  if (ways != 1)
    return cli_usage(cli, "say what to restore: --table, or --new-database, or --run-script, and one of them only");
  if (wish->yes_i_mean && strcmp(wish->yes_i_mean, wish->database) != 0)
    return cli_usage(cli, "--yes-i-mean names %s, but the database is %s: nothing was done", wish->yes_i_mean,
                     wish->database);
  if (wish->roles && !wish->new_database)
    return cli_usage(cli, "--roles goes with --new-database");
  if (wish->script_out && !wish->beside)
    return cli_usage(cli, "--script-out goes with --beside, which writes a script");
  if (wish->rows != RESTORE_ROWS_ASK && !wish->run_script)
    return cli_usage(cli, "--rows goes with --run-script");
  if (wish->run_script) {
    wish->mode = "script";
    return check_script(cli, wish);
  }
  if (!wish->checkpoint)
    return cli_usage(cli,
                     "--checkpoint is missing: `pgseal plan %s` names one, `pgseal ledger --database %s` lists them",
                     wish->database, wish->database);
  if (wish->new_database) {
    wish->mode = "new_database";
    if (wish->beside || wish->columns.count > 0 || wish->foreign_keys || wish->other_database)
      return cli_usage(cli, "--new-database restores all of it: only --replace, --roles and --unproven go with it");
    return EXIT_DONE;
  }
  wish->mode = wish->beside ? "beside" : "in_place";
  return check_tables(cli, wish);
}

/* ---- what the coordinator knows ---- */

/* *environment: borrowed from *list. */
static Status find_database(Cli *cli, const char *name, json_t **list, const char **environment, Error *err) {
  Status status = api_databases(cli, list, err);
  if (status != STATUS_OK)
    return status;
  const json_t *database;
  size_t index;
  json_array_foreach(json_object_get(*list, "databases"), index, database) {
    if (strcmp(api_text(database, "name"), name) == 0) {
      *environment = api_text(database, "environment");
      return STATUS_OK;
    }
  }
  error_set(err, ERR_NOT_FOUND, "there is no database %s", name);
  api_suggest_database(cli, name, err);
  return ERR_NOT_FOUND;
}

/* The restore that made a script. */
static Status find_script(Cli *cli, const RestoreWish *wish, json_t **job, Error *err) {
  Status status = api_get(cli, job, err, "/api/v1/jobs/%s", wish->run_script);
  if (status != STATUS_OK)
    return status;
  const json_t *report = json_object_get(*job, "report");
  error_object(err, "%s", wish->run_script);
  if (strcmp(api_text(*job, "database"), wish->database) != 0)
    error_set(err, ERR_INVALID_ARGUMENT, "the script of job %s is for database %s, not for %s", wish->run_script,
              api_text(*job, "database"), wish->database);
  else if (strcmp(api_text(json_object_get(*job, "request"), "mode"), "beside") != 0 ||
           strcmp(api_text(*job, "state"), "done") != 0)
    error_set(err, ERR_INVALID_ARGUMENT, "job %s is no restore with --beside that is done", wish->run_script);
  else if (!*api_text(report, "script_sha256"))
    error_set(err, ERR_INVALID_ARGUMENT, "job %s wrote no script: there was nothing to put back", wish->run_script);
  else if (!*api_text(report, "script"))
    error_set(err, ERR_CONFLICT, "the script of job %s is too long for its report: read it in the target, table %s.%s",
              wish->run_script, api_text(report, "schema"), "pgseal_scripts");
  else
    return STATUS_OK;
  error_remedy(err, "`pgseal jobs --database %s --kind restore` lists them.", wish->database);
  return err->status;
}

static Status find_checkpoint(Cli *cli, const RestoreWish *wish, const char *which, json_t **checkpoint, Error *err) {
  Status status = api_checkpoint(cli, which, wish->database, checkpoint, err);
  if (status != STATUS_OK)
    return status;
  const char *database = api_text(*checkpoint, "database"), *state = api_text(*checkpoint, "state");
  if (strcmp(database, wish->database) != 0) {
    error_set(err, ERR_INVALID_ARGUMENT, "checkpoint %s is of database %s, not of %s", which, database, wish->database);
    error_remedy(err, "`pgseal ledger --database %s` lists its checkpoints.", wish->database);
    return ERR_INVALID_ARGUMENT;
  }
  if (strcmp(state, "sealed") != 0 && !wish->unproven) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is %s, not sealed: nobody has proven that it restores", which, state);
    error_remedy(err, "Take a sealed one (`pgseal ledger --database %s`), or say --unproven.", wish->database);
    return ERR_CONFLICT;
  }
  return STATUS_OK;
}

/* ---- the request ---- */

static void add_flag(json_t *body, const char *member, bool set) {
  if (set)
    json_object_set_new(body, member, json_true());
}

static void add_text(json_t *body, const char *member, const char *text) {
  if (text)
    json_object_set_new(body, member, json_string(text));
}

/* NULL if a name is not text. */
static json_t *request(const RestoreWish *wish, const RestoreSubject *subject) {
  json_t *body = json_pack("{s:s, s:s, s:s}", "database", wish->database, "mode", wish->mode, "checkpoint",
                           api_text(subject->checkpoint, "id"));
  if (!body)
    return NULL;
  if (wish->yes_i_mean || strcmp(subject->environment, "production") == 0) /* it was typed: restore_ask */
    add_text(body, "confirm", wish->database);
  if (wish->tables.count > 0)
    json_object_set_new(body, "tables", api_list(&wish->tables));
  if (wish->columns.count > 0)
    json_object_set_new(body, "columns", api_list(&wish->columns));
  if (wish->foreign_keys)
    add_text(body, "foreign_keys", strcmp(wish->foreign_keys, "validate") == 0 ? "validate" : "not_valid");
  add_text(body, "target_name", wish->new_database);
  add_flag(body, "replace", wish->replace);
  add_flag(body, "roles", wish->roles);
  add_flag(body, "unproven", wish->unproven);
  add_flag(body, "other_database", wish->other_database);
  add_text(body, "script_of", wish->run_script);
  if (subject->script_job)
    add_text(body, "script_sha256", api_text(json_object_get(subject->script_job, "report"), "script_sha256"));
  return body;
}

/* ---- the end ---- */

/* As it is in the target, byte for byte: what was read for people has no control characters. */
static Status write_script(Cli *cli, const json_t *job, const char *path, Error *err) {
  CLEANUP(api_release) json_t *raw = NULL;
  char digest[SHA256_HEX_SIZE];
  const bool json = cli->json;
  cli->json = true;
  Status status = api_get(cli, &raw, err, "/api/v1/jobs/%s", api_text(job, "id"));
  cli->json = json;
  if (status != STATUS_OK)
    return status;
  const json_t *report = json_object_get(raw, "report");
  const char *script = api_text(report, "script");
  sha256_hex(script, strlen(script), digest);
  if (strcmp(digest, api_text(report, "script_sha256")) != 0)
    return error_set(err, ERR_PROTOCOL, "the script in the report of job %s is not whole", api_text(job, "id"));
  return file_write_atomic(path, 0600, script, strlen(script), err);
}

/* What it left is what matters now. */
static ExitCode tell_canceled(const Cli *cli, const RestoreWish *wish, const json_t *job) {
  const json_t *report = json_object_get(job, "report");
  cli_note(cli, "the restore of %s ended %s", wish->database, api_text(job, "state"));
  follow_tell_error(cli, json_object_get(job, "error"));
  if (api_true(report, "committed"))
    cli_note(cli, "what it had restored is committed; look: `pgseal plan %s`", wish->database);
  else if (json_is_null(json_object_get(report, "committed")))
    cli_note(cli, "whether it is committed is not known; look: `pgseal plan %s`", wish->database);
  else if (*api_text(job, "started_at") && !json_is_object(report))
    cli_note(cli, "its agent did not report what it had done; look: `pgseal plan %s`", wish->database);
  else if (*api_text(job, "started_at") && wish->new_database)
    cli_note(cli, "the live database was not touched; look whether \"%s\" is there: DROP DATABASE", wish->new_database);
  else
    cli_note(cli, "nothing was changed");
  return EXIT_ERRORED;
}

static ExitCode tell_end(Cli *cli, const RestoreWish *wish, const json_t *job) {
  Error err;
  const json_t *report = json_object_get(job, "report");
  const char *script_out = *api_text(report, "script") ? wish->script_out : NULL;
  ExitCode code = recovery_end(cli, job);
  if (cli->json)
    cli_print_json(job);
  if (code != EXIT_DONE) {
    if (api_true(report, "committed"))
      cli_note(cli, "what it had restored is committed; look: `pgseal plan %s`", wish->database);
    return code;
  }
  if (script_out && write_script(cli, job, script_out, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (!cli->json)
    restore_show(stdout, cli->color_out, job, script_out);
  return api_true(report, "verified") ? EXIT_DONE : EXIT_FAILED;
}

static ExitCode run(Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  Error err;
  CLEANUP(api_release) json_t *job = NULL;
  CLEANUP(api_release) json_t *body = request(wish, subject);
  if (!body)
    return cli_usage(cli, "a name is not text");
  ExitCode code = restore_ask(cli, wish, subject);
  if (code != EXIT_DONE)
    return code;
  follow_prepare(cli);
  Status status = recovery_run(cli, "/api/v1/restores", body, &job, &err);
  bool done = job && strcmp(api_text(job, "state"), "done") == 0; /* also where Ctrl-C came too late */
  if (status != STATUS_OK && !done)
    return job ? tell_canceled(cli, wish, job) : cli_fail(cli, &err);
  return tell_end(cli, wish, job);
}

static void free_lists(RestoreWish *wish) {
  free(wish->tables.items);
  free(wish->columns.items);
}

ExitCode command_restore(Cli *cli, int argc, char **argv) {
  CLEANUP(free_lists) RestoreWish wish = {.rows = RESTORE_ROWS_ASK};
  const Option options[] = {
      {"checkpoint", OPTION_TEXT, &wish.checkpoint, "ID|TAG", "from which one"},
      {"table", OPTION_LIST, &wish.tables, "PATTERN",
       "orders, 'audit.*'; with all that belongs to it; may be repeated"},
      {"replace", OPTION_FLAG, &wish.replace, NULL,
       "move what stands in its place aside, whole; with --beside: make an earlier copy anew; with --new-database: it "
       "is "
       "there already, and empty"},
      {"foreign-keys", OPTION_TEXT, &wish.foreign_keys, "HOW", "validate (default), or not-valid: rows need not fit"},
      {"beside", OPTION_FLAG, &wish.beside, NULL, "into a schema of its own, with a script of what differs"},
      {"column", OPTION_LIST, &wish.columns, "TABLE.COLUMN", "the script puts this column's values back, too"},
      {"script-out", OPTION_TEXT, &wish.script_out, "FILE", "write the script there, to be edited and run with psql"},
      {"run-script", OPTION_TEXT, &wish.run_script, "JOB", "run the script that this job made, as it was shown"},
      {"rows", OPTION_INTEGER, &wish.rows, "N", "as many rows the script will touch; else it is asked"},
      {"new-database", OPTION_TEXT, &wish.new_database, "NAME", "all of it, into a new database on the same server"},
      {"roles", OPTION_FLAG, &wish.roles, NULL, "with --new-database: make the roles that are missing, as they were"},
      {"yes-i-mean", OPTION_TEXT, &wish.yes_i_mean, "NAME", "the database's name, for scripts: nobody is asked"},
      {"unproven", OPTION_FLAG, &wish.unproven, NULL, "the checkpoint need not be sealed"},
      {"other-database", OPTION_FLAG, &wish.other_database, NULL,
       "the agent's connection may lead to a database of another name"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &wish.database, &code))
    return code;
  code = check(cli, &wish);
  if (code != EXIT_DONE)
    return code;
  Error err;
  RestoreSubject subject = {0};
  CLEANUP(api_release) json_t *databases = NULL;
  CLEANUP(api_release) json_t *script_job = NULL;
  CLEANUP(api_release) json_t *checkpoint = NULL;
  Status status = find_database(cli, wish.database, &databases, &subject.environment, &err);
  if (status == STATUS_OK && wish.run_script)
    status = find_script(cli, &wish, &script_job, &err);
  if (status == STATUS_OK)
    status = find_checkpoint(cli, &wish, script_job ? api_text(script_job, "checkpoint") : wish.checkpoint, &checkpoint,
                             &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  subject.script_job = script_job;
  subject.checkpoint = checkpoint;
  return run(cli, &wish, &subject);
}
