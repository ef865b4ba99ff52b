/*
 * PostgreSQL helpers on libpq. A Conninfo is parsed once and may hold a password: it is never logged, and
 * reaches child processes by environment (PGPASSFILE for the password), never by argv.
 * A PGconn belongs to one thread at a time.
 */
#ifndef PGSEAL_COMMON_POSTGRES_CONNECTION_H
#define PGSEAL_COMMON_POSTGRES_CONNECTION_H

#include <libpq-fe.h>

#include "common/base/buffer.h"

typedef struct Conninfo Conninfo;
/* libpq key=value or URI form; what it leaves out is taken from the PG* variables here and now, as libpq would
 * (all but PGCLIENTENCODING). ERR_INVALID_ARGUMENT without echoing the text (it may hold a password). */
Status conninfo_parse(const char *text, Conninfo **out, Error *err) MUST_CHECK;
void conninfo_free(Conninfo *conninfo);
/* Whether it holds a password itself, or may: it is true of what cannot be read. */
bool conninfo_tells_secret(const char *text);
void conninfo_set(Conninfo *conninfo, const char *key, const char *value); /* e.g. "dbname" */
const char *conninfo_get(const Conninfo *conninfo,
                         const char *key); /* NULL if unset; never ask for "password" to show it */

/* What every pgseal session pins (DESIGN 3): TimeZone=UTC, DateStyle=ISO, IntervalStyle=postgres,
 * extra_float_digits=3, bytea_output=hex, synchronize_seqscans=off, as a libpq `options` value. */
const char *postgres_pinned_options(void);

/* Environment for pg_dump & co.: NULL-terminated "K=V" / "K" (unset) list to hand to ProcessOptions.env, all PG* of
 * the parent replaced. If there is a password it is written to a mode 0600 file in scratch_dir, named by PGPASSFILE.
 * Sets LC_ALL=C, since messages of the tools are classified. */
Status conninfo_environment(const Conninfo *conninfo, const char *scratch_dir, char ***env, Error *err) MUST_CHECK;
void environment_free(char **env);

/* connect_timeout 10 s unless set, pinned options, application_name, client_encoding UTF8 (a COPY that is
 * to be compared with pg_dump's must `SET client_encoding` to the database's own). Notices are dropped. Classified:
 * ERR_DATABASE_UNREACHABLE, ERR_DATABASE_REFUSED (bad password, no such database, pg_hba), never echoing secrets. */
Status postgres_connect(const Conninfo *conninfo, const char *application_name, PGconn **out, Error *err) MUST_CHECK;
/* The same with nothing pinned: with the settings that the server has for such a session. */
Status postgres_connect_plainly(const Conninfo *conninfo, const char *application_name, PGconn **out,
                                Error *err) MUST_CHECK;
void postgres_close(PGconn **connection); /* for CLEANUP() */
void postgres_clear(PGresult **result);   /* for CLEANUP() */

/* Runs one statement. ERR_DATABASE_LOST if the connection broke; SQLSTATE 55P03 -> ERR_LOCK_TIMEOUT, 57014 ->
 * ERR_TIMEOUT, 42501 -> ERR_TABLE_UNREADABLE, row security -> ERR_ROW_SECURITY, else ERR_QUERY with the server's
 * message, without what it quotes of rows. `result` may be NULL where nothing is wanted of it. */
Status postgres_query(PGconn *connection, PGresult **result, Error *err, const char *sql) MUST_CHECK;
/* Of an error that one of these set; false: it has none. */
bool postgres_sqlstate(const Error *err, char state[6]);
/* A server's primary message without what it quotes of rows, and its SQLSTATE, as these errors have it. Freed by the
 * caller. Pure. */
char *postgres_discreet(const char *state, const char *primary);
Status postgres_query_params(PGconn *connection, PGresult **result, Error *err, const char *sql, int count,
                             const char *const *values) MUST_CHECK;
/* The same for statements that may wait or take long (no COPY): asks `check` ten times a second, and what that returns
 * ends the statement (canceled on the server, the connection usable unless the server has fallen silent) and is
 * returned within seconds. */
typedef struct PostgresWatch {
  Status (*check)(void *user, Error *err);
  void *user;
} PostgresWatch;
Status postgres_query_watched(PGconn *connection, PGresult **result, Error *err, const char *sql,
                              const PostgresWatch *watch) MUST_CHECK;
/* Runs a COPY ... TO STDOUT, each line with its newline to `rows`; waits as postgres_query_watched does. A status of
 * the caller's own ends it and is returned. After a failure the connection may only be closed. */
typedef Status PostgresRows(void *user, const char *line, size_t size, Error *err);
Status postgres_copy_out(PGconn *connection, const char *sql, PostgresRows *rows, void *user,
                         const PostgresWatch *watch, Error *err) MUST_CHECK;
/* A COPY ... FROM STDIN in three steps, any number of writes in the middle; waits as postgres_query_watched does.
 * *rows: as the server counted them. After a failure the connection may only be closed, which takes the rows back. */
Status postgres_copy_in_start(PGconn *connection, const char *sql, const PostgresWatch *watch, Error *err) MUST_CHECK;
Status postgres_copy_in_write(PGconn *connection, const void *data, size_t size, const PostgresWatch *watch,
                              Error *err) MUST_CHECK;
Status postgres_copy_in_end(PGconn *connection, int64_t *rows, const PostgresWatch *watch, Error *err) MUST_CHECK;
int postgres_server_major(PGconn *connection); /* 17 */

/* Finds pg_dump's directory for a major version: configured dirs first ("17=/opt/pg17/bin"), then
 * /usr/lib/postgresql/<major>/bin, then PATH if that one is of the major version. ERR_TOOLS_MISSING.
 * *dir is freed by the caller; *version is "17.6". */
typedef struct PostgresBinDir {
  int major;
  const char *path;
} PostgresBinDir;
Status postgres_tools_find(const PostgresBinDir *dirs, size_t count, int major, char **dir, char **version,
                           Error *err) MUST_CHECK;

#endif
