#include "common/archive/changes.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/changes_parts.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

const char *archive_change_name(ArchiveChangeKind kind) {
  static const char *const names[] = {"missing", "added", "changed"};
  return names[kind];
}

const char *archive_column_change_name(ArchiveColumnChangeKind kind) {
  static const char *const names[] = {"missing", "added", "retyped", "altered"};
  return names[kind];
}

void change_list_release(ChangeList *list) {
  for (size_t i = 0; i < list->object_count; i++) {
    free(list->objects[i].name);
    free(list->objects[i].table);
    free(list->objects[i].because_of);
    free(list->objects[i].note);
    statement_list_release(&list->objects[i].roll_forward);
  }
  for (size_t i = 0; i < list->column_count; i++) {
    free(list->columns[i].column);
    free(list->columns[i].was);
    free(list->columns[i].is);
    free(list->columns[i].note);
    statement_list_release(&list->columns[i].roll_forward);
  }
  for (size_t i = 0; i < list->rename_count; i++) {
    free(list->renames[i].from);
    free(list->renames[i].to);
    statement_list_release(&list->renames[i].roll_forward);
  }
  free(list->objects);
  free(list->columns);
  free(list->renames);
  memset(list, 0, sizeof *list);
}

static bool is(const ArchiveEntry *entry, const char *desc) {
  return strcmp(entry->desc, desc) == 0;
}

static bool is_one_of(const char *desc, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(desc, names[i]) == 0)
      return true;
  return false;
}

ArchiveChange changes_entry(const Comparison *comparison, ArchiveChangeKind kind, long then, long now) {
  bool old = then != ARCHIVE_NO_ENTRY;
  const ArchiveIndex *index = old ? comparison->then : comparison->now;
  const ArchiveToc *toc = archive_index_toc(index);
  const ArchiveEntry *entry = &toc->entries[old ? then : now];
  long owner = archive_index_owner(index, old ? then : now);
  const char *table =
      &toc->entries[owner] != entry && archive_is_relation(&toc->entries[owner]) ? toc->entries[owner].tag : "";
  size_t size = strlen(table);
  bool prefixed = size > 0 && strncmp(entry->tag, table, size) == 0 && entry->tag[size] == ' ';
  return (ArchiveChange){.kind = kind,
                         .then = then,
                         .now = now,
                         .desc = entry->desc,
                         .schema = entry->schema,
                         .name = memory_strdup(prefixed ? entry->tag + size + 1 : entry->tag),
                         .table = memory_strdup(table)};
}

void changes_add(Comparison *comparison, ArchiveChange change) {
  ARRAY_PUSH(comparison->out->objects, comparison->out->object_count, change);
}

/* ---- statements ---- */

/* "CREATE VIEW ..." as "CREATE OR REPLACE VIEW ...". */
static char *replacing(const char *defn) {
  static const char create[] = "CREATE ", replace[] = "CREATE OR REPLACE ";
  bool plain = strncmp(defn, create, sizeof create - 1) == 0 && strncmp(defn, replace, sizeof replace - 1) != 0;
  return plain ? memory_format("%s%s", replace, defn + sizeof create - 1) : memory_strdup(defn);
}

static char *without_newline(const char *text) {
  size_t size = strlen(text);
  while (size > 0 && text[size - 1] == '\n')
    size--;
  return memory_strndup(text, size);
}

static void roll_forward_missing(const Comparison *comparison, ArchiveChange *change) {
  const ArchiveEntry *entry = &comparison->then_toc->entries[change->then];
  archive_entry_statements(comparison->then_toc, entry, &change->roll_forward);
  if (archive_is_table(entry))
    change->note = memory_strdup("comes back empty: its rows are in the checkpoint");
  else if (is(entry, "SEQUENCE"))
    change->note = memory_strdup("starts anew: its value is in the checkpoint");
  if (is(entry, "MATERIALIZED VIEW")) {
    CLEANUP_FREE char *name = sql_qualified_name(entry->schema, entry->tag);
    statement_list_add(&change->roll_forward, memory_format("REFRESH MATERIALIZED VIEW %s;", name));
  }
}

static void roll_forward_changed(const Comparison *comparison, ArchiveChange *change) {
  static const char *const replaced[] = {"VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "RULE"};
  static const char *const made_anew[] = {"INDEX",   "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT",
                                          "TRIGGER", "POLICY",     "STATISTICS"};
  static const char *const set[] = {
      "DEFAULT", "COMMENT", "ACL", "SECURITY LABEL", "DEFAULT ACL", "SEQUENCE OWNED BY", "DATABASE PROPERTIES"};
  const ArchiveEntry *then = &comparison->then_toc->entries[change->then],
                     *now = &comparison->now_toc->entries[change->now];
  StatementList *out = &change->roll_forward;
  if (strcmp(then->defn, now->defn) != 0) {
    if (is_one_of(then->desc, replaced, ARRAY_SIZE(replaced))) {
      CLEANUP_FREE char *defn = without_newline(then->defn);
      statement_list_add(out, replacing(defn));
    } else if (is_one_of(then->desc, made_anew, ARRAY_SIZE(made_anew))) {
      statement_list_add(out, without_newline(now->drop_stmt));
      archive_entry_statements(comparison->then_toc, then, out);
      return;
    } else if (is_one_of(then->desc, set, ARRAY_SIZE(set))) {
      statement_list_add(out, without_newline(then->defn));
      if (is(then, "ACL") || is(then, "DEFAULT ACL"))
        change->note = memory_strdup("grants made since the checkpoint are not taken back");
    } else {
      change->note = memory_strdup("its definition differs: compare it with the checkpoint's, and alter it by hand");
    }
  }
  char *owner = strcmp(then->owner, now->owner) != 0 ? archive_owner_statement(now, then->owner) : NULL;
  if (owner)
    statement_list_add(out, owner);
  if (!out->count && !change->note)
    change->note = memory_strdup("where or how it is stored differs");
}

/* ---- all ---- */

static void compare_entry(Comparison *comparison, long then) {
  long now = comparison->in_now[then];
  if (now == ARCHIVE_NO_ENTRY) {
    ArchiveChange change = changes_entry(comparison, CHANGE_MISSING, then, ARCHIVE_NO_ENTRY);
    roll_forward_missing(comparison, &change);
    changes_add(comparison, change);
    return;
  }
  bool recreated = changes_recreated(comparison, then, now);
  if (changes_same(comparison, then, now) && !recreated)
    return;
  if (archive_is_table(&comparison->then_toc->entries[then])) {
    changes_table(comparison, then, now);
    return;
  }
  ArchiveChange change = changes_entry(comparison, CHANGE_CHANGED, then, now);
  change.recreated = recreated;
  roll_forward_changed(comparison, &change);
  changes_add(comparison, change);
}

static long *none(size_t count) {
  long *items = memory_alloc((count + 1) * sizeof *items);
  for (size_t i = 0; i < count; i++)
    items[i] = ARCHIVE_NO_ENTRY;
  return items;
}

void archive_changes(const ArchiveIndex *then, const ArchiveIndex *now, ChangeList *out) {
  Comparison comparison = {
      .then = then, .now = now, .then_toc = archive_index_toc(then), .now_toc = archive_index_toc(now), .out = out};
  comparison.in_now = none(comparison.then_toc->entry_count);
  comparison.in_then = none(comparison.now_toc->entry_count);
  changes_match(&comparison);
  for (size_t i = 0; i < comparison.then_toc->entry_count; i++)
    if (!changes_ignored(&comparison, &comparison.then_toc->entries[i]))
      compare_entry(&comparison, (long)i);
  for (size_t i = 0; i < comparison.now_toc->entry_count; i++)
    if (!changes_ignored(&comparison, &comparison.now_toc->entries[i]) && comparison.in_then[i] == ARCHIVE_NO_ENTRY)
      changes_add(&comparison, changes_entry(&comparison, CHANGE_ADDED, ARCHIVE_NO_ENTRY, (long)i));
  changes_explain(&comparison);
  free(comparison.in_now);
  free(comparison.in_then);
}

/* ---- in order ---- */

static void append(StatementList *out, const StatementList *list) {
  for (size_t i = 0; i < list->count; i++)
    statement_list_add(out, memory_strdup(list->items[i]));
}

typedef struct Step {
  long then;
  int rank; /* of steps at one entry */
  const StatementList *statements;
} Step;

static int by_step(const void *a, const void *b) {
  const Step *x = a, *y = b;
  if (x->then != y->then)
    return (x->then > y->then) - (x->then < y->then);
  return (x->rank > y->rank) - (x->rank < y->rank);
}

void archive_roll_forward(const ChangeList *list, StatementList *out) {
  CLEANUP_FREE Step *steps = NULL;
  size_t count = 0;
  int rank = 0; /* as they come: renames, columns, objects */
  for (size_t i = 0; i < list->rename_count; i++)
    ARRAY_PUSH(steps, count, ((Step){list->renames[i].then, rank++, &list->renames[i].roll_forward}));
  for (size_t i = 0; i < list->column_count; i++)
    ARRAY_PUSH(steps, count, ((Step){list->columns[i].then, rank++, &list->columns[i].roll_forward}));
  for (size_t i = 0; i < list->object_count; i++)
    ARRAY_PUSH(steps, count, ((Step){list->objects[i].then, rank++, &list->objects[i].roll_forward}));
  if (count)
    qsort(steps, count, sizeof *steps, by_step);
  for (size_t i = 0; i < count; i++)
    append(out, steps[i].statements);
}
