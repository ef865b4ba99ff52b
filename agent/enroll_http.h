/* Two requests of the coordinator's HTTP API, by libcurl, for enroll.c. Blocking. */
#ifndef PGSEAL_AGENT_ENROLL_HTTP_H
#define PGSEAL_AGENT_ENROLL_HTTP_H

#include <jansson.h>

#include "common/base/error.h"

typedef enum EnrollTrust {
  ENROLL_TRUST_NOBODY, /* https without checking who answers: only for what is public, and checked by its fingerprint */
  ENROLL_TRUST_PEM     /* https with these authorities, the host's name checked */
} EnrollTrust;

/* body NULL: GET. New reference in *json. The API's own error, or ERR_UNAVAILABLE, ERR_PROTOCOL. Redirects are not
 * followed: the token would follow them. A proxy of the environment is used for https alone. */
Status enroll_call(const char *url, const char *path, EnrollTrust trust, const char *pem, const json_t *body,
                   json_t **json, Error *err) MUST_CHECK;
/* "https://HOST:PORT" or loopback's "http://": ERR_INVALID_ARGUMENT if it is not. *host: new string, without brackets.
 */
Status enroll_url_check(const char *url, char **host, Error *err) MUST_CHECK;

#endif
