#include <stdlib.h>
#include <string.h>

#include "common/archive/changes_parts.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* Two tables being compared. */
typedef struct Tables {
  Comparison *comparison;
  long then, now;
  const ArchiveEntry *then_entry, *now_entry;
  ArchiveTable was, is;
  char *name;        /* qualified, as the table is called now */
  bool is_partition; /* still attached: its columns are its parent's, and change with them */
} Tables;

static void tables_release(Tables *tables) {
  archive_table_release(&tables->was);
  archive_table_release(&tables->is);
  free(tables->name);
}

static const ArchiveColumn *find(const ArchiveTable *table, const char *name) {
  for (size_t i = 0; i < table->column_count; i++)
    if (strcmp(table->columns[i].name, name) == 0)
      return &table->columns[i];
  return NULL;
}

static char *column_text(const ArchiveColumn *column) {
  return column ? memory_format("%s%s%s", column->type, *column->type && *column->rest ? " " : "", column->rest) : NULL;
}

/* ---- columns ---- */

static ArchiveColumnChange *add_column(Tables *tables, ArchiveColumnChangeKind kind, const ArchiveColumn *was,
                                       const ArchiveColumn *is) {
  ChangeList *out = tables->comparison->out;
  ArchiveColumnChange change = {.kind = kind,
                                .then = tables->then,
                                .now = tables->now,
                                .schema = tables->now_entry->schema,
                                .table = tables->now_entry->tag,
                                .column = memory_strdup(was ? was->name : is->name),
                                .was = column_text(was),
                                .is = column_text(is)};
  ARRAY_PUSH(out->columns, out->column_count, change);
  return &out->columns[out->column_count - 1];
}

static void column_missing(Tables *tables, const ArchiveColumn *was) {
  ArchiveColumnChange *change = add_column(tables, COLUMN_MISSING, was, NULL);
  CLEANUP_FREE char *column = sql_name(was->name);
  bool fillable = !was->not_null || was->default_sql;
  const char *rest = fillable ? was->rest : "";
  statement_list_add(&change->roll_forward, memory_format("ALTER TABLE %s ADD COLUMN %s %s%s%s;", tables->name, column,
                                                          was->type, *rest ? " " : "", rest));
  if (was->generated)
    change->note = memory_strdup("its values are computed again");
  else if (fillable)
    change->note = memory_strdup("comes back without its values: those are in the checkpoint");
  else
    change->note = memory_format("comes back without its values: those are in the checkpoint; when it is filled: ALTER "
                                 "TABLE %s ALTER COLUMN %s SET NOT NULL;",
                                 tables->name, column);
}

/* The type without its COLLATE, to cast to. */
static char *cast_type(const char *type) {
  const char *at = type, *end = type + strlen(type);
  while (at < end && !(at > type && at[-1] == ' ' && sql_at_word(at, end, "COLLATE")))
    at = sql_skip_token(at, end);
  size_t size = (size_t)(at - type);
  while (size > 0 && type[size - 1] == ' ')
    size--;
  return memory_strndup(type, size);
}

static void alter(Tables *tables, ArchiveColumnChange *change, const char *column, const char *what,
                  const char *value) {
  statement_list_add(&change->roll_forward,
                     memory_format("ALTER TABLE %s ALTER COLUMN %s %s%s;", tables->name, column, what, value));
}

static void set_default(Tables *tables, ArchiveColumnChange *change, const char *column, const ArchiveColumn *was) {
  if (was->default_sql)
    alter(tables, change, column, "SET DEFAULT ", was->default_sql);
  else
    alter(tables, change, column, "DROP DEFAULT", "");
}

static void set_not_null(Tables *tables, ArchiveColumnChange *change, const char *column, const ArchiveColumn *was,
                         const ArchiveColumn *is) {
  if (was->not_null != is->not_null)
    alter(tables, change, column, was->not_null ? "SET NOT NULL" : "DROP NOT NULL", "");
}

/* A generated column cannot be made one again: only a new one can. Its values are computed, so none is lost. */
static void regenerate(Tables *tables, ArchiveColumnChange *change, const char *column, const ArchiveColumn *was) {
  statement_list_add(&change->roll_forward, memory_format("ALTER TABLE %s DROP COLUMN %s;", tables->name, column));
  statement_list_add(&change->roll_forward,
                     memory_format("ALTER TABLE %s ADD COLUMN %s %s %s;", tables->name, column, was->type, was->rest));
  change->note = memory_strdup("a generated column: it is made anew and computed; what depends on it must be dropped "
                               "before, and made again");
}

static void column_changed(Tables *tables, const ArchiveColumn *was, const ArchiveColumn *is) {
  bool retyped = strcmp(was->type, is->type) != 0;
  ArchiveColumnChange *change = add_column(tables, retyped ? COLUMN_RETYPED : COLUMN_ALTERED, was, is);
  CLEANUP_FREE char *column = sql_name(was->name);
  const char *then_default = was->default_sql ? was->default_sql : "",
             *now_default = is->default_sql ? is->default_sql : "";
  bool default_differs = strcmp(then_default, now_default) != 0 || was->generated != is->generated;
  if (was->generated && (retyped || default_differs)) {
    regenerate(tables, change, column, was);
    return;
  }
  if (is->generated && default_differs) {
    alter(tables, change, column, "DROP EXPRESSION", "");
    change->note = memory_strdup("was not generated: it keeps the values computed since");
  } else if (is->default_sql && retyped) {
    alter(tables, change, column, "DROP DEFAULT", ""); /* it could not be cast */
  }
  if (retyped) {
    CLEANUP_FREE char *cast = cast_type(was->type);
    CLEANUP_FREE char *type = memory_format("%s USING %s::%s", was->type, column, cast);
    alter(tables, change, column, "TYPE ", type);
    free(change->note);
    change->note = memory_strdup("rewrites the table under an exclusive lock; what the change of type took from the "
                                 "values is in the checkpoint only");
  }
  if (was->default_sql ? default_differs || retyped : default_differs && !is->generated && !retyped)
    set_default(tables, change, column, was);
  set_not_null(tables, change, column, was, is);
}

/* The nearest column before `at` that both tables have; "" at the start. */
static const char *place(const ArchiveTable *table, const ArchiveColumn *at, const ArchiveTable *other) {
  while (at > table->columns)
    if (find(other, (--at)->name))
      return at->name;
  return "";
}

/* The column that took the place of `was` (a rename keeps it), of the same type and clauses. */
static const ArchiveColumn *renamed_to(const Tables *tables, const ArchiveColumn *was) {
  for (size_t i = 0; i < tables->is.column_count; i++) {
    const ArchiveColumn *is = &tables->is.columns[i];
    if (!find(&tables->was, is->name) && strcmp(was->type, is->type) == 0 && strcmp(was->rest, is->rest) == 0 &&
        strcmp(place(&tables->was, was, &tables->is), place(&tables->is, is, &tables->was)) == 0)
      return is;
  }
  return NULL;
}

static void column_renamed(Tables *tables, const ArchiveColumn *was, const ArchiveColumn *is) {
  CLEANUP_FREE char *from = sql_name(is->name), *to = sql_name(was->name);
  ArchiveRename rename = {.desc = "COLUMN",
                          .schema = tables->now_entry->schema,
                          .table = tables->now_entry->tag,
                          .from = memory_strdup(was->name),
                          .to = memory_strdup(is->name),
                          .then = tables->then,
                          .now = tables->now};
  statement_list_add(&rename.roll_forward,
                     memory_format("ALTER TABLE %s RENAME COLUMN %s TO %s;", tables->name, from, to));
  ARRAY_PUSH(tables->comparison->out->renames, tables->comparison->out->rename_count, rename);
}

static void compare_columns(Tables *tables) {
  const ArchiveTable *was = &tables->was, *is = &tables->is;
  CLEANUP_FREE bool *renamed = memory_alloc(is->column_count + 1);
  for (size_t i = 0; i < was->column_count; i++) {
    const ArchiveColumn *there = find(is, was->columns[i].name);
    const ArchiveColumn *other = there ? NULL : renamed_to(tables, &was->columns[i]);
    if (other)
      renamed[other - is->columns] = true;
    if (other && !tables->is_partition)
      column_renamed(tables, &was->columns[i], other);
    else if (!there && !other && !tables->is_partition)
      column_missing(tables, &was->columns[i]);
    else if (there && strcmp(was->columns[i].type, there->type) != 0 && tables->is_partition)
      continue;
    else if (there &&
             (strcmp(was->columns[i].type, there->type) != 0 || strcmp(was->columns[i].rest, there->rest) != 0))
      column_changed(tables, &was->columns[i], there);
  }
  for (size_t i = 0; i < is->column_count && !tables->is_partition; i++)
    if (!renamed[i] && !find(was, is->columns[i].name)) {
      ArchiveColumnChange *change = add_column(tables, COLUMN_ADDED, NULL, &is->columns[i]);
      change->note = memory_strdup("made since the checkpoint: nothing is to be done");
    }
}

/* ---- constraints in the definition ---- */

static char *constraint_name(const char *text) {
  static const char word[] = "CONSTRAINT ";
  char *name = NULL;
  const char *at = text + sizeof word - 1, *end = text + strlen(text);
  return strncmp(text, word, sizeof word - 1) == 0 && sql_take_name(&at, end, &name) ? name : memory_strdup(text);
}

static const char *find_constraint(const ArchiveTable *table, const char *name) {
  for (size_t i = 0; i < table->constraint_count; i++) {
    CLEANUP_FREE char *other = constraint_name(table->constraints[i]);
    if (strcmp(other, name) == 0)
      return table->constraints[i];
  }
  return NULL;
}

static ArchiveChange constraint_change(Tables *tables, ArchiveChangeKind kind, const char *name) {
  ArchiveChange change = changes_entry(tables->comparison, kind, tables->then, tables->now);
  free(change.name);
  free(change.table);
  change.desc = "CHECK CONSTRAINT";
  change.schema = tables->now_entry->schema;
  change.name = memory_strdup(name);
  change.table = memory_strdup(tables->now_entry->tag);
  return change;
}

static void compare_constraints(Tables *tables) {
  for (size_t i = 0; i < tables->was.constraint_count; i++) {
    const char *was = tables->was.constraints[i];
    CLEANUP_FREE char *name = constraint_name(was), *quoted = sql_name(name);
    const char *is = find_constraint(&tables->is, name);
    if (is && strcmp(was, is) == 0)
      continue;
    ArchiveChange change = constraint_change(tables, is ? CHANGE_CHANGED : CHANGE_MISSING, name);
    if (is)
      statement_list_add(&change.roll_forward,
                         memory_format("ALTER TABLE %s DROP CONSTRAINT %s;", tables->name, quoted));
    statement_list_add(&change.roll_forward, memory_format("ALTER TABLE %s ADD %s;", tables->name, was));
    changes_add(tables->comparison, change);
  }
  for (size_t i = 0; i < tables->is.constraint_count; i++) {
    CLEANUP_FREE char *name = constraint_name(tables->is.constraints[i]);
    if (!find_constraint(&tables->was, name))
      changes_add(tables->comparison, constraint_change(tables, CHANGE_ADDED, name));
  }
}

/* ---- the rest of the table ---- */

/* The statements of `was` that `is` does not have: SET STATISTICS, SET STORAGE, ATTACH PARTITION (13), ... */
static void compare_settings(const char *was, const char *is, StatementList *out) {
  const char *start = was, *end = was + strlen(was);
  for (const char *at = was; at < end;) {
    const char *next = sql_skip_token(at, end);
    if (*at == ';') {
      CLEANUP_FREE char *one = memory_strndup(start, (size_t)(next - start));
      if (!strstr(is, one))
        statement_list_add(out, STEAL(one));
      while (next < end && *next == '\n')
        next++;
      start = next;
    }
    at = next;
  }
}

static bool has_parent(const ArchiveTable *table, const char *schema, const char *name) {
  for (size_t i = 0; i < table->parent_count; i++)
    if (strcmp(table->parents[2 * i], schema) == 0 && strcmp(table->parents[2 * i + 1], name) == 0)
      return true;
  return false;
}

static void compare_parents(const Tables *tables, StatementList *out) {
  for (size_t i = 0; i < tables->is.parent_count; i++)
    if (!has_parent(&tables->was, tables->is.parents[2 * i], tables->is.parents[2 * i + 1])) {
      CLEANUP_FREE char *name = sql_qualified_name(tables->is.parents[2 * i], tables->is.parents[2 * i + 1]);
      statement_list_add(out, memory_format("ALTER TABLE %s NO INHERIT %s;", tables->name, name));
    }
  for (size_t i = 0; i < tables->was.parent_count; i++)
    if (!has_parent(&tables->is, tables->was.parents[2 * i], tables->was.parents[2 * i + 1])) {
      CLEANUP_FREE char *name = sql_qualified_name(tables->was.parents[2 * i], tables->was.parents[2 * i + 1]);
      statement_list_add(out, memory_format("ALTER TABLE %s INHERIT %s;", tables->name, name));
    }
}

/* *unknown: something differs for which there is no statement. */
static void compare_rest(const Tables *tables, StatementList *out, bool *unknown) {
  static const char with[] = "WITH (";
  const ArchiveTable *was = &tables->was, *is = &tables->is;
  if (was->unlogged != is->unlogged)
    statement_list_add(out,
                       memory_format("ALTER TABLE %s SET %s;", tables->name, was->unlogged ? "UNLOGGED" : "LOGGED"));
  size_t before = out->count;
  compare_parents(tables, out);
  bool tail_differs = strcmp(was->tail, is->tail) != 0 && out->count == before;
  if (tail_differs && strncmp(was->tail, with, sizeof with - 1) == 0 &&
      (!*is->tail || strncmp(is->tail, with, sizeof with - 1) == 0))
    statement_list_add(out, memory_format("ALTER TABLE %s SET %s;", tables->name, was->tail + strlen("WITH ")));
  else
    *unknown |= tail_differs;
  compare_settings(was->settings, is->settings, out);
  if (*tables->then_entry->tablespace && strcmp(tables->then_entry->tablespace, tables->now_entry->tablespace) != 0) {
    CLEANUP_FREE char *place = sql_name(tables->then_entry->tablespace);
    statement_list_add(out, memory_format("ALTER TABLE %s SET TABLESPACE %s;", tables->name, place));
  }
  char *owner = strcmp(tables->then_entry->owner, tables->now_entry->owner) != 0
                    ? archive_owner_statement(tables->now_entry, tables->then_entry->owner)
                    : NULL;
  if (owner)
    statement_list_add(out, owner);
}

/* A part of a definition that has differences of its own in the list already is not told twice. */
static void compare_whole(Tables *tables, size_t told_before) {
  const ChangeList *out = tables->comparison->out;
  bool recreated = changes_recreated(tables->comparison, tables->then, tables->now);
  bool unknown = false;
  CLEANUP(statement_list_release) StatementList statements = {0};
  compare_rest(tables, &statements, &unknown);
  bool told = out->object_count + out->column_count + out->rename_count > told_before;
  if (!statements.count && !unknown && told && !recreated)
    return;
  if (tables->is_partition && !statements.count && !unknown && !recreated)
    return; /* its columns: told of its parent */
  ArchiveChange change = changes_entry(tables->comparison, CHANGE_CHANGED, tables->then, tables->now);
  change.roll_forward = statements;
  statements = (StatementList){0};
  change.recreated = recreated;
  if (recreated)
    change.note = memory_strdup("was dropped and made again since the checkpoint");
  else if (!change.roll_forward.count)
    change.note = memory_strdup("its storage, partitioning, server or the order of its columns differs");
  changes_add(tables->comparison, change);
}

void changes_table(Comparison *comparison, long then, long now) {
  CLEANUP(tables_release)
  Tables tables = {.comparison = comparison,
                   .then = then,
                   .now = now,
                   .then_entry = &comparison->then_toc->entries[then],
                   .now_entry = &comparison->now_toc->entries[now]};
  Error ignored;
  tables.name = sql_qualified_name(tables.now_entry->schema, tables.now_entry->tag);
  tables.is_partition = archive_index_partition_of(comparison->now, now) != ARCHIVE_NO_ENTRY &&
                        archive_index_partition_of(comparison->then, then) != ARCHIVE_NO_ENTRY;
  if (archive_table_parse(tables.then_entry, &tables.was, &ignored) != STATUS_OK ||
      archive_table_parse(tables.now_entry, &tables.is, &ignored) != STATUS_OK) {
    ArchiveChange change = changes_entry(comparison, CHANGE_CHANGED, then, now);
    change.note = memory_strdup("its definition differs in a way that is not understood");
    changes_add(comparison, change);
    return;
  }
  const ChangeList *out = comparison->out;
  size_t told_before = out->object_count + out->column_count + out->rename_count;
  compare_columns(&tables);
  if (!tables.is_partition)
    compare_constraints(&tables);
  compare_whole(&tables, told_before);
}
