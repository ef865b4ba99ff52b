#include <string.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

Status rehearsal_check(Rehearsal *rehearsal, Error *err) {
  Status status = drill_check(&rehearsal->drill, err);
  if (status != STATUS_OK || !rehearsal->deadline_us || clock_monotonic_us() < rehearsal->deadline_us)
    return status;
  rehearsal->over = true;
  error_set(err, ERR_BUDGET_EXCEEDED, "the copy is kept for %d seconds, and they are over",
            rehearsal->request.keep_seconds);
  error_remedy(err, "Ask for more (`--keep-seconds`), as far as `rehearse.keep_seconds` of the agent allows.");
  return err->status;
}

Status rehearsal_check_hook(void *rehearsal, Error *err) {
  return rehearsal_check(rehearsal, err);
}

Status rehearsal_copy_prepare(Rehearsal *rehearsal, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = drill_connect(&rehearsal->drill, rehearsal->drill.database_name, &session, err);
  if (status == STATUS_OK)
    status = postgres_query_watched(session, NULL, err, "ANALYZE", &(PostgresWatch){rehearsal_check_hook, rehearsal});
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(&rehearsal->drill, err);
}

static Status become(PGconn *session, const char *role, Error *err) {
  char *quoted = PQescapeIdentifier(session, role, strlen(role));
  CLEANUP_FREE char *sql = memory_format("SET SESSION AUTHORIZATION %s", quoted ? quoted : "''");
  PQfreemem(quoted);
  if (postgres_query(session, NULL, err, sql) == STATUS_OK)
    return STATUS_OK;
  error_set(err, ERR_INVALID_ARGUMENT, "the copy has no role %s", role);
  error_remedy(err, "Name a role of the database's server, and checkpoint the database with `roles: all`.");
  error_object(err, "%s", role);
  return err->status;
}

Status rehearsal_copy_connect(Rehearsal *rehearsal, PGconn **out, Error *err) {
  DrillRun *drill = &rehearsal->drill;
  Conninfo *conninfo = NULL;
  Status status = drill_conninfo(drill, drill->database_name, &conninfo, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(postgres_close) PGconn *session = NULL;
  conninfo_set(conninfo, "options", " "); /* none, and none of this process' environment */
  status = postgres_connect_plainly(conninfo, "pgseal rehearsal", &session, err);
  conninfo_free(conninfo);
  if (status != STATUS_OK)
    return drill_blame_cluster(drill, err);
  if (rehearsal->request.role)
    status = become(session, rehearsal->request.role, err);
  if (status == STATUS_OK)
    *out = STEAL(session);
  return status;
}
