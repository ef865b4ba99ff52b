/* ID tokens with real signatures: a good one is taken, and each thing that can be wrong with one has it refused. */
#include "tests/unit/coordinator/oidc/support.h"

#include "common/crypto/digest.h"
#include "coordinator/oidc/answer.h"

typedef struct Issuer {
  cjose_jwk_t *rsa, *ec, *stranger;
  json_t *keys;
  OidcSettings settings;
  OidcGrant grants[3];
} Issuer;

static int open_issuer(void **state) {
  Issuer *it = memory_alloc(sizeof *it);
  it->rsa = key_of(false, "r1");
  it->ec = key_of(true, "e1");
  it->stranger = key_of(false, "r1");
  it->keys = json_pack("[o, o]", public_of(it->rsa), public_of(it->ec));
  it->grants[0] = (OidcGrant){.value = "dba", .role = "admin", .key = "a"};
  it->grants[1] = (OidcGrant){.value = "pay-dev", .role = "viewer", .databases = "[\"pay-*\"]", .key = "b"};
  it->grants[2] = (OidcGrant){.value = "everybody", .role = "ci", .key = "c"};
  it->settings = (OidcSettings){.issuer = ISSUER,
                                .client_id = CLIENT,
                                .groups_claim = "groups",
                                .name_claim = "email",
                                .grants = it->grants,
                                .grant_count = 3};
  *state = it;
  return 0;
}

static int close_issuer(void **state) {
  Issuer *it = *state;
  cjose_jwk_release(it->rsa);
  cjose_jwk_release(it->ec);
  cjose_jwk_release(it->stranger);
  json_decref(it->keys);
  free(it);
  return 0;
}

/* Of a good token; then change is merged into it, and its nulls are taken out. */
static char *payload(const char *change) {
  CLEANUP(json_free_of)
  json_t *claims = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:[s]}", "iss", ISSUER, "sub", "u-17", "aud", CLIENT,
                             "exp", NOW + 300, "iat", NOW - 5, "nonce", NONCE, "groups", "dba");
  CLEANUP(json_free_of) json_t *other = json_loads(change, 0, NULL);
  assert_non_null(other);
  json_object_update(claims, other);
  const char *key;
  json_t *value;
  void *next;
  json_object_foreach_safe(claims, next, key, value) {
    if (json_is_null(value))
      json_object_del(claims, key);
  }
  return json_dumps(claims, JSON_COMPACT);
}

static Status check_with(const Issuer *it, const char *token, const char *access, json_t **claims, Error *err) {
  const OidcExpected expected = {
      .settings = &it->settings, .keys = it->keys, .nonce = NONCE, .access_token = access, .now_s = NOW};
  return oidc_identity_check(&expected, token, claims, err);
}

/* word: of the message; NULL: it is good. */
static void expect(const Issuer *it, const char *token, const char *access, Status status, const char *word) {
  CLEANUP(json_free_of) json_t *claims = NULL;
  Error err = {0};
  Status got = check_with(it, token, access, &claims, &err);
  if (got != status || (word && !strstr(err.message, word)))
    fail_msg("expected %d (%s), got %d: %s", status, word ? word : "", got, err.message);
  assert_int_equal(claims != NULL, status == STATUS_OK);
}

static void expect_claims(const Issuer *it, const char *change, const char *word) {
  CLEANUP_FREE char *text = payload(change);
  CLEANUP_FREE char *token = sign(it->rsa, "RS256", "r1", NULL, NULL, text);
  expect(it, token, NULL, word ? ERR_UNAUTHORIZED : STATUS_OK, word);
}

static void test_good(void **state) {
  const Issuer *it = *state;
  static const struct {
    const char *algorithm, *kid;
  } kinds[] = {{"RS256", "r1"}, {"PS256", "r1"}, {"ES256", "e1"}, {"RS256", NULL}, {"ES256", NULL}};
  CLEANUP_FREE char *text = payload("{}");
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    const cjose_jwk_t *key = kinds[i].algorithm[0] == 'E' ? it->ec : it->rsa;
    CLEANUP_FREE char *token = sign(key, kinds[i].algorithm, kinds[i].kid, NULL, NULL, text);
    expect(it, token, NULL, STATUS_OK, NULL);
  }
}

static void test_claims(void **state) {
  static const struct {
    const char *change, *word; /* NULL: fine */
  } cases[] = {
      {"{\"iss\": \"https://id.example.com/realm/\"}", "(iss)"},
      {"{\"iss\": null}", "(iss)"},
      {"{\"iss\": [\"" ISSUER "\"]}", "(iss)"},
      {"{\"sub\": null}", "(sub)"},
      {"{\"sub\": 17}", "(sub)"},
      {"{\"sub\": \"\"}", "(sub)"},
      {"{\"sub\": \"a\\nb\"}", "(sub)"},
      {"{\"aud\": \"other\"}", "(aud)"},
      {"{\"aud\": null}", "(aud)"},
      {"{\"aud\": []}", "(aud)"},
      {"{\"aud\": [\"other\"]}", "(aud)"},
      {"{\"aud\": [\"pgseal\"]}", NULL},
      {"{\"aud\": [\"pgseal\", \"other\"]}", "(aud)"},
      {"{\"aud\": [\"pgseal\", \"other\"], \"azp\": \"other\"}", "(azp)"},
      {"{\"aud\": [\"pgseal\", \"other\"], \"azp\": \"pgseal\"}", NULL},
      {"{\"azp\": \"other\"}", "(azp)"},
      {"{\"azp\": 1}", "(azp)"},
      {"{\"azp\": \"pgseal\"}", NULL},
      {"{\"exp\": 1799999940}", "(exp)"},
      {"{\"exp\": 1799999941}", NULL}, /* within the leeway */
      {"{\"exp\": null}", "exp"},
      {"{\"exp\": \"1800000300\"}", "exp"},
      {"{\"exp\": -1}", "exp"},
      {"{\"exp\": 1e300}", "exp"},
      {"{\"iat\": 1800000061}", "(iat)"},
      {"{\"iat\": 1800000060}", NULL},
      {"{\"iat\": 1799999339}", "(iat)"},
      {"{\"iat\": null}", "iat"},
      {"{\"nbf\": 1800000061}", "(nbf)"},
      {"{\"nbf\": \"x\"}", "(nbf)"},
      {"{\"nbf\": 1800000000}", NULL},
      {"{\"nonce\": null}", "(nonce)"},
      {"{\"nonce\": \"\"}", "(nonce)"},
      {"{\"nonce\": \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeF\"}", "(nonce)"},
      {"{\"at_hash\": \"x\"}", "(at_hash)"}, /* there is no access token */
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    expect_claims(*state, cases[i].change, cases[i].word);
}

static void test_at_hash(void **state) {
  const Issuer *it = *state;
  uint8_t digest[SHA256_SIZE];
  cjose_err ignored;
  char *half = NULL;
  size_t size;
  sha256("the access token", 16, digest);
  assert_true(cjose_base64url_encode(digest, 16, &half, &size, &ignored));
  CLEANUP_FREE char *change = memory_format("{\"at_hash\": \"%s\"}", half);
  CLEANUP_FREE char *text = payload(change);
  CLEANUP_FREE char *token = sign(it->ec, "ES256", "e1", NULL, NULL, text);
  expect(it, token, "the access token", STATUS_OK, NULL);
  expect(it, token, "another access token", ERR_UNAUTHORIZED, "(at_hash)");
  expect(it, token, NULL, ERR_UNAUTHORIZED, "(at_hash)");
  cjose_get_dealloc()(half);
}

static char *unsigned_token(const char *header, const char *text, const char *signature) {
  char *parts[2];
  size_t size;
  cjose_err ignored;
  assert_true(cjose_base64url_encode((const uint8_t *)header, strlen(header), &parts[0], &size, &ignored));
  assert_true(cjose_base64url_encode((const uint8_t *)text, strlen(text), &parts[1], &size, &ignored));
  char *token = memory_format("%s.%s.%s", parts[0], parts[1], signature);
  cjose_get_dealloc()(parts[0]);
  cjose_get_dealloc()(parts[1]);
  return token;
}

static void test_algorithms(void **state) {
  const Issuer *it = *state;
  cjose_err ignored;
  CLEANUP_FREE char *text = payload("{}");
  static const char *const none[] = {"{\"alg\":\"none\"}",
                                     "{\"alg\":\"None\"}",
                                     "{}",
                                     "{\"alg\":\"\"}",
                                     "{\"alg\":\"none\",\"kid\":\"r1\"}",
                                     "{\"alg\":256}",
                                     "[]",
                                     "x"};
  for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
    CLEANUP_FREE char *empty = unsigned_token(none[i], text, "");
    CLEANUP_FREE char *filled = unsigned_token(none[i], text, "AAAA");
    expect(it, empty, NULL, ERR_UNAUTHORIZED, "ID token");
    expect(it, filled, NULL, ERR_UNAUTHORIZED, "ID token");
  }
  static const char *const others[] = {"RS384", "RS512", "PS384", "PS512"};
  for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
    CLEANUP_FREE char *token = sign(it->rsa, others[i], "r1", NULL, NULL, text);
    expect(it, token, NULL, ERR_UNAUTHORIZED, "none of");
  }
  /* The old trick: the public key, which everybody has, as the secret of an HMAC. */
  CLEANUP_FREE char *shown = json_dumps(json_array_get(it->keys, 0), JSON_COMPACT);
  CLEANUP(jwk_free) cjose_jwk_t *secret = cjose_jwk_create_oct_spec((const uint8_t *)shown, strlen(shown), &ignored);
  CLEANUP_FREE char *hmac = sign(secret, "HS256", "r1", NULL, NULL, text);
  expect(it, hmac, NULL, ERR_UNAUTHORIZED, "none of");
}

static void test_signatures(void **state) {
  const Issuer *it = *state;
  CLEANUP_FREE char *text = payload("{}");
  CLEANUP_FREE char *good = sign(it->rsa, "RS256", "r1", NULL, NULL, text);
  CLEANUP_FREE char *strange = sign(it->stranger, "RS256", "r1", NULL, NULL, text);
  expect(it, strange, NULL, ERR_UNAUTHORIZED, "signature");
  CLEANUP_FREE char *unknown = sign(it->rsa, "RS256", "r2", NULL, NULL, text);
  expect(it, unknown, NULL, ERR_NOT_FOUND, "does not show");
  CLEANUP_FREE char *crossed = sign(it->rsa, "RS256", "e1", NULL, NULL, text); /* a key of another type */
  expect(it, crossed, NULL, ERR_NOT_FOUND, "does not show");
  /* One bit of each part, in turn. */
  for (char *at = good; *at; at++) {
    if ((at - good) % 7)
      continue;
    char kept = *at;
    if (kept == '.' || !at[1] || at[1] == '.') /* a part's last one has bits that say nothing */
      continue;
    *at = kept == 'A' ? 'B' : 'A';
    CLEANUP(json_free_of) json_t *claims = NULL;
    Error err;
    assert_int_not_equal(check_with(it, good, NULL, &claims, &err), STATUS_OK);
    *at = kept;
  }
  expect(it, good, NULL, STATUS_OK, NULL);
  CLEANUP_FREE char *cut = memory_strndup(good, (size_t)(strrchr(good, '.') - good) + 1);
  expect(it, cut, NULL, ERR_UNAUTHORIZED, "ID token");
  CLEANUP_FREE char *more = memory_format("%s.x", good);
  expect(it, more, NULL, ERR_UNAUTHORIZED, "ID token");
  CLEANUP_FREE char *large = memory_alloc(OIDC_TOKEN_LIMIT + 2);
  memset(large, 'A', OIDC_TOKEN_LIMIT + 1);
  expect(it, large, NULL, ERR_UNAUTHORIZED, "too large");
  static const char *const odd[] = {"",      ".",           "..",       "a.b.c",     "AA.AA.",
                                    "AA.AA", "AA.AA.AA.AA", "A=.AA.AA", "AA.A A.AA", "AAAAA.AA.AA"};
  for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
    expect(it, odd[i], NULL, ERR_UNAUTHORIZED, "no signed token");
  char kept = good[9];
  for (const char *p = "=+/ \n%"; *p; p++) { /* what the library would end the process for */
    good[9] = *p;
    expect(it, good, NULL, ERR_UNAUTHORIZED, "no signed token");
  }
  good[9] = kept;
}

static void test_headers_and_payloads(void **state) {
  const Issuer *it = *state;
  CLEANUP_FREE char *text = payload("{}");
  static const char *const extra[][2] = {{"crit", "[\"exp\"]"}, {"b64", "[false]"}, {"zip", "[\"DEF\"]"}};
  for (size_t i = 0; i < ARRAY_SIZE(extra); i++) {
    CLEANUP_FREE char *token = sign(it->rsa, "RS256", "r1", extra[i][0], extra[i][1], text);
    expect(it, token, NULL, ERR_UNAUTHORIZED, "header");
  }
  static const char *const headers[] = {"{\"alg\":\"RS256\",\"alg\":\"none\"}", "{\"alg\":\"RS256\",\"kid\":1}",
                                        "{\"alg\":\"RS256\",\"b64\":false}", "{\"alg\":\"RS256\""};
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
    CLEANUP_FREE char *token = unsigned_token(headers[i], text, "AAAA");
    expect(it, token, NULL, ERR_UNAUTHORIZED, "ID token");
  }
  static const char *const odd[] = {"[]", "x", "\"x\"", "{\"iss\": \"a\", \"iss\": \"b\"}", "{}{}"};
  for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
    CLEANUP_FREE char *token = sign(it->rsa, "RS256", "r1", NULL, NULL, odd[i]);
    expect(it, token, NULL, ERR_UNAUTHORIZED, "no JSON object");
  }
}

/* Two keys of a type, and a token that does not say which: not guessed. */
static void test_no_name_of_a_key(void **state) {
  Issuer it = *(Issuer *)*state;
  CLEANUP_FREE char *text = payload("{}");
  CLEANUP_FREE char *token = sign(it.rsa, "RS256", NULL, NULL, NULL, text);
  CLEANUP(json_free_of) json_t *keys = json_pack("[o, o]", public_of(it.rsa), public_of(it.stranger));
  it.keys = keys;
  expect(&it, token, NULL, ERR_NOT_FOUND, "does not show");
  json_object_set_new(json_array_get(keys, 1), "alg", json_string("PS256"));
  expect(&it, token, NULL, STATUS_OK, NULL); /* only one is for this algorithm */
}

static void test_usable_keys(void **state) {
  const Issuer *it = *state;
  cjose_err ignored;
  static const struct {
    const char *name, *value;
    bool usable;
  } changes[] = {{"use", "\"enc\"", false},         {"use", "\"sig\"", true},  {"key_ops", "[\"sign\"]", false},
                 {"key_ops", "[\"verify\"]", true}, {"d", "\"AQAB\"", false},  {"k", "\"AQAB\"", false},
                 {"kty", "\"oct\"", false},         {"n", "\"AQAB\"", false},  {"e", "\"AQABAQABAQAB\"", false},
                 {"e", "\"AQ=A\"", false},          {"e", "\"AQABA\"", false}, {"e", "null", false}};
  for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
    CLEANUP(json_free_of) json_t *jwk = public_of(it->rsa);
    json_object_set_new(jwk, changes[i].name, json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
    assert_int_equal(oidc_key_usable(jwk), changes[i].usable);
  }
  CLEANUP(jwk_free) cjose_jwk_t *small = cjose_jwk_create_RSA_random(1024, (const uint8_t *)"\1\0\1", 3, &ignored);
  CLEANUP(jwk_free) cjose_jwk_t *other = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_384, &ignored);
  CLEANUP(json_free_of) json_t *shown = json_pack("[o, o]", public_of(small), public_of(other));
  assert_false(oidc_key_usable(json_array_get(shown, 0)));
  assert_false(oidc_key_usable(json_array_get(shown, 1)));
}

/* ---- who it is ---- */

static OidcPerson person_of(const OidcSettings *settings, const char *change) {
  CLEANUP_FREE char *text = payload(change);
  CLEANUP(json_free_of) json_t *claims = json_loads(text, 0, NULL);
  OidcPerson person;
  Error err;
  assert_int_equal(oidc_person(settings, claims, NULL, &person, &err), STATUS_OK);
  return person;
}

static void test_names(void **state) {
  OidcSettings settings = ((Issuer *)*state)->settings;
  static const struct {
    const char *claim, *change, *name;
  } cases[] = {
      {"email", "{\"email\": \"ann@example.com\", \"email_verified\": true}", "ann@example.com"},
      {"email", "{\"email\": \"ann@example.com\"}", "u-17@id.example.com"}, /* nobody vouches for it */
      {"email", "{\"email\": \"ann@example.com\", \"email_verified\": \"true\"}", "u-17@id.example.com"},
      {"email", "{\"email\": \"a <b>@x\", \"email_verified\": true}", "u-17@id.example.com"},
      {"email", "{}", "u-17@id.example.com"},
      {"preferred_username", "{\"preferred_username\": \"admin\"}", "admin@id.example.com"}, /* no token's name */
      {"upn", "{\"upn\": \"ann@corp.example\"}", "ann@corp.example"},
      {"sub", "{}", "u-17@id.example.com"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    settings.name_claim = cases[i].claim;
    OidcPerson person = person_of(&settings, cases[i].change);
    assert_string_equal(person.name, cases[i].name);
    assert_string_equal(person.subject, "u-17");
  }
  settings.name_claim = "email";
  OidcPerson one = person_of(&settings, "{}"), again = person_of(&settings, "{\"email\": \"x@y\"}"),
             other = person_of(&settings, "{\"sub\": \"u-18\"}"), odd = person_of(&settings, "{\"sub\": \"a b@c\"}");
  assert_string_equal(one.key, again.key);
  assert_string_not_equal(one.key, other.key);
  assert_int_equal(strspn(odd.name, "0123456789abcdef"), 32); /* what cannot be a name is a digest */
}

static void test_grants(void **state) {
  OidcSettings settings = ((Issuer *)*state)->settings;
  static const struct {
    const char *claim, *change, *role;                                        /* NULL: nobody */
  } cases[] = {{"groups", "{\"groups\": [\"everybody\", \"dba\"]}", "admin"}, /* the first grant that fits */
               {"groups", "{\"groups\": [\"everybody\", \"pay-dev\"]}", "viewer"},
               {"groups", "{\"groups\": \"everybody\"}", "ci"},
               {"groups", "{\"groups\": [\"DBA\"]}", NULL},
               {"groups", "{\"groups\": [1, {}, null]}", NULL},
               {"groups", "{\"groups\": {\"dba\": true}}", NULL},
               {"groups", "{\"groups\": null}", NULL},
               {"realm_access.roles", "{\"realm_access\": {\"roles\": [\"dba\"]}}", "admin"},
               {"realm_access.roles", "{\"realm_access\": [\"dba\"]}", NULL},
               {"https://x.example/roles", "{\"https://x.example/roles\": [\"dba\"]}", "admin"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP_FREE char *text = payload(cases[i].change);
    CLEANUP(json_free_of) json_t *claims = json_loads(text, 0, NULL);
    OidcPerson person;
    Error err = {0};
    settings.groups_claim = cases[i].claim;
    assert_int_equal(oidc_person(&settings, claims, NULL, &person, &err), cases[i].role ? STATUS_OK : ERR_FORBIDDEN);
    if (cases[i].role)
      assert_string_equal(person.grant->role, cases[i].role);
    else
      assert_non_null(strstr(err.message, cases[i].claim));
  }
}

/* What the ID token leaves out is taken of userinfo, and nothing else is. */
static void test_two_answers(void **state) {
  OidcSettings settings = ((Issuer *)*state)->settings;
  static const struct {
    const char *claims, *userinfo;
    bool lacks;
    const char *role, *name; /* NULL: nobody */
  } cases[] = {{"{\"sub\": \"u\"}", "{\"groups\": [\"dba\"], \"email\": \"a@b\", \"email_verified\": true}", true,
                "admin", "a@b"},
               {"{\"sub\": \"u\", \"groups\": [\"pay-dev\"], \"email\": \"a@b\", \"email_verified\": true}",
                "{\"groups\": [\"dba\"], \"email\": \"c@d\", \"email_verified\": true}", false, "viewer", "a@b"},
               {"{\"sub\": \"u\", \"groups\": [\"pay-dev\"]}", "{\"groups\": [\"dba\"], \"email\": \"c@d\"}", true,
                "viewer", "u@id.example.com"},
               {"{\"sub\": \"u\", \"groups\": []}", "{\"groups\": [\"dba\"]}", true, NULL, NULL},
               {"{\"sub\": \"u\", \"groups\": null}", "{\"groups\": [\"dba\"]}", true, "admin", "u@id.example.com"},
               /* Who vouches for one address does not vouch for another. */
               {"{\"sub\": \"u\", \"groups\": [\"dba\"], \"email\": \"a@b\", \"email_verified\": false}",
                "{\"email\": \"a@b\", \"email_verified\": true}", false, "admin", "u@id.example.com"},
               {"{\"sub\": \"u\", \"groups\": [\"dba\"], \"email\": \"a@b\"}", "{\"email_verified\": true}", true,
                "admin", "u@id.example.com"},
               {"{\"sub\": \"u\"}", "{\"sub\": \"other\", \"groups\": [\"dba\"]}", true, "admin", "u@id.example.com"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP(json_free_of) json_t *claims = json_loads(cases[i].claims, 0, NULL);
    CLEANUP(json_free_of) json_t *userinfo = json_loads(cases[i].userinfo, 0, NULL);
    OidcPerson person;
    Error err = {0};
    assert_int_equal(oidc_claims_lack(&settings, claims), cases[i].lacks);
    Status status = oidc_person(&settings, claims, userinfo, &person, &err);
    assert_int_equal(status, cases[i].role ? STATUS_OK : ERR_FORBIDDEN);
    if (status)
      continue;
    assert_string_equal(person.grant->role, cases[i].role);
    assert_string_equal(person.name, cases[i].name);
    assert_string_equal(person.subject, "u");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good),
      cmocka_unit_test(test_claims),
      cmocka_unit_test(test_at_hash),
      cmocka_unit_test(test_algorithms),
      cmocka_unit_test(test_signatures),
      cmocka_unit_test(test_headers_and_payloads),
      cmocka_unit_test(test_no_name_of_a_key),
      cmocka_unit_test(test_usable_keys),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_grants),
      cmocka_unit_test(test_two_answers),
  };
  return cmocka_run_group_tests(tests, open_issuer, close_issuer);
}
