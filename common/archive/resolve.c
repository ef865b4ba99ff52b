#include <stdlib.h>
#include <string.h>

#include "common/archive/ddl.h"
#include "common/archive/select.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* What archive_resolve() looks at and fills. */
typedef struct Resolver {
  const ArchiveIndex *index, *live;
  const ArchiveToc *toc;
  const ArchiveSelection *selection;
  ArchiveResolution *out;
  long *work; /* taken entries whose needs are still to be looked at */
  size_t work_count;
} Resolver;

void archive_resolution_release(ArchiveResolution *resolution) {
  for (size_t i = 0; i < resolution->left_out_count; i++)
    free(resolution->left_out[i].why);
  free(resolution->left_out);
  free(resolution->take);
  memset(resolution, 0, sizeof *resolution);
}

static bool is(const ArchiveEntry *entry, const char *desc) {
  return strcmp(entry->desc, desc) == 0;
}

static bool lives(const Resolver *resolver, long entry) {
  const ArchiveEntry *it = &resolver->toc->entries[entry];
  return resolver->live && archive_index_find(resolver->live, it->desc, it->schema, it->tag) != ARCHIVE_NO_ENTRY;
}

static bool is_there(const Resolver *resolver, long entry) {
  return resolver->out->take[entry] || lives(resolver, entry);
}

static void leave_out(Resolver *resolver, long entry, const char *what, long other) {
  CLEANUP_FREE char *identity = archive_entry_identity(&resolver->toc->entries[other]);
  ArchiveLeftOut one = {entry, memory_format("%s %s, which is missing too", what, identity)};
  ARRAY_PUSH(resolver->out->left_out, resolver->out->left_out_count, one);
}

static void take(Resolver *resolver, long entry) {
  if (resolver->out->take[entry])
    return;
  resolver->out->take[entry] = true;
  ARRAY_PUSH(resolver->work, resolver->work_count, entry);
}

/* A part of what exists: it may be there under another name, and is never put back for another's sake. */
static bool is_part_of_living(const Resolver *resolver, long entry) {
  long parent = archive_index_parent(resolver->index, entry);
  return parent != ARCHIVE_NO_ENTRY && !resolver->out->take[parent] && lives(resolver, parent);
}

static void need(Resolver *resolver, long entry) {
  if (entry == ARCHIVE_NO_ENTRY || archive_is_data(&resolver->toc->entries[entry]) || is_there(resolver, entry) ||
      is_part_of_living(resolver, entry) || is(&resolver->toc->entries[entry], "PUBLICATION"))
    return;
  long parent = archive_index_parent(resolver->index, entry);
  if (parent != ARCHIVE_NO_ENTRY && !resolver->out->take[parent])
    take(resolver, parent);
  take(resolver, entry);
}

/* The needs of all that was taken; and the parts of what was taken because of them. */
static void take_needs(Resolver *resolver) {
  while (resolver->work_count > 0) {
    long at = resolver->work[--resolver->work_count];
    const ArchiveEntry *entry = &resolver->toc->entries[at];
    for (size_t i = 0; i < entry->dependency_count; i++)
      need(resolver, archive_index_by_id(resolver->index, entry->dependencies[i]));
    if (*entry->schema)
      need(resolver, archive_index_find(resolver->index, "SCHEMA", "", entry->schema));
    const long *parts;
    size_t count = archive_index_parts(resolver->index, at, &parts);
    for (size_t i = 0; i < count; i++)
      take(resolver, parts[i]);
  }
}

/* Version 13 attaches a partition in its TABLE entry. If its parent is there, that makes the indexes which the parent
 * has: they are not to be made again. */
static void drop_attached_indexes(Resolver *resolver) {
  bool *taken = resolver->out->take;
  for (long i = 0; i < (long)resolver->toc->entry_count; i++) {
    if (!taken[i] || !is(&resolver->toc->entries[i], "INDEX ATTACH"))
      continue;
    long table = archive_index_owner(resolver->index, i), parent = archive_index_partition_of(resolver->index, table);
    long child = archive_index_parent(resolver->index, i);
    if (child == ARCHIVE_NO_ENTRY || parent == ARCHIVE_NO_ENTRY || taken[parent] ||
        !strstr(resolver->toc->entries[table].defn, " ATTACH PARTITION "))
      continue;
    taken[i] = taken[child] = false;
  }
}

/* What joins a taken entry to something else can be done only if that is there: the index or table it is attached to,
 * the publication that has it. */
static void drop_loose_ends(Resolver *resolver) {
  for (long i = 0; i < (long)resolver->toc->entry_count; i++) {
    const ArchiveEntry *entry = &resolver->toc->entries[i];
    if (!resolver->out->take[i] || !(is(entry, "INDEX ATTACH") || is(entry, "PUBLICATION TABLE")))
      continue;
    for (size_t d = 0; d < entry->dependency_count; d++) {
      long other = archive_index_by_id(resolver->index, entry->dependencies[d]);
      if (other == ARCHIVE_NO_ENTRY || is_there(resolver, other))
        continue;
      resolver->out->take[i] = false;
      leave_out(resolver, i, "needs", other);
      break;
    }
  }
}

/* A dependency that is neither there nor taken, nor perhaps there under another name. */
static long unmet(const Resolver *resolver, const ArchiveEntry *entry) {
  for (size_t i = 0; i < entry->dependency_count; i++) {
    long other = archive_index_by_id(resolver->index, entry->dependencies[i]);
    if (other != ARCHIVE_NO_ENTRY && !archive_is_data(&resolver->toc->entries[other]) && !is_there(resolver, other) &&
        !is_part_of_living(resolver, other))
      return other;
  }
  return ARCHIVE_NO_ENTRY;
}

/* Does it depend on something that is put back, other than what it is a part of? */
static bool went_with_taken(const Resolver *resolver, const ArchiveEntry *entry, long parent) {
  for (size_t i = 0; i < entry->dependency_count; i++) {
    long other = archive_index_by_id(resolver->index, entry->dependencies[i]);
    if (other != ARCHIVE_NO_ENTRY && other != parent && resolver->out->take[other])
      return true;
  }
  return false;
}

typedef enum Verdict { VERDICT_TAKE, VERDICT_NOT_MEANT, VERDICT_UNMET } Verdict;

/* *lacks: with VERDICT_UNMET what is missing. */
static Verdict judge_dependent(const Resolver *resolver, long at, long *lacks) {
  const ArchiveEntry *entry = &resolver->toc->entries[at];
  long parent = archive_index_parent(resolver->index, at);
  if (parent != ARCHIVE_NO_ENTRY && !resolver->out->take[parent]) {
    if (!lives(resolver, parent)) {
      *lacks = parent;
      return VERDICT_UNMET;
    }
    if (archive_is_data(entry) || !went_with_taken(resolver, entry, parent))
      return VERDICT_NOT_MEANT;
  }
  *lacks = unmet(resolver, entry);
  return *lacks == ARCHIVE_NO_ENTRY ? VERDICT_TAKE : VERDICT_UNMET;
}

static bool is_lacking_dependent(const Resolver *resolver, long at) {
  return resolver->selection->classes[at] == ENTRY_DEPENDENT && !resolver->out->take[at] &&
         (archive_is_data(&resolver->toc->entries[at]) || !lives(resolver, at));
}

/* Again as long as something was taken: what stands earlier in the TOC can depend on what stands later. */
static void take_dependents(Resolver *resolver) {
  long lacks;
  for (bool any = true; any;) {
    any = false;
    for (long i = 0; i < (long)resolver->toc->entry_count; i++) {
      if (!is_lacking_dependent(resolver, i) || judge_dependent(resolver, i, &lacks) != VERDICT_TAKE)
        continue;
      resolver->out->take[i] = true;
      any = true;
    }
  }
  for (long i = 0; i < (long)resolver->toc->entry_count; i++)
    if (is_lacking_dependent(resolver, i) && judge_dependent(resolver, i, &lacks) == VERDICT_UNMET)
      leave_out(resolver, i, "needs", lacks);
}

void archive_resolve(const ArchiveIndex *index, const ArchiveSelection *selection, const ArchiveIndex *live,
                     ArchiveResolution *out) {
  ArchiveResolution resolution = {0};
  Resolver resolver = {
      .index = index, .live = live, .toc = archive_index_toc(index), .selection = selection, .out = &resolution};
  resolution.take = memory_alloc((selection->entry_count + 1) * sizeof(bool));
  for (long i = 0; i < (long)selection->entry_count; i++)
    if (selection->classes[i] == ENTRY_CHOSEN)
      take(&resolver, i);
  take_needs(&resolver);
  take_dependents(&resolver);
  drop_loose_ends(&resolver);
  drop_attached_indexes(&resolver);
  free(resolver.work);
  *out = resolution;
}

/* ---- order ---- */

enum { PASS_MAIN, PASS_ATTACH_TABLE, PASS_ATTACH_INDEX, PASS_GRANTS, PASS_LAST, PASS_COUNT };

/* Does it attach something to a table that is not taken? */
static bool attaches_to_living(const ArchiveIndex *index, const bool *take, long at) {
  long table = archive_index_owner(index, at), parent = archive_index_partition_of(index, table);
  return parent != ARCHIVE_NO_ENTRY && !take[parent];
}

/* As in pg_restore grants come after everything, so that they do not hinder it; what may run the database's own code on
 * what is there comes last. */
static int restore_pass(const ArchiveIndex *index, const bool *take, long at) {
  static const char trigger[] = "EVENT TRIGGER ";
  const ArchiveEntry *entry = &archive_index_toc(index)->entries[at];
  bool about = is(entry, "COMMENT") || is(entry, "SECURITY LABEL");
  if (is(entry, "ACL") || is(entry, "ACL LANGUAGE") || is(entry, "DEFAULT ACL"))
    return PASS_GRANTS;
  if (is(entry, "EVENT TRIGGER") || is(entry, "MATERIALIZED VIEW DATA") ||
      (about && strncmp(entry->tag, trigger, sizeof trigger - 1) == 0))
    return PASS_LAST;
  if (is(entry, "TABLE ATTACH") && attaches_to_living(index, take, at))
    return PASS_ATTACH_TABLE;
  return is(entry, "INDEX ATTACH") && attaches_to_living(index, take, at) ? PASS_ATTACH_INDEX : PASS_MAIN;
}

size_t archive_restore_order(const ArchiveIndex *index, const bool *take, long **order) {
  size_t count = 0, entry_count = archive_index_toc(index)->entry_count;
  *order = memory_alloc((entry_count + 1) * sizeof(long));
  for (int pass = 0; pass < PASS_COUNT; pass++)
    for (long i = 0; i < (long)entry_count; i++)
      if (take[i] && restore_pass(index, take, i) == pass)
        (*order)[count++] = i;
  return count;
}

char *archive_restore_list(const ArchiveToc *toc, const bool *take) {
  Buffer out = {0};
  for (size_t i = 0; i < toc->entry_count; i++)
    if (take[i])
      buffer_append_format(&out, "%d;\n", toc->entries[i].dump_id);
  return buffer_steal_text(&out);
}
