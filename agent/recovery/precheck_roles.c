/* Roles that the checkpoint names: all that are missing are told at once, before anything is written. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

void restore_roles_add(char ***names, size_t *count, const char *name) {
  for (size_t i = 0; i < *count; i++)
    if (strcmp((*names)[i], name) == 0)
      return;
  ARRAY_PUSH(*names, *count, memory_strdup(name));
}

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\t'))
    at++;
  return at;
}

/* "a, "b c", PUBLIC": an unquoted public is everybody, and no role. */
static const char *take_roles(const char *at, const char *end, char ***names, size_t *count) {
  static const char *const nobody[] = {"PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"};
  for (;;) {
    at = skip_space(at, end);
    char *name = NULL;
    bool special = false;
    for (size_t i = 0; i < ARRAY_SIZE(nobody); i++)
      special |= sql_at_word(at, end, nobody[i]);
    if (!sql_take_name(&at, end, &name))
      return at;
    if (!special)
      restore_roles_add(names, count, name);
    free(name);
    at = skip_space(at, end);
    if (at >= end || *at != ',')
      return at;
    at++;
  }
}

/* What stands behind the words at the top level of each statement: GRANT ... TO a, b; POLICY ... TO a, b USING (...).
 */
static void take_behind(const char *sql, const char *const *words, size_t word_count, char ***names, size_t *count) {
  const char *at = sql, *end = sql + strlen(sql);
  while (at < end) {
    const char *next = NULL;
    for (size_t i = 0; i < word_count && !next; i++)
      if (sql_at_word(at, end, words[i]))
        next = at + strlen(words[i]);
    at = next ? take_roles(next, end, names, count) : sql_skip_item(at, end);
  }
}

/* A constraint has its table's owner, and none that it is given to. */
bool restore_has_owner(const ArchiveEntry *entry) {
  CLEANUP_FREE char *statement = archive_owner_statement(entry, entry->owner);
  return statement != NULL && !archive_is_data(entry);
}

void restore_roles_of(const ArchiveEntry *entry, char ***names, size_t *count) {
  static const char *const grants[] = {"TO", "FROM", "SESSION AUTHORIZATION", "FOR ROLE"};
  static const char *const policies[] = {"TO"};
  static const char *const settings[] = {"ROLE"}; /* ALTER ROLE a IN DATABASE ... SET */
  bool acl = restore_is(entry, "ACL") || restore_is(entry, "DEFAULT ACL");
  if (restore_has_owner(entry))
    restore_roles_add(names, count, entry->owner);
  if (acl)
    take_behind(entry->defn, grants, ARRAY_SIZE(grants), names, count);
  else if (restore_is(entry, "POLICY"))
    take_behind(entry->defn, policies, ARRAY_SIZE(policies), names, count);
  else if (restore_is(entry, "DATABASE PROPERTIES"))
    take_behind(entry->defn, settings, ARRAY_SIZE(settings), names, count);
}

Status restore_roles_missing(Restore *restore, char *const *names, size_t count, char ***missing, size_t *missing_count,
                             Error *err) {
  *missing = NULL;
  *missing_count = 0;
  if (count == 0)
    return STATUS_OK;
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  buffer_append_text(&sql, "SELECT n.name FROM (VALUES ");
  for (size_t i = 0; i < count; i++) {
    buffer_append_text(&sql, i ? ", (" : "(");
    sql_append_literal(&sql, names[i]);
    buffer_append_text(&sql, ")");
  }
  buffer_append_text(&sql,
                     ") n(name) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = n.name::name)"
                     " ORDER BY 1");
  Status status = restore_run(restore, &result, err, buffer_text(&sql));
  for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
    ARRAY_PUSH(*missing, *missing_count, memory_strdup(PQgetvalue(result, i, 0)));
  return status;
}

Status restore_roles_refuse(Restore *restore, char *const *missing, size_t count, Error *err) {
  CLEANUP(restore_names_release) RestoreNames named = {0};
  CLEANUP(buffer_release) Buffer remedy = {0};
  for (size_t i = 0; i < count; i++) {
    CLEANUP_FREE char *name = sql_name(missing[i]);
    restore_names_add(&named, name);
    if (i < RESTORE_NAMED_LIMIT / 2)
      buffer_append_format(&remedy, " CREATE ROLE %s;", name);
  }
  error_set(err, ERR_ROLE_MISSING, "the target has not the role%s that the checkpoint's owners and grants name: %s",
            count == 1 ? "" : "s", restore_names_text(&named));
  error_remedy(err, "Make them on the target's server first%s:%s",
               restore->mode == RESTORE_NEW_DATABASE ? ", or have them made (`roles`)" : "", buffer_text(&remedy));
  error_object(err, "%s", missing[0]);
  return err->status;
}

/* Whoever gives a table to an owner has to be a member of it. */
static Status check_member(Restore *restore, char *const *owners, size_t count, Error *err) {
  if (restore->run.live.source.superuser || count == 0)
    return STATUS_OK;
  CLEANUP(restore_names_release) RestoreNames named = {0};
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  buffer_append_text(&sql, "SELECT pg_catalog.quote_ident(n.name) FROM (VALUES ");
  for (size_t i = 0; i < count; i++) {
    buffer_append_text(&sql, i ? ", (" : "(");
    sql_append_literal(&sql, owners[i]);
    buffer_append_text(&sql, ")");
  }
  buffer_append_text(&sql, ") n(name) WHERE NOT pg_catalog.pg_has_role(n.name::name, 'MEMBER') ORDER BY 1");
  Status status = restore_run(restore, &result, err, buffer_text(&sql));
  if (status != STATUS_OK || PQntuples(result) == 0)
    return status;
  for (int i = 0; i < PQntuples(result); i++)
    restore_names_add(&named, PQgetvalue(result, i, 0));
  const char *names = restore_names_text(&named);
  error_set(err, ERR_FORBIDDEN, "role %s cannot make these the owners of what is restored: %s",
            restore->run.live.source.role, names);
  error_remedy(err, "GRANT %s TO its role, or restore as a superuser (`restore_conninfo_file` of agent.yaml).", names);
  return err->status;
}

Status restore_check_roles(Restore *restore, Error *err) {
  char **names = NULL, **owners = NULL, **missing = NULL;
  size_t count = 0, owner_count = 0, missing_count = 0;
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    restore_roles_of(entry, &names, &count);
    if (restore_has_owner(entry))
      restore_roles_add(&owners, &owner_count, entry->owner);
  }
  Status status = restore_roles_missing(restore, names, count, &missing, &missing_count, err);
  if (status == STATUS_OK && missing_count > 0)
    status = restore_roles_refuse(restore, missing, missing_count, err);
  if (status == STATUS_OK)
    status = check_member(restore, owners, owner_count, err);
  restore_texts_release(names, count);
  restore_texts_release(owners, owner_count);
  restore_texts_release(missing, missing_count);
  return status;
}
