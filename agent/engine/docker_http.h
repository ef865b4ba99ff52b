/* Requests to the Docker API over its UNIX socket, by libcurl. One thread at a time. Private to agent/engine. */
#ifndef PGSEAL_AGENT_ENGINE_DOCKER_HTTP_H
#define PGSEAL_AGENT_ENGINE_DOCKER_HTTP_H

#include <jansson.h>

#include "common/base/buffer.h"

enum { DOCKER_TIMEOUT_SECONDS = 60, DOCKER_PING_SECONDS = 10, DOCKER_PULL_SECONDS = 300 };

typedef struct DockerHttp DockerHttp;

typedef struct DockerReply {
  long status;  /* of HTTP */
  Buffer body;  /* raw */
  json_t *json; /* the body if it is JSON, else NULL */
} DockerReply;

DockerHttp *docker_http_new(const char *socket);
void docker_http_free(DockerHttp *http);
const char *docker_http_socket(const DockerHttp *http);

/* path: below "/v1.40". body may be NULL. Any HTTP status is a success here; ERR_ENGINE_UNAVAILABLE if the socket does
 * not answer, ERR_TIMEOUT. *reply is replaced. */
Status docker_http_request(DockerHttp *http, const char *method, const char *path, const json_t *body,
                           int timeout_seconds, DockerReply *reply, Error *err) MUST_CHECK;
void docker_reply_release(DockerReply *reply);
/* What the engine says went wrong, valid UTF-8, from {"message": ...} or the body's start. */
void docker_reply_message(DockerReply *reply, char *out, size_t size);
/* One string percent-encoded for a query; freed by the caller. */
char *docker_http_escape(DockerHttp *http, const char *text);

#endif
