/* The parts of `pgseal dev`. */
#ifndef PGSEAL_CLI_DEV_H
#define PGSEAL_CLI_DEV_H

#include "cli/cli.h"
#include "common/base/process.h"

#define DEV_AGENT "dev"

typedef struct DevDatabase {
  char *name, *conninfo; /* owned; the conninfo may hold a password */
  bool production;
} DevDatabase;

typedef struct Dev {
  const char *dir_option;
  OptionList database_options, image_options, production_options;
  const char *http, *engine; /* "" until known */
  const char *repository;    /* the file that names it; NULL: DIR/repository */
  char *dir;                 /* absolute; owned, as all below */
  int lock_fd;
  DevDatabase *databases;
  size_t database_count;
  char **images; /* "15=postgres:15" */
  size_t image_count;
  char *http_kept, *engine_kept, *repository_kept; /* of the run before */
  char *repository_path;                           /* absolute */
  char *host, *url, *bus;
  int port;
  bool exposed; /* other machines reach it */
  char *coordinator_log, *agent_log;
  Process coordinator, agent;
} Dev;

/* Directory, lock, and what this run and the runs before asked for. ERR_INVALID_ARGUMENT, ERR_CONFLICT if it runs
 * already. */
Status dev_plan(Dev *dev, Error *err) MUST_CHECK;
void dev_release(Dev *dev); /* for CLEANUP() */
/* Token, keys, connection strings, the two YAML files; what exists is kept, except what says it is written anew. */
Status dev_write(const Cli *cli, Dev *dev, Error *err) MUST_CHECK;
/* Looks whether the addresses are free; chooses the bus's port. */
Status dev_choose_ports(Dev *dev, Error *err) MUST_CHECK;
/* Runs both until a signal (EXIT_DONE) or until one of them ends (EXIT_ERRORED). */
ExitCode dev_run(Cli *cli, Dev *dev);

char *dev_path(const Dev *dev, const char *name); /* dir/name, freed by the caller */

#endif
