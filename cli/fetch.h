/* The parts of `pgseal fetch`. */
#ifndef PGSEAL_CLI_FETCH_H
#define PGSEAL_CLI_FETCH_H

#include "cli/stored.h"

typedef struct Fetch {
  Stored stored;
  const char *output, *roles; /* asked for; borrowed */
  bool to_stdout, list;
} Fetch;

Status fetch_write_file(const Cli *cli, const Fetch *fetch, Error *err) MUST_CHECK;
Status fetch_write_stdout(const Cli *cli, const Fetch *fetch, Error *err) MUST_CHECK;
Status fetch_write_roles(const Fetch *fetch, Error *err) MUST_CHECK;
void fetch_print(const Cli *cli, const Fetch *fetch); /* what is in it */

#endif
