/*
 * The doctor: tries everything an agent's configuration names, the way a job would, and says what works, what is
 * missing, and what is more than it needs. `pgseal-agent check` and `pgseal doctor`.
 *
 *   doctor.c             the order of things, and how a finding is told
 *   doctor_keys.c        keys and certificates
 *   doctor_repository.c  what this agent may do in the repository, by trying it
 *   doctor_prune.c       the same, of one that only prunes
 *   doctor_bucket.c      of a bucket: versions, Object Lock, the clock
 *   doctor_database.c    databases: reachable, readable, dumped by the right pg_dump; by plans and restores, too
 *   doctor_drill.c       a disposable cluster of each major, started and thrown away; disk
 *
 * Blocking; main thread.
 */
#ifndef PGSEAL_AGENT_DOCTOR_DOCTOR_H
#define PGSEAL_AGENT_DOCTOR_DOCTOR_H

#include "agent/config.h"
#include "common/repository/repository.h"

typedef enum Finding { FINDING_OK, FINDING_WARN, FINDING_BAD } Finding;

enum { DOCTOR_MAJORS_LIMIT = 16 };

typedef struct Doctor {
  const AgentConfig *config;
  bool color;
  int warnings, bad;
  int majors[DOCTOR_MAJORS_LIMIT]; /* of the databases that were reached */
  size_t major_count;
  int64_t largest_bytes; /* database */
} Doctor;

/* Tries all, and prints a line for each. Exit code: 0 all well (warnings included), 1 something does not work, 2 the
 * configuration is wrong. */
int doctor(const char *config_path);

/* `what`: a few words. Continuation lines hold the remedy. */
void doctor_say(Doctor *doctor, Finding finding, const char *what, const char *format, ...) PRINTF_LIKE(4, 5);
void doctor_remedy(const char *format, ...) PRINTF_LIKE(1, 2);
void doctor_error(Doctor *doctor, const char *what, const Error *err); /* bad, with its remedy */

void doctor_keys(Doctor *doctor);
void doctor_repository(Doctor *doctor);
/* key: where nothing is. */
void doctor_pruner(Doctor *doctor, Repository *repository, const char *key);
void doctor_databases(Doctor *doctor);
void doctor_drill(Doctor *doctor);

/* What guards the bucket, as the server says it. False if it cannot be asked at all, which has been said then. */
bool doctor_bucket(Doctor *doctor, Repository *repository, RepositoryGuards *guards);
/* What was stored under key as that version: may this key destroy it? True if it is gone. */
bool doctor_bucket_version(Doctor *doctor, Repository *repository, const RepositoryGuards *guards, const char *key,
                           const char *version);

#endif
