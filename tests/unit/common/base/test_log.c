#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

static int captured_fd, real_fd;

static void capture_begin(void) {
  captured_fd = fileno(tmpfile());
  real_fd = dup(STDERR_FILENO);
  dup2(captured_fd, STDERR_FILENO);
}

static const char *capture_end(char *out, size_t size) {
  dup2(real_fd, STDERR_FILENO);
  close(real_fd);
  ssize_t got = pread(captured_fd, out, size - 1, 0);
  assert_true(got >= 0);
  out[got] = '\0';
  return out;
}

static void test_text_is_one_line_whatever_the_value(void **state) {
  (void)state;
  char out[65536];
  log_init("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
  capture_begin();
  log_debug("hidden", NULL);
  log_info("job leased", "job", "01x", "note", "a \"b\"\n\x1b\xff\xc2\x85\xc3\xa9", "empty", "", "null", (char *)NULL,
           NULL);
  capture_end(out, sizeof out);
  assert_int_equal(out[strlen(out) - 1], '\n');
  assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
  assert_non_null(strstr(out, " info  test msg=\"job leased\" job=01x note=\"a \\\"b\\\"\\n\\x1b\\xff\\u0085\xc3\xa9\" "
                              "empty=\"\" null=\"\"\n"));
}

static void test_json_parses(void **state) {
  (void)state;
  char out[65536], huge[20000];
  memset(huge, 'x', sizeof huge);
  huge[sizeof huge - 1] = '\0';
  log_init("test", LOG_LEVEL_WARN, LOG_FORMAT_JSON);
  log_context("job", "j1");
  log_context("job", "j2");
  capture_begin();
  log_info("hidden", NULL);
  log_warn("broken\n", "value", "a\xff\n", "huge", huge, NULL);
  capture_end(out, sizeof out);
  json_t *line = json_loads(out, 0, NULL);
  assert_non_null(line);
  assert_string_equal(json_string_value(json_object_get(line, "msg")), "broken\\n");
  assert_string_equal(json_string_value(json_object_get(line, "value")), "a\\xff\\n");
  assert_string_equal(json_string_value(json_object_get(line, "job")), "j2");
  assert_true(strlen(json_string_value(json_object_get(line, "huge"))) <= 8192);
  json_decref(line);
}

static void test_failure_has_all_its_parts(void **state) {
  (void)state;
  char out[65536];
  log_init("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
  Error err;
  error_set(&err, ERR_TOOL, "it broke");
  error_object(&err, "public.t");
  capture_begin();
  log_failure(LOG_LEVEL_ERROR, "dump", &err);
  capture_end(out, sizeof out);
  assert_non_null(strstr(out, "error test msg=dump code=tool error=\"it broke\" object=public.t remedy=\"See"));
}

static void test_levels(void **state) {
  (void)state;
  LogLevel level = LOG_LEVEL_INFO;
  assert_true(log_level_from_name("warn", &level));
  assert_int_equal(level, LOG_LEVEL_WARN);
  assert_false(log_level_from_name("loud", &level));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text_is_one_line_whatever_the_value),
      cmocka_unit_test(test_json_parses),
      cmocka_unit_test(test_failure_has_all_its_parts),
      cmocka_unit_test(test_levels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
