/*
 * agent.yaml, read by libcyaml; unknown keys are errors with file and line. Paths are relative to the file.
 * An annotated example: deploy/agent.yaml. Everything is owned by the AgentConfig, read-only after load.
 */
#ifndef PGSEAL_AGENT_CONFIG_H
#define PGSEAL_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/crypto/segment.h"
#include "common/crypto/signing.h"
#include "common/postgres/connection.h"
#include "common/repository/s3/s3.h"

typedef struct AgentDatabase {
  const char *name;
  const char *conninfo_file;         /* holds one libpq connection string */
  const char *restore_conninfo_file; /* the same, for plans and restores; conninfo_file where none is given */
  bool roles;                        /* dump the cluster's roles with it ("roles: all", the default; "none") */
} AgentDatabase;

typedef enum DrillEngineKind { DRILL_ENGINE_AUTO, DRILL_ENGINE_DOCKER, DRILL_ENGINE_LOCAL } DrillEngineKind;
typedef struct DrillImage {
  int major;
  const char *image;
} DrillImage;

typedef struct DrillConfig {
  DrillEngineKind engine; /* auto: docker if its socket answers, else local */
  const char *socket; /* of the Docker API; default: DOCKER_HOST, /run/podman/podman.sock, /var/run/docker.sock, first
                         that exists */
  DrillImage *images; /* major -> image; default "postgres:<major>" */
  size_t image_count;
  const char **allow_images; /* patterns of the names that a policy of the fleet may ask for, besides those */
  size_t allow_image_count;
  int memory_mb, cpus;    /* container bounds; 0: 2048 and all */
  int jobs;               /* pg_restore -j for post-data; 0: number of CPUs */
  int tmpfs_mb;           /* reserved: PGDATA on tmpfs; 0 = on disk */
  const char *local_user; /* whom the local engine runs as when the agent is root; default "postgres" */
} DrillConfig;

typedef struct RehearseConfig {
  const char *secret_file; /* NULL: no section */
  int keep_seconds;        /* a copy is kept no longer than this after it was handed over; default 1800 */
} RehearseConfig;

typedef struct AgentConfig {
  const char *path;
  const char *name;
  const char **coordinators; /* bus URLs */
  size_t coordinator_count;
  const char *data_dir;              /* spool (results until acknowledged), scratch */
  const char *signing_key;           /* PEM path */
  const char *tls_ca, *tls_identity; /* PEM paths: the deployment's authority; key and certificate in one file, which is
                                        exchanged whole when the certificate is renewed. NULL: none */
  bool can_dump, can_drill, can_restore, can_prune, can_rehearse;
  bool bare, bare_only; /* it has nothing but the repository and a key, and can_drill; it does no other drills */
  int dump_slots, drill_slots, restore_slots; /* default 1 each; plans take a restore's */
  int prune_slots, rehearse_slots;            /* likewise */
  const char *repository_directory;           /* NULL: in a bucket, */
  S3Options repository_s3;                    /* this one */
  const char **recipients;                    /* certificate paths */
  size_t recipient_count;
  const char *decryption_key, *decryption_certificate; /* only agents that drill, restore or rehearse; may be NULL */
  PostgresBinDir *bin_dirs;
  size_t bin_dir_count;
  AgentDatabase *databases;
  size_t database_count;
  DrillConfig drill;
  RehearseConfig rehearse;
  int segment_mb; /* plaintext MiB of the first segments; default 16 */
  int zstd_level; /* default 1 */
  int workers;    /* segment encoders; default: CPUs, at most 4 */
  const char *log_level, *log_format;
} AgentConfig;

Status agent_config_load(const char *path, AgentConfig **out, Error *err) MUST_CHECK;
void agent_config_free(AgentConfig *config);
Status agent_config_repository(const AgentConfig *config, Repository **out, Error *err) MUST_CHECK; /* opens it */
/* The same for who stores what has to be locked: in the mode and for the days given, or as the configuration has it
 * where that is more. It is the least that holds here: nobody else can make it less. mode NULL: as configured.
 * ERR_CONFIG where the repository is a directory, which locks nothing. */
Status agent_config_repository_locked(const AgentConfig *config, const char *mode, uint32_t days, Repository **out,
                                      Error *err) MUST_CHECK;
/* Whose clusters are whose on this machine: the name and where it works, since two agents of different coordinators may
 * have the same name (every `pgseal dev` calls its own alike). Freed by the caller. */
char *agent_config_owner(const AgentConfig *config);
const AgentDatabase *agent_config_database(const AgentConfig *config, const char *name); /* NULL if none */

#endif
