/* What `pgseal dev` writes, and what it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "cli/dev.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "tests/unit/cli/support.h"

static int setup(void **state) {
  char *dir = memory_strdup("/tmp/pgseal-test-dev-XXXXXX");
  *state = dir;
  return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
  Error err;
  Status status = file_remove_tree(*state, &err);
  free(*state);
  return status == STATUS_OK ? 0 : -1;
}

/* One run up to the point where the daemons would be started. */
static Status plan(const char *dir, const char *const *databases, const char *production, const char *http,
                   Error *err) {
  Dev dev = {.lock_fd = -1, .dir_option = dir, .http = http, .engine = "local"};
  Cli cli = {0};
  const char *images[] = {"15=registry/pg:15 'x'"};
  while (databases[dev.database_options.count])
    dev.database_options.count++;
  dev.database_options.items = (const char **)databases;
  dev.image_options = (OptionList){images, 1};
  dev.production_options = (OptionList){&production, production ? 1 : 0};
  Status status = dev_plan(&dev, err);
  if (status == STATUS_OK)
    status = dev_choose_ports(&dev, err);
  if (status == STATUS_OK)
    status = dev_write(&cli, &dev, err);
  dev.database_options = dev.image_options = dev.production_options = (OptionList){0}; /* the test's own */
  dev_release(&dev);
  return status;
}

static char *contents(const char *dir, const char *name) {
  Error err;
  char *text = NULL;
  CLEANUP_FREE char *path = memory_format("%s/%s", dir, name);
  if (file_read_text(path, 1 << 20, &text, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return text;
}

static mode_t mode(const char *dir, const char *name) {
  struct stat info;
  CLEANUP_FREE char *path = memory_format("%s/%s", dir, name);
  return stat(path, &info) == 0 ? info.st_mode & 0777 : 0;
}

#define HTTP "127.0.0.1:18437"
#define DATABASES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_first_run_writes_everything(void **state) {
  Error err;
  const char *top = *state;
  CLEANUP_FREE char *dir = memory_format("%s/my dev", top);
  if (plan(dir, DATABASES("prod-api=host=h password=hunter2"), "prod-api", HTTP, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  CLEANUP_FREE char *token = contents(dir, "token");
  assert_memory_equal(token, "pgseal_", 7);
  assert_int_equal(strlen(token), 7 + 43);
  CLEANUP_FREE char *coordinator = contents(dir, "coordinator.yaml");
  CLEANUP_FREE char *agent = contents(dir, "agent.yaml");
  CLEANUP_FREE char *conninfo = contents(dir, "databases/prod-api.conninfo");
  assert_memory_equal(coordinator, "# written by pgseal dev", 23);
  assert_non_null(strstr(coordinator, "name: \"prod-api\"\n    environment: production"));
  assert_non_null(strstr(agent, "- major: 15\n      image: \"registry/pg:15 'x'\""));
  assert_null(strstr(coordinator, "hunter2"));
  assert_null(strstr(agent, "hunter2"));
  assert_string_equal(conninfo, "host=h password=hunter2");
  const char *private[] = {"token",           "databases/prod-api.conninfo", "keys/agent.key", "keys/drill.key",
                           "keys/escrow.key", "keys/rehearse.secret"};
  for (size_t i = 0; i < ARRAY_SIZE(private); i++)
    assert_int_equal(mode(dir, private[i]), 0600);
  assert_int_equal(mode(dir, "keys"), 0700);
  assert_int_equal(mode(dir, "databases"), 0700);
  assert_true(mode(dir, "keys/agent.pub") && mode(dir, "keys/drill.crt") && mode(dir, "keys/escrow.crt"));
}

static void test_second_run_goes_on(void **state) {
  Error err;
  const char *dir = *state;
  assert_int_equal(plan(dir, DATABASES("one=host=a"), "one", HTTP, &err), STATUS_OK);
  CLEANUP_FREE char *token = contents(dir, "token");
  CLEANUP_FREE char *key = contents(dir, "keys/escrow.key");
  CLEANUP_FREE char *secret = contents(dir, "keys/rehearse.secret");
  assert_int_equal(plan(dir, DATABASES("two=host=b", "one=host=c"), NULL, HTTP, &err), STATUS_OK);
  CLEANUP_FREE char *token_after = contents(dir, "token");
  CLEANUP_FREE char *key_after = contents(dir, "keys/escrow.key");
  assert_string_equal(token, token_after);
  assert_string_equal(key, key_after);
  CLEANUP_FREE char *secret_after = contents(dir, "keys/rehearse.secret");
  assert_string_equal(secret, secret_after);
  CLEANUP_FREE char *one = contents(dir, "databases/one.conninfo");
  assert_string_equal(one, "host=c");
  assert_int_equal(plan(dir, DATABASES(NULL), NULL, NULL, &err), STATUS_OK); /* from memory */
  CLEANUP_FREE char *coordinator = contents(dir, "coordinator.yaml");
  assert_non_null(strstr(coordinator, "name: \"one\"\n    environment: production"));
  assert_non_null(strstr(coordinator, "name: \"two\"\n    environment: development"));
  assert_non_null(strstr(coordinator, "http: \"" HTTP "\""));
}

static void test_own_changes_are_kept(void **state) {
  Error err;
  const char *dir = *state;
  assert_int_equal(plan(dir, DATABASES("one=host=a"), NULL, HTTP, &err), STATUS_OK);
  CLEANUP_FREE char *path = memory_format("%s/agent.yaml", dir);
  assert_int_equal(file_write_atomic(path, 0600, "mine: 1\n", 8, &err), STATUS_OK);
  assert_int_equal(plan(dir, DATABASES("two=host=a"), NULL, HTTP, &err), STATUS_OK);
  CLEANUP_FREE char *agent = contents(dir, "agent.yaml");
  assert_string_equal(agent, "mine: 1");
}

static void test_refusals_create_nothing(void **state) {
  CLEANUP_FREE char *dir = memory_format("%s/new", (char *)*state);
  static const struct {
    const char *database, *production, *http;
  } cases[] = {
      {NULL, NULL, HTTP},
      {"no equals sign hunter2", NULL, HTTP},
      {"Upper=host=hunter2", NULL, HTTP},
      {"x=hunter2 ==", NULL, HTTP},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err = {0};
    assert_int_equal(plan(dir, DATABASES(cases[i].database), cases[i].production, cases[i].http, &err),
                     ERR_INVALID_ARGUMENT);
    assert_null(strstr(err.message, "hunter2"));
    assert_false(file_exists(dir));
  }
  Error err;
  assert_int_equal(plan(dir, DATABASES("x=host=a"), "y", HTTP, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(plan(dir, DATABASES("x=host=a"), NULL, "8420", &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(plan(dir, DATABASES("x=host=a"), NULL, "127.0.0.1:99999", &err), ERR_INVALID_ARGUMENT);
}

static void test_one_at_a_time_and_a_busy_port(void **state) {
  Error err;
  Server server;
  server_start(&server, NULL, NULL);
  assert_int_equal(plan(*state, DATABASES("x=host=a"), NULL, server.url + strlen("http://"), &err),
                   ERR_INVALID_ARGUMENT);
  server_stop(&server);
  assert_non_null(strstr(err.message, "Address already in use"));
  Dev first = {.lock_fd = -1, .dir_option = *state};
  const char *database = "x=host=a";
  first.database_options = (OptionList){&database, 1};
  assert_int_equal(dev_plan(&first, &err), STATUS_OK);
  assert_int_equal(plan(*state, DATABASES("x=host=a"), NULL, HTTP, &err), ERR_CONFLICT);
  free(first.databases[0].name);
  free(first.databases[0].conninfo);
  free(first.databases);
  char *owned[] = {first.dir, first.host, first.url, first.coordinator_log, first.agent_log};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
  close(first.lock_fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_first_run_writes_everything, setup, teardown),
      cmocka_unit_test_setup_teardown(test_second_run_goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_own_changes_are_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(test_refusals_create_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_at_a_time_and_a_busy_port, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
