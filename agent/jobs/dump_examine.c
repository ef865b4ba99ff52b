#include "agent/jobs/examine.h"

#include <stdlib.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { EXAMINE_LOCK_TIMEOUT_MS = 5000 };

void dump_examination_release(DumpExamination *examination) {
  free(examination->server_version);
  free(examination->dump_version);
  free(examination->role);
  *examination = (DumpExamination){0};
}

static Status measure(DumpRun *run, DumpExamination *out, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err,
                                 "SELECT pg_catalog.pg_database_size(pg_catalog.current_database()),"
                                 " (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint");
  if (status != STATUS_OK)
    return status;
  out->bytes = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  out->server_us = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
  return STATUS_OK;
}

static Status examine(DumpRun *run, DumpExamination *out, Error *err) {
  Status status = dump_source_learn(run, err);
  const DumpSource *source = &run->source;
  out->major = source->major;
  out->superuser = source->superuser;
  out->server_version = source->server_version ? memory_strdup(source->server_version) : NULL;
  out->dump_version = source->tools_version ? memory_strdup(source->tools_version) : NULL;
  out->role = source->role ? memory_strdup(source->role) : NULL;
  if (status == STATUS_OK)
    status = measure(run, out, err);
  if (status == STATUS_OK)
    status = dump_catalog_list(run->sessions[0], &run->tables, err);
  out->tables = run->tables.count;
  if (status == STATUS_OK)
    status = dump_catalog_check(&run->tables, source, err);
  return status == STATUS_OK ? dump_catalog_check_large_objects(run, err) : status;
}

Status dump_examine(const AgentConfig *config, const AgentDatabase *database, DumpExamination *out, Error *err) {
  JobContext context = {.config = config};
  DumpRun run = {.context = &context,
                 .database = database,
                 .application = "pgseal doctor",
                 .lock_timeout_ms = EXAMINE_LOCK_TIMEOUT_MS};
  *out = (DumpExamination){0};
  Status status = examine(&run, out, err);
  for (size_t i = 0; i < run.session_count; i++)
    postgres_close(&run.sessions[i]);
  conninfo_free(run.conninfo);
  dump_source_release(&run.source);
  dump_tables_release(&run.tables);
  return status;
}
