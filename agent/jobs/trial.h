/*
 * Trials (common/manifest/trial.h), shared by trial*.c only. A trial is a drill that proves nothing: it walks the
 * stages of drill.h on a repository that can only be read, and ends with a report and a verdict of its own.
 *
 *   trial.c           canaries and forward trials: what they come to
 *   trial_damage.c    what a canary reads, damaged under way; the copy, damaged before it is dumped
 *
 * Its drill_proof.c is never called, and its repository refuses to store anything.
 */
#ifndef PGSEAL_AGENT_JOBS_TRIAL_H
#define PGSEAL_AGENT_JOBS_TRIAL_H

#include <stdatomic.h>

#include "agent/jobs/drill.h"
#include "common/manifest/trial.h"

typedef struct Trial {
  bool canary;
  TrialDamage damage;  /* canary */
  uint64_t at;         /* where */
  char *key;           /* of the object that is damaged; NULL: none */
  atomic_bool damaged; /* it was: set by whichever thread reads it */
} Trial;

/* Takes run->repository: from now on it is read only, and damaged if this is a canary. */
void trial_repository(DrillRun *run, Trial *trial);
/* Which object it is: once the manifest is known. ERR_INVALID_ARGUMENT: it has none that can be damaged so. */
Status trial_choose(const DrillRun *run, Trial *trial, Error *err) MUST_CHECK;
/* For DrillRun.tamper. */
Status trial_tamper(DrillRun *run, Error *err) MUST_CHECK;

#endif
