/* Slots; and what the agent's machine has left, told with requests that are sent anyway. */
#include "agent/session/internal.h"

#include "common/base/cleanup.h"

void session_slots(const Session *session, SlotUse out[SLOT_KINDS]) {
  const AgentConfig *c = session->config;
  const struct {
    const char *capability;
    bool can;
    int slots;
    Pgseal__JobKind kinds[3]; /* that take them */
  } all[SLOT_KINDS] = {
      [SLOT_DUMP] = {"dump", c->can_dump, c->dump_slots, {PGSEAL__JOB_KIND__JOB_KIND_DUMP}},
      [SLOT_DRILL] = {"drill",
                      c->can_drill,
                      c->drill_slots,
                      {PGSEAL__JOB_KIND__JOB_KIND_DRILL, PGSEAL__JOB_KIND__JOB_KIND_TRIAL,
                       PGSEAL__JOB_KIND__JOB_KIND_INVENTORY}},
      [SLOT_RESTORE] = {"restore",
                        c->can_restore,
                        c->restore_slots,
                        {PGSEAL__JOB_KIND__JOB_KIND_PLAN, PGSEAL__JOB_KIND__JOB_KIND_RESTORE}},
      [SLOT_PRUNE] = {"prune", c->can_prune, c->prune_slots, {PGSEAL__JOB_KIND__JOB_KIND_PRUNE}},
      [SLOT_REHEARSE] = {"rehearse", c->can_rehearse, c->rehearse_slots, {PGSEAL__JOB_KIND__JOB_KIND_REHEARSE}},
  };
  for (size_t i = 0; i < SLOT_KINDS; i++) {
    out[i] = (SlotUse){.capability = all[i].capability, .total = all[i].can ? (uint32_t)all[i].slots : 0};
    for (size_t j = 0; j < ARRAY_SIZE(all[i].kinds); j++)
      if (all[i].kinds[j] != PGSEAL__JOB_KIND__JOB_KIND_UNSPECIFIED)
        out[i].used += (uint32_t)supervisor_count(session->supervisor, all[i].kinds[j]);
  }
}

static void add_slots(const Session *session, MachineMessage *space) {
  SlotUse uses[SLOT_KINDS];
  session_slots(session, uses);
  for (size_t i = 0; i < SLOT_KINDS; i++) {
    size_t at = space->machine.n_slots;
    if (uses[i].total == 0)
      continue;
    pgseal__slots__init(&space->slots[at]);
    space->slots[at].capability = (char *)uses[i].capability;
    space->slots[at].used = uses[i].used;
    space->slots[at].total = uses[i].total;
    space->slot_list[at] = &space->slots[at];
    space->machine.n_slots++;
  }
  space->machine.slots = space->slot_list;
}

static void add_disks(const Session *session, MachineMessage *space) {
  const MachineLook *look = &session->looked;
  for (size_t i = 0; i < look->disk_count; i++) {
    Pgseal__Disk *disk = &space->disks[i];
    pgseal__disk__init(disk);
    disk->n_places = look->disks[i].place_count;
    disk->places = (char **)look->disks[i].places;
    disk->free_bytes = look->disks[i].free_bytes;
    disk->total_bytes = look->disks[i].total_bytes;
    space->disk_list[i] = disk;
  }
  space->machine.n_disks = look->disk_count;
  space->machine.disks = space->disk_list;
}

void session_add_machine(Session *session, Pgseal__Envelope *envelope, MachineMessage *space) {
  if (machine_news(session->machine, &session->looked))
    session->tell_machine = true;
  if (!session->tell_machine)
    return;
  session->tell_machine = false;
  pgseal__machine__init(&space->machine);
  space->machine.load1 = session->looked.load1;
  space->machine.cpus = session->looked.cpus;
  space->machine.memory_total = session->looked.memory_total;
  space->machine.memory_available = session->looked.memory_available;
  add_slots(session, space);
  add_disks(session, space);
  envelope->machine = &space->machine;
}
