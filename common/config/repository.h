/*
 * The `repository:` of a configuration file, as docs/repository.md describes it: a directory, an S3 bucket, or another
 * file that says which (one file for all agents, and for `pgseal fetch --repository`). Loop or main thread.
 */
#ifndef PGSEAL_COMMON_CONFIG_REPOSITORY_H
#define PGSEAL_COMMON_CONFIG_REPOSITORY_H

#include <cyaml/cyaml.h>

#include "common/repository/s3/s3.h"

typedef struct RawS3 { /* as libcyaml loads it */
  char *bucket, *endpoint, *region, *prefix, *addressing, *ca_file, *proxy, *credentials_file, *profile, *storage_class,
      *encryption, *encryption_key, *acl, *lock_mode;
  int *lock_days, *bandwidth_mb, *connect_seconds, *timeout_seconds, *retry_seconds;
  bool *checksum;
} RawS3;

typedef struct RawRepository {
  char *directory, *file;
  RawS3 *s3;
} RawRepository;

extern const cyaml_schema_field_t repository_config_fields[];

typedef struct RepositoryConfig {
  const char *directory; /* or NULL: */
  S3Options s3;          /* in a bucket */
  char **owned;          /* its strings */
  size_t owned_count;
} RepositoryConfig;

/* Of what was loaded from `path`, to whose directory other paths are relative. ERR_CONFIG with file and line. */
Status repository_config_take(const char *path, const RawRepository *raw, RepositoryConfig *out, Error *err) MUST_CHECK;
/* Of a file that has only a `repository:`. */
Status repository_config_load(const char *path, RepositoryConfig *out, Error *err) MUST_CHECK;
void repository_config_release(RepositoryConfig *config);

Status repository_config_open(const RepositoryConfig *config, Repository **out, Error *err) MUST_CHECK;

#endif
