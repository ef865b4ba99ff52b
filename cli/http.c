#include "cli/http.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/loopback.h"
#include "common/base/memory.h"

enum { HTTP_REPLY_LIMIT = 64 << 20, HTTP_TIMEOUT_SECONDS = 30, HTTP_CONNECT_SECONDS = 10, HTTP_PATIENCE_SECONDS = 120 };

struct Http {
  CURL *curl;
  char *url, *token, *ca_file;
  bool watch_signals, interrupted;
  bool direct; /* past any proxy: none could reach this machine's loopback, and none is to read what is not encrypted */
  const atomic_bool *stop; /* or NULL */
};

static void http_free_list(struct curl_slist **list) {
  curl_slist_free_all(*list);
}

static bool http_is_plain(const char *url) {
  return strncmp(url, "http://", 7) == 0;
}

static bool http_is_direct(const char *url) {
  CURLU *parsed = curl_url();
  char *host = NULL;
  bool direct = http_is_plain(url) && parsed && !curl_url_set(parsed, CURLUPART_URL, url, 0) &&
                !curl_url_get(parsed, CURLUPART_HOST, &host, 0) && loopback_host(host);
  curl_free(host);
  curl_url_cleanup(parsed);
  return direct;
}

bool http_is_overheard(const char *url) {
  return http_is_plain(url) && !http_is_direct(url);
}

Status http_open(const char *url, const char *token, const char *ca_file, Http **out, Error *err) {
  if (!http_is_plain(url) && strncmp(url, "https://", 8) != 0) {
    error_set(err, ERR_INVALID_ARGUMENT, "'%s' is not a URL of a coordinator", url);
    error_remedy(err, "Write it as http://127.0.0.1:8420, in PGSEAL_URL or --url.");
    return err->status;
  }
  if (token && strpbrk(token, "\r\n"))
    return error_set(err, ERR_INVALID_ARGUMENT, "the token holds a line break");
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return error_set(err, ERR_INTERNAL, "libcurl cannot be initialised");
  Http *http = memory_alloc(sizeof *http);
  http->curl = curl_easy_init();
  size_t length = strlen(url);
  while (length > 0 && url[length - 1] == '/')
    length--;
  http->url = memory_strndup(url, length);
  http->direct = http_is_direct(http->url);
  http->token = token ? memory_strdup(token) : NULL;
  http->ca_file = ca_file ? memory_strdup(ca_file) : NULL;
  if (!http->curl) {
    http_close(http);
    return error_set(err, ERR_NO_MEMORY, "libcurl cannot make a handle");
  }
  *out = http;
  return STATUS_OK;
}

void http_close(Http *http) {
  if (!http)
    return;
  curl_easy_cleanup(http->curl);
  free(http->url);
  free(http->ca_file);
  if (http->token)
    explicit_bzero(http->token, strlen(http->token));
  free(http->token);
  free(http);
}

const char *http_url(const Http *http) {
  return http->url;
}

Status http_clone(const Http *http, Http **out, Error *err) {
  return http_open(http->url, http->token, http->ca_file, out, err);
}

void http_watch_flag(Http *http, const atomic_bool *stop) {
  http->stop = stop;
}

void http_watch_signals(Http *http) {
  http->watch_signals = true;
}

static size_t http_receive(char *data, size_t size, size_t count, void *user) {
  Buffer *body = user;
  if (size * count > HTTP_REPLY_LIMIT - body->size)
    return 0; /* ends the transfer */
  buffer_append(body, data, size * count);
  return size * count;
}

static int http_watch(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  (void)a, (void)b, (void)c, (void)d;
  Http *http = user;
  sigset_t pending;
  http->interrupted |= http->stop && atomic_load(http->stop);
  if (http->watch_signals && sigpending(&pending) == 0)
    http->interrupted = sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
  return http->interrupted;
}

/* What curl and OpenSSL say of a certificate, and what to do about it. */
typedef struct TlsRemedy {
  const char *sign, *message, *remedy;
} TlsRemedy;

static const TlsRemedy tls_remedies[] = {
    {"expired", "its certificate has expired", "Give the coordinator a new certificate; it takes it over by itself."},
    {"not yet valid", "its certificate is not valid yet", "Check the clocks of this machine and of the coordinator's."},
    {"target host name", "its certificate is for another name",
     "Use a name in the URL (PGSEAL_URL or --url) that the certificate is for, or give it one that has this name or "
     "address among its subjectAltName."},
    {"target ip address", "its certificate is for another address",
     "Use a name in the URL (PGSEAL_URL or --url) that the certificate is for, or give it one that has this name or "
     "address among its subjectAltName."},
    {"issuer", "its certificate is of a CA that is not known here",
     "Name the file of that CA's certificate with --ca-file or PGSEAL_CA_FILE."},
    {"self-signed", "its certificate is of a CA that is not known here",
     "Name the file of that CA's certificate with --ca-file or PGSEAL_CA_FILE."},
    {"wrong version", "it does not speak TLS",
     "Write the URL with http:// if it is on this machine, or give the coordinator "
     "a certificate (`tls` in coordinator.yaml)."},
};

static Status http_distrust(const Http *http, CURLcode code, const char *detail, Error *err) {
  if (code == CURLE_SSL_CACERT_BADFILE) {
    error_set(err, ERR_INVALID_ARGUMENT, "the CA file %s cannot be used",
              http->ca_file ? http->ca_file : "of this machine");
    error_remedy(err, "--ca-file or PGSEAL_CA_FILE names a PEM file with the certificate of the CA.");
    return err->status;
  }
  for (size_t i = 0; i < ARRAY_SIZE(tls_remedies); i++) {
    if (!strcasestr(detail, tls_remedies[i].sign))
      continue;
    error_set(err, ERR_UNAVAILABLE, "the coordinator at %s is not trusted: %s", http->url, tls_remedies[i].message);
    error_remedy(err, "%s", tls_remedies[i].remedy);
    error_object(err, "%s", http->url);
    return err->status;
  }
  if (code != CURLE_SSL_CONNECT_ERROR)
    return STATUS_OK;
  /* What speaks plain HTTP answers, or closes at once; which of the two is seen here is chance. */
  error_set(err, ERR_UNAVAILABLE,
            "the coordinator at %s broke off the TLS handshake (%s): perhaps it does not speak TLS", http->url, detail);
  error_remedy(err, "%s", tls_remedies[ARRAY_SIZE(tls_remedies) - 1].remedy);
  error_object(err, "%s", http->url);
  return err->status;
}

static Status http_unreachable(const Http *http, CURLcode code, const char *detail, Error *err) {
  if (http->interrupted)
    return error_set(err, ERR_CANCELED, "interrupted");
  bool of_tls =
      code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SSL_CACERT_BADFILE;
  if (of_tls && http_distrust(http, code, detail, err) != STATUS_OK)
    return err->status;
  error_set(err, ERR_UNAVAILABLE, "the coordinator at %s cannot be reached: %s", http->url,
            *detail ? detail : curl_easy_strerror(code));
  bool plain = http_is_plain(http->url);
  bool silent = code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR; /* as TLS is to what is none */
  error_remedy(err, "Check that pgseal-coordinator runs there, and the URL (PGSEAL_URL or --url).%s",
               plain && silent ? " If it speaks TLS, write https://." : "");
  error_object(err, "%s", http->url);
  return err->status;
}

static const char *http_member(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static Status http_refused(const Http *http, long code, const json_t *body, Error *err) {
  const json_t *error = json_object_get(body, "error");
  const char *name = http_member(error, "code"), *message = http_member(error, "message");
  if (*name) {
    Status status = error_from_code(name);
    if (status == STATUS_COUNT || status == STATUS_OK)
      error_set(err, ERR_PROTOCOL, "%s: %s", name, message); /* of a newer coordinator */
    else
      error_set(err, status, "%s", message);
    if (*http_member(error, "remedy"))
      error_remedy(err, "%s", http_member(error, "remedy"));
    error_object(err, "%s", http_member(error, "object"));
    return err->status;
  }
  Status status = code == 401                  ? ERR_UNAUTHORIZED
                  : code == 403                ? ERR_FORBIDDEN
                  : code >= 502 && code <= 504 ? ERR_UNAVAILABLE
                                               : ERR_PROTOCOL;
  error_set(err, status, "%s answered %ld, and not as a pgseal coordinator does", http->url, code);
  error_remedy(err, "Check the URL (PGSEAL_URL or --url), and what stands between here and the coordinator.");
  return status;
}

static void http_set_up(Http *http, const HttpRequest *request, const char *url, Buffer *received, char *detail) {
  CURL *curl = http->curl;
  curl_easy_reset(curl); /* connections stay */
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  if (http->ca_file)
    curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_SECONDS);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                   (long)(request->timeout_seconds ? request->timeout_seconds : HTTP_TIMEOUT_SECONDS));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgseal/" PGSEAL_VERSION);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, http_receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, received);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, http_watch);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
  if (http->direct)
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

/* Of the trace that the pipeline's step belongs to, where something there says so, as OpenTelemetry has it of
 * environments. Whether it is one is the coordinator's to see; here, that it is no more than one header. */
static struct curl_slist *http_trace(struct curl_slist *headers) {
  enum { TRACEPARENT_LIMIT = 128 };
  const char *text = getenv("TRACEPARENT");
  size_t length = text ? strlen(text) : 0;
  if (length == 0 || length > TRACEPARENT_LIMIT || strspn(text, "0123456789abcdef-") != length)
    return headers;
  CLEANUP_FREE char *line = memory_format("traceparent: %s", text);
  return curl_slist_append(headers, line);
}

static struct curl_slist *http_headers(const Http *http, const HttpRequest *request) {
  struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
  if (request->body)
    headers = http_trace(curl_slist_append(headers, "Content-Type: application/json"));
  if (request->text) {
    CLEANUP_FREE char *line = memory_format("Content-Type: %s", request->type);
    headers = curl_slist_append(headers, line);
  }
  if (http->token) {
    CLEANUP_FREE char *line = memory_format("Authorization: Bearer %s", http->token);
    headers = curl_slist_append(headers, line);
    explicit_bzero(line, strlen(line));
  }
  if (request->idempotency_key) {
    CLEANUP_FREE char *line = memory_format("Idempotency-Key: %s", request->idempotency_key);
    headers = curl_slist_append(headers, line);
  }
  return headers;
}

Status http_exchange(Http *http, const char *path, const void *data, size_t size, int timeout_seconds, Buffer *answer,
                     Error *err) {
  char detail[CURL_ERROR_SIZE] = "";
  const HttpRequest request = {.method = "POST", .path = path, .timeout_seconds = timeout_seconds};
  CLEANUP_FREE char *url = memory_format("%s%s", http->url, path);
  buffer_clear(answer);
  http_set_up(http, &request, url, answer, detail);
  CLEANUP(http_free_list) struct curl_slist *headers = http_headers(http, &request);
  headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
  curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, size ? data : "");
  curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE, (long)size);
  http->interrupted = false;
  CURLcode code = curl_easy_perform(http->curl);
  if (code != CURLE_OK)
    return http_unreachable(http, code, detail, err);
  long status = 0;
  curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status <= 299)
    return STATUS_OK;
  json_t *parsed = answer->size ? json_loadb((const char *)answer->data, answer->size, 0, NULL) : NULL;
  Status refused = http_refused(http, status, parsed, err);
  json_decref(parsed);
  return refused;
}

/* *retry_after: seconds, where the answer was "not now" (429) and says when; else 0. */
static Status http_ask(Http *http, const HttpRequest *request, json_t **json, int64_t *retry_after, Error *err) {
  char detail[CURL_ERROR_SIZE] = "";
  CLEANUP(buffer_release) Buffer received = {0};
  CLEANUP_FREE char *url = memory_format("%s%s", http->url, request->path);
  http_set_up(http, request, url, &received, detail);
  CLEANUP(http_free_list) struct curl_slist *headers = http_headers(http, request);
  curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, headers);
  CLEANUP_FREE char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
  if (body) {
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, body);
  } else if (request->text) {
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->text->size);
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, request->text->data ? (const char *)request->text->data : "");
  } else if (strcmp(request->method, "POST") == 0) {
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, "");
  }
  http->interrupted = false;
  *retry_after = 0;
  CURLcode code = curl_easy_perform(http->curl);
  if (code != CURLE_OK)
    return http_unreachable(http, code, detail, err);
  long answer = 0;
  curl_off_t seconds = 0;
  curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &answer);
  if (answer == 429 && curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK)
    *retry_after = (int64_t)seconds;
  json_t *parsed = received.size ? json_loadb((const char *)received.data, received.size, 0, NULL) : NULL;
  if (answer < 200 || answer > 299 || (received.size && !parsed)) {
    Status status = http_refused(http, answer, parsed, err);
    json_decref(parsed);
    return status;
  }
  *json = parsed ? parsed : json_null();
  return STATUS_OK;
}

/* False if a signal that is watched for came meanwhile. */
static bool http_pause(Http *http, int64_t seconds) {
  for (int64_t end = clock_monotonic_us() + seconds * 1000000; clock_monotonic_us() < end && !http->interrupted;) {
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000L}, NULL);
    http_watch(http, 0, 0, 0, 0);
  }
  return !http->interrupted;
}

/* Many pipelines may share one address: what is told to wait waits, and a deploy does not fail for it. */
Status http_call(Http *http, const HttpRequest *request, json_t **json, Error *err) {
  int64_t deadline = clock_monotonic_us() + (int64_t)HTTP_PATIENCE_SECONDS * 1000000;
  for (;;) {
    int64_t retry_after = 0;
    Status status = http_ask(http, request, json, &retry_after, err);
    bool worth = retry_after > 0 && retry_after <= HTTP_PATIENCE_SECONDS;
    if (!worth || clock_monotonic_us() + retry_after * 1000000 > deadline)
      return status;
    if (!http_pause(http, retry_after))
      return error_set(err, ERR_CANCELED, "interrupted");
  }
}

char *http_escape(const char *text) {
  char *escaped = curl_easy_escape(NULL, text, 0);
  char *copy = memory_strdup(escaped ? escaped : "");
  curl_free(escaped);
  return copy;
}
