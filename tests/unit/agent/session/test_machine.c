/* What an agent tells of its machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/session/machine.h"
#include "common/base/file.h"

static void test_room(void **state) {
  (void)state;
  uint64_t device = 0, room = 0, total = 0, above = 0;
  struct stat info;
  assert_int_equal(stat("/tmp", &info), 0);
  assert_true(file_room("/tmp", &device, &room, &total));
  assert_true(device == info.st_dev && room <= total && total > 0);
  assert_true(file_room("/tmp/is/not/there", &above, &room, &total)); /* what would be made there */
  assert_true(above == device);
  assert_true(file_room("/nor-is-this", &device, &room, &total));
  assert_false(file_room("nor-is-this", &device, &room, &total));
}

/* A file system is told once, with all that is on it. */
static void test_look(void **state) {
  (void)state;
  MachinePlaces places = {.data = (char *)"/tmp", .drill = (char *)"/tmp/x", .repository = (char *)"/proc"};
  MachineLook look;
  machine_look(&places, &look);
  assert_true(look.cpus >= 1 && look.load1 >= 0);
  assert_true(look.memory_available > 0 && look.memory_available <= look.memory_total);
  assert_int_equal(look.disk_count, 1); /* /proc has no size */
  assert_int_equal(look.disks[0].place_count, 2);
  assert_string_equal(look.disks[0].places[0], "data");
  assert_string_equal(look.disks[0].places[1], "drill");
  places = (MachinePlaces){.data = (char *)"/dev/shm", .repository = (char *)"/tmp"};
  machine_look(&places, &look);
  assert_int_equal(look.disk_count, 2);
  assert_string_equal(look.disks[1].places[0], "repository");
}

static void test_news(void **state) {
  (void)state;
  const AgentConfig config = {.data_dir = "/tmp"};
  MachineLook look = {0};
  Machine *machine = machine_open(&config);
  assert_non_null(machine);
  for (int i = 0; i < 500 && !machine_news(machine, &look); i++)
    usleep(10000);
  assert_int_equal(look.disk_count, 1);
  assert_false(machine_news(machine, &look)); /* told once */
  machine_close(machine);
  machine_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_room), cmocka_unit_test(test_look),
                                     cmocka_unit_test(test_news)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
