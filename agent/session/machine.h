/*
 * The agent's machine: how loaded it is, and what is left of the file systems that the agent writes to. Looked at every
 * few seconds in a thread of its own: a file system may hang (NFS), and then nobody but that thread waits for it; what
 * was seen before is not told again.
 */
#ifndef PGSEAL_AGENT_SESSION_MACHINE_H
#define PGSEAL_AGENT_SESSION_MACHINE_H

#include "agent/config.h"

enum { MACHINE_DISKS = 3, MACHINE_PLACES = 3 };

typedef struct MachineDisk {
  const char *places[MACHINE_PLACES]; /* "data", "drill", "repository": what is on it; literals */
  size_t place_count;
  uint64_t device; /* which file system */
  uint64_t free_bytes, total_bytes;
} MachineDisk;

typedef struct MachineLook {
  double load1; /* load average of a minute */
  unsigned cpus;
  uint64_t memory_total, memory_available; /* bytes; 0: not known */
  MachineDisk disks[MACHINE_DISKS];
  size_t disk_count;
} MachineLook;

typedef struct MachinePlaces { /* paths; NULL: none */
  char *data, *drill, *repository;
} MachinePlaces;

/* Blocks as long as the file systems do. Any thread. */
void machine_look(const MachinePlaces *places, MachineLook *out);

typedef struct Machine Machine;
/* config must outlive it. NULL: there is no thread to be had; then nothing is told. */
Machine *machine_open(const AgentConfig *config);
/* True: it was looked at since the last time that this was true. Never waits. */
bool machine_news(Machine *machine, MachineLook *out);
void machine_close(Machine *machine); /* NULL is fine. One that hangs is left behind. */

#endif
