/*
 * Roles are restored through libpq, statement by statement, and not by psql: psql would run whatever of its own
 * commands (\!, \copy) stood in an object that is only held against the manifest's digest once the dump has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/archive/script.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

bool drill_roles_creates(const char *statement, const char *role) {
  static const char create[] = "CREATE ROLE ";
  if (strncmp(statement, create, strlen(create)) != 0)
    return false;
  const char *name = statement + strlen(create);
  if (*name != '"')
    return strcmp(name, role) == 0;
  for (name++; *name && *role; name++, role++) {
    if (*name == '"' && *++name != '"')
      return false; /* it ends before the role's name does */
    if (*name != *role)
      return false;
  }
  return !*role && strcmp(name, "\"") == 0;
}

/* "GRANT a TO b" and the like are about belonging; without the rest there is no role. */
static Status roles_failed(const char *statement, Error *err) {
  bool grant = strncmp(statement, "GRANT ", 6) == 0;
  const char *remedy = NULL;
  if (err->status == ERR_DATABASE_LOST)
    return ERR_DATABASE_LOST;
  err->status = drill_classify_message(err->message, grant ? ERR_RESTORE_GRANT_LOST : ERR_RESTORE_OBJECT_LOST, &remedy);
  error_remedy(err, "%s", remedy ? remedy : error_default_remedy(err->status));
  /* three words: what, of which kind, and whose name; what follows may be a password */
  const char *end = statement + strlen(statement);
  size_t size = 0;
  for (int words = 0; words < 3 && statement[size]; words++) {
    size += strspn(statement + size, " \n");
    size = statement[size] == '"' ? (size_t)(sql_skip_token(statement + size, end) - statement)
                                  : size + strcspn(statement + size, " \n");
  }
  CLEANUP_FREE char *head = memory_strndup(statement, size);
  char clean[ERROR_OBJECT_SIZE];
  error_object(err, "%s", text_show(head, clean, sizeof clean));
  return error_prefix(err, "restoring the roles");
}

static Status roles_run(DrillRun *run, const Buffer *sql, Error *err) {
  Status status = STATUS_OK;
  Script script;
  script_open(&script, (const char *)sql->data, sql->size);
  for (ScriptPiece piece; status == STATUS_OK && (piece = script_next(&script)) != SCRIPT_END;) {
    if (piece == SCRIPT_COMMAND) /* psql's \restrict */
      continue;
    CLEANUP_FREE char *statement = memory_strndup(script.piece, script.size);
    if (drill_roles_creates(statement, run->bootstrap_role))
      continue; /* the cluster was made with it */
    status = drill_check(run, err);
    if (status != STATUS_OK)
      break;
    status = postgres_query(run->admin, NULL, err, statement);
    if (status != STATUS_OK)
      status = roles_failed(statement, err);
  }
  return status;
}

/* Whatever the source says of its bootstrap role, the drill must get in; pg_dump does not tell of any of this. */
static Status roles_keep_door_open(DrillRun *run, Error *err) {
  const char *role = run->bootstrap_role;
  char *quoted = PQescapeIdentifier(run->admin, role, strlen(role));
  if (!quoted)
    return error_set(err, ERR_INTERNAL, "the bootstrap role's name cannot be quoted");
  CLEANUP_FREE char *attributes = memory_format("ALTER ROLE %s SUPERUSER LOGIN CONNECTION LIMIT -1", quoted);
  CLEANUP_FREE char *settings = memory_format("ALTER ROLE %s RESET ALL", quoted);
  PQfreemem(quoted);
  Status status = postgres_query(run->admin, NULL, err, attributes);
  if (status == STATUS_OK)
    status = postgres_query(run->admin, NULL, err, settings);
  /* statements above may have changed this session's settings */
  return status == STATUS_OK ? postgres_query(run->admin, NULL, err, "RESET ALL") : status;
}

Status drill_roles(DrillRun *run, Error *err) {
  Status status = drill_await_roles(run, err);
  if (status != STATUS_OK || !run->has_roles)
    return status;
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP_FREE char *key = manifest_roles_key(run->prefix);
  const StoredPlace place = drill_place(run);
  status = stored_read(&place, key, &sql, &run->roles_read, err);
  if (status != STATUS_OK)
    status = drill_manifest_blame(run, DRILL_ROLES, &run->roles_read, err);
  if (status == STATUS_OK && run->manifest_read)
    status = drill_manifest_check_roles(run, err);
  if (status == STATUS_OK && memchr(sql.data, 0, sql.size))
    status = error_set(err, ERR_SEGMENT_CORRUPT, "%s is no SQL", key);
  if (status != STATUS_OK)
    return status;
  status = roles_run(run, &sql, err);
  if (status == STATUS_OK)
    status = roles_keep_door_open(run, err);
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(run, err);
}
