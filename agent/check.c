#include "agent/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"
#include "agent/engine/engine.h"
#include "agent/session/tools.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

static int bad(const char *what, const Error *err) {
  printf("FAIL  %s: %s\n      %s\n", what, err->message, err->remedy);
  return 1;
}

static int good(const char *what, const char *detail) {
  printf("ok    %s: %s\n", what, detail);
  return 0;
}

static int check_keys(const AgentConfig *config) {
  Error err;
  int wrong = 0;
  SigningKey *signer = NULL;
  wrong += signing_key_load(config->signing_key, &signer, &err) ? bad("signing key", &err)
                                                                : good("signing key", config->signing_key);
  signing_key_free(signer);
  Recipients *recipients = NULL;
  wrong += recipients_load(config->recipients, config->recipient_count, &recipients, &err)
               ? bad("recipients", &err)
               : good("recipients", "loaded");
  recipients_free(recipients);
  if (config->can_drill) {
    DecryptionKey *key = NULL;
    wrong += decryption_key_load(config->decryption_key, config->decryption_certificate, &key, &err)
                 ? bad("decryption key", &err)
                 : good("decryption key", config->decryption_key);
    decryption_key_free(key);
  }
  return wrong;
}

enum { CHECK_SECONDS = 5 };

static bool stop_at_first(void *any, const char *key, uint64_t size) {
  (void)key, (void)size;
  *(bool *)any = true;
  return false;
}

static int check_repository(const AgentConfig *config) {
  Error err;
  Repository *repository = NULL;
  S3Options s3 = config->repository_s3;
  s3.retry_seconds = CHECK_SECONDS; /* whoever asks waits for the answer */
  if (config->repository_directory ? directory_repository_open(config->repository_directory, &repository, &err)
                                   : s3_repository_open(&s3, &repository, &err))
    return bad("repository", &err);
  bool any = false;
  Status status = config->repository_directory ? STATUS_OK : repository_list(repository, "", stop_at_first, &any, &err);
  int wrong = 0;
  if (status == ERR_REPOSITORY_REFUSED && !config->can_drill && strstr(err.message, "access denied"))
    good("repository", "reached; its key may not list objects, which an agent that only dumps need not");
  else
    wrong = status ? bad("repository", &err) : good("repository", repository_description(repository));
  repository_close(repository);
  return wrong;
}

static int check_engine(const AgentConfig *config) {
  Error err;
  Engine *engine = NULL;
  if (!config->can_drill)
    return 0;
  if (engine_open(&config->drill, &engine, &err))
    return bad("drill engine", &err);
  good("drill engine", engine_name(engine));
  engine_close(engine);
  return 0;
}

static int check_database(const AgentConfig *config, const AgentDatabase *database) {
  Error err;
  CLEANUP_FREE char *text = NULL;
  Conninfo *conninfo = NULL;
  PGconn *connection = NULL;
  Status status = file_read_text(database->conninfo_file, 65536, &text, &err);
  if (!status)
    status = conninfo_parse(text, &conninfo, &err);
  if (!status)
    status = postgres_connect(conninfo, "pgseal check", &connection, &err);
  CLEANUP_FREE char *dir = NULL;
  CLEANUP_FREE char *version = NULL;
  if (!status)
    status = postgres_tools_find(config->bin_dirs, config->bin_dir_count, postgres_server_major(connection), &dir,
                                 &version, &err);
  int wrong =
      status ? bad(database->name, &err) : good(database->name, PQparameterStatus(connection, "server_version"));
  postgres_close(&connection);
  conninfo_free(conninfo);
  return wrong;
}

int agent_check(const char *config_path) {
  AgentConfig *config = NULL;
  Error err;
  if (agent_config_load(config_path, &config, &err)) {
    bad("configuration", &err);
    return 2;
  }
  int wrong = good("configuration", config_path) + check_keys(config) + check_repository(config) + check_engine(config);
  AgentTools tools = {0};
  agent_tools_find(config, &tools);
  for (size_t i = 0; i < tools.count; i++)
    good(tools.items[i].name, tools.items[i].version);
  agent_tools_release(&tools);
  for (size_t i = 0; config->can_dump && i < config->database_count; i++)
    wrong += check_database(config, &config->databases[i]);
  agent_config_free(config);
  return wrong ? 1 : 0;
}
