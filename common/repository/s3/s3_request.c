/*
 * One try of one request, by libcurl, which signs it, too (CURLOPT_AWS_SIGV4). Measured with curl 7.88 against Ceph
 * RGW: its signatures are right for every request made here, since they keep to what it can do. It wants the payload's
 * hash as an x-amz-content-sha256 header (without: 403). It takes the query as it stands, so it must be sorted,
 * escaped, and each parameter have its '=' (else: 403). No header may be emptied ("Expect:": 403), so the Expect that
 * it adds to large bodies stays; the server's early refusal then costs no upload. Keys need no escaping
 * (repository_key_valid). One kind of put it signs wrong: that with a KMS key, which sign.c signs.
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/repository/s3/internal.h"
#include "common/repository/s3/sign.h"
#include "common/repository/s3/xml.h"

enum { SLOWEST_BYTES_PER_SECOND = 1024, RETRY_AFTER_LIMIT = 60, SLICE = 65536 };

#define NOTHING_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

typedef struct Transfer {
  S3 *s3;
  const S3Request *request;
  S3Reply *reply;
  CURL *curl;
  size_t sent;
  bool chunked, sized, looked;
} Transfer;

void s3_reply_release(S3Reply *reply) {
  buffer_release(&reply->body);
}

static size_t on_send(char *out, size_t size, size_t count, void *user) {
  Transfer *transfer = user;
  size_t left = transfer->request->size - transfer->sent, now = size * count;
  now = now < left ? now : left;
  if (now == 0)
    return 0;
  s3_throttle_wait(&transfer->s3->throttle, now);
  memcpy(out, (const char *)transfer->request->data + transfer->sent, now);
  transfer->sent += now;
  return now;
}

/* A kept connection turned out to be dead: curl begins again on a new one. The first request may have got through. */
static int on_seek(void *user, curl_off_t offset, int origin) {
  Transfer *transfer = user;
  if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > transfer->request->size)
    return CURL_SEEKFUNC_FAIL;
  if (transfer->sent > 0)
    transfer->reply->resent = true;
  transfer->sent = (size_t)offset;
  return CURL_SEEKFUNC_OK;
}

static bool take(const char *line, size_t length, const char *name, char *out, size_t size) {
  size_t n = strlen(name);
  if (length <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
    return false;
  size_t from = n + 1, to = length;
  while (from < to && strchr(" \t", line[from]))
    from++;
  while (to > from && strchr(" \t\r\n", line[to - 1]))
    to--;
  CLEANUP_FREE char *value = memory_strndup(line + from, to - from);
  text_clean(value, out, size);
  return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *user) {
  Transfer *transfer = user;
  S3Reply *reply = transfer->reply;
  size_t length = size * count;
  char value[S3_CODE_SIZE];
  if (length >= 5 && strncmp(line, "HTTP/", 5) == 0) { /* what came before was a 100, or a proxy's */
    transfer->chunked = transfer->sized = transfer->looked = false;
    reply->date[0] = reply->bucket_region[0] = reply->put_id[0] = reply->version.id[0] = '\0';
  } else if (take(line, length, "Retry-After", value, sizeof value)) {
    long seconds = strtol(value, NULL, 10); /* a date reads as something small */
    reply->retry_after = seconds > 0 ? (seconds < RETRY_AFTER_LIMIT ? (int)seconds : RETRY_AFTER_LIMIT) : 0;
  } else if (take(line, length, "Content-Length", value, sizeof value)) {
    reply->length = strtoull(value, NULL, 10);
    transfer->sized = true;
  } else if (take(line, length, "Transfer-Encoding", value, sizeof value)) {
    transfer->chunked = true;
  } else {
    (void)(take(line, length, "Date", reply->date, sizeof reply->date) ||
           take(line, length, "x-amz-bucket-region", reply->bucket_region, sizeof reply->bucket_region) ||
           take(line, length, "x-amz-meta-pgseal-put", reply->put_id, sizeof reply->put_id) ||
           take(line, length, "x-amz-version-id", reply->version.id, sizeof reply->version.id));
  }
  return length;
}

static bool is_success(CURL *curl) {
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return status >= 200 && status < 300;
}

static size_t on_body(char *data, size_t size, size_t count, void *user) {
  Transfer *transfer = user;
  S3Reply *reply = transfer->reply;
  size_t now = size * count, limit = transfer->request->limit;
  if (!is_success(transfer->curl)) { /* an error document: its beginning will do */
    size_t room = S3_ERROR_BODY_LIMIT - reply->body.size;
    buffer_append(&reply->body, data, now < room ? now : room);
    return now;
  }
  if (!transfer->looked && transfer->sized && reply->length <= limit)
    buffer_reserve(&reply->body, (size_t)reply->length + 1);
  transfer->looked = true;
  if (now > limit - reply->body.size || (transfer->sized && reply->length > limit)) {
    reply->too_large = true;
    return 0; /* ends the transfer */
  }
  s3_throttle_wait(&transfer->s3->throttle, now);
  buffer_append(&reply->body, data, now);
  return now;
}

/* Connections are kept, and the process starts others meanwhile. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)user, (void)purpose;
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void set_verb(CURL *curl, Transfer *transfer) {
  const S3Request *request = transfer->request;
  switch (request->verb) {
  case S3_PUT:
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->size);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)SLICE * 4);
    break;
  case S3_HEAD:
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    break;
  case S3_DELETE:
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "DELETE");
    break;
  case S3_GET:
  case S3_LIST:
  case S3_ASK:
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)SLICE * 4);
    break;
  }
}

/* A try ends when it makes no progress for timeout_seconds; one that carries little must be over by then. */
static void set_limits(CURL *curl, const S3 *s3, S3Verb verb) {
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)s3->connect_seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST_BYTES_PER_SECOND);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)s3->timeout_seconds);
  if (verb == S3_HEAD || verb == S3_DELETE)
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)s3->timeout_seconds);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
}

static void set_options(CURL *curl, Transfer *transfer, const char *url, const S3Keys *keys,
                        struct curl_slist *headers) {
  const S3 *s3 = transfer->s3;
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https"); /* and nobody is redirected */
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  if (s3->ca_file)
    curl_easy_setopt(curl, CURLOPT_CAINFO, s3->ca_file);
  if (s3->proxy) {
    curl_easy_setopt(curl, CURLOPT_PROXY, s3->proxy);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, ""); /* said here, it holds for every host, whatever NO_PROXY says */
  }
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  if (!transfer->request->own_signature) {
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, s3->signing);
    curl_easy_setopt(curl, CURLOPT_USERNAME, keys->access_key);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, keys->secret_key);
  }
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgseal");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reply->why);
  set_limits(curl, s3, transfer->request->verb);
  set_verb(curl, transfer);
}

static void finish(Transfer *transfer) {
  S3Reply *reply = transfer->reply;
  curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &reply->status);
  bool has_body = transfer->request->verb == S3_GET || s3_of_bucket(transfer->request->verb);
  reply->unbounded = has_body && !transfer->sized && !transfer->chunked;
  if (reply->status >= 300)
    s3_error_parse(reply->body.data, reply->body.size, reply->code, sizeof reply->code, reply->message,
                   sizeof reply->message, reply->bucket_region, sizeof reply->bucket_region);
}

static void free_headers(struct curl_slist **headers) {
  curl_slist_free_all(*headers);
}

static void append(struct curl_slist **headers, const char *line) {
  struct curl_slist *longer = curl_slist_append(*headers, line);
  if (longer)
    *headers = longer;
}

static void add(struct curl_slist **headers, const char *name, const char *value) {
  char *line = memory_format("%s: %s", name, value);
  append(headers, line);
  s3_secret_free(&line);
}

/* What curl would do, but right: see sign.c. */
static void sign(const S3 *s3, const S3Request *request, const S3Keys *keys, struct curl_slist **headers) {
  static const char *const methods[] = {[S3_PUT] = "PUT",       [S3_GET] = "GET",  [S3_HEAD] = "HEAD",
                                        [S3_DELETE] = "DELETE", [S3_LIST] = "GET", [S3_ASK] = "GET"};
  const char **lines = NULL;
  size_t count = 0;
  for (const struct curl_slist *header = *headers; header; header = header->next)
    ARRAY_PUSH(lines, count, header->data);
  bool whole = s3_of_bucket(request->verb);
  CLEANUP_FREE char *path = memory_format("%s/%s%s", s3->root, whole ? "" : s3->prefix, whole ? "" : request->key);
  S3Signing signing = {.method = methods[request->verb],
                       .host = s3->host,
                       .path = path,
                       .query = request->query ? request->query : "",
                       .payload_sha256 = request->payload_sha256 ? request->payload_sha256 : NOTHING_SHA256,
                       .region = s3->region,
                       .headers = lines,
                       .header_count = count,
                       .now_us = clock_wall_us()};
  CLEANUP_FREE char *date = NULL, *authorization = NULL;
  s3_sign(&signing, keys, &date, &authorization);
  free(lines);
  append(headers, date);
  append(headers, authorization);
}

void s3_try(S3 *s3, const S3Request *request, const S3Keys *keys, S3Reply *reply) {
  bool maybe_done = reply->maybe_done;
  s3_reply_release(reply);
  *reply = (S3Reply){.maybe_done = maybe_done};
  reply->session = keys->session_token && !keys->expires_us;
  text_clean(keys->access_key, reply->key_id, sizeof reply->key_id);
  CURL *curl = s3_pool_take(&s3->pool);
  if (!curl) {
    reply->curl = CURLE_OUT_OF_MEMORY;
    return;
  }
  CLEANUP(free_headers) struct curl_slist *headers = NULL;
  for (const struct curl_slist *header = request->headers; header; header = header->next)
    append(&headers, header->data);
  add(&headers, "x-amz-content-sha256", request->payload_sha256 ? request->payload_sha256 : NOTHING_SHA256);
  if (keys->session_token)
    add(&headers, "x-amz-security-token", keys->session_token);
  if (request->own_signature)
    sign(s3, request, keys, &headers);
  bool whole = s3_of_bucket(request->verb);
  CLEANUP_FREE char *url = memory_format("%s/%s%s%s%s", s3->base, whole ? "" : s3->prefix, whole ? "" : request->key,
                                         request->query ? "?" : "", request->query ? request->query : "");
  Transfer transfer = {.s3 = s3, .request = request, .reply = reply, .curl = curl};
  set_options(curl, &transfer, url, keys, headers);
  reply->curl = curl_easy_perform(curl);
  finish(&transfer);
  s3_pool_give(&s3->pool, curl);
}
