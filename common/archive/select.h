/*
 * Which entries of an archive a restore of some tables means: the tables, all that is part of them, what they need, and
 * what depends on them.
 *
 *  ENTRY_CHOSEN     the relations the patterns name, the partitions of those, and every part of them: data, owned
 *                   sequences, defaults, constraints, indexes, triggers, policies, comments, grants, ...
 *  ENTRY_NEEDED     what a chosen entry depends on (types, schemas, functions, extensions, tables that a foreign key
 *                   points at), and the parts of it: to be put back only where the database lacks it
 *  ENTRY_DEPENDENT  what depends on a chosen entry, as a DROP ... CASCADE would take it (foreign keys of other tables,
 *                   views, rules, policies, functions, children by INHERITS), and the parts of it: likewise
 *
 * archive_resolve() says, given the database as it is, which of these have to be put back.
 * Pure; any thread. The TOC (and the index) must outlive what is made of them.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_SELECT_H
#define PGSEAL_COMMON_ARCHIVE_SELECT_H

#include "common/archive/index.h"
#include "common/archive/pattern.h"

typedef enum ArchiveEntryClass { ENTRY_LEFT, ENTRY_CHOSEN, ENTRY_NEEDED, ENTRY_DEPENDENT } ArchiveEntryClass;

typedef struct ArchiveSelection {
  size_t entry_count;
  ArchiveEntryClass *classes; /* by entry */
  long *because;   /* by entry: the chosen, needed or dependent entry it came with; itself if a pattern named it */
  long *relations; /* the chosen relations (with partitions), ascending */
  size_t relation_count;
} ArchiveSelection;

/* patterns: see pattern.h. Without a schema, `public` is meant if it has a match, else the one schema that has;
 * several: ERR_INVALID_ARGUMENT naming them. A pattern that matches nothing is ERR_NOT_FOUND and names the nearest.
 * count 0 is ERR_INVALID_ARGUMENT. err's object is the pattern. */
Status archive_select(const ArchiveIndex *index, const char *const *patterns, size_t count, ArchiveSelection *out,
                      Error *err) MUST_CHECK;
void archive_selection_release(ArchiveSelection *selection);

typedef struct ArchiveLeftOut { /* missing in the database, but not put back */
  long entry;
  char *why; /* "needs FUNCTION public.f(), which is missing too" */
} ArchiveLeftOut;

typedef struct ArchiveResolution {
  bool *take; /* by entry: to be put back */
  ArchiveLeftOut *left_out;
  size_t left_out_count;
} ArchiveResolution;

/* Takes every chosen entry; needed ones that `live` (the index of a schema-only dump of the database as it is; NULL: of
 * an empty one) lacks, each with its parts; dependent ones that it lacks, where all that they need is there or is
 * taken. What exists is never taken again with its parts. A publication that is gone is not brought back for its
 * tables' sake. A chosen relation that exists is taken all the same: whether it may is the caller's to check before. */
void archive_resolve(const ArchiveIndex *index, const ArchiveSelection *selection, const ArchiveIndex *live,
                     ArchiveResolution *out);
void archive_resolution_release(ArchiveResolution *resolution);

/* The taken entries in the order in which they can be put back: as in the TOC, then grants, then refreshes of
 * materialized views and event triggers, as pg_restore does. A partition whose parent is not taken (it is there) is
 * attached after its own indexes are made: being attached would make them. *order is freed by the caller; returns how
 * many. */
size_t archive_restore_order(const ArchiveIndex *index, const bool *take, long **order);

/* For `pg_restore -L`: one dump id a line, in the order of the TOC. The caller frees. */
char *archive_restore_list(const ArchiveToc *toc, const bool *take);

#endif
