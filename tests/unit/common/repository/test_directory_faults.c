/* The directory backend under races, kills, and a full disk. */
#include "tests/unit/common/repository/support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { THREADS = 8, KEYS = 40, OBJECT_SIZE = 20000 };

typedef struct Racer {
  Fixture *f;
  pthread_barrier_t *start;
  char letter;
  bool won[KEYS];
  Status wrong;
} Racer;

static void *race(void *user) {
  Racer *r = user;
  char data[OBJECT_SIZE];
  memset(data, r->letter, sizeof data);
  for (int i = 0; i < KEYS; i++) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/%d/attempt-1/%06d", i, i);
    pthread_barrier_wait(r->start);
    Status status = repository_put(r->f->repository, key, data, sizeof data, &err);
    r->won[i] = status == STATUS_OK;
    if (status != STATUS_OK && status != ERR_OBJECT_EXISTS)
      r->wrong = status;
  }
  return NULL;
}

/* Of many puts of one key at the same moment exactly one wins, and the object is the winner's, whole. */
static void test_racing_puts(void **state) {
  Fixture *f = *state;
  Error err;
  pthread_t threads[THREADS];
  static Racer racers[THREADS];
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    racers[i] = (Racer){.f = f, .start = &start, .letter = (char)('a' + i)};
    assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&start);
  for (int key = 0; key < KEYS; key++) {
    int winners = 0, winner = 0;
    for (int i = 0; i < THREADS; i++)
      if (racers[i].won[key]) {
        winners++;
        winner = i;
      }
    assert_int_equal(winners, 1);
    CLEANUP(buffer_release) Buffer out = {0};
    CLEANUP_FREE char *name = memory_format("db/%d/attempt-1/%06d", key, key);
    assert_ok(repository_get(f->repository, name, OBJECT_SIZE, &out, &err), &err);
    assert_int_equal(out.size, OBJECT_SIZE);
    for (size_t i = 0; i < out.size; i++)
      assert_int_equal(out.data[i], 'a' + winner);
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(racers[i].wrong, STATUS_OK);
}

typedef struct Churn {
  Fixture *f;
  int number;
  Status wrong;
} Churn;

/* Puts and removes in the same directories, which come and go with their last object. */
static void *churn(void *user) {
  Churn *c = user;
  for (int i = 0; i < 60 && c->wrong == STATUS_OK; i++) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/shared/%d-%d", c->number, i);
    c->wrong = repository_put(c->f->repository, key, "x", 1, &err);
    if (c->wrong == STATUS_OK)
      c->wrong = repository_remove(c->f->repository, key, &err);
  }
  return NULL;
}

static void test_puts_beside_removes(void **state) {
  Fixture *f = *state;
  pthread_t threads[4];
  Churn churns[4];
  for (int i = 0; i < 4; i++) {
    churns[i] = (Churn){.f = f, .number = i};
    assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++)
    assert_int_equal(churns[i].wrong, STATUS_OK);
  expect_list(f, "", "");
}

static bool whole(void *user, const char *key, uint64_t size) {
  Fixture *f = user;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  assert_int_equal(size, OBJECT_SIZE);
  assert_ok(repository_get(f->repository, key, OBJECT_SIZE, &out, &err), &err);
  for (size_t i = 0; i < out.size; i++)
    assert_int_equal(out.data[i], out.data[0]);
  return true;
}

static void put_until_killed(Fixture *f, int run) {
  char data[OBJECT_SIZE];
  for (int i = 0;; i++) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/%d/%06d", run, i);
    memset(data, 'a' + i % 26, sizeof data);
    if (repository_put(f->repository, key, data, sizeof data, &err) != STATUS_OK)
      _exit(1);
  }
}

/* SIGKILL at any moment: every object there is whole. */
static void test_killed_puts(void **state) {
  Fixture *f = *state;
  Error err;
  for (int run = 0; run < 20; run++) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
      put_until_killed(f, run);
    usleep(3000 + (useconds_t)run * 1700);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
  }
  assert_ok(repository_list(f->repository, "", whole, f, &err), &err);
}

/* A file system of 256 kB that only this process sees. */
static bool mount_small(const char *path) {
  return (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
         mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
         mount("tmpfs", path, "tmpfs", 0, "size=256k,mode=700") == 0;
}

enum { CHILD_GOOD = 0, CHILD_NO_MOUNT = 77 };

static int fill_disk(const char *path) {
  static char data[100000];
  Error err;
  Repository *repository = NULL;
  Buffer out = {0};
  if (!mount_small(path))
    return CHILD_NO_MOUNT;
  if (directory_repository_open(path, &repository, &err) != STATUS_OK)
    return 1;
  Status status = STATUS_OK;
  int stored = 0;
  for (; status == STATUS_OK && stored < 10; stored += status == STATUS_OK) {
    CLEANUP_FREE char *key = memory_format("db/%d", stored);
    status = repository_put(repository, key, data, sizeof data, &err);
  }
  if (status != ERR_DISK_FULL || stored != 2 || strcmp(err.object, "db/2") != 0 || !err.remedy[0])
    return 2;
  if (error_class(status) != ERROR_CLASS_TRANSIENT || error_outcome(status) != OUTCOME_ERRORED)
    return 3;
  if (repository_get(repository, "db/2", sizeof data, &out, &err) != ERR_OBJECT_NOT_FOUND)
    return 4;
  if (repository_remove(repository, "db/0", &err) != STATUS_OK)
    return 5; /* and with room again, all is well: the half-written file is gone */
  if (repository_put(repository, "db/2", data, sizeof data, &err) != STATUS_OK)
    return 6;
  return repository_get(repository, "db/1", sizeof data, &out, &err) == STATUS_OK ? CHILD_GOOD : 7;
}

static void test_full_disk(void **state) {
  Fixture *f = *state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(fill_disk(f->root));
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == CHILD_NO_MOUNT) {
    print_message("this machine lets nobody mount a small tmpfs: the full disk is not tested here\n");
    skip();
  }
  assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
}

/* A mount inside the repository is refused with the remedy, not answered with a torn object. */
static int cross_mount(Fixture *f) {
  Error err;
  CLEANUP_FREE char *inside = at(f, "db");
  if (mkdir(inside, 0700) != 0 || !mount_small(inside))
    return CHILD_NO_MOUNT;
  Repository *repository = NULL; /* the one opened before does not see this process's mounts */
  if (directory_repository_open(f->root, &repository, &err) != STATUS_OK)
    return 1;
  if (repository_put(repository, "db/x", "x", 1, &err) != ERR_IO || !strstr(err.message, "another file system"))
    return 2;
  return CHILD_GOOD;
}

static void test_mount_inside(void **state) {
  Fixture *f = *state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(cross_mount(f));
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == CHILD_NO_MOUNT)
    skip();
  assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_racing_puts), TEST(test_puts_beside_removes), TEST(test_killed_puts),
      TEST(test_full_disk),   TEST(test_mount_inside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
