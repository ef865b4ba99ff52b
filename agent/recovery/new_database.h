/* The parts of a restore into a new database, shared by new_database*.c only. */
#ifndef PGSEAL_AGENT_RECOVERY_NEW_DATABASE_H
#define PGSEAL_AGENT_RECOVERY_NEW_DATABASE_H

#include "agent/recovery/restore.h"

typedef struct NewDatabase {
  Restore *restore;
  const char *name;
  char *quoted;
  bool existed, created;
  PGconn *admin; /* in the configured database; NULL while that is the job's session still */
  char **made;   /* roles */
  size_t made_count;
} NewDatabase;

/* new_database.c */
bool new_database_is_of_it(const ArchiveEntry *entry); /* of the database itself, and not of what is in it */

/* new_database_roles.c */
/* Roles that are missing are refused (ERR_ROLE_MISSING), or made with `roles`, in one transaction: with what they were
 * at the checkpoint, but nothing that reaches beyond the database. Those that are there are left as they are. */
Status new_database_roles(NewDatabase *new, Error *err) MUST_CHECK;
/* Drops what was made; a note names those that cannot be dropped. False: there are such. */
bool new_database_drop_roles(NewDatabase *new, PGconn *session);
void new_database_release_roles(NewDatabase *new);

/* new_database_fill.c: pg_restore of all of it. A database that existed is filled in one transaction. */
Status new_database_fill(NewDatabase *new, Error *err) MUST_CHECK;

/* new_database_blobs.c: large objects by content. ERR_ROUND_TRIP_DIFFERS. */
Status new_database_check_large_objects(NewDatabase *new, Error *err) MUST_CHECK;

#endif
