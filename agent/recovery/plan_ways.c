#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { COMMAND_TABLES_MAX = 50 };

/* What a way is about: some of the plan's tables. */
typedef struct Chosen {
  const PlanTable **items;
  size_t count;
  int64_t rows, bytes;
} Chosen;

static void chosen_release(Chosen *chosen) {
  free(chosen->items);
}

static void choose(Chosen *chosen, const PlanTable *table) {
  ARRAY_PUSH(chosen->items, chosen->count, table);
  chosen->rows += table->then->rows;
  chosen->bytes += table->then->bytes;
}

/* A table that is there, and has lost or changed something that only the checkpoint has. */
static bool is_damaged(const PlanTable *table) {
  if (!table->now || table->rows_now < 0)
    return false;
  return plan_table_lost(table) > 0 || (table->compared && table->changed > 0) || table->doubtful ||
         (!table->compared && table->state == PLAN_CONTENT_CHANGED) ||
         (table->reshaped && table->then->rows > 0 && table->state != PLAN_CONTENT_SAME);
}

static Chosen missing_tables(const Plan *plan) {
  Chosen chosen = {0};
  for (size_t i = 0; i < plan->table_count; i++)
    if (plan->tables[i].state == PLAN_MISSING)
      choose(&chosen, &plan->tables[i]);
  return chosen;
}

static Chosen damaged_tables(const Plan *plan) {
  Chosen chosen = {0};
  for (size_t i = 0; i < plan->table_count; i++)
    if (is_damaged(&plan->tables[i]))
      choose(&chosen, &plan->tables[i]);
  return chosen;
}

/* As a shell takes it: quoted unless it is harmless. */
static void append_word(Buffer *out, const char *word) {
  static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:-";
  if (*word && strspn(word, harmless) == strlen(word)) {
    buffer_append_text(out, word);
    return;
  }
  buffer_append_byte(out, '\'');
  for (; *word; word++) {
    if (*word == '\'')
      buffer_append_text(out, "'\\'");
    buffer_append_byte(out, (uint8_t)*word);
  }
  buffer_append_byte(out, '\'');
}

/* Of a partitioned table that is gone with its partitions, the whole. */
static long whole_table(const Plan *plan, const PlanTable *table) {
  const ArchiveToc *toc = archive_index_toc(plan->run.then);
  long entry = table->then_entry;
  while (table->state == PLAN_MISSING && entry != ARCHIVE_NO_ENTRY) {
    long parent = archive_index_partition_of(plan->run.then, entry);
    if (parent == ARCHIVE_NO_ENTRY || archive_index_relation(plan->run.now, toc->entries[parent].schema,
                                                             toc->entries[parent].tag) != ARCHIVE_NO_ENTRY)
      break;
    entry = parent;
  }
  return entry;
}

static json_t *command(Plan *plan, const Chosen *chosen, const char *option) {
  const RecoveryRun *run = &plan->run;
  const ArchiveToc *toc = archive_index_toc(run->then);
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_format(&text, "pgseal restore %s --checkpoint %s%s", run->manifest.database,
                       run->manifest.checkpoint_id, option);
  CLEANUP_FREE bool *named = memory_alloc(toc->entry_count + 1);
  size_t count = 0;
  for (size_t i = 0; chosen && i < chosen->count && count < COMMAND_TABLES_MAX; i++) {
    long entry = whole_table(plan, chosen->items[i]);
    if (entry == ARCHIVE_NO_ENTRY || named[entry])
      continue;
    named[entry] = true;
    count++;
    CLEANUP(json_decrefp)
    json_t *schema = recovery_text(&plan->run, toc->entries[entry].schema),
           *tag = recovery_text(&plan->run, toc->entries[entry].tag);
    CLEANUP_FREE char *name = sql_shown_name(json_string_value(schema), json_string_value(tag));
    buffer_append_text(&text, " --table ");
    append_word(&text, name);
  }
  return recovery_text(&plan->run, buffer_text(&text));
}

static json_t *tables_json(Plan *plan, const Chosen *chosen, size_t limit) {
  json_t *list = json_array();
  for (size_t i = 0; i < chosen->count && i < limit; i++) {
    json_t *json = json_object();
    json_object_set_new(json, "schema", recovery_text(&plan->run, chosen->items[i]->then->schema));
    json_object_set_new(json, "name", recovery_text(&plan->run, chosen->items[i]->then->name));
    json_object_set_new(json, "rows", json_integer(chosen->items[i]->then->rows));
    json_array_append_new(list, json);
  }
  return list;
}

/* As long as it took in the drill, for its share of the rows. */
static json_t *seconds(const Plan *plan, int64_t bytes) {
  const RecoveryPace *pace = &plan->pace;
  if (pace->bytes <= 0)
    return json_null();
  return json_real((pace->data_seconds + pace->index_seconds) * (double)bytes / (double)pace->bytes);
}

static void set_cost(Plan *plan, json_t *way, const Chosen *chosen) {
  CLEANUP_FREE ArchiveRange *ranges = memory_alloc((chosen->count + 1) * sizeof *ranges);
  for (size_t i = 0; i < chosen->count; i++)
    ranges[i] = (ArchiveRange){chosen->items[i]->then->offset, chosen->items[i]->then->end_offset};
  const RecoveryRead cost = recovery_cost(&plan->run.manifest, ranges, chosen->count);
  json_object_set_new(way, "bytes_to_read", json_integer((json_int_t)cost.bytes));
  json_object_set_new(way, "of_bytes", json_integer((json_int_t)cost.of_bytes));
  json_object_set_new(way, "rows", json_integer(chosen->rows));
  json_object_set_new(way, "seconds", seconds(plan, chosen->bytes));
}

/* Of these tables, if what stands there now gave way to the checkpoint's; unknown unless rows were compared. */
static json_t *rows_lost_since(const Chosen *chosen) {
  int64_t rows = 0;
  for (size_t i = 0; i < chosen->count; i++) {
    if (!chosen->items[i]->compared)
      return json_null();
    rows += chosen->items[i]->fresh + chosen->items[i]->changed;
  }
  return json_integer(rows);
}

static json_t *new_way(const char *name, bool possible) {
  json_t *way = json_object();
  json_object_set_new(way, "way", json_string(name));
  json_object_set_new(way, "possible", json_boolean(possible));
  return way;
}

static json_t *compensate(Plan *plan, size_t limit) {
  CLEANUP(chosen_release) Chosen damaged = damaged_tables(plan);
  json_t *list = json_array();
  size_t keyless = 0;
  for (size_t i = 0; i < damaged.count; i++) {
    const PlanTable *table = damaged.items[i];
    keyless += table->key_count == 0;
    if (json_array_size(list) >= limit)
      continue;
    json_t *json = json_object();
    json_object_set_new(json, "schema", recovery_text(&plan->run, table->then->schema));
    json_object_set_new(json, "name", recovery_text(&plan->run, table->then->name));
    bool known = table->compared || (!table->reshaped && table->state == PLAN_FEWER);
    json_object_set_new(json, "rows",
                        known ? json_integer(plan_table_lost(table) + (table->compared ? table->changed : 0))
                              : json_null());
    json_object_set_new(json, "exact", json_boolean(table->compared));
    json_object_set_new(json, "key", json_boolean(table->key_count > 0));
    json_array_append_new(list, json);
  }
  json_t *way = new_way("compensate", damaged.count > 0);
  json_object_set_new(way, "tables", list);
  const char *note = "No table that is still there has lost or changed rows, as far as was looked at.";
  if (damaged.count > 0)
    note = "The checkpoint's rows are put beside the live tables, compared with them by primary key, and a script is "
           "written that puts back what is missing or changed. It touches no row that was written since, and nothing "
           "runs before you have read it.";
  static const char without[] =
      " Of tables without a primary key (%zu of these) whole rows are compared: the script puts "
      "back what was deleted, if no row is there that was not there then, and else leaves "
      "them out.";
  CLEANUP_FREE char *more = keyless > 0 ? memory_format(without, keyless) : memory_strdup("");
  CLEANUP_FREE char *text = memory_format("%s%s", note, more);
  json_object_set_new(way, "note", json_string(text));
  if (damaged.count > 0) {
    set_cost(plan, way, &damaged);
    json_object_set_new(way, "rows_lost_since", json_integer(0));
    json_object_set_new(way, "command", command(plan, &damaged, " --beside"));
  }
  return way;
}

static json_t *restore_missing(Plan *plan, size_t limit) {
  CLEANUP(chosen_release) Chosen missing = missing_tables(plan);
  json_t *way = new_way("restore_tables", missing.count > 0);
  json_object_set_new(way, "replace", json_false());
  json_object_set_new(way, "tables", tables_json(plan, &missing, limit));
  if (missing.count == 0) {
    json_object_set_new(way, "note", json_string("No table is missing."));
    return way;
  }
  set_cost(plan, way, &missing);
  json_object_set_new(way, "rows_lost_since", json_integer(0));
  json_object_set_new(
      way, "locks",
      json_string("ACCESS EXCLUSIVE on the tables that come back, which nobody uses; SHARE ROW EXCLUSIVE "
                  "on tables that foreign keys tie to them, until the one transaction ends."));
  json_object_set_new(way, "usable",
                      json_string("Everything that is there now can be read all the time, and written to but for the "
                                  "tables that foreign keys tie to the restored ones."));
  json_object_set_new(
      way, "note", json_string("What was written to these tables between the checkpoint and their end is in no copy."));
  json_object_set_new(way, "command", command(plan, &missing, ""));
  return way;
}

/* The last of what a table can have done to it; only where there is such a table. */
static json_t *restore_damaged(Plan *plan, size_t limit) {
  CLEANUP(chosen_release) Chosen damaged = damaged_tables(plan);
  if (damaged.count == 0)
    return NULL;
  json_t *way = new_way("restore_tables", true);
  json_object_set_new(way, "replace", json_true());
  json_object_set_new(way, "tables", tables_json(plan, &damaged, limit));
  set_cost(plan, way, &damaged);
  json_object_set_new(way, "rows_lost_since", rows_lost_since(&damaged));
  json_object_set_new(
      way, "locks",
      json_string("ACCESS EXCLUSIVE on these tables and SHARE ROW EXCLUSIVE on tables that foreign keys "
                  "tie to them, until the one transaction ends."));
  json_object_set_new(way, "usable", json_string("Everything but these tables, which wait."));
  json_object_set_new(
      way, "note",
      json_string("What stands there now is moved aside, whole, to a schema of its own, and with it what "
                  "was written since the checkpoint."));
  json_object_set_new(way, "command", command(plan, &damaged, " --replace"));
  return way;
}

static json_t *restore_database(Plan *plan) {
  const RecoveryRun *run = &plan->run;
  uint64_t bytes = 0;
  for (size_t i = 0; i < run->manifest.segment_count; i++)
    bytes += run->manifest.segments[i].size;
  json_t *way = new_way("restore_database", true);
  json_object_set_new(way, "bytes_to_read", json_integer((json_int_t)bytes));
  json_object_set_new(way, "of_bytes", json_integer((json_int_t)bytes));
  json_object_set_new(way, "rows", json_integer(run->manifest.fingerprint.rows));
  json_object_set_new(way, "seconds", seconds(plan, run->manifest.fingerprint.bytes));
  json_object_set_new(way, "rows_lost_since", json_null());
  json_object_set_new(way, "locks", json_string("None in the live database: a new one is made beside it."));
  json_object_set_new(way, "usable",
                      json_string("Everything, until applications are turned over to the new database."));
  json_object_set_new(
      way, "note", json_string("All that was written since the checkpoint, in any table, is not in the new database."));
  CLEANUP_FREE char *option = memory_format(" --new-database %s_restored", run->manifest.database);
  json_object_set_new(way, "command", command(plan, NULL, option));
  return way;
}

json_t *plan_ways(Plan *plan, size_t limit) {
  json_t *ways = json_array();
  json_array_append_new(ways, plan_roll_forward(plan, limit));
  json_array_append_new(ways, compensate(plan, limit));
  json_array_append_new(ways, restore_missing(plan, limit));
  json_t *damaged = restore_damaged(plan, limit);
  if (damaged)
    json_array_append_new(ways, damaged);
  json_array_append_new(ways, restore_database(plan));
  return ways;
}

static const char *count_tables(size_t count, char text[32]) {
  snprintf(text, 32, count == 1 ? "%zu table" : "%zu tables", count);
  return text;
}

char *plan_advice(Plan *plan) {
  CLEANUP(chosen_release) Chosen missing = missing_tables(plan);
  CLEANUP(chosen_release) Chosen damaged = damaged_tables(plan);
  CLEANUP(json_decrefp) json_t *forward = plan_roll_forward(plan, SIZE_MAX);
  bool forwards = json_is_true(json_object_get(forward, "possible"));
  CLEANUP(buffer_release) Buffer text = {0};
  char tables[32];
  if (missing.rows > 0)
    buffer_append_format(&text, "%s with %lld rows %s gone: put %s back.", count_tables(missing.count, tables),
                         (long long)missing.rows, missing.count == 1 ? "is" : "are",
                         missing.count == 1 ? "it" : "them");
  if (damaged.count > 0)
    buffer_append_format(&text,
                         "%s%s still there lost rows or values: compare with the live rows by `--beside`, and run the "
                         "compensating script.",
                         text.size ? " " : "", count_tables(damaged.count, tables));
  if (forwards)
    buffer_append_format(&text,
                         "%sA migration can put back the definitions that are missing or changed%s: its "
                         "statements are listed.",
                         text.size ? " " : "", damaged.count ? ", before that" : "");
  if (plan_unread(plan) > 0)
    buffer_append_format(
        &text, "%sWhat became of %s is not known: they may not be read. Grant SELECT on them, and plan again.",
        text.size ? " " : "", count_tables(plan_unread(plan), tables));
  if (text.size == 0 && plan->damage == PLAN_DAMAGE_NONE)
    buffer_append_text(&text,
                       "Nothing is missing, and no table has fewer rows than at the checkpoint: there is nothing "
                       "to put back.");
  else if (text.size == 0)
    buffer_append_text(&text, "The database differs from the checkpoint, but nothing of it is lost: look at what "
                              "changed before you put anything back.");
  return buffer_steal_text(&text);
}
