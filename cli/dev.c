/* pgseal dev: everything on one machine, from one command. */
#include "cli/dev.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/postgres/connection.h"

enum { DEV_CONNECT_SECONDS = 5 };

static void conninfo_cleanup(Conninfo **conninfo) {
  conninfo_free(*conninfo);
}

/* A database that cannot be reached now may be reachable later: said, and gone on. */
static void dev_try_database(const Cli *cli, const DevDatabase *database) {
  Error err;
  CLEANUP(conninfo_cleanup) Conninfo *conninfo = NULL;
  CLEANUP(postgres_close) PGconn *connection = NULL;
  Status status = conninfo_parse(database->conninfo, &conninfo, &err);
  if (status == STATUS_OK && !conninfo_get(conninfo, "connect_timeout"))
    conninfo_set(conninfo, "connect_timeout", "5");
  if (status == STATUS_OK)
    status = postgres_connect(conninfo, "pgseal dev", &connection, &err);
  if (status == STATUS_OK) {
    CLEANUP_FREE char *dir = NULL;
    CLEANUP_FREE char *version = NULL;
    int major = postgres_server_major(connection);
    status = postgres_tools_find(NULL, 0, major, &dir, &version, &err);
    if (status == STATUS_OK)
      printf("Database %s: PostgreSQL %s, pg_dump %s\n", database->name,
             PQparameterStatus(connection, "server_version"), version);
  }
  if (status != STATUS_OK) {
    cli_note(cli, "warning: database %s: %s", database->name, err.message);
    fprintf(stderr, "  remedy: %s\n", err.remedy);
  }
}

static void dev_free_copies(OptionList *copies) {
  for (size_t i = 0; i < copies->count; i++) {
    char *copy = (char *)copies->items[i];
    explicit_bzero(copy, strlen(copy));
    free(copy);
  }
  free(copies->items);
}

/* For as long as this runs, others would read passwords in `ps`. (In the moment before they could.) */
static void dev_hide(const Cli *cli, Dev *dev, OptionList *copies) {
  bool told = false;
  for (size_t i = 0; i < dev->database_options.count; i++) {
    char *given = (char *)dev->database_options.items[i], *equals = strchr(given, '=');
    char *secret = equals ? equals + 1 : given;
    ARRAY_PUSH(copies->items, copies->count, memory_strdup(given));
    dev->database_options.items[i] = copies->items[i];
    if (!conninfo_tells_secret(secret))
      continue;
    memset(secret, '*', strlen(secret));
    if (!told && equals)
      cli_note(
          cli,
          "warning: --database holds a password, which others on this machine could read in `ps` just now, and "
          "your shell may keep in its history. Better: leave it out, and put it into ~/.pgpass (or what PGPASSFILE "
          "names) or a service file.");
    told = told || equals;
  }
}

ExitCode command_dev(Cli *cli, int argc, char **argv) {
  CLEANUP(dev_release) Dev dev = {.lock_fd = -1, .dir_option = "./pgseal-dev"};
  const Option options[] = {
      {"database", OPTION_LIST, &dev.database_options, "NAME=CONNINFO",
       "a database to take checkpoints of; repeat for more"},
      {"dir", OPTION_TEXT, &dev.dir_option, "DIR", "where everything is kept (default ./pgseal-dev)"},
      {"http", OPTION_TEXT, &dev.http, "ADDRESS:PORT", "of the HTTP API (default 127.0.0.1:8420)"},
      {"repository", OPTION_TEXT, &dev.repository, "FILE", "keep checkpoints where FILE says, such as in a bucket"},
      {"engine", OPTION_TEXT, &dev.engine, "ENGINE", "where drills restore: auto (default), docker, local"},
      {"image", OPTION_LIST, &dev.image_options, "MAJOR=IMAGE", "container image for drills (default postgres:MAJOR)"},
      {"production", OPTION_LIST, &dev.production_options, "NAME", "mark this database as production"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), false, argc, argv, 0, 0, NULL, &code))
    return code;
  CLEANUP(dev_free_copies) OptionList copies = {0};
  dev_hide(cli, &dev, &copies);
  Error err;
  Status status = dev_plan(&dev, &err);
  if (status == ERR_INVALID_ARGUMENT)
    return cli_usage(cli, "%s%s%s", err.message, err.remedy[0] ? ". " : "", err.remedy);
  if (status == STATUS_OK)
    status = dev_choose_ports(&dev, &err);
  if (status == STATUS_OK)
    status = dev_write(cli, &dev, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (dev.exposed)
    cli_note(cli, "warning: other machines reach %s, and it speaks plain HTTP: the token can be read on the way",
             dev.http);
  for (size_t i = 0; i < dev.database_count; i++)
    dev_try_database(cli, &dev.databases[i]);
  fflush(stdout);
  return dev_run(cli, &dev);
}
