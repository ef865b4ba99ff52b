/* pgseal restore, in parts: what was asked for, whether it is really meant, and what became of it. */
#ifndef PGSEAL_CLI_RESTORE_H
#define PGSEAL_CLI_RESTORE_H

#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"

enum { RESTORE_ROWS_ASK = -1 };

typedef struct RestoreWish { /* of the command line; texts are borrowed */
  const char *database, *checkpoint, *new_database, *run_script, *foreign_keys, *script_out, *yes_i_mean;
  OptionList tables, columns;
  bool beside, replace, roles, unproven, other_database;
  int rows;         /* --rows; RESTORE_ROWS_ASK: whoever sits at the terminal is asked */
  const char *mode; /* as the API has it */
} RestoreWish;

typedef struct RestoreSubject { /* what the coordinator knows of it */
  const char *environment;
  const json_t *checkpoint; /* as GET /api/v1/checkpoints/ID has it */
  const json_t *script_job; /* the restore that made the script; NULL in other modes */
} RestoreSubject;

/* Says on stderr what is about to happen, and asks where that is wanted: in production for the database's name, of a
 * script for its number of rows. Only EXIT_DONE means yes. Answers come from the terminal, never from a pipe, or else
 * from --yes-i-mean and --rows. Call it before follow_prepare. */
ExitCode restore_ask(Cli *cli, const RestoreWish *wish, const RestoreSubject *subject);

/* What a restore that is done did, for people. script_out: where its script was written to; NULL: it is printed. */
void restore_show(FILE *out, bool color, const json_t *job, const char *script_out);

/* The rows that a script's steps say they will touch, together; *steps: how many steps there are. */
int64_t restore_script_rows(const char *script, size_t *steps);
/* The lines of a script that say what its steps do. */
void restore_script_outline(FILE *out, const char *script);

#endif
