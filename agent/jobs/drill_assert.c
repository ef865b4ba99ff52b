#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static Status assert_error(Error *err, const char *name, const char *what) {
  error_set(err, ERR_ASSERTION_ERROR, "assertion \"%s\" %s", name, what);
  error_object(err, "%s", name);
  return err->status;
}

static Status assert_result(const PGresult *result, const char *name, Error *err) {
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != 1 || PQntuples(result) != 1)
    return assert_error(err, name, "must return one row of one column");
  enum { TYPE_BOOL = 16 };
  if (PQftype(result, 0) != TYPE_BOOL)
    return assert_error(err, name, "must return a boolean");
  if (!PQgetisnull(result, 0, 0) && strcmp(PQgetvalue(result, 0, 0), "t") == 0)
    return STATUS_OK;
  error_set(err, ERR_ASSERTION_FAILED, "assertion \"%s\" is %s on the restored copy", name,
            PQgetisnull(result, 0, 0) ? "null" : "false");
  error_object(err, "%s", name);
  return err->status;
}

/* With parameters (none), the server takes one statement only: nothing can end the read-only transaction. */
static Status assert_query(DrillRun *run, PGconn *session, const Pgseal__Assertion *assertion, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(session, NULL, err, "BEGIN READ ONLY");
  if (status == STATUS_OK)
    status = postgres_query(session, NULL, err, "SET LOCAL statement_timeout = '60s'");
  if (status != STATUS_OK)
    return drill_blame_cluster(run, err);
  Error refused;
  status = postgres_query_params(session, &result, &refused, assertion->sql, 0, NULL);
  if (status == STATUS_OK) {
    status = assert_result(result, assertion->name, err);
  } else if (status == ERR_DATABASE_LOST) {
    *err = refused;
    return drill_blame_cluster(run, err);
  } else {
    CLEANUP_FREE char *what = memory_format("does not run: %s", refused.message);
    status = assert_error(err, assertion->name, what);
  }
  Error ignored;
  if (postgres_query(session, NULL, &ignored, "ROLLBACK") != STATUS_OK && status == STATUS_OK) {
    *err = ignored;
    status = ignored.status;
  }
  return status;
}

Status drill_assert(DrillRun *run, Error *err) {
  run->assertions = json_array();
  if (run->spec->n_assertions == 0)
    return STATUS_OK;
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = drill_connect(run, run->database_name, &session, err);
  if (status != STATUS_OK)
    return status;
  Error first;
  Status worst = STATUS_OK;
  for (size_t i = 0; i < run->spec->n_assertions; i++) {
    const Pgseal__Assertion *assertion = run->spec->assertions[i];
    status = drill_check(run, err);
    if (status != STATUS_OK)
      return status;
    Error failed;
    status = assert_query(run, session, assertion, &failed);
    json_array_append_new(run->assertions, json_pack("{s:s, s:b}", "name", assertion->name, "ok", status == STATUS_OK));
    /* one that does not run says nothing about the checkpoint, one that is false does; all are tried */
    if (status == STATUS_OK || (worst == ERR_ASSERTION_FAILED && status == ERR_ASSERTION_ERROR))
      continue;
    if (worst == STATUS_OK || status != worst) {
      first = failed;
      worst = status;
    }
    if (status != ERR_ASSERTION_FAILED && status != ERR_ASSERTION_ERROR)
      break;
  }
  if (worst != STATUS_OK)
    *err = first;
  return worst;
}
