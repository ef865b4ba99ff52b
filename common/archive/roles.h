/*
 * A cluster's roles as `pg_dumpall --roles-only` writes them (PostgreSQL 10 to 18), taken apart. Any text is taken:
 * what is none of its statements is passed over, a password too. Literals are kept as they are written, quotes
 * included, and are nothing but literals. Pure; a RoleList belongs to one thread at a time.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_ROLES_H
#define PGSEAL_COMMON_ARCHIVE_ROLES_H

#include <stdbool.h>
#include <stddef.h>

typedef enum RoleAttribute {
  ROLE_SUPERUSER = 1,
  ROLE_CREATEROLE = 2,
  ROLE_CREATEDB = 4,
  ROLE_REPLICATION = 8,
  ROLE_BYPASSRLS = 16,
  ROLE_INHERIT = 32,
  ROLE_LOGIN = 64
} RoleAttribute;

typedef struct RoleSetting { /* ALTER ROLE ... SET name TO values */
  char *name;
  char *values; /* 'a', 'b' */
  size_t value_count;
} RoleSetting;

typedef struct Role {
  char *name;
  unsigned attributes;
  int connection_limit; /* -1: none */
  char *valid_until;    /* a literal; NULL: for ever */
  char *comment;        /* a literal; NULL: none */
  RoleSetting *settings;
  size_t setting_count;
} Role;

typedef enum RoleOption { ROLE_OPTION_UNSAID, ROLE_OPTION_FALSE, ROLE_OPTION_TRUE } RoleOption;

typedef struct RoleMembership { /* by all grantors together: one per pair */
  char *role, *member;
  bool admin;
  RoleOption inherit; /* said from 16 on; before, the member's own INHERIT counts */
  bool set;
} RoleMembership;

typedef struct RoleList {
  Role *roles;
  size_t role_count, found; /* found: the last one */
  RoleMembership *memberships;
  size_t membership_count;
} RoleList;

void roles_parse(const char *text, size_t size, RoleList *out); /* out is zeroed; roles_release */
void roles_release(RoleList *list);                             /* for CLEANUP() */
/* NULL: there is none. Quick where roles are asked for in their order. */
const Role *roles_find(RoleList *list, const char *name);
/* The word for one attribute: "LOGIN", and if it is not given, "NOLOGIN". */
const char *role_attribute_word(RoleAttribute attribute, bool given);

#endif
