/* GET /api/v1/reports: made in a thread, while the loop goes on; signed; for what the token sees. */
#include "tests/unit/coordinator/api/support.h"

#include <time.h>

#include "common/report/report.h"

static char key_path[128];

/* With a signing key. */
static int setup_signed(void **state) {
  Server *s = memory_alloc(sizeof *s);
  setup((void **)&s->f);
  CLEANUP_FREE char *pub = memory_format("%s/signing.pub", s->f->dir);
  snprintf(key_path, sizeof key_path, "%s/signing.key", s->f->dir);
  OK(signing_key_generate(key_path, pub, &s->f->err));
  s->f->config.signing_key = key_path;
  server_prepare(s);
  server_open(s);
  *state = s;
  return 0;
}

/* This year, so far: what the tests do is in it. */
static char *target(const char *more) {
  int64_t now = clock_wall_us();
  char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
  return memory_format("/api/v1/reports?from=%s&to=%s%s", clock_format(now - (int64_t)86400 * 1000000, from),
                       clock_format(now + (int64_t)86400 * 1000000, to), more);
}

static void proven(Server *s, const char *database) {
  char *id = stored(s->f, database, MANIFEST);
  JOB *drill = must_get(s->f, 2, DRILL);
  assert_true(drill_proven(s->f, 2, drill, MANIFEST));
  free(id);
}

static const json_t *totals(const Answer *answer, const char *part) {
  return json_object_get(json_object_get(json_object_get(answer->json, "report"), "totals"), part);
}

static void test_signed(void **state) {
  Server *s = *state;
  proven(s, "prod-api");
  CLEANUP_FREE char *all = target(""), *one = target("&database=shop"), *nobody = target("&database=nobody");
  ANSWER got = ask(s, "GET", all, NULL);
  assert_int_equal(got.status, 200);
  CLEANUP(report_file_release) ReportFile file = {0};
  uint8_t key[PUBLIC_KEY_SIZE];
  CLEANUP_FREE char *pub = memory_format("%s/signing.pub", s->f->dir);
  OK(report_read(got.body, got.size, &file, &s->f->err));
  OK(signing_public_load(pub, key, &s->f->err));
  OK(report_verify(&file, key, &s->f->err));
  OK(report_check(file.report, &s->f->err));
  assert_int_equal(json_integer_value(json_object_get(totals(&got, "drills"), "proven")), 1);
  const json_t *drill = json_array_get(json_object_get(file.report, "drills"), 0);
  assert_string_equal(text_of(drill, "proof_sha256"), PROOF); /* the chain has it */
  assert_string_equal(text_of(drill, "manifest_sha256"), MANIFEST);
  ANSWER again = ask(s, "GET", all, NULL); /* the same, to the letter: it was not made anew */
  assert_string_equal(again.body, got.body);
  ANSWER shop = ask(s, "GET", one, NULL);
  assert_int_equal(json_integer_value(json_object_get(totals(&shop, "drills"), "proven")), 0);
  assert_null(strstr(shop.body, "prod-api"));
  REFUSED(ask(s, "GET", nobody, NULL), 404, "not_found");
}

static void test_not_signed_without_a_key(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *all = target("");
  ANSWER got = ask(s, "GET", all, NULL);
  assert_int_equal(got.status, 200);
  assert_true(json_is_null(json_object_get(got.json, "signature")));
}

static void test_wrong_questions(void **state) {
  Server *s = *state;
  static const char *const wrong[] = {"/api/v1/reports",
                                      "/api/v1/reports?from=2026-10-01",
                                      "/api/v1/reports?from=2026-10-01&to=2026-10-01",
                                      "/api/v1/reports?from=2026-10-02&to=2026-10-01",
                                      "/api/v1/reports?from=2026-10-01&to=never",
                                      "/api/v1/reports?from=2001-01-01&to=2026-10-01",
                                      "/api/v1/reports?from=2997-01-01&to=2997-10-01",
                                      "/api/v1/reports?from=2026-10-01&to=2026-11-01&database=UPPER",
                                      "/api/v1/reports?from=2026-10-01&to=2026-11-01&database=shop&owner=x"};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    REFUSED(ask(s, "GET", wrong[i], NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/reports?from=2026-10-01&to=2026-11-01&owner=nobody", NULL), 404, "not_found");
}

/* Several wait at once, one of them goes away, the loop answers others meanwhile; more than there may be are refused.
 */
static void test_several_at_once(void **state) {
  Server *s = *state;
  enum { ASKED = 12 };
  proven(s, "shop");
  Client clients[ASKED];
  int made = 0, declined = 0;
  for (int i = 0; i < ASKED; i++) {
    CLEANUP_FREE char *path = memory_format("/api/v1/reports?from=2020-01-01&to=2020-01-%02d", 2 + i / 2);
    CLEANUP_FREE char *text = memory_format("GET %s HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n", path);
    clients[i] = client_open(s);
    assert_true(client_send(s, &clients[i], text, strlen(text)));
  }
  client_close(&clients[0]);
  ANSWERED(ask(s, "GET", "/healthz", NULL), 200);
  for (int i = 1; i < ASKED; i++) {
    ANSWER got = client_answer(s, &clients[i], false);
    made += got.status == 200;
    declined += got.status == 429;
    client_close(&clients[i]);
  }
  assert_int_equal(made + declined, ASKED - 1);
  assert_true(made >= 7);
}

/* Who waits is answered, and the thread is waited for. */
static void test_closing_meanwhile(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *path = target("");
  CLEANUP_FREE char *text = memory_format("GET %s HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n", path);
  CLIENT client = client_open(s);
  assert_true(client_send(s, &client, text, strlen(text)));
  while (!s->api->requests && client.in.size == 0)
    turn(s, &client);
  server_close(s);
  char piece[4096];
  ssize_t size = recv(client.fd, piece, sizeof piece, MSG_DONTWAIT);
  buffer_append(&client.in, piece, size > 0 ? (size_t)size : 0);
  const char *got = buffer_text(&client.in);
  assert_true(strncmp(got, "HTTP/1.1 503", 12) == 0 || strncmp(got, "HTTP/1.1 200", 12) == 0);
}

static void test_a_key_that_is_none(void **state) {
  Server *s = *state;
  server_close(s);
  s->f->config.signing_key = s->token_file;
  assert_int_equal(api_check(&s->f->config, &s->f->err), ERR_KEY_UNREADABLE);
  OK(uv_loop_init(&s->loop));
  assert_int_equal(api_open(&s->loop, &s->f->config, s->f->dispatch, s->f->ledger, &s->api, &s->f->err),
                   ERR_KEY_UNREADABLE);
  assert_int_equal(uv_loop_close(&s->loop), 0);
  s->api = NULL;
}

int main(void) {
  log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
#define T(test, begin) cmocka_unit_test_setup_teardown(test, begin, api_teardown)
  const struct CMUnitTest tests[] = {T(test_signed, setup_signed),         T(test_not_signed_without_a_key, api_setup),
                                     T(test_wrong_questions, api_setup),   T(test_several_at_once, api_setup),
                                     T(test_closing_meanwhile, api_setup), T(test_a_key_that_is_none, api_setup)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
