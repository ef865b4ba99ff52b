#include "coordinator/oidc/request.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/authority.h"
#include "common/crypto/digest.h"

enum { SECRET_BYTES = 32, SECRET_TEXT = 2 * SECRET_BYTES, TIME_TEXT = 16, CLOCKS_APART = 60, CHALLENGE_SIZE = 48 };

/* ---- the cookie, and what follows from it ---- */

Status oidc_cookie_make(int64_t now_s, char out[OIDC_COOKIE_SIZE], Error *err) {
  uint8_t random[SECRET_BYTES];
  char secret[SECRET_TEXT + 1];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set(err, ERR_INTERNAL, "no random bytes to be had");
  text_hex(random, sizeof random, secret);
  snprintf(out, OIDC_COOKIE_SIZE, "%0*llx-%s", TIME_TEXT, (long long)now_s, secret);
  explicit_bzero(secret, sizeof secret);
  return STATUS_OK;
}

static void derive(const char *what, const char *cookie, char out[SHA256_HEX_SIZE]) {
  char text[OIDC_COOKIE_SIZE + 32];
  snprintf(text, sizeof text, "%s %s", what, cookie);
  sha256_hex(text, strlen(text), out);
  explicit_bzero(text, sizeof text);
}

bool oidc_cookie_read(const char *cookie, int64_t now_s, OidcSecrets *out) {
  static const char digits[] = "0123456789abcdef";
  if (!cookie || strlen(cookie) != TIME_TEXT + 1 + SECRET_TEXT || strspn(cookie, digits) != TIME_TEXT ||
      cookie[TIME_TEXT] != '-' || strspn(cookie + TIME_TEXT + 1, digits) != SECRET_TEXT)
    return false;
  uint64_t begun = strtoull(cookie, NULL, 16);
  if (begun > (uint64_t)now_s + CLOCKS_APART || begun + OIDC_SECONDS <= (uint64_t)now_s)
    return false;
  derive("state", cookie, out->state);
  derive("nonce", cookie, out->nonce);
  derive("verifier", cookie, out->verifier);
  derive("used", cookie, out->used);
  return true;
}

/* ---- words of URLs and forms ---- */

static void add_escaped(Buffer *out, const char *text) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  for (const char *p = text; *p; p++)
    if (strchr(plain, *p))
      buffer_append_byte(out, (uint8_t)*p);
    else
      buffer_append_format(out, "%%%02X", (unsigned char)*p);
}

static void add(Buffer *out, const char *name, const char *value) {
  if (out->size > 0 && !strchr("?&", out->data[out->size - 1]))
    buffer_append_byte(out, '&');
  buffer_append_format(out, "%s=", name);
  add_escaped(out, value);
}

/* An endpoint may have parameters of its own. */
static void begin(Buffer *out, const char *endpoint) {
  buffer_append_text(out, endpoint);
  buffer_append_byte(out, strchr(endpoint, '?') ? '&' : '?');
}

static void add_callback(Buffer *out, const OidcSettings *settings) {
  CLEANUP_FREE char *callback = memory_format("%s%s", settings->public_url, OIDC_CALLBACK);
  add(out, "redirect_uri", callback);
}

/* base64url without padding, of the digest (RFC 7636, 4.2). */
static void challenge_of(const char *verifier, char out[CHALLENGE_SIZE]) {
  uint8_t digest[SHA256_SIZE];
  sha256(verifier, strlen(verifier), digest);
  EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest);
  for (char *at = out; *at; at++)
    *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? 0 : *at;
}

char *oidc_authorization_url(const OidcSettings *settings, const OidcMetadata *metadata, const OidcSecrets *secrets) {
  Buffer out = {0};
  char challenge[CHALLENGE_SIZE];
  challenge_of(secrets->verifier, challenge);
  begin(&out, metadata->authorization_endpoint);
  add(&out, "response_type", "code");
  add(&out, "client_id", settings->client_id);
  add_callback(&out, settings);
  add(&out, "scope", settings->scope);
  add(&out, "state", secrets->state);
  add(&out, "nonce", secrets->nonce);
  add(&out, "code_challenge", challenge);
  add(&out, "code_challenge_method", "S256");
  return buffer_steal_text(&out);
}

char *oidc_exchange_body(const OidcSettings *settings, const OidcSecrets *secrets, const char *code) {
  Buffer out = {0};
  buffer_reserve(&out, OIDC_CODE_LIMIT * 3 + 4096); /* at once: no copies of it are left in freed memory */
  add(&out, "grant_type", "authorization_code");
  add(&out, "code", code);
  add_callback(&out, settings);
  add(&out, "code_verifier", secrets->verifier);
  if (!settings->client_secret_file)
    add(&out, "client_id", settings->client_id);
  return buffer_steal_text(&out);
}

char *oidc_basic_header(const OidcSettings *settings, const char *secret) {
  CLEANUP(buffer_release) Buffer pair = {0};
  add_escaped(&pair, settings->client_id);
  buffer_append_byte(&pair, ':');
  add_escaped(&pair, secret);
  size_t size = (pair.size + 2) / 3 * 4 + 1;
  char *base64 = memory_alloc(size);
  EVP_EncodeBlock((unsigned char *)base64, pair.data, (int)pair.size);
  char *header = memory_format("Authorization: Basic %s", base64);
  explicit_bzero(pair.data, pair.size);
  secret_text_free(&base64);
  return header;
}

char *oidc_bearer_header(const char *access_token) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
  return *access_token && !access_token[strspn(access_token, plain)]
             ? memory_format("Authorization: Bearer %s", access_token)
             : NULL;
}

char *oidc_sign_out_url(const OidcSettings *settings, const OidcMetadata *metadata) {
  Buffer out = {0};
  if (!metadata->end_session_endpoint)
    return NULL;
  CLEANUP_FREE char *back = memory_format("%s/", settings->public_url);
  begin(&out, metadata->end_session_endpoint);
  add(&out, "client_id", settings->client_id);
  add(&out, "post_logout_redirect_uri", back);
  return buffer_steal_text(&out);
}
