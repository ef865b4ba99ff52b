#include "common/archive/select.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/ddl.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { NAMED_AT_MOST = 5 /* schemas or suggestions in a message */ };

/* Entries whose own consequences are still to be looked at. */
typedef struct Work {
  long *items;
  size_t count;
} Work;

static void work_release(Work *work) {
  free(work->items);
}

void archive_selection_release(ArchiveSelection *selection) {
  free(selection->classes);
  free(selection->because);
  free(selection->relations);
  memset(selection, 0, sizeof *selection);
}

static void give(ArchiveSelection *selection, long entry, ArchiveEntryClass class, long because, Work *work) {
  if (entry == ARCHIVE_NO_ENTRY || selection->classes[entry] != ENTRY_LEFT)
    return;
  selection->classes[entry] = class;
  selection->because[entry] = because;
  ARRAY_PUSH(work->items, work->count, entry);
}

/* ---- patterns ---- */

static bool matches(const ArchivePattern *pattern, const ArchiveEntry *entry) {
  return archive_is_relation(entry) && archive_pattern_part_matches(&pattern->name, entry->tag) &&
         (!pattern->schema.text || archive_pattern_part_matches(&pattern->schema, entry->schema));
}

/* The one schema that a pattern without schema means; NULL and *several if there is more than one. */
static const char *meant_schema(const ArchiveToc *toc, const ArchivePattern *pattern, bool *several) {
  const char *found = NULL;
  *several = false;
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (!matches(pattern, entry))
      continue;
    if (strcmp(entry->schema, "public") == 0) {
      *several = false;
      return entry->schema;
    }
    *several |= found && strcmp(found, entry->schema) != 0;
    found = entry->schema;
  }
  return *several ? NULL : found;
}

static Status refuse_several(const ArchiveToc *toc, const ArchivePattern *pattern, const char *text, Error *err) {
  CLEANUP(buffer_release) Buffer names = {0};
  const char *last = NULL;
  size_t named = 0;
  for (size_t i = 0; i < toc->entry_count && named < NAMED_AT_MOST; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (!matches(pattern, entry) || (last && strcmp(last, entry->schema) == 0))
      continue;
    CLEANUP_FREE char *name = sql_shown_name(entry->schema, entry->tag);
    buffer_append_format(&names, "%s%s", named++ ? ", " : "", name);
    last = entry->schema;
  }
  CLEANUP_FREE char *shown = archive_pattern_shown(text);
  error_set(err, ERR_INVALID_ARGUMENT, "%s is in more than one schema of the checkpoint: %s", shown,
            buffer_text(&names));
  error_remedy(err, "Name the schema too.");
  error_object(err, "%s", shown);
  return err->status;
}

/* How far a relation's name is from what was asked for; a glob is taken for a misspelt name as it stands. */
static int distance(const ArchivePattern *pattern, const ArchiveEntry *entry, int limit) {
  int schema = pattern->schema.text ? archive_name_distance(pattern->schema.text, entry->schema, limit) : 0;
  return schema + archive_name_distance(pattern->name.text, entry->tag, limit);
}

static Status refuse_unknown(const ArchiveToc *toc, const ArchivePattern *pattern, const char *text, Error *err) {
  int limit = 2 + (int)strnlen(pattern->name.text, 60) / 3, best = limit;
  for (size_t i = 0; i < toc->entry_count; i++)
    if (archive_is_relation(&toc->entries[i])) {
      int one = distance(pattern, &toc->entries[i], limit);
      best = one < best ? one : best;
    }
  CLEANUP(buffer_release) Buffer names = {0};
  size_t named = 0;
  for (size_t i = 0; best < limit && i < toc->entry_count && named < NAMED_AT_MOST; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (!archive_is_relation(entry) || distance(pattern, entry, limit) != best)
      continue;
    CLEANUP_FREE char *name = sql_shown_name(entry->schema, entry->tag);
    buffer_append_format(&names, "%s%s", named++ ? ", " : "", name);
  }
  CLEANUP_FREE char *shown = archive_pattern_shown(text);
  error_set(err, ERR_NOT_FOUND, "the checkpoint has no table, view or sequence %s", shown);
  if (named)
    error_remedy(err, "The nearest it has: %s. A name with capitals or odd characters needs double quotes.",
                 buffer_text(&names));
  else
    error_remedy(err, "Nothing in the checkpoint has a name like it: check the name, and its schema.");
  error_object(err, "%s", shown);
  return err->status;
}

static Status choose(const ArchiveToc *toc, const char *text, ArchiveSelection *selection, Work *work, Error *err) {
  CLEANUP(archive_pattern_release) ArchivePattern pattern = {0};
  Status status = archive_pattern_parse(text, &pattern, err);
  if (status)
    return status;
  const char *schema = NULL;
  bool several = false;
  if (!pattern.schema.text) {
    schema = meant_schema(toc, &pattern, &several);
    if (several)
      return refuse_several(toc, &pattern, text, err);
  }
  bool any = false;
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (matches(&pattern, entry) && (!schema || strcmp(schema, entry->schema) == 0)) {
      any = true;
      give(selection, (long)i, ENTRY_CHOSEN, (long)i, work);
    }
  }
  return any ? STATUS_OK : refuse_unknown(toc, &pattern, text, err);
}

/* ---- closures ---- */

/* The parts of what is chosen, and the partitions. */
static void spread_chosen(const ArchiveIndex *index, ArchiveSelection *selection, Work *work) {
  while (work->count > 0) {
    long entry = work->items[--work->count];
    const long *items;
    size_t count = archive_index_parts(index, entry, &items);
    for (size_t i = 0; i < count; i++)
      give(selection, items[i], ENTRY_CHOSEN, entry, work);
    count = archive_index_users(index, entry, &items);
    for (size_t i = 0; i < count; i++)
      if (archive_index_partition_of(index, items[i]) == entry)
        give(selection, items[i], ENTRY_CHOSEN, entry, work);
  }
}

/* Partitions that do not name their parent among their dependencies: found by it. */
static void choose_partitions(const ArchiveIndex *index, ArchiveSelection *selection, Work *work) {
  size_t before;
  do {
    before = 0;
    for (long i = 0; i < (long)selection->entry_count; i++) {
      long parent = archive_index_partition_of(index, i);
      if (parent != ARCHIVE_NO_ENTRY && selection->classes[parent] == ENTRY_CHOSEN &&
          selection->classes[i] == ENTRY_LEFT) {
        give(selection, i, ENTRY_CHOSEN, parent, work);
        before++;
      }
    }
    spread_chosen(index, selection, work);
  } while (before > 0);
}

/* What `entry` needs besides its dependencies: its schema. */
static long schema_of(const ArchiveIndex *index, const ArchiveEntry *entry) {
  return *entry->schema ? archive_index_find(index, "SCHEMA", "", entry->schema) : ARCHIVE_NO_ENTRY;
}

/* Calls give() for all that the work's entries depend on, and the parts of that. */
static void spread_needed(const ArchiveIndex *index, ArchiveSelection *selection, Work *work) {
  const ArchiveToc *toc = archive_index_toc(index);
  while (work->count > 0) {
    long at = work->items[--work->count];
    const ArchiveEntry *entry = &toc->entries[at];
    for (size_t i = 0; i < entry->dependency_count; i++)
      give(selection, archive_index_by_id(index, entry->dependencies[i]), ENTRY_NEEDED, at, work);
    give(selection, schema_of(index, entry), ENTRY_NEEDED, at, work);
    const long *parts;
    size_t count = selection->classes[at] == ENTRY_NEEDED ? archive_index_parts(index, at, &parts) : 0;
    for (size_t i = 0; i < count; i++)
      give(selection, parts[i], ENTRY_NEEDED, at, work);
  }
}

/* DROP ... CASCADE takes what depends on an object, but of a table only its column, default or constraint: those are
 * entries of their own or come back with the table's change. A table itself goes with the table it inherits from. */
static bool goes_with(const ArchiveIndex *index, long user, long entry) {
  const ArchiveToc *toc = archive_index_toc(index);
  if (!archive_is_table(&toc->entries[user]))
    return true;
  CLEANUP(archive_table_release) ArchiveTable table = {0};
  Error ignored;
  if (!archive_is_table(&toc->entries[entry]) ||
      archive_table_parse(&toc->entries[user], &table, &ignored) != STATUS_OK)
    return false;
  for (size_t i = 0; i < table.parent_count; i++)
    if (strcmp(table.parents[2 * i], toc->entries[entry].schema) == 0 &&
        strcmp(table.parents[2 * i + 1], toc->entries[entry].tag) == 0)
      return true;
  return false;
}

static void spread_dependent(const ArchiveIndex *index, ArchiveSelection *selection, Work *work) {
  while (work->count > 0) {
    long at = work->items[--work->count];
    const long *items;
    size_t count = archive_index_users(index, at, &items);
    for (size_t i = 0; i < count; i++)
      if (selection->classes[items[i]] == ENTRY_LEFT && goes_with(index, items[i], at))
        give(selection, items[i], ENTRY_DEPENDENT, at, work);
    count = selection->classes[at] == ENTRY_DEPENDENT ? archive_index_parts(index, at, &items) : 0;
    for (size_t i = 0; i < count; i++)
      give(selection, items[i], ENTRY_DEPENDENT, at, work);
  }
}

static void chosen_as_work(const ArchiveSelection *selection, Work *work) {
  for (long i = 0; i < (long)selection->entry_count; i++)
    if (selection->classes[i] == ENTRY_CHOSEN)
      ARRAY_PUSH(work->items, work->count, i);
}

Status archive_select(const ArchiveIndex *index, const char *const *patterns, size_t count, ArchiveSelection *out,
                      Error *err) {
  const ArchiveToc *toc = archive_index_toc(index);
  if (count == 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "no table is named");
  CLEANUP(archive_selection_release) ArchiveSelection selection = {.entry_count = toc->entry_count};
  CLEANUP(work_release) Work work = {0};
  selection.classes = memory_alloc((toc->entry_count + 1) * sizeof *selection.classes);
  selection.because = memory_alloc((toc->entry_count + 1) * sizeof *selection.because);
  for (size_t i = 0; i < toc->entry_count; i++)
    selection.because[i] = ARCHIVE_NO_ENTRY;
  for (size_t i = 0; i < count; i++) {
    Status status = choose(toc, patterns[i], &selection, &work, err);
    if (status)
      return status;
  }
  spread_chosen(index, &selection, &work);
  choose_partitions(index, &selection, &work);
  chosen_as_work(&selection, &work);
  spread_dependent(index, &selection, &work);
  chosen_as_work(&selection, &work);
  spread_needed(index, &selection, &work);
  for (long i = 0; i < (long)toc->entry_count; i++)
    if (selection.classes[i] == ENTRY_CHOSEN && archive_is_relation(&toc->entries[i]))
      ARRAY_PUSH(selection.relations, selection.relation_count, i);
  *out = selection;
  memset(&selection, 0, sizeof selection);
  return STATUS_OK;
}
