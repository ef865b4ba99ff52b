#include <stdlib.h>
#include <string.h>

#include "agent/jobs/trial.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* ---- what is read ---- */

typedef struct Meddled {
  Repository *inner; /* owned */
  Trial *trial;
  char *prefix;
} Meddled;

static Status meddled_put(void *backend, const char *key, const void *data, size_t size, const uint8_t *sha256,
                          RepositoryVersion *version, Error *err) {
  (void)backend, (void)data, (void)size, (void)sha256, (void)version;
  return error_set(err, ERR_INTERNAL, "a trial would store %s", key);
}

static Status meddled_remove(void *backend, const char *key, RepositoryRemoval *removal, Error *err) {
  (void)backend, (void)removal;
  return error_set(err, ERR_INTERNAL, "a trial would remove %s", key);
}

static Status meddled_list(void *backend, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
                           Error *err) {
  Meddled *meddled = backend;
  return repository_list_after(meddled->inner, prefix, after, visit, user, err);
}

static void meddled_close(void *backend) {
  Meddled *meddled = backend;
  repository_close(meddled->inner);
  free(meddled->prefix);
  free(meddled);
}

/* The segment beside it, which there is. */
static char *neighbour(const Meddled *meddled, const char *key) {
  CLEANUP_FREE char *first = manifest_segment_key(meddled->prefix, 0);
  return manifest_segment_key(meddled->prefix, strcmp(key, first) == 0 ? 1 : 0);
}

static Status meddled_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  Meddled *meddled = backend;
  Trial *trial = meddled->trial;
  if (!trial->key || strcmp(key, trial->key) != 0)
    return repository_get(meddled->inner, key, limit, out, err);
  atomic_store(&trial->damaged, true);
  if (trial->damage == TRIAL_SEGMENT_MISSING)
    return error_set(err, ERR_OBJECT_NOT_FOUND, "there is no object %s", key);
  CLEANUP_FREE char *other = trial->damage == TRIAL_SEGMENT_SWAPPED ? neighbour(meddled, key) : NULL;
  Status status = repository_get(meddled->inner, other ? other : key, limit, out, err);
  if (status != STATUS_OK || other || out->size == 0)
    return status;
  if (trial->damage == TRIAL_SEGMENT_TRUNCATED)
    out->size /= 2;
  else
    out->data[trial->at % out->size] ^= (uint8_t)(1u << (trial->at / out->size % 8));
  return STATUS_OK;
}

static const RepositoryOps meddled_ops = {.put = meddled_put,
                                          .get = meddled_get,
                                          .list = meddled_list,
                                          .remove = meddled_remove,
                                          .close = meddled_close,
                                          .retries = true};

void trial_repository(DrillRun *run, Trial *trial) {
  Meddled *meddled = memory_alloc(sizeof *meddled);
  *meddled = (Meddled){.inner = run->repository, .trial = trial, .prefix = memory_strdup(run->prefix)};
  run->repository = repository_new(&meddled_ops, meddled, repository_description(meddled->inner));
}

Status trial_choose(const DrillRun *run, Trial *trial, Error *err) {
  size_t count = run->manifest.segment_count;
  switch (trial->damage) {
  case TRIAL_MANIFEST_BYTE:
    trial->key = manifest_key(run->prefix);
    return STATUS_OK;
  case TRIAL_SEGMENT_BYTE:
  case TRIAL_SEGMENT_TRUNCATED:
  case TRIAL_SEGMENT_MISSING:
  case TRIAL_SEGMENT_SWAPPED:
    if (count < (trial->damage == TRIAL_SEGMENT_SWAPPED ? 2 : 1))
      return error_set(err, ERR_INVALID_ARGUMENT, "checkpoint %s has %zu segments: that cannot be damaged as %s",
                       run->context->job->checkpoint_id, count, trial_damage_name(trial->damage));
    trial->key = manifest_segment_key(run->prefix, trial->at % count);
    return STATUS_OK;
  default:
    return STATUS_OK;
  }
}

/* ---- the copy ---- */

/* Tables whose rows are part of a dump, and where nothing else happens when one is deleted. */
static const char tables_sql[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND NOT c.relhasrules AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
    "AND d.objid = c.oid AND d.deptype = 'e') ORDER BY c.relpages DESC, c.oid LIMIT 100";

static Status lose_row(PGconn *session, const char *table, bool *lost, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP_FREE char *sql =
      memory_format("DELETE FROM ONLY %s WHERE ctid IN (SELECT ctid FROM ONLY %s LIMIT 1)", table, table);
  Status status = postgres_query(session, &result, err, sql);
  *lost = status == STATUS_OK && strcmp(PQcmdTuples(result), "1") == 0;
  return status;
}

static Status lose_some_row(PGconn *session, bool *lost, Error *err) {
  CLEANUP(postgres_clear) PGresult *tables = NULL;
  Status status = postgres_query(session, NULL, err, "SET session_replication_role = replica"); /* no triggers */
  if (status == STATUS_OK)
    status = postgres_query(session, &tables, err, tables_sql);
  for (int i = 0; status == STATUS_OK && !*lost && i < PQntuples(tables); i++)
    status = lose_row(session, PQgetvalue(tables, i, 0), lost, err);
  return status;
}

Status trial_tamper(DrillRun *run, Error *err) {
  Trial *trial = run->trial;
  if (trial->damage != TRIAL_ROW_LOST && trial->damage != TRIAL_OBJECT_ADDED)
    return STATUS_OK;
  CLEANUP(postgres_close) PGconn *session = NULL;
  bool lost = false;
  Status status = drill_connect(run, run->database_name, &session, err);
  if (status == STATUS_OK && trial->damage == TRIAL_ROW_LOST)
    status = lose_some_row(session, &lost, err);
  if (status == STATUS_OK && !lost) {
    trial->damage = TRIAL_OBJECT_ADDED;
    status = postgres_query(session, NULL, err, "CREATE SCHEMA pgseal_canary");
  }
  atomic_store(&trial->damaged, status == STATUS_OK);
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(run, err);
}
