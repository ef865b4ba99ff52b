/* Plans, restores and rehearsals as the commands ask for them, and what they tell. */
#ifndef PGSEAL_CLI_RECOVERY_H
#define PGSEAL_CLI_RECOVERY_H

#include <stdio.h>

#include "cli/cli.h"

/* Asks for a job (path: "/api/v1/plans" or "/api/v1/restores") and waits until it has ended, with progress on stderr.
 * Call follow_prepare before: Ctrl-C cancels the job, waits for its end, and is told as ERR_CANCELED, the end in *job.
 * STATUS_OK: *job is the whole job, a new reference; whether it did what it should, its state says. */
Status recovery_run(Cli *cli, const char *path, const json_t *body, json_t **job, Error *err) MUST_CHECK;
/* The two parts of it. *job_path: "/api/v1/jobs/ID", freed by the caller. enough: or NULL; the job is waited for until
 * it says so, or until the job's end. */
Status recovery_ask(Cli *cli, const char *path, const json_t *body, char **job_path, Error *err) MUST_CHECK;
Status recovery_wait(Cli *cli, const char *job_path, bool (*enough)(const json_t *job), json_t **job,
                     Error *err) MUST_CHECK;
bool recovery_is_over(const json_t *job);
/* A checkpoint of that tag, waited for until it is sealed (EXIT_DONE); told on stderr. Its id becomes *id. */
ExitCode recovery_checkpoint(Cli *cli, const char *database, const char *tag, char **id);
char *recovery_tag(const char *prefix); /* "<prefix>-20261121T151617Z"; freed by the caller */

/* EXIT_DONE if the job is done; else tells why it is not, on stderr, and gives the exit code that this means. */
ExitCode recovery_end(const Cli *cli, const json_t *job);

/* An entry of the archive as people call it: "INDEX public.orders_note", "ACL of TABLE public.orders". */
void recovery_print_name(FILE *out, const json_t *item);
/* Of a plan that is done: EXIT_DONE only if all of it was compared, and nothing is lost; EXIT_DAMAGED; else
 * EXIT_ERRORED, told on stderr. */
ExitCode recovery_verdict(const Cli *cli, const json_t *job);

/* A plan for people. statements: with the SQL that leads back, ready to be copied. */
void recovery_show_plan(FILE *out, bool color, const json_t *job, bool statements);
/* Where the plan looked, and which checkpoint it compared: the head of every report. */
void recovery_show_target(FILE *out, bool color, const json_t *job);

#endif
