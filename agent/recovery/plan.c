#include "agent/recovery/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

void plan_release(Plan *plan) {
  plan_tables_release(plan);
  change_list_release(&plan->changes);
  archive_selection_release(&plan->selection);
  for (size_t i = 0; i < plan->note_count; i++)
    free(plan->notes[i]);
  free(plan->notes);
  recovery_release(&plan->run);
}

void plan_note(Plan *plan, const char *format, ...) {
  char text[ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  ARRAY_PUSH(plan->notes, plan->note_count, memory_strdup(text));
}

char *plan_table_name(const PlanTable *table) {
  return sql_shown_name(table->then->schema, table->then->name);
}

bool plan_covers_then(const Plan *plan, long entry) {
  return !plan->selection.classes || (entry != ARCHIVE_NO_ENTRY && plan->selection.classes[entry] != ENTRY_LEFT);
}

/* The live schema was read without the tables that may not be read: they are no less there. */
static bool is_hidden(const Plan *plan, long then) {
  long owner = then == ARCHIVE_NO_ENTRY ? ARCHIVE_NO_ENTRY : archive_index_owner(plan->run.then, then);
  if (owner == ARCHIVE_NO_ENTRY)
    return false;
  const ArchiveEntry *relation = &archive_index_toc(plan->run.then)->entries[owner];
  const DumpTable *live = recovery_live_table(&plan->run, relation->schema, relation->tag);
  return live && !live->readable;
}

bool plan_covers_rename(const Plan *plan, const ArchiveRename *rename) {
  return plan_covers_then(plan, rename->then) && !is_hidden(plan, rename->then);
}

/* What was added is of interest where its relation is. */
bool plan_covers_object(const Plan *plan, const ArchiveChange *change) {
  if (is_hidden(plan, change->then))
    return false;
  if (!plan->selection.classes || change->then != ARCHIVE_NO_ENTRY)
    return plan_covers_then(plan, change->then);
  long owner = archive_index_owner(plan->run.now, change->now);
  if (owner == ARCHIVE_NO_ENTRY)
    return false;
  const ArchiveEntry *relation = &archive_index_toc(plan->run.now)->entries[owner];
  return plan_covers_then(plan, archive_index_relation(plan->run.then, relation->schema, relation->tag));
}

static void take_request(Plan *plan) {
  const json_t *threshold = json_object_get(plan->run.request, "threshold_percent");
  plan->threshold_percent = json_is_number(threshold) ? json_number_value(threshold) : PLAN_THRESHOLD_PERCENT;
}

static Status take_tables(Plan *plan, Error *err) {
  size_t count;
  CLEANUP_FREE const char **patterns = recovery_patterns(&plan->run, "tables", &count);
  return count ? archive_select(plan->run.then, patterns, count, &plan->selection, err) : STATUS_OK;
}

/* The schema's dump and the counts side by side, in one snapshot. */
static Status look(Plan *plan, Error *err) {
  RecoveryRun *run = &plan->run;
  CLEANUP(process_release) Process process = {0};
  CLEANUP(dump_counts_stop) DumpCounts *counts = NULL;
  recovery_phase(run, "preflight");
  Status status = recovery_target_open(run, true, err);
  if (status == STATUS_OK)
    status = take_tables(plan, err);
  if (status == STATUS_OK)
    status = recovery_target_snapshot(run, err);
  if (status != STATUS_OK)
    return status;
  recovery_phase(run, "comparing");
  status = recovery_schema_start(run, &process, err);
  if (status == STATUS_OK)
    status = dump_counts_start(&run->live, false, &counts, err);
  if (status == STATUS_OK)
    status = recovery_schema_finish(run, &process, err);
  if (status == STATUS_OK)
    recovery_phase(run, "counting");
  return status == STATUS_OK ? dump_counts_wait(counts, err) : status;
}

static void note_unreadable(Plan *plan) {
  CLEANUP(buffer_release) Buffer names = {0};
  const DumpTables *tables = &plan->run.live.tables;
  size_t count = 0;
  for (size_t i = 0; i < tables->count; i++) {
    const DumpTable *table = &tables->items[i];
    bool unseen = table->relkind != 'S' && (!table->readable || table->row_security);
    if (unseen && count++ < DUMP_NAMED_LIMIT)
      buffer_append_format(&names, "%s%s", names.size ? ", " : "", table->quoted);
  }
  if (count > 0)
    plan_note(plan, "%zu tables may not be read by this role, and were not compared: %s%s. GRANT SELECT on them.",
              count, buffer_text(&names), count > DUMP_NAMED_LIMIT ? ", ..." : "");
}

static void note_circumstances(Plan *plan) {
  const RecoveryRun *run = &plan->run;
  note_unreadable(plan);
  if (!run->spec->proven)
    plan_note(plan, "The checkpoint is not sealed: no drill has proven that it restores.");
  if (run->live.source.major != run->manifest.server_major)
    plan_note(
        plan,
        "The server is PostgreSQL %d now and was %d at the checkpoint: definitions may only be worded differently.",
        run->live.source.major, run->manifest.server_major);
  if (run->live.source.in_recovery)
    plan_note(plan, "The server is a standby: what it has not replayed yet is not seen.");
  if (run->live.source.database_name && strcmp(run->live.source.database_name, run->manifest.database_name) != 0)
    plan_note(plan, "The checkpoint was made of a database of another name.");
}

static Status compare(Plan *plan, Error *err) {
  archive_changes(plan->run.then, plan->run.now, &plan->changes);
  plan_tables_list(plan);
  Status status = plan_tables_look(plan, err);
  if (status != STATUS_OK)
    return status;
  note_circumstances(plan);
  plan_damage_judge(plan);
  return STATUS_OK;
}

Status plan_of_copy(Plan *plan, const JobContext *context, Conninfo *conninfo, const ArchiveToc *before,
                    json_t *request, Error *err) {
  plan->all = true;
  Status status = recovery_open_copy(&plan->run, context, "pgseal rehearse", conninfo, before, request, err);
  take_request(plan);
  if (status == STATUS_OK)
    status = look(plan, err);
  return status == STATUS_OK ? compare(plan, err) : status;
}

static char *stages_json(double opening, double looking, double comparing) {
  return memory_format("{\"reading\":%.3f,\"looking\":%.3f,\"comparing\":%.3f}", opening, looking, comparing);
}

Status plan_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(plan_release) Plan plan = {0};
  CLEANUP_FREE char *application = memory_format("pgseal-%s", context->job->id);
  Status status = recovery_open(&plan.run, context, application, err);
  take_request(&plan);
  if (status == STATUS_OK) /* from the repository, so before anything is locked */
    recovery_pace(&plan.run, &plan.pace);
  double opened = recovery_seconds(&plan.run);
  if (status == STATUS_OK)
    status = look(&plan, err);
  double looked = recovery_seconds(&plan.run);
  if (status == STATUS_OK)
    status = compare(&plan, err);
  result->stages_json = stages_json(opened, looked - opened, recovery_seconds(&plan.run) - looked);
  if (status != STATUS_OK)
    return status;
  result->report_json = plan_report(&plan);
  log_info("the plan is made", "damage", plan_damage_name(plan.damage), NULL);
  return STATUS_OK;
}
