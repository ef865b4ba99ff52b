/* A put: conditional, hashed once, and recognised when its answer was lost. */
#include <openssl/evp.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/repository/s3/internal.h"

enum { MD5_SIZE = 16, BASE64_SIZE = 4 * ((SHA256_SIZE + 2) / 3) + 1 };

static void free_headers(struct curl_slist **headers) {
  curl_slist_free_all(*headers);
}

static void add(struct curl_slist **headers, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct curl_slist **headers, const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  struct curl_slist *longer = curl_slist_append(*headers, line);
  if (longer)
    *headers = longer;
}

static void base64(const uint8_t *data, size_t size, char out[BASE64_SIZE]) {
  EVP_EncodeBlock((unsigned char *)out, data, (int)size);
}

/* Object Lock wants a digest in one of the headers that S3 itself checks. Where MD5 is switched off (FIPS), the other
 * one must do. */
static void add_lock(const S3 *s3, const void *data, size_t size, struct curl_slist **headers) {
  char until[CLOCK_TEXT_SIZE], text[BASE64_SIZE];
  uint8_t md5[MD5_SIZE];
  clock_format(clock_wall_us() + (int64_t)s3->lock_days * 86400 * 1000000, until);
  add(headers, "x-amz-object-lock-mode: %s", s3->lock_mode);
  add(headers, "x-amz-object-lock-retain-until-date: %s", until);
  if (EVP_Digest(data, size, md5, NULL, EVP_md5(), NULL)) {
    base64(md5, sizeof md5, text);
    add(headers, "Content-MD5: %s", text);
  }
}

/* Is the object that is there the one that this very put sent? */
static Status resolve(S3 *s3, const S3Request *put, const char *put_id, bool maybe_done, Error *err) {
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  S3Request look = {.verb = S3_HEAD, .key = put->key};
  Error failure;
  Status status = s3_perform(s3, &look, &reply, &failure);
  if (status == STATUS_OK && strcmp(reply.put_id, put_id) == 0 && reply.length == put->size)
    return STATUS_OK;
  if (status == ERR_REPOSITORY_REFUSED && maybe_done) /* a key that may only write: see s3.h */
    return STATUS_OK;
  if (status != STATUS_OK && error_class(status) == ERROR_CLASS_TRANSIENT) { /* still nobody knows */
    *err = failure;
    return status;
  }
  return error_set(err, ERR_OBJECT_EXISTS, "the object %s exists already", put->key);
}

/* Where the condition of a put may mean nothing (see s3.h), looks. What a key may not look at, it may store. */
static Status look_first(S3 *s3, const char *key, Error *err) {
  if (s3->trusted || atomic_load(&s3->versioned) == S3_VERSIONED_NO)
    return STATUS_OK;
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  S3Request look = {.verb = S3_HEAD, .key = key};
  Error failure;
  Status status = s3_perform(s3, &look, &reply, &failure);
  if (status == STATUS_OK)
    return error_set(err, ERR_OBJECT_EXISTS, "the object %s exists already", key);
  if (error_class(status) != ERROR_CLASS_TRANSIENT)
    return STATUS_OK; /* not there, or to be refused again by the put, which says it better */
  *err = failure;
  return status;
}

Status s3_put(void *backend, const char *key, const void *data, size_t size, const uint8_t *sha256_given,
              RepositoryVersion *version, Error *err) {
  S3 *s3 = backend;
  Status status = look_first(s3, key, err);
  if (status != STATUS_OK)
    return status;
  Id id = id_new();
  uint8_t digest[SHA256_SIZE];
  char hex[SHA256_HEX_SIZE], text[BASE64_SIZE];
  if (sha256_given)
    memcpy(digest, sha256_given, sizeof digest);
  else
    sha256(data, size, digest);
  text_hex(digest, sizeof digest, hex);
  CLEANUP(free_headers) struct curl_slist *headers = NULL;
  add(&headers, "If-None-Match: *");
  add(&headers, "x-amz-meta-pgseal-put: %s", id.text);
  add(&headers, "Content-Type: application/octet-stream");
  if (s3->checksum) {
    base64(digest, sizeof digest, text);
    add(&headers, "x-amz-checksum-sha256: %s", text);
  }
  for (size_t i = 0; i < s3->put_header_count; i++)
    add(&headers, "%s", s3->put_headers[i]);
  if (s3->lock_mode)
    add_lock(s3, data, size, &headers);
  S3Request request = {.verb = S3_PUT,
                       .key = key,
                       .data = data,
                       .size = size,
                       .payload_sha256 = hex,
                       .headers = headers,
                       .own_signature = s3->names_overlap};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Error failure;
  status = s3_perform(s3, &request, &reply, &failure);
  if (status == ERR_OBJECT_EXISTS)
    return resolve(s3, &request, id.text, reply.maybe_done, err);
  if (status != STATUS_OK) {
    *err = failure;
    return status;
  }
  atomic_store(&s3->versioned, *reply.version.id ? S3_VERSIONED_YES : S3_VERSIONED_NO);
  if (version)
    *version = reply.version;
  return STATUS_OK;
}
