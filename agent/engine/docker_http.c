#include "agent/engine/docker_http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { DOCKER_BODY_LIMIT = 32 << 20, DOCKER_CONNECT_MS = 5000 };

struct DockerHttp {
  char *socket;
  CURL *curl;
};

DockerHttp *docker_http_new(const char *socket) {
  DockerHttp *http = memory_alloc(sizeof *http);
  http->socket = memory_strdup(socket);
  http->curl = curl_easy_init();
  return http;
}

void docker_http_free(DockerHttp *http) {
  if (!http)
    return;
  if (http->curl)
    curl_easy_cleanup(http->curl);
  free(http->socket);
  free(http);
}

const char *docker_http_socket(const DockerHttp *http) {
  return http->socket;
}

void docker_reply_release(DockerReply *reply) {
  buffer_release(&reply->body);
  json_decref(reply->json);
  reply->json = NULL;
}

static size_t docker_receive(char *data, size_t size, size_t count, void *user) {
  Buffer *body = user;
  if (size * count > DOCKER_BODY_LIMIT - body->size)
    return 0; /* ends the transfer */
  buffer_append(body, data, size * count);
  return size * count;
}

static Status docker_failed(const DockerHttp *http, const char *method, const char *path, CURLcode code, Error *err) {
  if (code == CURLE_OPERATION_TIMEDOUT)
    error_set(err, ERR_TIMEOUT, "the container engine did not answer %s %s in time", method, path);
  else
    error_set(err, ERR_ENGINE_UNAVAILABLE, "the container engine at %s does not answer: %s", http->socket,
              curl_easy_strerror(code));
  error_object(err, "%s", http->socket);
  return err->status;
}

static void curl_list_free(struct curl_slist **list) {
  curl_slist_free_all(*list);
}

static void docker_set_options(DockerHttp *http, const char *method, const char *text, int timeout_seconds,
                               struct curl_slist *headers, Buffer *body) {
  CURL *curl = http->curl;
  curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, http->socket);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)DOCKER_CONNECT_MS);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_seconds);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, docker_receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
  if (text || strcmp(method, "POST") == 0) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text ? text : "");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)(text ? strlen(text) : 0));
  }
}

Status docker_http_request(DockerHttp *http, const char *method, const char *path, const json_t *body,
                           int timeout_seconds, DockerReply *reply, Error *err) {
  if (!http->curl)
    return error_set(err, ERR_NO_MEMORY, "cannot set up a request to the container engine");
  CLEANUP_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
  if (body && !text)
    return error_set(err, ERR_INTERNAL, "cannot write a request to the container engine");
  CLEANUP_FREE char *url = memory_format("http://localhost/v1.40%s", path);
  CLEANUP(curl_list_free) struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  docker_reply_release(reply);
  curl_easy_reset(http->curl);
  docker_set_options(http, method, text, timeout_seconds, headers, &reply->body);
  curl_easy_setopt(http->curl, CURLOPT_URL, url);
  CURLcode code = curl_easy_perform(http->curl);
  if (code != CURLE_OK)
    return docker_failed(http, method, path, code, err);
  curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &reply->status);
  if (reply->body.size > 0)
    reply->json = json_loadb((const char *)reply->body.data, reply->body.size, 0, NULL);
  return STATUS_OK;
}

void docker_reply_message(DockerReply *reply, char *out, size_t size) {
  const char *message = json_string_value(json_object_get(reply->json, "message"));
  text_clean(message ? message : buffer_text(&reply->body), out, size);
}

char *docker_http_escape(DockerHttp *http, const char *text) {
  char *escaped = curl_easy_escape(http->curl, text, 0);
  char *copy = memory_strdup(escaped ? escaped : "");
  curl_free(escaped);
  return copy;
}
