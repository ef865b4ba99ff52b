#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"

static void test_secrets_stay_here(void **state) {
  (void)state;
  static const char *const secrets[] = {"AWS_REGION",    "AWS_SESSION_TOKEN",  "PGPASSWORD",  "PGSEAL_TOKEN",
                                        "A_SECRET_HERE", "my_password",        "HTTPS_PROXY", "https_proxy",
                                        "API_KEY",       "GOOGLE_CREDENTIALS", "XPRIVATE",    "PASSPHRASE"};
  for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
    setenv(secrets[i], "sesame", 1);
  setenv("AWSOME", "open", 1);
  setenv("GSS_USE_PROXY", "yes", 1);
  const char *argv[] = {"env", NULL}, *env[] = {"MY_TOKEN=given", NULL};
  ProcessOptions options = {.argv = argv, .env = env};
  for (int pass = 0; pass < 2; pass++) {
    Error err;
    CLEANUP(buffer_release) Buffer out = {0};
    options.pass_secrets = pass;
    assert_int_equal(process_run(&options, 1 << 20, &out, &err), STATUS_OK);
    const char *text = buffer_text(&out);
    assert_int_equal(strstr(text, "sesame") != NULL, pass);
    assert_non_null(strstr(text, "AWSOME=open"));
    assert_non_null(strstr(text, "GSS_USE_PROXY=yes"));
    assert_non_null(strstr(text, "MY_TOKEN=given"));
    assert_non_null(strstr(text, "PATH="));
  }
  for (size_t i = 0; i < ARRAY_SIZE(secrets); i++)
    unsetenv(secrets[i]);
}

static void test_harden(void **state) {
  (void)state;
  pid_t pid = fork();
  if (pid == 0) {
    struct rlimit limit = {1, 1};
    process_harden();
    _exit(prctl(PR_GET_DUMPABLE) == 0 && getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 &&
                  limit.rlim_max == 0
              ? 42
              : 1);
  }
  int ended;
  assert_int_equal(waitpid(pid, &ended, 0), pid);
  assert_int_equal(WEXITSTATUS(ended), 42);
}

static void test_run_gives_output_and_environment(void **state) {
  (void)state;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  setenv("PGSEAL_TEST_GONE", "1", 1);
  const char *argv[] = {"sh", "-c", "echo \"$PGSEAL_TEST_SET|${PGSEAL_TEST_GONE-unset}|$(pwd)\"", NULL};
  const char *env[] = {"PGSEAL_TEST_SET=a b", "PGSEAL_TEST_GONE", NULL};
  ProcessOptions options = {.argv = argv, .env = env, .work_dir = "/"};
  assert_int_equal(process_run(&options, 100, &out, &err), STATUS_OK);
  assert_string_equal(buffer_text(&out), "a b|unset|/\n");
}

static void test_run_tells_why_it_failed(void **state) {
  (void)state;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  const char *argv[] = {"sh", "-c", "echo reason >&2; exit 3", NULL};
  ProcessOptions options = {.argv = argv};
  assert_int_equal(process_run(&options, 100, &out, &err), ERR_TOOL);
  assert_string_equal(err.message, "sh ended with exit code 3: reason");
  const char *absent[] = {"/nonexistent/tool", NULL};
  options.argv = absent;
  assert_int_equal(process_run(&options, 100, &out, &err), ERR_TOOL);
  assert_non_null(strstr(err.message, "/nonexistent/tool: No such file"));
  const char *much[] = {"sh", "-c", "while :; do echo 123456789; done", NULL};
  options.argv = much;
  assert_int_equal(process_run(&options, 1000, &out, &err), ERR_TOOL);
  assert_non_null(strstr(err.message, "more than the 1000 bytes"));
}

static void test_pipes(void **state) {
  (void)state;
  Error err;
  const char *argv[] = {"cat", NULL};
  ProcessOptions options = {.argv = argv, .pipe_stdin = true, .pipe_stdout = true};
  CLEANUP(process_release) Process process = {0};
  assert_int_equal(process_start(&options, &process, &err), STATUS_OK);
  assert_int_equal(file_write_all(process.stdin_fd, "hello", 5, &err), STATUS_OK);
  close(process.stdin_fd);
  process.stdin_fd = -1;
  char got[16] = "";
  assert_int_equal(read(process.stdout_fd, got, sizeof got), 5);
  assert_string_equal(got, "hello");
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  assert_int_equal(code, 0);
  process_kill(&process); /* safe afterwards */
}

static void test_stderr_keeps_its_end(void **state) {
  (void)state;
  Error err;
  const char *argv[] = {"sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2", NULL};
  ProcessOptions options = {.argv = argv};
  CLEANUP(process_release) Process process = {0};
  assert_int_equal(process_start(&options, &process, &err), STATUS_OK);
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  assert_int_equal(process.errors.size, PROCESS_STDERR_LIMIT);
  assert_string_equal(buffer_text(&process.errors) + PROCESS_STDERR_LIMIT - 5, "xend\n");
}

static void test_wait_does_not_wait_for_grandchildren(void **state) {
  (void)state;
  Error err;
  const char *argv[] = {"sh", "-c", "echo said >&2; sleep 30 & echo $! >&2; exit 4", NULL};
  ProcessOptions options = {.argv = argv};
  CLEANUP(process_release) Process process = {0};
  int64_t start = clock_monotonic_us();
  assert_int_equal(process_start(&options, &process, &err), STATUS_OK);
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  assert_int_equal(code, 4);
  assert_true(clock_monotonic_us() - start < 10000000);
  const char *said = buffer_text(&process.errors);
  assert_memory_equal(said, "said\n", 5);
  kill((pid_t)strtol(said + 5, NULL, 10), SIGKILL);
}

static void test_kill_and_poll(void **state) {
  (void)state;
  Error err;
  const char *argv[] = {"sleep", "100", NULL};
  ProcessOptions options = {.argv = argv, .own_group = true};
  CLEANUP(process_release) Process process = {0};
  process_kill(&process); /* never started */
  assert_int_equal(process_start(&options, &process, &err), STATUS_OK);
  pid_t pid = process.pid;
  assert_int_equal(getpgid(pid), pid);
  bool ended = true;
  int code = -1;
  assert_int_equal(process_poll(&process, &ended, &code, &err), STATUS_OK);
  assert_false(ended);
  kill(pid, SIGTERM);
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  assert_int_equal(code, 128 + SIGTERM);
  assert_int_equal(kill(pid, 0), -1);
}

static void *start_and_leave(void *user) {
  Error err;
  const char *argv[] = {"sleep", "100", NULL};
  ProcessOptions options = {.argv = argv};
  Status status = process_start(&options, user, &err);
  return status == STATUS_OK ? user : NULL;
}

static void test_child_dies_with_its_starter(void **state) {
  (void)state;
  Error err;
  CLEANUP(process_release) Process process = {0};
  pthread_t thread;
  void *result = NULL;
  assert_int_equal(pthread_create(&thread, NULL, start_and_leave, &process), 0);
  assert_int_equal(pthread_join(thread, &result), 0);
  assert_non_null(result);
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  assert_int_equal(code, 128 + SIGKILL);
}

static void test_signals_and_descriptors_are_reset(void **state) {
  (void)state;
  Error err;
  signal(SIGPIPE, SIG_IGN);
  int leaked = dup2(0, 77); /* without close-on-exec */
  assert_int_equal(leaked, 77);
  CLEANUP(buffer_release) Buffer out = {0};
  const char *argv[] = {"sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd | grep -c 77", NULL};
  ProcessOptions options = {.argv = argv};
  assert_int_equal(process_run(&options, 1000, &out, &err), ERR_TOOL); /* grep -c finds none */
  close(leaked);
  /* Signals 32 and 33 are libc's own: they cannot be reset, and come ignored under some parents. */
  unsigned long long ignored = ~0ULL;
  assert_int_equal(sscanf(buffer_text(&out), "SigIgn:\t%llx", &ignored), 1);
  assert_int_equal(ignored & 0x7fffffffULL, 0);
  assert_non_null(strstr(buffer_text(&out), "\n0\n"));
}

static void test_log_path_and_user(void **state) {
  (void)state;
  Error err;
  char dir[] = "/tmp/pgseal-test-process-XXXXXX";
  assert_non_null(mkdtemp(dir));
  CLEANUP_FREE char *log = memory_format("%s/log", dir);
  const char *argv[] = {"sh", "-c", "id -un; echo err >&2", NULL};
  ProcessOptions options = {.argv = argv, .log_path = log, .user = geteuid() == 0 ? "nobody" : NULL};
  CLEANUP(process_release) Process process = {0};
  assert_int_equal(process_start(&options, &process, &err), STATUS_OK);
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  CLEANUP_FREE char *text = NULL;
  assert_int_equal(file_read_text(log, 100, &text, &err), STATUS_OK);
  if (geteuid() == 0)
    assert_string_equal(text, "nobody\nerr");
  else
    assert_non_null(strstr(text, "\nerr"));
  options.user = "no-such-user";
  Process other = {0};
  assert_int_equal(process_start(&options, &other, &err), ERR_CONFIG);
  assert_int_equal(file_remove_tree(dir, &err), STATUS_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_run_gives_output_and_environment),
      cmocka_unit_test(test_secrets_stay_here),
      cmocka_unit_test(test_harden),
      cmocka_unit_test(test_run_tells_why_it_failed),
      cmocka_unit_test(test_pipes),
      cmocka_unit_test(test_stderr_keeps_its_end),
      cmocka_unit_test(test_wait_does_not_wait_for_grandchildren),
      cmocka_unit_test(test_kill_and_poll),
      cmocka_unit_test(test_child_dies_with_its_starter),
      cmocka_unit_test(test_signals_and_descriptors_are_reset),
      cmocka_unit_test(test_log_path_and_user),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
