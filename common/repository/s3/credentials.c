/* The chain, and what it found last. */
#include "common/repository/s3/credentials.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

/* Asked for again so long before they expire; services hand out new ones earlier than that. */
#define REFRESH_AHEAD_US ((int64_t)5 * 60 * 1000000)

struct S3Credentials {
  S3CredentialsOptions options; /* owned strings */
  pthread_mutex_t lock;
  S3Keys keys;
  int64_t asked_us; /* when; monotonic */
};

static char *copy(const char *text) {
  return text ? memory_strdup(text) : NULL;
}

S3Credentials *s3_credentials_new(const S3CredentialsOptions *options) {
  S3Credentials *credentials = memory_alloc(sizeof *credentials);
  pthread_mutex_init(&credentials->lock, NULL);
  credentials->options = (S3CredentialsOptions){copy(options->file), copy(options->profile), copy(options->region),
                                                copy(options->ca_file), copy(options->proxy)};
  return credentials;
}

void s3_credentials_free(S3Credentials *credentials) {
  if (!credentials)
    return;
  s3_keys_release(&credentials->keys);
  pthread_mutex_destroy(&credentials->lock);
  const char *texts[] = {credentials->options.file, credentials->options.profile, credentials->options.region,
                         credentials->options.ca_file, credentials->options.proxy};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free((char *)texts[i]);
  free(credentials);
}

Status s3_credentials_environment(S3Keys *keys, bool *found, Error *err) {
  const char *access = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY"),
             *token = getenv("AWS_SESSION_TOKEN");
  *found = (access && *access) || (secret && *secret);
  if (!*found)
    return STATUS_OK;
  if (!access || !*access || !secret || !*secret) {
    error_set(err, ERR_REPOSITORY_REFUSED, "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set");
    error_remedy(err, "Set both in the environment, or none of them.");
    return err->status;
  }
  *keys = (S3Keys){copy(access), copy(secret), token && *token ? copy(token) : NULL, 0};
  return STATUS_OK;
}

static Status none(Error *err) {
  error_set(err, ERR_REPOSITORY_REFUSED, "there are no credentials for the bucket");
  error_remedy(err, "Name a file of them as `credentials_file` of the repository, or set them up as for any AWS tool: "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, web identity, or a role of the "
                    "container or the instance.");
  return err->status;
}

static Status ask(const S3CredentialsOptions *options, S3Keys *keys, Error *err) {
  bool found = false;
  if (options->file) {
    Status status = s3_credentials_shared(options, keys, &found, err);
    return status || found ? status : none(err);
  }
  Status status = s3_credentials_environment(keys, &found, err);
  if (!status && !found)
    status = s3_credentials_web_identity(options, keys, &found, err);
  if (!status && !found)
    status = s3_credentials_shared(options, keys, &found, err);
  if (!status && !found)
    status = s3_credentials_container(options, keys, &found, err);
  if (!status && !found)
    status = s3_credentials_instance(options, keys, &found, err);
  return status || found ? status : none(err);
}

/* With the lock held. */
static Status refresh(S3Credentials *credentials, Error *err) {
  S3Keys fresh = {0};
  Status status = ask(&credentials->options, &fresh, err);
  if (status != STATUS_OK)
    return status;
  s3_keys_release(&credentials->keys);
  credentials->keys = fresh;
  credentials->asked_us = clock_monotonic_us();
  return STATUS_OK;
}

/* A service that has nothing newer yet is not asked with every request. */
static bool is_due(const S3Credentials *credentials) {
  const S3Keys *keys = &credentials->keys;
  return keys->expires_us && keys->expires_us - clock_wall_us() < REFRESH_AHEAD_US &&
         clock_monotonic_us() - credentials->asked_us > REFRESH_AHEAD_US / 30;
}

Status s3_credentials_get(S3Credentials *credentials, const char *refused, S3Keys *keys, Error *err) {
  Status status = STATUS_OK;
  pthread_mutex_lock(&credentials->lock);
  const S3Keys *have = &credentials->keys;
  bool never = !have->access_key, expired = have->expires_us && have->expires_us <= clock_wall_us();
  if (never || expired || (refused && strcmp(have->access_key, refused) == 0)) {
    status = refresh(credentials, err);
  } else if (is_due(credentials)) {
    Error failure;
    credentials->asked_us = clock_monotonic_us();
    if (refresh(credentials, &failure) != STATUS_OK)
      log_failure(LOG_LEVEL_WARN, "credentials that expire soon cannot be renewed yet", &failure);
  }
  if (status == STATUS_OK)
    *keys = (S3Keys){copy(have->access_key), copy(have->secret_key), copy(have->session_token), have->expires_us};
  pthread_mutex_unlock(&credentials->lock);
  return status;
}
