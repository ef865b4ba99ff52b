/* The commands against a server that answers as the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>

#include "tests/unit/cli/support.h"

#define ID "01arz3ndektsv4rrffq69g5fav"
#define SEALED                                                                                                         \
  "{\"id\": \"" ID "\", \"database\": \"prod-api\", \"environment\": \"production\", \"tag\": \"t\", \"state\": "      \
  "\"sealed\", \"ok\": true, \"restore_drill\": \"proven\", \"tables\": 2, \"rows\": 205000, \"seconds\": 3.2, "       \
  "\"size\": \"4.1 MB\", \"jobs\": [{\"id\": \"j1\", \"kind\": \"dump\", \"state\": \"done\"}, {\"id\": \"j2\", "      \
  "\"kind\": \"drill\", \"state\": \"done\", \"created_at\": \"2026-11-21T04:00:11.000Z\", \"finished_at\": "          \
  "\"2026-11-21T04:00:13.000Z\"}]}"
#define RUNNING                                                                                                        \
  "{\"id\": \"" ID                                                                                                     \
  "\", \"state\": \"dumping\", \"jobs\": [{\"id\": \"j1\", \"kind\": \"dump\", \"state\": \"running\", "               \
  "\"progress\": {\"phase\": \"dumping\", \"tables_done\": 1, \"tables_total\": 2, \"rows\": 9, \"bytes\": 1000, "     \
  "\"table\": \"public.t\"}}]}"
#define ERROR(code)                                                                                                    \
  "{\"ok\": false, \"error\": {\"code\": \"" code                                                                      \
  "\", \"message\": \"it is so\", \"remedy\": \"do this\", \"object\": \"public.x\"}}"

typedef struct Script {
  atomic_int calls;
  char first[4096]; /* the first request */
} Script;

static bool is(const char *request, const char *start) {
  return strncmp(request, start, strlen(start)) == 0;
}

static void remember(Script *script, const char *request) {
  if (atomic_fetch_add(&script->calls, 1) == 0)
    snprintf(script->first, sizeof script->first, "%s", request);
}

static const char *answer_sealed(void *user, const char *request, int *status) {
  remember(user, request);
  if (is(request, "POST /api/v1/checkpoints ")) {
    *status = 202;
    return "{\"id\": \"" ID "\"}";
  }
  if (is(request, "POST /api/v1/checkpoints/" ID "/drills "))
    return "{\"drill_id\": \"j2\"}";
  if (is(request, "GET /api/v1/checkpoints?"))
    return "{\"checkpoints\": [" SEALED "]}";
  return ((Script *)user)->calls < 3 ? RUNNING : SEALED;
}

/* 0.0.0.0 leads to this machine, too, but is not known to: what matters is what is known before it is asked. */
static void test_the_token_is_not_shown_to_the_network(void **state) {
  (void)state;
  static const char *const others[] = {"http://127.example.com:8420",
                                       "http://localhost.example.com",
                                       "http://127.0.0.1@example.com",
                                       "http://10.0.0.1:8420",
                                       "http://",
                                       "http://[::2]"};
  static const char *const own[] = {"http://127.0.0.1:8420", "http://localhost:8420", "http://[::1]:8420",
                                    "https://example.com"};
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    assert_true(http_is_overheard(others[i]));
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    assert_false(http_is_overheard(own[i]));
  Script script = {0};
  Server server;
  server_start(&server, answer_sealed, &script);
  char url[64];
  snprintf(url, sizeof url, "http://0.0.0.0%s", strrchr(server.url, ':'));
  setenv("PGSEAL_TOKEN", "pgseal_secret", 1);
  CLEANUP(run_release) Run refused = RUN(url, "show", ID);
  assert_int_equal(refused.code, EXIT_USAGE);
  assert_non_null(strstr(refused.err, "not shown over plain HTTP to another machine"));
  assert_non_null(strstr(refused.err, "PGSEAL_UNENCRYPTED=1"));
  assert_int_equal(script.calls, 0);
  CLEANUP(run_release) Run meant = RUN(url, "show", ID, "--unencrypted");
  assert_int_equal(meant.code, EXIT_DONE);
  assert_non_null(strstr(script.first, "Bearer pgseal_secret"));
  setenv("PGSEAL_UNENCRYPTED", "1", 1);
  CLEANUP(run_release) Run everywhere = RUN(url, "show", ID);
  assert_int_equal(everywhere.code, EXIT_DONE);
  unsetenv("PGSEAL_UNENCRYPTED");
  int calls = script.calls;
  setenv("PGSEAL_TOKEN", "", 1); /* nothing to be read */
  CLEANUP(run_release) Run bare = RUN(url, "show", ID);
  assert_int_equal(bare.code, EXIT_DONE);
  assert_true(script.calls > calls);
  server_stop(&server);
}

static void test_checkpoint_is_followed_to_its_end(void **state) {
  (void)state;
  Script script = {0};
  Server server;
  server_start(&server, answer_sealed, &script);
  setenv("PGSEAL_TOKEN", "pgseal_secret", 1);
  CLEANUP(run_release) Run run = RUN(server.url, "checkpoint", "prod-api", "--tag", "t");
  unsetenv("PGSEAL_TOKEN");
  server_stop(&server);
  assert_int_equal(run.code, EXIT_DONE);
  assert_non_null(
      strstr(run.out, "prod-api [production] \xc2\xb7 PROVEN \xc2\xb7 2 tables \xc2\xb7 205k rows \xc2\xb7 3.2 s\n"));
  assert_non_null(strstr(run.err, "dump   dumping     1/2 tables  9 rows  1.0 kB  public.t"));
  assert_null(strchr(run.err, '\x1b')); /* no terminal, no redrawing */
  assert_non_null(strstr(script.first, "Authorization: Bearer pgseal_secret\r\n"));
  assert_non_null(strstr(script.first, "Idempotency-Key: "));
  assert_non_null(strstr(script.first, "\"wait\":false"));
  assert_null(strstr(run.out, "secret"));
  assert_null(strstr(run.err, "secret"));
}

static void test_drill_is_found_by_tag(void **state) {
  (void)state;
  Script script = {.calls = 3};
  Server server;
  server_start(&server, answer_sealed, &script);
  CLEANUP(run_release) Run run = RUN(server.url, "drill", "t");
  CLEANUP(run_release) Run asked = RUN(server.url, "checkpoint", "prod-api", "--tag", "t", "--no-wait");
  CLEANUP(run_release) Run json = RUN(server.url, "show", ID, "--json");
  CLEANUP(run_release) Run shown = RUN(server.url, "show", ID);
  server_stop(&server);
  assert_int_equal(run.code, EXIT_DONE);
  assert_non_null(strstr(run.out, "PROVEN \xc2\xb7 2 tables \xc2\xb7 205k rows \xc2\xb7 2.0 s")); /* of the drill */
  assert_string_equal(asked.out, ID "\n");
  json_t *parsed = json_loads(json.out, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(parsed, "tag")), "t");
  json_decref(parsed);
  assert_string_equal(json.err, "");
  assert_non_null(strstr(shown.out, "restore drill  PROVEN"));
}

static const char *answer_condemned(void *user, const char *request, int *status) {
  (void)user;
  (void)status;
  if (is(request, "POST"))
    return "{\"id\": \"" ID "\"}";
  return "{\"id\": \"" ID "\", \"state\": \"failed\", \"database\": \"d\\u001b[31m\", \"error\": {\"code\": "
         "\"row_security\", \"message\": \"two\\nlines\", \"remedy\": \"do this\", \"object\": \"public.x\"}}";
}

static void test_condemned_checkpoint(void **state) {
  (void)state;
  Server server;
  server_start(&server, answer_condemned, NULL);
  CLEANUP(run_release) Run run = RUN(server.url, "checkpoint", "d", "--tag", "t");
  server_stop(&server);
  assert_int_equal(run.code, EXIT_FAILED);
  assert_non_null(strstr(run.out, "d\\x1b[31m \xc2\xb7 FAILED \xc2\xb7 row_security")); /* escapes do not pass */
  assert_non_null(strstr(run.err, "row_security: two\\nlines\n  object: public.x\n  remedy: do this\n"));
}

static const char *answer_with(void *user, const char *request, int *status) {
  const char **script = user;
  (void)request;
  *status = (int)strtol(script[0], NULL, 10);
  return script[1];
}

static void test_errors_become_exit_codes(void **state) {
  (void)state;
  static const struct {
    const char *script[2];
    ExitCode code;
    const char *says;
  } cases[] = {
      {{"401", ERROR("unauthorized")},
       EXIT_UNREACHABLE,
       "it is so (unauthorized)\n  object: public.x\n  remedy: do this\n"},
      {{"403", ERROR("forbidden")}, EXIT_UNREACHABLE, "(forbidden)"},
      {{"404", ERROR("not_found")}, EXIT_USAGE, "(not_found)"},
      {{"409", ERROR("conflict")}, EXIT_ERRORED, "(conflict)"},
      {{"500", ERROR("table_unreadable")}, EXIT_FAILED, "(table_unreadable)"},
      {{"500", ERROR("of_the_future")}, EXIT_ERRORED, "of_the_future: it is so"},
      {{"503", "<html>"}, EXIT_UNREACHABLE, "not as a pgseal coordinator does"},
      {{"200", "<html>"}, EXIT_ERRORED, "not as a pgseal coordinator does"},
      {{"302", ""}, EXIT_ERRORED, "answered 302"},
      {{"401", ""}, EXIT_UNREACHABLE, "(unauthorized)"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Server server;
    server_start(&server, answer_with, (void *)cases[i].script);
    CLEANUP(run_release) Run run = RUN(server.url, "databases", "--json");
    server_stop(&server);
    assert_int_equal(run.code, cases[i].code);
    assert_non_null(strstr(run.err, cases[i].says));
    json_t *parsed = json_loads(run.out, 0, NULL);
    assert_true(json_is_false(json_object_get(parsed, "ok")));
    json_decref(parsed);
  }
}

static const char *answer_after_a_restart(void *user, const char *request, int *status) {
  int call = atomic_fetch_add(&((Script *)user)->calls, 1);
  if (call == 0 || call == 3)
    return NULL; /* hangs up */
  if (call == 1 || call == 4) {
    *status = 503;
    return ERROR("unavailable");
  }
  return is(request, "POST") ? "{\"id\": \"" ID "\"}" : SEALED;
}

static void test_restarts_are_survived(void **state) {
  (void)state;
  Script script = {0};
  Server server;
  server_start(&server, answer_after_a_restart, &script);
  CLEANUP(run_release) Run run = RUN(server.url, "checkpoint", "d", "--tag", "t");
  server_stop(&server);
  assert_int_equal(run.code, EXIT_DONE);
  assert_non_null(strstr(run.err, "trying again for 60 s"));
  assert_non_null(strstr(run.err, "does not answer"));
  assert_non_null(strstr(run.err, "is back"));
}

static void test_patience_ends(void **state) {
  (void)state;
  CLEANUP(run_release) Run run = RUN("http://127.0.0.1:9", "checkpoint", "d", "--tag", "t", "--patience", "1");
  assert_int_equal(run.code, EXIT_UNREACHABLE);
  CLEANUP(run_release) Run wrong = RUN("ftp://x", "status", "--json");
  assert_int_equal(wrong.code, EXIT_USAGE);
}

static void *interrupt_soon(void *user) {
  usleep(700000);
  kill(getpid(), SIGINT);
  return user;
}

static const char *answer_running(void *user, const char *request, int *status) {
  (void)user;
  (void)status;
  return is(request, "POST") ? "{\"id\": \"" ID "\"}" : RUNNING;
}

static void test_interrupt_detaches(void **state) {
  (void)state;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, NULL); /* in the threads of this test, too */
  Server server;
  server_start(&server, answer_running, NULL);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, NULL), 0);
  CLEANUP(run_release) Run run = RUN(server.url, "checkpoint", "d", "--tag", "t");
  pthread_join(thread, NULL);
  server_stop(&server);
  assert_int_equal(run.code, EXIT_ERRORED);
  assert_non_null(strstr(run.err, "detached; the checkpoint goes on"));
  assert_non_null(strstr(run.err, "pgseal show " ID));
}

static const char *answer_fleet(void *user, const char *request, int *status) {
  (void)user;
  (void)status;
  if (is(request, "GET /api/v1/databases?after=empty"))
    return "{\"databases\": [{\"name\": \"second-page\", \"newest\": null, \"newest_sealed\": {}, \"objectives\": "
           "{\"restore_time_met\": "
           "false, \"proof_age_seconds\": 60, \"proof_age_met\": false, "
           "\"data_loss_met\": true, \"schedule_meets_data_loss\": false}}]}";
  if (is(request, "GET /api/v1/databases"))
    return "{\"databases\": [{\"name\": \"prod-api\", \"environment\": \"production\", \"owner\": \"team\", "
           "\"newest\": " SEALED
           ", \"objectives\": {\"data_loss_met\": true}}, {\"name\": \"empty\", \"newest\": null, \"newest_sealed\": "
           "null, \"objectives\": {\"proof_age_seconds\": 60, \"proof_age_met\": null}}], "
           "\"next\": \"empty\"}";
  if (is(request, "GET /api/v1/agents"))
    return "{\"agents\": [{\"name\": \"a1\", \"live\": true, \"capabilities\": [\"dump\", \"drill\"], \"jobs\": "
           "[\"j\"]}]}";
  if (is(request, "GET /api/v1/ledger?after=0"))
    return "{\"events\": [{\"sequence\": 1, \"kind\": \"a\", \"database\": \"d\"}, {\"sequence\": 2, \"kind\": "
           "\"b\"}]}";
  if (is(request, "GET /api/v1/ledger?after=2"))
    return "{\"events\": [{\"sequence\": 3, \"kind\": \"c\", \"database\": \"d\"}]}";
  if (is(request, "GET /api/v1/ledger"))
    return "{\"events\": []}";
  if (is(request, "GET /api/v1/tokens"))
    return "{\"tokens\": [{\"name\": \"ci\", \"role\": \"ci\", \"databases\": [\"prod-*\", \"shop\"], "
           "\"created_at\": \"2026-01-01T00:00:00.000Z\", \"expires_at\": \"2026-01-02T00:00:00.000Z\"}]}";
  if (is(request, "POST /api/v1/tokens/ci/rotate"))
    return strstr(request, "{\"overlap\":5400,\"expires_in\":7776000}") ? "{\"token\": \"pgseal_rotated\"}" : "{}";
  if (strstr(request, "\"databases\":[\"prod-*\",\"shop\"]"))
    return "{\"name\": \"x\", \"token\": \"pgseal_limited\"}";
  if (is(request, "POST /api/v1/tokens"))
    return "{\"name\": \"ci\", \"token\": \"pgseal_new\"}";
  return "{\"checkpoints\": [" SEALED "]}";
}

static void test_fleet(void **state) {
  (void)state;
  Server server;
  server_start(&server, answer_fleet, NULL);
  CLEANUP(run_release) Run status = RUN(server.url, "status", NULL);
  CLEANUP(run_release) Run checked = RUN(server.url, "status", "--check");
  CLEANUP(run_release) Run ledger = RUN(server.url, "ledger", "--database", "prod-api");
  CLEANUP(run_release) Run events = RUN(server.url, "ledger", "--events", "--limit", "2");
  CLEANUP(run_release) Run chain = RUN(server.url, "ledger", "--json", "--database", "d");
  CLEANUP(run_release) Run token = RUN(server.url, "token create", "--name", "ci");
  server_stop(&server);
  assert_non_null(strstr(status.out, "prod-api [production]"));
  assert_non_null(strstr(status.out, "empty                  -      none"));
  assert_non_null(strstr(status.out, "second-page"));
  assert_non_null(strstr(status.out, "proof too old, restores too slow, schedule too seldom\n"));
  assert_non_null(strstr(status.out, "met\n"));
  assert_non_null(strstr(status.out, "\n2 databases do not meet an objective of their policies.\n"));
  assert_int_equal(status.code, EXIT_DONE);
  assert_int_equal(checked.code, EXIT_FAILED);
  assert_non_null(strstr(checked.out, "proof too old"));
  assert_non_null(strstr(status.out, "a1     live   dump,drill    1"));
  assert_non_null(
      strstr(ledger.out, "PROVEN \xc2\xb7 2 tables \xc2\xb7 205k rows \xc2\xb7 3.2 s \xc2\xb7 t \xc2\xb7 " ID));
  assert_null(strstr(events.out, "\n1 "));
  assert_non_null(strstr(events.out, "\n3 "));
  json_t *parsed = json_loads(chain.out, 0, NULL);
  assert_int_equal(json_array_size(json_object_get(parsed, "events")), 2);
  json_decref(parsed);
  assert_string_equal(token.out, "pgseal_new\n");
}

static void test_tokens(void **state) {
  (void)state;
  Server server;
  server_start(&server, answer_fleet, NULL);
  CLEANUP(run_release)
  Run limited = RUN(server.url, "token create", "--name", "x", "--databases", "prod-*", "--databases", "shop");
  CLEANUP(run_release) Run rotated = RUN(server.url, "token rotate", "ci", "--overlap", "90m", "--expires", "90d");
  CLEANUP(run_release) Run list = RUN(server.url, "token list", NULL);
  CLEANUP(run_release) Run bad_time = RUN(server.url, "token rotate", "ci", "--overlap", "soon");
  CLEANUP(run_release) Run bad_expiry = RUN(server.url, "token create", "--name", "x", "--expires", "3 months");
  CLEANUP(run_release) Run bad_role = RUN(server.url, "token create", "--name", "x", "--role", "root");
  server_stop(&server);
  assert_string_equal(limited.out, "pgseal_limited\n");
  assert_string_equal(rotated.out, "pgseal_rotated\n");
  assert_non_null(strstr(list.out, "prod-* shop"));
  assert_non_null(strstr(list.out, "expired"));
  assert_int_equal(bad_time.code, EXIT_USAGE);
  assert_non_null(strstr(bad_time.err, "'soon'"));
  assert_int_equal(bad_expiry.code, EXIT_USAGE);
  assert_int_equal(bad_role.code, EXIT_USAGE);
}

static void test_usage(void **state) {
  (void)state;
  CLEANUP(run_release) Run no_tag = RUN(NULL, "checkpoint", "d");
  assert_int_equal(no_tag.code, EXIT_USAGE);
  assert_non_null(strstr(no_tag.err, "--tag is missing"));
  CLEANUP(run_release) Run bad_tag = RUN(NULL, "checkpoint", "d", "--tag", "a\nb");
  assert_int_equal(bad_tag.code, EXIT_USAGE);
  for (size_t i = 0; i < cli_command_count; i++) {
    CLEANUP(run_release) Run help = RUN(NULL, cli_commands[i].name, "--help");
    assert_int_equal(help.code, EXIT_DONE);
    assert_memory_equal(help.out, "Usage: pgseal ", 14);
    CLEANUP_FREE char *example = memory_format("\n  pgseal %s", cli_commands[i].name);
    if (strcmp(cli_commands[i].name, "doctor") != 0) /* whose example begins with sudo */
      assert_non_null(strstr(help.out, example));
    for (const char *line = help.out; *line; line += strcspn(line, "\n") + 1) { /* but the usage's fits a terminal */
      size_t length = strcspn(line, "\n");
      assert_true(line[length] == '\n' && (length <= 120 || line == help.out) && (!length || line[length - 1] != ' '));
    }
    CLEANUP(run_release) Run wrong = RUN(NULL, cli_commands[i].name, "--hlep");
    assert_int_equal(wrong.code, EXIT_USAGE);
    assert_non_null(strstr(wrong.err, "did you mean --help?"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_token_is_not_shown_to_the_network),
      cmocka_unit_test(test_checkpoint_is_followed_to_its_end),
      cmocka_unit_test(test_drill_is_found_by_tag),
      cmocka_unit_test(test_condemned_checkpoint),
      cmocka_unit_test(test_errors_become_exit_codes),
      cmocka_unit_test(test_restarts_are_survived),
      cmocka_unit_test(test_patience_ends),
      cmocka_unit_test(test_interrupt_detaches),
      cmocka_unit_test(test_fleet),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_usage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
