#include "agent/config.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config_schema.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/bus/address.h"
#include "common/config/yaml.h"

enum { ALLOW_IMAGES_MAX = 16, ALLOW_IMAGE_LENGTH = 200 };

typedef struct Loaded { /* what agent_config_free gets back from the config inside */
  AgentConfig config;
  RawAgentConfig *raw; /* owns most strings of config */
  char **owned;        /* resolved paths */
  size_t owned_count;
  char *directory; /* of the file */
  RepositoryConfig repository;
} Loaded;

void agent_config_free(AgentConfig *config) {
  if (!config)
    return;
  Loaded *loaded = (Loaded *)((char *)config - offsetof(Loaded, config));
  config_yaml_free(&agent_config_schema, loaded->raw);
  for (size_t i = 0; i < loaded->owned_count; i++)
    free(loaded->owned[i]);
  free(loaded->owned);
  free(loaded->directory);
  free(config->recipients);
  free(config->bin_dirs);
  free(config->databases);
  free(config->drill.images);
  repository_config_release(&loaded->repository);
  free(loaded);
}

static void loaded_release(Loaded **loaded) {
  if (*loaded)
    agent_config_free(&(*loaded)->config);
}

static const char *resolve(Loaded *loaded, const char *path) {
  if (!path)
    return NULL;
  char *full = config_resolve(loaded->directory, path);
  ARRAY_PUSH(loaded->owned, loaded->owned_count, full);
  return full;
}

static Status take_int(const Loaded *loaded, const char *what, const int *value, int fallback, int low, int high,
                       int *out, Error *err) {
  *out = value ? *value : fallback;
  if (*out < low || *out > high)
    return config_error(err, loaded->config.path, "%s is %d; it must be between %d and %d", what, *out, low, high);
  return STATUS_OK;
}

/* What such an agent can do, anybody could with the repository and the key. */
static Status take_bare(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  if (!config->bare)
    return STATUS_OK;
  if (config->can_dump || config->can_restore || config->can_prune || config->can_rehearse ||
      loaded->raw->databases_count > 0) {
    config_error(err, config->path, "agent.capabilities: a bare agent has nothing but the repository and the key");
    error_remedy(err, "Leave it `bare`, with `drill` or without; and take `databases` out.");
    return err->status;
  }
  config->bare_only = !config->can_drill;
  config->can_drill = true;
  return STATUS_OK;
}

static Status take_capabilities(Loaded *loaded, Error *err) {
  for (unsigned i = 0; i < loaded->raw->agent.capabilities_count; i++) {
    const char *capability = loaded->raw->agent.capabilities[i];
    bool *which = strcmp(capability, "dump") == 0       ? &loaded->config.can_dump
                  : strcmp(capability, "drill") == 0    ? &loaded->config.can_drill
                  : strcmp(capability, "restore") == 0  ? &loaded->config.can_restore
                  : strcmp(capability, "prune") == 0    ? &loaded->config.can_prune
                  : strcmp(capability, "rehearse") == 0 ? &loaded->config.can_rehearse
                  : strcmp(capability, "bare") == 0     ? &loaded->config.bare
                                                        : NULL;
    if (!which)
      return config_error(
          err, loaded->config.path,
          "agent.capabilities: '%s' is unknown; there are dump, drill, restore, rehearse, prune and bare", capability);
    if (*which)
      return config_error(err, loaded->config.path, "agent.capabilities: %s is there twice", capability);
    *which = true;
  }
  return take_bare(loaded, err);
}

static Status take_tls(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawTls *tls = loaded->raw->agent.tls;
  if (tls) {
    config->tls_ca = resolve(loaded, tls->ca);
    config->tls_identity = resolve(loaded, tls->identity);
  }
  for (size_t i = 0; !tls && i < config->coordinator_count; i++) {
    if (!bus_address_secure(config->coordinators[i]))
      continue;
    config_error(err, config->path, "agent.coordinators: %s needs agent.tls", config->coordinators[i]);
    error_remedy(err, "`pgseal-agent enroll` gets the certificate, and writes this part of the file.");
    return err->status;
  }
  return STATUS_OK;
}

static Status take_agent(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  config->name = raw->agent.name;
  config->coordinators = (const char **)raw->agent.coordinators;
  config->coordinator_count = raw->agent.coordinators_count;
  config->data_dir = resolve(loaded, raw->agent.data);
  config->signing_key = resolve(loaded, raw->agent.signing_key);
  if (!text_name_valid(config->name))
    return config_error(err, config->path,
                        "agent.name '%s' is not valid: 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first",
                        config->name);
  for (size_t i = 0; i < config->coordinator_count; i++) {
    if (bus_address_check(config->coordinators[i], err) != STATUS_OK)
      return error_prefix(err, "%s: agent.coordinators", config->path);
    for (size_t j = 0; j < i; j++)
      if (strcmp(config->coordinators[i], config->coordinators[j]) == 0)
        return config_error(err, config->path, "agent.coordinators: %s is there twice", config->coordinators[i]);
  }
  Status status = take_tls(loaded, err);
  if (!status)
    status = take_capabilities(loaded, err);
  if (!status)
    status = take_int(loaded, "agent.slots.dump", raw->agent.slots.dump, 1, 1, 64, &config->dump_slots, err);
  if (!status)
    status = take_int(loaded, "agent.slots.drill", raw->agent.slots.drill, 1, 1, 64, &config->drill_slots, err);
  if (!status)
    status = take_int(loaded, "agent.slots.restore", raw->agent.slots.restore, 1, 1, 64, &config->restore_slots, err);
  if (!status)
    status = take_int(loaded, "agent.slots.prune", raw->agent.slots.prune, 1, 1, 64, &config->prune_slots, err);
  if (!status)
    status =
        take_int(loaded, "agent.slots.rehearse", raw->agent.slots.rehearse, 1, 1, 64, &config->rehearse_slots, err);
  return status;
}

static Status take_repository(Loaded *loaded, Error *err) {
  Status status = repository_config_take(loaded->config.path, &loaded->raw->repository, &loaded->repository, err);
  loaded->config.repository_directory = loaded->repository.directory;
  loaded->config.repository_s3 = loaded->repository.s3;
  return status;
}

Status agent_config_repository(const AgentConfig *config, Repository **out, Error *err) {
  return config->repository_directory ? directory_repository_open(config->repository_directory, out, err)
                                      : s3_repository_open(&config->repository_s3, out, err);
}

Status agent_config_repository_locked(const AgentConfig *config, const char *mode, uint32_t days, Repository **out,
                                      Error *err) {
  if (!mode)
    return agent_config_repository(config, out, err);
  if (config->repository_directory) {
    error_set(err, ERR_CONFIG,
              "what is stored of this database has to be locked (%s, %u days), and a directory locks nothing", mode,
              days);
    error_remedy(err, "Keep it in a bucket with Object Lock, or take `lock` from the database in coordinator.yaml.");
    error_object(err, "%s", config->repository_directory);
    return err->status;
  }
  S3Options options = config->repository_s3;
  if (!options.lock_mode || strcmp(options.lock_mode, "COMPLIANCE") != 0)
    options.lock_mode = mode;
  if (days > (uint32_t)options.lock_days)
    options.lock_days = days > INT_MAX ? INT_MAX : (int)days;
  return s3_repository_open(&options, out, err);
}

static Status take_keys(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  config->recipients = memory_alloc((raw->keys.recipients_count + 1) * sizeof *config->recipients);
  for (unsigned i = 0; i < raw->keys.recipients_count; i++)
    config->recipients[config->recipient_count++] = resolve(loaded, raw->keys.recipients[i]);
  config->decryption_key = resolve(loaded, raw->keys.decryption_key);
  config->decryption_certificate = resolve(loaded, raw->keys.decryption_certificate);
  if (!config->decryption_key != !config->decryption_certificate)
    return config_error(err, config->path,
                        "keys.decryption_key and keys.decryption_certificate belong together; one is missing");
  bool stores = config->can_dump || config->can_drill || config->can_restore;
  if (stores && config->recipient_count == 0)
    return config_error(err, config->path,
                        "keys.recipients names no certificate; only an agent that does nothing but "
                        "prune needs none");
  if ((config->can_drill || config->can_restore || config->can_rehearse) && !config->decryption_key)
    return config_error(err, config->path, "an agent that %s needs keys.decryption_key and keys.decryption_certificate",
                        config->can_drill     ? "drills"
                        : config->can_restore ? "restores"
                                              : "rehearses");
  return STATUS_OK;
}

static Status take_major(const Loaded *loaded, const char *what, const RawMajorPath *list, unsigned index, Error *err) {
  int major = list[index].major;
  if (major < 10 || major > 99)
    return config_error(err, loaded->config.path, "%s: %d is not a PostgreSQL major version", what, major);
  for (unsigned i = 0; i < index; i++)
    if (list[i].major == major)
      return config_error(err, loaded->config.path, "%s: major %d is there twice", what, major);
  return STATUS_OK;
}

static Status take_databases(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  config->databases = memory_alloc((raw->databases_count + 1) * sizeof *config->databases);
  for (unsigned i = 0; i < raw->databases_count; i++) {
    const RawAgentDatabase *from = &raw->databases[i];
    if (!text_name_valid(from->name))
      return config_error(err, config->path, "database name '%s' is not valid: 1 to 63 of a-z, 0-9, '.', '_', '-'",
                          from->name);
    if (agent_config_database(config, from->name))
      return config_error(err, config->path, "database %s is there twice", from->name);
    if (from->roles && strcmp(from->roles, "all") != 0 && strcmp(from->roles, "none") != 0)
      return config_error(err, config->path, "database %s: roles is '%s'; it must be all or none", from->name,
                          from->roles);
    const char *restore_file = from->restore_conninfo_file ? from->restore_conninfo_file : from->conninfo_file;
    config->databases[config->database_count++] =
        (AgentDatabase){.name = from->name,
                        .conninfo_file = resolve(loaded, from->conninfo_file),
                        .restore_conninfo_file = resolve(loaded, restore_file),
                        .roles = !from->roles || strcmp(from->roles, "all") == 0};
  }
  if ((config->can_dump || config->can_restore) && config->database_count == 0)
    return config_error(err, config->path,
                        "an agent that %s needs `databases`: what they are called, and how to connect to them",
                        config->can_dump ? "dumps" : "restores");
  return STATUS_OK;
}

static Status take_postgres(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  config->bin_dirs = memory_alloc((raw->postgres.bin_dirs_count + 1) * sizeof *config->bin_dirs);
  Status status = STATUS_OK;
  for (unsigned i = 0; !status && i < raw->postgres.bin_dirs_count; i++) {
    const RawMajorPath *from = &raw->postgres.bin_dirs[i];
    status = take_major(loaded, "postgres.bin_dirs", raw->postgres.bin_dirs, i, err);
    config->bin_dirs[config->bin_dir_count++] = (PostgresBinDir){from->major, resolve(loaded, from->path)};
  }
  return status;
}

static Status take_engine(Loaded *loaded, Error *err) {
  DrillConfig *drill = &loaded->config.drill;
  const char *engine = loaded->raw->drill.engine ? loaded->raw->drill.engine : "auto";
  if (strcmp(engine, "auto") == 0)
    drill->engine = DRILL_ENGINE_AUTO;
  else if (strcmp(engine, "docker") == 0)
    drill->engine = DRILL_ENGINE_DOCKER;
  else if (strcmp(engine, "local") == 0)
    drill->engine = DRILL_ENGINE_LOCAL;
  else
    return config_error(err, loaded->config.path, "drill.engine is '%s'; it must be auto, docker or local", engine);
  return STATUS_OK;
}

static Status take_allowed_images(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  config->drill.allow_images = (const char **)loaded->raw->drill.allow_images;
  config->drill.allow_image_count = loaded->raw->drill.allow_images_count;
  if (config->drill.allow_image_count > ALLOW_IMAGES_MAX)
    return config_error(err, config->path, "drill.allow_images has more than %d patterns", ALLOW_IMAGES_MAX);
  for (size_t i = 0; i < config->drill.allow_image_count; i++) {
    const char *pattern = config->drill.allow_images[i];
    if (!*pattern || strlen(pattern) > ALLOW_IMAGE_LENGTH || strpbrk(pattern, "[]\\ "))
      return config_error(err, config->path,
                          "drill.allow_images has names of at most %d characters; `*` and `?` stand for others",
                          ALLOW_IMAGE_LENGTH);
  }
  return STATUS_OK;
}

static Status take_drill(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  config->drill.socket = raw->drill.socket;
  config->drill.local_user = raw->drill.local_user ? raw->drill.local_user : "postgres";
  config->drill.images = memory_alloc((raw->drill.images_count + 1) * sizeof *config->drill.images);
  Status status = take_engine(loaded, err);
  for (unsigned i = 0; !status && i < raw->drill.images_count; i++) {
    status = take_major(loaded, "drill.images", raw->drill.images, i, err);
    config->drill.images[config->drill.image_count++] =
        (DrillImage){raw->drill.images[i].major, raw->drill.images[i].path};
  }
  if (!status)
    status = take_allowed_images(loaded, err);
  if (!status)
    status =
        take_int(loaded, "drill.memory_mb", raw->drill.memory_mb, 2048, 256, 1 << 20, &config->drill.memory_mb, err);
  if (!status)
    status = take_int(loaded, "drill.cpus", raw->drill.cpus, 0, 0, 1024, &config->drill.cpus, err);
  if (!status)
    status = take_int(loaded, "drill.jobs", raw->drill.jobs, 0, 0, 64, &config->drill.jobs, err);
  if (!status)
    status = take_int(loaded, "drill.tmpfs_mb", raw->drill.tmpfs_mb, 0, 0, 1 << 20, &config->drill.tmpfs_mb, err);
  return status;
}

static Status take_rehearse(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  config->rehearse.secret_file = resolve(loaded, loaded->raw->rehearse.secret_file);
  if (config->can_rehearse && !config->rehearse.secret_file) {
    config_error(err, config->path, "an agent that rehearses needs rehearse.secret_file");
    error_remedy(err, "Make the secret with `pgseal rehearse --new-secret`, and name the file that holds it.");
    return err->status;
  }
  return take_int(loaded, "rehearse.keep_seconds", loaded->raw->rehearse.keep_seconds, 1800, 10, 86400,
                  &config->rehearse.keep_seconds, err);
}

static Status take_rest(Loaded *loaded, Error *err) {
  AgentConfig *config = &loaded->config;
  const RawAgentConfig *raw = loaded->raw;
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  config->log_level = raw->log.level ? raw->log.level : "info";
  config->log_format = raw->log.format ? raw->log.format : "text";
  LogLevel level;
  if (!log_level_from_name(config->log_level, &level))
    return config_error(err, config->path, "log.level is '%s'; it must be debug, info, warn or error",
                        config->log_level);
  if (strcmp(config->log_format, "text") != 0 && strcmp(config->log_format, "json") != 0)
    return config_error(err, config->path, "log.format is '%s'; it must be text or json", config->log_format);
  Status status = take_int(loaded, "segments.size_mb", raw->segments.size_mb, 16, 1, 256, &config->segment_mb, err);
  if (!status)
    status = take_int(loaded, "segments.zstd_level", raw->segments.zstd_level, 1, 1, 19, &config->zstd_level, err);
  if (!status)
    status = take_int(loaded, "segments.workers", raw->segments.workers,
                      cpus < 1   ? 1
                      : cpus > 4 ? 4
                                 : (int)cpus,
                      1, 64, &config->workers, err);
  return status;
}

typedef Status Step(Loaded *loaded, Error *err);

Status agent_config_load(const char *path, AgentConfig **out, Error *err) {
  CLEANUP(loaded_release) Loaded *loaded = memory_alloc(sizeof *loaded);
  loaded->directory = config_directory(path);
  char *own_path = memory_strdup(path);
  ARRAY_PUSH(loaded->owned, loaded->owned_count, own_path);
  loaded->config.path = own_path;
  void *raw = NULL;
  Status status = config_yaml_load(path, &agent_config_schema, &raw, err);
  if (status)
    return status;
  loaded->raw = raw;
  static Step *const steps[] = {take_agent,     take_repository, take_keys,     take_postgres,
                                take_databases, take_drill,      take_rehearse, take_rest};
  for (size_t i = 0; !status && i < ARRAY_SIZE(steps); i++)
    status = steps[i](loaded, err);
  if (status)
    return status;
  *out = &STEAL(loaded)->config;
  return STATUS_OK;
}

const AgentDatabase *agent_config_database(const AgentConfig *config, const char *name) {
  for (size_t i = 0; i < config->database_count; i++)
    if (strcmp(config->databases[i].name, name) == 0)
      return &config->databases[i];
  return NULL;
}

char *agent_config_owner(const AgentConfig *config) {
  CLEANUP_FREE char *place = config->data_dir ? realpath(config->data_dir, NULL) : NULL;
  return memory_format("%s@%s", config->name, place ? place : "");
}
