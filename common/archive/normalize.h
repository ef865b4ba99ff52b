/*
 * What a restore legitimately changes in a definition, put into one order before it is digested. Each is by name, with
 * a test; nothing else is forgiven. Internal to common/archive.
 *
 *  - TABLE and FOREIGN TABLE ... INHERITS: a restored child takes its parents' columns first, so the order of the lines
 *    of its column list (columns and constraints), and of its ALTER COLUMN statements, differs. Both are sorted.
 *  - STATISTICS ... ON a, b and PUBLICATION TABLE ... (a, b): PostgreSQL itself keeps these columns in the order they
 *    have in the table, another one in such a child's copy. The columns are sorted; expressions stay where they are.
 *  - POLICY ... TO a, b: pg_dump lists the roles in the order it finds them in the catalog. The roles are sorted.
 *  - DATABASE PROPERTIES: the same for the ALTER ROLE ... IN DATABASE ... SET statements. They are sorted.
 *  - DEFAULT ACL: PostgreSQL keeps these sorted by the roles' OIDs, which the copy's roles have anew. The GRANTs are
 *    sorted; a REVOKE stays before them.
 *
 * What stands in quotes, parentheses or brackets is never taken apart.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_NORMALIZE_H
#define PGSEAL_COMMON_ARCHIVE_NORMALIZE_H

#include "common/archive/reader.h"

/* The definition to digest: a new string the caller frees. */
char *normalize_definition(const ArchiveEntry *entry);

#endif
