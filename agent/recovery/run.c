#include <stdlib.h>
#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { REQUEST_LIMIT = 64 * 1024 };

static Status parse_request(RecoveryRun *run, Error *err) {
  const char *text = run->spec->request_json;
  json_error_t error;
  if (strlen(text) > REQUEST_LIMIT)
    return error_set(err, ERR_PROTOCOL, "the request is larger than %d bytes", REQUEST_LIMIT);
  run->request = *text ? json_loads(text, JSON_REJECT_DUPLICATES, &error) : json_object();
  if (!json_is_object(run->request))
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a request that is no JSON object");
  return STATUS_OK;
}

static Status load_key(RecoveryRun *run, Error *err) {
  const AgentConfig *config = run->context->config;
  if (!config->decryption_key) {
    error_set(err, ERR_CONFIG, "this agent has no decryption key, so it cannot read a checkpoint");
    error_remedy(err, "Name one in `keys.decryption_key` of %s, or take `restore` from the agent's capabilities.",
                 config->path ? config->path : "agent.yaml");
    return err->status;
  }
  return decryption_key_load(config->decryption_key, config->decryption_certificate, &run->key, err);
}

/* They become part of statements on the live server, as another role than the one that signed them. */
static Status check_columns(const Fingerprint *fingerprint, Error *err) {
  for (size_t i = 0; i < fingerprint->table_count; i++)
    if (!sql_is_name_list(fingerprint->tables[i].columns))
      return error_set(err, ERR_ARCHIVE_FORMAT, "the manifest's columns of %s.%s are no list of names",
                       fingerprint->tables[i].schema, fingerprint->tables[i].name);
  return STATUS_OK;
}

static Status read_manifest(RecoveryRun *run, Error *err) {
  const Pgseal__Job *job = run->context->job;
  run->place = (StoredPlace){run->repository, run->key};
  const StoredIdentity identity = {.public_key = run->spec->dump_public_key.data,
                                   .sha256 = run->spec->manifest_sha256,
                                   .checkpoint_id = job->checkpoint_id,
                                   .database = job->database,
                                   .agent = run->spec->dump_agent,
                                   .prefix = job->prefix,
                                   .major = (int)run->spec->server_major};
  Status status = stored_manifest(&run->place, &identity, &run->manifest, err);
  return status == STATUS_OK ? check_columns(&run->manifest.fingerprint, err) : status;
}

static Status open_archive(RecoveryRun *run, Error *err) {
  const PostgresWatch check = {recovery_check_hook, run};
  const ArchiveRange toc = {0, run->manifest.fingerprint.toc_size};
  Status status =
      recovery_source_open(&run->place, &run->manifest, run->context->job->prefix, &check, &run->source, err);
  if (status != STATUS_OK)
    return status;
  recovery_source_announce(run->source, &toc, 1);
  const ArchiveSource source = recovery_source_archive(run->source);
  status = archive_cut_open(&source, toc.end, &run->cut, err);
  if (status == STATUS_OK)
    run->then = run->stored = archive_index_new(archive_cut_toc(run->cut));
  return status;
}

/* A session of its own name on the target, so that its administrators see whose it is. */
static Status init_live(RecoveryRun *run, const char *application, Error *err) {
  Status status = dump_run_init(&run->live, run->context, err);
  if (status != STATUS_OK)
    return status;
  run->live.application = application;
  run->live.partial = true;
  run->database = *run->live.database;
  if (run->database.restore_conninfo_file)
    run->database.conninfo_file = run->database.restore_conninfo_file;
  run->live.database = &run->database;
  return STATUS_OK;
}

static Status take_spec(RecoveryRun *run, const JobContext *context, Error *err) {
  run->context = context;
  run->spec = context->job->recovery;
  run->started_us = clock_monotonic_us();
  if (!run->spec || run->spec->dump_public_key.len != PUBLIC_KEY_SIZE)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent no description of the checkpoint with the job");
  return STATUS_OK;
}

static Status open_checkpoint(RecoveryRun *run, Error *err) {
  Status status = load_key(run, err);
  if (status == STATUS_OK)
    status = agent_config_repository(run->context->config, &run->repository, err);
  if (status == STATUS_OK)
    status = read_manifest(run, err);
  return status == STATUS_OK ? open_archive(run, err) : status;
}

Status recovery_open(RecoveryRun *run, const JobContext *context, const char *application, Error *err) {
  Status status = take_spec(run, context, err);
  if (status == STATUS_OK)
    status = init_live(run, application, err);
  if (status == STATUS_OK)
    status = parse_request(run, err);
  return status == STATUS_OK ? open_checkpoint(run, err) : status;
}

Status recovery_open_copy(RecoveryRun *run, const JobContext *context, const char *application, Conninfo *conninfo,
                          const ArchiveToc *before, json_t *request, Error *err) {
  run->database = (AgentDatabase){.name = context->job->database};
  dump_run_prepare(&run->live, context, &run->database);
  run->live.application = application;
  run->live.partial = true;
  run->live.conninfo = conninfo;
  run->request = json_incref(request);
  Status status = take_spec(run, context, err);
  if (status == STATUS_OK)
    status = open_checkpoint(run, err);
  if (status == STATUS_OK)
    run->then = run->before = archive_index_new(before);
  return status;
}

void recovery_release(RecoveryRun *run) {
  archive_index_free(run->now);
  archive_reader_free(run->reader);
  archive_index_free(run->before);
  archive_index_free(run->stored);
  archive_cut_free(run->cut);
  recovery_source_close(&run->source);
  recovery_target_release(&run->target);
  dump_run_release(&run->live);
  manifest_release(&run->manifest);
  repository_close(run->repository);
  decryption_key_free(run->key);
  recovery_names_release(run);
  json_decref(run->request);
}

Status recovery_check(RecoveryRun *run, Error *err) {
  return dump_run_check(&run->live, err);
}

Status recovery_check_hook(void *run, Error *err) {
  return recovery_check(run, err);
}

void recovery_phase(RecoveryRun *run, const char *phase) {
  dump_run_phase(&run->live, phase);
}

void recovery_progress(RecoveryRun *run, size_t done, size_t total, const char *schema, const char *table) {
  CLEANUP_FREE char *name = sql_shown_name(schema, table);
  dump_run_table(&run->live, name);
  pthread_mutex_lock(&run->live.lock);
  run->live.progress.tables_done = (int64_t)done;
  run->live.progress.tables_total = (int64_t)total;
  pthread_mutex_unlock(&run->live.lock);
  dump_run_report(&run->live, false);
}

double recovery_seconds(const RecoveryRun *run) {
  return (double)(clock_monotonic_us() - run->started_us) / 1e6;
}

static json_t *text_or_null(const char *text) {
  return text ? json_string(text) : json_null();
}

static json_t *target_json(RecoveryRun *run) {
  const DumpSource *source = &run->live.source;
  const RecoveryTarget *target = &run->target;
  json_t *json = json_object();
  json_object_set_new(json, "database_name", recovery_text(run, source->database_name ? source->database_name : ""));
  json_object_set_new(json, "server_version", text_or_null(source->server_version));
  json_object_set_new(json, "address", text_or_null(target->address));
  json_object_set_new(json, "port", text_or_null(target->port));
  json_object_set_new(json, "user", recovery_text(run, target->user ? target->user : ""));
  json_object_set_new(json, "last_write", text_or_null(target->last_write));
  return json;
}

static json_t *checkpoint_json(const RecoveryRun *run) {
  char taken[CLOCK_TEXT_SIZE], finished[CLOCK_TEXT_SIZE];
  return json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", run->manifest.checkpoint_id, "tag", run->manifest.tag, "taken",
                   clock_format(run->manifest.started_us, taken), "finished",
                   clock_format(run->spec->finished_us ? run->spec->finished_us : run->manifest.finished_us, finished),
                   "proven", run->spec->proven);
}

json_t *recovery_report_head(RecoveryRun *run, const char *kind) {
  const RecoveryRead read = recovery_source_read(run->source);
  json_t *json = json_object();
  json_object_set_new(json, "version", json_integer(1));
  json_object_set_new(json, "kind", json_string(kind));
  json_object_set_new(json, "environment", json_string(run->spec->environment));
  json_object_set_new(json, "target", target_json(run));
  json_object_set_new(json, "checkpoint", checkpoint_json(run));
  json_object_set_new(json, "read",
                      json_pack("{s:I, s:I, s:I, s:I}", "bytes", (json_int_t)read.bytes, "of",
                                (json_int_t)read.of_bytes, "segments", (json_int_t)read.segments, "of_segments",
                                (json_int_t)read.of_segments));
  json_object_set_new(json, "seconds", json_real(recovery_seconds(run)));
  return json;
}

const FingerprintTable *recovery_table(const RecoveryRun *run, const char *schema, const char *name) {
  const Fingerprint *fingerprint = &run->manifest.fingerprint;
  for (size_t i = 0; i < fingerprint->table_count; i++)
    if (strcmp(fingerprint->tables[i].name, name) == 0 && strcmp(fingerprint->tables[i].schema, schema) == 0)
      return &fingerprint->tables[i];
  return NULL;
}
