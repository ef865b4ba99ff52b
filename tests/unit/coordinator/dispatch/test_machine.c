/* What an agent says of its machine is checked and bounded, however odd it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/dispatch/machine.h"

static char *place(const char *text) {
  return (char *)text;
}

static void test_taken(void **state) {
  (void)state;
  Pgseal__Machine message = PGSEAL__MACHINE__INIT;
  Pgseal__Slots slots = PGSEAL__SLOTS__INIT, *slot_list[] = {&slots};
  Pgseal__Disk disk = PGSEAL__DISK__INIT, *disks[] = {&disk};
  char *places[] = {place("data"), place("repository")};
  AgentMachine machine, again;
  message.load1 = 0.504;
  message.cpus = 2;
  message.memory_total = 1000;
  message.memory_available = 400;
  slots.capability = place("dump");
  slots.used = 1;
  slots.total = 2;
  message.slots = slot_list;
  message.n_slots = 1;
  disk.places = places;
  disk.n_places = 2;
  disk.free_bytes = 30;
  disk.total_bytes = 90;
  message.disks = disks;
  message.n_disks = 1;
  machine_intake(&message, 77, &machine);
  assert_int_equal(machine.told_us, 77);
  json_t *json = machine_json(&machine);
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(3));
  assert_string_equal(text, "{\"load1\":0.5,\"cpus\":2,\"memory_total_bytes\":1000,\"memory_available_bytes\":400,"
                            "\"slots\":[{\"capability\":\"dump\",\"used\":1,\"total\":2}],"
                            "\"disks\":[{\"places\":[\"data\",\"repository\"],\"free_bytes\":30,\"total_bytes\":90}]}");
  machine_from_json(json, 78, &again); /* as another coordinator passed it on */
  machine.load1 = 0.5;
  machine.told_us = 78;
  assert_memory_equal(&machine, &again, sizeof machine);
  free(text);
  json_decref(json);
}

static void test_odd(void **state) {
  (void)state;
  enum { MANY = 100 };
  Pgseal__Machine message = PGSEAL__MACHINE__INIT;
  Pgseal__Slots slots[MANY], *slot_list[MANY];
  Pgseal__Disk disks[MANY], *disk_list[MANY];
  char names[MANY][16], *own[MANY][6];
  char *places[] = {place("a\"b\n"),
                    place("data"),
                    place(""),
                    place("+"),
                    place("0123456789-0123456789-0123456789"),
                    place("0123456789-0123456789-0123456789")};
  AgentMachine machine;
  for (int i = 0; i < MANY; i++) {
    pgseal__slots__init(slot_list[i] = &slots[i]);
    snprintf(names[i], sizeof names[i], "x%d", i / 2); /* each twice */
    memcpy(own[i], places, sizeof places);
    own[i][3] = i > 3 ? names[i] : places[3];
    slots[i].capability = i == 0   ? place("no name")
                          : i == 1 ? place("much-too-long-for-a-capability")
                          : i < 4  ? place("dump")
                                   : names[i];
    slots[i].used = slots[i].total = UINT32_MAX;
    pgseal__disk__init(disk_list[i] = &disks[i]);
    disks[i].places = own[i];
    disks[i].n_places = i == 0 ? 1 : 6;
    disks[i].free_bytes = UINT64_MAX;
    disks[i].total_bytes = i == 1 ? 0 : i == 2 ? UINT64_MAX : 10;
  }
  message.slots = slot_list;
  message.disks = disk_list;
  message.n_slots = message.n_disks = MANY;
  message.load1 = NAN;
  message.cpus = UINT32_MAX;
  message.memory_total = 5;
  message.memory_available = 6;
  machine_intake(&message, 1, &machine);
  assert_true(machine.load1 == 0 && machine.cpus == 65536 && machine.memory_available == 5);
  assert_int_equal(machine.slot_count, MACHINE_SLOTS_LIMIT);
  assert_string_equal(machine.slots[0].capability, "dump");
  assert_string_equal(machine.slots[1].capability, "x2");
  assert_string_equal(machine.slots[2].capability, "x3");
  assert_int_equal(machine.slots[0].total, 65536);
  assert_int_equal(machine.disk_count, MACHINE_DISKS_LIMIT);
  assert_string_equal(machine.disks[0].places, "data+0123456789-0123456789-0123456789");
  assert_true(machine.disks[0].free_bytes == machine.disks[0].total_bytes && machine.disks[0].total_bytes > 0);
  assert_string_equal(machine.disks[1].places, "data+x2+0123456789-0123456789-0123456789");
  assert_string_equal(machine.disks[2].places, "data+x3+0123456789-0123456789-0123456789");
  assert_int_equal(machine.disks[1].free_bytes, 10);
  const double loads[] = {-1, INFINITY, 1e300};
  for (int i = 0; i < 3; i++) {
    message.load1 = loads[i];
    machine_intake(&message, 1, &machine);
    assert_true(machine.load1 >= 0 && machine.load1 <= 1e6);
  }
  const char *const documents[] = {"[]", "{}", "{\"load1\":-1,\"slots\":{},\"disks\":[1,[],{\"places\":\"x\"}]}",
                                   "{\"cpus\":\"8\",\"disks\":[{\"places\":[1],\"free_bytes\":-5,\"total_bytes\":5}]}"};
  for (int i = 0; i < 4; i++) {
    json_t *json = json_loads(documents[i], 0, NULL);
    machine_from_json(json, 1, &machine);
    assert_int_equal(machine.slot_count + machine.disk_count, 0);
    json_decref(json);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken), cmocka_unit_test(test_odd)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
