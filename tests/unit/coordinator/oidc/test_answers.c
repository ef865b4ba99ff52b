/* What an issuer answers, and what is asked of it: descriptions, keys and tokens that are taken or refused; URLs, forms
 * and the secrets of a sign-in. */
#include "tests/unit/coordinator/oidc/support.h"

#include "common/crypto/authority.h"
#include "coordinator/oidc/request.h"

static const OidcSettings settings = {.issuer = ISSUER,
                                      .client_id = CLIENT,
                                      .client_secret_file = "/a/file",
                                      .public_url = "https://pgseal.example.com",
                                      .scope = "openid email"};
static const OidcSettings local = {
    .issuer = "http://127.0.0.1:9000", .client_id = CLIENT, .public_url = "http://127.0.0.1:1"};

static char *description(const char *issuer, const char *change) {
  CLEANUP(json_free_of)
  json_t *json = json_pack(
      "{s:s, s:s, s:s, s:s, s:s, s:[s,s], s:[s], s:[s]}", "issuer", issuer, "authorization_endpoint",
      "https://id.example.com/auth?p=1", "token_endpoint", "https://id.example.com/token", "jwks_uri",
      "https://keys.example.com/", "end_session_endpoint", "https://id.example.com/end", "response_types_supported",
      "id_token", "code", "id_token_signing_alg_values_supported", "RS256", "code_challenge_methods_supported", "S256");
  CLEANUP(json_free_of) json_t *other = json_loads(change, 0, NULL);
  assert_non_null(other);
  json_object_update(json, other);
  return json_dumps(json, JSON_COMPACT);
}

static void expect(const OidcSettings *of, const char *text, const char *word) {
  OidcMetadata metadata = {0};
  Error err = {0};
  Status status = oidc_metadata_read(of, text, strlen(text), &metadata, &err);
  if ((status == STATUS_OK) != (word == NULL) || (word && !strstr(err.message, word)))
    fail_msg("%s: expected %s, got %d: %s", text, word ? word : "success", status, err.message);
  assert_true(status == STATUS_OK || !metadata.token_endpoint);
  oidc_metadata_release(&metadata);
}

static void test_descriptions(void **state) {
  (void)state;
  static const struct {
    const char *change, *word;
  } cases[] = {
      {"{}", NULL},
      {"{\"issuer\": \"https://id.example.com/other\"}", "another issuer"},
      {"{\"issuer\": \"" ISSUER "/\"}", "another issuer"},
      {"{\"issuer\": null}", "another issuer"},
      {"{\"token_endpoint\": null}", "token_endpoint is missing"},
      {"{\"token_endpoint\": \"http://id.example.com/token\"}", "token_endpoint is no https"},
      {"{\"token_endpoint\": \"http://127.0.0.1/token\"}", "token_endpoint is no https"}, /* not for a far issuer */
      {"{\"jwks_uri\": \"file:///etc/passwd\"}", "jwks_uri is no https"},
      {"{\"jwks_uri\": \"https://u:p@keys.example.com/\"}", "jwks_uri is no https"},
      {"{\"authorization_endpoint\": \"javascript:alert(1)\"}", "authorization_endpoint is no https"},
      {"{\"authorization_endpoint\": \"https://id.example.com/a#b\"}", "authorization_endpoint is no https"},
      {"{\"authorization_endpoint\": \"https://id.example.com/\\\"><b>\"}", "authorization_endpoint is no https"},
      {"{\"end_session_endpoint\": \"http://id.example.com/end\"}", "end_session_endpoint is no https"},
      {"{\"end_session_endpoint\": null}", NULL},
      {"{\"userinfo_endpoint\": \"http://id.example.com/me\"}", "userinfo_endpoint is no https"},
      {"{\"userinfo_endpoint\": \"https://id.example.com/me\"}", NULL},
      {"{\"response_types_supported\": [\"id_token\"]}", "response type"},
      {"{\"response_types_supported\": null}", "response type"},
      {"{\"code_challenge_methods_supported\": [\"plain\"]}", "PKCE"},
      {"{\"id_token_signing_alg_values_supported\": [\"none\", \"HS256\"]}", "signs by none of"},
      {"{\"id_token_signing_alg_values_supported\": [\"HS256\", \"ES256\"]}", NULL},
      {"{\"token_endpoint_auth_methods_supported\": [\"client_secret_post\"]}", "client_secret_basic"},
      {"{\"token_endpoint_auth_methods_supported\": [\"client_secret_basic\"]}", NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP_FREE char *text = description(ISSUER, cases[i].change);
    expect(&settings, text, cases[i].word);
  }
  static const char *const odd[] = {"", "[]", "null", "{\"issuer\": \"" ISSUER "\", \"issuer\": \"" ISSUER "\"}", "{"};
  for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
    expect(&settings, odd[i], "no JSON object");
  CLEANUP_FREE char *large = memory_alloc(OIDC_ANSWER_LIMIT + 2);
  memset(large, ' ', OIDC_ANSWER_LIMIT + 1);
  memcpy(large, "{}", 2);
  expect(&settings, large, "no JSON object");
}

static void test_descriptions_on_this_machine(void **state) {
  (void)state;
  CLEANUP_FREE char *near = description(local.issuer, "{\"token_endpoint\": \"http://127.0.0.1:9000/t\"}");
  expect(&local, near, NULL);
  CLEANUP_FREE char *far = description(local.issuer, "{\"token_endpoint\": \"http://127.0.0.1.example.com/t\"}");
  expect(&local, far, "token_endpoint");
  CLEANUP_FREE char *secretive =
      description(local.issuer, "{\"token_endpoint_auth_methods_supported\": [\"client_secret_basic\"]}");
  expect(&local, secretive, "every client to have a secret");
}

static void test_urls(void **state) {
  (void)state;
  static const char *const good[] = {"https://a", "https://a.example:8443/x/y?z=1", "http://localhost:1/",
                                     "http://127.9.9.9/", "http://[::1]:80/"};
  static const char *const bad[] = {"",
                                    "a",
                                    "http://a/",
                                    "http://127.evil.example/",
                                    "ftp://a/",
                                    "https://",
                                    "https://a b/",
                                    "https://a/#",
                                    "https://u@a/",
                                    "https://a/\n",
                                    "http://[::2]/",
                                    "https://\xc3\xa9/"};
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    if (!oidc_url_valid(good[i], NULL))
      fail_msg("%s is refused", good[i]);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    if (oidc_url_valid(bad[i], NULL))
      fail_msg("%s is taken", bad[i]);
}

static void test_keys(void **state) {
  (void)state;
  CLEANUP(jwk_free) cjose_jwk_t *rsa = key_of(false, "r");
  CLEANUP(json_free_of) json_t *shown = public_of(rsa);
  CLEANUP(json_free_of) json_t *set = json_pack("{s:[O, {s:s}, s]}", "keys", shown, "kty", "oct", "x");
  CLEANUP_FREE char *text = json_dumps(set, 0);
  CLEANUP(json_free_of) json_t *keys = NULL;
  Error err;
  assert_int_equal(oidc_keys_read(text, strlen(text), &keys, &err), STATUS_OK);
  assert_int_equal(json_array_size(keys), 1);
  for (int i = 0; i < OIDC_KEYS_LIMIT + 9; i++)
    json_array_append(json_object_get(set, "keys"), shown);
  CLEANUP_FREE char *many = json_dumps(set, 0);
  CLEANUP(json_free_of) json_t *bounded = NULL;
  assert_int_equal(oidc_keys_read(many, strlen(many), &bounded, &err), STATUS_OK);
  assert_int_equal(json_array_size(bounded), OIDC_KEYS_LIMIT);
  static const char *const none[] = {"", "{}", "{\"keys\": []}", "{\"keys\": {}}", "{\"keys\": [1]}", "[]"};
  json_t *out = NULL;
  for (size_t i = 0; i < ARRAY_SIZE(none); i++)
    assert_int_equal(oidc_keys_read(none[i], strlen(none[i]), &out, &err), ERR_UNAVAILABLE);
  assert_null(out);
}

static void test_tokens(void **state) {
  (void)state;
  static const struct {
    long code;
    const char *text;
    Status status;
    const char *word;
  } cases[] = {
      {200, "{\"token_type\": \"bearer\", \"id_token\": \"x\", \"access_token\": \"y\"}", STATUS_OK, ""},
      {200, "{\"token_type\": \"Bearer\", \"id_token\": \"x\"}", STATUS_OK, ""},
      {200, "{\"token_type\": \"DPoP\", \"id_token\": \"x\"}", ERR_UNAVAILABLE, "Bearer"},
      {200, "{\"id_token\": \"x\"}", ERR_UNAVAILABLE, "Bearer"},
      {200, "{\"token_type\": \"Bearer\", \"access_token\": \"x\"}", ERR_UNAVAILABLE, "without an ID token"},
      {200, "{\"token_type\": \"Bearer\", \"id_token\": 1}", ERR_UNAVAILABLE, "without an ID token"},
      {200, "<html>", ERR_UNAVAILABLE, "no JSON object"},
      {503, "{}", ERR_UNAVAILABLE, "503"},
      {400, "{\"error\": \"invalid_grant\"}", ERR_UNAUTHORIZED, "invalid_grant"},
      {401, "{\"error\": \"invalid_client\"}", ERR_UNAUTHORIZED, "invalid_client"},
      {400, "{\"error\": \"<script>\"}", ERR_UNAUTHORIZED, "an error"},
      {400, "x", ERR_UNAUTHORIZED, "an error"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    OidcTokens tokens = {0};
    Error err = {0};
    assert_int_equal(oidc_tokens_read(cases[i].code, cases[i].text, strlen(cases[i].text), &tokens, &err),
                     cases[i].status);
    if (!strstr(err.message, cases[i].word))
      fail_msg("%s: %s", cases[i].text, err.message);
    oidc_tokens_release(&tokens);
  }
}

static void test_userinfo(void **state) {
  (void)state;
  static const struct {
    long code;
    const char *text;
    Status status;
  } cases[] = {
      {200, "{\"sub\": \"u-1\", \"groups\": [\"dba\"]}", STATUS_OK},
      {200, "{\"sub\": \"u-2\", \"groups\": [\"dba\"]}", ERR_UNAUTHORIZED},
      {200, "{\"sub\": \"u-1 \"}", ERR_UNAUTHORIZED},
      {200, "{\"sub\": 1}", ERR_UNAUTHORIZED},
      {200, "{\"groups\": [\"dba\"]}", ERR_UNAUTHORIZED},
      {200, "{\"sub\": \"u-1\", \"sub\": \"u-1\"}", ERR_UNAVAILABLE},
      {200, "[]", ERR_UNAVAILABLE},
      {200, "", ERR_UNAVAILABLE},
      {401, "{\"sub\": \"u-1\"}", ERR_UNAVAILABLE},
      {204, "{\"sub\": \"u-1\"}", ERR_UNAVAILABLE},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP(json_free_of) json_t *out = NULL;
    Error err = {0};
    Status status = oidc_userinfo_read(cases[i].code, cases[i].text, strlen(cases[i].text), "u-1", &out, &err);
    if (status != cases[i].status || (status == STATUS_OK) != (out != NULL) || (status && !err.remedy[0]))
      fail_msg("%ld %s: %d, %s", cases[i].code, cases[i].text, status, err.message);
  }
}

/* ---- what is asked ---- */

static void test_bearers(void **state) {
  (void)state;
  CLEANUP(secret_text_free) char *good = oidc_bearer_header("aZ09-._~+/=");
  assert_string_equal(good, "Authorization: Bearer aZ09-._~+/=");
  static const char *const bad[] = {"", "a b", "a\r\nX: y", "a\n", "\xc3\xa9", "\""};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_null(oidc_bearer_header(bad[i]));
}

static void test_cookies(void **state) {
  (void)state;
  char cookie[OIDC_COOKIE_SIZE], other[OIDC_COOKIE_SIZE];
  OidcSecrets one, again, two;
  Error err;
  assert_int_equal(oidc_cookie_make(NOW, cookie, &err), STATUS_OK);
  assert_int_equal(oidc_cookie_make(NOW, other, &err), STATUS_OK);
  assert_true(oidc_cookie_read(cookie, NOW, &one) && oidc_cookie_read(cookie, NOW + OIDC_SECONDS - 1, &again));
  assert_true(oidc_cookie_read(other, NOW, &two));
  assert_memory_equal(&one, &again, sizeof one);
  const char *const texts[] = {one.state, one.nonce, one.verifier, one.used, two.state};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
      assert_int_equal(strcmp(texts[i], texts[j]) == 0, i == j);
  assert_null(strstr(cookie, one.state));
  assert_false(oidc_cookie_read(cookie, NOW + OIDC_SECONDS, &again));
  assert_false(oidc_cookie_read(cookie, NOW - 61, &again));
  /* Another time is another sign-in: nobody makes one last longer. */
  cookie[15] ^= 1;
  assert_true(oidc_cookie_read(cookie, NOW + 1, &again));
  assert_string_not_equal(one.state, again.state);
  static const char *const none[] = {NULL, "", "x", "000000006b49d200-", "-", "000000006b49d200"};
  for (size_t i = 0; i < ARRAY_SIZE(none); i++)
    assert_false(oidc_cookie_read(none[i], NOW, &again));
  cookie[20] = 'G';
  assert_false(oidc_cookie_read(cookie, NOW, &again));
}

static void test_requests(void **state) {
  (void)state;
  /* The example of RFC 7636, appendix B. */
  const OidcSecrets secrets = {"st", "no", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "us"};
  const OidcMetadata metadata = {.authorization_endpoint = (char *)"https://id.example.com/auth?p=1",
                                 .end_session_endpoint = (char *)"https://id.example.com/end"};
  CLEANUP_FREE char *url = oidc_authorization_url(&settings, &metadata, &secrets);
  assert_string_equal(url,
                      "https://id.example.com/auth?p=1&response_type=code&client_id=pgseal&redirect_uri=https%3A%2F%2F"
                      "pgseal.example.com%2Fapi%2Fv1%2Fsign-in%2Fcallback&scope=openid%20email&state=st&nonce=no&"
                      "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256");
  CLEANUP(secret_text_free) char *body = oidc_exchange_body(&settings, &secrets, "a&b=c");
  assert_string_equal(body,
                      "grant_type=authorization_code&code=a%26b%3Dc&redirect_uri=https%3A%2F%2Fpgseal.example.com%2F"
                      "api%2Fv1%2Fsign-in%2Fcallback&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  CLEANUP(secret_text_free) char *public = oidc_exchange_body(&local, &secrets, "c");
  assert_non_null(strstr(public, "&client_id=pgseal"));
  CLEANUP(secret_text_free) char *basic = oidc_basic_header(&settings, "p:w/");
  assert_string_equal(basic, "Authorization: Basic cGdzZWFsOnAlM0F3JTJG"); /* pgseal:p%3Aw%2F */
  CLEANUP_FREE char *leave = oidc_sign_out_url(&settings, &metadata);
  assert_string_equal(leave, "https://id.example.com/end?client_id=pgseal&post_logout_redirect_uri=https%3A%2F%2F"
                             "pgseal.example.com%2F");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_descriptions), cmocka_unit_test(test_descriptions_on_this_machine),
      cmocka_unit_test(test_urls),         cmocka_unit_test(test_keys),
      cmocka_unit_test(test_tokens),       cmocka_unit_test(test_cookies),
      cmocka_unit_test(test_requests),     cmocka_unit_test(test_userinfo),
      cmocka_unit_test(test_bearers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
