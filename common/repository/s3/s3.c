#include "common/repository/s3/s3.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/s3/internal.h"

enum { PREFIX_LIMIT = 120, LOCK_DAYS_MAX = 36500 };

/* ---- the repository's functions ------------------------------------------------------------------- */

static Status s3_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  S3Request request = {.verb = S3_GET, .key = key, .limit = limit};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Status status = s3_perform(backend, &request, &reply, err);
  if (status != STATUS_OK)
    return status;
  buffer_release(out);
  *out = reply.body;
  reply.body = (Buffer){0};
  return STATUS_OK;
}

static void free_headers(struct curl_slist **headers) {
  curl_slist_free_all(*headers);
}

static Status remove_version(S3 *s3, const char *key, const RepositoryRemoval *removal, Error *err) {
  char *escaped = curl_easy_escape(NULL, removal->version, 0);
  CLEANUP_FREE char *query = memory_format("versionId=%s", escaped ? escaped : "");
  curl_free(escaped);
  CLEANUP(free_headers)
  struct curl_slist *headers =
      removal->bypass ? curl_slist_append(NULL, "x-amz-bypass-governance-retention: true") : NULL;
  S3Request request = {.verb = S3_DELETE,
                       .key = key,
                       .query = query,
                       .headers = headers,
                       .permission = removal->bypass ? "s3:DeleteObjectVersion, s3:BypassGovernanceRetention"
                                                     : "s3:DeleteObjectVersion"};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  return s3_perform(s3, &request, &reply, err);
}

/* S3 says the same of a removal whether there was something or not, so it is looked first, where the key may. */
static Status s3_remove(void *backend, const char *key, RepositoryRemoval *removal, Error *err) {
  if (removal && removal->version)
    return remove_version(backend, key, removal, err);
  S3Request request = {.verb = S3_HEAD, .key = key};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Error failure;
  bool looks = !removal || !removal->unseen;
  Status status = looks ? s3_perform(backend, &request, &reply, &failure) : STATUS_OK;
  if (status != STATUS_OK && status != ERR_REPOSITORY_REFUSED) {
    *err = failure;
    return status;
  }
  request.verb = S3_DELETE;
  status = s3_perform(backend, &request, &reply, err);
  if (status == STATUS_OK && removal)
    removal->mark = reply.version;
  return status;
}

static void s3_close(void *backend) {
  S3 *s3 = backend;
  s3_pool_release(&s3->pool);
  s3_credentials_free(s3->credentials);
  pthread_mutex_destroy(&s3->throttle.lock);
  for (size_t i = 0; i < s3->put_header_count; i++)
    free(s3->put_headers[i]);
  free(s3->put_headers);
  char *texts[] = {s3->bucket,      s3->region,    s3->prefix,          s3->base, s3->signing, s3->proxy, s3->ca_file,
                   s3->description, s3->lock_mode, s3->put_permissions, s3->host, s3->root};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free(texts[i]);
  free(s3);
}

static void closed(S3 **s3) {
  if (*s3)
    s3_close(*s3);
}

/* ---- what may be set -------------------------------------------------------------------------------- */

static Status wrong(Error *err, const char *option, const char *format, ...) PRINTF_LIKE(3, 4);
static Status wrong(Error *err, const char *option, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_set_v(err, ERR_INVALID_ARGUMENT, format, args);
  va_end(args);
  error_object(err, "%s", option);
  return err->status;
}

static bool only(const char *text, const char *also) {
  for (const char *at = text; *at; at++)
    if (!isalnum((unsigned char)*at) && !strchr(also, *at))
      return false;
  return true;
}

static Status check_names(const S3Options *options, Error *err) {
  const char *bucket = options->bucket ? options->bucket : "";
  size_t length = strlen(bucket);
  if (length < 3 || length > 63 || !only(bucket, ".-_") || !isalnum((unsigned char)*bucket))
    return wrong(err, "bucket", "'%s' is no bucket's name", bucket);
  if (options->prefix && (!repository_key_valid(options->prefix) || strlen(options->prefix) > PREFIX_LIMIT))
    return wrong(err, "prefix", "'%s' must be parts of A-Z, a-z, 0-9, '.', '_', '-', joined by '/', %d at most",
                 options->prefix, PREFIX_LIMIT);
  if (options->region && (!*options->region || strlen(options->region) > 40 || !only(options->region, "-")))
    return wrong(err, "region", "'%s' is no region's name", options->region);
  if (options->profile && !*options->profile)
    return wrong(err, "profile", "it is empty");
  return STATUS_OK;
}

static Status check_storing(const S3Options *options, Error *err) {
  const struct {
    const char *name, *value, *also;
  } words[] = {{"storage_class", options->storage_class, "_"},
               {"encryption", options->encryption, ":"},
               {"encryption_key", options->encryption_key, ":/_-"},
               {"acl", options->acl, "-"}};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (words[i].value && (!*words[i].value || strlen(words[i].value) > 500 || !only(words[i].value, words[i].also)))
      return wrong(err, words[i].name, "'%s' is not what S3 has there", words[i].value);
  const char *mode = options->lock_mode;
  if (mode && strcmp(mode, "COMPLIANCE") != 0 && strcmp(mode, "GOVERNANCE") != 0)
    return wrong(err, "lock_mode", "'%s' must be COMPLIANCE or GOVERNANCE", mode);
  if (!mode != !options->lock_days)
    return wrong(err, "lock_mode", "lock_mode and lock_days belong together; one is missing");
  if (options->lock_days < 0 || options->lock_days > LOCK_DAYS_MAX)
    return wrong(err, "lock_days", "%d days; it must be 1 to %d", options->lock_days, LOCK_DAYS_MAX);
  if (options->encryption_key && !options->encryption)
    return wrong(err, "encryption_key", "it needs `encryption: aws:kms`");
  return STATUS_OK;
}

/* ---- where it is ------------------------------------------------------------------------------------ */

typedef struct Place {
  char *scheme, *host /* with its port, if it has one */;
} Place;

static void place_release(Place *place) {
  free(place->scheme);
  free(place->host);
}

static char *part(CURLU *url, CURLUPart which) {
  char *text = NULL;
  if (curl_url_get(url, which, &text, 0) != CURLUE_OK)
    return NULL;
  char *copy = memory_strdup(text);
  curl_free(text);
  return copy;
}

static void url_free(CURLU **url) {
  curl_url_cleanup(*url);
}

static Status take_endpoint(const char *endpoint, Place *place, Error *err) {
  CLEANUP(url_free) CURLU *url = curl_url();
  if (!url || curl_url_set(url, CURLUPART_URL, endpoint, 0) != CURLUE_OK)
    return wrong(err, "endpoint", "'%s' is no URL such as https://s3.example.org:9000", endpoint);
  CLEANUP_FREE char *user = part(url, CURLUPART_USER), *path = part(url, CURLUPART_PATH),
                    *query = part(url, CURLUPART_QUERY), *port = part(url, CURLUPART_PORT),
                    *host = part(url, CURLUPART_HOST);
  place->scheme = part(url, CURLUPART_SCHEME);
  if (user) /* not shown: there may be a password after it */
    return wrong(err, "endpoint", "it may hold no user; credentials are named apart");
  if (!place->scheme || (strcmp(place->scheme, "https") != 0 && strcmp(place->scheme, "http") != 0) || !host || query ||
      (path && strcmp(path, "/") != 0))
    return wrong(err, "endpoint", "'%s' must be https://HOST or https://HOST:PORT, the bucket being named apart",
                 endpoint);
  if (port && strcmp(port, strcmp(place->scheme, "https") == 0 ? "443" : "80") == 0) { /* nobody says it then */
    place->host = memory_strdup(host);
    return STATUS_OK;
  }
  place->host = memory_format("%s%s%s", host, port ? ":" : "", port ? port : "");
  return STATUS_OK;
}

static const char *environment_region(void) {
  static const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    const char *value = getenv(names[i]);
    if (value && *value && strlen(value) <= 40 && only(value, "-"))
      return value;
  }
  return "us-east-1";
}

static Status locate(S3 *s3, const S3Options *options, Error *err) {
  CLEANUP(place_release) Place place = {0};
  const char *china = strncmp(s3->region, "cn-", 3) == 0 ? ".cn" : "";
  CLEANUP_FREE char *endpoint = options->endpoint ? memory_strdup(options->endpoint)
                                                  : memory_format("https://s3.%s.amazonaws.com%s", s3->region, china);
  Status status = take_endpoint(endpoint, &place, err);
  if (status != STATUS_OK)
    return status;
  /* the wildcard of a certificate covers one label */
  bool virtual = options->style == S3_STYLE_VIRTUAL ||
                 (options->style == S3_STYLE_AUTO && !options->endpoint && !strchr(options->bucket, '.'));
  s3->host = virtual ? memory_format("%s.%s", options->bucket, place.host) : memory_strdup(place.host);
  s3->root = virtual ? memory_strdup("") : memory_format("/%s", options->bucket);
  s3->base = memory_format("%s://%s%s", place.scheme, s3->host, s3->root);
  s3->description = memory_format("s3://%s/%s at %s://%s", s3->bucket, s3->prefix, place.scheme, place.host);
  return STATUS_OK;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static void put_header(S3 *s3, const char *name, const char *value) {
  if (!value)
    return;
  char *line = memory_format("%s: %s", name, value);
  ARRAY_PUSH(s3->put_headers, s3->put_header_count, line);
}

static char *copy(const char *text) {
  return text ? memory_strdup(text) : NULL;
}

static S3 *make(const S3Options *options) {
  S3 *s3 = memory_alloc(sizeof *s3);
  s3_pool_init(&s3->pool);
  pthread_mutex_init(&s3->throttle.lock, NULL);
  s3->throttle.bytes_per_second = (int64_t)options->bandwidth_mb * 1000000;
  s3->bucket = memory_strdup(options->bucket);
  s3->region = memory_strdup(options->region ? options->region : environment_region());
  s3->prefix = options->prefix ? memory_format("%s/", options->prefix) : memory_strdup("");
  s3->signing = memory_format("aws:amz:%s:s3", s3->region);
  s3->ca_file = copy(options->ca_file);
  s3->proxy = copy(options->proxy);
  s3->lock_mode = copy(options->lock_mode);
  s3->lock_days = options->lock_days;
  s3->trusted = !options->endpoint;
  s3->names_overlap = options->encryption_key != NULL;
  s3->checksum = !options->no_checksum;
  s3->connect_seconds = options->connect_seconds ? options->connect_seconds : S3_CONNECT_SECONDS;
  s3->timeout_seconds = options->timeout_seconds ? options->timeout_seconds : S3_TIMEOUT_SECONDS;
  s3->retry_seconds = options->retry_seconds ? options->retry_seconds : S3_RETRY_SECONDS;
  put_header(s3, "x-amz-storage-class", options->storage_class);
  put_header(s3, "x-amz-server-side-encryption", options->encryption);
  put_header(s3, "x-amz-server-side-encryption-aws-kms-key-id", options->encryption_key);
  put_header(s3, "x-amz-acl", options->acl);
  s3->put_permissions = memory_format("s3:PutObject%s%s", options->acl ? ", s3:PutObjectAcl" : "",
                                      options->lock_mode ? ", s3:PutObjectRetention" : "");
  S3CredentialsOptions credentials = {.file = options->credentials_file,
                                      .profile = options->profile,
                                      .region = s3->region,
                                      .ca_file = options->ca_file,
                                      .proxy = options->proxy};
  s3->credentials = s3_credentials_new(&credentials);
  return s3;
}

Status s3_options_check(const S3Options *options, Error *err) {
  CLEANUP(place_release) Place place = {0};
  Status status = check_names(options, err);
  if (status == STATUS_OK)
    status = check_storing(options, err);
  if (status == STATUS_OK && options->endpoint)
    status = take_endpoint(options->endpoint, &place, err);
  return status;
}

Status s3_repository_open(const S3Options *options, Repository **out, Error *err) {
  static const RepositoryOps ops = {.put = s3_put,
                                    .get = s3_get,
                                    .list = s3_list,
                                    .remove = s3_remove,
                                    .guards = s3_guards,
                                    .entries = s3_entries,
                                    .locked = s3_locked,
                                    .close = s3_close,
                                    .retries = true};
  Status status = s3_options_check(options, err);
  if (status != STATUS_OK)
    return error_prefix(err, "%s", err->object);
  CLEANUP(closed) S3 *s3 = make(options);
  status = locate(s3, options, err);
  if (status != STATUS_OK)
    return status;
  const char *description = s3->description;
  *out = repository_new(&ops, STEAL(s3), description);
  return STATUS_OK;
}
