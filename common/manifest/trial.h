/*
 * Trials: drills that prove nothing of their checkpoint. Forward: is it ready for the next major version? Canary: what
 * was read of it is damaged on purpose, in the agent's own copy; do drills see it? Their words, and what is signed.
 * Nothing of it is a proof, or can be made one: another statement, another purpose.
 */
#ifndef PGSEAL_COMMON_MANIFEST_TRIAL_H
#define PGSEAL_COMMON_MANIFEST_TRIAL_H

#include "common/base/error.h"
#include "common/crypto/digest.h"

#define TRIAL_PURPOSE "trial" /* of its signature */

typedef enum TrialDamage {
  TRIAL_SEGMENT_BYTE,      /* one bit of a segment */
  TRIAL_SEGMENT_TRUNCATED, /* its second half is gone */
  TRIAL_SEGMENT_MISSING,
  TRIAL_SEGMENT_SWAPPED, /* another one is in its place; needs two */
  TRIAL_MANIFEST_BYTE,
  TRIAL_ROW_LOST,     /* in the restored copy; where there is no row, as the next */
  TRIAL_OBJECT_ADDED, /* in the restored copy */
  TRIAL_DAMAGE_COUNT
} TrialDamage;
const char *trial_damage_name(TrialDamage damage); /* "segment_byte", ... */
bool trial_damage_from_name(const char *name, TrialDamage *damage);

typedef enum TrialVerdict {
  TRIAL_REFUTED,  /* canary: as it must be */
  TRIAL_SURVIVED, /* canary: the damage was not seen */
  TRIAL_READY,    /* forward: everything restores into the next major version, with the same contents */
  TRIAL_NOT_READY,
  TRIAL_VERDICT_COUNT
} TrialVerdict;
const char *trial_verdict_name(TrialVerdict verdict); /* "refuted", ... */
bool trial_verdict_from_name(const char *name, TrialVerdict *verdict);

/* What is signed. report: of the result, to the letter. Freed by the caller. */
char *trial_statement(const char *checkpoint_id, const char *trial_id, const char *manifest_sha256, const char *report,
                      TrialVerdict verdict);

#endif
