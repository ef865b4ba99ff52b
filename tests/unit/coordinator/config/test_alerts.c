/* The section `alerts` of coordinator.yaml: what is taken, what is refused, and that secrets are only named there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "coordinator/config.h"

typedef struct Fixture {
  char dir[64];
  CoordinatorConfig *config;
  Error err;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-alerts-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  coordinator_config_free(f->config);
  assert_int_equal(file_remove_tree(f->dir, &f->err), STATUS_OK);
  free(f);
  return 0;
}

static void put(Fixture *f, const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", f->dir, name);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), &f->err), STATUS_OK);
}

static Status load(Fixture *f, const char *alerts) {
  char path[128];
  char *text = memory_format("databases: [{name: shop}]\nalerts: %s\n", alerts);
  put(f, "coordinator.yaml", text);
  free(text);
  snprintf(path, sizeof path, "%s/coordinator.yaml", f->dir);
  coordinator_config_free(f->config);
  f->config = NULL;
  return coordinator_config_load(path, &f->config, &f->err);
}

static void refuse(Fixture *f, const char *route, const char *what) {
  char *text = memory_format("{routes: [%s]}", route);
  Status status = load(f, text);
  if (status != ERR_CONFIG || !strstr(f->err.message, what) || !strstr(f->err.message, "coordinator.yaml"))
    fail_msg("status %d, message '%s', wanted '%s' of %s", status, f->err.message, what, route);
  free(text);
}

static void test_taken(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "{default: [hook], fallen_percent: 50, table_fallen_rows: 7, "
                           "table_fallen_except: ['queue.*', 'shop:public.q'], routes: ["
                           "{name: hook, type: webhook, url: 'https://a.example/x', key_file: k/hook.key},"
                           "{name: chat, type: slack, url_file: chat.url},"
                           "{name: page, type: pagerduty, key_file: page.key},"
                           "{name: mail, type: email, url: 'smtps://m.example', from: a@b.c, to: [d@e.f, g@h.i]},"
                           "{name: dog, type: ping, url: 'http://127.0.0.1:1/', every_seconds: 5}]}"),
                   STATUS_OK);
  const AlertSettings *s = &f->config->alerts;
  assert_int_equal(s->route_count, 5);
  assert_int_equal(s->fallen_percent, 50);
  assert_true(s->table_percent == 50 && s->table_rows == 7 && s->table_except_count == 2);
  assert_string_equal(s->table_except[1], "shop:public.q");
  assert_int_equal(s->group_seconds, 10);
  assert_int_equal(s->repeat_hours, 24);
  assert_string_equal(s->fallback[0], "hook");
  const AlertRoute *hook = alert_route(s, "hook"), *mail = alert_route(s, "mail");
  assert_string_equal(hook->key_file + strlen(f->dir), "/k/hook.key");
  assert_int_equal(mail->to_count, 2);
  assert_string_equal(alert_route(s, "page")->url, "https://events.pagerduty.com/v2/enqueue");
  assert_int_equal(alert_route(s, "dog")->every_seconds, 5);
  assert_null(alert_route(s, "nobody"));
}

static void test_refused(void **state) {
  Fixture *f = *state;
  refuse(f, "{name: A, type: slack, url_file: u}", "route name 'A' is not valid");
  refuse(f, "{name: a, type: sms, url_file: u}", "type must be webhook");
  refuse(f, "{name: a, type: slack, url: 'https://hooks.example/T0KEN'}",
         "url is nothing that a route of type slack has");
  refuse(f, "{name: a, type: slack}", "url_file is missing");
  refuse(f, "{name: a, type: webhook, url: 'https://a/'}", "key_file is missing");
  refuse(f, "{name: a, type: webhook, key_file: k}", "url or url_file is missing");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'https://a/', url_file: u}", "one of them");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'http://a/'}", "not encrypted");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'http://127.example.com/'}", "not encrypted");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'file:///etc/passwd'}", "it is no URL");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'https://u:secret@a/'}", "user's name");
  refuse(f, "{name: a, type: webhook, key_file: k, url: 'a b'}", "spaces or control");
  refuse(f, "{name: a, type: email, url: 'https://m', from: a@b, to: [c@d]}", "smtp://");
  refuse(f, "{name: a, type: email, url: 'smtp://m', from: a@b, to: ['c@d>, <e@f']}", "no e-mail address");
  refuse(f, "{name: a, type: email, url: 'smtp://m', from: \"a@b\\r\\nBcc: x@y\", to: [c@d]}", "no e-mail address");
  refuse(f, "{name: a, type: email, url: 'smtp://m', from: a@b, to: [c@d], user: u}", "both, or none");
  refuse(f, "{name: a, type: ping, url: 'https://a/', every_seconds: 0}", "between 1 and 86400");
  refuse(f, "{name: a, type: ping, url: 'https://a/', colour: red}", "colour");
  refuse(f, "{name: a, type: slack, url_file: u}, {name: a, type: slack, url_file: u}", "twice");
  assert_null(strstr(f->err.message, "secret"));
  assert_int_equal(load(f, "{default: [a]}"), ERR_CONFIG);
  assert_int_equal(load(f, "{default: [a], routes: [{name: a, type: ping, url: 'https://a/'}]}"), ERR_CONFIG);
  assert_non_null(strstr(f->err.message, "a ping is no route"));
  assert_int_equal(load(f, "{link: 'javascript:alert(1)'}"), ERR_CONFIG);
  assert_int_equal(load(f, "{fallen_percent: 0}"), ERR_CONFIG);
  assert_int_equal(load(f, "{table_fallen_percent: 101}"), ERR_CONFIG);
  assert_int_equal(load(f, "{table_fallen_rows: 0}"), ERR_CONFIG);
}

/* What the files hold is checked without being told. */
static void test_files(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "{routes: [{name: a, type: webhook, url_file: u, key_file: k}]}"), STATUS_OK);
  const AlertSettings *s = &f->config->alerts;
  const struct {
    const char *url, *key, *says;
  } cases[] = {{"http://elsewhere/T0KEN\n", "0123456789abcdef", "not encrypted"},
               {"https://a/T0KEN\nX: y\n", "0123456789abcdef", "control characters"},
               {"gopher://a/T0KEN", "0123456789abcdef", "must begin with https://"},
               {"https://a/T0KEN\n", "T0KEN", "less than 16 characters"},
               {"https://a/T0KEN\n", "", "is empty"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put(f, "u", cases[i].url);
    put(f, "k", cases[i].key);
    assert_int_equal(alert_settings_check(s, &f->err), ERR_CONFIG);
    if (!strstr(f->err.message, cases[i].says) || !strstr(f->err.message, "route a") || strstr(f->err.message, "T0KEN"))
      fail_msg("%s: %s", cases[i].says, f->err.message);
  }
  put(f, "k", "0123456789abcdef\n");
  assert_int_equal(alert_settings_check(s, &f->err), STATUS_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
      cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
      cmocka_unit_test_setup_teardown(test_files, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
