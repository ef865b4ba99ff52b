#include <stdlib.h>

#include "agent/jobs/drill.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static const char *const stage_names[DRILL_STAGE_COUNT] = {"prepare", "roles",  "restore", "index",
                                                           "assert",  "redump", "compare"};

void drill_stage_end(DrillRun *run) {
  if (run->stage_us)
    run->stages[run->stage] += (double)(clock_monotonic_us() - run->stage_us) / 1e6;
  run->stage_us = 0;
}

void drill_stage(DrillRun *run, DrillStage stage, const char *phase) {
  drill_stage_end(run);
  run->stage = stage;
  run->stage_us = clock_monotonic_us();
  run->progress.phase = (char *)phase;
  drill_report(run, true);
}

json_t *drill_stages_json(const DrillRun *run) {
  json_t *json = json_object();
  for (size_t i = 0; i < DRILL_STAGE_COUNT; i++)
    json_object_set_new(json, stage_names[i], json_real(run->stages[i]));
  return json;
}

void drill_report(DrillRun *run, bool force) {
  run->progress.table = run->progress_table;
  job_progress(run->context, &run->progress, force);
}

void drill_note(DrillRun *run, const char *format, ...) {
  if (run->note_count >= DRILL_NOTE_LIMIT)
    return;
  va_list args;
  va_start(args, format);
  char text[ERROR_MESSAGE_SIZE], clean[ERROR_MESSAGE_SIZE];
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  ARRAY_PUSH(run->notes, run->note_count, memory_strdup(text_clean(text, clean, sizeof clean)));
}
