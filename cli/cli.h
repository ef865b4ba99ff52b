/*
 * What the commands of `pgseal` share: the context, the exit codes, and how errors are told.
 * Single-threaded. What is for people goes to stdout and stderr as text; with --json, stdout holds the API's JSON
 * and nothing else.
 */
#ifndef PGSEAL_CLI_CLI_H
#define PGSEAL_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/options.h"
#include "common/base/error.h"

typedef enum ExitCode {
  EXIT_DONE = 0,        /* done and proven */
  EXIT_FAILED = 1,      /* the checkpoint or drill failed */
  EXIT_USAGE = 2,       /* the command line, or a name in it, is wrong */
  EXIT_UNREACHABLE = 3, /* the coordinator cannot be reached, or refused the token */
  EXIT_ERRORED = 4,     /* it did not come to an end; nothing is condemned */
  EXIT_DAMAGED = 5      /* of plan and guard: the live database lost something that the checkpoint has; of rehearse:
                           it would */
} ExitCode;

typedef enum Style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD, STYLE_WARN } Style;

typedef struct Cli Cli;

typedef struct Command {
  const char *name;                                 /* one or two words */
  const char *usage;                                /* what follows the name */
  const char *summary;                              /* one line */
  const char *help;                                 /* what it does, and examples */
  ExitCode (*run)(Cli *cli, int argc, char **argv); /* argv[0] is the first argument after the name */
} Command;

struct Cli {
  const Command *command;
  bool json; /* --json */
  bool color_out, color_err;
  bool live;                              /* progress may be redrawn: stderr is a terminal */
  const char *url, *token_file, *ca_file; /* --url, --token-file, --ca-file */
  bool unencrypted;                       /* --unencrypted: the token may be read on the way */
  char *token;                            /* owned; NULL until it is first needed */
  struct Http *http;                      /* owned; NULL until it is first needed */
};

/* Parses the command's options and those all commands have. True: go on. False: end with *exit_code (help was
 * printed, or the usage error told). positional: max places, filled with NULL where absent. with_api adds --url,
 * --token-file, --ca-file, --unencrypted and --json. */
bool cli_parse(Cli *cli, const Option *options, size_t count, bool with_api, int argc, char **argv, int min, int max,
               const char **positional, ExitCode *exit_code);

/* Tells the error on stderr (and, with --json, in the API's shape on stdout) and gives the exit code it means. */
ExitCode cli_fail(const Cli *cli, const Error *err);
ExitCode cli_usage(const Cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* One line on stderr, whatever is in it (text_show). */
void cli_note(const Cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);

/* Escape sequences, or "" where colours are off. */
const char *cli_style(bool color, Style style);
const char *cli_reset(bool color);

/* Prints JSON on stdout, indented. */
void cli_print_json(const json_t *json);

extern const Command cli_commands[];
extern const size_t cli_command_count;

/* One for each command. */
ExitCode command_checkpoint(Cli *cli, int argc, char **argv);
ExitCode command_drill(Cli *cli, int argc, char **argv);
ExitCode command_cancel(Cli *cli, int argc, char **argv);
ExitCode command_status(Cli *cli, int argc, char **argv);
ExitCode command_databases(Cli *cli, int argc, char **argv);
ExitCode command_agents(Cli *cli, int argc, char **argv);
ExitCode command_ledger(Cli *cli, int argc, char **argv);
ExitCode command_show(Cli *cli, int argc, char **argv);
ExitCode command_tables(Cli *cli, int argc, char **argv);
ExitCode command_token_create(Cli *cli, int argc, char **argv);
ExitCode command_token_list(Cli *cli, int argc, char **argv);
ExitCode command_token_rotate(Cli *cli, int argc, char **argv);
ExitCode command_token_revoke(Cli *cli, int argc, char **argv);
ExitCode command_agent_invite(Cli *cli, int argc, char **argv);
ExitCode command_agent_revoke(Cli *cli, int argc, char **argv);
ExitCode command_key_generate(Cli *cli, int argc, char **argv);
ExitCode command_verify(Cli *cli, int argc, char **argv);
ExitCode command_key_check(Cli *cli, int argc, char **argv);
ExitCode command_ledger_rebuild(Cli *cli, int argc, char **argv);
ExitCode command_ledger_verify(Cli *cli, int argc, char **argv);
ExitCode command_doctor(Cli *cli, int argc, char **argv);
ExitCode command_fetch(Cli *cli, int argc, char **argv);
ExitCode command_plan(Cli *cli, int argc, char **argv);
ExitCode command_guard(Cli *cli, int argc, char **argv);
ExitCode command_rehearse(Cli *cli, int argc, char **argv);
ExitCode command_restore(Cli *cli, int argc, char **argv);
ExitCode command_jobs(Cli *cli, int argc, char **argv);
ExitCode command_job_show(Cli *cli, int argc, char **argv);
ExitCode command_job_cancel(Cli *cli, int argc, char **argv);
ExitCode command_job_approve(Cli *cli, int argc, char **argv);
ExitCode command_retention(Cli *cli, int argc, char **argv);
ExitCode command_alert_list(Cli *cli, int argc, char **argv);
ExitCode command_alert_test(Cli *cli, int argc, char **argv);
ExitCode command_alert_silence(Cli *cli, int argc, char **argv);
ExitCode command_alert_acknowledge(Cli *cli, int argc, char **argv);
ExitCode command_alert_unsilence(Cli *cli, int argc, char **argv);
ExitCode command_alert_silences(Cli *cli, int argc, char **argv);
ExitCode command_rotation(Cli *cli, int argc, char **argv);
ExitCode command_prune(Cli *cli, int argc, char **argv);
ExitCode command_pin(Cli *cli, int argc, char **argv);
ExitCode command_unpin(Cli *cli, int argc, char **argv);
ExitCode command_drain(Cli *cli, int argc, char **argv);
ExitCode command_undrain(Cli *cli, int argc, char **argv);
ExitCode command_cordon(Cli *cli, int argc, char **argv);
ExitCode command_uncordon(Cli *cli, int argc, char **argv);
ExitCode command_pause(Cli *cli, int argc, char **argv);
ExitCode command_resume(Cli *cli, int argc, char **argv);
ExitCode command_holds(Cli *cli, int argc, char **argv);
ExitCode command_apply(Cli *cli, int argc, char **argv);
ExitCode command_fleet(Cli *cli, int argc, char **argv);
ExitCode command_schedule(Cli *cli, int argc, char **argv);
ExitCode command_report(Cli *cli, int argc, char **argv);
ExitCode command_report_list(Cli *cli, int argc, char **argv);
ExitCode command_report_send(Cli *cli, int argc, char **argv);
ExitCode command_report_verify(Cli *cli, int argc, char **argv);
ExitCode command_dev(Cli *cli, int argc, char **argv);

#endif
