/* Credentials from services: STS for a web identity, a container's, an instance's. */
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/repository/s3/credentials.h"
#include "common/repository/s3/xml.h"

enum { TOKEN_LIMIT = 65536, STS_CONNECT_MS = 10000, STS_MS = 30000, NEAR_CONNECT_MS = 1000, NEAR_MS = 5000 };
static const char CONTAINER_HOST[] = "http://169.254.170.2";
static const char INSTANCE_HOST[] = "http://169.254.169.254";

int64_t s3_credentials_parse_time(const char *text) {
  struct tm tm = {0};
  const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
  if (rest && *rest == '.')
    rest += 1 + strspn(rest + 1, "0123456789");
  if (!rest || (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0))
    return -1;
  time_t seconds = timegm(&tm);
  return seconds <= 0 ? -1 : (int64_t)seconds * 1000000;
}

static Status unusable(Error *err, const char *from, const char *what) {
  error_set(err, ERR_REPOSITORY_REFUSED, "%s: %s", from, what);
  error_remedy(err, "See that the role exists and may be used from here.");
  return err->status;
}

/* Ours are words that go into headers. */
static char *word(const char *text) {
  for (const char *at = text; at && *at; at++)
    if (*at <= ' ' || *at > '~')
      return NULL;
  return text && *text ? memory_strdup(text) : NULL;
}

static void forget_json(json_t **json) {
  const char *key;
  json_t *value;
  json_object_foreach(*json, key, value) if (json_is_string(value))
      OPENSSL_cleanse((char *)json_string_value(value), json_string_length(value));
  json_decref(*json);
}

static Status complete(S3Keys *found, const char *expiration, const char *from, S3Keys *keys, Error *err) {
  found->expires_us = expiration ? s3_credentials_parse_time(expiration) : 0;
  if (found->access_key && found->secret_key && found->expires_us >= 0) {
    *keys = *found;
    return STATUS_OK;
  }
  s3_keys_release(found);
  return unusable(err, from, "the answer holds no credentials");
}

Status s3_credentials_parse_json(const void *data, size_t size, const char *from, S3Keys *keys, Error *err) {
  CLEANUP(forget_json) json_t *json = json_loadb(data, size, 0, NULL);
  S3Keys found = {.access_key = word(json_string_value(json_object_get(json, "AccessKeyId"))),
                  .secret_key = word(json_string_value(json_object_get(json, "SecretAccessKey"))),
                  .session_token = word(json_string_value(json_object_get(json, "Token")))};
  return complete(&found, json_string_value(json_object_get(json, "Expiration")), from, keys, err);
}

/* 5xx and 429 pass; what else is no 200 does not. */
static Status refused(Error *err, const char *from, long http) {
  if (http >= 500 || http == 429)
    return error_set(err, ERR_REPOSITORY_UNAVAILABLE, "%s answered HTTP %ld", from, http);
  CLEANUP_FREE char *what = memory_format("it answered HTTP %ld", http);
  return unusable(err, from, what);
}

/* ---- web identity ----------------------------------------------------------------------------------- */

typedef struct StsReader {
  S3Keys keys;
  char *expiration;
} StsReader;

static bool sts_visit(void *user, const char *path, const char *text) {
  static const char start[] = "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/";
  StsReader *reader = user;
  if (strncmp(path, start, sizeof start - 1) != 0)
    return true;
  const char *what = path + sizeof start - 1;
  char **to = strcmp(what, "AccessKeyId") == 0       ? &reader->keys.access_key
              : strcmp(what, "SecretAccessKey") == 0 ? &reader->keys.secret_key
              : strcmp(what, "SessionToken") == 0    ? &reader->keys.session_token
              : strcmp(what, "Expiration") == 0      ? &reader->expiration
                                                     : NULL;
  if (to) {
    s3_secret_free(to);
    *to = word(text);
  }
  return true;
}

static void escape_into(Buffer *form, const char *name, const char *value) {
  buffer_append_format(form, "&%s=", name);
  for (const char *at = value; *at; at++) {
    if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *at))
      buffer_append_byte(form, (uint8_t)*at);
    else
      buffer_append_format(form, "%%%02X", (unsigned char)*at);
  }
}

static Status read_identity(const char *path, char **token, Error *err) {
  Error failure;
  if (file_read_text(path, TOKEN_LIMIT, token, &failure) == STATUS_OK)
    return STATUS_OK;
  error_set(err, ERR_REPOSITORY_REFUSED, "cannot read the web identity's token: %s", failure.message);
  error_object(err, "%s", path);
  error_remedy(err, "See that AWS_WEB_IDENTITY_TOKEN_FILE names a file the agent can read.");
  return err->status;
}

static Status sts_take(const char *from, long http, const Buffer *answer, S3Keys *keys, Error *err) {
  StsReader reader = {0};
  if (http != 200) {
    char code[64], message[300], region[64] = "";
    s3_error_parse(answer->data, answer->size, code, sizeof code, message, sizeof message, region, sizeof region);
    Status status = refused(err, from, http);
    return *code ? error_prefix(err, "%s (%s)", code, message) : status;
  }
  bool good = s3_xml_parse(answer->data, answer->size, sts_visit, &reader);
  CLEANUP_FREE char *expiration = reader.expiration;
  if (!good)
    s3_keys_release(&reader.keys);
  return complete(&reader.keys, expiration, from, keys, err);
}

Status s3_credentials_web_identity(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) {
  const char *file = getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = getenv("AWS_ROLE_ARN"),
             *session = getenv("AWS_ROLE_SESSION_NAME"), *endpoint = getenv("AWS_ENDPOINT_URL_STS");
  *found = file && *file && role && *role;
  if (!*found)
    return STATUS_OK;
  CLEANUP(s3_secret_free) char *token = NULL;
  Status status = read_identity(file, &token, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(s3_secret_release) Buffer form = {0}, answer = {0};
  buffer_append_text(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
  escape_into(&form, "RoleArn", role);
  escape_into(&form, "RoleSessionName", session && *session ? session : "pgseal");
  escape_into(&form, "WebIdentityToken", token);
  const char *china = strncmp(options->region, "cn-", 3) == 0 ? ".cn" : "";
  CLEANUP_FREE char *url = endpoint && *endpoint
                               ? memory_strdup(endpoint)
                               : memory_format("https://sts.%s.amazonaws.com%s/", options->region, china);
  S3Ask ask = {.method = "POST",
               .url = url,
               .form = buffer_text(&form),
               .ca_file = endpoint && *endpoint ? options->ca_file : NULL,
               .proxy = options->proxy,
               .connect_ms = STS_CONNECT_MS,
               .timeout_ms = STS_MS};
  long http = 0;
  status = s3_ask(&ask, &http, &answer, err);
  return status != STATUS_OK ? status : sts_take(url, http, &answer, keys, err);
}

/* ---- containers ------------------------------------------------------------------------------------- */

/* As the SDKs: in the clear only to this machine and to the addresses that containers' agents have. */
static bool may_ask(const char *url) {
  static const char *const near[] = {"http://127.0.0.1",     "http://localhost",      "http://[::1]",
                                     "http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]"};
  if (strncmp(url, "https://", 8) == 0)
    return true;
  for (size_t i = 0; i < ARRAY_SIZE(near); i++) {
    size_t length = strlen(near[i]);
    if (strncmp(url, near[i], length) == 0 && (url[length] == '/' || url[length] == ':' || !url[length]) &&
        !strchr(url, '@'))
      return true;
  }
  return false;
}

static Status container_header(char **header, Error *err) {
  const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
             *value = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  CLEANUP(s3_secret_free) char *token = NULL;
  if (file && *file) {
    Error failure;
    if (file_read_text(file, TOKEN_LIMIT, &token, &failure) != STATUS_OK)
      return unusable(err, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", failure.message);
  } else if (value && *value) {
    token = memory_strdup(value);
  }
  if (token && strpbrk(token, "\r\n"))
    return unusable(err, "the container's authorization token", "it has several lines");
  *header = token ? memory_format("Authorization: %s", token) : NULL;
  return STATUS_OK;
}

Status s3_credentials_container(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) {
  const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
             *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  bool is_relative = relative && *relative;
  *found = is_relative || (full && *full);
  if (!*found)
    return STATUS_OK;
  CLEANUP_FREE char *url = is_relative ? memory_format("%s%s", CONTAINER_HOST, relative) : memory_strdup(full);
  if ((is_relative && *relative != '/') || !may_ask(url))
    return unusable(err, url, "credentials are asked for in the clear on this machine or of a container's agent only");
  CLEANUP(s3_secret_free) char *header = NULL;
  CLEANUP(s3_secret_release) Buffer answer = {0};
  Status status = container_header(&header, err);
  if (status != STATUS_OK)
    return status;
  S3Ask ask = {.method = "GET",
               .url = url,
               .header = header,
               .ca_file = options->ca_file,
               .proxy = "",
               .connect_ms = NEAR_CONNECT_MS,
               .timeout_ms = NEAR_MS};
  long http = 0;
  status = s3_ask(&ask, &http, &answer, err);
  if (status != STATUS_OK)
    return status;
  return http == 200 ? s3_credentials_parse_json(answer.data, answer.size, url, keys, err) : refused(err, url, http);
}

/* ---- instances -------------------------------------------------------------------------------------- */

static Status instance_get(const char *base, const char *path, const char *token, long *http, Buffer *answer,
                           Error *err) {
  CLEANUP_FREE char *url = memory_format("%s/latest/meta-data/iam/security-credentials/%s", base, path);
  CLEANUP(s3_secret_free) char *header = memory_format("X-aws-ec2-metadata-token: %s", token);
  S3Ask ask = {
      .method = "GET", .url = url, .header = header, .proxy = "", .connect_ms = NEAR_CONNECT_MS, .timeout_ms = NEAR_MS};
  return s3_ask(&ask, http, answer, err);
}

static Status instance_role(const char *base, const char *token, char **role, Error *err) {
  CLEANUP(buffer_release) Buffer answer = {0};
  long http = 0;
  Status status = instance_get(base, "", token, &http, &answer, err);
  if (status != STATUS_OK)
    return status;
  const char *text = buffer_text(&answer);
  size_t length = strcspn(text, "\r\n");
  *role = memory_strndup(text, length);
  bool good = http == 200 && length > 0 && length <= 128 &&
              strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@_-") == length;
  return good ? STATUS_OK : unusable(err, base, "the instance has no role");
}

Status s3_credentials_instance(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) {
  (void)options;
  const char *disabled = getenv("AWS_EC2_METADATA_DISABLED"), *endpoint = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  bool named = endpoint && *endpoint;
  *found = false;
  if (disabled && strcasecmp(disabled, "true") == 0)
    return STATUS_OK;
  CLEANUP_FREE char *base = memory_strdup(named ? endpoint : INSTANCE_HOST);
  size_t length = strlen(base);
  if (base[length - 1] == '/')
    base[length - 1] = '\0';
  CLEANUP_FREE char *url = memory_format("%s/latest/api/token", base);
  CLEANUP(s3_secret_release) Buffer token = {0}, answer = {0};
  S3Ask ask = {.method = "PUT",
               .url = url,
               .header = "X-aws-ec2-metadata-token-ttl-seconds: 21600",
               .proxy = "",
               .connect_ms = NEAR_CONNECT_MS,
               .timeout_ms = NEAR_MS};
  long http = 0;
  Error failure;
  if (s3_ask(&ask, &http, &token, &failure) != STATUS_OK && !named)
    return STATUS_OK; /* no instance of EC2 */
  if (http != 200)
    return named ? refused(err, base, http ? http : 503) : STATUS_OK;
  *found = true;
  CLEANUP_FREE char *role = NULL;
  Status status = instance_role(base, buffer_text(&token), &role, err);
  if (status == STATUS_OK)
    status = instance_get(base, role, buffer_text(&token), &http, &answer, err);
  if (status != STATUS_OK)
    return status;
  return http == 200 ? s3_credentials_parse_json(answer.data, answer.size, base, keys, err) : refused(err, base, http);
}
