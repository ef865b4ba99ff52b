/*
 * What an agent told of its machine: bounded and checked, kept in memory alone, and passed on to the other coordinators
 * with what they hear of agents (beside.c). Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_DISPATCH_MACHINE_H
#define PGSEAL_COORDINATOR_DISPATCH_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/pgseal.pb-c.h"

enum { MACHINE_NAME_SIZE = 16, MACHINE_PLACES_SIZE = 64, MACHINE_SLOTS_LIMIT = 8, MACHINE_DISKS_LIMIT = 8 };

typedef struct AgentSlots {
  char capability[MACHINE_NAME_SIZE];
  int64_t used, total;
} AgentSlots;

typedef struct AgentDisk {
  char places[MACHINE_PLACES_SIZE]; /* "data+repository": what is on that file system */
  int64_t free_bytes, total_bytes;  /* 0 <= free <= total, total > 0 */
} AgentDisk;

typedef struct AgentMachine {
  int64_t told_us;     /* monotonic; 0: never */
  bool told_by_others; /* another coordinator heard it */
  double load1;
  int64_t cpus, memory_total, memory_available;
  AgentSlots slots[MACHINE_SLOTS_LIMIT];
  size_t slot_count;
  AgentDisk disks[MACHINE_DISKS_LIMIT];
  size_t disk_count;
} AgentMachine;

/* What makes no sense is left out. */
void machine_intake(const Pgseal__Machine *message, int64_t now_us, AgentMachine *out);
/* {"load1", "cpus", "memory_total_bytes", "memory_available_bytes", "slots": [{"capability", "used", "total"}],
 * "disks": [{"places": [], "free_bytes", "total_bytes"}]}. New reference. */
json_t *machine_json(const AgentMachine *machine);
/* The same read back; checked like a message. */
void machine_from_json(const json_t *json, int64_t told_us, AgentMachine *out);

#endif
