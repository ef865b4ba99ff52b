/*
 * Large objects in the TOC of PostgreSQL 17: one BLOB METADATA entry, and one ACL entry, stands for up to 1000 objects
 * of the same owner and grants. How they are grouped is not content: pg_dump groups by the stored form of the grants,
 * and a restore stores the default ones in another form, so that the copy is grouped anew. Here each object gets
 * entries of its own, which are the same whatever the grouping. Internal to common/archive.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_LARGE_OBJECTS_H
#define PGSEAL_COMMON_ARCHIVE_LARGE_OBJECTS_H

#include "common/archive/reader.h"

/* Calls `each` for every entry of the TOC in order; for an entry of a group once for each of its objects, with tag and
 * definition as if the object stood alone. Only what is as pg_dump writes it is split. The entry is valid in the call.
 */
void large_objects_split(const ArchiveToc *toc, void (*each)(void *user, const ArchiveEntry *entry), void *user);

#endif
