#include "agent/enroll_http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/loopback.h"
#include "common/base/memory.h"

enum { REPLY_LIMIT = 1 << 20, CONNECT_SECONDS = 10, TIMEOUT_SECONDS = 30 };

static void free_curl(CURL **curl) {
  curl_easy_cleanup(*curl);
}
static void free_url(CURLU **url) {
  curl_url_cleanup(*url);
}
static void free_list(struct curl_slist **list) {
  curl_slist_free_all(*list);
}

static Status url_wrong(const char *url, Error *err) {
  error_set(err, ERR_INVALID_ARGUMENT, "'%s' is not a URL of a coordinator", url);
  error_remedy(err, "Write it as https://HOST:8420, or on the coordinator's machine as http://127.0.0.1:8420.");
  return err->status;
}

Status enroll_url_check(const char *url, char **host, Error *err) {
  Status status = STATUS_OK;
  CLEANUP(free_url) CURLU *parsed = curl_url();
  char *scheme = NULL, *name = NULL, *path = NULL;
  if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) ||
      curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(parsed, CURLUPART_HOST, &name, 0) ||
      curl_url_get(parsed, CURLUPART_PATH, &path, 0) || (*path && strcmp(path, "/") != 0)) {
    status = url_wrong(url, err);
  } else {
    size_t size = strlen(name);
    char *bare = *name == '[' && size > 2 ? memory_strndup(name + 1, size - 2) : memory_strdup(name);
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && loopback_host(bare))) {
      *host = bare;
    } else {
      status = error_set(err, ERR_INVALID_ARGUMENT, "the invitation is not shown over plain HTTP to another machine");
      error_remedy(err, "Use https://%s, or enroll through a tunnel of your own to the coordinator's loopback.", name);
      free(bare);
    }
  }
  curl_free(scheme);
  curl_free(name);
  curl_free(path);
  return status;
}

static size_t receive(char *data, size_t size, size_t count, void *user) {
  Buffer *body = user;
  if (size * count > REPLY_LIMIT - body->size)
    return 0; /* ends the transfer */
  buffer_append(body, data, size * count);
  return size * count;
}

static const char *member(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static Status refused(long code, const json_t *body, Error *err) {
  const json_t *error = json_object_get(body, "error");
  Status status = error_from_code(member(error, "code"));
  if (status == STATUS_COUNT || status == STATUS_OK)
    return error_set(err, ERR_PROTOCOL, "the coordinator's address answered HTTP %ld, and not as pgseal does", code);
  error_set(err, status, "%s", member(error, "message"));
  if (*member(error, "remedy"))
    error_remedy(err, "%s", member(error, "remedy"));
  return status;
}

static void set_trust(CURL *curl, EnrollTrust trust, const char *pem) {
  if (trust == ENROLL_TRUST_NOBODY) {
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    return;
  }
  struct curl_blob blob = {(void *)pem, strlen(pem), CURL_BLOB_COPY};
  curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
  curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* these authorities, and no others */
}

Status enroll_call(const char *url, const char *path, EnrollTrust trust, const char *pem, const json_t *body,
                   json_t **json, Error *err) {
  CLEANUP(free_curl) CURL *curl = curl_easy_init();
  CLEANUP(free_list) struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  CLEANUP(buffer_release) Buffer answer = {0};
  size_t size = strlen(url);
  CLEANUP_FREE char *full = memory_format("%.*s%s", (int)(size && url[size - 1] == '/' ? size - 1 : size), url, path);
  char detail[CURL_ERROR_SIZE] = "";
  if (!curl)
    return error_set(err, ERR_NO_MEMORY, "libcurl cannot make a handle");
  char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
  curl_easy_setopt(curl, CURLOPT_URL, full);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_SECONDS);
  if (strncasecmp(url, "https:", 6) != 0)
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* plain is for loopback alone: no proxy is shown the invitation */
  if (text)
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
  set_trust(curl, trust, pem);
  CURLcode rc = curl_easy_perform(curl);
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  if (text)
    explicit_bzero(text, strlen(text));
  free(text);
  if (rc != CURLE_OK) {
    error_set(err, ERR_UNAVAILABLE, "the coordinator at %s cannot be reached: %s", url,
              *detail ? detail : curl_easy_strerror(rc));
    if (rc == CURLE_PEER_FAILED_VERIFICATION)
      error_remedy(err, "If its HTTPS has a certificate of another authority, name that one: --http-ca FILE.");
    else if (body)
      error_remedy(
          err, "Check that it can be reached, and run the same again: if only its answer was lost, that comes again.");
    return err->status;
  }
  json_t *parsed = json_loadb((const char *)answer.data, answer.size, 0, NULL);
  Status status = code / 100 == 2 && json_is_object(parsed) ? STATUS_OK : refused(code, parsed, err);
  if (status)
    json_decref(parsed);
  else
    *json = parsed;
  return status;
}
