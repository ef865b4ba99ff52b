/* What tokens and invitations have in common: a secret that is shown once, and a name that is made worthless. */
#ifndef PGSEAL_CLI_SECRET_H
#define PGSEAL_CLI_SECRET_H

#include "cli/cli.h"

/* The answer's "token": into the file `output` (mode 0600), as JSON with --json, or on stdout. what: "token 'x'". lost:
 * the remedy should the file not be written. *shown: it is on stdout, and how to go on can be told. */
ExitCode secret_hand_out(Cli *cli, const json_t *json, const char *output, const char *what, const char *lost,
                         bool *shown);

/* A whole command: DELETE of <collection>/NAME, then "<kind> 'NAME' is revoked<consequence>". */
ExitCode secret_revoke(Cli *cli, int argc, char **argv, const char *collection, const char *kind,
                       const char *consequence);

#endif
