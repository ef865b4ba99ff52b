/* AWS Signature Version 4, in the Authorization header. Internal to common/repository/s3. Any thread. */
#ifndef PGSEAL_COMMON_REPOSITORY_S3_SIGN_H
#define PGSEAL_COMMON_REPOSITORY_S3_SIGN_H

#include "common/repository/s3/credentials.h"

typedef struct S3Signing {
  const char *method, *host; /* host as in the Host header, with its port if it is not the scheme's */
  const char *path, *query;  /* escaped; the query sorted, "" or each parameter with its '=' */
  const char *payload_sha256, *region;
  const char *const *headers; /* "Name: value", all but Host, x-amz-date and the Authorization; each name once */
  size_t header_count;
  int64_t now_us; /* wall clock */
} S3Signing;

/* The two headers that are still missing, "x-amz-date: ..." and "Authorization: ..."; freed by the caller. */
void s3_sign(const S3Signing *signing, const S3Keys *keys, char **date, char **authorization);

#endif
