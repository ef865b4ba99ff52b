#include <limits.h>
#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

void recovery_target_release(RecoveryTarget *target) {
  free(target->address);
  free(target->port);
  free(target->user);
  free(target->last_write);
  *target = (RecoveryTarget){0};
}

/* When this database was last written to, as far as the server knows: what it has replayed, the last commit where
 * commits are given their time (track_commit_timestamp; of any database of the server), and who is writing to it just
 * now. */
static const char facts_sql[] =
    "SELECT pg_catalog.host(pg_catalog.inet_server_addr()), pg_catalog.current_setting('port'), CURRENT_USER,"
    " pg_catalog.to_char(GREATEST("
    "  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xact_replay_timestamp()"
    "   WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on'"
    "   THEN (SELECT c.\"timestamp\" FROM pg_catalog.pg_last_committed_xact() c) END,"
    "  (SELECT pg_catalog.max(a.state_change) FROM pg_catalog.pg_stat_activity a"
    "   WHERE a.datname = pg_catalog.current_database() AND a.backend_xid IS NOT NULL"
    "   AND a.pid <> pg_catalog.pg_backend_pid())) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";

static char *copy_field(const PGresult *result, int column) {
  return PQgetisnull(result, 0, column) ? NULL : memory_strdup(PQgetvalue(result, 0, column));
}

static Status learn_facts(RecoveryRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->live.sessions[0], &result, err, facts_sql);
  if (status != STATUS_OK)
    return status;
  run->target = (RecoveryTarget){.address = copy_field(result, 0),
                                 .port = copy_field(result, 1),
                                 .user = copy_field(result, 2),
                                 .last_write = copy_field(result, 3)};
  return STATUS_OK;
}

/* Should the agent's host vanish in mid-statement, nothing of the job outlives its budget on the server. */
static void limit_time(RecoveryRun *run) {
  const Pgseal__Budgets *budgets = run->context->job->budgets;
  uint32_t seconds = budgets ? budgets->total_seconds : 0;
  if (seconds > 0)
    run->live.statement_timeout_ms = seconds < INT_MAX / 1000 ? (int)seconds * 1000 : INT_MAX;
}

Status recovery_target_open(RecoveryRun *run, bool reads, Error *err) {
  if (reads)
    limit_time(run);
  Status status = dump_preflight(&run->live, err);
  if (status == STATUS_OK)
    status = learn_facts(run, err);
  if (status == STATUS_OK)
    recovery_patterns_learn(run);
  return status;
}

Status recovery_target_snapshot(RecoveryRun *run, Error *err) {
  return dump_snapshot_take(&run->live, err);
}
