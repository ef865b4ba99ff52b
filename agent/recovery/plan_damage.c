#include <string.h>

#include "agent/recovery/plan.h"
#include "common/base/cleanup.h"

const char *plan_damage_name(PlanDamage damage) {
  static const char *const names[] = {"none", "changed", "lost"};
  return names[damage];
}

bool plan_is_remark(const char *desc) {
  static const char *const remarks[] = {"COMMENT", "ACL", "DEFAULT ACL", "SECURITY LABEL", "DATABASE PROPERTIES"};
  for (size_t i = 0; i < ARRAY_SIZE(remarks); i++)
    if (strcmp(desc, remarks[i]) == 0)
      return true;
  return false;
}

bool plan_table_is_lost(const Plan *plan, const PlanTable *table) {
  int64_t rows = table->then->rows, lost = plan_table_lost(table);
  return table->state == PLAN_MISSING || table->doubtful || (rows > 0 && lost >= rows) ||
         (double)lost * 100 > plan->threshold_percent * (double)rows;
}

size_t plan_unread(const Plan *plan) {
  size_t count = 0;
  for (size_t i = 0; i < plan->table_count; i++)
    count += plan->tables[i].state == PLAN_UNREADABLE;
  const DumpTables *live = &plan->run.live.tables;
  for (size_t i = 0; i < live->count; i++) { /* those without rows of their own are in no list of the plan */
    const DumpTable *table = &live->items[i];
    long then = table->relkind == 'p' && !table->readable
                    ? archive_index_relation(plan->run.then, table->schema, table->name)
                    : ARCHIVE_NO_ENTRY;
    count += then != ARCHIVE_NO_ENTRY && plan_covers_then(plan, then);
  }
  return count;
}

static void worse(Plan *plan, PlanDamage damage) {
  plan->damage = damage > plan->damage ? damage : plan->damage;
}

/* More rows than then are what a live database has: no change worth the name. */
static bool is_other(const PlanTable *table) {
  return table->state == PLAN_FEWER || table->state == PLAN_CONTENT_CHANGED || table->recreated ||
         (table->compared && table->missing + table->changed > 0);
}

void plan_damage_judge(Plan *plan) {
  const ChangeList *changes = &plan->changes;
  for (size_t i = 0; i < changes->object_count; i++) {
    const ArchiveChange *change = &changes->objects[i];
    if (plan_covers_object(plan, change))
      worse(plan,
            change->kind == CHANGE_MISSING && !plan_is_remark(change->desc) ? PLAN_DAMAGE_LOST : PLAN_DAMAGE_CHANGED);
  }
  for (size_t i = 0; i < changes->column_count; i++)
    if (plan_covers_then(plan, changes->columns[i].then))
      worse(plan, changes->columns[i].kind == COLUMN_MISSING ? PLAN_DAMAGE_LOST : PLAN_DAMAGE_CHANGED);
  for (size_t i = 0; i < changes->rename_count; i++)
    if (plan_covers_rename(plan, &changes->renames[i]))
      worse(plan, PLAN_DAMAGE_CHANGED);
  for (size_t i = 0; i < plan->table_count; i++) {
    if (plan_table_is_lost(plan, &plan->tables[i]))
      worse(plan, PLAN_DAMAGE_LOST);
    else if (is_other(&plan->tables[i]))
      worse(plan, PLAN_DAMAGE_CHANGED);
  }
  if (plan_unread(plan) > 0) /* nobody may take it for "nothing is lost" */
    worse(plan, PLAN_DAMAGE_CHANGED);
  int64_t blobs = (int64_t)plan->run.manifest.fingerprint.blob_count;
  if (!plan->selection.classes && plan->run.live.large_objects >= 0 && plan->run.live.large_objects < blobs) {
    plan_note(plan, "There are %lld large objects, and were %lld.", (long long)plan->run.live.large_objects,
              (long long)blobs);
    worse(plan, PLAN_DAMAGE_LOST);
  }
}
