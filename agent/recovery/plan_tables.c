#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* The list of names in the parentheses behind PRIMARY KEY, of one of pg_dump's constraint definitions. */
static void take_key(const char *defn, PlanTable *table) {
  static const char marker[] = " PRIMARY KEY (";
  const char *at = strstr(defn, marker), *end = defn + strlen(defn);
  if (!at)
    return;
  at += strlen(marker);
  char *name = NULL;
  while (sql_take_name(&at, end, &name)) {
    ARRAY_PUSH(table->key, table->key_count, name);
    at += strspn(at, ", ");
  }
}

static void find_key(const ArchiveIndex *index, PlanTable *table) {
  const ArchiveToc *toc = archive_index_toc(index);
  const long *parts;
  size_t count = table->then_entry == ARCHIVE_NO_ENTRY ? 0 : archive_index_parts(index, table->then_entry, &parts);
  for (size_t i = 0; i < count && table->key_count == 0; i++)
    if (strcmp(toc->entries[parts[i]].desc, "CONSTRAINT") == 0)
      take_key(toc->entries[parts[i]].defn, table);
}

/* Under which name it is there now. */
static const DumpTable *find_now(Plan *plan, PlanTable *table) {
  const RecoveryRun *run = &plan->run;
  const ArchiveToc *now = archive_index_toc(run->now);
  const DumpTable *same = recovery_live_table(run, table->then->schema, table->then->name);
  for (size_t i = 0; !same && i < plan->changes.rename_count; i++) {
    const ArchiveRename *rename = &plan->changes.renames[i];
    if (rename->then != table->then_entry || rename->now == ARCHIVE_NO_ENTRY || *rename->table)
      continue;
    table->renamed = true;
    return recovery_live_table(run, now->entries[rename->now].schema, now->entries[rename->now].tag);
  }
  return same;
}

static void note_changes(const Plan *plan, PlanTable *table) {
  for (size_t i = 0; i < plan->changes.object_count; i++)
    if (plan->changes.objects[i].then == table->then_entry && plan->changes.objects[i].recreated)
      table->recreated = true;
  for (size_t i = 0; i < plan->changes.column_count; i++) {
    const ArchiveColumnChange *column = &plan->changes.columns[i];
    if (column->then != table->then_entry || (column->kind != COLUMN_MISSING && column->kind != COLUMN_RETYPED))
      continue;
    table->reshaped = true;
    table->retyped |= column->kind == COLUMN_RETYPED;
    table->narrowed |= column->kind == COLUMN_RETYPED && !(column->was && plan_type_keeps(column->was, column->is));
  }
}

static PlanTableState state_by_count(const PlanTable *table) {
  if (!table->now)
    return PLAN_MISSING;
  if (table->rows_now < 0)
    return PLAN_UNREADABLE;
  if (table->rows_now == table->then->rows)
    return PLAN_SAME;
  return table->rows_now < table->then->rows ? PLAN_FEWER : PLAN_MORE;
}

void plan_tables_list(Plan *plan) {
  const RecoveryRun *run = &plan->run;
  const Fingerprint *fingerprint = &run->manifest.fingerprint;
  for (size_t i = 0; i < fingerprint->table_count; i++) {
    PlanTable table = {.then = &fingerprint->tables[i], .rows_now = -1};
    table.then_entry = archive_index_relation(run->then, table.then->schema, table.then->name);
    if (!plan_covers_then(plan, table.then_entry))
      continue;
    table.now = find_now(plan, &table);
    if (table.now && table.now->data)
      table.rows_now = table.now->rows;
    if (table.then_entry != ARCHIVE_NO_ENTRY) {
      note_changes(plan, &table);
      find_key(run->then, &table);
    }
    table.state = state_by_count(&table);
    ARRAY_PUSH(plan->tables, plan->table_count, table);
  }
}

void plan_tables_release(Plan *plan) {
  for (size_t i = 0; i < plan->table_count; i++) {
    PlanTable *table = &plan->tables[i];
    for (size_t j = 0; j < table->key_count; j++)
      free(table->key[j]);
    free(table->key);
    free(table->note);
  }
  free(plan->tables);
}

int64_t plan_table_lost(const PlanTable *table) {
  if (table->state == PLAN_MISSING)
    return table->then->rows;
  if (table->compared)
    return table->missing;
  return table->rows_now >= 0 && table->rows_now < table->then->rows ? table->then->rows - table->rows_now : 0;
}

static Status feed_digest(void *digest, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  row_digest_feed(digest, data, size);
  return STATUS_OK;
}

static void free_digest(RowDigest **digest) {
  row_digest_free(*digest);
}

/* The same rows, or others? The checkpoint's digest is in the manifest: nothing of the archive is read. */
static Status digest_table(Plan *plan, PlanTable *table, Error *err) {
  CLEANUP(free_digest) RowDigest *digest = row_digest_new();
  const ArchiveSink sink = {digest, feed_digest};
  int64_t rows, bytes;
  uint8_t found[DIGEST_SIZE];
  Status status = recovery_copy_out(&plan->run, table->now->schema, table->now->name, table->then->columns, &sink, err);
  if (status == STATUS_OK)
    status = row_digest_finish(digest, false, &rows, &bytes, found, err);
  if (status != STATUS_OK)
    return status;
  bool same =
      rows == table->then->rows && bytes == table->then->bytes && memcmp(found, table->then->digest, DIGEST_SIZE) == 0;
  if (same)
    table->state = PLAN_CONTENT_SAME;
  else if (table->state == PLAN_SAME)
    table->state = PLAN_CONTENT_CHANGED;
  return STATUS_OK;
}

/* Which rows? Where a table has a key, and is not large. */
static Status look_closer(Plan *plan, PlanTable *table, Error *err) {
  bool cheap = table->then->rows <= PLAN_ROWS_LIMIT && table->then->bytes <= PLAN_CHEAP_BYTES;
  return cheap && table->key_count > 0 ? plan_rows_compare(plan, table, err) : STATUS_OK;
}

static Status look_at_all(Plan *plan, PlanTable *table, Error *err) {
  if (!plan_columns_stand(plan, table))
    return look_closer(plan, table, err);
  Status status = digest_table(plan, table, err);
  return status == STATUS_OK && table->state != PLAN_CONTENT_SAME ? look_closer(plan, table, err) : status;
}

static void set_note(PlanTable *table, char *note) {
  free(table->note);
  table->note = note;
}

/* As many rows as before say nothing of a table that was dropped and made again, or whose values were converted. */
static bool must_be_looked_at(Plan *plan, PlanTable *table) {
  return (table->recreated || table->retyped) && table->rows_now > 0 && table->then->rows > 0 &&
         plan_columns_stand(plan, table);
}

/* Content as then is proof; else rows are told apart by key, and where they cannot be, nobody knows what is left. */
static Status look_closely(Plan *plan, PlanTable *table, Error *err) {
  Status status = digest_table(plan, table, err);
  if (status != STATUS_OK)
    return status;
  if (table->state == PLAN_CONTENT_SAME) {
    set_note(table, memory_strdup(table->recreated ? "it was dropped and made again, with exactly the checkpoint's rows"
                                                   : "every value is as it was, in another type"));
    return STATUS_OK;
  }
  if (!table->recreated && !table->narrowed) {
    set_note(table,
             memory_strdup("the new type holds every value of the one before; what differs was written since, or "
                           "converted by the statement itself"));
    return STATUS_OK;
  }
  status = plan_rows_compare(plan, table, err);
  if (status != STATUS_OK || (table->compared && (!table->narrowed || table->changed == 0)))
    return status;
  table->doubtful = true;
  const char *what = table->recreated ? "it was dropped and made again with other rows" : "its values were converted";
  CLEANUP_FREE char *why = table->note;
  table->note = memory_format("%s, and nobody can tell that all of the checkpoint's are there%s%s", what,
                              why ? ": " : "", why ? why : "");
  return STATUS_OK;
}

static Status look_at(Plan *plan, PlanTable *table, bool by_rows, Error *err) {
  if (!table->now || table->rows_now < 0)
    return STATUS_OK; /* its state says it */
  if (!plan->all && must_be_looked_at(plan, table)) {
    Status status = look_closely(plan, table, err);
    if (status != STATUS_OK || !by_rows || table->compared || table->doubtful)
      return status;
    set_note(table, NULL);
    return plan_rows_compare(plan, table, err);
  }
  if (by_rows)
    return plan_rows_compare(plan, table, err);
  if (plan->all)
    return look_at_all(plan, table, err);
  if (plan_columns_stand(plan, table))
    return digest_table(plan, table, err);
  set_note(table,
           memory_strdup("its columns are not those of the checkpoint: what is in them can be compared by rows only"));
  return STATUS_OK;
}

/* Which of the plan's tables the request's patterns mean: of a partitioned table its partitions. */
static Status choose(Plan *plan, const char *member, bool **chosen, Error *err) {
  size_t count;
  CLEANUP_FREE const char **patterns = recovery_patterns(&plan->run, member, &count);
  CLEANUP(archive_selection_release) ArchiveSelection selection = {0};
  *chosen = memory_alloc(plan->table_count + 1);
  Status status = count ? archive_select(plan->run.then, patterns, count, &selection, err) : STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < selection.relation_count; i++)
    for (size_t j = 0; j < plan->table_count; j++)
      (*chosen)[j] = (*chosen)[j] || plan->tables[j].then_entry == selection.relations[i];
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "%s", member);
}

Status plan_tables_look(Plan *plan, Error *err) {
  CLEANUP_FREE bool *digests = NULL, *rows = NULL;
  Status status = choose(plan, "digests", &digests, err);
  if (status == STATUS_OK)
    status = choose(plan, "rows", &rows, err);
  size_t done = 0, total = 0;
  for (size_t i = 0; status == STATUS_OK && i < plan->table_count; i++) {
    digests[i] |= must_be_looked_at(plan, &plan->tables[i]);
    total += plan->all || digests[i] || rows[i];
  }
  for (size_t i = 0; status == STATUS_OK && i < plan->table_count; i++) {
    PlanTable *table = &plan->tables[i];
    if (!plan->all && !digests[i] && !rows[i])
      continue;
    recovery_progress(&plan->run, done++, total, table->then->schema, table->then->name);
    status = look_at(plan, table, rows[i], err);
  }
  return status;
}
