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

#endif
