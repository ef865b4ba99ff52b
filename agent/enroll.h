/* `pgseal-agent enroll`: from an invitation to an identity. Blocking; the process does nothing else. */
#ifndef PGSEAL_AGENT_ENROLL_H
#define PGSEAL_AGENT_ENROLL_H

#include "common/base/error.h"

typedef struct EnrollOptions {
  const char *coordinator; /* its HTTP API: https://HOST:PORT, or http:// on loopback */
  const char *token_file;  /* holds the invitation's token */
  const char *dir;         /* keys/ and agent.yaml come into it */
  const char *http_ca;     /* PEM file: whom to trust for https; NULL: the deployment's own authority */
} EnrollOptions;

/* Makes the signing key (or takes the one that is there) and a TLS key, both of which stay here, checks the coordinator
 * by the fingerprint in the token before it shows it anything, and writes what it gets: keys/ca.crt, keys/tls.pem, and
 * agent.yaml, or agent.join.yaml if there is one already. Prints what it did. Run again with the same dir and token
 * after the answer was lost, it gets the same answer: until then keys/enrolling.pem has the TLS key and its request.
 * ERR_INVALID_ARGUMENT: token or URL; ERR_UNAUTHORIZED: the coordinator refuses the invitation, or is none of the
 * deployment the invitation is for; ERR_UNAVAILABLE. */
Status agent_enroll(const EnrollOptions *options, Error *err) MUST_CHECK;

#endif
