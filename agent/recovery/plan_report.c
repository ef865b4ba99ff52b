#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { REPORT_ITEMS_MAX = 4000 };

static json_t *text_or_null(RecoveryRun *run, const char *text) {
  return text ? recovery_text(run, text) : json_null();
}

static json_t *object_json(Plan *plan, const ArchiveChange *change) {
  RecoveryRun *run = &plan->run;
  json_t *json = json_object();
  json_object_set_new(json, "change", json_string(archive_change_name(change->kind)));
  json_object_set_new(json, "desc", recovery_text(run, change->desc));
  json_object_set_new(json, "schema", recovery_text(run, change->schema));
  json_object_set_new(json, "name", recovery_text(run, change->name));
  json_object_set_new(json, "table", recovery_text(run, change->table));
  json_object_set_new(json, "roll_forward", recovery_texts(run, &change->roll_forward));
  json_object_set_new(json, "because_of", text_or_null(run, change->because_of));
  json_object_set_new(json, "recreated", json_boolean(change->recreated));
  json_object_set_new(json, "note", text_or_null(run, change->note));
  return json;
}

static json_t *column_json(Plan *plan, const ArchiveColumnChange *change) {
  RecoveryRun *run = &plan->run;
  json_t *json = json_object();
  json_object_set_new(json, "schema", recovery_text(run, change->schema));
  json_object_set_new(json, "table", recovery_text(run, change->table));
  json_object_set_new(json, "column", recovery_text(run, change->column));
  json_object_set_new(json, "change", json_string(archive_column_change_name(change->kind)));
  json_object_set_new(json, "was", text_or_null(run, change->was));
  json_object_set_new(json, "is", text_or_null(run, change->is));
  json_object_set_new(json, "roll_forward", recovery_texts(run, &change->roll_forward));
  json_object_set_new(json, "note", text_or_null(run, change->note));
  return json;
}

static json_t *rename_json(Plan *plan, const ArchiveRename *rename) {
  RecoveryRun *run = &plan->run;
  json_t *json = json_object();
  json_object_set_new(json, "desc", recovery_text(run, rename->desc));
  json_object_set_new(json, "schema", recovery_text(run, rename->schema));
  json_object_set_new(json, "table", recovery_text(run, rename->table));
  json_object_set_new(json, "from", recovery_text(run, rename->from));
  json_object_set_new(json, "to", recovery_text(run, rename->to));
  json_object_set_new(json, "roll_forward", recovery_texts(run, &rename->roll_forward));
  return json;
}

static const char *state_name(PlanTableState state) {
  static const char *const names[] = {"same",         "fewer",           "more",      "missing",
                                      "content_same", "content_changed", "unreadable"};
  return names[state];
}

static void add_rows(Plan *plan, const PlanTable *table, json_t *json) {
  json_t *key = json_array();
  json_object_set_new(json, "rows_missing", json_integer(table->missing));
  json_object_set_new(json, "rows_changed", json_integer(table->changed));
  json_object_set_new(json, "rows_new", json_integer(table->fresh));
  for (size_t i = 0; i < table->key_count; i++)
    json_array_append_new(key, recovery_text(&plan->run, table->key[i]));
  json_object_set_new(json, "key", key);
}

static json_t *table_json(Plan *plan, const PlanTable *table) {
  RecoveryRun *run = &plan->run;
  json_t *json = json_object();
  json_object_set_new(json, "schema", recovery_text(run, table->then->schema));
  json_object_set_new(json, "name", recovery_text(run, table->then->name));
  json_object_set_new(json, "rows_then", json_integer(table->then->rows));
  json_object_set_new(json, "rows_now", table->rows_now >= 0 ? json_integer(table->rows_now) : json_null());
  json_object_set_new(json, "bytes", json_integer(table->then->bytes));
  json_object_set_new(json, "state", json_string(state_name(table->state)));
  json_object_set_new(json, "lost", json_boolean(plan_table_is_lost(plan, table)));
  json_object_set_new(json, "recreated", json_boolean(table->recreated));
  if (table->compared)
    add_rows(plan, table, json);
  json_object_set_new(json, "note", text_or_null(run, table->note));
  return json;
}

/* Lists of at most `limit` items; what is left out is counted. */
typedef struct Lists {
  size_t limit, left_out;
} Lists;

static void add(Lists *lists, json_t *array, json_t *item) {
  if (json_array_size(array) < lists->limit) {
    json_array_append_new(array, item);
    return;
  }
  json_decref(item);
  lists->left_out++;
}

static void add_changes(Plan *plan, Lists *lists, json_t *report) {
  json_t *objects = json_array(), *columns = json_array(), *renames = json_array();
  const ChangeList *changes = &plan->changes;
  for (size_t i = 0; i < changes->object_count; i++)
    if (plan_covers_object(plan, &changes->objects[i]))
      add(lists, objects, object_json(plan, &changes->objects[i]));
  for (size_t i = 0; i < changes->column_count; i++)
    if (plan_covers_then(plan, changes->columns[i].then))
      add(lists, columns, column_json(plan, &changes->columns[i]));
  for (size_t i = 0; i < changes->rename_count; i++)
    if (plan_covers_rename(plan, &changes->renames[i]))
      add(lists, renames, rename_json(plan, &changes->renames[i]));
  json_object_set_new(report, "objects", objects);
  json_object_set_new(report, "columns", columns);
  json_object_set_new(report, "renames", renames);
}

static bool is_as_it_was(const PlanTable *table) {
  return table->state == PLAN_SAME || table->state == PLAN_CONTENT_SAME;
}

/* Those that differ come first. */
static void add_tables(Plan *plan, Lists *lists, json_t *report) {
  json_t *tables = json_array();
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = 0; i < plan->table_count; i++)
      if (is_as_it_was(&plan->tables[i]) == (pass == 1))
        add(lists, tables, table_json(plan, &plan->tables[i]));
  json_object_set_new(report, "tables", tables);
}

json_t *plan_comparison(Plan *plan, size_t limit) {
  RecoveryRun *run = &plan->run;
  Lists lists = {.limit = limit};
  json_t *report = json_object(), *notes = json_array();
  json_object_set_new(report, "damage", json_string(plan_damage_name(plan->damage)));
  json_object_set_new(report, "unread", json_integer((json_int_t)plan_unread(plan)));
  json_object_set_new(report, "threshold_percent", json_real(plan->threshold_percent));
  add_changes(plan, &lists, report);
  add_tables(plan, &lists, report);
  for (size_t i = 0; i < plan->note_count; i++)
    json_array_append_new(notes, recovery_text(run, plan->notes[i]));
  if (lists.left_out) {
    CLEANUP_FREE char *text =
        memory_format("%zu items are left out of this report: ask for some of the tables.", lists.left_out);
    json_array_append_new(notes, json_string(text));
  }
  json_object_set_new(report, "notes", notes);
  json_object_set_new(report, "left_out", json_integer((json_int_t)lists.left_out));
  return report;
}

static json_t *build(void *user, size_t limit) {
  Plan *plan = user;
  json_t *report = recovery_report_head(&plan->run, "plan");
  CLEANUP(json_decrefp) json_t *comparison = plan_comparison(plan, limit);
  json_object_update(report, comparison);
  CLEANUP_FREE char *advice = plan_advice(plan);
  json_object_set_new(report, "advice", recovery_text(&plan->run, advice));
  json_object_set_new(report, "ways", plan_ways(plan, limit));
  return report;
}

char *plan_report(Plan *plan) {
  return plan_report_fit(build, plan);
}

char *plan_report_fit(json_t *(*make)(void *user, size_t limit), void *user) {
  for (size_t limit = REPORT_ITEMS_MAX;; limit /= 2) {
    CLEANUP(json_decrefp) json_t *report = make(user, limit);
    char *text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (!text)
      return memory_strdup("{}");
    if (strlen(text) <= PLAN_REPORT_LIMIT || limit == 0)
      return text;
    free(text);
  }
}
