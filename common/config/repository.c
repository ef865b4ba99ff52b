#include "common/config/repository.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/config/yaml.h"

enum { TEXT_LIMIT = 4096, SECONDS_MAX = 86400, BANDWIDTH_MAX = 100000 };

#define TEXT(type, member)                                                                                             \
  CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, TEXT_LIMIT)
#define INT(type, member) CYAML_FIELD_INT_PTR(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member)

static const cyaml_schema_field_t s3_fields[] = {
    TEXT(RawS3, bucket),
    TEXT(RawS3, endpoint),
    TEXT(RawS3, region),
    TEXT(RawS3, prefix),
    TEXT(RawS3, addressing),
    TEXT(RawS3, ca_file),
    TEXT(RawS3, proxy),
    TEXT(RawS3, credentials_file),
    TEXT(RawS3, profile),
    TEXT(RawS3, storage_class),
    TEXT(RawS3, encryption),
    TEXT(RawS3, encryption_key),
    TEXT(RawS3, acl),
    TEXT(RawS3, lock_mode),
    INT(RawS3, lock_days),
    INT(RawS3, bandwidth_mb),
    INT(RawS3, connect_seconds),
    INT(RawS3, timeout_seconds),
    INT(RawS3, retry_seconds),
    CONFIG_FIELD_BOOL_PTR("checksum", RawS3, checksum),
    CYAML_FIELD_END,
};

const cyaml_schema_field_t repository_config_fields[] = {
    TEXT(RawRepository, directory),
    TEXT(RawRepository, file),
    CYAML_FIELD_MAPPING_PTR("s3", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawRepository, s3, s3_fields),
    CYAML_FIELD_END,
};

typedef struct RawFile {
  RawRepository repository;
} RawFile;

static const cyaml_schema_field_t file_fields[] = {
    CYAML_FIELD_MAPPING("repository", CYAML_FLAG_DEFAULT, RawFile, repository, repository_config_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, RawFile, file_fields)};

void repository_config_release(RepositoryConfig *config) {
  for (size_t i = 0; i < config->owned_count; i++)
    free(config->owned[i]);
  free(config->owned);
  *config = (RepositoryConfig){0};
}

static const char *keep(RepositoryConfig *config, char *text) {
  ARRAY_PUSH(config->owned, config->owned_count, text);
  return text;
}

static const char *copy(RepositoryConfig *config, const char *text) {
  return text ? keep(config, memory_strdup(text)) : NULL;
}

static const char *resolve(RepositoryConfig *config, const char *path, const char *relative) {
  if (!relative)
    return NULL;
  CLEANUP_FREE char *directory = config_directory(path);
  return keep(config, config_resolve(directory, relative));
}

static Status take_style(const char *path, const char *addressing, S3Style *style, Error *err) {
  static const char *const names[] = {
      [S3_STYLE_AUTO] = "auto", [S3_STYLE_PATH] = "path", [S3_STYLE_VIRTUAL] = "virtual"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (strcmp(addressing ? addressing : "auto", names[i]) == 0) {
      *style = (S3Style)i;
      return STATUS_OK;
    }
  return config_error_at(err, path, "s3", "addressing", "'%s' must be auto, path or virtual", addressing);
}

static Status take_numbers(const char *path, const RawS3 *raw, S3Options *s3, Error *err) {
  const struct {
    const char *name;
    const int *value;
    int *to, low, high;
  } numbers[] = {
      {"lock_days", raw->lock_days, &s3->lock_days, 1, 36500},
      {"bandwidth_mb", raw->bandwidth_mb, &s3->bandwidth_mb, 1, BANDWIDTH_MAX},
      {"connect_seconds", raw->connect_seconds, &s3->connect_seconds, 1, SECONDS_MAX},
      {"timeout_seconds", raw->timeout_seconds, &s3->timeout_seconds, 1, SECONDS_MAX},
      {"retry_seconds", raw->retry_seconds, &s3->retry_seconds, 1, SECONDS_MAX},
  };
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
    if (!numbers[i].value)
      continue;
    *numbers[i].to = *numbers[i].value;
    if (*numbers[i].to < numbers[i].low || *numbers[i].to > numbers[i].high)
      return config_error_at(err, path, "s3", numbers[i].name, "%d; it must be between %d and %d", *numbers[i].to,
                             numbers[i].low, numbers[i].high);
  }
  return STATUS_OK;
}

static Status take_s3(const char *path, const RawS3 *raw, RepositoryConfig *config, Error *err) {
  S3Options *s3 = &config->s3;
  *s3 = (S3Options){
      .bucket = copy(config, raw->bucket),
      .endpoint = copy(config, raw->endpoint),
      .region = copy(config, raw->region),
      .prefix = copy(config, raw->prefix),
      .ca_file = resolve(config, path, raw->ca_file),
      .proxy = copy(config, raw->proxy),
      .credentials_file = resolve(config, path, raw->credentials_file),
      .profile = copy(config, raw->profile),
      .storage_class = copy(config, raw->storage_class),
      .encryption = copy(config, raw->encryption),
      .encryption_key = copy(config, raw->encryption_key),
      .acl = copy(config, raw->acl),
      .lock_mode = copy(config, raw->lock_mode),
      .no_checksum = raw->checksum && !*raw->checksum,
  };
  Status status = take_style(path, raw->addressing, &s3->style, err);
  if (status == STATUS_OK)
    status = take_numbers(path, raw, s3, err);
  Error failure;
  if (status == STATUS_OK && s3_options_check(s3, &failure) != STATUS_OK)
    status = config_error_at(err, path, "s3", failure.object, "%s", failure.message);
  return status;
}

/* A file may not lead to a third one. */
static Status take(const char *path, const RawRepository *raw, bool may_refer, RepositoryConfig *config, Error *err) {
  if (!!raw->directory + !!raw->s3 + !!raw->file != 1)
    return config_error_at(err, path, "repository", NULL, "needs either `directory`, `s3` or `file`");
  if (raw->s3)
    return take_s3(path, raw->s3, config, err);
  if (raw->directory) {
    config->directory = resolve(config, path, raw->directory);
    return *raw->directory ? STATUS_OK : config_error_at(err, path, "repository", "directory", "it is empty");
  }
  if (!may_refer)
    return config_error_at(err, path, "repository", "file", "this file is referred to already; it may not refer on");
  CLEANUP_FREE char *directory = config_directory(path);
  CLEANUP_FREE char *other = config_resolve(directory, raw->file);
  return repository_config_load(other, config, err);
}

static void released(RepositoryConfig *config) {
  repository_config_release(config);
}

Status repository_config_take(const char *path, const RawRepository *raw, RepositoryConfig *out, Error *err) {
  CLEANUP(released) RepositoryConfig config = {0};
  Status status = take(path, raw, true, &config, err);
  if (status != STATUS_OK)
    return status;
  *out = config;
  config = (RepositoryConfig){0};
  return STATUS_OK;
}

Status repository_config_load(const char *path, RepositoryConfig *out, Error *err) {
  CLEANUP(released) RepositoryConfig config = {0};
  void *raw = NULL;
  Status status = config_yaml_load(path, &file_schema, &raw, err);
  if (status != STATUS_OK)
    return status;
  status = take(path, &((RawFile *)raw)->repository, false, &config, err);
  config_yaml_free(&file_schema, raw);
  if (status != STATUS_OK)
    return status;
  *out = config;
  config = (RepositoryConfig){0};
  return STATUS_OK;
}

Status repository_config_open(const RepositoryConfig *config, Repository **out, Error *err) {
  return config->directory ? directory_repository_open(config->directory, out, err)
                           : s3_repository_open(&config->s3, out, err);
}
