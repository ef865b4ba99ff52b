/* A podman of the test's own, on a private socket. Images are kept between runs, containers are not. */
#ifndef PGSEAL_TESTS_PODMAN_FIXTURE_H
#define PGSEAL_TESTS_PODMAN_FIXTURE_H

#include <fcntl.h>
#include <sys/file.h>

#include "common/base/process.h"
#include "tests/unit/agent/engine/engine_tests.h"

enum { IMAGE_MAJOR = 15, OUTPUT_LIMIT = 1 << 20, SERVICE_TRIES = 200 };

typedef struct Podman {
  char *cache, *directory, *socket, *runtime, *storage, *runroot;
  Process service;
  int major; /* of the image wanted; 0: IMAGE_MAJOR */
  int lock;  /* the storage is one for all test programs, and its containers are removed at the end: one at a time */
} Podman;

static Podman podman; /* socket is NULL where there is none */

static inline bool find_program(const char *const *candidates, char **out) {
  for (; *candidates; candidates++)
    if (access(*candidates, X_OK) == 0) {
      *out = memory_strdup(*candidates);
      return true;
    }
  return false;
}

/* podman with its storage and state apart from the machine's own; NULL-terminated arguments follow. */
static inline void podman_command(const char **argv, const char *const *arguments) {
  size_t count = 0;
  const char *const own[] = {"podman",       "--root",    podman.storage, "--runroot",
                             podman.runroot, "--runtime", podman.runtime};
  for (size_t i = 0; i < ARRAY_SIZE(own) - (podman.runtime ? 0 : 2); i++)
    argv[count++] = own[i];
  while ((argv[count] = *arguments++))
    count++;
}

static inline bool podman_run(const char *const *arguments) {
  const char *argv[32];
  Buffer out = {0};
  Error failed;
  podman_command(argv, arguments);
  ProcessOptions options = {.argv = argv};
  bool done = process_run(&options, OUTPUT_LIMIT, &out, &failed) == STATUS_OK;
  buffer_release(&out);
  return done;
}

/* Ends with the process, too. */
static inline void lock_storage(void) {
  podman.lock = open("/tmp/pgseal-podman.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  assert_true(podman.lock >= 0);
  assert_int_equal(flock(podman.lock, LOCK_EX), 0);
}

static inline void build_image(void) {
  char *major = memory_format("%d", podman.major);
  char *cache = memory_format("PGSEAL_IMAGE_CACHE=%s", podman.cache);
  char *command = memory_format("PGSEAL_PODMAN=podman --root %s --runroot %s%s%s", podman.storage, podman.runroot,
                                podman.runtime ? " --runtime " : "", podman.runtime ? podman.runtime : "");
  const char *argv[] = {"deploy/images/build", major, NULL}, *env[] = {cache, command, NULL};
  ProcessOptions options = {.argv = argv, .env = env};
  Buffer out = {0};
  assert_status_ok(process_run(&options, OUTPUT_LIMIT, &out, err));
  buffer_release(&out);
  free(major);
  free(cache);
  free(command);
}

static inline int start_podman(void **state) {
  static const char *const programs[] = {"/usr/bin/podman", "/usr/local/bin/podman", NULL};
  static const char *const runtimes[] = {"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", NULL};
  (void)state;
  char *program = NULL;
  if (podman.major == 0)
    podman.major = IMAGE_MAJOR;
  if (!find_program(programs, &program) || geteuid() != 0) {
    print_message("podman is not installed, or this is not root: the docker engine is not tested here\n");
    free(program);
    return 0;
  }
  free(program);
  lock_storage();
  (void)find_program(runtimes, &podman.runtime);
  const char *cache = getenv("PGSEAL_TEST_CACHE");
  podman.cache = memory_strdup(cache ? cache : "/var/cache/pgseal");
  podman.storage = memory_format("%s/unit-containers", podman.cache);
  podman.directory = memory_strdup("/tmp/pgseal-podman-XXXXXX");
  assert_non_null(mkdtemp(podman.directory));
  podman.runroot = memory_format("%s/unit-run", podman.cache); /* podman remembers it with the storage */
  podman.socket = memory_format("%s/podman.sock", podman.directory);
  char *image = memory_format("localhost/pgseal/postgres:%d", podman.major);
  const char *exists[] = {"image", "exists", image, NULL};
  if (!podman_run(exists))
    build_image();
  free(image);
  char *url = memory_format("unix://%s", podman.socket);
  const char *arguments[] = {"system", "service", "--time=0", url, NULL}, *argv[32];
  podman_command(argv, arguments);
  ProcessOptions options = {.argv = argv, .own_group = true};
  assert_status_ok(process_start(&options, &podman.service, err));
  for (int i = 0; i < SERVICE_TRIES && access(podman.socket, W_OK) != 0; i++)
    usleep(50000);
  free(url);
  return access(podman.socket, W_OK);
}

static inline int stop_podman(void **state) {
  (void)state;
  if (!podman.socket)
    return 0;
  const char *remove[] = {"rm", "--force", "--all", "--volumes", NULL}; /* of a test that failed */
  assert_true(podman_run(remove));
  process_kill(&podman.service);
  process_release(&podman.service);
  close(podman.lock);
  assert_status_ok(file_remove_tree(podman.directory, err));
  char *owned[] = {podman.cache, podman.directory, podman.socket, podman.runtime, podman.storage, podman.runroot};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
  return 0;
}

#endif
