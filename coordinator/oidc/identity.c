#include "coordinator/oidc/identity.h"

#include <cjose/cjose.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"
#include "coordinator/oidc/answer.h"

/* Of a JWK's members, which are base64url: 2048 to 8192 bits; an exponent of 32 bits at most, as a larger one makes
 * checking slow; a coordinate of P-256. */
enum { MODULUS_LEAST = 341, MODULUS_MOST = 1368, EXPONENT_MOST = 6, COORDINATE = 43 };
enum { AUDIENCES = 16, GROUPS_LIMIT = 2000, AGE_LIMIT = 600, PLAIN_SUBJECT = 60, HALF_DIGEST = 16 };

const char *const oidc_algorithms[OIDC_ALGORITHMS] = {"RS256", "PS256", "ES256"};

static void json_release(json_t **json) {
  json_decref(*json);
}

static void jws_release(cjose_jws_t **jws) {
  cjose_jws_release(*jws);
}

static void jwk_release(cjose_jwk_t **jwk) {
  cjose_jwk_release(*jwk);
}

static const char *text_of(const json_t *json, const char *name) {
  const char *text = json_string_value(json_object_get(json, name));
  return text ? text : "";
}

static bool same(const char *a, const char *b) {
  return strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(a)) == 0;
}

/* libcjose asserts that what it decodes is base64url, and ends the process if it is not: nothing else gets to it. */
static bool base64url_valid(const char *text, size_t length) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return length > 0 && length % 4 != 1 && strspn(text, plain) >= length;
}

/* Three parts (RFC 7515, 7.1). */
static bool token_valid(const char *token) {
  for (int part = 0; part < 3; part++) {
    size_t length = strcspn(token, ".");
    if (!base64url_valid(token, length) || (token[length] == '.') != (part < 2))
      return false;
    token += length + (part < 2);
  }
  return true;
}

static bool member_valid(const json_t *jwk, const char *name, size_t least, size_t most) {
  const char *text = text_of(jwk, name);
  size_t length = strlen(text);
  return length >= least && length <= most && base64url_valid(text, length);
}

/* ---- keys ---- */

bool oidc_key_usable(const json_t *jwk) {
  const char *use = json_string_value(json_object_get(jwk, "use"));
  const json_t *operations = json_object_get(jwk, "key_ops");
  bool verifies = !operations;
  for (size_t i = 0; i < json_array_size(operations) && i < AUDIENCES; i++) {
    const char *one = json_string_value(json_array_get(operations, i));
    verifies |= one && strcmp(one, "verify") == 0;
  }
  if (!verifies || (use && strcmp(use, "sig") != 0) || json_object_get(jwk, "d") || json_object_get(jwk, "k"))
    return false;
  const char *type = text_of(jwk, "kty");
  if (strcmp(type, "RSA") == 0)
    return member_valid(jwk, "n", MODULUS_LEAST, MODULUS_MOST) && member_valid(jwk, "e", 1, EXPONENT_MOST);
  return strcmp(type, "EC") == 0 && strcmp(text_of(jwk, "crv"), "P-256") == 0 &&
         member_valid(jwk, "x", COORDINATE, COORDINATE) && member_valid(jwk, "y", COORDINATE, COORDINATE);
}

static bool fits(const json_t *jwk, const char *algorithm) {
  const char *own = json_string_value(json_object_get(jwk, "alg"));
  const char *type = algorithm[0] == 'E' ? "EC" : "RSA";
  return strcmp(text_of(jwk, "kty"), type) == 0 && (!own || strcmp(own, algorithm) == 0);
}

/* The one that the token names; without a name, the only one that there is (Core, 10.1). */
static const json_t *choose(const json_t *keys, const char *kid, const char *algorithm) {
  const json_t *found = NULL;
  for (size_t i = 0; i < json_array_size(keys); i++) {
    const json_t *jwk = json_array_get(keys, i);
    if (!fits(jwk, algorithm) || (kid && strcmp(text_of(jwk, "kid"), kid) != 0))
      continue;
    if (found)
      return NULL;
    found = jwk;
  }
  return found;
}

/* ---- the signature ---- */

static Status refuse(Error *err, const char *what) {
  error_set(err, ERR_UNAUTHORIZED, "the issuer's ID token is not good: %s", what);
  error_remedy(err, "Sign in again; if that does not help, see the settings of the issuer for this client.");
  return ERR_UNAUTHORIZED;
}

static const char *allowed(const char *algorithm) {
  for (size_t i = 0; algorithm && i < OIDC_ALGORITHMS; i++)
    if (strcmp(algorithm, oidc_algorithms[i]) == 0)
      return oidc_algorithms[i];
  return NULL;
}

/* The first part, read by ourselves: libcjose does not mind a member that is there twice, nor one that it does not
 * know. New reference; NULL: it is none. */
static json_t *header_of(const char *token) {
  uint8_t *text = NULL;
  size_t size = 0;
  cjose_err ignored;
  if (!cjose_base64url_decode(token, strcspn(token, "."), &text, &size, &ignored))
    return NULL;
  json_t *header = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
  cjose_get_dealloc()(text);
  return header;
}

static Status verify(cjose_jws_t *jws, const char *token, const json_t *keys, Error *err) {
  cjose_err cause;
  CLEANUP(json_release) json_t *header = header_of(token);
  const char *algorithm = allowed(json_string_value(json_object_get(header, "alg")));
  const json_t *name = json_object_get(header, "kid");
  const char *kid = json_string_value(name);
  if (!algorithm)
    return refuse(err, "it is signed by none of " OIDC_ALGORITHMS_TEXT);
  if (json_object_get(header, "crit") || json_object_get(header, "b64") || json_object_get(header, "zip") ||
      (name && !kid))
    return refuse(err, "its header has what pgseal does not know");
  const json_t *key = choose(keys, kid, algorithm);
  if (!key)
    return error_set(err, ERR_NOT_FOUND, "the issuer's ID token is signed by a key that the issuer does not show");
  CLEANUP_FREE char *text = json_dumps(key, JSON_COMPACT);
  CLEANUP(jwk_release) cjose_jwk_t *jwk = text ? cjose_jwk_import(text, strlen(text), &cause) : NULL;
  return jwk && cjose_jws_verify(jws, jwk, &cause) ? STATUS_OK : refuse(err, "its signature is wrong");
}

static Status open_token(const char *token, const json_t *keys, json_t **claims, Error *err) {
  cjose_err cause;
  uint8_t *text = NULL; /* the jws's */
  size_t size = 0;
  if (strlen(token) > OIDC_TOKEN_LIMIT)
    return refuse(err, "it is too large");
  if (!token_valid(token))
    return refuse(err, "it is no signed token");
  CLEANUP(jws_release) cjose_jws_t *jws = cjose_jws_import(token, strlen(token), &cause);
  if (!jws)
    return refuse(err, "it is no signed token");
  Status status = verify(jws, token, keys, err);
  if (status != STATUS_OK)
    return status;
  if (!cjose_jws_get_plaintext(jws, &text, &size, &cause))
    return refuse(err, "it is empty");
  *claims = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
  return json_is_object(*claims) ? STATUS_OK : refuse(err, "it holds no JSON object");
}

/* ---- the claims ---- */

static Status check_audience(const OidcExpected *expected, const json_t *claims, Error *err) {
  const json_t *audience = json_object_get(claims, "aud"), *party = json_object_get(claims, "azp");
  const char *client = expected->settings->client_id, *one = json_string_value(audience);
  bool ours = one && strcmp(one, client) == 0;
  size_t count = json_array_size(audience);
  for (size_t i = 0; i < count && i < AUDIENCES; i++) {
    const char *text = json_string_value(json_array_get(audience, i));
    ours |= text && strcmp(text, client) == 0;
  }
  if (!ours || count > AUDIENCES)
    return refuse(err, "it is for another client (aud)");
  if (party && strcmp(json_is_string(party) ? json_string_value(party) : "", client) != 0)
    return refuse(err, "it was made for another client (azp)");
  return count > 1 && !party ? refuse(err, "it is for other clients too (aud), and does not say for whom it was made")
                             : STATUS_OK;
}

/* Seconds; false: it is no number, or none that a time could be. */
static bool time_of(const json_t *claims, const char *name, double *out) {
  const json_t *value = json_object_get(claims, name);
  *out = json_number_value(value);
  return json_is_number(value) && *out > 0 && *out < 1e11;
}

static Status check_times(const OidcExpected *expected, const json_t *claims, Error *err) {
  double expires, issued, from, now = (double)expected->now_s;
  if (!time_of(claims, "exp", &expires) || !time_of(claims, "iat", &issued))
    return refuse(err, "it does not say when it was made, or how long it is good (iat, exp)");
  if (expires <= now - OIDC_LEEWAY)
    return refuse(err, "it has expired (exp)");
  if (issued > now + OIDC_LEEWAY)
    return refuse(err, "it is of the future (iat): are the clocks right?");
  if (issued < now - AGE_LIMIT - OIDC_LEEWAY)
    return refuse(err, "it is too old (iat)");
  if (json_object_get(claims, "nbf") && (!time_of(claims, "nbf", &from) || from > now + OIDC_LEEWAY))
    return refuse(err, "it is not good yet (nbf)");
  return STATUS_OK;
}

/* The left half of the access token's digest (Core, 3.1.3.6): all that are allowed have SHA-256. */
static bool hash_fits(const char *claimed, const char *access_token) {
  uint8_t digest[SHA256_SIZE];
  char *text = NULL;
  size_t size = 0;
  cjose_err ignored;
  sha256(access_token, strlen(access_token), digest);
  if (!cjose_base64url_encode(digest, HALF_DIGEST, &text, &size, &ignored))
    return false;
  bool fine = same(claimed, text);
  cjose_get_dealloc()(text);
  return fine;
}

static Status check_binding(const OidcExpected *expected, const json_t *claims, Error *err) {
  const json_t *hash = json_object_get(claims, "at_hash");
  if (!same(text_of(claims, "nonce"), expected->nonce))
    return refuse(err, "it is of another sign-in (nonce)");
  if (hash &&
      (!json_is_string(hash) || !expected->access_token || !hash_fits(json_string_value(hash), expected->access_token)))
    return refuse(err, "it does not belong to the access token that came with it (at_hash)");
  return STATUS_OK;
}

static bool subject_valid(const char *text) {
  for (const char *p = text; *p; p++)
    if (*p < ' ' || *p > '~')
      return false;
  return *text && strlen(text) < OIDC_SUBJECT_SIZE;
}

Status oidc_identity_check(const OidcExpected *expected, const char *id_token, json_t **out, Error *err) {
  CLEANUP(json_release) json_t *claims = NULL;
  Status status = open_token(id_token, expected->keys, &claims, err);
  if (status != STATUS_OK)
    return status;
  if (strcmp(text_of(claims, "iss"), expected->settings->issuer) != 0)
    return refuse(err, "it is of another issuer (iss)");
  if (!subject_valid(text_of(claims, "sub")))
    return refuse(err, "it does not say whose it is (sub)");
  status = check_audience(expected, claims, err);
  if (status == STATUS_OK)
    status = check_times(expected, claims, err);
  if (status == STATUS_OK)
    status = check_binding(expected, claims, err);
  if (status == STATUS_OK)
    *out = STEAL(claims);
  return status;
}

/* ---- who it is ---- */

/* By its name as it is (issuers have URLs as names); else "a.b" is the member b of a. null is none. */
static const json_t *claim_of(const json_t *claims, const char *name) {
  const json_t *found = json_object_get(claims, name);
  const char *dot = strchr(name, '.');
  if (found || !dot)
    return json_is_null(found) ? NULL : found;
  CLEANUP_FREE char *head = memory_strndup(name, (size_t)(dot - name));
  const json_t *inner = json_object_get(claims, head);
  return inner ? claim_of(inner, dot + 1) : NULL;
}

static bool has_value(const json_t *claim, const char *value) {
  const char *one = json_string_value(claim);
  if (one)
    return strcmp(one, value) == 0;
  for (size_t i = 0; i < json_array_size(claim) && i < GROUPS_LIMIT; i++) {
    const char *text = json_string_value(json_array_get(claim, i));
    if (text && strcmp(text, value) == 0)
      return true;
  }
  return false;
}

static bool name_valid(const char *name) {
  for (const char *p = name; *p; p++)
    if (*p <= ' ' || *p > '~' || strchr("\"<>\\", *p))
      return false;
  return *name && strlen(name) < OIDC_NAME_SIZE;
}

static void host_of(const char *issuer, char *out, size_t size) {
  const char *host = strstr(issuer, "://");
  host = host ? host + 3 : issuer;
  snprintf(out, size, "%.*s", (int)strcspn(host, "/"), host);
}

static bool by_address(const OidcSettings *settings) {
  return strcmp(settings->name_claim, "email") == 0;
}

/* The claim, and whether it is vouched for: both of the same answer. */
static bool has_name(const OidcSettings *settings, const json_t *claims) {
  return claim_of(claims, settings->name_claim) && (!by_address(settings) || claim_of(claims, "email_verified"));
}

bool oidc_claims_lack(const OidcSettings *settings, const json_t *claims) {
  return !claim_of(claims, settings->groups_claim) || !has_name(settings, claims);
}

/* An address counts only where the issuer vouches for it: else anybody could take another's name. */
static const char *wished_name(const OidcSettings *settings, const json_t *claims) {
  bool vouched = !by_address(settings) || json_is_true(json_object_get(claims, "email_verified"));
  const char *name = vouched ? json_string_value(claim_of(claims, settings->name_claim)) : NULL;
  return name && name_valid(name) ? name : NULL;
}

static void make_name(const OidcSettings *settings, const json_t *claims, OidcPerson *person) {
  const char *wished = wished_name(settings, claims);
  char host[PLAIN_SUBJECT], digest[SHA256_HEX_SIZE];
  host_of(settings->issuer, host, sizeof host);
  snprintf(person->other, sizeof person->other, "%.32s@%s", person->key, host);
  if (wished && strchr(wished, '@')) {
    snprintf(person->name, sizeof person->name, "%s", wished);
    return;
  }
  const char *plain = wished ? wished : person->subject;
  if (!name_valid(plain) || strlen(plain) > PLAIN_SUBJECT || strchr(plain, '@')) {
    sha256_hex(plain, strlen(plain), digest);
    snprintf(person->name, sizeof person->name, "%.32s@%s", digest, host);
    return;
  }
  snprintf(person->name, sizeof person->name, "%.*s@%s", PLAIN_SUBJECT, plain, host);
}

Status oidc_person(const OidcSettings *settings, const json_t *claims, const json_t *userinfo, OidcPerson *out,
                   Error *err) {
  const json_t *groups = claim_of(claims, settings->groups_claim);
  *out = (OidcPerson){0};
  if (!groups)
    groups = claim_of(userinfo, settings->groups_claim);
  for (size_t i = 0; !out->grant && i < settings->grant_count; i++)
    if (has_value(groups, settings->grants[i].value))
      out->grant = &settings->grants[i];
  if (!out->grant) {
    error_set(err, ERR_FORBIDDEN, "you have no role here: the claim %s of your sign-in has no value that gives one",
              settings->groups_claim);
    error_remedy(err,
                 "Ask whoever runs this pgseal: the values and their roles are `oidc.grants` in coordinator.yaml.");
    return ERR_FORBIDDEN;
  }
  snprintf(out->subject, sizeof out->subject, "%s", text_of(claims, "sub"));
  CLEANUP_FREE char *whole = memory_format("%s\n%s", settings->issuer, out->subject);
  sha256_hex(whole, strlen(whole), out->key);
  make_name(settings, has_name(settings, claims) || !userinfo ? claims : userinfo, out);
  return STATUS_OK;
}
