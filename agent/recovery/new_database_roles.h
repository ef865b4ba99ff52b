/* The parts of making roles, shared by new_database_roles*.c only. */
#ifndef PGSEAL_AGENT_RECOVERY_NEW_DATABASE_ROLES_H
#define PGSEAL_AGENT_RECOVERY_NEW_DATABASE_ROLES_H

#include "agent/recovery/restore.h"
#include "common/archive/roles.h"

typedef struct RoleMade {
  const char *name;
  char *quoted;
  bool login;
  Buffer given, withheld, after; /* for the note */
} RoleMade;

typedef struct RolesAtHand {
  RoleList list; /* the checkpoint's; empty if it has none */
  char **needed, **owners, **missing;
  size_t needed_count, owner_count, missing_count;
} RolesAtHand;

/* new_database_roles_compare.c: a note for each role that is there and was different at the checkpoint. */
Status new_database_compare_roles(Restore *restore, RolesAtHand *hand, Error *err) MUST_CHECK;

#endif
