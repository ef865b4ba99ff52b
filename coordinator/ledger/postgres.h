/*
 * What the PostgreSQL driver's files share. Loop thread only.
 *
 *   postgres.c            the connection: opened, lost, opened again; transactions; errors
 *   postgres_statement.c  statements: parameters, rows
 *   postgres_schema.c     the first schema that PostgreSQL has; migrations in its words
 *
 * Every writing transaction first takes the row of the chain's tip: coordinators write one after the other, each sees
 * what the one before wrote, and the chain cannot fork. (An event is part of nearly every transaction, and each event
 * needs the hash of the one before it: there is nothing beside it that could go on.) What a transaction read before it
 * began may be old by then.
 *
 * Who leads holds an advisory lock of its session, the same one that it writes on: what it has not any more, it cannot
 * use. Each commit notifies the others. The server ends sessions that say nothing for IDLE (PostgreSQL 14 and later): a
 * coordinator that stands still leads no longer than that.
 *
 * A connection that is lost is made anew at the next statement outside a transaction; a statement that only reads, and
 * the beginning of a transaction, are tried once more on it. Everything else is ERR_UNAVAILABLE, and rolled back,
 * unless it was the commit itself: then it is not known. While the server is away, each call is answered at once but
 * for one attempt to connect, which waits CONNECT_SECONDS at most, every RETRY_SECONDS.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_POSTGRES_H
#define PGSEAL_COORDINATOR_LEDGER_POSTGRES_H

#include "common/postgres/connection.h"
#include "coordinator/ledger/db.h"

typedef struct Postgres {
  Conninfo *conninfo;
  char *name;
  PGconn *connection; /* NULL: none now */
  unsigned number;    /* of the connection: statements are prepared on each */
  unsigned statements;
  bool read_only, open /* a transaction */, broken /* it is lost: only a rollback ends it */;
  bool told;        /* somebody else may have written */
  unsigned leads;   /* the number of the connection that has the lead; 0: none */
  int64_t retry_us; /* monotonic: no attempt to connect before that */
} Postgres;

/* Connects, and does no more: for ledger_open_postgres, and tests of the schema. */
Status postgres_open(const char *conninfo, bool read_only, Ledger **out, Error *err) MUST_CHECK;
/* A connection that seems to be there, made if need be. */
Status postgres_ready(Postgres *postgres, Error *err) MUST_CHECK;
/* What went wrong, of a result (or NULL: of the connection). Never STATUS_OK; what is lost is noted. */
Status postgres_failure(Postgres *postgres, const PGresult *result, const char *what, Error *err) MUST_CHECK;
bool postgres_lost(const Postgres *postgres); /* the connection that there was is not there any more */
Status postgres_run(Postgres *postgres, const char *sql, Error *err) MUST_CHECK; /* no parameters; no retry */

Status postgres_prepare(void *driver, const char *sql, void **statement, Error *err);
void postgres_release(void *statement);
void postgres_bind_text(void *statement, int at, const char *text);
void postgres_bind_integer(void *statement, int at, int64_t value);
void postgres_bind_real(void *statement, int at, double value);
void postgres_bind_null(void *statement, int at);
Status postgres_step(void *driver, void *statement, bool *row, Error *err);
int64_t postgres_changes(void *driver, void *statement);
const char *postgres_read_text(void *statement, int at);
int64_t postgres_read_integer(void *statement, int at);
double postgres_read_real(void *statement, int at);
int postgres_columns(void *statement);
const char *postgres_column(void *statement, int at);
DbType postgres_type(void *statement, int at);
void postgres_reset(void *statement);

Status postgres_version(void *driver, int64_t *version, Error *err);
Status postgres_number_on(void *driver, Error *err);
Status postgres_migrate(void *driver, int64_t number, const char *sql, Error *err);

#endif
