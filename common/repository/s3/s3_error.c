/* What each answer becomes: the table of s3.h. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/repository/s3/internal.h"

typedef enum Kind {
  KIND_ABSENT,
  KIND_EXISTS,
  KIND_NO_BUCKET,
  KIND_BUSY,
  KIND_ALTERED,
  KIND_KEYS,
  KIND_DENIED,
  KIND_SECRET,
  KIND_CLOCK,
  KIND_FULL,
  KIND_REGION,
  KIND_OTHER
} Kind;

typedef struct Rule {
  long http; /* 0: any */
  const char *code;
  Kind kind;
} Rule;

/* The first that fits. Codes before numbers: a HEAD's answer has only the number. */
static const Rule rules[] = {
    {0, "NoSuchKey", KIND_ABSENT},
    {0, "ObjectLockConfigurationNotFoundError", KIND_ABSENT},
    {0, "NoSuchBucket", KIND_NO_BUCKET},
    {0, "PreconditionFailed", KIND_EXISTS},
    {0, "SlowDown", KIND_BUSY},
    {0, "RequestTimeout", KIND_BUSY},
    {0, "Throttling", KIND_BUSY},
    {0, "ThrottlingException", KIND_BUSY},
    {0, "RequestThrottled", KIND_BUSY},
    {0, "RequestLimitExceeded", KIND_BUSY},
    {0, "BadDigest", KIND_ALTERED},
    {0, "InvalidDigest", KIND_ALTERED},
    {0, "XAmzContentSHA256Mismatch", KIND_ALTERED},
    {0, "XAmzContentChecksumMismatch", KIND_ALTERED},
    {0, "IncompleteBody", KIND_ALTERED},
    {0, "ExpiredToken", KIND_KEYS},
    {0, "InvalidToken", KIND_KEYS},
    {0, "TokenRefreshRequired", KIND_KEYS},
    {0, "InvalidAccessKeyId", KIND_KEYS},
    {0, "SignatureDoesNotMatch", KIND_SECRET},
    {0, "RequestTimeTooSkewed", KIND_CLOCK},
    {0, "RequestExpired", KIND_CLOCK},
    {0, "QuotaExceeded", KIND_FULL},
    {0, "XMinioStorageFull", KIND_FULL},
    {0, "AuthorizationHeaderMalformed", KIND_REGION},
    {0, "PermanentRedirect", KIND_REGION},
    {0, "TemporaryRedirect", KIND_REGION},
    {0, "AccessDenied", KIND_DENIED},
    {301, NULL, KIND_REGION},
    {302, NULL, KIND_REGION},
    {307, NULL, KIND_REGION},
    {401, NULL, KIND_DENIED},
    {403, NULL, KIND_DENIED},
    {404, NULL, KIND_ABSENT},
    {408, NULL, KIND_BUSY},
    {409, NULL, KIND_BUSY},
    {412, NULL, KIND_EXISTS},
    {425, NULL, KIND_BUSY},
    {429, NULL, KIND_BUSY},
    {500, NULL, KIND_BUSY},
    {502, NULL, KIND_BUSY},
    {503, NULL, KIND_BUSY},
    {504, NULL, KIND_BUSY},
    {507, NULL, KIND_FULL},
};

static const char *const verbs[] = {[S3_PUT] = "store",     [S3_GET] = "read",  [S3_HEAD] = "look at",
                                    [S3_DELETE] = "remove", [S3_LIST] = "list", [S3_ASK] = "look up"};

static Kind classify(const S3Request *request, const S3Reply *reply) {
  for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
    if ((rules[i].code && strcmp(rules[i].code, reply->code) != 0) || (rules[i].http && rules[i].http != reply->status))
      continue;
    bool of_bucket = request->verb == S3_PUT || request->verb == S3_LIST || (request->verb == S3_ASK && !rules[i].code);
    return rules[i].kind == KIND_ABSENT && of_bucket ? KIND_NO_BUCKET : rules[i].kind;
  }
  return KIND_OTHER;
}

/* "cannot store KEY in the bucket": the beginning of all messages. */
static Status say(const S3 *s3, const S3Request *request, Status status, Error *err, const char *format, ...)
    PRINTF_LIKE(5, 6);
static Status say(const S3 *s3, const S3Request *request, Status status, Error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_set_v(err, status, format, args);
  va_end(args);
  error_prefix(err, "cannot %s %s in bucket %s", verbs[request->verb], *request->key ? request->key : "what is",
               s3->bucket);
  return status;
}

static const char *permission(const S3 *s3, const S3Request *request) {
  if (request->permission)
    return request->permission;
  switch (request->verb) {
  case S3_PUT:
    return s3->put_permissions;
  case S3_GET:
  case S3_HEAD:
    return "s3:GetObject";
  case S3_DELETE:
    return "s3:DeleteObject";
  default:
    return "s3:ListBucket";
  }
}

static S3Verdict denied(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  say(s3, request, ERR_REPOSITORY_REFUSED, err, "access denied to key id %s (HTTP %ld%s%s)", reply->key_id,
      reply->status, *reply->message ? ": " : "", reply->message);
  const char *hint = reply->session ? " The session may also have expired."
                     : request->verb == S3_GET
                         ? " Without s3:ListBucket, S3 says the same of an object that is not there."
                         : "";
  bool whole = s3_of_bucket(request->verb);
  error_remedy(err, "Allow %s on arn:aws:s3:::%s%s%s%s to this key, in its policy and the bucket's.%s",
               permission(s3, request), s3->bucket, whole ? "" : "/", whole ? "" : s3->prefix, whole ? "" : "*", hint);
  return reply->session ? S3_FRESH_KEYS : S3_STOP; /* Ceph says no more than this of a session that has expired */
}

static S3Verdict skewed(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  char here[CLOCK_TEXT_SIZE], there[CLOCK_TEXT_SIZE];
  int64_t now = clock_wall_us();
  time_t server = reply->date[0] ? curl_getdate(reply->date, NULL) : -1;
  clock_format(now, here);
  if (server < 0)
    say(s3, request, ERR_REPOSITORY_REFUSED, err, "the server's clock differs; it is %s here", here);
  else
    say(s3, request, ERR_REPOSITORY_REFUSED, err,
        "it is %s here, but %s at the server: %lld seconds apart, and S3 accepts 15 minutes", here,
        clock_format((int64_t)server * 1000000, there), llabs(now / 1000000 - (int64_t)server));
  error_remedy(err, "Set the clock of this machine, and keep it right by NTP (or correct the server's).");
  return S3_STOP;
}

static S3Verdict other_region(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  if (*reply->bucket_region) {
    say(s3, request, ERR_REPOSITORY_REFUSED, err, "the bucket is in region %s, not %s", reply->bucket_region,
        s3->region);
    error_remedy(err, "Set `region: %s`, and an endpoint of that region.", reply->bucket_region);
  } else {
    say(s3, request, ERR_REPOSITORY_REFUSED, err, "the server sends us elsewhere (HTTP %ld %s %s)", reply->status,
        reply->code, reply->message);
    error_remedy(err, "Set the endpoint and region that the bucket has.");
  }
  return S3_STOP;
}

static S3Verdict refused_keys(const S3 *s3, const S3Request *request, const S3Reply *reply, Kind kind, Error *err) {
  say(s3, request, ERR_REPOSITORY_REFUSED, err, "the server does not accept key id %s (%s)", reply->key_id,
      reply->code);
  if (kind == KIND_SECRET)
    error_remedy(err, "Give the secret that belongs to this key id; if it does, something on the way alters requests, "
                      "or the region is wrong.");
  else if (reply->session || strstr(reply->code, "Token"))
    error_remedy(err, "The session has expired, or its token is wrong: get a new one.");
  else
    error_remedy(err, "The key does not exist (any more): give the agent a valid one.");
  return kind == KIND_KEYS ? S3_FRESH_KEYS : S3_STOP;
}

static S3Verdict other(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  bool fault = reply->status >= 500 && reply->status != 501;
  say(s3, request, fault || reply->status < 300 ? ERR_REPOSITORY_UNAVAILABLE : ERR_REPOSITORY_REFUSED, err,
      "the server answered HTTP %ld%s%s%s%s", reply->status, *reply->code ? " " : "", reply->code,
      *reply->message ? ": " : "", reply->message);
  if (!fault && request->verb == S3_PUT && s3->lock_mode)
    error_remedy(err,
                 "See the server's words. Objects are to be locked (%s, %d days), and a bucket without Object Lock "
                 "refuses that.",
                 s3->lock_mode, s3->lock_days);
  else if (!fault)
    error_remedy(err, "See the server's words; an option of `s3` that it does not know can be left out.");
  return fault ? S3_AGAIN : S3_STOP;
}

static S3Verdict judge_http(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  Kind kind = classify(request, reply);
  switch (kind) {
  case KIND_ABSENT:
    error_set(err, ERR_OBJECT_NOT_FOUND, "there is no object %s in bucket %s", request->key, s3->bucket);
    return S3_STOP;
  case KIND_EXISTS:
    error_set(err, ERR_OBJECT_EXISTS, "the object %s exists already", request->key);
    return S3_STOP;
  case KIND_NO_BUCKET:
    say(s3, request, ERR_REPOSITORY_MISSING, err, "there is no such bucket at %s", s3->description);
    return S3_STOP;
  case KIND_BUSY:
  case KIND_ALTERED:
    say(s3, request, ERR_REPOSITORY_UNAVAILABLE, err, "the server answered HTTP %ld%s%s%s", reply->status,
        *reply->code ? " " : "", reply->code, kind == KIND_ALTERED ? ": the object arrived altered" : "");
    return S3_AGAIN;
  case KIND_KEYS:
  case KIND_SECRET:
    return refused_keys(s3, request, reply, kind, err);
  case KIND_DENIED:
    return denied(s3, request, reply, err);
  case KIND_CLOCK:
    return skewed(s3, request, reply, err);
  case KIND_FULL:
    say(s3, request, ERR_DISK_FULL, err, "the bucket or its owner's quota is full (HTTP %ld %s)", reply->status,
        reply->code);
    error_remedy(err, "Raise the quota of the bucket or of the key's user, or remove what is not needed any more.");
    return S3_STOP;
  case KIND_REGION:
    return other_region(s3, request, reply, err);
  default:
    return other(s3, request, reply, err);
  }
}

static bool is_distrust(CURLcode code) {
  switch (code) {
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CRL_BADFILE:
    return true;
  default:
    return false;
  }
}

static S3Verdict judge_curl(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  const char *why = *reply->why ? reply->why : curl_easy_strerror(reply->curl);
  if (reply->too_large) {
    error_set(err, ERR_SEGMENT_CORRUPT, "%s has more bytes than such an object may have (%zu)", request->key,
              request->limit);
    return S3_STOP;
  }
  if (is_distrust(reply->curl)) {
    say(s3, request, ERR_REPOSITORY_REFUSED, err, "the server's certificate is not trusted: %s", why);
    error_remedy(err, "Name the CA that signed it as `ca_file`, and the host as its certificate does.");
    return S3_STOP;
  }
  say(s3, request, ERR_REPOSITORY_UNAVAILABLE, err, "%s: %s", s3->base, why);
  return reply->curl == CURLE_URL_MALFORMAT || reply->curl == CURLE_UNSUPPORTED_PROTOCOL ? S3_STOP : S3_AGAIN;
}

S3Verdict s3_judge(const S3 *s3, const S3Request *request, const S3Reply *reply, Error *err) {
  bool answered = reply->status >= 200; /* refused in the middle of an upload, it may close without reading the rest */
  if (reply->curl != CURLE_OK && (!answered || reply->status < 300))
    return judge_curl(s3, request, reply, err);
  if (reply->status < 200 || reply->status >= 300)
    return judge_http(s3, request, reply, err);
  if (reply->unbounded || (request->verb == S3_GET && reply->body.size > request->limit)) {
    say(s3, request, ERR_REPOSITORY_UNAVAILABLE, err, "the answer does not say how long it is");
    return S3_STOP;
  }
  return S3_DONE;
}
