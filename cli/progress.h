/*
 * Progress of a checkpoint's jobs on stderr: redrawn in place on a terminal; elsewhere (CI logs) a line when a phase
 * begins and every 15 seconds.
 */
#ifndef PGSEAL_CLI_PROGRESS_H
#define PGSEAL_CLI_PROGRESS_H

#include "cli/cli.h"

typedef struct Progress Progress;
Progress *progress_new(const Cli *cli);
void progress_free(Progress *progress);                           /* takes the live lines away */
void progress_show(Progress *progress, const json_t *checkpoint); /* of GET /api/v1/checkpoints/ID */
/* A line of its own above the live ones. */
void progress_note(Progress *progress, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
