/*
 * An S3 bucket as repository: AWS S3, Ceph RGW, MinIO, R2, Wasabi, B2 and what else speaks its REST API of 2006-03-01,
 * with requests signed by Signature Version 4.
 *
 * Objects are single PUTs with `If-None-Match: *`: whole or absent, and never overwritten. A put whose answer was lost
 * is tried again; if the object is there then, what it says of itself (x-amz-meta-pgseal-put, a number drawn for that
 * one put) tells whether it is our own. A key that may not read its objects cannot ask: then it is taken for ours,
 * since nobody else writes below an attempt's prefix, and the drill reads every object back in any case.
 *
 * Ceph RGW (16, measured) ignores the condition where the bucket keeps versions, as Object Lock needs it: the newer
 * object hides the older, which stays as a version. Outside AWS, puts into such a bucket therefore look first whether
 * there is something; of two at the same moment both succeed then.
 *
 * Any call is tried again, with full jitter, until `retry_seconds` are over. What the server's answers become:
 *
 *   answer (HTTP, or S3 code)                    tried again    becomes
 *   200, 204                                     -              STATUS_OK
 *   404 NoSuchKey                                no             ERR_OBJECT_NOT_FOUND
 *   404 NoSuchBucket; any 404 of a list or put   no             ERR_REPOSITORY_MISSING
 *   412                                          no             ERR_OBJECT_EXISTS, or OK if it is our own (above)
 *   409 (a racing request)                       yes            ERR_REPOSITORY_UNAVAILABLE
 *   more bytes than the caller's limit           no             ERR_SEGMENT_CORRUPT
 *   500, 502, 503 SlowDown, 504, 429, 408        yes            ERR_REPOSITORY_UNAVAILABLE
 *   refused, cut, stalled or late connections    yes            ERR_REPOSITORY_UNAVAILABLE
 *   fewer bytes than announced                   yes            ERR_REPOSITORY_UNAVAILABLE
 *   400 BadDigest and the like (altered on way)  yes            ERR_REPOSITORY_UNAVAILABLE
 *   ExpiredToken, InvalidToken, InvalidAccessKey once, with     ERR_REPOSITORY_REFUSED
 *                                                fresh keys
 *   403 AccessDenied, SignatureDoesNotMatch      no; a session  ERR_REPOSITORY_REFUSED: the permission, the key's id
 *                                                once, as above
 *   403 RequestTimeTooSkewed                     no             ERR_REPOSITORY_REFUSED: both times
 *   certificate not trusted                      no             ERR_REPOSITORY_REFUSED
 *   301, 307 (the bucket is of another region)   no             ERR_REPOSITORY_REFUSED: which
 *   403 QuotaExceeded, 507                       no             ERR_DISK_FULL
 *   501, other 4xx                               no             ERR_REPOSITORY_REFUSED: the server's own words
 *
 * Secrets are kept only here and in libcurl, and are overwritten when freed, there too; they are in no error and no
 * log. Any thread; each call takes a connection of its own, kept open for the next.
 */
#ifndef PGSEAL_COMMON_REPOSITORY_S3_S3_H
#define PGSEAL_COMMON_REPOSITORY_S3_S3_H

#include "common/repository/repository.h"

typedef enum S3Style { S3_STYLE_AUTO, S3_STYLE_PATH, S3_STYLE_VIRTUAL } S3Style;

enum { S3_CONNECT_SECONDS = 10, S3_TIMEOUT_SECONDS = 60, S3_RETRY_SECONDS = 120 }; /* the defaults */

/* NULL and 0 mean the default. Copied by s3_repository_open. */
typedef struct S3Options {
  const char *bucket;   /* needed */
  const char *endpoint; /* "https://host[:port]"; default: AWS's, of the region */
  const char *region;   /* default: AWS_REGION, AWS_DEFAULT_REGION, "us-east-1" */
  const char *prefix;   /* of all keys, as a key: "backups/pgseal"; default: none */
  S3Style style;        /* auto: virtual at AWS, path elsewhere and where the bucket's name has a dot */
  const char *ca_file;  /* PEM; default: the system's */
  const char *proxy;    /* URL, for every host; default: HTTPS_PROXY, NO_PROXY ... as curl takes them; "" for none */

  const char *credentials_file; /* an AWS shared credentials file; if set, nothing else is looked at */
  const char *profile;          /* in that file, or in the shared one; default: AWS_PROFILE, "default" */

  const char *storage_class;  /* x-amz-storage-class */
  const char *encryption;     /* x-amz-server-side-encryption: "AES256", "aws:kms" */
  const char *encryption_key; /* x-amz-server-side-encryption-aws-kms-key-id */
  const char *acl;            /* x-amz-acl, such as "bucket-owner-full-control" */
  const char *lock_mode;      /* Object Lock: "COMPLIANCE", "GOVERNANCE" */
  int lock_days;              /* 1.. with lock_mode: retained so long from the put on */
  bool no_checksum;           /* leave out x-amz-checksum-sha256, for servers that refuse it */
  int bandwidth_mb;           /* 10^6 bytes a second, up and down together, of this Repository; 0: unlimited */
  int connect_seconds;
  int timeout_seconds; /* without progress, a try is given up */
  int retry_seconds;   /* no new try after so long */
} S3Options;

/* ERR_INVALID_ARGUMENT, with the object naming the option. */
Status s3_options_check(const S3Options *options, Error *err) MUST_CHECK;
/* Asks nobody yet. ERR_INVALID_ARGUMENT as above. */
Status s3_repository_open(const S3Options *options, Repository **out, Error *err) MUST_CHECK;

#endif
