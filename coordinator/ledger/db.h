/*
 * What the ledger's files share. The statements are written once, for every database a ledger may be kept in; a driver
 * under them runs them. Loop thread only.
 *
 *   sqlite.c      the driver for a file: opening, transactions, running statements
 *   postgres*.c   the driver for PostgreSQL (postgres.h)
 *   open.c        which of them
 *   db.c          statements in order: prepared once, bound, read
 *   schema.c      numbered migrations
 *   chain.c       the hash chain of events
 *   records.c     freeing records
 *   shared.c      what several coordinators on one ledger know of each other
 *   transfer.c    all of a ledger as lines of JSON, and back
 *   checkpoint.c  newest.c  tables.c  job.c  event.c  people.c (tokens and agents)  session.c  enrollment.c  fleet.c
 *   schedule.c  sign_in.c
 *   the statements
 *
 * How statements are written: in the SQL that SQLite and PostgreSQL share. Parameters are ? in their order or ?1, ?2
 * (as text, integer, real: what is bound says which; none in a literal). No limit is DB_NO_LIMIT. Names in ON CONFLICT
 * ... DO UPDATE ... WHERE are qualified; subqueries in FROM have a name; LIMIT takes no -1. Every write is followed by
 * another in the same transaction only if it succeeded: a failed statement ends the transaction.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_DB_H
#define PGSEAL_COORDINATOR_LEDGER_DB_H

#include "common/base/cleanup.h"
#include "coordinator/ledger/ledger.h"

enum { LEDGER_HASH_SIZE = 65, DB_NO_LIMIT = INT32_MAX };

/* ---- the driver ---- */

typedef enum DbType { DB_NULL, DB_INTEGER, DB_REAL, DB_TEXT } DbType;

/* A driver's statement is opaque. Parameters count from 1, columns from 0. A failed bind leaves NULL, which NOT NULL
 * and CHECK constraints catch where it counts. */
typedef struct DbOps {
  bool postgres;               /* whose migrations */
  void (*close)(void *driver); /* rolls back what is open */
  Status (*begin)(void *driver, Error *err);
  Status (*commit)(void *driver, Error *err);   /* durable; rolls back if it fails */
  Status (*snapshot)(void *driver, Error *err); /* begins to read what is there now, until a rollback */
  void (*rollback)(void *driver);               /* fine when nothing is open */
  bool (*in_transaction)(const void *driver);

  /* A violated constraint is ERR_CONFLICT, a database that is not to be had ERR_UNAVAILABLE. */
  Status (*prepare)(void *driver, const char *sql, void **statement, Error *err);
  void (*release)(void *statement);
  void (*bind_text)(void *statement, int at, const char *text); /* copied; NULL binds NULL */
  void (*bind_integer)(void *statement, int at, int64_t value);
  void (*bind_real)(void *statement, int at, double value);
  void (*bind_null)(void *statement, int at); /* of whatever type it is compared with */
  Status (*step)(void *driver, void *statement, bool *row, Error *err);
  int64_t (*changes)(void *driver, void *statement); /* rows that it wrote */
  const char *(*read_text)(void *statement, int at); /* NULL for NULL; valid until the next step or reset */
  int64_t (*read_integer)(void *statement, int at);  /* 0 for NULL */
  double (*read_real)(void *statement, int at);      /* 0 for NULL */
  int (*columns)(void *statement);                   /* of a row */
  const char *(*column)(void *statement, int at);    /* its name */
  DbType (*type)(void *statement, int at);           /* of its value in this row */
  void (*reset)(void *statement);                    /* ready to be bound again */

  /* Of databases that several coordinators share; NULL of others. */
  bool (*changed)(void *driver); /* somebody else committed since it was last asked, or may have */
  Status (*lead)(void *driver, bool *leads, Error *err);

  Status (*version)(void *driver, int64_t *version, Error *err); /* of the schema; 0: none yet */
  /* Runs the migration and marks it as done, in one transaction. */
  Status (*migrate)(void *driver, int64_t number, const char *sql, Error *err);
  Status (*number_on)(void *driver, Error *err); /* rows came with their numbers: the next ones get others; or NULL */
} DbOps;

typedef struct DbStatement {
  Ledger *ledger;
  const char *sql; /* a literal: compared by address */
  void *handle;    /* the driver's */
} DbStatement;

struct Ledger {
  const DbOps *ops;
  void *driver;             /* owned */
  char *name;               /* for messages: the file */
  DbStatement **statements; /* owned */
  size_t statement_count;
  LedgerJobWatch *watch; /* or NULL */
  void *watch_user;
  bool jobs_written; /* in the transaction that is open */
  int64_t seen;      /* the tip's sequence, as this process knows it */
  bool moved;        /* it was another */
};

Ledger *db_new(const DbOps *ops, void *driver, const char *name);
void db_job_written(Ledger *ledger, const LedgerJob *job);

/* ---- schema.c ---- */

extern const char schema_postgres_0007[]; /* postgres_schema.c */
/* Brings an open database up to this version. ERR_CONFIG if it is of a newer pgseal. */
Status schema_migrate(Ledger *ledger, Error *err) MUST_CHECK;
Status schema_migrate_to(Ledger *ledger, int64_t version, Error *err) MUST_CHECK; /* for tests: no further */
int64_t schema_latest(void);
Status schema_check_version(Ledger *ledger, Error *err) MUST_CHECK; /* ERR_CONFIG unless it is exactly this version's */

/* ---- statements ---- */

/* A statement ready to bind; prepared once per literal. Declare it with STATEMENT so that it is reset at scope exit. */
Status db_statement(Ledger *ledger, const char *sql, DbStatement **out, Error *err) MUST_CHECK;
void db_statement_reset(DbStatement **statement);
#define STATEMENT(name) CLEANUP(db_statement_reset) DbStatement *name = NULL
/* One step. *row: there is one. */
Status db_step(Ledger *ledger, DbStatement *statement, bool *row, Error *err) MUST_CHECK;
/* The one row of a bound statement is to be read now. ERR_NOT_FOUND with this message if there is none. */
Status db_row(Ledger *ledger, DbStatement *statement, Error *err, const char *missing, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;
/* All rows of a bound statement, each read into a zeroed item; on failure those read so far are freed. Use DB_LIST. */
typedef Status DbRead(DbStatement *statement, void *item, Error *err); /* releases what it read if it fails */
typedef void DbListFree(void *items, size_t count);
Status db_rows(Ledger *ledger, DbStatement *statement, size_t size, DbRead *read, DbListFree *list_free, void **items,
               size_t *count, Error *err) MUST_CHECK;
/* Defines Status name(Ledger *, DbStatement *, Type **items, size_t *count, Error *): db_rows with its types.
 * read(DbStatement *, Type *, Error *), list_free(Type *, size_t). */
#define DB_LIST(name, Type, read, list_free)                                                                           \
  static Status name##_item(DbStatement *statement, void *item, Error *err) {                                          \
    return read(statement, item, err);                                                                                 \
  }                                                                                                                    \
  static void name##_free(void *items, size_t count) {                                                                 \
    list_free(items, count);                                                                                           \
  }                                                                                                                    \
  MUST_CHECK static Status name(Ledger *ledger, DbStatement *statement, Type **items, size_t *count, Error *err) {     \
    void *list = NULL;                                                                                                 \
    Status status = db_rows(ledger, statement, sizeof(Type), name##_item, name##_free, &list, count, err);             \
    if (status == STATUS_OK)                                                                                           \
      *items = list;                                                                                                   \
    return status;                                                                                                     \
  }                                                                                                                    \
  struct Ledger /* wants a semicolon */
/* For INSERT and UPDATE: runs to the end; ERR_NOT_FOUND ("no such `what`: id") if no row was changed. */
Status db_change(Ledger *ledger, DbStatement *statement, const char *what, const char *id, Error *err) MUST_CHECK;

/* Of a row with the column `database`: in_scope(database, ?n), with the scope (JSON text, or NULL for all) as
 * parameter, is true if it is in it. Every driver has this function. */

/* Binding in order: *at is the next parameter's number, start with 1. NULL text and JSON bind NULL. */
void db_bind_text(DbStatement *statement, int *at, const char *text);
void db_bind_integer(DbStatement *statement, int *at, int64_t value);
void db_bind_real(DbStatement *statement, int *at, double value);
void db_bind_json(DbStatement *statement, int *at, const json_t *json);

/* Reading in order: *at is the next column, start with 0. Text is a new string, NULL for NULL. */
char *db_read_text(DbStatement *statement, int *at);
int64_t db_read_integer(DbStatement *statement, int *at);
double db_read_real(DbStatement *statement, int *at);
json_t *db_read_json(DbStatement *statement, int *at);          /* NULL for NULL, and for what is no JSON */
const char *db_peek_text(const DbStatement *statement, int at); /* borrowed until the next step; NULL for NULL */

/* ---- events ---- */

typedef struct LedgerTip { /* sequence 0 and 64 zeros: no event yet */
  int64_t sequence;
  char hash[LEDGER_HASH_SIZE];
} LedgerTip;

Status ledger_tip_get(Ledger *ledger, LedgerTip *tip, Error *err) MUST_CHECK;
/* Inserts the event (sequence, time and hash are set) and makes it the tip. detail: canonical JSON, or NULL. Inside a
 * transaction. ERR_CONFLICT if the tip is not the event before it: the chain never forks. */
Status ledger_event_insert(Ledger *ledger, const LedgerEvent *event, const char *detail, Error *err) MUST_CHECK;
/* The event is visit's to keep (then zeroed), else it is released. Other than STATUS_OK (err set) stops the walk. */
typedef Status LedgerEventVisit(void *user, LedgerEvent *event, Error *err);
Status ledger_event_walk(Ledger *ledger, const EventFilter *filter, LedgerEventVisit *visit, void *user,
                         Error *err) MUST_CHECK;

/* chain.c: what opening for writing verifies: all of the chain, or of a long one its end. */
Status ledger_chain_check_end(Ledger *ledger, Error *err) MUST_CHECK;

#endif
