#include "coordinator/dispatch/machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"

#define LOAD_MOST 1e6
#define BYTES_MOST ((int64_t)1 << 60)
#define CPUS_MOST 65536
#define SLOTS_MOST 65536

static int64_t bounded(uint64_t value, int64_t most) {
  return value > (uint64_t)most ? most : (int64_t)value;
}

static void set_numbers(AgentMachine *out, double load1, uint64_t cpus, uint64_t total, uint64_t available) {
  out->load1 = isfinite(load1) && load1 > 0 ? fmin(load1, LOAD_MOST) : 0;
  out->cpus = bounded(cpus, CPUS_MOST);
  out->memory_total = bounded(total, BYTES_MOST);
  out->memory_available = bounded(available, out->memory_total);
}

/* Of each there is one, or metrics would have two of a name. */
static bool has_slots(const AgentMachine *machine, const char *capability) {
  for (size_t i = 0; i < machine->slot_count; i++)
    if (strcmp(machine->slots[i].capability, capability) == 0)
      return true;
  return false;
}

static bool has_disk(const AgentMachine *machine, const char *places) {
  for (size_t i = 0; i < machine->disk_count; i++)
    if (strcmp(machine->disks[i].places, places) == 0)
      return true;
  return false;
}

static void add_slots(AgentMachine *out, const char *capability, uint64_t used, uint64_t total) {
  if (out->slot_count == MACHINE_SLOTS_LIMIT || !capability || !text_name_valid(capability) ||
      strlen(capability) >= MACHINE_NAME_SIZE || has_slots(out, capability))
    return;
  AgentSlots *slots = &out->slots[out->slot_count++];
  *slots = (AgentSlots){.used = bounded(used, SLOTS_MOST), .total = bounded(total, SLOTS_MOST)};
  snprintf(slots->capability, sizeof slots->capability, "%s", capability);
}

static void add_place(char out[MACHINE_PLACES_SIZE], const char *place) {
  size_t length = strlen(out);
  if (place && text_name_valid(place) && length + strlen(place) + 2 <= MACHINE_PLACES_SIZE)
    snprintf(out + length, MACHINE_PLACES_SIZE - length, "%s%s", length ? "+" : "", place);
}

static void add_disk(AgentMachine *out, const char *places, uint64_t free_bytes, uint64_t total_bytes) {
  if (out->disk_count == MACHINE_DISKS_LIMIT || !*places || total_bytes == 0 || has_disk(out, places))
    return;
  AgentDisk *disk = &out->disks[out->disk_count++];
  disk->total_bytes = bounded(total_bytes, BYTES_MOST);
  disk->free_bytes = bounded(free_bytes, disk->total_bytes);
  snprintf(disk->places, sizeof disk->places, "%s", places);
}

void machine_intake(const Pgseal__Machine *message, int64_t now_us, AgentMachine *out) {
  *out = (AgentMachine){.told_us = now_us};
  set_numbers(out, message->load1, message->cpus, message->memory_total, message->memory_available);
  for (size_t i = 0; i < message->n_slots; i++)
    add_slots(out, message->slots[i]->capability, message->slots[i]->used, message->slots[i]->total);
  for (size_t i = 0; i < message->n_disks; i++) {
    const Pgseal__Disk *disk = message->disks[i];
    char places[MACHINE_PLACES_SIZE] = "";
    for (size_t j = 0; j < disk->n_places; j++)
      add_place(places, disk->places[j]);
    add_disk(out, places, disk->free_bytes, disk->total_bytes);
  }
}

/* ---- as JSON ---- */

static json_t *places_json(const char *places) {
  json_t *list = json_array();
  for (const char *at = places; *at; at += *at == '+') {
    size_t length = strcspn(at, "+");
    json_array_append_new(list, json_stringn(at, length));
    at += length;
  }
  return list;
}

json_t *machine_json(const AgentMachine *machine) {
  json_t *slots = json_array(), *disks = json_array();
  for (size_t i = 0; i < machine->slot_count; i++)
    json_array_append_new(slots,
                          json_pack("{s:s, s:I, s:I}", "capability", machine->slots[i].capability, "used",
                                    (json_int_t)machine->slots[i].used, "total", (json_int_t)machine->slots[i].total));
  for (size_t i = 0; i < machine->disk_count; i++)
    json_array_append_new(disks, json_pack("{s:o, s:I, s:I}", "places", places_json(machine->disks[i].places),
                                           "free_bytes", (json_int_t)machine->disks[i].free_bytes, "total_bytes",
                                           (json_int_t)machine->disks[i].total_bytes));
  return json_pack("{s:f, s:I, s:I, s:I, s:o, s:o}", "load1", round(machine->load1 * 100) / 100, "cpus",
                   (json_int_t)machine->cpus, "memory_total_bytes", (json_int_t)machine->memory_total,
                   "memory_available_bytes", (json_int_t)machine->memory_available, "slots", slots, "disks", disks);
}

static uint64_t number(const json_t *object, const char *name) {
  json_int_t value = json_integer_value(json_object_get(object, name));
  return value > 0 ? (uint64_t)value : 0;
}

void machine_from_json(const json_t *json, int64_t told_us, AgentMachine *out) {
  size_t index, inner;
  const json_t *item, *place;
  *out = (AgentMachine){.told_us = told_us};
  set_numbers(out, json_number_value(json_object_get(json, "load1")), number(json, "cpus"),
              number(json, "memory_total_bytes"), number(json, "memory_available_bytes"));
  json_array_foreach(json_object_get(json, "slots"), index, item) add_slots(
      out, json_string_value(json_object_get(item, "capability")), number(item, "used"), number(item, "total"));
  json_array_foreach(json_object_get(json, "disks"), index, item) {
    char places[MACHINE_PLACES_SIZE] = "";
    json_array_foreach(json_object_get(item, "places"), inner, place) add_place(places, json_string_value(place));
    add_disk(out, places, number(item, "free_bytes"), number(item, "total_bytes"));
  }
}
