/* Real keys, and tokens that they signed, by the library that checks them in the coordinator. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_OIDC_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_OIDC_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjose/cjose.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/oidc/identity.h"

#define ISSUER "https://id.example.com/realm"
#define CLIENT "pgseal"
#define NONCE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
enum { NOW = 1800000000 };

static inline void jwk_free(cjose_jwk_t **jwk) {
  cjose_jwk_release(*jwk);
}

static inline void json_free_of(json_t **json) {
  json_decref(*json);
}

static inline cjose_jwk_t *key_of(bool elliptic, const char *kid) {
  cjose_err err;
  cjose_jwk_t *jwk = elliptic ? cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &err)
                              : cjose_jwk_create_RSA_random(2048, (const uint8_t *)"\1\0\1", 3, &err);
  assert_non_null(jwk);
  if (kid)
    assert_true(cjose_jwk_set_kid(jwk, kid, strlen(kid), &err));
  return jwk;
}

/* Its public half, as an issuer shows it. New. */
static inline json_t *public_of(const cjose_jwk_t *jwk) {
  cjose_err err;
  char *text = cjose_jwk_to_json(jwk, false, &err);
  assert_non_null(text);
  json_t *json = json_loads(text, 0, NULL);
  cjose_get_dealloc()(text);
  return json;
}

/* extra: a header's member, as name and JSON; or NULL. New. */
static inline char *sign(const cjose_jwk_t *jwk, const char *algorithm, const char *kid, const char *extra,
                         const char *value, const char *payload) {
  cjose_err err;
  const char *text = NULL;
  cjose_header_t *header = cjose_header_new(&err);
  assert_true(cjose_header_set(header, "alg", algorithm, &err));
  if (kid)
    assert_true(cjose_header_set(header, "kid", kid, &err));
  if (extra)
    assert_true(cjose_header_set_raw(header, extra, value, &err));
  cjose_jws_t *jws = cjose_jws_sign(jwk, header, (const uint8_t *)payload, strlen(payload), &err);
  assert_non_null(jws);
  assert_true(cjose_jws_export(jws, &text, &err));
  char *copy = memory_strdup(text);
  cjose_jws_release(jws);
  cjose_header_release(header);
  return copy;
}

#endif
