/*
 * A client of the coordinator's HTTP API, on libcurl. One Http belongs to one thread. Redirects are not followed,
 * since the token would follow them.
 */
#ifndef PGSEAL_CLI_HTTP_H
#define PGSEAL_CLI_HTTP_H

#include <jansson.h>
#include <stdatomic.h>

#include "common/base/buffer.h"

typedef struct Http Http;

/* url: "https://pgseal.internal:8420", without a path. token may be NULL. ca_file: PEM, what the coordinator's
 * certificate is checked with; NULL: what this machine trusts. All are copied. */
Status http_open(const char *url, const char *token, const char *ca_file, Http **out, Error *err) MUST_CHECK;
void http_close(Http *http); /* NULL is fine */
const char *http_url(const Http *http);
/* Plain HTTP to another machine, for all between to read: no token is for that, unless whoever has it says so. */
bool http_is_overheard(const char *url);

/* A second client of the same coordinator, for another thread. */
Status http_clone(const Http *http, Http **out, Error *err) MUST_CHECK;
/* Requests of this client end soon, with ERR_CANCELED, once *stop is set by whichever thread. */
void http_watch_flag(Http *http, const atomic_bool *stop);
/* While SIGINT and SIGTERM are blocked by the caller, one that is pending ends the request with ERR_CANCELED. */
void http_watch_signals(Http *http);

typedef struct HttpRequest {
  const char *method, *path; /* path with its query */
  const json_t *body;        /* or NULL */
  const Buffer *text;        /* a body that is no JSON, of this type; or NULL */
  const char *type;
  const char *idempotency_key; /* or NULL */
  int timeout_seconds;         /* 0: 30 */
} HttpRequest;

/* 2xx: STATUS_OK and a new reference in *json (json_null() where there is no body). Else the API's own error
 * (code, message, remedy, object); ERR_UNAVAILABLE where nothing answered; ERR_PROTOCOL where it was no pgseal.
 * 429 with Retry-After is waited for, and asked again, for up to two minutes. */
Status http_call(Http *http, const HttpRequest *request, json_t **json, Error *err) MUST_CHECK;

/* Bytes for bytes: POST, and what came back replaces *answer. Errors as of http_call, but a 429 is not waited for. */
Status http_exchange(Http *http, const char *path, const void *data, size_t size, int timeout_seconds, Buffer *answer,
                     Error *err) MUST_CHECK;

/* Percent-encoded for a path or a query; freed by the caller. */
char *http_escape(const char *text);

#endif
