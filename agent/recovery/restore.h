/*
 * The parts of the restore job, shared by its files only. It writes to the target, in one transaction, and proves what
 * it wrote before it commits: all or nothing.
 *
 *   restore.c          the request, the order of things, the report
 *   transaction.c      the one session that writes: begin, commit, what became of a commit whose answer was lost
 *   in_place.c         missing tables where they were, with their closure
 *   precheck.c         what can be known to be in the way is found before anything is written
 *   precheck_roles.c   roles that owners and grants name
 *   displace.c         what stands in the way is moved aside, whole
 *   load.c             rows out of the archive's blocks, by COPY
 *   foreign_keys.c     constraints that the rows may break
 *   sequences.c        forward, never backwards
 *   verify.c           rows read back before the commit, definitions after it
 *   beside.c           tables' rows into a schema of their own
 *   difference.c       what differs, row by row
 *   script.c           the statements that put it right
 *   script_run.c       runs them
 *   new_database*.c    the whole checkpoint into a database of its own
 *
 * A Restore belongs to the job's main thread. No row's content is ever logged, reported, or part of an error.
 */
#ifndef PGSEAL_AGENT_RECOVERY_RESTORE_H
#define PGSEAL_AGENT_RECOVERY_RESTORE_H

#include "agent/recovery/recovery.h"

enum { RESTORE_NAMED_LIMIT = 20 /* of a kind in one message */, RESTORE_NAME_SIZE = 64 /* of a PostgreSQL name */ };

/* Held in a database that is written to. The number is anybody's: "pgseal" in ASCII. */
#define RESTORE_ADVISORY_LOCK "123589619966316"

typedef enum RestoreMode { RESTORE_IN_PLACE, RESTORE_BESIDE, RESTORE_SCRIPT, RESTORE_NEW_DATABASE } RestoreMode;

typedef struct RestoreMoved { /* names in the database's encoding */
  char *schema, *name;
  char kind;    /* pg_class.relkind */
  char *parent; /* quoted: the partitioned table that it leaves; or NULL */
} RestoreMoved;

typedef struct RestoreFloor {
  long entry; /* SEQUENCE SET */
  int64_t value;
  bool called;
} RestoreFloor;

typedef struct Restore {
  RecoveryRun run;
  RestoreMode mode;
  bool replace, not_valid, roles; /* as asked for */
  ArchiveSelection selection;
  ArchiveResolution resolution; /* take: what is put back */
  long *order;                  /* of that */
  size_t order_count;

  RestoreMoved *moved; /* what is moved aside */
  size_t moved_count;
  char *hanging;        /* all of that, and what hangs on it, as it was found before the transaction */
  RestoreFloor *floors; /* where sequences stood */
  size_t floor_count;
  StatementList dropped_keys; /* foreign keys of others that point at what is moved */

  bool begun, committed, unknown; /* unknown: the answer to the COMMIT is lost, and nobody can be asked */
  char *transaction;              /* its id; NULL: none was begun */

  int64_t rows_written, bytes_expected;
  size_t tables_done, tables_total;
  bool differs; /* after the commit, something is not as in the checkpoint */

  /* what the report says; all new references */
  char *schema; /* rescue or displaced; NULL: none */
  json_t *tables, *objects, *foreign_keys, *displaced, *left_out, *differences, *notes;
  char *script, script_sha256[SHA256_HEX_SIZE];
} Restore;

/* restore.c */
void restore_note(Restore *restore, const char *format, ...) PRINTF_LIKE(2, 3);
PGconn *restore_session(Restore *restore);
/* "pgseal_rescue_" and the end of the checkpoint's id. The caller frees. */
char *restore_schema_name(const Restore *restore, const char *prefix);
/* What the schema's comment says, by which it is known as this checkpoint's. The caller frees. */
char *restore_schema_mark(const Restore *restore, const char *what);
/* A list of names for a message: "a, b, c and 4 more". */
typedef struct RestoreNames {
  Buffer text;
  size_t count;
} RestoreNames;
void restore_names_add(RestoreNames *names, const char *name);
const char *restore_names_text(RestoreNames *names);
void restore_names_release(RestoreNames *names);
const ArchiveEntry *restore_entry(const Restore *restore, long entry); /* of the checkpoint */
bool restore_is(const ArchiveEntry *entry, const char *desc);
/* The schema is made if it is not there, for nobody but this role; ERR_CONFLICT where it is there and not `mark`ed.
 * *existed may be NULL. In the transaction. */
Status restore_schema_make(Restore *restore, const char *schema, const char *mark, bool *existed,
                           Error *err) MUST_CHECK;

/* transaction.c */
/* ERR_CONFLICT where another restore is at work in the database: there is one at a time. */
Status restore_begin(Restore *restore, Error *err) MUST_CHECK;
Status restore_commit(Restore *restore, Error *err) MUST_CHECK;
/* One or more statements; watched, and what goes wrong is put into words. result may be NULL. */
Status restore_run(Restore *restore, PGresult **result, Error *err, const char *sql) MUST_CHECK;
Status restore_runf(Restore *restore, PGresult **result, Error *err, const char *format, ...)
    PRINTF_LIKE(4, 5) MUST_CHECK;
/* A failure of a statement that writes: gives it the code and the remedy that fit a restore. Returns err->status. */
Status restore_explain(Restore *restore, Error *err);
/* `SET LOCAL` of what the archive presumes: encoding, search_path, ... */
Status restore_settle(Restore *restore, Error *err) MUST_CHECK;
/* Tells in *err what is left of a restore that failed: nothing, unless it was committed. */
void restore_tell_rest(const Restore *restore, Error *err);

/* in_place.c, beside.c, script_run.c, new_database.c */
Status restore_in_place(Restore *restore, Error *err) MUST_CHECK;
Status restore_beside(Restore *restore, Error *err) MUST_CHECK;
Status restore_script(Restore *restore, Error *err) MUST_CHECK;
Status restore_new_database(Restore *restore, Error *err) MUST_CHECK;

/* precheck.c */
/* The target is the right database, may be written to, and is of a version that the checkpoint fits. */
Status restore_check_target(Restore *restore, Error *err) MUST_CHECK;
/* Names that are taken, privileges, extensions, row security. After restore_look and archive_resolve. */
Status restore_check_place(Restore *restore, Error *err) MUST_CHECK;
/* What can be a relation's name in its schema and is made by the entry: "orders", or the index of a constraint. NULL:
 * it makes none. The caller frees. Pure. */
char *restore_relation_name(const ArchiveEntry *entry);
bool restore_is_displaced(const Restore *restore, const char *schema, const char *name);

/* precheck_roles.c */
/* ERR_ROLE_MISSING: all that owners and grants of what is taken name and the server has not. */
Status restore_check_roles(Restore *restore, Error *err) MUST_CHECK;
/* Names of roles that an entry names: its owner, whom it grants to, whom a policy or a setting is for. *names grows.
 * Pure. */
void restore_roles_of(const ArchiveEntry *entry, char ***names, size_t *count);
void restore_roles_add(char ***names, size_t *count, const char *name); /* unless it is there */
bool restore_has_owner(const ArchiveEntry *entry);                      /* one that it is given to */
/* ERR_ROLE_MISSING, which names them. */
Status restore_roles_refuse(Restore *restore, char *const *missing, size_t count, Error *err) MUST_CHECK;
/* Those of `names` that the server has not; *missing and its strings are freed by the caller. */
Status restore_roles_missing(Restore *restore, char *const *names, size_t count, char ***missing, size_t *missing_count,
                             Error *err) MUST_CHECK;
void restore_texts_release(char **texts, size_t count);

/* displace.c */
/* What stands where chosen relations belong, and all that hangs on it: fills `moved`, and has what goes with it put
 * back, too (restore->resolution.take). ERR_CONFLICT names what the checkpoint cannot put back. Before anything is
 * written. */
Status restore_displace_check(Restore *restore, Error *err) MUST_CHECK;
/* In the transaction: ERR_CONFLICT if what was found is not so any more, now that it is locked. */
Status restore_displace(Restore *restore, Error *err) MUST_CHECK;

/* load.c */
/* All rows that will be wanted, so that they are fetched ahead. */
void restore_announce(Restore *restore);
/* The rows of a TABLE DATA entry, by the COPY statement given. */
Status restore_load(Restore *restore, long entry, const char *copy, Error *err) MUST_CHECK;
const FingerprintTable *restore_table_of(const Restore *restore, long entry); /* of TABLE DATA; NULL: none */
void restore_count(Restore *restore, int64_t rows, int64_t bytes);            /* progress */

/* foreign_keys.c */
Status restore_foreign_key(Restore *restore, long entry, Error *err) MUST_CHECK;
/* SQL that counts the rows of the child that have no parent; NULL if the definition is none that pg_dump writes. The
 * caller frees. Pure. */
char *restore_orphans_sql(const char *defn);

/* sequences.c */
/* Sets it as the archive says, then forward past what its column holds and past `floor` (NULL: none), which is where
 * the one stood that it replaces. */
Status restore_sequence(Restore *restore, long entry, Error *err) MUST_CHECK;
Status restore_sequences_note(Restore *restore, Error *err) MUST_CHECK; /* where they stand, before they are moved */

/* verify.c */
/* The live schema into run->now, with the list of tables. */
Status restore_look(Restore *restore, Error *err) MUST_CHECK;
/* Rows of `schema.table` against the manifest's. ERR_ROUND_TRIP_DIFFERS. */
Status restore_verify_rows(Restore *restore, const FingerprintTable *expected, const char *schema, const char *table,
                           const char *columns, Error *err) MUST_CHECK;
Status restore_verify_definitions(Restore *restore, Error *err) MUST_CHECK; /* after the commit */

#endif
