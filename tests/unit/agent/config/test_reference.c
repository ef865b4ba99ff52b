/* docs/configuration.md: agent.yaml. */
#include "tests/unit/common/config/reference.h"

#include "agent/config.h"
#include "agent/config_schema.h"

typedef struct Fixture {
  char dir[64];
  AgentConfig *config;
} Fixture;

static Status load(void *user, const char *text, Error *err) {
  Fixture *f = user;
  CLEANUP_FREE char *path = memory_format("%s/agent.yaml", f->dir);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), err), STATUS_OK);
  if (f->config)
    agent_config_free(f->config);
  f->config = NULL;
  return agent_config_load(path, &f->config, err);
}

static char *fallback(void *user, const char *key) {
  const AgentConfig *c = ((Fixture *)user)->config;
  static const char *const engines[] = {
      [DRILL_ENGINE_AUTO] = "auto", [DRILL_ENGINE_DOCKER] = "docker", [DRILL_ENGINE_LOCAL] = "local"};
  static const char *const styles[] = {
      [S3_STYLE_AUTO] = "auto", [S3_STYLE_PATH] = "path", [S3_STYLE_VIRTUAL] = "virtual"};
  const struct {
    const char *key;
    int value;
  } numbers[] = {{"agent.slots.dump", c->dump_slots},
                 {"agent.slots.drill", c->drill_slots},
                 {"agent.slots.restore", c->restore_slots},
                 {"agent.slots.prune", c->prune_slots},
                 {"agent.slots.rehearse", c->rehearse_slots},
                 {"drill.memory_mb", c->drill.memory_mb},
                 {"drill.cpus", c->drill.cpus},
                 {"drill.jobs", c->drill.jobs},
                 {"drill.tmpfs_mb", c->drill.tmpfs_mb},
                 {"rehearse.keep_seconds", c->rehearse.keep_seconds},
                 {"segments.size_mb", c->segment_mb},
                 {"segments.zstd_level", c->zstd_level},
                 {"repository.s3.connect_seconds", S3_CONNECT_SECONDS},
                 {"repository.s3.timeout_seconds", S3_TIMEOUT_SECONDS},
                 {"repository.s3.retry_seconds", S3_RETRY_SECONDS}};
  const struct {
    const char *key, *value;
  } texts[] = {{"drill.engine", engines[c->drill.engine]},
               {"drill.local_user", c->drill.local_user},
               {"databases[].roles", c->databases[0].roles ? "all" : "none"},
               {"repository.s3.addressing", styles[c->repository_s3.style]},
               {"repository.s3.checksum", c->repository_s3.no_checksum ? "false" : "true"},
               {"log.level", c->log_level},
               {"log.format", c->log_format}};
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
    if (strcmp(numbers[i].key, key) == 0)
      return number_text(numbers[i].value);
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    if (strcmp(texts[i].key, key) == 0)
      return memory_strdup(texts[i].value);
  return NULL;
}

static void test_agent(void **state) {
  (void)state;
  Fixture f = {.dir = "/tmp/pgseal-test-reference-XXXXXX"};
  Error err;
  assert_non_null(mkdtemp(f.dir));
  const ReferenceFile file = {
      .name = "agent.yaml",
      .schema = &agent_config_schema,
      .base = "{\"agent\": {\"name\": \"a\", \"coordinators\": [\"tcp://127.0.0.1:8421\"], \"data\": \"d\","
              " \"signing_key\": \"k\", \"capabilities\": [\"dump\", \"drill\"], \"tls\": {\"ca\": \"x\", \"identity\":"
              " \"y\"}}, \"repository\": {\"s3\": {\"bucket\": \"bucket\", \"region\": \"r\", \"lock_mode\":"
              " \"GOVERNANCE\", \"lock_days\": 7}}, \"keys\": {\"recipients\": [\"c\"], \"decryption_key\": \"k\","
              " \"decryption_certificate\": \"c\"}, \"databases\": [{\"name\": \"x\", \"conninfo_file\": \"f\"}],"
              " \"postgres\": {\"bin_dirs\": [{\"major\": 15, \"path\": \"p\"}]}, \"drill\": {\"images\": [{\"major\":"
              " 15, \"image\": \"i\"}]}}",
      .load = load,
      .fallback = fallback,
      .user = &f};
  reference_check(&file);
  agent_config_free(f.config);
  assert_int_equal(file_remove_tree(f.dir, &err), STATUS_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_agent)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
