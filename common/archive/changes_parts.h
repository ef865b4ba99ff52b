/* How changes.c, change_tables.c and change_causes.c work together. Internal to common/archive. */
#ifndef PGSEAL_COMMON_ARCHIVE_CHANGES_PARTS_H
#define PGSEAL_COMMON_ARCHIVE_CHANGES_PARTS_H

#include "common/archive/changes.h"

typedef struct Comparison {
  const ArchiveIndex *then, *now;
  const ArchiveToc *then_toc, *now_toc;
  long *in_now, *in_then; /* by entry of then, of now: its counterpart, or ARCHIVE_NO_ENTRY */
  bool same_database;     /* OIDs of the two can be compared */
  ChangeList *out;
} Comparison;

/* Of no interest for what changed: data, settings, what is the database's own. */
bool changes_ignored(const Comparison *comparison, const ArchiveEntry *entry);

/* Finds the counterparts, by name; then probable renames, which it adds to the list. */
void changes_match(Comparison *comparison);
/* Does the entry say the same then and now, renamed relations aside? */
bool changes_same(const Comparison *comparison, long then, long now);
bool changes_renamed(const Comparison *comparison, long then);
bool changes_recreated(const Comparison *comparison, long then, long now);

/* A change of an entry with its names filled in, not in the list yet. */
ArchiveChange changes_entry(const Comparison *comparison, ArchiveChangeKind kind, long then, long now);
void changes_add(Comparison *comparison, ArchiveChange change);

/* What differs between two TABLE (FOREIGN TABLE) entries, column by column. */
void changes_table(Comparison *comparison, long then, long now);

/* Fills in because_of when all changes are known. */
void changes_explain(Comparison *comparison);

#endif
