/* What a migration can put back: definitions, in an order in which they can be run. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

typedef struct Forward {
  Plan *plan;
  const ArchiveToc *then;
  bool *restored; /* by entry: comes back with the rows of a table that is gone, and not by a migration */
  char **names;   /* of those relations: "schema.name" */
  size_t name_count;
  json_t *covers, *sql;
  size_t limit;
} Forward;

static void forward_release(Forward *forward) {
  free(forward->restored);
  for (size_t i = 0; i < forward->name_count; i++)
    free(forward->names[i]);
  free(forward->names);
}

static void mark_relation(Forward *forward, long entry) {
  const ArchiveEntry *relation = &forward->then->entries[entry];
  if (forward->restored[entry])
    return;
  forward->restored[entry] = true;
  ARRAY_PUSH(forward->names, forward->name_count, memory_format("%s.%s", relation->schema, relation->tag));
}

/* Tables that are gone with rows in them, and the partitioned tables that went with them. */
static void mark_tables(Forward *forward) {
  const RecoveryRun *run = &forward->plan->run;
  for (size_t i = 0; i < forward->plan->table_count; i++) {
    const PlanTable *table = &forward->plan->tables[i];
    if (table->state != PLAN_MISSING || table->then->rows == 0)
      continue;
    for (long entry = table->then_entry; entry != ARCHIVE_NO_ENTRY;
         entry = archive_index_partition_of(run->then, entry)) {
      const ArchiveEntry *relation = &forward->then->entries[entry];
      if (archive_index_relation(run->now, relation->schema, relation->tag) != ARCHIVE_NO_ENTRY)
        break;
      mark_relation(forward, entry);
    }
  }
}

static bool went_with_restored(const Forward *forward, const ArchiveChange *change) {
  long owner = archive_index_owner(forward->plan->run.then, change->then);
  if (owner != ARCHIVE_NO_ENTRY && forward->restored[owner])
    return true;
  for (size_t i = 0; change->because_of && i < forward->name_count; i++)
    if (strcmp(forward->names[i], change->because_of) == 0)
      return true;
  return false;
}

/* Objects come in the order of the TOC, in which what depends on something comes after it. */
static void mark_dependents(Forward *forward) {
  const ChangeList *changes = &forward->plan->changes;
  for (size_t i = 0; i < changes->object_count; i++) {
    const ArchiveChange *change = &changes->objects[i];
    if (change->kind != CHANGE_MISSING || !went_with_restored(forward, change))
      continue;
    if (archive_is_relation(&forward->then->entries[change->then]))
      mark_relation(forward, change->then);
    forward->restored[change->then] = true;
  }
}

static void cover(Forward *forward, char *what, const StatementList *sql) {
  CLEANUP_FREE char *owned = what;
  RecoveryRun *run = &forward->plan->run;
  if (json_array_size(forward->covers) >= forward->limit)
    return;
  json_array_append_new(forward->covers, recovery_text(run, owned));
  for (size_t i = 0; i < sql->count; i++)
    json_array_append_new(forward->sql, recovery_text(run, sql->items[i]));
}

/* Types, functions, schemas, and tables that had no rows: what columns may need. The rest comes after the columns. */
static bool comes_first(const Forward *forward, const ArchiveChange *change) {
  long owner = archive_index_owner(forward->plan->run.then, change->then);
  const char *desc = forward->then->entries[change->then].desc;
  bool view = strcmp(desc, "VIEW") == 0 || strcmp(desc, "MATERIALIZED VIEW") == 0;
  return forward->then->entries[change->then].section == ARCHIVE_SECTION_PRE_DATA && !view &&
         (owner == ARCHIVE_NO_ENTRY || owner == change->then);
}

static void cover_objects(Forward *forward, bool first) {
  const ChangeList *changes = &forward->plan->changes;
  for (size_t i = 0; i < changes->object_count; i++) {
    const ArchiveChange *change = &changes->objects[i];
    if (change->kind == CHANGE_ADDED || change->roll_forward.count == 0 || forward->restored[change->then] ||
        comes_first(forward, change) != first || !plan_covers_object(forward->plan, change))
      continue;
    cover(forward,
          memory_format("%s %s%s%s%s%s", change->desc, change->schema, *change->schema ? "." : "", change->name,
                        *change->table ? " of " : "", change->table),
          &change->roll_forward);
  }
}

static void cover_columns(Forward *forward) {
  const ChangeList *changes = &forward->plan->changes;
  for (size_t i = 0; i < changes->column_count; i++) {
    const ArchiveColumnChange *change = &changes->columns[i];
    if (change->kind != COLUMN_ADDED && change->roll_forward.count > 0 && plan_covers_then(forward->plan, change->then))
      cover(forward, memory_format("COLUMN %s.%s.%s", change->schema, change->table, change->column),
            &change->roll_forward);
  }
}

static void cover_renames(Forward *forward) {
  const ChangeList *changes = &forward->plan->changes;
  for (size_t i = 0; i < changes->rename_count; i++) {
    const ArchiveRename *rename = &changes->renames[i];
    if (rename->roll_forward.count > 0 && plan_covers_rename(forward->plan, rename))
      cover(forward,
            memory_format("%s %s.%s%s%s (now %s)", rename->desc, rename->schema, rename->table,
                          *rename->table ? "." : "", rename->from, rename->to),
            &rename->roll_forward);
  }
}

json_t *plan_roll_forward(Plan *plan, size_t limit) {
  CLEANUP(forward_release)
  Forward forward = {.plan = plan,
                     .then = archive_index_toc(plan->run.then),
                     .covers = json_array(),
                     .sql = json_array(),
                     .limit = limit};
  forward.restored = memory_alloc(forward.then->entry_count + 1);
  mark_tables(&forward);
  mark_dependents(&forward);
  cover_renames(&forward);
  cover_objects(&forward, true);
  cover_columns(&forward);
  cover_objects(&forward, false);
  bool possible = json_array_size(forward.covers) > 0;
  json_t *way = json_object();
  json_object_set_new(way, "way", json_string("roll_forward"));
  json_object_set_new(way, "possible", json_boolean(possible));
  json_object_set_new(way, "covers", forward.covers);
  json_object_set_new(way, "sql", forward.sql);
  const char *note = possible ? "Read these statements before you run them, in one transaction. They bring definitions "
                                "back, not what was in a column or a table."
                              : "No definition is missing or changed that a migration could put back by itself.";
  json_object_set_new(way, "note", json_string(note));
  return way;
}
