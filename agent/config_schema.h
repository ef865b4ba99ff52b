/* agent.yaml as libcyaml loads it. Internal to agent/config.c. */
#ifndef PGSEAL_AGENT_CONFIG_SCHEMA_H
#define PGSEAL_AGENT_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

#include "common/config/repository.h"

typedef struct RawAgentDatabase {
  char *name, *conninfo_file, *restore_conninfo_file, *roles;
} RawAgentDatabase;

typedef struct RawMajorPath {
  int major;
  char *path; /* of bin_dirs; the image of images */
} RawMajorPath;

typedef struct RawTls {
  char *ca, *identity;
} RawTls;

typedef struct RawAgentConfig {
  struct {
    char *name, **coordinators, *data, *signing_key, **capabilities;
    unsigned coordinators_count, capabilities_count;
    struct {
      int *dump, *drill, *restore, *prune, *rehearse;
    } slots;
    RawTls *tls;
  } agent;
  RawRepository repository;
  struct {
    char **recipients, *decryption_key, *decryption_certificate;
    unsigned recipients_count;
  } keys;
  struct {
    RawMajorPath *bin_dirs;
    unsigned bin_dirs_count;
  } postgres;
  RawAgentDatabase *databases;
  unsigned databases_count;
  struct {
    char *engine, *socket, *local_user;
    RawMajorPath *images;
    unsigned images_count;
    char **allow_images;
    unsigned allow_images_count;
    int *memory_mb, *cpus, *jobs, *tmpfs_mb;
  } drill;
  struct {
    char *secret_file;
    int *keep_seconds;
  } rehearse;
  struct {
    int *size_mb, *zstd_level, *workers;
  } segments;
  struct {
    char *level, *format;
  } log;
} RawAgentConfig;

extern const cyaml_schema_value_t agent_config_schema;

#endif
