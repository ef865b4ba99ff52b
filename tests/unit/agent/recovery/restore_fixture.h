/*
 * Restores in this process, of checkpoints that the dump job made of the fixture's PostgreSQL (dump_fixture.h). The
 * database is `shop`; a test damages it, restores, and looks.
 */
#ifndef PGSEAL_TESTS_RESTORE_FIXTURE_H
#define PGSEAL_TESTS_RESTORE_FIXTURE_H

#include "tests/unit/agent/recovery/recovery_fixture.h"

/* What is said of pg_restore's errors is the drill's, which follows dumps; here nothing is followed. */
Status job_follow_wait(const JobContext *context, uint64_t *last, int timeout_ms, JobFollow *out, Error *err) {
  (void)context, (void)last, (void)timeout_ms, (void)out;
  return error_set(err, ERR_INTERNAL, "there is nothing to follow");
}

void job_follow_release(JobFollow *follow) {
  (void)follow;
}

static inline PGconn *shop(const Fixture *fixture) {
  return connect_to(fixture, "shop", "postgres");
}

static inline void run_sql(const Fixture *fixture, const char *text) {
  sql(fixture, "shop", text);
}

static inline char *shop_text(const Fixture *fixture, const char *query) {
  PGconn *connection = shop(fixture);
  PGresult *result = PQexec(connection, query);
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", query, PQerrorMessage(connection));
  char *text = memory_strdup(PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
  PQclear(result);
  PQfinish(connection);
  return text;
}

static inline void expect_shop(const Fixture *fixture, const char *query, const char *expected) {
  CLEANUP_FREE char *found = shop_text(fixture, query);
  if (strcmp(found, expected) != 0)
    fail_msg("%s: %s, not %s", query, found, expected);
}

/* A new database shop; a test's own, so that tests do not depend on each other. */
static inline void shop_make(Fixture *fixture, const char *text) {
  sql(fixture, "postgres", "DROP DATABASE IF EXISTS shop WITH (FORCE)");
  sql(fixture, "postgres", "CREATE DATABASE shop");
  run_sql(fixture, text);
}

/* user: whom the restore connects as. The report belongs to the caller; NULL if there is none. */
static inline Status run_restore_as(Fixture *fixture, const Sealed *sealed, const char *user, const char *dbname,
                                    const char *request, json_t **report, Error *err) {
  CLEANUP_FREE char *more = memory_format("user=%s dbname=%s", user, dbname);
  CLEANUP_FREE char *id = memory_format("restore-%d", ++fixture->attempt);
  Pgseal__RecoverySpec spec;
  recovery_job(fixture, sealed, more, request, &spec);
  spec.server_major = 0; /* as the manifest says */
  fixture->job.id = id;
  fixture->job.kind = PGSEAL__JOB_KIND__JOB_KIND_RESTORE;
  fixture->budgets.lock_timeout_seconds = 2;
  fixture->budgets.total_seconds = 120;
  JobContext context = {&fixture->config, &fixture->job, fixture->scratch, &fixture->channel};
  Pgseal__JobResult *result = memory_alloc(sizeof *result);
  pgseal__job_result__init(result);
  memset(err, 0, sizeof *err);
  Status status = restore_job_run(&context, result, err);
  fixture->job.id = (char *)"job-1";
  fixture->job.recovery = NULL;
  assert_int_equal(status, err->status);
  *report = *result->report_json ? json_loads(result->report_json, 0, NULL) : NULL;
  pgseal__job_result__free_unpacked(result, NULL);
  fixture->channel.hook = NULL;
  return status;
}

static inline json_t *restored(Fixture *fixture, const Sealed *sealed, const char *request) {
  json_t *report = NULL;
  Error err;
  if (run_restore_as(fixture, sealed, "postgres", "shop", request, &report, &err) != STATUS_OK)
    fail_msg("the restore failed: %s: %s (%s)", error_code(err.status), err.message, err.remedy);
  assert_non_null(report);
  return report;
}

static inline void expect_refused_as(Fixture *fixture, const Sealed *sealed, const char *user, const char *request,
                                     Status expected, const char *names, Error *err) {
  json_t *report = NULL;
  Status status = run_restore_as(fixture, sealed, user, "shop", request, &report, err);
  json_decref(report);
  if (status != expected)
    fail_msg("%s, not %s: %s", status ? error_code(status) : "ok", error_code(expected), err->message);
  if (names && !strstr(err->message, names))
    fail_msg("\"%s\" does not name %s", err->message, names);
  assert_true(strlen(err->remedy) > 0);
}

static inline void expect_refused(Fixture *fixture, const Sealed *sealed, const char *request, Status expected,
                                  const char *names, Error *err) {
  expect_refused_as(fixture, sealed, "postgres", request, expected, names, err);
}

static inline void expect_flag(const json_t *report, const char *member, bool expected) {
  const json_t *value = json_object_get(report, member);
  if (!json_is_boolean(value) || json_is_true(value) != expected) {
    CLEANUP_FREE char *text = json_dumps(report, JSON_INDENT(1));
    fail_msg("%s is not %s: %s", member, expected ? "true" : "false", text);
  }
}

#endif
