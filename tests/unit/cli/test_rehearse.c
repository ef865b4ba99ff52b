/* pgseal rehearse against a server that answers as the test says: whom it believes, what it makes of a report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>

#include "tests/unit/cli/support.h"

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/rehearsal/secret.h"

#define ID "01arz3ndektsv4rrffq69g5fav"
#define SECRET "LdIkuBN5oGYBlsz8WdaFdpGwxpbtroRRI7aISEX6hpw="
#define PEM "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"

typedef struct Script {
  const char *verdict; /* NULL: it offers a copy, with this mac */
  const char *mac;
  atomic_bool canceled;
  enum { HONEST, ALTERED, ANOTHER, UNSIGNED } report; /* another: of an earlier rehearsal */
  char answer[4096], body[4096];
} Script;

/* What the agent makes of it, as the coordinator passes it on. */
static void vouch(Script *script) {
  RehearsalSecret *secret = NULL;
  Error err;
  char mac[REHEARSAL_MAC_SIZE];
  json_t *job = json_loads(script->answer, 0, NULL), *report = json_object_get(job, "report"),
         *body = json_loads(script->body, 0, NULL);
  const char *nonce = script->report == ANOTHER ? "n" : json_string_value(json_object_get(body, "nonce"));
  assert_int_equal(rehearsal_secret_parse(SECRET, &secret, &err), STATUS_OK);
  rehearsal_report_mac(secret, nonce, report, mac);
  if (script->report != UNSIGNED)
    json_object_set_new(report, "mac", json_string(mac));
  if (script->report == ALTERED)
    json_object_set_new(report, "verdict", json_string("clean"));
  CLEANUP_FREE char *text = json_dumps(job, JSON_REAL_PRECISION(15));
  snprintf(script->answer, sizeof script->answer, "%s", text);
  rehearsal_secret_free(secret);
  json_decref(job);
  json_decref(body);
}

static const char *answer(void *user, const char *request, int *status) {
  Script *script = user;
  if (strncmp(request, "POST /api/v1/rehearsals ", 24) == 0) {
    *status = 202;
    snprintf(script->body, sizeof script->body, "%s", strstr(request, "\r\n\r\n") + 4);
    return "{\"id\": \"" ID "\"}";
  }
  if (strncmp(request, "POST /api/v1/jobs/" ID "/cancel ", 33) == 0) {
    atomic_store(&script->canceled, true);
    return "{}";
  }
  if (!script->verdict)
    snprintf(script->answer, sizeof script->answer,
             "{\"id\": \"" ID "\", \"state\": \"running\", \"progress\": {\"phase\": \"rehearsing\", \"tunnel\": "
             "{\"certificate\": \"" PEM "\", \"mac\": \"%s\", \"role\": \"r\", \"database\": \"d\", \"seconds\": 60}}}",
             script->mac);
  else
    snprintf(
        script->answer, sizeof script->answer,
        "{\"id\": \"" ID "\", \"kind\": \"rehearse\", \"database\": \"shop\", \"tag\": \"t\", \"state\": \"done\", "
        "\"report\": {\"verdict\": \"%s\", \"seconds\": 1.5, \"findings\": ["
        "{\"danger\": false, \"kind\": \"renamed\", \"object\": \"TABLE public.note\", \"detail\": \"it is called x\"},"
        "{\"danger\": true, \"kind\": \"object_lost\", \"object\": \"TABLE public.\\\"a|b<i>\\\"\", \"detail\": "
        "\"gone\\u001b[2J\", \"remedy\": \"see\"}]}}",
        script->verdict);
  if (script->verdict)
    vouch(script);
  return script->answer;
}

typedef struct Place {
  char dir[64], sql[96], summary[96], ran[96];
} Place;

static int setup(void **state) {
  Place *place = memory_alloc(sizeof *place);
  Error err;
  snprintf(place->dir, sizeof place->dir, "/tmp/pgseal-test-rehearse-XXXXXX");
  assert_non_null(mkdtemp(place->dir));
  snprintf(place->sql, sizeof place->sql, "%s/a.sql", place->dir);
  snprintf(place->summary, sizeof place->summary, "%s/summary.md", place->dir);
  snprintf(place->ran, sizeof place->ran, "%s/ran", place->dir);
  assert_int_equal(file_write_atomic(place->sql, 0600, "SELECT 1;\n", 10, &err), STATUS_OK);
  setenv("PGSEAL_REHEARSE_SECRET", SECRET, 1);
  *state = place;
  return 0;
}

static int teardown(void **state) {
  Place *place = *state;
  Error err;
  unsetenv("PGSEAL_REHEARSE_SECRET");
  assert_int_equal(file_remove_tree(place->dir, &err), STATUS_OK);
  free(place);
  return 0;
}

/* What is asked is signed, all of it; and what the verdict means. */
static void test_verdicts(void **state) {
  Place *place = *state;
  static const struct {
    const char *verdict;
    ExitCode code;
  } cases[] = {{"clean", EXIT_DONE}, {"dangerous", EXIT_DAMAGED}, {"failed", EXIT_FAILED}, {"?", EXIT_ERRORED}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Script script = {.verdict = cases[i].verdict};
    Server server;
    server_start(&server, answer, &script);
    CLEANUP(run_release)
    Run run = RUN(server.url, "rehearse", "shop", "--sql", place->sql, "--lock-seconds", "2", "--allow", "lock");
    server_stop(&server);
    assert_int_equal(run.code, cases[i].code);
    json_t *body = json_loads(script.body, 0, NULL);
    RehearsalSecret *secret = NULL;
    Error err;
    assert_int_equal(rehearsal_secret_parse(SECRET, &secret, &err), STATUS_OK);
    char mac[REHEARSAL_MAC_SIZE];
    rehearsal_request_mac(secret, body, mac);
    assert_string_equal(mac, json_string_value(json_object_get(body, "mac")));
    assert_int_equal(json_integer_value(json_object_get(body, "lock_seconds")), 2);
    assert_null(json_object_get(body, "tunnel"));
    rehearsal_secret_free(secret);
    json_decref(body);
    assert_null(strstr(run.out, "\x1b"));
    assert_null(strstr(script.body, SECRET));
  }
}

/* A coordinator that is not to be trusted: the step does not pass, and nothing of such a report is shown. */
static void test_a_report_of_somebody_else(void **state) {
  Place *place = *state;
  for (int report = ALTERED; report <= UNSIGNED; report++) {
    Script script = {.verdict = report == ALTERED ? "dangerous" : "clean", .report = report};
    Server server;
    server_start(&server, answer, &script);
    CLEANUP(run_release)
    Run run = RUN(server.url, "rehearse", "shop", "--sql", place->sql, "--summary", place->summary);
    server_stop(&server);
    assert_int_equal(run.code, EXIT_UNREACHABLE);
    assert_non_null(strstr(run.err, "it says nothing of the migration"));
    assert_string_equal(run.out, "");
    assert_false(file_exists(place->summary));
  }
}

/* Nothing in it is markup, or ends a cell. */
static void test_summary(void **state) {
  Place *place = *state;
  Script script = {.verdict = "dangerous"};
  Server server;
  Error err;
  server_start(&server, answer, &script);
  CLEANUP(run_release) Run run = RUN(server.url, "rehearse", "shop", "--sql", place->sql, "--summary", place->summary);
  server_stop(&server);
  assert_int_equal(run.code, EXIT_DAMAGED);
  CLEANUP_FREE char *page = NULL;
  assert_int_equal(file_read_text(place->summary, 1 << 16, &page, &err), STATUS_OK);
  assert_non_null(strstr(page, "### pgseal rehearse: DANGEROUS\n"));
  assert_non_null(strstr(page, "| **danger** | object&#95;lost | TABLE public&#46;\"a&#124;b&#60;i&#62;\" | gone"));
  assert_null(strstr(page, "\x1b"));
}

/* A copy of whoever has not the secret: the command is not run, and the job is not left to itself. */
static void test_an_offer_of_somebody_else(void **state) {
  Place *place = *state;
  static const char *const macs[] = {"", "0000000000000000000000000000000000000000000000000000000000000000"};
  for (size_t i = 0; i < ARRAY_SIZE(macs); i++) {
    Script script = {.mac = macs[i]};
    Server server;
    server_start(&server, answer, &script);
    CLEANUP(run_release) Run run = RUN(server.url, "rehearse", "shop", "--", "touch", place->ran);
    server_stop(&server);
    assert_int_equal(run.code, EXIT_UNREACHABLE);
    assert_non_null(strstr(run.err, "not of an agent that has the secret: nothing was run"));
    assert_false(file_exists(place->ran));
    assert_true(atomic_load(&script.canceled));
  }
}

static void test_usage(void **state) {
  Place *place = *state;
  static const char *const wrong[][6] = {
      {"shop"},
      {"shop", "--sql", "a.sql", "--command", "x"},
      {"--command", "x"},
      {"shop", "--command", "x", "--tag", "t"},
      {"shop", "--command", "x", "--fresh", "--checkpoint"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    CLEANUP(run_release) Run run = run_command("http://127.0.0.1:1", "rehearse", wrong[i]);
    assert_int_equal(run.code, EXIT_USAGE);
  }
  unsetenv("PGSEAL_REHEARSE_SECRET");
  CLEANUP(run_release) Run none = RUN("http://127.0.0.1:1", "rehearse", "shop", "--sql", place->sql);
  assert_int_equal(none.code, EXIT_USAGE);
  assert_non_null(strstr(none.err, "PGSEAL_REHEARSE_SECRET"));
  setenv("PGSEAL_REHEARSE_SECRET", "tooshort", 1);
  CLEANUP(run_release) Run bad = RUN("http://127.0.0.1:1", "rehearse", "shop", "--sql", place->sql);
  assert_int_equal(bad.code, EXIT_USAGE);
  assert_null(strstr(bad.err, "tooshort"));
  CLEANUP(run_release) Run made = RUN(NULL, "rehearse", "--new-secret");
  RehearsalSecret *secret = NULL;
  Error err;
  made.out[strcspn(made.out, "\n")] = 0;
  assert_int_equal(rehearsal_secret_parse(made.out, &secret, &err), STATUS_OK);
  rehearsal_secret_free(secret);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_verdicts), T(test_a_report_of_somebody_else), T(test_summary), T(test_an_offer_of_somebody_else),
      T(test_usage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
