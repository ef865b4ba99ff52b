#include "common/manifest/trial.h"

#include <string.h>

#include "common/base/memory.h"

static const char *const damage_names[TRIAL_DAMAGE_COUNT] = {
    [TRIAL_SEGMENT_BYTE] = "segment_byte",       [TRIAL_SEGMENT_TRUNCATED] = "segment_truncated",
    [TRIAL_SEGMENT_MISSING] = "segment_missing", [TRIAL_SEGMENT_SWAPPED] = "segment_swapped",
    [TRIAL_MANIFEST_BYTE] = "manifest_byte",     [TRIAL_ROW_LOST] = "row_lost",
    [TRIAL_OBJECT_ADDED] = "object_added",
};

static const char *const verdict_names[TRIAL_VERDICT_COUNT] = {[TRIAL_REFUTED] = "refuted",
                                                               [TRIAL_SURVIVED] = "survived",
                                                               [TRIAL_READY] = "ready",
                                                               [TRIAL_NOT_READY] = "not_ready"};

static bool find(const char *const *names, int count, const char *name, int *out) {
  for (*out = 0; *out < count; (*out)++)
    if (strcmp(names[*out], name) == 0)
      return true;
  return false;
}

const char *trial_damage_name(TrialDamage damage) {
  return (unsigned)damage < TRIAL_DAMAGE_COUNT ? damage_names[damage] : "unknown";
}

bool trial_damage_from_name(const char *name, TrialDamage *damage) {
  int found;
  if (!find(damage_names, TRIAL_DAMAGE_COUNT, name, &found))
    return false;
  *damage = (TrialDamage)found;
  return true;
}

const char *trial_verdict_name(TrialVerdict verdict) {
  return (unsigned)verdict < TRIAL_VERDICT_COUNT ? verdict_names[verdict] : "unknown";
}

bool trial_verdict_from_name(const char *name, TrialVerdict *verdict) {
  int found;
  if (!find(verdict_names, TRIAL_VERDICT_COUNT, name, &found))
    return false;
  *verdict = (TrialVerdict)found;
  return true;
}

char *trial_statement(const char *checkpoint_id, const char *trial_id, const char *manifest_sha256, const char *report,
                      TrialVerdict verdict) {
  char digest[SHA256_HEX_SIZE];
  sha256_hex(report, strlen(report), digest);
  return memory_format("trial=%s\ncheckpoint=%s\nmanifest=%s\nreport=%s\nverdict=%s\n", trial_id, checkpoint_id,
                       manifest_sha256, digest, trial_verdict_name(verdict));
}
