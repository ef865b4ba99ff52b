#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { OMISSIONS_PER_KIND = 200 };

/* When a kind applies at all. */
typedef enum Applies { ALWAYS, IN_RECOVERY, SUPERUSER, NO_SUPERUSER, WITH_ROLES, WITHOUT_ROLES } Applies;

/* Each statement returns (object, detail), one row for each thing that a restore will not bring back. */
typedef struct Kind {
  const char *name;
  Applies applies;
  const char *sql;
} Kind;

#define NOT_A_MEMBER(catalog, object)                                                                                  \
  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog." catalog                       \
  "'::pg_catalog.regclass AND d.objid = " object " AND d.deptype = 'e')"

static const Kind kinds[] = {
    {"roles", WITHOUT_ROLES,
     "SELECT '', 'roles are not part of the checkpoint (roles: none): they must exist before a restore'"},
    {"role_passwords", WITH_ROLES, "SELECT '', 'roles are restored without their passwords: set them anew'"},
    {"foreign_table_data", ALWAYS,
     "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),"
     " 'its rows live on foreign server ' || pg_catalog.quote_ident(s.srvname) || ' and are not copied'"
     " FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_class c ON c.oid = f.ftrelid"
     " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver ORDER BY 1"},
    {"subscription", SUPERUSER,
     "SELECT pg_catalog.quote_ident(subname),"
     " 'is restored disabled and without its slot: enable it by hand, and copy or refresh what it missed'"
     " FROM pg_catalog.pg_subscription WHERE subdbid ="
     " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY 1"},
    {"subscription", NO_SUPERUSER,
     "SELECT pg_catalog.quote_ident(subname), 'is not dumped at all: pg_dump reads subscriptions as superuser only'"
     " FROM pg_catalog.pg_subscription WHERE subdbid ="
     " (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY 1"},
    {"user_mapping_options", NO_SUPERUSER,
     "SELECT pg_catalog.quote_ident(usename) || ' on ' || pg_catalog.quote_ident(srvname),"
     " 'options that this role may not see (a password, perhaps) are not dumped'"
     " FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL ORDER BY 1"},
    {"unlogged_data", IN_RECOVERY,
     "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), 'a standby does not have the rows of unlogged tables'"
     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " WHERE c.relpersistence = 'u' AND c.relkind = 'r' ORDER BY 1"},
    {"materialized_view_data", ALWAYS,
     "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),"
     " 'is computed anew by the restore, from the restored tables'"
     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " WHERE c.relkind = 'm' AND c.relispopulated" NOT_A_MEMBER("pg_class", "c.oid") " ORDER BY 1"},
    {"system_schema_table", ALWAYS,
     "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), 'pg_dump never dumps what is in this schema'"
     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
     " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.oid >= 16384 AND c.relpersistence <> 't'"
     " AND (n.nspname = 'information_schema' OR n.nspname ~ '^pg_')" NOT_A_MEMBER("pg_class", "c.oid") " ORDER BY 1"},
    {"tablespace", ALWAYS,
     "SELECT pg_catalog.quote_ident(t.spcname), pg_catalog.count(*) || ' objects are in this tablespace: it must exist"
     " before a restore, or the restore put them elsewhere'"
     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace"
     " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.oid >= 16384 AND n.nspname !~ '^pg_'"
     " GROUP BY t.spcname ORDER BY 1"},
    {"security_label", ALWAYS,
     "SELECT pg_catalog.quote_ident(provider), pg_catalog.count(*) || ' security labels need this provider to be loaded"
     " in the server that restores' FROM pg_catalog.pg_seclabel GROUP BY provider ORDER BY 1"},
    {"prepared_transaction", ALWAYS,
     "SELECT gid, 'was prepared and not yet committed: its changes are not part of the checkpoint'"
     " FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY 1"},
};

static bool applies(const DumpRun *run, Applies when) {
  switch (when) {
  case ALWAYS:
    return true;
  case IN_RECOVERY:
    return run->source.in_recovery;
  case SUPERUSER:
    return run->source.superuser;
  case NO_SUPERUSER:
    return !run->source.superuser;
  case WITH_ROLES:
    return run->database->roles;
  case WITHOUT_ROLES:
    return !run->database->roles;
  }
  return true;
}

static void omit_rest(DumpRun *run, const char *kind, int count) {
  if (count <= OMISSIONS_PER_KIND)
    return;
  CLEANUP_FREE char *detail = memory_format("and %d more", count - OMISSIONS_PER_KIND);
  dump_run_omit(run, kind, "", detail);
}

static Status find_kind(DumpRun *run, const Kind *kind, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err, kind->sql);
  if (status != STATUS_OK)
    return error_prefix(err, "looking for what a restore will not bring back (%s)", kind->name);
  int count = PQntuples(result);
  for (int row = 0; row < count && row < OMISSIONS_PER_KIND; row++)
    dump_run_omit(run, kind->name, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
  omit_rest(run, kind->name, count);
  return STATUS_OK;
}

/* Tables that CREATE EXTENSION makes and pg_extension_config_dump() was not called for. */
static const char member_tables_sql[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), e.extname,"
    " pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
    " JOIN pg_catalog.pg_class c ON c.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0 AND d.deptype = 'e'"
    " AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND c.relkind = 'r'"
    " AND c.relpersistence <> 't' AND (e.extconfig IS NULL OR c.oid <> ALL (e.extconfig)) ORDER BY 1";

/* In a savepoint: a table that cannot be read (locked, row security) is reported and costs the snapshot nothing, and
 * the lock is given back. */
static Status holds_rows(DumpRun *run, const char *table, bool *holds, Error *err) {
  PGconn *session = run->sessions[0];
  CLEANUP_FREE char *sql = memory_format("SELECT 1 FROM ONLY %s LIMIT 1", table);
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(session, NULL, err, "SAVEPOINT pgseal");
  if (status != STATUS_OK)
    return status;
  Error failure;
  status = postgres_query(session, &result, &failure, sql);
  if (status == ERR_DATABASE_LOST) {
    *err = failure;
    return status;
  }
  *holds = status != STATUS_OK || PQntuples(result) > 0;
  return postgres_query(session, NULL, err, "ROLLBACK TO SAVEPOINT pgseal");
}

static Status find_member_tables(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err, member_tables_sql);
  int count = 0;
  for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++) {
    const char *table = PQgetvalue(result, row, 0), *extension = PQgetvalue(result, row, 1);
    bool readable = *PQgetvalue(result, row, 2) == 't', holds = true;
    status = dump_run_check(run, err);
    if (status == STATUS_OK && readable)
      status = holds_rows(run, table, &holds, err);
    if (status != STATUS_OK || !holds || ++count > OMISSIONS_PER_KIND)
      continue;
    CLEANUP_FREE char *detail = memory_format(
        "%s: extension %s does not declare the table as configuration, so it is restored as CREATE EXTENSION makes it",
        readable ? "its rows are not dumped" : "rows that it may hold are not dumped", extension);
    dump_run_omit(run, "extension_table_data", table, detail);
  }
  if (status == STATUS_OK)
    omit_rest(run, "extension_table_data", count);
  return status;
}

Status dump_omissions_find(DumpRun *run, Error *err) {
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    Status status = applies(run, kinds[i].applies) ? find_kind(run, &kinds[i], err) : STATUS_OK;
    if (status != STATUS_OK)
      return status;
  }
  return find_member_tables(run, err);
}
