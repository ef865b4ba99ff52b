/*
 * Roles for a new database, made as they were at the checkpoint. The server may hold others' databases, so that nothing
 * is given that reaches beyond this one: no SUPERUSER and its like, no membership that leads to such a role, no
 * password. What was not given is told, so that the server's administrator may. Roles that are there are never altered.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/new_database.h"
#include "agent/recovery/new_database_roles.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"

static const RoleAttribute beyond[] = {ROLE_SUPERUSER, ROLE_CREATEROLE, ROLE_CREATEDB, ROLE_REPLICATION,
                                       ROLE_BYPASSRLS};
static const char lacks_name[] = "the server has no such role";

static bool holds(char *const *names, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0)
      return true;
  return false;
}

static void add(Buffer *list, const char *text) {
  buffer_append_format(list, "%s%s", list->size ? ", " : "", text);
}

/* ---- what the checkpoint has ---- */

static Status read_roles(NewDatabase *new, RoleList *list, Error *err) {
  const RecoveryRun *run = &new->restore->run;
  if (!run->manifest.has_roles)
    return STATUS_OK;
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP_FREE char *key = manifest_roles_key(run->context->job->prefix);
  StoredRead read;
  Status status = stored_read(&run->place, key, &sql, &read, err);
  if (status == STATUS_OK)
    status = stored_check(key, &read, &run->manifest.roles, err);
  if (status == STATUS_OK && memchr(sql.data, 0, sql.size))
    status = error_set(err, ERR_SEGMENT_CORRUPT, "%s is no SQL", key);
  if (status == STATUS_OK)
    roles_parse((const char *)sql.data, sql.size, list);
  return status;
}

/* Owners, grantees, whom policies, settings and default privileges are for; of the database itself, too, unless it was
 * there and keeps its own. */
static void name_roles(NewDatabase *new, RolesAtHand *hand) {
  const ArchiveToc *toc = archive_index_toc(new->restore->run.then);
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (new->existed && new_database_is_of_it(entry))
      continue;
    restore_roles_of(entry, &hand->needed, &hand->needed_count);
    if (restore_has_owner(entry))
      restore_roles_add(&hand->owners, &hand->owner_count, entry->owner);
  }
}

/* And the roles that these are members of. PostgreSQL's own are there, or cannot be made. */
static void add_groups(RolesAtHand *hand) {
  for (size_t i = 0; i < hand->needed_count; i++)
    for (size_t m = 0; m < hand->list.membership_count; m++) {
      const RoleMembership *one = &hand->list.memberships[m];
      if (strcmp(one->member, hand->needed[i]) == 0 && strncmp(one->role, "pg_", 3) != 0)
        restore_roles_add(&hand->needed, &hand->needed_count, one->role);
    }
}

/* ---- making one ---- */

/* A setting that a superuser alone may change could load a library into every session of the role's. */
static Status may_set(Restore *restore, const RoleSetting *setting, char **name, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  sql_append_literal(&literal, setting->name);
  Status status = restore_runf(restore, &result, err,
                               "SELECT s.name FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) ="
                               " pg_catalog.lower(%s) AND s.context = 'user'",
                               buffer_text(&literal));
  *name = status == STATUS_OK && PQntuples(result) > 0 ? memory_strdup(PQgetvalue(result, 0, 0)) : NULL;
  return status;
}

static Status make_settings(Restore *restore, RoleMade *made, const Role *role, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; i < role->setting_count && status == STATUS_OK; i++) {
    const RoleSetting *setting = &role->settings[i];
    CLEANUP_FREE char *text = memory_format("SET %s", setting->name), *name = NULL;
    status = may_set(restore, setting, &name, err);
    if (status == STATUS_OK && name)
      status = restore_runf(restore, NULL, err, "ALTER ROLE %s SET %s TO %s", made->quoted, name, setting->values);
    add(name ? &made->given : &made->withheld, text);
  }
  return status;
}

static void give(RoleMade *made, Buffer *sql, const char *attribute) {
  add(&made->given, attribute);
  buffer_append_format(sql, " %s", attribute);
}

static void give_attributes(RoleMade *made, const Role *role, Buffer *sql) {
  static const RoleAttribute own[] = {ROLE_LOGIN, ROLE_INHERIT};
  CLEANUP_FREE char *limit = memory_format("CONNECTION LIMIT %d", role->connection_limit);
  CLEANUP_FREE char *until = memory_format("VALID UNTIL %s", role->valid_until ? role->valid_until : "");
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    give(made, sql, role_attribute_word(own[i], role->attributes & own[i]));
  if (role->connection_limit >= 0)
    give(made, sql, limit);
  if (role->valid_until)
    give(made, sql, until);
  for (size_t i = 0; i < ARRAY_SIZE(beyond); i++)
    if (role->attributes & beyond[i])
      add(&made->withheld, role_attribute_word(beyond[i], true));
}

static Status make_role(Restore *restore, RoleMade *made, const Role *role, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0};
  buffer_append_format(&sql, "CREATE ROLE %s", made->quoted);
  if (role)
    give_attributes(made, role, &sql);
  else
    add(&made->given, "NOLOGIN, since the checkpoint does not say what it was");
  Status status = restore_run(restore, NULL, err, buffer_text(&sql));
  if (status == STATUS_OK && role && role->comment)
    status = restore_runf(restore, NULL, err, "COMMENT ON ROLE %s IS %s", made->quoted, role->comment);
  if (status == STATUS_OK && role)
    status = make_settings(restore, made, role, err);
  made->login = role && (role->attributes & ROLE_LOGIN);
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "making role %s", made->quoted);
}

/* ---- memberships ---- */

/* *why: it is not for a restore to make somebody a member of this role, which is there already; NULL: it is. */
static Status may_join(Restore *restore, const char *role, const char **why, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  sql_append_literal(&literal, role);
  Status status = restore_runf(
      restore, &result, err,
      "WITH RECURSIVE up(oid) AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s::name UNION"
      " SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN up ON m.member = up.oid)"
      " SELECT pg_catalog.count(*), pg_catalog.bool_or(r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR"
      " r.rolreplication OR r.rolbypassrls OR r.rolname ~ '^pg_') FROM up JOIN pg_catalog.pg_roles r ON r.oid = up.oid",
      buffer_text(&literal));
  if (status != STATUS_OK)
    return status;
  *why = strcmp(PQgetvalue(result, 0, 0), "0") == 0 ? lacks_name
         : *PQgetvalue(result, 0, 1) == 't'         ? "which reaches beyond the database"
                                                    : NULL;
  return STATUS_OK;
}

static Status grant(Restore *restore, const RoleMembership *one, bool admin, Error *err) {
  CLEANUP_FREE char *role = sql_name(one->role), *member = sql_name(one->member);
  CLEANUP(buffer_release) Buffer options = {0};
  if (admin)
    add(&options, "ADMIN OPTION");
  if (restore->run.live.source.major >= 16) {
    if (one->inherit != ROLE_OPTION_UNSAID)
      add(&options, one->inherit == ROLE_OPTION_TRUE ? "INHERIT TRUE" : "INHERIT FALSE");
    if (!one->set)
      add(&options, "SET FALSE");
  }
  return restore_runf(restore, NULL, err, "GRANT %s TO %s%s%s", role, member, options.size ? " WITH " : "",
                      buffer_text(&options));
}

/* The transaction goes on where this may not be granted. */
static Status try_grant(Restore *restore, const RoleMembership *one, bool admin, const char **why, Error *err) {
  Error failure;
  Status status = restore_run(restore, NULL, err, "SAVEPOINT pgseal_membership");
  if (status != STATUS_OK || grant(restore, one, admin, &failure) == STATUS_OK)
    return status;
  if (failure.status != ERR_FORBIDDEN) {
    *err = failure;
    return err->status;
  }
  *why = "which the role of the restore may not grant";
  return restore_run(restore, NULL, err, "ROLLBACK TO SAVEPOINT pgseal_membership");
}

static Status join(Restore *restore, const RolesAtHand *hand, RoleMade *made, const RoleMembership *one, Error *err) {
  bool ours = holds(hand->missing, hand->missing_count, one->role);
  CLEANUP_FREE char *role = sql_name(one->role);
  const char *why = NULL;
  Status status = ours ? STATUS_OK : may_join(restore, one->role, &why, err);
  if (status == STATUS_OK && !why)
    status = try_grant(restore, one, ours && one->admin, &why, err);
  if (status != STATUS_OK)
    return error_prefix(err, "making %s a member of %s", made->quoted, role);
  CLEANUP_FREE char *text = why ? memory_format("member of %s (%s)", role, why)
                                : memory_format("member of %s%s", role, ours && one->admin ? " WITH ADMIN OPTION" : "");
  add(why ? &made->withheld : &made->given, text);
  if (!why && one->admin && !ours)
    add(&made->withheld, "ADMIN OPTION on it");
  return STATUS_OK;
}

static Status join_all(Restore *restore, const RolesAtHand *hand, RoleMade *made, Error *err) {
  Status status = STATUS_OK;
  for (size_t m = 0; m < hand->list.membership_count && status == STATUS_OK; m++)
    if (strcmp(hand->list.memberships[m].member, made->name) == 0)
      status = join(restore, hand, made, &hand->list.memberships[m], err);
  return status;
}

/* Who is no superuser has to be a member of a role to make it an owner; who made it may become one. */
static Status join_owner(Restore *restore, const RolesAtHand *hand, RoleMade *made, Error *err) {
  if (restore->run.live.source.superuser || !holds(hand->owners, hand->owner_count, made->name))
    return STATUS_OK;
  Status status = restore_runf(restore, NULL, err, "GRANT %s TO CURRENT_USER", made->quoted);
  buffer_append_format(&made->after, " The role of the restore, %s, is a member of it now.",
                       restore->run.live.source.role);
  return status;
}

/* ---- all of them ---- */

static void tell_made(Restore *restore, RoleMade *made) {
  restore_note(restore, "Role %s was made: %s.%s%s%s%s%s", made->quoted, buffer_text(&made->given),
               made->login ? " It has no password: set one." : "",
               made->withheld.size ? " Not given, since it is for the server's administrator to do: " : "",
               buffer_text(&made->withheld), made->withheld.size ? "." : "", buffer_text(&made->after));
}

static void made_release(RoleMade *made) {
  free(made->quoted);
  buffer_release(&made->given);
  buffer_release(&made->withheld);
  buffer_release(&made->after);
}

static Status make_all(NewDatabase *new, RolesAtHand *hand, RoleMade *made, Error *err) {
  Restore *restore = new->restore;
  Status status = restore_run(restore, NULL, err, "BEGIN");
  for (size_t i = 0; i < hand->missing_count && status == STATUS_OK; i++) {
    made[i].name = hand->missing[i];
    made[i].quoted = sql_name(hand->missing[i]);
    status = make_role(restore, &made[i], roles_find(&hand->list, hand->missing[i]), err);
  }
  for (size_t i = 0; i < hand->missing_count && status == STATUS_OK; i++) {
    status = join_all(restore, hand, &made[i], err);
    if (status == STATUS_OK)
      status = join_owner(restore, hand, &made[i], err);
  }
  if (status != STATUS_OK) {
    Error failure;
    if (postgres_query(restore_session(restore), NULL, &failure, "ROLLBACK") != STATUS_OK)
      log_failure(LOG_LEVEL_WARN, "the making of roles is rolled back with its session", &failure);
    return status;
  }
  for (size_t i = 0; i < hand->missing_count; i++)
    ARRAY_PUSH(new->made, new->made_count, memory_strdup(hand->missing[i]));
  return restore_run(restore, NULL, err, "COMMIT");
}

static Status make_missing(NewDatabase *new, RolesAtHand *hand, Error *err) {
  if (hand->missing_count == 0)
    return STATUS_OK;
  CLEANUP_FREE RoleMade *made = memory_alloc(hand->missing_count * sizeof *made);
  Status status = make_all(new, hand, made, err);
  for (size_t i = 0; i < hand->missing_count; i++) {
    if (status == STATUS_OK)
      tell_made(new->restore, &made[i]);
    made_release(&made[i]);
  }
  return status;
}

static void tell_names(Restore *restore, const char *what, RestoreNames *names) {
  if (names->count > 0)
    restore_note(restore, "%s: %s.", what, restore_names_text(names));
}

/* Who was a member of what is restored, and has no other part in it: a login, often. Who is there is not altered. */
static Status tell_members(Restore *restore, const RolesAtHand *hand, Error *err) {
  char **members = NULL, **absent = NULL;
  size_t count = 0, absent_count = 0;
  CLEANUP(restore_names_release) RestoreNames unmade = {0}, unjoined = {0};
  for (size_t m = 0; m < hand->list.membership_count; m++) {
    const RoleMembership *one = &hand->list.memberships[m];
    if (holds(hand->needed, hand->needed_count, one->role) && !holds(hand->needed, hand->needed_count, one->member))
      restore_roles_add(&members, &count, one->member);
  }
  Status status = restore_roles_missing(restore, members, count, &absent, &absent_count, err);
  for (size_t i = 0; i < absent_count; i++) {
    CLEANUP_FREE char *name = sql_name(absent[i]);
    restore_names_add(&unmade, name);
  }
  for (size_t m = 0; m < hand->list.membership_count; m++) {
    const RoleMembership *one = &hand->list.memberships[m];
    if (!holds(hand->missing, hand->missing_count, one->role) || !holds(members, count, one->member) ||
        holds(absent, absent_count, one->member))
      continue;
    CLEANUP_FREE char *role = sql_name(one->role), *member = sql_name(one->member);
    CLEANUP_FREE char *text = memory_format("%s (of %s)", member, role);
    restore_names_add(&unjoined, text);
  }
  if (status == STATUS_OK) {
    tell_names(restore, "Not made, since nothing in the database names them: members of the roles above", &unmade);
    tell_names(restore, "Were members of roles that were made anew, and are not any more", &unjoined);
  }
  restore_texts_release(members, count);
  restore_texts_release(absent, absent_count);
  return status;
}

static void hand_release(RolesAtHand *hand) {
  roles_release(&hand->list);
  restore_texts_release(hand->needed, hand->needed_count);
  restore_texts_release(hand->owners, hand->owner_count);
  restore_texts_release(hand->missing, hand->missing_count);
}

Status new_database_roles(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  CLEANUP(hand_release) RolesAtHand hand = {0};
  Status status = restore->roles ? read_roles(new, &hand.list, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  name_roles(new, &hand);
  add_groups(&hand);
  status = restore_roles_missing(restore, hand.needed, hand.needed_count, &hand.missing, &hand.missing_count, err);
  if (status == STATUS_OK && hand.missing_count > 0 && !restore->roles)
    status = restore_roles_refuse(restore, hand.missing, hand.missing_count, err);
  if (status == STATUS_OK && restore->roles)
    status = new_database_compare_roles(restore, &hand, err);
  if (status == STATUS_OK)
    status = make_missing(new, &hand, err);
  if (status == STATUS_OK)
    status = tell_members(restore, &hand, err);
  return status == STATUS_OK ? restore_check_roles(restore, err) : status;
}

bool new_database_drop_roles(NewDatabase *new, PGconn *session) {
  CLEANUP(restore_names_release) RestoreNames left = {0};
  for (size_t i = new->made_count; i > 0; i--) {
    Error failure;
    CLEANUP_FREE char *name = sql_name(new->made[i - 1]), *sql = memory_format("DROP ROLE IF EXISTS %s", name);
    if (postgres_query(session, NULL, &failure, sql) == STATUS_OK)
      continue;
    log_failure(LOG_LEVEL_WARN, "a role that was made cannot be dropped", &failure);
    restore_names_add(&left, name);
  }
  if (left.count > 0)
    restore_note(new->restore, "Roles that were made are left, drop them: %s.", restore_names_text(&left));
  return left.count == 0;
}

void new_database_release_roles(NewDatabase *new) {
  restore_texts_release(new->made, new->made_count);
  new->made = NULL;
  new->made_count = 0;
}
