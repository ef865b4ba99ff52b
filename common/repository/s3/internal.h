/* Parts of the S3 backend. Internal to common/repository/s3. Any thread, unless it says otherwise. */
#ifndef PGSEAL_COMMON_REPOSITORY_S3_INTERNAL_H
#define PGSEAL_COMMON_REPOSITORY_S3_INTERNAL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/id.h"
#include "common/crypto/digest.h"
#include "common/repository/s3/credentials.h"
#include "common/repository/s3/s3.h"

enum {
  S3_POOL_SIZE = 16,
  S3_CODE_SIZE = 64,
  S3_TEXT_SIZE = 512,
  S3_ERROR_BODY_LIMIT = 65536,
  S3_LIST_LIMIT = 16 << 20,
  S3_GUARD_LIMIT = 65536
};

typedef struct S3Pool { /* connections that are open and idle */
  pthread_mutex_t lock;
  CURL *idle[S3_POOL_SIZE];
  size_t count;
} S3Pool;

typedef struct S3Throttle {
  pthread_mutex_t lock;
  int64_t bytes_per_second; /* 0: unlimited */
  int64_t free_at_us;       /* when what was let through so far has passed */
} S3Throttle;

enum { S3_VERSIONED_UNKNOWN, S3_VERSIONED_NO, S3_VERSIONED_YES };

typedef struct S3 {
  char *bucket, *region, *prefix /* "" or with its '/' */, *base /* of URLs, without last '/' */, *signing;
  char *host, *root; /* of the Host header; of paths, "" or "/BUCKET" */
  char *ca_file, *proxy, *description;
  char **put_headers; /* what every put carries */
  size_t put_header_count;
  char *lock_mode; /* or NULL */
  char *put_permissions;
  int lock_days, connect_seconds, timeout_seconds, retry_seconds;
  bool checksum;
  bool names_overlap;   /* of the headers of puts: one begins with another, as sign.c says */
  bool trusted;         /* AWS: the condition of a put holds in versioned buckets, too */
  atomic_int versioned; /* is the bucket? S3_VERSIONED_... */
  S3Credentials *credentials;
  S3Pool pool;
  S3Throttle throttle;
} S3;

/* S3_ASK: something of the bucket, which the query names */
typedef enum S3Verb { S3_PUT, S3_GET, S3_HEAD, S3_DELETE, S3_LIST, S3_ASK } S3Verb;

typedef struct S3Request {
  S3Verb verb;
  const char *key;        /* of the repository; of a list: its prefix; of an S3_ASK: what it asks for, in words */
  const char *query;      /* or NULL. Sorted and escaped, each with its '=': what curl signs, it takes as it is */
  const char *permission; /* that it needs; NULL: the verb's */
  const void *data;       /* of a put */
  size_t size;
  const char *payload_sha256; /* of data, in hexadecimal */
  struct curl_slist *headers; /* besides the payload's hash and the session's token */
  bool own_signature;         /* curl would sign its headers wrong: see sign.c */
  size_t limit;               /* of a get's or list's body */
} S3Request;

typedef struct S3Reply {
  CURLcode curl;
  long status;     /* of HTTP; 0: no whole answer came */
  Buffer body;     /* what was asked for, or the error document */
  bool too_large;  /* more than the limit */
  bool unbounded;  /* neither a length nor chunks: an end that is none could not be told */
  bool maybe_done; /* a try before the last may have been carried out, though no answer came */
  bool session;    /* asked with a session of which nobody knows when it ends */
  bool resent;     /* curl sent the body again by itself, on a new connection */
  uint64_t length; /* as announced */
  int retry_after; /* seconds; 0: nothing said */
  char code[S3_CODE_SIZE], message[S3_TEXT_SIZE]; /* of the error document; may be empty */
  char date[S3_CODE_SIZE], bucket_region[S3_CODE_SIZE], put_id[S3_CODE_SIZE];
  RepositoryVersion version; /* made by a put, or by what hides an object */
  char key_id[S3_CODE_SIZE]; /* of the credentials that were used */
  char why[CURL_ERROR_SIZE]; /* curl's words */
} S3Reply;

void s3_reply_release(S3Reply *reply);

static inline bool s3_of_bucket(S3Verb verb) { /* not of one object */
  return verb == S3_LIST || verb == S3_ASK;
}

/* s3_pool.c */
void s3_curl_init(void); /* before any other use of curl in this process, so that what curl frees is overwritten */
void s3_pool_init(S3Pool *pool);
void s3_pool_release(S3Pool *pool);
CURL *s3_pool_take(S3Pool *pool); /* NULL if there is no memory */
void s3_pool_give(S3Pool *pool, CURL *curl);
void s3_throttle_wait(S3Throttle *throttle, size_t bytes); /* until so many more bytes may pass */

/* s3_request.c: one try. *reply is made anew, but for maybe_done. */
void s3_try(S3 *s3, const S3Request *request, const S3Keys *keys, S3Reply *reply);

/* s3_error.c: what to do about a reply, and what it becomes. */
typedef enum S3Verdict { S3_DONE, S3_STOP, S3_AGAIN, S3_FRESH_KEYS } S3Verdict;
S3Verdict s3_judge(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err);

/* s3_retry.c: until it is done, refused, or the time is over. STATUS_OK for a 2xx only. */
Status s3_perform(S3 *s3, const S3Request *request, S3Reply *reply, Error *err) MUST_CHECK;
/* Microseconds before try number `try` (0: the second), uniformly between 0 and a bound that doubles. */
int64_t s3_backoff_us(int try);

/* s3_put.c, s3_list.c, s3_versions.c, s3_guards.c: as the repository's functions. */
Status s3_put(void *s3, const char *key, const void *data, size_t size, const uint8_t *sha256,
              RepositoryVersion *version, Error *err) MUST_CHECK;
Status s3_guards(void *s3, RepositoryGuards *guards, Error *err) MUST_CHECK;
Status s3_list(void *s3, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
               Error *err) MUST_CHECK;
Status s3_entries(void *s3, const char *prefix, RepositoryEntryVisit *visit, void *user, Error *err) MUST_CHECK;
Status s3_locked(void *s3, const char *key, const char *version, int64_t *until_us, Error *err) MUST_CHECK;
char *s3_escape(const char *text);        /* for a query; new */
bool s3_is_unknown(const S3Reply *reply); /* the server does not know such a request */

#endif
