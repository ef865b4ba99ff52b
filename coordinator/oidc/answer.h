/*
 * What an issuer answers, read: its description (OpenID Connect Discovery 1.0, 3), its keys (RFC 7517), and what its
 * token endpoint (OpenID Connect Core 1.0, 3.1.3.3; errors: RFC 6749, 5.2) and its userinfo endpoint say (5.3.2). All
 * of it is hostile until checked: bounded, and used only if it is as it has to be. Pure.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_ANSWER_H
#define PGSEAL_COORDINATOR_OIDC_ANSWER_H

#include <jansson.h>

#include "coordinator/oidc/settings.h"

enum { OIDC_ANSWER_LIMIT = 128 << 10, OIDC_TOKEN_LIMIT = 16 << 10, OIDC_KEYS_LIMIT = 64, OIDC_CODE_LIMIT = 2048 };

typedef struct OidcMetadata {
  char *authorization_endpoint, *token_endpoint, *jwks_uri;
  char *userinfo_endpoint, *end_session_endpoint; /* NULL: it has none */
  bool tells_issuer;                              /* its answers name it (RFC 9207) */
} OidcMetadata;

/* ERR_UNAVAILABLE: it is no description of the settings' issuer that can be used. */
Status oidc_metadata_read(const OidcSettings *settings, const void *data, size_t size, OidcMetadata *out,
                          Error *err) MUST_CHECK;
void oidc_metadata_release(OidcMetadata *metadata);

/* *out: a new array of JWKs that are public keys for signatures of an algorithm that is allowed (identity.h); others
 * are left out. ERR_UNAVAILABLE: it is no set of keys, or there is none among them. */
Status oidc_keys_read(const void *data, size_t size, json_t **out, Error *err) MUST_CHECK;

typedef struct OidcTokens {
  char *id_token, *access_token; /* access_token: or NULL */
} OidcTokens;
/* code: of HTTP. ERR_UNAUTHORIZED: it refuses; ERR_UNAVAILABLE: it is no such answer. */
Status oidc_tokens_read(long code, const void *data, size_t size, OidcTokens *out, Error *err) MUST_CHECK;
void oidc_tokens_release(OidcTokens *tokens); /* wipes them */

/* *out: a new object, with claims of the very subject. It is not signed: what stands for it is TLS, and whom the
 * endpoint is of. ERR_UNAUTHORIZED: of another subject (5.3.2); ERR_UNAVAILABLE: it is no such answer. */
Status oidc_userinfo_read(long code, const void *data, size_t size, const char *subject, json_t **out,
                          Error *err) MUST_CHECK;

/* An error's code as issuers and browsers give it, if it looks like one (RFC 6749, 5.2); else "an error". */
const char *oidc_error_name(const char *text, char out[64]);

#endif
