/* Roles that the server has already are left as they are; what was different at the checkpoint is told. */
#include <string.h>

#include "agent/recovery/new_database_roles.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const struct {
  RoleAttribute attribute;
  const char *column;
} columns[] = {
    {ROLE_SUPERUSER, "rolsuper"},         {ROLE_CREATEROLE, "rolcreaterole"}, {ROLE_CREATEDB, "rolcreatedb"},
    {ROLE_REPLICATION, "rolreplication"}, {ROLE_BYPASSRLS, "rolbypassrls"},   {ROLE_INHERIT, "rolinherit"},
    {ROLE_LOGIN, "rolcanlogin"},
};

/* CASE WHEN condition THEN what it was END */
static void add_case(Buffer *sql, const char *condition, const char *was) {
  buffer_append_format(sql, ", CASE WHEN %s THEN ", condition);
  sql_append_literal(sql, was);
  buffer_append_text(sql, " END");
}

static void add_attributes(Buffer *sql, const Role *role) {
  for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
    bool given = role->attributes & columns[i].attribute;
    CLEANUP_FREE char *differs = memory_format("%sr.%s", given ? "NOT " : "", columns[i].column);
    add_case(sql, differs, role_attribute_word(columns[i].attribute, given));
  }
  CLEANUP_FREE char *limited = memory_format("r.rolconnlimit <> %d", role->connection_limit);
  CLEANUP_FREE char *limit = memory_format("CONNECTION LIMIT %d", role->connection_limit);
  CLEANUP_FREE char *expires =
      role->valid_until ? memory_format("r.rolvaliduntil IS DISTINCT FROM %s::timestamptz", role->valid_until)
                        : memory_strdup("r.rolvaliduntil < 'infinity'");
  CLEANUP_FREE char *until = memory_format("VALID UNTIL %s", role->valid_until ? role->valid_until : "'infinity'");
  add_case(sql, limited, limit);
  add_case(sql, expires, until);
}

/* The catalog has 'search_path=a, "B c"' for what was written TO 'a', 'B c'. */
static void add_settings(Buffer *sql, const Role *role) {
  for (size_t i = 0; i < role->setting_count; i++) {
    const RoleSetting *setting = &role->settings[i];
    CLEANUP(buffer_release) Buffer name = {0};
    CLEANUP_FREE char *was = memory_format("SET %s TO %s", setting->name, setting->values);
    sql_append_literal(&name, setting->name);
    CLEANUP_FREE char *plain = setting->value_count == 1
                                   ? memory_format(" OR c = %s || '=' || %s", buffer_text(&name), setting->values)
                                   : memory_strdup("");
    CLEANUP_FREE char *differs =
        memory_format("NOT EXISTS (SELECT FROM pg_catalog.unnest(r.rolconfig) c WHERE c = %s || '=' || (SELECT"
                      " pg_catalog.string_agg(pg_catalog.quote_ident(v), ', ') FROM pg_catalog.unnest(ARRAY[%s]) v)%s)",
                      buffer_text(&name), setting->values, plain);
    add_case(sql, differs, was);
  }
}

static void add_memberships(Buffer *sql, const RolesAtHand *hand, const Role *role) {
  for (size_t i = 0; i < hand->list.membership_count; i++) {
    const RoleMembership *one = &hand->list.memberships[i];
    if (strcmp(one->member, role->name) != 0)
      continue;
    CLEANUP(buffer_release) Buffer literal = {0};
    CLEANUP_FREE char *group = sql_name(one->role), *was = memory_format("member of %s", group);
    sql_append_literal(&literal, one->role);
    CLEANUP_FREE char *differs =
        memory_format("NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid AND"
                      " pg_catalog.pg_get_userbyid(m.roleid) = %s)",
                      buffer_text(&literal));
    add_case(sql, differs, was);
  }
}

Status new_database_compare_roles(Restore *restore, RolesAtHand *hand, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; i < hand->needed_count && status == STATUS_OK; i++) {
    const Role *role = roles_find(&hand->list, hand->needed[i]);
    if (!role)
      continue;
    CLEANUP(buffer_release) Buffer sql = {0};
    CLEANUP(postgres_clear) PGresult *result = NULL;
    CLEANUP_FREE char *name = sql_name(role->name);
    buffer_append_text(&sql, "SELECT pg_catalog.concat_ws(', '");
    add_attributes(&sql, role);
    add_settings(&sql, role);
    add_memberships(&sql, hand, role);
    buffer_append_text(&sql, ") FROM pg_catalog.pg_roles r WHERE r.rolname = ");
    sql_append_literal(&sql, role->name);
    status = restore_run(restore, &result, err, buffer_text(&sql));
    if (status != STATUS_OK)
      return error_prefix(err, "comparing role %s", name);
    if (PQntuples(result) > 0 && *PQgetvalue(result, 0, 0))
      restore_note(restore, "Role %s is there already and was left as it is; at the checkpoint it was different: %s.",
                   name, PQgetvalue(result, 0, 0));
  }
  return status;
}
