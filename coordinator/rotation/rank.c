/* Ranking: how urgent, how risky. */
#include <string.h>
#include <strings.h>

#include "common/base/cleanup.h"
#include "coordinator/rotation/rotation.h"

#define DAY_US ((int64_t)86400 * 1000000)

const double rotation_weights[ROTATION_FACTOR_COUNT] = {
    [ROTATION_ENVIRONMENT] = 0.30,   [ROTATION_CHECKPOINT_AGE] = 0.10, [ROTATION_CHANGE] = 0.20,
    [ROTATION_IMAGE_CHANGED] = 0.10, [ROTATION_KEY_CHANGED] = 0.15,    [ROTATION_MAJOR_CHANGED] = 0.15,
};

static const char *const factor_names[ROTATION_FACTOR_COUNT] = {
    [ROTATION_ENVIRONMENT] = "environment", [ROTATION_CHECKPOINT_AGE] = "checkpoint_age",
    [ROTATION_CHANGE] = "change",           [ROTATION_IMAGE_CHANGED] = "image_changed",
    [ROTATION_KEY_CHANGED] = "key_changed", [ROTATION_MAJOR_CHANGED] = "major_changed",
};

static const char *const kind_names[ROTATION_KINDS] = {"latest", "old", "bare", "forward", "canary"};

const char *rotation_kind_name(RotationKind kind) {
  for (int i = 0; i < ROTATION_KINDS; i++)
    if ((unsigned)kind == 1u << i)
      return kind_names[i];
  return "unknown";
}

bool rotation_kind_from_name(const char *name, RotationKind *kind) {
  for (int i = 0; i < ROTATION_KINDS; i++) {
    if (strcmp(kind_names[i], name) != 0)
      continue;
    *kind = (RotationKind)(1 << i);
    return true;
  }
  return false;
}

const char *rotation_factor_name(RotationFactor factor) {
  return (unsigned)factor < ROTATION_FACTOR_COUNT ? factor_names[factor] : "unknown";
}

double rotation_environment(const char *name) {
  if (strncasecmp(name, "prod", 4) == 0)
    return 1;
  return strncasecmp(name, "stag", 4) == 0 ? 0.5 : 0.25;
}

static double bounded(double value) {
  return value >= 1 ? 1 : value > 0 ? value : 0; /* not a number: 0 */
}

double rotation_risk(const RotationItem *item, int64_t now_us, double out[ROTATION_FACTOR_COUNT]) {
  double own[ROTATION_FACTOR_COUNT] = {0};
  int64_t age_us = now_us > item->finished_us ? now_us - item->finished_us : 0;
  own[ROTATION_ENVIRONMENT] = bounded(item->environment);
  own[ROTATION_CHECKPOINT_AGE] = (double)age_us / ((double)age_us + 30.0 * DAY_US); /* half at a month */
  own[ROTATION_CHANGE] = bounded(item->change);
  for (int i = ROTATION_IMAGE_CHANGED; i <= ROTATION_MAJOR_CHANGED; i++)
    own[i] = item->changed & (1u << i) ? 1 : 0;
  double total = 0;
  for (size_t i = 0; i < ARRAY_SIZE(own); i++)
    total += rotation_weights[i] * own[i];
  if (out)
    memcpy(out, own, sizeof own);
  return total;
}

double rotation_urgency(const RotationItem *item, int64_t now_us) {
  if (now_us <= item->proven_us || item->objective_us <= 0)
    return 0;
  return (double)(now_us - item->proven_us) / (double)item->objective_us;
}

double rotation_score(const RotationItem *item, int64_t now_us) {
  return rotation_urgency(item, now_us) * (1 + rotation_risk(item, now_us, NULL));
}
