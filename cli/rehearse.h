/* pgseal rehearse: what its files share. */
#ifndef PGSEAL_CLI_REHEARSE_H
#define PGSEAL_CLI_REHEARSE_H

#include <stdio.h>

#include "cli/cli.h"
#include "common/rehearsal/secret.h"

/* The findings of a rehearsal for people. job: whole, with its report. */
void rehearse_show(FILE *out, bool color, const json_t *job);
/* The same in Markdown, for a pipeline's summary: what is in names and details is shown as it is, never as markup. */
void rehearse_summary(FILE *out, const json_t *job);

/* Of a rehearsal that was asked for with a tunnel: waits for the copy, makes sure that it is of an agent that has the
 * secret, runs the command with its environment leading there, and waits for the job's end. *job: the whole job, a new
 * reference; *exit_status: the command's, 0 if it never was run. A job that nothing can be run on is canceled. */
Status rehearse_command(Cli *cli, const char *job_path, const RehearsalSecret *secret, char *const *command,
                        int *exit_status, json_t **job, Error *err) MUST_CHECK;

#endif
