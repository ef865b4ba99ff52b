#include "agent/session/machine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/engine/engine.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

enum { LOOK_SECONDS = 5, MEMINFO_LIMIT = 64 << 10 };

struct Machine {
  const AgentConfig *config; /* not used once it is closed */
  MachinePlaces places;      /* the thread's own */
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t wake;
  MachineLook look;
  bool news, looking, closed;
};

/* ---- one look ---- */

static void add_place(MachineLook *look, const char *place, const char *path) {
  MachineDisk disk = {.places = {place}, .place_count = 1};
  if (!path || !file_room(path, &disk.device, &disk.free_bytes, &disk.total_bytes))
    return;
  for (size_t i = 0; i < look->disk_count; i++)
    if (look->disks[i].device == disk.device) {
      look->disks[i].places[look->disks[i].place_count++] = place;
      return;
    }
  look->disks[look->disk_count++] = disk;
}

static uint64_t meminfo(const char *text, const char *name) {
  const char *line = strstr(text, name);
  return line ? strtoull(line + strlen(name), NULL, 10) << 10 : 0;
}

static void look_at_memory(MachineLook *look) {
  CLEANUP(buffer_release) Buffer text = {0};
  Error ignored;
  if (file_read("/proc/meminfo", MEMINFO_LIMIT, &text, &ignored) != STATUS_OK)
    return;
  look->memory_total = meminfo(buffer_text(&text), "MemTotal:");
  look->memory_available = meminfo(buffer_text(&text), "MemAvailable:");
}

void machine_look(const MachinePlaces *places, MachineLook *out) {
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  *out = (MachineLook){.cpus = cpus > 0 ? (unsigned)cpus : 1};
  if (getloadavg(&out->load1, 1) != 1)
    out->load1 = 0;
  look_at_memory(out);
  add_place(out, "data", places->data);
  add_place(out, "drill", places->drill);
  add_place(out, "repository", places->repository);
}

/* ---- the thread ---- */

/* NULL where there are no drills, or it is not known yet. */
static char *find_drill_place(const AgentConfig *config) {
  Engine *engine = NULL;
  Error ignored; /* a drill says so */
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/any", config->data_dir);
  if ((!config->can_drill && !config->can_rehearse) || engine_open(&config->drill, &engine, &ignored) != STATUS_OK)
    return NULL;
  char *place = engine_place(engine, scratch);
  engine_close(engine);
  return place;
}

static void wait_seconds(Machine *machine, int seconds) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += seconds;
  while (!machine->closed && pthread_cond_timedwait(&machine->wake, &machine->lock, &until) == 0)
    ;
}

static void release_places(MachinePlaces *places) {
  free(places->data);
  free(places->drill);
  free(places->repository);
}

/* With the lock held; without it while it looks. */
static void look(Machine *machine) {
  MachineLook seen;
  bool search = !machine->places.drill;
  machine->looking = true;
  pthread_mutex_unlock(&machine->lock);
  if (search)
    machine->places.drill = find_drill_place(machine->config);
  machine_look(&machine->places, &seen);
  pthread_mutex_lock(&machine->lock);
  machine->looking = false;
  machine->look = seen;
  machine->news = true;
}

static void *run(void *user) {
  Machine *machine = user;
  pthread_mutex_lock(&machine->lock);
  while (!machine->closed) {
    look(machine);
    wait_seconds(machine, LOOK_SECONDS);
  }
  pthread_mutex_unlock(&machine->lock);
  return NULL;
}

static char *copy(const char *path) {
  return path ? memory_strdup(path) : NULL;
}

Machine *machine_open(const AgentConfig *config) {
  Machine *machine = memory_alloc(sizeof *machine);
  pthread_condattr_t attributes;
  machine->config = config;
  machine->places.data = copy(config->data_dir);
  machine->places.repository = copy(config->repository_directory);
  pthread_mutex_init(&machine->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&machine->wake, &attributes);
  pthread_condattr_destroy(&attributes);
  if (pthread_create(&machine->thread, NULL, run, machine) == 0)
    return machine;
  release_places(&machine->places);
  free(machine);
  return NULL;
}

bool machine_news(Machine *machine, MachineLook *out) {
  if (!machine)
    return false;
  pthread_mutex_lock(&machine->lock);
  bool news = machine->news;
  machine->news = false;
  *out = machine->look;
  pthread_mutex_unlock(&machine->lock);
  return news;
}

void machine_close(Machine *machine) {
  if (!machine)
    return;
  pthread_mutex_lock(&machine->lock);
  machine->closed = true;
  bool looking = machine->looking;
  pthread_cond_signal(&machine->wake);
  pthread_mutex_unlock(&machine->lock);
  if (looking) { /* for how long, nobody knows; the process is about to end */
    pthread_detach(machine->thread);
    return;
  }
  pthread_join(machine->thread, NULL);
  pthread_cond_destroy(&machine->wake);
  pthread_mutex_destroy(&machine->lock);
  release_places(&machine->places);
  free(machine);
}
