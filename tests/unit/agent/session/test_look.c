/* What an agent tells of what guards its repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session/look.h"
#include "tests/unit/port.h"

static void test_directory(void **state) {
  (void)state;
  const AgentConfig config = {.repository_directory = "/tmp"};
  RepositoryLook look;
  repository_look(&config, &look);
  assert_string_equal(look.kind, "directory");
  assert_string_equal(look.lock, "none");
  assert_string_equal(look.removes, "yes");
  assert_false(look.away);
}

/* Nothing is known of one that nobody answers for, and it says that it may be known soon. */
static void test_bucket_that_is_away(void **state) {
  (void)state;
  char endpoint[64];
  snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", free_port());
  setenv("AWS_ACCESS_KEY_ID", "a", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "b", 1);
  const AgentConfig config = {.repository_s3 = {.bucket = "away", .endpoint = endpoint, .proxy = ""}};
  RepositoryLook look;
  repository_look(&config, &look);
  assert_string_equal(look.kind, "bucket");
  assert_string_equal(look.lock, "unknown");
  assert_string_equal(look.removes, "unknown");
  assert_true(look.away);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_directory), cmocka_unit_test(test_bucket_that_is_away)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
