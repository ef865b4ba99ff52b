/* plan, guard and restore against a server that answers as the test says: what they conclude, and what they say of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "cli/api.h"
#include "cli/recovery.h"
#include "cli/restore.h"
#include "cli/shown.h"
#include "tests/unit/cli/support.h"

#define ID "01arz3ndektsv4rrffq69g5fav"

typedef struct Job {
  const char *json;        /* of the job */
  const char *environment; /* NULL: test */
  char asked[1024];        /* the last that was posted */
  char databases[128];
} Job;

static const char *answer(void *user, const char *request, int *status) {
  Job *job = user;
  if (strncmp(request, "POST ", 5) == 0) {
    *status = 202;
    snprintf(job->asked, sizeof job->asked, "%s", strstr(request, "\r\n\r\n") + 4);
    return "{\"id\": \"" ID "\"}";
  }
  if (strncmp(request, "GET /api/v1/jobs/", 17) == 0)
    return job->json;
  if (strncmp(request, "GET /api/v1/checkpoints", 23) == 0)
    return strstr(request, "checkpoints?") && !strstr(request, "checkpoints/" ID)
               ? "{\"checkpoints\": [{\"id\": \"" ID
                 "\", \"tag\": \"t\", \"database\": \"shop\", \"state\": \"sealed\"}]}"
               : "{\"id\": \"" ID "\", \"tag\": \"t\", \"database\": \"shop\", \"state\": \"sealed\"}";
  snprintf(job->databases, sizeof job->databases, "{\"databases\": [{\"name\": \"shop\", \"environment\": \"%s\"}]}",
           job->environment ? job->environment : "test");
  return job->databases;
}

static Run run_with(Job *job, const char *command, const char *const *words) {
  Server server;
  server_start(&server, answer, job);
  setenv("PGSEAL_TOKEN", "pgseal_secret", 1);
  Run run = run_command(server.url, command, words);
  server_stop(&server);
  return run;
}

static Run with_job(const char *json, const char *command, const char *const *words) {
  Job job = {.json = json};
  return run_with(&job, command, words);
}

#define WITH(json, command, ...) with_job(json, command, (const char *const[]){__VA_ARGS__, NULL})
#define DONE(report)                                                                                                   \
  "{\"id\": \"" ID "\", \"kind\": \"plan\", \"database\": \"shop\", \"state\": \"done\", \"report\": " report "}"
#define ENDED(state, code)                                                                                             \
  "{\"id\": \"" ID "\", \"kind\": \"plan\", \"database\": \"shop\", \"state\": \"" state                               \
  "\", \"error\": {\"code\": \"" code "\", \"message\": \"it is so\", \"remedy\": \"do this\"}}"
#define WAYS "\"ways\": [{\"way\": \"roll_forward\", \"possible\": true, \"sql\": [\"ALTER TABLE t ADD c int;\"]}]"

static void expect(Run run, int code, const char *out, const char *err) {
  if ((int)run.code != code || (out && !strstr(run.out, out)) || (err && !strstr(run.err, err)))
    fail_msg("%d, not %d: %s\n%s", run.code, code, run.out, run.err);
  run_release(&run);
}

/* Only where the report says so, nothing is lost: an empty one, or one of another form, is none that says so. */
static void test_verdicts(void **state) {
  (void)state;
  static const struct {
    const char *json;
    int code;
  } cases[] = {
      {DONE("{\"damage\": \"none\"}"), EXIT_DONE},
      {DONE("{\"damage\": \"changed\"}"), EXIT_DONE},
      {DONE("{\"damage\": \"lost\"}"), EXIT_DAMAGED},
      {DONE("{\"damage\": \"lost\", \"unread\": 3}"), EXIT_DAMAGED},
      {DONE("{\"damage\": \"changed\", \"unread\": 1}"), EXIT_ERRORED},
      {DONE("{\"damage\": \"perhaps\"}"), EXIT_ERRORED},
      {DONE("{}"), EXIT_ERRORED},
      {DONE("null"), EXIT_ERRORED},
      {ENDED("errored", "lock_timeout"), EXIT_ERRORED},
      {ENDED("canceled", "canceled"), EXIT_ERRORED},
      {ENDED("errored", "not_found"), EXIT_USAGE},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    expect(WITH(cases[i].json, "plan", "shop"), cases[i].code, NULL, NULL);
    expect(WITH(cases[i].json, "guard", "shop", "--after", "--tag", "t"), cases[i].code, NULL, NULL);
    bool lost = cases[i].code == EXIT_DAMAGED; /* reported, and nothing else is forgiven */
    expect(WITH(cases[i].json, "guard", "shop", "--after", "--tag", "t", "--on-damage", "report"),
           lost ? EXIT_DONE : cases[i].code, NULL, NULL);
  }
}

static void test_rollback_plan(void **state) {
  (void)state;
  static const char json[] = DONE("{\"damage\": \"lost\", \"advice\": \"look\", " WAYS "}");
  expect(WITH(json, "guard", "shop", "--after", "--tag", "t", "--on-damage", "rollback-plan"), EXIT_DAMAGED, NULL,
         "\nALTER TABLE t ADD c int;\n");
  Run run = WITH(json, "guard", "shop", "--after", "--tag", "t");
  assert_null(strstr(run.err, "ALTER TABLE"));
  assert_non_null(strstr(run.err, "SOMETHING IS LOST. look"));
  run_release(&run);
  expect(WITH(json, "plan", "shop"), EXIT_DAMAGED, "ALTER TABLE t ADD c int;", NULL);
}

/* What a restore that ended otherwise left behind. */
static void test_what_is_left(void **state) {
  (void)state;
#define LEFT(report)                                                                                                   \
  "{\"id\": \"" ID                                                                                                     \
  "\", \"kind\": \"restore\", \"database\": \"shop\", \"state\": \"errored\", \"started_at\": \"x\", "                 \
  "\"error\": {\"code\": \"database_lost\", \"message\": \"whether it happened is not known\"}, \"report\": " report   \
  "}"
  Run run = WITH(LEFT("{\"committed\": null}"), "restore", "shop", "--checkpoint", ID, "--table", "t");
  assert_null(strstr(run.err, "nothing was changed"));
  expect(run, EXIT_ERRORED, NULL, "is not known");
  expect(WITH(LEFT("{\"committed\": true}"), "restore", "shop", "--checkpoint", ID, "--table", "t"), EXIT_ERRORED, NULL,
         "is committed");
}

/* In production nothing is done before the name was typed: at a terminal, or by an option. What is meant is said
 * before. */
static void test_asked(void **state) {
  (void)state;
  static const char done[] = "{\"id\": \"" ID "\", \"kind\": \"restore\", \"database\": \"shop\", \"state\": \"done\", "
                             "\"report\": {\"committed\": true, \"verified\": true}}";
  static const struct {
    const char *words[10], *said;
  } cases[] = {
      {{"shop", "--checkpoint", ID, "--new-database", "copy", "--roles"},
       "makes         a new database \"copy\" on the server of shop"},
      {{"shop", "--checkpoint", ID, "--new-database", "copy", "--roles"}, "roles that the server lacks are made"},
      {{"shop", "--checkpoint", ID, "--new-database", "copy", "--replace"},
       "fills         the empty database \"copy\""},
      {{"shop", "--checkpoint", ID, "--table", "t", "--replace"}, "to schema pgseal_displaced_q69g5fav"},
      {{"shop", "--checkpoint", ID, "--table", "t", "--foreign-keys", "not-valid"}, "come back NOT VALID"},
      {{"shop", "--checkpoint", ID, "--table", "t", "--beside"}, "into schema pgseal_rescue_q69g5fav"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Job job = {.json = done, .environment = "production"};
    Run run = run_with(&job, "restore", cases[i].words);
    assert_string_equal(job.asked, "");
    assert_non_null(strstr(run.err, "nobody can be asked"));
    assert_non_null(strstr(run.err, "--yes-i-mean shop"));
    expect(run, EXIT_USAGE, NULL, cases[i].said);
    const char *words[12] = {0};
    memcpy(words, cases[i].words, sizeof cases[i].words);
    size_t count = 0;
    while (words[count])
      count++;
    words[count] = "--yes-i-mean";
    words[count + 1] = "shop";
    run = run_with(&job, "restore", words);
    assert_non_null(strstr(job.asked, "\"confirm\":\"shop\""));
    expect(run, EXIT_DONE, NULL, cases[i].said);
    words[count + 1] = "shop2";
    *job.asked = 0;
    expect(run_with(&job, "restore", words), EXIT_USAGE, NULL, "--yes-i-mean names shop2");
    assert_string_equal(job.asked, "");
  }
}

/* What a plan shows: what is gone first, no more than can be read, and nothing that is as it was. */
static void test_plan_shown(void **state) {
  (void)state;
  static const char json[] = DONE(
      "{\"damage\": \"lost\", \"advice\": \"look\", \"objects\": [{\"change\": \"missing\", \"desc\": \"VIEW\", "
      "\"schema\": \"public\", \"name\": \"v\", \"because_of\": \"public.t\"}, {\"change\": \"added\", \"name\": "
      "\"n\"}], "
      "\"columns\": [{\"change\": \"retyped\", \"schema\": \"s\", \"table\": \"t\", \"column\": \"c\", \"was\": "
      "\"int\", \"is\": \"text\"}], \"renames\": [{\"desc\": \"TABLE\", \"schema\": \"s\", \"table\": \"\", \"from\": "
      "\"a\", \"to\": \"b\"}], \"tables\": [{\"schema\": \"s\", \"name\": \"gone\", \"state\": \"missing\", \"lost\": "
      "true, "
      "\"rows_then\": 7}, {\"schema\": \"s\", \"name\": \"less\", \"state\": \"fewer\", \"lost\": true, \"rows_then\": "
      "9, "
      "\"rows_now\": 2, \"rows_missing\": 8, \"rows_changed\": 1, \"rows_new\": 3}, {\"schema\": \"s\", \"name\": "
      "\"as_it_was\", "
      "\"state\": \"same\", \"rows_then\": 5, \"rows_now\": 5}], \"ways\": [{\"way\": \"roll_forward\", \"possible\": "
      "false}]}");
  static const char *const lines[] = {
      "SOMETHING IS LOST. look\n",
      "  1 object that the checkpoint does not have\n",
      "  retyped column s.t.c: was int, is text\n",
      "  renamed TABLE s.a to b, as it seems\n",
      "  LOST    s.gone: 7 rows then, gone now\n",
      "  LOST    s.less: 9 rows then, 2 now (8 missing, 1 changed, 3 new since)\n",
      "  1 table with as many rows as then\n",
      ": not this time\n",
  };
  Run run = WITH(json, "plan", "shop");
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
    if (!strstr(run.out, lines[i]))
      fail_msg("no %s in %s", lines[i], run.out);
  assert_null(strstr(run.out, "as_it_was"));
  assert_non_null(strstr(run.out, "(with public.t)\n"));
  run_release(&run);
}

static void test_script_rows(void **state) {
  (void)state;
  static const struct {
    const char *script;
    int64_t rows;
    size_t steps;
  } cases[] = {
      {"", 0, 0},
      {"-- step 1: insert 17 rows of public.t\nINSERT;\n\n-- step 2: alter public.t\nALTER;\n\n", 17, 2},
      {"-- LEFT OUT: 9 rows of public.u, which\n-- step 1: update 3 rows of t\nUPDATE;\n\n-- step 2: insert 4 rows of "
       "t\nX;\n",
       7, 2},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    size_t steps = 99;
    assert_int_equal(restore_script_rows(cases[i].script, &steps), cases[i].rows);
    assert_int_equal(steps, cases[i].steps);
  }
}

/* Whoever may name a table may not write a line of a report. */
static void test_names_stay_in_their_line(void **state) {
  (void)state;
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  json_t *item = json_pack("{s:s, s:s, s:s}", "desc", "TABLE", "schema", "a\nb", "name", "t\nRESTORED");
  recovery_print_name(out, item);
  fclose(out);
  assert_string_equal(text, "TABLE a?b.t?RESTORED");
  json_decref(item);
  free(text);
}

/* They stay names, too, and what somebody signed stays what was signed. */
static void test_what_others_wrote(void **state) {
  (void)state;
  json_t *json = json_loads("{\"tables\": [{\"schema\": \"s\", \"name\": \"t\\nu\", \"note\": \"a\\tb\\n\\u001bc\"}],"
                            " \"sql\": [\"a\\tb\\u202e\"], \"report\": {\"mac\": \"0\", \"name\": \"t\\nu\\tv\"}}",
                            0, NULL);
  shown_json(json);
  shown_json(json); /* twice is as once */
  const json_t *table = json_array_get(json_object_get(json, "tables"), 0);
  assert_string_equal(api_text(table, "schema"), "s");
  assert_string_equal(api_text(table, "name"), "U&\"t\\000Au\"");
  assert_string_equal(api_text(table, "note"), "a\tb\n\\x1bc");
  assert_string_equal(json_string_value(json_array_get(json_object_get(json, "sql"), 0)), "a\tb\\u202e");
  assert_string_equal(api_text(json_object_get(json, "report"), "name"), "t\nu?v");
  json_decref(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_stay_in_their_line),
      cmocka_unit_test(test_what_others_wrote),
      cmocka_unit_test(test_verdicts),
      cmocka_unit_test(test_rollback_plan),
      cmocka_unit_test(test_what_is_left),
      cmocka_unit_test(test_asked),
      cmocka_unit_test(test_plan_shown),
      cmocka_unit_test(test_script_rows),
  };
  int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC); /* nobody is to be asked while tests run */
  if (terminal >= 0 && (ioctl(terminal, TIOCNOTTY) != 0 || close(terminal) != 0))
    return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
