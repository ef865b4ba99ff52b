#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/doctor/doctor.h"
#include "agent/jobs/examine.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static const int64_t SKEW_US = 5000000;

static void note_major(Doctor *doctor, int major) {
  for (size_t i = 0; i < doctor->major_count; i++)
    if (doctor->majors[i] == major)
      return;
  if (doctor->major_count < DOCTOR_MAJORS_LIMIT)
    doctor->majors[doctor->major_count++] = major;
}

/* pg_dump of an older minor release may lack fixes that the server has; of another major it would not be used. */
static void compare_versions(Doctor *doctor, const AgentDatabase *database, const DumpExamination *found) {
  size_t server = strcspn(found->server_version, " "), tool = strcspn(found->dump_version, " ");
  if (server == tool && strncmp(found->server_version, found->dump_version, server) == 0)
    return;
  doctor_say(doctor, FINDING_WARN, database->name, "the server is %.*s, pg_dump %.*s", (int)server,
             found->server_version, (int)tool, found->dump_version);
  doctor_remedy("Another minor release of the same major version works; keep both up to date.");
}

static void check_clock(Doctor *doctor, const AgentDatabase *database, int64_t server_us) {
  int64_t skew = server_us - clock_wall_us();
  if (skew > -SKEW_US && skew < SKEW_US)
    return;
  doctor_say(doctor, FINDING_WARN, database->name, "the server's clock is %+.0f s from this machine's",
             (double)skew / 1e6);
  doctor_remedy(
      "Times in manifests and proofs are this machine's; S3 refuses requests that are a quarter of an hour off. "
      "Run NTP on both.");
}

static void check_conninfo(Doctor *doctor, const AgentDatabase *database) {
  struct stat info;
  if (stat(database->conninfo_file, &info) != 0 || (info.st_mode & 077) == 0)
    return;
  doctor_say(doctor, FINDING_WARN, database->name, "%s may be read by others (mode %04o)", database->conninfo_file,
             info.st_mode & 07777);
  doctor_remedy("chmod 600 %s: it may hold a password.", database->conninfo_file);
}

/* restores: the connection is that of plans and restores, whose role may well have to be a superuser. */
static void check(Doctor *doctor, const AgentDatabase *database, bool restores) {
  CLEANUP(dump_examination_release) DumpExamination found = {0};
  Error err;
  check_conninfo(doctor, database);
  Status status = dump_examine(doctor->config, database, &found, &err);
  if (found.major)
    note_major(doctor, found.major);
  if (found.bytes > doctor->largest_bytes)
    doctor->largest_bytes = found.bytes;
  if (status != STATUS_OK) {
    doctor_error(doctor, database->name, &err);
    return;
  }
  char size[TEXT_SIZE_SIZE];
  doctor_say(doctor, FINDING_OK, database->name, "PostgreSQL %s, %s, %zu tables and sequences, all readable%s as %s%s",
             found.server_version, text_size(found.bytes, size), found.tables,
             restores ? " (by plans and restores)" : "", found.role, found.superuser ? " (a superuser)" : "");
  if (found.superuser && !restores) {
    doctor_say(doctor, FINDING_WARN, database->name,
               "the role is a superuser: whoever takes this agent has the database");
    doctor_remedy("CREATE ROLE pgseal LOGIN; GRANT pg_read_all_data TO pgseal; (14 and later; with row-level security "
                  "also BYPASSRLS).");
  }
  compare_versions(doctor, database, &found);
  check_clock(doctor, database, found.server_us);
}

void doctor_databases(Doctor *doctor) {
  const AgentConfig *config = doctor->config;
  if (config->database_count == 0) {
    doctor_say(doctor, FINDING_WARN, "databases", "this agent %s, but has no databases",
               config->can_dump ? "dumps" : "restores");
    doctor_remedy("Name them under `databases` in %s.", config->path);
  }
  for (size_t i = 0; i < config->database_count; i++) {
    AgentDatabase database = config->databases[i];
    if (config->can_dump)
      check(doctor, &database, false);
    bool same = strcmp(database.conninfo_file, database.restore_conninfo_file) == 0;
    database.conninfo_file = database.restore_conninfo_file;
    if (config->can_restore && !(config->can_dump && same))
      check(doctor, &database, true);
  }
}
