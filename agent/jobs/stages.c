#include "agent/jobs/stages.h"

#include "common/base/clock.h"
#include "common/base/memory.h"

#define SECOND_US 1e6

void stages_open(Stages *stages) {
  *stages = (Stages){.job_us = clock_monotonic_us()};
}

void stages_begin(Stages *stages, size_t stage) {
  stages->begun_us[stage] = clock_monotonic_us();
  stages->ended_us[stage] = 0;
}

void stages_end(Stages *stages, size_t stage) {
  if (stages->begun_us[stage] && !stages->ended_us[stage])
    stages->ended_us[stage] = clock_monotonic_us();
}

void stages_reset(Stages *stages) {
  *stages = (Stages){.job_us = stages->job_us};
}

json_t *stages_seconds(const Stages *stages, const char *const *names, size_t count) {
  json_t *json = json_object();
  for (size_t i = 0; i < count; i++) {
    int64_t took_us = stages->ended_us[i] ? stages->ended_us[i] - stages->begun_us[i] : 0;
    json_object_set_new(json, names[i], json_real((double)took_us / SECOND_US));
  }
  return json;
}

static char *dumped(json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
  json_decref(json);
  return text ? text : memory_strdup("{}");
}

void stages_tell(const Stages *stages, const char *const *names, size_t count, char **seconds, char **begun) {
  json_t *since = json_object();
  for (size_t i = 0; i < count; i++)
    if (stages->ended_us[i])
      json_object_set_new(since, names[i], json_real((double)(stages->begun_us[i] - stages->job_us) / SECOND_US));
  *seconds = dumped(stages_seconds(stages, names, count));
  *begun = dumped(since);
}
