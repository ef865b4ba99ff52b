#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* Whoever asked takes this kind for what it is. */
static bool is_allowed(const Rehearsal *rehearsal, const char *kind) {
  const json_t *list = json_object_get(rehearsal->request.json, "allow"), *item;
  size_t index;
  json_array_foreach(list, index,
                     item) if (json_is_string(item) && strcmp(json_string_value(item), kind) == 0) return true;
  return false;
}

/* Takes object and detail. */
static void find(Rehearsal *rehearsal, bool danger, const char *kind, char *object, char *detail, const char *remedy) {
  bool allowed = danger && is_allowed(rehearsal, kind);
  json_t *json = json_object();
  json_object_set_new(json, "danger", json_boolean(danger && !allowed));
  if (allowed)
    json_object_set_new(json, "allowed", json_true());
  json_object_set_new(json, "kind", json_string(kind));
  json_object_set_new(json, "object", recovery_text(&rehearsal->plan.run, object));
  json_object_set_new(json, "detail", recovery_text(&rehearsal->plan.run, detail));
  json_object_set_new(json, "remedy", json_string(remedy));
  json_array_append_new(rehearsal->findings, json);
  rehearsal->dangers += danger && !allowed;
  free(object);
  free(detail);
}

static char *change_object(const ArchiveChange *change) {
  CLEANUP_FREE char *name = sql_shown_name(change->schema, *change->table ? change->table : change->name);
  return *change->table ? memory_format("%s %s of %s", change->desc, change->name, name)
                        : memory_format("%s %s", change->desc, name);
}

/* Tables are told of with their rows. */
static bool is_known_table(const Rehearsal *rehearsal, long then) {
  for (size_t i = 0; i < rehearsal->plan.table_count; i++)
    if (rehearsal->plan.tables[i].then_entry == then && rehearsal->plan.tables[i].state == PLAN_MISSING)
      return true;
  return false;
}

static void find_objects(Rehearsal *rehearsal) {
  const Plan *plan = &rehearsal->plan;
  for (size_t i = 0; i < plan->changes.object_count; i++) {
    const ArchiveChange *change = &plan->changes.objects[i];
    if (change->kind == CHANGE_ADDED || !plan_covers_object(plan, change))
      continue;
    if (change->kind == CHANGE_CHANGED || plan_is_remark(change->desc)) {
      const char *what = change->kind == CHANGE_MISSING ? "it is gone"
                         : change->recreated            ? "it was dropped and made again"
                                                        : "its definition is another";
      find(rehearsal, change->recreated, change->recreated ? "object_recreated" : "object_changed",
           change_object(change), memory_strdup(what), "See whether that is meant.");
    } else if (!is_known_table(rehearsal, change->then)) {
      find(rehearsal, true, "object_lost", change_object(change),
           change->because_of ? memory_format("it went with %s", change->because_of) : memory_strdup("it is gone"),
           "Take what drops it out of the migration, or make it again in the same one.");
    }
  }
}

static const PlanTable *table_of(const Plan *plan, long then) {
  for (size_t i = 0; i < plan->table_count; i++)
    if (plan->tables[i].then_entry == then)
      return &plan->tables[i];
  return NULL;
}

/* Do a table's values read as before, whatever their types are now? */
static bool reads_the_same(const Plan *plan, long then) {
  const PlanTable *table = table_of(plan, then);
  return !table || table->state == PLAN_CONTENT_SAME || (table->compared && table->changed == 0);
}

static void find_columns(Rehearsal *rehearsal) {
  const Plan *plan = &rehearsal->plan;
  for (size_t i = 0; i < plan->changes.column_count; i++) {
    const ArchiveColumnChange *change = &plan->changes.columns[i];
    if (change->kind == COLUMN_ADDED || !plan_covers_then(plan, change->then))
      continue;
    CLEANUP_FREE char *table = sql_shown_name(change->schema, change->table);
    CLEANUP_FREE char *name = sql_shown_name("", change->column);
    char *object = memory_format("%s.%s", table, name);
    if (change->kind == COLUMN_MISSING) {
      const PlanTable *rows = table_of(plan, change->then);
      find(rehearsal, true, "column_lost", object,
           memory_format("it is gone, with its values in %lld rows", (long long)(rows ? rows->then->rows : 0)),
           "Drop a column only when nothing that runs uses it any more, in a migration of its own.");
    } else if (change->kind == COLUMN_RETYPED) {
      bool same = reads_the_same(plan, change->then);
      find(rehearsal, !same, "column_retyped", object,
           memory_format("%s is %s now, and %s", change->was ? change->was : "?", change->is ? change->is : "?",
                         same ? "every value reads as before" : "values of this table do not read as before"),
           "Compare the values before and after; to keep the old ones, add a column and fill it.");
    } else {
      find(rehearsal, false, "column_changed", object,
           memory_format("%s is %s now", change->was ? change->was : "?", change->is ? change->is : "?"),
           "See whether that is meant.");
    }
  }
}

static void find_renames(Rehearsal *rehearsal) {
  const Plan *plan = &rehearsal->plan;
  for (size_t i = 0; i < plan->changes.rename_count; i++) {
    const ArchiveRename *rename = &plan->changes.renames[i];
    if (!plan_covers_rename(plan, rename))
      continue;
    CLEANUP_FREE char *of = sql_shown_name(rename->schema, *rename->table ? rename->table : rename->from);
    CLEANUP_FREE char *from = sql_shown_name("", rename->from);
    find(rehearsal, false, "renamed",
         memory_format("%s %s%s%s", rename->desc, of, *rename->table ? "." : "", *rename->table ? from : ""),
         memory_format("it is called %s now", rename->to),
         "What runs still uses the old name: rename only where both names are known, or keep a view.");
  }
}

static void find_changed_rows(Rehearsal *rehearsal, const PlanTable *table, char *object) {
  const double rows = (double)table->then->rows;
  if (table->compared && table->changed == 0) {
    free(object);
    return;
  }
  bool many = !table->compared || (double)table->changed * 100 > rehearsal->plan.threshold_percent * rows;
  char *detail =
      table->compared
          ? memory_format("%lld of %lld rows have other values", (long long)table->changed, (long long)rows)
          : memory_strdup("rows have other values; how many is not known, since they were not compared by a key");
  find(rehearsal, many, "rows_changed", object, detail,
       "See whether the statement has the filter that is meant; change many rows in a step of its own.");
}

static bool has_lost_column(const Plan *plan, const PlanTable *table) {
  for (size_t i = 0; i < plan->changes.column_count; i++)
    if (plan->changes.columns[i].then == table->then_entry && plan->changes.columns[i].kind == COLUMN_MISSING)
      return true;
  return false;
}

static void find_rows(Rehearsal *rehearsal) {
  const Plan *plan = &rehearsal->plan;
  for (size_t i = 0; i < plan->table_count; i++) {
    const PlanTable *table = &plan->tables[i];
    const int64_t lost = plan_table_lost(table);
    if (table->state == PLAN_MISSING) {
      CLEANUP_FREE char *name = plan_table_name(table);
      find(rehearsal, true, "object_lost", memory_format("TABLE %s", name),
           memory_format("it is gone, with %lld rows", (long long)table->then->rows),
           "Drop a table only when nothing that runs uses it any more, in a migration of its own.");
      continue;
    }
    if (lost > 0)
      find(rehearsal, plan_table_is_lost(plan, table), "rows_lost", plan_table_name(table),
           memory_format("%lld of %lld rows are gone", (long long)lost, (long long)table->then->rows),
           "See whether the statement has the filter that is meant; delete many rows in a step of its own.");
    /* what is known of a digest alone may be the retyped column's values, which are told of there */
    if ((table->compared || (table->state == PLAN_CONTENT_CHANGED && !table->retyped)) &&
        !(has_lost_column(plan, table) && !table->compared))
      find_changed_rows(rehearsal, table, plan_table_name(table));
  }
}

static void find_locks(Rehearsal *rehearsal) {
  for (size_t i = 0; i < rehearsal->relations.count; i++) {
    const RehearsalRelation *relation = &rehearsal->relations.items[i];
    for (RehearsalMode mode = REHEARSAL_MODES; mode-- > REHEARSAL_SHARE;) {
      const double seconds = (double)relation->held_us[mode] / 1e6;
      if (relation->rows == 0 || relation->held_us[mode] == 0 || seconds < rehearsal->request.lock_seconds)
        continue;
      find(rehearsal, true, "lock", sql_shown_name(relation->schema, relation->name),
           memory_format("%s was held for %.1f s: nobody could %s it meanwhile", rehearsal_mode_name(mode), seconds,
                         mode == REHEARSAL_ACCESS_EXCLUSIVE ? "read or write" : "write to"),
           "Use the variant that locks less (CONCURRENTLY, NOT VALID and VALIDATE, smaller transactions), and a "
           "lock_timeout.");
      break;
    }
  }
}

static void find_rewrites(Rehearsal *rehearsal) {
  for (size_t i = 0; i < rehearsal->relations.count; i++) {
    const RehearsalRelation *relation = &rehearsal->relations.items[i];
    char size[TEXT_SIZE_SIZE];
    if (!relation->rewritten || relation->emptied)
      continue;
    find(rehearsal, relation->bytes > rehearsal->request.rewrite_bytes, "rewrite",
         sql_shown_name(relation->schema, relation->name),
         memory_format("the whole table was written anew: %s", text_size(relation->bytes, size)),
         "Add a column and fill it in steps, instead of changing the type of one that is there.");
  }
}

static void find_statements(Rehearsal *rehearsal) {
  const RehearsalStatements *statements = &rehearsal->statements;
  for (size_t i = 0; i < statements->failure_count; i++) {
    const RehearsalStatement *one = &statements->failures[i];
    find(rehearsal, one->file != NULL, "statement_failed",
         one->file ? memory_format("%s, line %d", one->file, one->line) : memory_strdup(one->outline),
         memory_strdup(one->message), "Correct the migration.");
  }
  for (size_t i = 0; i < statements->longest_count; i++) {
    const RehearsalStatement *one = &statements->longest[i];
    if (one->seconds < rehearsal->request.slow_seconds)
      break;
    find(rehearsal, false, "slow",
         one->file ? memory_format("%s, line %d", one->file, one->line) : memory_strdup(one->outline),
         memory_format("the statement took %.1f s on the copy", one->seconds),
         "Production's machine may be faster or slower, and others work on it meanwhile.");
  }
  if (rehearsal->request.tunnel && rehearsal->failed)
    find(rehearsal, true, "command_failed", memory_strdup("the command"),
         rehearsal->over
             ? memory_format("it was ended: the copy is kept for %d seconds", rehearsal->request.keep_seconds)
             : memory_format("it ended with exit status %d", rehearsal->exit_status),
         "See what it said, and correct the migration.");
  if (rehearsal->unfinished)
    find(rehearsal, true, "unfinished", memory_strdup("the migration"),
         memory_strdup("its last transaction was not committed, so that nothing of it stayed"), "End it with COMMIT.");
}

void rehearsal_findings_make(Rehearsal *rehearsal) {
  rehearsal->findings = json_array();
  find_statements(rehearsal);
  find_rows(rehearsal);
  find_objects(rehearsal);
  find_columns(rehearsal);
  find_renames(rehearsal);
  find_locks(rehearsal);
  find_rewrites(rehearsal);
}
