/* The table of s3.h: what each answer becomes, whether it is tried again, and what people are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/repository/s3/internal.h"

static const S3 s3 = {.bucket = (char *)"b",
                      .region = (char *)"eu-1",
                      .prefix = (char *)"p/",
                      .base = (char *)"https://h/b",
                      .description = (char *)"s3://b/p/ at https://h",
                      .put_permissions = (char *)"s3:PutObject"};

typedef struct Row {
  S3Verb verb;
  long http;
  const char *code;
  S3Verdict verdict;
  Status status;
  const char *mentions;
} Row;

static void judge(const S3Reply *reply, S3Verb verb, S3Verdict verdict, Status status, const char *mentions) {
  Error err = {0};
  S3Request request = {.verb = verb, .key = "db/1", .limit = 10};
  S3Verdict got = s3_judge(&s3, &request, reply, &err);
  if (got != verdict || err.status != status)
    fail_msg("HTTP %ld %s: verdict %d, %s: %s", reply->status, reply->code, got, error_code(err.status), err.message);
  if (status && (!*err.remedy || (!strstr(err.message, mentions) && !strstr(err.remedy, mentions))))
    fail_msg("HTTP %ld %s: \"%s\" (%s) does not mention \"%s\"", reply->status, reply->code, err.message, err.remedy,
             mentions);
}

static void test_table(void **state) {
  (void)state;
  static const Row rows[] = {
      {S3_PUT, 200, "", S3_DONE, STATUS_OK, ""},
      {S3_DELETE, 204, "", S3_DONE, STATUS_OK, ""},
      {S3_GET, 404, "NoSuchKey", S3_STOP, ERR_OBJECT_NOT_FOUND, "db/1"},
      {S3_HEAD, 404, "", S3_STOP, ERR_OBJECT_NOT_FOUND, "db/1"},
      {S3_GET, 404, "NoSuchBucket", S3_STOP, ERR_REPOSITORY_MISSING, "s3://b"},
      {S3_LIST, 404, "", S3_STOP, ERR_REPOSITORY_MISSING, "Create the bucket"},
      {S3_PUT, 404, "NoSuchKey", S3_STOP, ERR_REPOSITORY_MISSING, "s3://b"},
      {S3_PUT, 412, "PreconditionFailed", S3_STOP, ERR_OBJECT_EXISTS, "db/1"},
      {S3_PUT, 412, "", S3_STOP, ERR_OBJECT_EXISTS, "db/1"},
      {S3_PUT, 409, "ConditionalRequestConflict", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "ConditionalRequestConflict"},
      {S3_PUT, 409, "OperationAborted", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "409"},
      {S3_PUT, 503, "SlowDown", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "SlowDown"},
      {S3_PUT, 400, "RequestTimeout", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "RequestTimeout"},
      {S3_GET, 500, "InternalError", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "InternalError"},
      {S3_GET, 502, "", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "502"},
      {S3_GET, 504, "", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "504"},
      {S3_GET, 599, "", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "599"},
      {S3_GET, 429, "", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "429"},
      {S3_PUT, 400, "BadDigest", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "altered"},
      {S3_PUT, 400, "XAmzContentSHA256Mismatch", S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "altered"},
      {S3_PUT, 400, "ExpiredToken", S3_FRESH_KEYS, ERR_REPOSITORY_REFUSED, "session"},
      {S3_PUT, 403, "InvalidAccessKeyId", S3_FRESH_KEYS, ERR_REPOSITORY_REFUSED, "AKID"},
      {S3_PUT, 403, "SignatureDoesNotMatch", S3_STOP, ERR_REPOSITORY_REFUSED, "secret"},
      {S3_PUT, 403, "AccessDenied", S3_STOP, ERR_REPOSITORY_REFUSED, "Allow s3:PutObject on arn:aws:s3:::b/p/* "},
      {S3_PUT, 403, "AccessDenied", S3_STOP, ERR_REPOSITORY_REFUSED, "AKID"},
      {S3_GET, 403, "", S3_STOP, ERR_REPOSITORY_REFUSED, "s3:GetObject"},
      {S3_DELETE, 403, "AccessDenied", S3_STOP, ERR_REPOSITORY_REFUSED, "s3:DeleteObject"},
      {S3_ASK, 404, "ObjectLockConfigurationNotFoundError", S3_STOP, ERR_OBJECT_NOT_FOUND, "db/1"},
      {S3_ASK, 404, "", S3_STOP, ERR_REPOSITORY_MISSING, "Create the bucket"},
      {S3_ASK, 404, "NoSuchBucket", S3_STOP, ERR_REPOSITORY_MISSING, "s3://b"},
      {S3_LIST, 403, "AccessDenied", S3_STOP, ERR_REPOSITORY_REFUSED, "Allow s3:ListBucket on arn:aws:s3:::b to"},
      {S3_PUT, 403, "QuotaExceeded", S3_STOP, ERR_DISK_FULL, "quota"},
      {S3_PUT, 507, "XMinioStorageFull", S3_STOP, ERR_DISK_FULL, "full"},
      {S3_PUT, 507, "", S3_STOP, ERR_DISK_FULL, "full"},
      {S3_PUT, 301, "PermanentRedirect", S3_STOP, ERR_REPOSITORY_REFUSED, "elsewhere"},
      {S3_PUT, 307, "TemporaryRedirect", S3_STOP, ERR_REPOSITORY_REFUSED, "elsewhere"},
      {S3_PUT, 501, "NotImplemented", S3_STOP, ERR_REPOSITORY_REFUSED, "NotImplemented"},
      {S3_PUT, 400, "InvalidStorageClass", S3_STOP, ERR_REPOSITORY_REFUSED, "InvalidStorageClass"},
      {S3_PUT, 100, "", S3_STOP, ERR_REPOSITORY_UNAVAILABLE, "100"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    S3Reply reply = {.status = rows[i].http, .key_id = "AKID"};
    snprintf(reply.code, sizeof reply.code, "%s", rows[i].code);
    judge(&reply, rows[i].verb, rows[i].verdict, rows[i].status, rows[i].mentions);
  }
}

static void test_what_more_is_known(void **state) {
  (void)state;
  S3Reply region = {.status = 400, .code = "AuthorizationHeaderMalformed", .bucket_region = "eu-7"};
  judge(&region, S3_PUT, S3_STOP, ERR_REPOSITORY_REFUSED, "in region eu-7, not eu-1");
  S3Reply clock = {.status = 403, .code = "RequestTimeTooSkewed", .date = "Sat, 21 Nov 2026 04:00:11 GMT"};
  judge(&clock, S3_PUT, S3_STOP, ERR_REPOSITORY_REFUSED, "2026-11-21T04:00:11.000Z at the server");
  S3Reply undated = {.status = 403, .code = "RequestTimeTooSkewed"};
  judge(&undated, S3_PUT, S3_STOP, ERR_REPOSITORY_REFUSED, "NTP");
  S3Reply session = {.status = 403, .code = "AccessDenied", .session = true, .key_id = "AKID"};
  judge(&session, S3_PUT, S3_FRESH_KEYS, ERR_REPOSITORY_REFUSED, "session may also have expired");
  /* an early refusal, with the rest of the upload cut off */
  S3Reply early = {.status = 403, .code = "AccessDenied", .curl = CURLE_SEND_ERROR, .key_id = "AKID"};
  judge(&early, S3_PUT, S3_STOP, ERR_REPOSITORY_REFUSED, "s3:PutObject");
}

static void test_connections(void **state) {
  (void)state;
  static const CURLcode again[] = {CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT,  CURLE_PARTIAL_FILE,
                                   CURLE_OPERATION_TIMEDOUT,   CURLE_SEND_ERROR,       CURLE_RECV_ERROR,
                                   CURLE_GOT_NOTHING,          CURLE_SSL_CONNECT_ERROR};
  for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
    S3Reply reply = {.curl = again[i]};
    judge(&reply, S3_PUT, S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "https://h/b");
  }
  S3Reply cut = {.curl = CURLE_PARTIAL_FILE, .status = 200}; /* half of an object is none */
  judge(&cut, S3_GET, S3_AGAIN, ERR_REPOSITORY_UNAVAILABLE, "https://h/b");
  S3Reply distrust = {.curl = CURLE_PEER_FAILED_VERIFICATION, .why = "self-signed"};
  judge(&distrust, S3_PUT, S3_STOP, ERR_REPOSITORY_REFUSED, "self-signed");
  S3Reply large = {.curl = CURLE_WRITE_ERROR, .status = 200, .too_large = true};
  judge(&large, S3_GET, S3_STOP, ERR_SEGMENT_CORRUPT, "10");
  S3Reply unbounded = {.status = 200, .unbounded = true};
  judge(&unbounded, S3_GET, S3_STOP, ERR_REPOSITORY_UNAVAILABLE, "how long");
}

static void test_backoff_is_full_jitter(void **state) {
  (void)state;
  int64_t highest = 0;
  for (int try = 0; try < 40; try++) {
    int64_t bound = try < 7 ? INT64_C(100000) << try:
      10000000;
    for (int i = 0; i < 50; i++) {
      int64_t us = s3_backoff_us(try);
      assert_true(us >= 0 && us <= bound);
      highest = us > highest ? us : highest;
    }
  }
  assert_true(highest > 9000000); /* of 1,600 draws up to 10 s */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_what_more_is_known),
      cmocka_unit_test(test_connections),
      cmocka_unit_test(test_backoff_is_full_jitter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
