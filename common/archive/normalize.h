/*
 * What a restore legitimately changes in a definition, put into one order before it is digested. Each is by name, with
 * a test; nothing else is forgiven. Internal to common/archive.
 *
 *  - TABLE ... INHERITS: a restored child takes its parents' columns first, so the order of the lines of its column
 *    list (columns and constraints) differs. The lines are sorted.
 *  - POLICY ... TO a, b: pg_dump lists the roles in the order it finds them in the catalog. The roles are sorted.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_NORMALIZE_H
#define PGSEAL_COMMON_ARCHIVE_NORMALIZE_H

#include "common/archive/reader.h"

/* The definition to digest: a new string the caller frees. */
char *normalize_definition(const ArchiveEntry *entry);

#endif
