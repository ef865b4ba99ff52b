#include "coordinator/oidc/settings.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/loopback.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "common/crypto/authority.h"
#include "common/crypto/digest.h"
#include "coordinator/config_schema.h"

enum { URL_LIMIT = 2000, SECRET_LIMIT = 4096, WORD_LIMIT = 200, GLOB_LIMIT = 63, OTHERS = 077 };

/* ---- URLs ---- */

static void url_release(CURLU **url) {
  curl_url_cleanup(*url);
}

static void curl_text_release(char **text) {
  curl_free(*text);
}

bool oidc_url_valid(const char *text, bool *loopback) {
  CLEANUP(url_release) CURLU *url = curl_url();
  CLEANUP(curl_text_release) char *scheme = NULL;
  CLEANUP(curl_text_release) char *host = NULL;
  CLEANUP(curl_text_release) char *user = NULL;
  if (strlen(text) > URL_LIMIT)
    return false;
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127 || strchr("\"#<>\\^`{|}", *p))
      return false;
  if (!url || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
      curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
      curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host ||
      curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
    return false;
  bool local = loopback_host(host);
  if (loopback)
    *loopback = local;
  return strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && local);
}

/* Of a valid URL: "id.example.com", "127.0.0.1:9000". */
static const char *host_of(const char *url, size_t *length) {
  const char *host = strstr(url, "://") + 3;
  *length = strcspn(host, "/?");
  return host;
}

/* ---- the parts ---- */

static bool word_valid(const char *text) {
  for (const char *p = text; *p; p++)
    if (*p < ' ' || *p > '~')
      return false;
  return *text && strlen(text) <= WORD_LIMIT;
}

static bool glob_valid(const char *glob) {
  size_t length = strlen(glob);
  return length > 0 && length <= GLOB_LIMIT && strspn(glob, "abcdefghijklmnopqrstuvwxyz0123456789._-*?") == length;
}

static Status take_databases(const SettingsFrom *from, const RawOidcGrant *raw, const char **out, Error *err) {
  bool all = raw->databases_count == 0;
  json_t *list = json_array();
  for (unsigned i = 0; i < raw->databases_count; i++) {
    if (!glob_valid(raw->databases[i])) {
      json_decref(list);
      return config_error(err, from->path,
                          "oidc: grant %s: each of databases must be a name with '*' and '?' for what may vary",
                          raw->value);
    }
    all |= strcmp(raw->databases[i], "*") == 0;
    json_array_append_new(list, json_string(raw->databases[i]));
  }
  *out = all ? NULL : from->own(from->user, json_dumps(list, JSON_COMPACT));
  json_decref(list);
  return STATUS_OK;
}

/* What a session rests on: whoever changes one of these ends it. */
static void make_key(const OidcSettings *settings, OidcGrant *grant) {
  CLEANUP_FREE char *text =
      memory_format("%s\n%s\n%s\n%s\n%s\n%s", settings->issuer, settings->client_id, settings->groups_claim,
                    grant->value, grant->role, grant->databases ? grant->databases : "*");
  sha256_hex(text, strlen(text), grant->key);
}

static Status take_grant(const SettingsFrom *from, const RawOidcGrant *raw, OidcSettings *out, Error *err) {
  static const char *const roles[] = {"ci", "viewer", "operator", "admin"};
  OidcGrant grant = {.value = raw->value};
  if (!text_tag_valid(raw->value))
    return config_error(err, from->path, "oidc: a grant's value must be 1 to 128 printable characters");
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
    if (strcmp(roles[i], raw->role) == 0)
      grant.role = roles[i];
  if (!grant.role)
    return config_error(err, from->path, "oidc: grant %s: role must be ci, viewer, operator or admin", raw->value);
  for (size_t i = 0; i < out->grant_count; i++)
    if (strcmp(out->grants[i].value, raw->value) == 0)
      return config_error(err, from->path, "oidc: grant %s is there twice; the first that fits counts", raw->value);
  Status status = take_databases(from, raw, &grant.databases, err);
  if (status != STATUS_OK)
    return status;
  make_key(out, &grant);
  ARRAY_PUSH(out->grants, out->grant_count, grant);
  return STATUS_OK;
}

static Status take_scope(const SettingsFrom *from, const RawOidc *raw, OidcSettings *out, Error *err) {
  bool openid = false;
  char *text = memory_strdup("");
  if (raw->scopes_count == 0) {
    free(text);
    out->scope = "openid email profile";
    return STATUS_OK;
  }
  for (unsigned i = 0; i < raw->scopes_count; i++) {
    if (!word_valid(raw->scopes[i]) || strpbrk(raw->scopes[i], " \"\\")) {
      free(text);
      return config_error(err, from->path, "oidc: scopes has what is no name of a scope");
    }
    openid |= strcmp(raw->scopes[i], "openid") == 0;
    char *longer = memory_format("%s%s%s", text, i ? " " : "", raw->scopes[i]);
    free(text);
    text = longer;
  }
  out->scope = from->own(from->user, text);
  return openid ? STATUS_OK : config_error(err, from->path, "oidc: scopes must have openid");
}

static Status take_urls(const SettingsFrom *from, const RawOidc *raw, OidcSettings *out, Error *err) {
  static const char rule[] =
      "it must begin with https:// (http:// for this machine alone, such as 127.0.0.1), and have "
      "no user's name and nothing after '#'";
  if (!oidc_url_valid(raw->issuer, NULL) || strchr(raw->issuer, '?'))
    return config_error(err, from->path, "oidc: issuer: %s", rule);
  if (!oidc_url_valid(raw->public_url, NULL) || strchr(raw->public_url, '?'))
    return config_error(err, from->path, "oidc: public_url: %s", rule);
  size_t length = strlen(raw->public_url), host_size;
  while (raw->public_url[length - 1] == '/')
    length--;
  const char *host = host_of(raw->public_url, &host_size);
  if (host + host_size != raw->public_url + length)
    return config_error(err, from->path, "oidc: public_url: the dashboard is at the root of its host: no path");
  out->issuer = raw->issuer;
  out->public_url = from->own(from->user, memory_strndup(raw->public_url, length));
  host = host_of(raw->issuer, &host_size);
  out->name = raw->name ? raw->name : from->own(from->user, memory_strndup(host, host_size));
  return text_tag_valid(out->name)
             ? STATUS_OK
             : config_error(err, from->path, "oidc: name must be at most 128 printable characters");
}

Status oidc_settings_take(const SettingsFrom *from, const struct RawOidc *raw, OidcSettings *out, Error *err) {
  if (!raw)
    return STATUS_OK;
  Status status = take_urls(from, raw, out, err);
  if (status != STATUS_OK)
    return status;
  out->client_id = raw->client_id;
  out->client_secret_file = settings_path(from, raw->client_secret_file);
  out->ca_file = settings_path(from, raw->ca_file);
  out->groups_claim = raw->groups_claim ? raw->groups_claim : "groups";
  out->name_claim = raw->name_claim ? raw->name_claim : "email";
  out->id_token_only = raw->id_token_only;
  out->session_hours = raw->session_hours ? *raw->session_hours : 12;
  if (!word_valid(out->client_id) || !word_valid(out->groups_claim) || !word_valid(out->name_claim))
    return config_error(err, from->path, "oidc: client_id, groups_claim and name_claim must be printable ASCII");
  if (out->session_hours < 1 || out->session_hours > 168)
    return config_error(err, from->path, "oidc: session_hours is %d; it must be between 1 and 168", out->session_hours);
  status = take_scope(from, raw, out, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->grants_count; i++)
    status = take_grant(from, &raw->grants[i], out, err);
  if (status == STATUS_OK && out->grant_count == 0) {
    config_error(err, from->path, "oidc: grants is empty: nobody could sign in");
    error_remedy(err, "Name a value of the claim %s, and the role that it gives.", out->groups_claim);
    return ERR_CONFIG;
  }
  return status;
}

void oidc_settings_release(OidcSettings *settings) {
  free(settings->grants);
  *settings = (OidcSettings){0};
}

const OidcGrant *oidc_settings_grant(const OidcSettings *settings, const char *key) {
  for (size_t i = 0; i < settings->grant_count; i++)
    if (strcmp(settings->grants[i].key, key) == 0)
      return &settings->grants[i];
  return NULL;
}

Status oidc_settings_secret(const OidcSettings *settings, char **out, Error *err) {
  CLEANUP(secret_text_free) char *text = NULL;
  const char *path = settings->client_secret_file;
  struct stat info;
  Error cause;
  *out = NULL;
  if (!path)
    return STATUS_OK;
  if (stat(path, &info) == 0 && (info.st_mode & OTHERS) != 0) {
    error_set(err, ERR_CONFIG, "oidc: client_secret_file: %s may be read by others", path);
    error_remedy(err, "chmod 600 %s", path);
    return ERR_CONFIG;
  }
  if (file_read_text(path, SECRET_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "oidc: client_secret_file: %s", cause.message);
  for (const char *p = text; *p; p++)
    if (*p < ' ' || *p > '~')
      return error_set(err, ERR_CONFIG, "oidc: client_secret_file: %s has more than one line of printable ASCII", path);
  if (!*text)
    return error_set(err, ERR_CONFIG, "oidc: client_secret_file: %s is empty", path);
  *out = STEAL(text);
  return STATUS_OK;
}
