/* What an issuer answers: any text is a description, a set of keys, an answer of the token endpoint or an ID token, and
 * is taken or refused. Nothing here is signed by a key that is known, so nobody ever is somebody. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/oidc/request.h"
#include "coordinator/oidc/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static OidcGrant grant = {.value = "dba", .role = "admin"};
static const OidcSettings settings = {.issuer = "http://127.0.0.1:9000",
                                      .client_id = "pgseal",
                                      .public_url = "http://127.0.0.1:8420",
                                      .scope = "openid",
                                      .groups_claim = "groups.inner",
                                      .name_claim = "email",
                                      .grants = &grant,
                                      .grant_count = 1};

static void try_description(const uint8_t *data, size_t size) {
  OidcMetadata metadata = {0};
  Error err = {0};
  if (oidc_metadata_read(&settings, data, size, &metadata, &err) != STATUS_OK) {
    if (!err.message[0] || metadata.token_endpoint)
      abort();
    return;
  }
  const OidcSecrets secrets = {"state", "nonce", "verifier", "used"};
  char *url = oidc_authorization_url(&settings, &metadata, &secrets);
  char *leave = oidc_sign_out_url(&settings, &metadata);
  if (!oidc_url_valid(metadata.token_endpoint, NULL) || !oidc_url_valid(metadata.jwks_uri, NULL) ||
      strpbrk(url, "\r\n \"<>#") || (leave && strpbrk(leave, "\r\n \"<>#")))
    abort();
  free(url);
  free(leave);
  oidc_metadata_release(&metadata);
}

static void try_token(const json_t *keys, const char *token) {
  const OidcExpected expected = {
      .settings = &settings, .keys = keys, .nonce = "nonce", .access_token = "access", .now_s = 1800000000};
  json_t *claims = NULL;
  Error err = {0};
  if (oidc_identity_check(&expected, token, &claims, &err) == STATUS_OK || claims || !err.message[0])
    abort();
}

/* Claims as if they were signed. */
static void try_person(const uint8_t *data, size_t size) {
  json_t *claims = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
  OidcPerson person;
  Error err;
  if (claims && oidc_person(&settings, claims, NULL, &person, &err) == STATUS_OK &&
      (!strchr(person.name, '@') || strpbrk(person.name, "<>\"\n ") || person.grant != &grant))
    abort();
  json_decref(claims);
}

/* What the userinfo endpoint says beside an ID token of which all but the subject is left out; or as much as fits. */
static void try_userinfo(const uint8_t *data, size_t size) {
  json_t *more = NULL, *claims = json_pack("{s:s}", "sub", "u");
  OidcPerson person;
  Error err = {0};
  Status status = oidc_userinfo_read(size % 7 ? 200 : 403, data, size, "u", &more, &err);
  if ((status == STATUS_OK) != (more != NULL) || (status && !err.message[0]) || !oidc_claims_lack(&settings, claims) ||
      (more && strcmp(json_string_value(json_object_get(more, "sub")), "u") != 0))
    abort();
  if (more && oidc_person(&settings, claims, more, &person, &err) == STATUS_OK &&
      (!strchr(person.name, '@') || strpbrk(person.name, "<>\"\n ") || strcmp(person.subject, "u") != 0))
    abort();
  json_decref(more);
  json_decref(claims);
}

/* Whose key it is nobody knows any more. */
static const char known_key[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e1\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"RSA\",\"kid\":\"r1\",\"e\":\"AQAB\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
    "BJECPebWKRXjBZCiFV4n3oknjhM"
    "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
    "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5ha"
    "jrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
    "kEgU8awapJzKnqDKgw\"}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *keys = NULL, *own = NULL;
  OidcTokens tokens = {0};
  Error err = {0};
  char *text = strndup((const char *)data, size);
  try_description(data, size);
  try_person(data, size);
  try_userinfo(data, size);
  char *bearer = oidc_bearer_header(text);
  if (bearer && strpbrk(bearer, "\r\n"))
    abort();
  free(bearer);
  if (oidc_tokens_read(size % 2 ? 200 : 400, data, size, &tokens, &err) != STATUS_OK && !err.message[0])
    abort();
  if (oidc_keys_read(known_key, sizeof known_key - 1, &keys, &err) != STATUS_OK)
    abort();
  try_token(keys, text);
  if (tokens.id_token)
    try_token(keys, tokens.id_token);
  /* Keys of theirs, and a token in the same answer: no key of theirs signs for our client's nonce. */
  if (oidc_keys_read(data, size, &own, &err) == STATUS_OK)
    try_token(own, tokens.id_token
                       ? tokens.id_token
                       : "eyJhbGciOiJFUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  OidcSecrets secrets;
  (void)oidc_cookie_read(text, 1800000000, &secrets);
  oidc_tokens_release(&tokens);
  json_decref(keys);
  json_decref(own);
  free(text);
  return 0;
}
