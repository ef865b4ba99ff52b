#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/doctor/doctor.h"
#include "agent/engine/engine.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* A copy takes about what the source takes; its WAL and what sorts while indexes are built come on top. */
static const double SPACE_FACTOR = 1.5;

static void check_disk(Doctor *doctor, const Engine *engine) {
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/any", doctor->config->data_dir);
  CLEANUP_FREE char *place = engine_place(engine, scratch);
  uint64_t device, room, total;
  char free_text[TEXT_SIZE_SIZE], needed_text[TEXT_SIZE_SIZE];
  if (!place || !file_room(place, &device, &room, &total))
    return;
  int64_t available = (int64_t)room;
  int64_t needed = (int64_t)((double)doctor->largest_bytes * SPACE_FACTOR);
  if (available >= needed) {
    doctor_say(doctor, FINDING_OK, "scratch", "%s free at %s", text_size(available, free_text), place);
    return;
  }
  doctor_say(doctor, FINDING_WARN, "scratch", "%s free at %s; a drill of the largest database may take %s",
             text_size(available, free_text), place, text_size(needed, needed_text));
  doctor_remedy("Give it a larger disk, or drill on another agent.");
}

/* The real thing: an image that is there may still hold no server, and a socket may still refuse. */
static void start_one(Doctor *doctor, Engine *engine, int major) {
  const AgentConfig *config = doctor->config;
  CLEANUP_FREE char *id = memory_strdup(id_new().text);
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/doctor-%s", config->data_dir, id);
  CLEANUP_FREE char *owner = agent_config_owner(config);
  ClusterOptions options = {.major = major,
                            .superuser = "postgres",
                            .job_id = id,
                            .agent = owner,
                            .scratch = scratch,
                            .bin_dirs = config->bin_dirs,
                            .bin_dir_count = config->bin_dir_count};
  char what[64];
  snprintf(what, sizeof what, "drill of PostgreSQL %d", major);
  Cluster *cluster = NULL;
  Error err;
  int64_t started = clock_monotonic_us();
  Status status = file_make_dirs(scratch, 0700, &err);
  if (status == STATUS_OK)
    status = cluster_start(engine, &options, &cluster, &err);
  if (status != STATUS_OK)
    doctor_error(doctor, what, &err);
  else
    doctor_say(doctor, FINDING_OK, what, "%s started in %.1f s (%s)", cluster_image(cluster),
               (double)(clock_monotonic_us() - started) / 1e6, engine_name(engine));
  cluster_stop(cluster);
  Error ignored;
  if (file_remove_tree(scratch, &ignored) != STATUS_OK)
    doctor_say(doctor, FINDING_WARN, what, "%s could not be removed", scratch);
}

void doctor_drill(Doctor *doctor) {
  const AgentConfig *config = doctor->config;
  Engine *engine = NULL;
  Error err;
  if (engine_open(&config->drill, &engine, &err)) {
    doctor_error(doctor, "drill engine", &err);
    return;
  }
  doctor_say(doctor, FINDING_OK, "drill engine", "%s", engine_name(engine));
  /* An agent that only drills knows no databases: the majors are then those it has images for. */
  for (size_t i = 0; doctor->major_count == 0 && i < config->drill.image_count && i < DOCTOR_MAJORS_LIMIT; i++)
    doctor->majors[doctor->major_count++] = config->drill.images[i].major;
  if (doctor->major_count == 0)
    doctor_say(doctor, FINDING_OK, "drill", "no major version to try: it has neither databases nor images of its own");
  for (size_t i = 0; i < doctor->major_count; i++)
    start_one(doctor, engine, doctor->majors[i]);
  check_disk(doctor, engine);
  engine_close(engine);
}
