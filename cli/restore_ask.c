/* Is it meant? Said before it is asked, and asked of a person at a terminal. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/recovery.h"
#include "cli/restore.h"
#include "common/archive/pattern.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { ANSWER_SIZE = 512, SUFFIX = 8 /* characters of a checkpoint's id, in the names of schemas */ };

/* ---- what is meant ---- */

static void say_tables(const RestoreWish *wish) {
  for (size_t i = 0; i < wish->tables.count; i++) {
    CLEANUP_FREE char *shown = archive_pattern_shown(wish->tables.items[i]);
    fprintf(stderr, "%s%s", i ? ", " : "", shown);
  }
}

static const char *suffix(const json_t *checkpoint) {
  const char *id = api_text(checkpoint, "id");
  size_t size = strlen(id);
  return size > SUFFIX ? id + size - SUFFIX : id;
}

static void say_in_place(const RestoreWish *wish, const RestoreSubject *subject) {
  fputs("  puts back     ", stderr);
  say_tables(wish);
  fputs("\n                where they were, with their indexes, constraints, grants, sequences, and views that went "
        "too\n",
        stderr);
  if (wish->replace)
    fprintf(stderr,
            "  in the way    what stands there now moves, whole, to schema pgseal_displaced_%s, and with it what was\n"
            "                written to it since the checkpoint; nothing is dropped\n",
            suffix(subject->checkpoint));
  else
    fputs("  in the way    a table of that name that is there ends the restore; nothing is changed then\n", stderr);
  if (wish->foreign_keys && strcmp(wish->foreign_keys, "not-valid") == 0)
    fputs("  foreign keys  come back NOT VALID: rows that do not fit are left as they are\n", stderr);
  fputs("  all or nothing: one transaction, in which the rows are read back and compared before it commits\n", stderr);
}

static void say_beside(const RestoreWish *wish, const RestoreSubject *subject) {
  fputs("  copies        ", stderr);
  say_tables(wish);
  fprintf(stderr,
          "\n                into schema pgseal_rescue_%s, compares them with the live rows, and writes a script\n"
          "  live tables   are read, and not changed; nothing runs before you have seen it\n",
          suffix(subject->checkpoint));
}

static void say_new_database(const RestoreWish *wish) {
  fprintf(stderr,
          "  %s database \"%s\" on the server of %s, and restores all of the checkpoint into it\n"
          "  the live one  is not touched%s\n",
          wish->replace ? "fills         the empty" : "makes         a new", wish->new_database, wish->database,
          wish->roles ? "; roles that the server lacks are made" : "");
}

static void say_script(const RestoreWish *wish, const RestoreSubject *subject) {
  const json_t *report = json_object_get(subject->script_job, "report");
  fprintf(stderr, "  runs          the script of job %s, in one transaction\n", wish->run_script);
  restore_script_outline(stderr, api_text(report, "script"));
  fputs("  where a number of rows differs from these, all of it is rolled back\n", stderr);
}

static void say(const Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  char time[FORMAT_SIZE], age[FORMAT_SIZE];
  CLEANUP(buffer_release) Buffer name = {0};
  format_database(&name, cli->color_err, wish->database, subject->environment);
  fprintf(stderr, "restore of %s from checkpoint %s (%s), %s, %s\n", buffer_text(&name),
          api_text(subject->checkpoint, "tag"), api_text(subject->checkpoint, "id"),
          format_time(api_text(subject->checkpoint, "created_at"), time),
          format_age(api_text(subject->checkpoint, "created_at"), age));
  if (strcmp(api_text(subject->checkpoint, "state"), "sealed") != 0)
    fprintf(stderr, "  %sNOT PROVEN%s    this checkpoint is %s: nobody knows whether it restores\n",
            cli_style(cli->color_err, STYLE_BAD), cli_reset(cli->color_err), api_text(subject->checkpoint, "state"));
  if (wish->run_script)
    say_script(wish, subject);
  else if (wish->new_database)
    say_new_database(wish);
  else if (wish->beside)
    say_beside(wish, subject);
  else
    say_in_place(wish, subject);
}

/* ---- a person's answer ---- */

/* Ctrl-C ends this program while it waits here: nothing has been done. */
static bool read_line(FILE *terminal, char answer[ANSWER_SIZE]) {
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_UNBLOCK, &set, &before);
  bool read = fgets(answer, ANSWER_SIZE, terminal) != NULL;
  sigprocmask(SIG_SETMASK, &before, NULL);
  answer[read ? strcspn(answer, "\r\n") : 0] = '\0';
  return read;
}

static void close_terminal(FILE **terminal) {
  if (*terminal)
    fclose(*terminal);
}

/* The terminal itself, so that no pipe answers; NULL: there is none. The caller closes it. */
static FILE *open_terminal(void) {
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  FILE *terminal = fd >= 0 ? fdopen(fd, "r+") : NULL;
  if (!terminal && fd >= 0)
    close(fd);
  return terminal;
}

static ExitCode refuse_unasked(const Cli *cli, const char *option) {
  Error err;
  error_set(&err, ERR_CONFIRMATION_NEEDED, "nobody can be asked: there is no terminal. Nothing was done");
  error_remedy(&err, "In a script, where somebody has looked already: %s.", option);
  return cli_fail(cli, &err);
}

/* What was typed before it was asked is no answer. */
static ExitCode ask(const Cli *cli, FILE *terminal, const char *question, const char *expected) {
  Error err;
  char answer[ANSWER_SIZE];
  tcflush(fileno(terminal), TCIFLUSH);
  fputs(question, terminal);
  fflush(terminal);
  if (read_line(terminal, answer) && strcmp(answer, expected) == 0)
    return EXIT_DONE;
  error_set(&err, ERR_CONFIRMATION_NEEDED, "that is not %s: nothing was done", expected);
  error_remedy(&err, "Look again where it would go, and what it would do.");
  return cli_fail(cli, &err);
}

/* ---- production ---- */

/* A plan of just these tables is quick, and tells where the agent's connection leads. Names that match nothing are
 * found here, too. */
static ExitCode show_production(Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  Error err;
  CLEANUP(api_release) json_t *job = NULL;
  const json_t *tables = json_object_get(json_object_get(subject->script_job, "request"), "tables");
  CLEANUP(api_release)
  json_t *body = json_pack("{s:s, s:s}", "database", wish->database, "checkpoint", api_text(subject->checkpoint, "id"));
  if (!body)
    return cli_usage(cli, "the database's name is not text");
  json_object_set_new(body, "tables", tables ? json_deep_copy(tables) : api_list(&wish->tables));
  cli_note(cli, "looking where that leads ...");
  follow_prepare(cli);
  if (recovery_run(cli, "/api/v1/plans", body, &job, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  ExitCode code = recovery_end(cli, job);
  if (code == EXIT_DONE)
    recovery_show_target(stderr, cli->color_err, job);
  return code;
}

static ExitCode ask_production(Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  if (strcmp(subject->environment, "production") != 0 || wish->yes_i_mean)
    return EXIT_DONE;
  CLEANUP_FREE char *option = memory_format("--yes-i-mean %s", wish->database);
  CLEANUP(close_terminal) FILE *terminal = open_terminal();
  if (!terminal)
    return refuse_unasked(cli, option);
  ExitCode code = wish->new_database ? EXIT_DONE /* nothing that is there is written to */
                                     : show_production(cli, wish, subject);
  if (code != EXIT_DONE)
    return code;
  CLEANUP_FREE char *question =
      memory_format("This is %sproduction%s. Type the database's name to go on: ", cli_style(cli->color_err, STYLE_BAD),
                    cli_reset(cli->color_err));
  return ask(cli, terminal, question, wish->database);
}

/* ---- a script's rows ---- */

static ExitCode ask_rows(const Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  size_t steps;
  int64_t rows = restore_script_rows(api_text(json_object_get(subject->script_job, "report"), "script"), &steps);
  if (wish->rows == rows)
    return EXIT_DONE;
  if (wish->rows != RESTORE_ROWS_ASK)
    return cli_usage(cli, "--rows says %d, but the script will touch %" PRId64 " rows: nothing was done", wish->rows,
                     rows);
  CLEANUP_FREE char *expected = memory_format("%" PRId64, rows);
  CLEANUP_FREE char *option = memory_format("--rows %" PRId64, rows);
  CLEANUP_FREE char *question = memory_format("Type the number of rows it will touch, %s, to run it: ", expected);
  CLEANUP(close_terminal) FILE *terminal = open_terminal();
  return terminal ? ask(cli, terminal, question, expected) : refuse_unasked(cli, option);
}

ExitCode restore_ask(Cli *cli, const RestoreWish *wish, const RestoreSubject *subject) {
  say(cli, wish, subject);
  ExitCode code = ask_production(cli, wish, subject);
  return code == EXIT_DONE && subject->script_job ? ask_rows(cli, wish, subject) : code;
}
