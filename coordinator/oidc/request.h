/*
 * What is asked of an issuer, as URLs and bodies, and the secrets of one sign-in. Pure.
 *
 * All that a sign-in has of its own follows from one text of 256 random bits and the time, which the browser keeps in a
 * cookie: its state, nonce and PKCE verifier are digests of it. So whoever comes back with that cookie is the browser
 * that began, at whatever coordinator it arrives, and nothing is kept of sign-ins that never end.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_REQUEST_H
#define PGSEAL_COORDINATOR_OIDC_REQUEST_H

#include <stdint.h>

#include "coordinator/oidc/answer.h"

#define OIDC_CALLBACK "/api/v1/sign-in/callback"
enum { OIDC_COOKIE_SIZE = 96, OIDC_SECONDS = 600 /* a sign-in may take */ };

typedef struct OidcSecrets {
  char state[65], nonce[65], verifier[65];
  char used[65]; /* what the ledger keeps of a sign-in that came to its end: it cannot be ended again */
} OidcSecrets;

/* ERR_INTERNAL: no random bits. */
Status oidc_cookie_make(int64_t now_s, char out[OIDC_COOKIE_SIZE], Error *err) MUST_CHECK;
/* False: it is none, or too old, or of the future. */
bool oidc_cookie_read(const char *cookie, int64_t now_s, OidcSecrets *out);

/* New strings. */
char *oidc_authorization_url(const OidcSettings *settings, const OidcMetadata *metadata, const OidcSecrets *secrets);
/* The body of the token request; freed by secret_text_free, as what follows. */
char *oidc_exchange_body(const OidcSettings *settings, const OidcSecrets *secrets, const char *code);
/* "Authorization: Basic ..." (RFC 6749, 2.3.1) */
char *oidc_basic_header(const OidcSettings *settings, const char *secret);
/* "Authorization: Bearer ..." (RFC 6750, 2.1); NULL: the token has what no token has. */
char *oidc_bearer_header(const char *access_token);
/* Where the issuer, too, ends its session (RP-Initiated Logout 1.0); NULL: nowhere. */
char *oidc_sign_out_url(const OidcSettings *settings, const OidcMetadata *metadata);

#endif
