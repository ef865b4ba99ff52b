/* The files of `pgseal dev`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "cli/api.h"
#include "cli/dev.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "common/crypto/signing.h"
#include "common/rehearsal/secret.h"

#define DEV_MARK "# written by pgseal dev"
#define DEV_FIRST_LINE DEV_MARK ", and written anew by each run; remove this line to keep your own changes\n"
enum { DEV_KEY_DAYS = 3650, DEV_TOKEN_BYTES = 32, DEV_YAML_LIMIT = 4 << 20 };

static Status write_token(const Dev *dev, Error *err) {
  CLEANUP_FREE char *path = dev_path(dev, "token");
  if (file_exists(path))
    return STATUS_OK;
  uint8_t random[DEV_TOKEN_BYTES];
  char text[64];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set_errno(err, errno, "cannot get random bytes");
  EVP_EncodeBlock((unsigned char *)text, random, sizeof random);
  for (char *p = text; *p; p++) /* base64url, without padding */
    *p = *p == '+' ? '-' : *p == '/' ? '_' : *p == '=' ? '\0' : *p;
  CLEANUP_FREE char *line = memory_format("pgseal_%s\n", text);
  Status status = file_write_atomic(path, 0600, line, strlen(line), err);
  explicit_bzero(line, strlen(line));
  explicit_bzero(text, sizeof text);
  explicit_bzero(random, sizeof random);
  return status;
}

/* What whoever rehearses shares with the agent: `pgseal rehearse --secret-file`. */
static Status write_secret(const Dev *dev, Error *err) {
  CLEANUP_FREE char *path = dev_path(dev, "keys/rehearse.secret");
  if (file_exists(path))
    return STATUS_OK;
  CLEANUP(secret_text_free) char *secret = rehearsal_secret_generate();
  return file_write_atomic(path, 0600, secret, strlen(secret), err);
}

static Status write_keys(const Dev *dev, Error *err) {
  static const struct {
    const char *key, *public, *name; /* no name: a signing key */
  } pairs[] = {{"keys/agent.key", "keys/agent.pub", NULL},
               {"keys/coordinator.key", "keys/coordinator.pub", NULL},
               {"keys/drill.key", "keys/drill.crt", "pgseal dev drill"},
               {"keys/escrow.key", "keys/escrow.crt", "pgseal dev escrow"}};
  Status status = STATUS_OK;
  for (size_t i = 0; i < ARRAY_SIZE(pairs) && status == STATUS_OK; i++) {
    CLEANUP_FREE char *key = dev_path(dev, pairs[i].key);
    CLEANUP_FREE char *public = dev_path(dev, pairs[i].public);
    if (file_exists(key) && file_exists(public))
      continue;
    status = pairs[i].name ? recipient_generate(key, public, pairs[i].name, DEV_KEY_DAYS, err)
                           : signing_key_generate(key, public, err);
  }
  return status;
}

static Status write_conninfos(const Dev *dev, Error *err) {
  for (size_t i = 0; i < dev->database_count; i++) {
    CLEANUP_FREE char *path = memory_format("%s/databases/%s.conninfo", dev->dir, dev->databases[i].name);
    CLEANUP_FREE char *line = memory_format("%s\n", dev->databases[i].conninfo);
    Status status = file_write_atomic(path, 0600, line, strlen(line), err);
    explicit_bzero(line, strlen(line));
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static Status write_state(const Dev *dev, Error *err) {
  CLEANUP(api_release)
  json_t *json = json_pack("{s:[], s:[], s:s, s:s, s:s}", "databases", "images", "http", dev->http, "engine",
                           dev->engine, "repository", dev->repository_path ? dev->repository_path : "");
  for (size_t i = 0; i < dev->database_count; i++)
    json_array_append_new(json_object_get(json, "databases"), json_pack("{s:s, s:b}", "name", dev->databases[i].name,
                                                                        "production", dev->databases[i].production));
  for (size_t i = 0; i < dev->image_count; i++)
    json_array_append_new(json_object_get(json, "images"), json_string(dev->images[i]));
  CLEANUP_FREE char *path = dev_path(dev, "dev.json");
  CLEANUP_FREE char *text = json_dumps(json, JSON_INDENT(2));
  if (!text)
    return error_set(err, ERR_INVALID_ARGUMENT, "an option is not valid UTF-8");
  return file_write_atomic(path, 0600, text, strlen(text), err);
}

/* A JSON string is a YAML string. */
static void yaml_text(Buffer *out, const char *text) {
  CLEANUP(api_release) json_t *json = json_string(text);
  CLEANUP_FREE char *quoted = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
  buffer_append_text(out, quoted ? quoted : "\"\"");
}

static void coordinator_yaml(const Dev *dev, Buffer *out) {
  buffer_append_text(out, DEV_FIRST_LINE "http: ");
  yaml_text(out, dev->http);
  if (dev->exposed)
    buffer_append_text(out, "\nhttp_unencrypted: true");
  buffer_append_format(out,
                       "\nbus: \"%s\"\nledger: ledger.db\nadmin_token_file: token\n"
                       "signing_key: keys/coordinator.key\n\ndatabases:\n",
                       dev->bus);
  for (size_t i = 0; i < dev->database_count; i++)
    buffer_append_format(out, "  - name: \"%s\"\n    environment: %s\n", dev->databases[i].name,
                         dev->databases[i].production ? "production" : "development");
  buffer_append_text(out, "\nagents:\n  - name: " DEV_AGENT "\n    public_key: keys/agent.pub\n"
                          "    capabilities: [dump, drill, restore, rehearse]\n    databases: [\"*\"]\n");
  if (!dev->repository_path) /* a directory on this machine is what was asked for */
    buffer_append_text(out, "\nalerts:\n  accept_unlocked: [" DEV_AGENT "]\n");
}

static void agent_yaml(const Dev *dev, Buffer *out) {
  buffer_append_format(out,
                       DEV_FIRST_LINE
                       "agent:\n  name: " DEV_AGENT "\n  coordinators: [\"%s\"]\n  data: agent\n"
                       "  signing_key: keys/agent.key\n  capabilities: [dump, drill, restore, rehearse]\n\n"
                       "rehearse:\n  secret_file: keys/rehearse.secret\n\n",
                       dev->bus);
  buffer_append_format(out, "repository:\n  %s: ", dev->repository_path ? "file" : "directory");
  yaml_text(out, dev->repository_path ? dev->repository_path : "repository");
  buffer_append_text(out,
                     "\n\nkeys:\n  recipients: [keys/drill.crt, keys/escrow.crt]\n  decryption_key: keys/drill.key\n"
                     "  decryption_certificate: keys/drill.crt\n\ndatabases:\n");
  for (size_t i = 0; i < dev->database_count; i++)
    buffer_append_format(out, "  - name: \"%s\"\n    conninfo_file: \"databases/%s.conninfo\"\n",
                         dev->databases[i].name, dev->databases[i].name);
  buffer_append_format(out, "\ndrill:\n  engine: %s\n", dev->engine);
  if (dev->image_count > 0)
    buffer_append_text(out, "  images:\n");
  for (size_t i = 0; i < dev->image_count; i++) {
    const char *equals = strchr(dev->images[i], '=');
    buffer_append_format(out, "    - major: %ld\n      image: ", strtol(dev->images[i], NULL, 10));
    yaml_text(out, equals ? equals + 1 : "");
    buffer_append_text(out, "\n");
  }
}

/* Somebody's own changes are not overwritten; then it is theirs to add what this run was asked for. */
static Status write_yaml(const Cli *cli, const Dev *dev, const char *name, const Buffer *yaml, Error *err) {
  CLEANUP_FREE char *path = dev_path(dev, name);
  CLEANUP(buffer_release) Buffer before = {0};
  if (file_exists(path)) {
    Status status = file_read(path, DEV_YAML_LIMIT, &before, err);
    if (status != STATUS_OK)
      return status;
    if (strncmp(buffer_text(&before), DEV_MARK, strlen(DEV_MARK)) != 0) {
      cli_note(cli, "%s is yours (its first line does not say that it is written anew): it is used as it is", path);
      return STATUS_OK;
    }
  }
  return file_write_atomic(path, 0600, yaml->data, yaml->size, err);
}

Status dev_write(const Cli *cli, Dev *dev, Error *err) {
  CLEANUP_FREE char *keys = dev_path(dev, "keys");
  CLEANUP_FREE char *databases = dev_path(dev, "databases");
  Status status = file_make_dirs(keys, 0700, err);
  if (status == STATUS_OK)
    status = file_make_dirs(databases, 0700, err);
  if (status == STATUS_OK)
    status = write_token(dev, err);
  if (status == STATUS_OK)
    status = write_keys(dev, err);
  if (status == STATUS_OK)
    status = write_secret(dev, err);
  if (status == STATUS_OK)
    status = write_conninfos(dev, err);
  if (status == STATUS_OK)
    status = write_state(dev, err);
  CLEANUP(buffer_release) Buffer coordinator = {0}, agent = {0};
  coordinator_yaml(dev, &coordinator);
  agent_yaml(dev, &agent);
  if (status == STATUS_OK)
    status = write_yaml(cli, dev, "coordinator.yaml", &coordinator, err);
  if (status == STATUS_OK)
    status = write_yaml(cli, dev, "agent.yaml", &agent, err);
  return status;
}
