/*
 * ArchiveIndex: finds entries of a TOC by dump id or by name, and which entry belongs to which: an index to its table,
 * a comment to what it is about. Read-only once made, may be shared between threads; the TOC must outlive it.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_INDEX_H
#define PGSEAL_COMMON_ARCHIVE_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "common/archive/reader.h"

enum { ARCHIVE_NO_ENTRY = -1 }; /* compare with it; an entry's index is a long >= 0 */

typedef struct ArchiveIndex ArchiveIndex;

ArchiveIndex *archive_index_new(const ArchiveToc *toc);
void archive_index_free(ArchiveIndex *index); /* NULL is fine */
const ArchiveToc *archive_index_toc(const ArchiveIndex *index);

/* All of these return an index into toc->entries, or ARCHIVE_NO_ENTRY. */
long archive_index_by_id(const ArchiveIndex *index, int dump_id);
/* The first of them where several have this name (operators, for instance). */
long archive_index_find(const ArchiveIndex *index, const char *desc, const char *schema, const char *tag);
/* TABLE, FOREIGN TABLE, VIEW, MATERIALIZED VIEW or SEQUENCE of that name: they share one name space. */
long archive_index_relation(const ArchiveIndex *index, const char *schema, const char *name);
/* What `entry` is a part of, one step up: DEFAULT, CONSTRAINT, INDEX, TRIGGER, RULE, POLICY, TABLE DATA, ...: the
 * relation; an owned or identity SEQUENCE: its table; SEQUENCE SET: the sequence; COMMENT, ACL, SECURITY LABEL: what
 * they are about; TABLE ATTACH, INDEX ATTACH: the child. */
long archive_index_parent(const ArchiveIndex *index, long entry);
/* The TABLE (or other relation) at the top of the chain of parents, `entry` itself if it is one. */
long archive_index_owner(const ArchiveIndex *index, long entry);
/* The entries that are directly part of `entry`: *items is the index's own, ascending. Returns how many. */
size_t archive_index_parts(const ArchiveIndex *index, long entry, const long **items);
/* The entries that have `entry` among their dependencies; as above. */
size_t archive_index_users(const ArchiveIndex *index, long entry, const long **items);
/* The partitioned table a partition belongs to. */
long archive_index_partition_of(const ArchiveIndex *index, long entry);

bool archive_is_relation(const ArchiveEntry *entry); /* TABLE, FOREIGN TABLE, VIEW, MATERIALIZED VIEW, SEQUENCE */
bool archive_is_table(const ArchiveEntry *entry);    /* TABLE, FOREIGN TABLE */
/* Is `entry` of what a schema-only dump leaves out: table data, sequence values, large objects, refreshes? */
bool archive_is_data(const ArchiveEntry *entry);

#endif
