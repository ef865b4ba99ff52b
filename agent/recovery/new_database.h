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
} NewDatabase;

/* new_database_fill.c: pg_restore of all of it. A database that existed is filled in one transaction. */
Status new_database_fill(NewDatabase *new, Error *err) MUST_CHECK;

/* new_database_blobs.c: large objects by content. ERR_ROUND_TRIP_DIFFERS. */
Status new_database_check_large_objects(NewDatabase *new, Error *err) MUST_CHECK;

#endif
