/*
 * An ID token, checked as OpenID Connect Core 1.0, 3.1.3.7 has it, and who and what follows from it. JOSE is
 * libcjose's. Pure.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_IDENTITY_H
#define PGSEAL_COORDINATOR_OIDC_IDENTITY_H

#include <jansson.h>
#include <stdint.h>

#include "coordinator/oidc/settings.h"

enum { OIDC_ALGORITHMS = 3, OIDC_NAME_SIZE = 128, OIDC_SUBJECT_SIZE = 256, OIDC_LEEWAY = 60 };
#define OIDC_ALGORITHMS_TEXT "RS256, PS256 and ES256"
extern const char *const oidc_algorithms[OIDC_ALGORITHMS];

/* A public key for signatures: RSA of 2048 to 8192 bits, or P-256. */
bool oidc_key_usable(const json_t *jwk);

typedef struct OidcExpected {
  const OidcSettings *settings;
  const json_t *keys;       /* of oidc_keys_read */
  const char *nonce;        /* of the request */
  const char *access_token; /* that came with it; or NULL */
  int64_t now_s;
} OidcExpected;

/* *claims: new. ERR_NOT_FOUND: there is no key of the name that the token has (it may be a new one); ERR_UNAUTHORIZED:
 * whatever else is not as it has to be. */
Status oidc_identity_check(const OidcExpected *expected, const char *id_token, json_t **claims, Error *err) MUST_CHECK;

typedef struct OidcPerson {
  char name[OIDC_NAME_SIZE];       /* as the ledger calls who signed in: always with an '@', as no token's name is */
  char other[OIDC_NAME_SIZE];      /* and if that is another person's name: nobody else's ever */
  char subject[OIDC_SUBJECT_SIZE]; /* as the issuer calls him */
  char key[65];                    /* of issuer and subject: the same person, whatever his name */
  const OidcGrant *grant;          /* of the settings */
} OidcPerson;

/* Do the ID token's claims leave out whose group or what name it is? Then the userinfo endpoint may have it. */
bool oidc_claims_lack(const OidcSettings *settings, const json_t *claims);
/* Of claims that were checked; what they have counts, what they leave out is taken of userinfo (of oidc_userinfo_read;
 * or NULL). ERR_FORBIDDEN: no grant fits. */
Status oidc_person(const OidcSettings *settings, const json_t *claims, const json_t *userinfo, OidcPerson *out,
                   Error *err) MUST_CHECK;

#endif
