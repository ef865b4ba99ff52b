/*
 * A source cluster, keys, a repository and an agent's configuration for the tests of the drill job, and checkpoints
 * made by hand: pg_dump's stream, cut into segments, with a manifest as the dump job would write it.
 */
#ifndef PGSEAL_TESTS_DRILL_FIXTURE_H
#define PGSEAL_TESTS_DRILL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine/engine.h"
#include "agent/jobs/channel.h"
#include "agent/jobs/job.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/manifest/manifest.h"
#include "common/postgres/connection.h"

enum {
  FIXTURE_MAJOR = 15, /* unless source_open is told another */
  FIXTURE_SEGMENT = 60000,
  FIXTURE_LIMIT = 64 << 20
};

typedef struct Source { /* shared by the tests of one program */
  char *root;           /* everything lies below it */
  Engine *engine;
  DrillConfig drill;
  Cluster *cluster;
  char *tools_dir, *tools_version;
  char *drill_key, *drill_certificate, *foreign_key, *foreign_certificate, *signing_key;
  uint8_t public_key[PUBLIC_KEY_SIZE];
  int major;
  PostgresBinDir bin_dirs[1];
  size_t bin_dir_count;
} Source;

/* How a checkpoint is made. */
typedef struct CheckpointOptions {
  const char *database;
  bool no_roles;
  bool other_fingerprint;                 /* the manifest is signed, but its fingerprint is not the archive's */
  const char *replace, *with;             /* in the archive, same length, every occurrence */
  const char *roles_replace, *roles_with; /* in the roles, likewise */
} CheckpointOptions;

typedef struct Checkpoint {
  char *id, *prefix, *scratch;
  char sha256[SHA256_HEX_SIZE];
  Manifest manifest;
} Checkpoint;

typedef struct Drill {
  AgentConfig config;
  Pgseal__Job job;
  Pgseal__DrillSpec spec;
  JobChannel channel;
  JobContext context;
  Pgseal__JobResult result;
  Error failure;
  Status status;
} Drill;

#define assert_ok(call)                                                                                                \
  do {                                                                                                                 \
    Error call_error = {0}, *err = &call_error;                                                                        \
    if ((call) != STATUS_OK)                                                                                           \
      fail_msg("%s: %s: %s (%s)", #call, error_code(call_error.status), call_error.message, call_error.remedy);        \
  } while (0)

static inline PGconn *source_connect(const Source *source, const char *database) {
  const char *keys[] = {"host", "user", "dbname", NULL};
  const char *values[] = {cluster_socket_dir(source->cluster), cluster_superuser(source->cluster), database, NULL};
  PGconn *connection = PQconnectdbParams(keys, values, 0);
  if (PQstatus(connection) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(connection));
  return connection;
}

static inline void session_run(PGconn *connection, const char *sql) {
  PGresult *result = PQexec(connection, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%.200s: %s", sql, PQerrorMessage(connection));
  PQclear(result);
}

static inline char *source_path(const Source *source, const char *name) {
  return memory_format("%s/%s", source->root, name);
}

static inline void source_open(Source *source, const char *superuser) {
  if (source->major == 0)
    source->major = FIXTURE_MAJOR;
  source->root = memory_strdup("/tmp/pgseal-drill-XXXXXX");
  assert_non_null(mkdtemp(source->root));
  assert_int_equal(0, chmod(source->root, 0711));
  source->drill = (DrillConfig){.engine = DRILL_ENGINE_LOCAL, .memory_mb = 256, .jobs = 2};
  source->drill_key = source_path(source, "drill.key");
  source->drill_certificate = source_path(source, "drill.crt");
  source->foreign_key = source_path(source, "foreign.key");
  source->foreign_certificate = source_path(source, "foreign.crt");
  source->signing_key = source_path(source, "agent.key");
  char *public_path = source_path(source, "agent.pub"), *scratch = source_path(source, "source");
  assert_ok(recipient_generate(source->drill_key, source->drill_certificate, "drill", 30, err));
  assert_ok(recipient_generate(source->foreign_key, source->foreign_certificate, "foreign", 30, err));
  assert_ok(signing_key_generate(source->signing_key, public_path, err));
  assert_ok(signing_public_load(public_path, source->public_key, err));
  assert_int_equal(0, mkdir(scratch, 0700));
  assert_ok(postgres_tools_find(source->bin_dirs, source->bin_dir_count, source->major, &source->tools_dir,
                                &source->tools_version, err));
  char *job_id = memory_strdup(id_new().text);
  ClusterOptions options = {.major = source->major,
                            .superuser = superuser,
                            .job_id = job_id,
                            .agent = "test-source",
                            .scratch = scratch,
                            .bin_dirs = source->bin_dirs,
                            .bin_dir_count = source->bin_dir_count};
  assert_ok(engine_open(&source->drill, &source->engine, err));
  assert_ok(cluster_start(source->engine, &options, &source->cluster, err));
  free(job_id);
  free(scratch);
  free(public_path);
}

static inline void source_close(Source *source) {
  cluster_stop(source->cluster);
  engine_close(source->engine);
  assert_ok(file_remove_tree(source->root, err));
  char *owned[] = {source->root,
                   source->tools_dir,
                   source->tools_version,
                   source->drill_key,
                   source->drill_certificate,
                   source->foreign_key,
                   source->foreign_certificate,
                   source->signing_key};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
}

static inline void source_tool(const Source *source, const char *const *arguments, Buffer *out) {
  Conninfo *conninfo = NULL;
  char **env = NULL;
  char *path = memory_format("%s/%s", source->tools_dir, arguments[0]);
  const char *argv[16] = {path};
  for (size_t i = 1; arguments[i]; i++)
    argv[i] = arguments[i];
  assert_ok(conninfo_parse("", &conninfo, err));
  conninfo_set(conninfo, "host", cluster_socket_dir(source->cluster));
  conninfo_set(conninfo, "user", cluster_superuser(source->cluster));
  assert_ok(conninfo_environment(conninfo, source->root, &env, err));
  ProcessOptions options = {.argv = argv, .env = (const char *const *)env};
  assert_ok(process_run(&options, FIXTURE_LIMIT, out, err));
  environment_free(env);
  conninfo_free(conninfo);
  free(path);
}

static inline void replace_all(Buffer *buffer, const char *what, const char *with) {
  if (!what)
    return;
  size_t size = strlen(what), count = 0;
  assert_int_equal(size, strlen(with));
  uint8_t *at = buffer->data;
  while ((at = memmem(at, (size_t)(buffer->data + buffer->size - at), what, size))) {
    memcpy(at, with, size);
    count++;
  }
  assert_true(count > 0);
}

static inline void checkpoint_put(Repository *repository, const Recipients *recipients, const char *key,
                                  const uint8_t *plain, size_t size, ManifestSegment *out) {
  Buffer encoded = {0};
  assert_ok(segment_encode(recipients, 1, plain, size, &encoded, err));
  assert_ok(repository_put(repository, key, encoded.data, encoded.size, err));
  out->plain_size = size;
  out->size = encoded.size;
  sha256_hex(plain, size, out->plain_sha256);
  sha256_hex(encoded.data, encoded.size, out->sha256);
  buffer_release(&encoded);
}

static inline Repository *source_repository(const Source *source) {
  char *path = source_path(source, "repository");
  Repository *repository = NULL;
  assert_ok(directory_repository_open(path, &repository, err));
  free(path);
  return repository;
}

static inline void checkpoint_segments(Checkpoint *checkpoint, Repository *repository, const Recipients *recipients,
                                       const Buffer *archive) {
  Manifest *manifest = &checkpoint->manifest;
  for (size_t at = 0; at < archive->size; at += FIXTURE_SEGMENT) {
    size_t size = archive->size - at < FIXTURE_SEGMENT ? archive->size - at : FIXTURE_SEGMENT;
    ManifestSegment segment = {.offset = at};
    char *key = manifest_segment_key(checkpoint->prefix, manifest->segment_count);
    checkpoint_put(repository, recipients, key, archive->data + at, size, &segment);
    ARRAY_PUSH(manifest->segments, manifest->segment_count, segment);
    free(key);
  }
}

static inline void checkpoint_manifest(const Source *source, Checkpoint *checkpoint, Repository *repository,
                                       const Recipients *recipients) {
  Manifest *manifest = &checkpoint->manifest;
  SigningKey *signer = NULL;
  manifest->checkpoint_id = memory_strdup(checkpoint->id);
  manifest->database = memory_strdup("prod");
  manifest->tag = memory_strdup("test");
  manifest->agent = memory_strdup("dumper");
  manifest->attempt = 1;
  manifest->started_us = manifest->finished_us = clock_wall_us();
  manifest->server_version = memory_strdup(manifest->fingerprint.server_version);
  manifest->dump_version = memory_strdup(manifest->fingerprint.dump_version);
  manifest->pgseal_version = memory_strdup("test");
  manifest->server_major = source->major;
  manifest->database_name = memory_strdup(manifest->fingerprint.database);
  manifest->bootstrap_role = memory_strdup(cluster_superuser(source->cluster));
  manifest->snapshot = memory_strdup("");
  manifest->lsn = memory_strdup("");
  manifest->collation_version = memory_strdup("");
  for (size_t i = 0; i < recipients_count(recipients); i++)
    ARRAY_PUSH(manifest->recipients, manifest->recipient_count, memory_strdup(recipients_fingerprint(recipients, i)));
  json_t *json = manifest_to_json(manifest);
  char *key = manifest_key(checkpoint->prefix);
  assert_ok(signing_key_load(source->signing_key, &signer, err));
  assert_ok(document_put(repository, key, json, "manifest", signer, recipients, checkpoint->sha256, err));
  signing_key_free(signer);
  json_decref(json);
  free(key);
}

static inline void checkpoint_make(const Source *source, const CheckpointOptions *options, Checkpoint *checkpoint) {
  Recipients *recipients = NULL;
  Repository *repository = source_repository(source);
  const char *paths[] = {source->drill_certificate};
  Buffer archive = {0}, roles = {0};
  checkpoint->id = memory_strdup(id_new().text);
  checkpoint->prefix = manifest_prefix("prod", checkpoint->id, 1);
  checkpoint->scratch = source_path(source, checkpoint->id);
  assert_int_equal(0, mkdir(checkpoint->scratch, 0700));
  assert_ok(recipients_load(paths, 1, &recipients, err));
  char *dbname = memory_format("--dbname=dbname='%s'", options->database);
  const char *dump[] = {"pg_dump", "--format=custom", "--compress=0", dbname, NULL};
  const char *dumpall[] = {"pg_dumpall", "--roles-only", "--no-role-passwords", "--database=template1", NULL};
  source_tool(source, dump, &archive);
  replace_all(&archive, options->replace, options->with);
  FingerprintBuilder *builder = fingerprint_builder_new(NULL);
  assert_ok(fingerprint_builder_feed(builder, archive.data, archive.size, err));
  assert_ok(fingerprint_builder_finish(builder, &checkpoint->manifest.fingerprint, err));
  fingerprint_builder_free(builder);
  if (options->other_fingerprint)
    checkpoint->manifest.fingerprint.tables[0].digest[0] ^= 1;
  if (!options->no_roles) {
    char *key = manifest_roles_key(checkpoint->prefix);
    source_tool(source, dumpall, &roles);
    replace_all(&roles, options->roles_replace, options->roles_with);
    checkpoint_put(repository, recipients, key, roles.data, roles.size, &checkpoint->manifest.roles);
    checkpoint->manifest.has_roles = true;
    free(key);
  }
  checkpoint_segments(checkpoint, repository, recipients, &archive);
  checkpoint_manifest(source, checkpoint, repository, recipients);
  buffer_release(&archive);
  buffer_release(&roles);
  recipients_free(recipients);
  repository_close(repository);
  free(dbname);
}

static inline void checkpoint_release(Checkpoint *checkpoint) {
  manifest_release(&checkpoint->manifest);
  free(checkpoint->id);
  free(checkpoint->prefix);
  free(checkpoint->scratch);
}

/* A drill of it, as the coordinator would order it once the dump is done. */
static inline void drill_init(const Source *source, const Checkpoint *checkpoint, Drill *drill) {
  *drill = (Drill){0};
  drill->config = (AgentConfig){.path = "agent.yaml",
                                .name = "driller",
                                .signing_key = source->signing_key,
                                .decryption_key = source->drill_key,
                                .decryption_certificate = source->drill_certificate,
                                .bin_dirs = (PostgresBinDir *)source->bin_dirs,
                                .bin_dir_count = source->bin_dir_count,
                                .drill = source->drill};
  drill->config.repository_directory = source_path(source, "repository");
  pgseal__job__init(&drill->job);
  pgseal__drill_spec__init(&drill->spec);
  pgseal__job_result__init(&drill->result);
  drill->job.id = memory_strdup(id_new().text);
  drill->job.kind = PGSEAL__JOB_KIND__JOB_KIND_DRILL;
  drill->job.checkpoint_id = checkpoint->id;
  drill->job.database = (char *)"prod";
  drill->job.tag = (char *)"test";
  drill->job.prefix = checkpoint->prefix;
  drill->job.drill = &drill->spec;
  drill->spec.drill_id = drill->job.id;
  drill->spec.dump_agent = (char *)"dumper";
  drill->spec.dump_public_key = (ProtobufCBinaryData){PUBLIC_KEY_SIZE, (uint8_t *)source->public_key};
  drill->spec.manifest_sha256 = (char *)checkpoint->sha256;
  drill->channel = (JobChannel){.in = -1, .out = open("/dev/null", O_WRONLY | O_CLOEXEC), .deadline_us = INT64_MAX};
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&drill->channel.changed, &attributes);
  pthread_mutex_init(&drill->channel.lock, NULL);
  pthread_mutex_init(&drill->channel.out_lock, NULL);
  drill->context = (JobContext){
      .config = &drill->config, .job = &drill->job, .scratch = checkpoint->scratch, .channel = &drill->channel};
}

static inline void drill_run(Drill *drill) {
  drill->status = drill_job_run(&drill->context, &drill->result, &drill->failure);
  if (drill->status == STATUS_OK)
    drill->failure = (Error){0};
}

static inline void drill_release(Drill *drill) {
  close(drill->channel.out);
  if (drill->channel.follow)
    pgseal__follow__free_unpacked(drill->channel.follow, NULL);
  free(drill->job.id);
  free((char *)drill->config.repository_directory);
  if (drill->result.drill)
    pgseal__drill_result__free_unpacked(drill->result.drill, NULL);
  if (drill->result.stages_json != protobuf_c_empty_string)
    free(drill->result.stages_json);
  if (drill->result.stages_begun_json != protobuf_c_empty_string)
    free(drill->result.stages_begun_json);
}

static inline void assert_outcome(const Drill *drill, Status expected) {
  if (drill->status != expected)
    fail_msg("%s: %s [%s] instead of %s", error_code(drill->status), drill->failure.message, drill->failure.object,
             error_code(expected));
}

#endif
