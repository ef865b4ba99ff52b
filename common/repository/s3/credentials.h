/*
 * Credentials for S3, from where the AWS SDKs take them and in their order:
 *
 *   1. `credentials_file`, if the configuration names one: nothing else is looked at then
 *   2. environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   3. web identity (EKS): AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME; asks STS
 *      (AWS_ENDPOINT_URL_STS, else https://sts.REGION.amazonaws.com)
 *   4. shared credentials file: AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials; AWS_PROFILE, else "default"
 *   5. container (ECS, EKS): AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN
 *      or _TOKEN_FILE
 *   6. instance metadata (EC2), IMDSv2 only: unless AWS_EC2_METADATA_DISABLED is "true";
 *      AWS_EC2_METADATA_SERVICE_ENDPOINT
 *
 * The first that is set up counts; if it then fails, that is the error, and no other is tried.
 */
#ifndef PGSEAL_COMMON_REPOSITORY_S3_CREDENTIALS_H
#define PGSEAL_COMMON_REPOSITORY_S3_CREDENTIALS_H

#include "common/base/buffer.h"

typedef struct S3Keys {
  char *access_key, *secret_key;
  char *session_token; /* or NULL */
  int64_t expires_us;  /* wall clock; 0: never */
} S3Keys;

void s3_keys_release(S3Keys *keys); /* overwrites them */
void s3_secret_free(char **text);   /* overwrites a string, frees it, and leaves NULL */
void s3_secret_release(Buffer *buffer);

/* All may be NULL but region. Copied. */
typedef struct S3CredentialsOptions {
  const char *file, *profile, *region, *ca_file, *proxy;
} S3CredentialsOptions;

typedef struct S3Credentials S3Credentials;
S3Credentials *s3_credentials_new(const S3CredentialsOptions *options);
void s3_credentials_free(S3Credentials *credentials);

/* A copy of the keys, released by the caller. They are asked for again in time before they expire, by one thread while
 * others wait; with `refused`, the access key that the server just refused, at once if they are still those.
 * ERR_REPOSITORY_REFUSED with what to set up; ERR_REPOSITORY_UNAVAILABLE if who hands them out does not answer. */
Status s3_credentials_get(S3Credentials *credentials, const char *refused, S3Keys *keys, Error *err) MUST_CHECK;

/* Of an AWS shared credentials file. `name` is for errors, which name the line; they never show a value.
 * ERR_REPOSITORY_REFUSED. */
Status s3_credentials_parse(const char *text, size_t size, const char *name, const char *profile, S3Keys *keys,
                            Error *err) MUST_CHECK;
/* Of what a container's or an instance's metadata service answers. */
Status s3_credentials_parse_json(const void *data, size_t size, const char *from, S3Keys *keys, Error *err) MUST_CHECK;
int64_t s3_credentials_parse_time(const char *text); /* RFC 3339 in UTC, as AWS writes it; -1 if it is not */

/* The sources. *found is false, with STATUS_OK, where one is not set up. */
Status s3_credentials_environment(S3Keys *keys, bool *found, Error *err) MUST_CHECK;
Status s3_credentials_shared(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) MUST_CHECK;
Status s3_credentials_web_identity(const S3CredentialsOptions *options, S3Keys *keys, bool *found,
                                   Error *err) MUST_CHECK;
Status s3_credentials_container(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) MUST_CHECK;
Status s3_credentials_instance(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) MUST_CHECK;

/* One small HTTP exchange with who hands out credentials. */
typedef struct S3Ask {
  const char *method, *url;
  const char *header;          /* "Name: value", or NULL */
  const char *form;            /* the body of a POST, or NULL */
  const char *ca_file, *proxy; /* "" for no proxy */
  int connect_ms, timeout_ms;
} S3Ask;
/* *http is the HTTP status of any answer; ERR_REPOSITORY_UNAVAILABLE if there is none. *out is replaced. */
Status s3_ask(const S3Ask *ask, long *http, Buffer *out, Error *err) MUST_CHECK;

#endif
