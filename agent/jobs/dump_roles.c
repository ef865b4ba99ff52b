#include <string.h>

#include "agent/jobs/dump.h"
#include "agent/jobs/dump_store.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { ROLES_LIMIT = 64 << 20, ROLES_CHUNK = 64 * 1024 };

/* The name as it was given, or else as the server tells it. It goes into a connection string, since a bare name that
 * looks like one would be taken for one. */
static char *database_argument(const DumpRun *run) {
  const char *given = conninfo_get(run->conninfo, "dbname");
  const char *name = given ? given : run->source.database_name;
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "--database=dbname='");
  for (const char *p = name; *p; p++) {
    if (*p == '\'' || *p == '\\')
      buffer_append_byte(&text, '\\');
    buffer_append_byte(&text, (uint8_t)*p);
  }
  buffer_append_text(&text, "'");
  return buffer_steal_text(&text);
}

static Status read_roles(DumpRun *run, Process *process, Buffer *out, Error *err) {
  for (;;) {
    buffer_reserve(out, out->size + ROLES_CHUNK);
    size_t got = 0;
    Status status = dump_tool_read(run, process, out->data + out->size, ROLES_CHUNK, &got, err);
    if (status != STATUS_OK || got == 0)
      return status;
    out->size += got;
    if (out->size > ROLES_LIMIT)
      return error_set(err, ERR_SOURCE_UNREPRESENTABLE, "the cluster's roles are more than %d MiB of SQL",
                       ROLES_LIMIT >> 20);
  }
}

/* Reads pg_roles, not pg_authid, so that no superuser is needed; for the same reason passwords are not part of it. */
static Status run_dumpall(DumpRun *run, Buffer *out, Error *err) {
  CLEANUP_FREE char *database = database_argument(run);
  const char *arguments[] = {"pg_dumpall", "--roles-only", "--no-role-passwords", database, NULL};
  CLEANUP(process_release) Process process = {0};
  Status status = dump_tool_start(run, arguments, &process, err);
  if (status == STATUS_OK)
    status = read_roles(run, &process, out, err);
  if (status == STATUS_OK)
    status = dump_tool_finish(&process, "pg_dumpall", err);
  if (status == ERR_TABLE_UNREADABLE) {
    err->status = ERR_DATABASE_REFUSED;
    error_remedy(err,
                 "Grant pgseal's role what the message names, or set `roles: none` for %s in agent.yaml and keep "
                 "the roles elsewhere.",
                 run->database->name);
  }
  if (status != STATUS_OK)
    return error_prefix(err, "the cluster's roles");
  dump_tool_warnings(run, "pg_dumpall", buffer_text(&process.errors));
  return STATUS_OK;
}

Status dump_roles(DumpRun *run, ManifestSegment *out, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0}, encoded = {0};
  Status status = run_dumpall(run, &sql, err);
  if (status != STATUS_OK)
    return status;
  DumpStore store = {.repository = run->repository,
                     .recipients = run->recipients,
                     .zstd_level = run->context->config->zstd_level,
                     .check = dump_run_check_hook,
                     .user = run};
  CLEANUP_FREE char *key = manifest_roles_key(run->context->job->prefix);
  ManifestSegment roles = {0};
  status = dump_store_put(&store, key, sql.data, sql.size, &encoded, &roles, err);
  if (status != STATUS_OK)
    return status;
  *out = roles;
  pthread_mutex_lock(&run->lock);
  run->progress.roles_stored = true;
  run->roles_bytes = (int64_t)roles.size;
  run->progress.bytes_stored = run->roles_bytes;
  pthread_mutex_unlock(&run->lock);
  dump_run_report(run, true);
  return STATUS_OK;
}
