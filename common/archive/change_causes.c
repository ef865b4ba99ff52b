#include <stdlib.h>
#include <string.h>

#include "common/archive/changes_parts.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* By entry of the checkpoint's TOC: the missing entry that it went with, itself if nothing else explains it, or
 * ARCHIVE_NO_ENTRY if it is not missing. */
typedef struct Causes {
  const Comparison *comparison;
  long *roots;
} Causes;

static char *object_name(const ArchiveEntry *entry) {
  return archive_is_relation(entry) ? sql_shown_name(entry->schema, entry->tag) : archive_entry_identity(entry);
}

static bool is_missing(const Causes *causes, long entry) {
  return entry != ARCHIVE_NO_ENTRY && causes->comparison->in_now[entry] == ARCHIVE_NO_ENTRY &&
         !changes_ignored(causes->comparison, &causes->comparison->then_toc->entries[entry]);
}

/* The root of what is missing beneath it; dependencies come first in a TOC, so theirs are known already. */
static void try_root(Causes *causes, long entry, long other) {
  if (causes->roots[entry] == entry && other != entry && is_missing(causes, other))
    causes->roots[entry] = causes->roots[other] == ARCHIVE_NO_ENTRY ? other : causes->roots[other];
}

static void find_roots(Causes *causes) {
  const ArchiveToc *toc = causes->comparison->then_toc;
  const ArchiveIndex *index = causes->comparison->then;
  for (long i = 0; i < (long)toc->entry_count; i++) {
    causes->roots[i] = ARCHIVE_NO_ENTRY;
    if (!is_missing(causes, i))
      continue;
    const ArchiveEntry *entry = &toc->entries[i];
    causes->roots[i] = i;
    if (*entry->schema)
      try_root(causes, i, archive_index_find(index, "SCHEMA", "", entry->schema));
    try_root(causes, i, archive_index_parent(index, i));
    for (size_t d = 0; d < entry->dependency_count; d++)
      try_root(causes, i, archive_index_by_id(index, entry->dependencies[d]));
  }
}

/* Does the definition name the column? */
static bool names_column(const char *defn, const char *column) {
  for (const char *at = defn, *end = defn + strlen(defn); at < end;) {
    const char *token_end = sql_skip_token(at, end), *next = at;
    char *name = NULL;
    if (sql_take_name(&next, end, &name)) {
      bool same = strcmp(name, column) == 0;
      free(name);
      if (same)
        return true;
    }
    at = token_end;
  }
  return false;
}

static bool depends_on(const ArchiveIndex *index, const ArchiveEntry *entry, long other) {
  for (size_t i = 0; i < entry->dependency_count; i++)
    if (archive_index_by_id(index, entry->dependencies[i]) == other)
      return true;
  return false;
}

/* A missing column of a table it depends on, that its definition names: "public.orders.note". */
static char *lost_column(const Comparison *comparison, const ArchiveEntry *entry) {
  for (size_t i = 0; i < comparison->out->column_count; i++) {
    const ArchiveColumnChange *change = &comparison->out->columns[i];
    if (change->kind != COLUMN_MISSING || !depends_on(comparison->then, entry, change->then) ||
        !names_column(entry->defn, change->column))
      continue;
    CLEANUP_FREE char *table = object_name(&comparison->then_toc->entries[change->then]),
                      *name = sql_shown_name("", change->column);
    return memory_format("%s.%s", table, name);
  }
  return NULL;
}

/* A relation it depends on that was dropped and made again, or has another name now. */
static char *moved_relation(const Comparison *comparison, const ArchiveEntry *entry, bool renamed) {
  for (size_t i = 0; i < entry->dependency_count; i++) {
    long other = archive_index_by_id(comparison->then, entry->dependencies[i]);
    if (other == ARCHIVE_NO_ENTRY || comparison->in_now[other] == ARCHIVE_NO_ENTRY)
      continue;
    bool moved =
        renamed ? changes_renamed(comparison, other) : changes_recreated(comparison, other, comparison->in_now[other]);
    if (moved)
      return object_name(&comparison->then_toc->entries[other]);
  }
  return NULL;
}

static void explain(const Causes *causes, ArchiveChange *change) {
  const Comparison *comparison = causes->comparison;
  if (change->kind == CHANGE_ADDED || change->then == ARCHIVE_NO_ENTRY)
    return;
  const ArchiveEntry *entry = &comparison->then_toc->entries[change->then];
  long root = causes->roots[change->then];
  if (root != ARCHIVE_NO_ENTRY && root != change->then)
    change->because_of = object_name(&comparison->then_toc->entries[root]);
  if (!change->because_of && change->kind == CHANGE_MISSING)
    change->because_of = lost_column(comparison, entry);
  if (!change->because_of && change->kind == CHANGE_MISSING)
    change->because_of = moved_relation(comparison, entry, false);
  if (!change->because_of && !archive_is_table(entry))
    change->because_of = moved_relation(comparison, entry, true);
}

void changes_explain(Comparison *comparison) {
  Causes causes = {.comparison = comparison};
  causes.roots = memory_alloc((comparison->then_toc->entry_count + 1) * sizeof *causes.roots);
  find_roots(&causes);
  for (size_t i = 0; i < comparison->out->object_count; i++)
    explain(&causes, &comparison->out->objects[i]);
  free(causes.roots);
}
