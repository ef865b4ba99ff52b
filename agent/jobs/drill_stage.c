#include <stdlib.h>

#include "agent/jobs/drill.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static const char *const stage_names[DRILL_STAGE_COUNT] = {"prepare", "roles",  "restore", "index",
                                                           "assert",  "redump", "compare"};

void drill_stage_end(DrillRun *run) {
  stages_end(&run->stages, run->stage);
}

void drill_stage(DrillRun *run, DrillStage stage, const char *phase) {
  drill_stage_end(run);
  run->stage = stage;
  stages_begin(&run->stages, stage);
  run->progress.phase = (char *)phase;
  drill_report(run, true);
}

json_t *drill_stages_json(const DrillRun *run) {
  return stages_seconds(&run->stages, stage_names, DRILL_STAGE_COUNT);
}

void drill_stages_tell(const DrillRun *run, Pgseal__JobResult *result) {
  stages_tell(&run->stages, stage_names, DRILL_STAGE_COUNT, &result->stages_json, &result->stages_begun_json);
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
