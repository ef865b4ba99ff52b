/*
 * A private PostgreSQL, keys, a repository and an agent's configuration for the tests of the dump job; and what job.c
 * does in the agent: progress is recorded, and a test's hook runs where the job asks whether it may go on.
 */
#ifndef PGSEAL_TESTS_DUMP_FIXTURE_H
#define PGSEAL_TESTS_DUMP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/jobs/job.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/manifest/manifest.h"

#define TOOLS "/usr/lib/postgresql/15/bin"

typedef struct JobChannel {
  pthread_mutex_t lock;
  uint64_t segments, reports;
  int64_t bytes;
  bool roles_stored, roles_before_segments;
  char phase[32], bootstrap_role[64];
  uint32_t server_major;
  Status (*hook)(struct JobChannel *channel, Error *err); /* under the lock */
  void *user;
} JobChannel;

typedef struct Fixture {
  char directory[64];
  char *repository_directory, *scratch, *key_path, *certificate, *signing_path, *conninfo_path;
  const char *recipients[1];
  uint8_t public_key[PUBLIC_KEY_SIZE];
  DecryptionKey *key;
  AgentDatabase database;
  AgentConfig config;
  Pgseal__Job job;
  Pgseal__Budgets budgets;
  JobChannel channel;
  int attempt;
} Fixture;

void job_progress(const JobContext *context, const Pgseal__JobProgress *progress, bool force) {
  (void)force;
  JobChannel *channel = context->channel;
  pthread_mutex_lock(&channel->lock);
  assert_true(progress->segments >= channel->segments);
  channel->segments = progress->segments;
  channel->bytes = progress->bytes;
  channel->reports++;
  if (progress->roles_stored && !channel->roles_stored)
    channel->roles_before_segments = progress->segments == 0;
  channel->roles_stored = progress->roles_stored;
  channel->server_major = progress->server_major;
  snprintf(channel->phase, sizeof channel->phase, "%s", progress->phase);
  snprintf(channel->bootstrap_role, sizeof channel->bootstrap_role, "%s", progress->bootstrap_role);
  pthread_mutex_unlock(&channel->lock);
}

Status job_check(const JobContext *context, Error *err) {
  JobChannel *channel = context->channel;
  pthread_mutex_lock(&channel->lock);
  Status status = channel->hook ? channel->hook(channel, err) : STATUS_OK;
  pthread_mutex_unlock(&channel->lock);
  return status;
}

static inline void run_tool(const char *const *argv, const char *user) {
  CLEANUP(buffer_release) Buffer out = {0};
  Error err = {0};
  ProcessOptions options = {
      .argv = argv, .pipe_stdout = true, .user = geteuid() == 0 ? user : NULL, .work_dir = "/tmp"};
  if (process_run(&options, 1 << 20, &out, &err) != STATUS_OK)
    fail_msg("%s: %s", argv[0], err.message);
}

static inline PGconn *connect_to(const Fixture *fixture, const char *database, const char *user) {
  const char *keys[] = {"host", "dbname", "user", "application_name", NULL};
  const char *values[] = {fixture->directory, database, user, "test", NULL};
  PGconn *connection = PQconnectdbParams(keys, values, 0);
  if (PQstatus(connection) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(connection));
  return connection;
}

static inline void sql_on(PGconn *connection, const char *sql) {
  PGresult *result = PQexec(connection, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", sql, PQerrorMessage(connection));
  PQclear(result);
}

static inline void sql(const Fixture *fixture, const char *database, const char *text) {
  PGconn *connection = connect_to(fixture, database, "postgres");
  sql_on(connection, text);
  PQfinish(connection);
}

static inline int64_t sql_number(const Fixture *fixture, const char *text) {
  PGconn *connection = connect_to(fixture, "postgres", "postgres");
  PGresult *result = PQexec(connection, text);
  assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
  int64_t number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  PQfinish(connection);
  return number;
}

static inline void write_text(const char *path, const char *text) {
  Error err;
  assert_int_equal(file_write_atomic(path, 0644, text, strlen(text), &err), STATUS_OK);
}

static inline void start_server(Fixture *fixture) {
  CLEANUP_FREE char *data = memory_format("%s/data", fixture->directory);
  CLEANUP_FREE char *log = memory_format("%s/log", fixture->directory);
  CLEANUP_FREE char *hba = memory_format("%s/data/pg_hba.conf", fixture->directory);
  CLEANUP_FREE char *settings =
      memory_format("-c listen_addresses='' -c fsync=off -c max_prepared_transactions=2 -k %s", fixture->directory);
  const char *initdb[] = {TOOLS "/initdb", "-D",         data, "-A",       "trust", "-E",
                          "UTF8",          "--locale=C", "-U", "postgres", NULL};
  const char *start[] = {TOOLS "/pg_ctl", "-D", data, "-l", log, "-o", settings, "-w", "start", NULL};
  run_tool(initdb, "postgres");
  write_text(hba, "local all locked scram-sha-256\nlocal all all trust\n");
  run_tool(start, "postgres");
}

static inline void make_keys(Fixture *fixture) {
  Error err;
  CLEANUP_FREE char *public = memory_format("%s/agent.pub", fixture->directory);
  fixture->key_path = memory_format("%s/drill.key", fixture->directory);
  fixture->certificate = memory_format("%s/drill.crt", fixture->directory);
  fixture->signing_path = memory_format("%s/agent.key", fixture->directory);
  assert_int_equal(recipient_generate(fixture->key_path, fixture->certificate, "drill", 1, &err), STATUS_OK);
  assert_int_equal(signing_key_generate(fixture->signing_path, public, &err), STATUS_OK);
  assert_int_equal(signing_public_load(public, fixture->public_key, &err), STATUS_OK);
  assert_int_equal(decryption_key_load(fixture->key_path, fixture->certificate, &fixture->key, &err), STATUS_OK);
}

static inline int fixture_setup(void **state) {
  Fixture *fixture = memory_alloc(sizeof *fixture);
  Error err;
  snprintf(fixture->directory, sizeof fixture->directory, "/tmp/pgseal-test-XXXXXX");
  assert_non_null(mkdtemp(fixture->directory));
  assert_int_equal(chmod(fixture->directory, 0777), 0);
  start_server(fixture);
  make_keys(fixture);
  fixture->repository_directory = memory_format("%s/repository", fixture->directory);
  fixture->scratch = memory_format("%s/scratch", fixture->directory);
  fixture->conninfo_path = memory_format("%s/conninfo", fixture->directory);
  assert_int_equal(file_make_dirs(fixture->scratch, 0700, &err), STATUS_OK);
  fixture->recipients[0] = fixture->certificate;
  fixture->database = (AgentDatabase){.name = "shop", .conninfo_file = fixture->conninfo_path, .roles = true};
  fixture->config = (AgentConfig){.path = "agent.yaml",
                                  .name = "agent-1",
                                  .signing_key = fixture->signing_path,
                                  .repository_directory = fixture->repository_directory,
                                  .recipients = fixture->recipients,
                                  .recipient_count = 1,
                                  .databases = &fixture->database,
                                  .database_count = 1,
                                  .segment_mb = 1,
                                  .zstd_level = 1,
                                  .workers = 2};
  pthread_mutex_init(&fixture->channel.lock, NULL);
  *state = fixture;
  return 0;
}

static inline int fixture_teardown(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP_FREE char *data = memory_format("%s/data", fixture->directory);
  const char *stop[] = {TOOLS "/pg_ctl", "-D", data, "-m", "immediate", "stop", NULL};
  run_tool(stop, "postgres");
  decryption_key_free(fixture->key);
  assert_int_equal(file_remove_tree(fixture->directory, &err), STATUS_OK);
  char *owned[] = {fixture->repository_directory, fixture->scratch,      fixture->key_path,
                   fixture->certificate,          fixture->signing_path, fixture->conninfo_path};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
  free(fixture->job.prefix);
  free(fixture);
  return 0;
}

/* Runs one dump as a new attempt. more: further connection settings, e.g. "dbname=x". */
static inline Status run_dump(Fixture *fixture, const char *more, Pgseal__JobResult **result, Error *err) {
  CLEANUP_FREE char *conninfo = memory_format("host=%s %s", fixture->directory, more);
  write_text(fixture->conninfo_path, conninfo);
  free(fixture->job.prefix);
  pgseal__budgets__init(&fixture->budgets);
  pgseal__job__init(&fixture->job);
  fixture->budgets.connections = 3;
  fixture->budgets.lock_timeout_seconds = 1;
  fixture->job.budgets = &fixture->budgets;
  fixture->job.id = (char *)"job-1";
  fixture->job.checkpoint_id = (char *)"01hzzzzzzzzzzzzzzzzzzzzzzz";
  fixture->job.database = (char *)"shop";
  fixture->job.tag = (char *)"pre-deploy";
  fixture->job.attempt = (uint32_t)++fixture->attempt;
  fixture->job.prefix = manifest_prefix("shop", fixture->job.checkpoint_id, fixture->attempt);
  fixture->channel.segments = fixture->channel.reports = 0;
  fixture->channel.roles_stored = false;
  JobContext context = {&fixture->config, &fixture->job, fixture->scratch, &fixture->channel};
  *result = memory_alloc(sizeof **result);
  pgseal__job_result__init(*result);
  return dump_job_run(&context, *result, err);
}

static inline void expect_failure(Fixture *fixture, const char *more, Status expected, Error *err) {
  Pgseal__JobResult *result = NULL;
  memset(err, 0, sizeof *err);
  Status status = run_dump(fixture, more, &result, err);
  if (status != expected)
    fail_msg("%s, not %s: %s", status ? error_code(status) : "ok", error_code(expected), err->message);
  assert_int_equal(err->status, expected);
  assert_null(result->dump);
  assert_non_null(result->stages_json);
  pgseal__job_result__free_unpacked(result, NULL);
  fixture->channel.hook = NULL;
}

#endif
