/*
 * Compares two fingerprints: what was dumped, and what the restored copy dumps to.
 * Known benign differences are handled by name (see compare.c), each with a test. Nothing else is forgiven.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_COMPARE_H
#define PGSEAL_COMMON_ARCHIVE_COMPARE_H

#include "common/archive/fingerprint.h"

typedef enum DifferenceKind {
  DIFFERENCE_ENTRY_MISSING, /* a TOC entry of the source is not in the restored copy */
  DIFFERENCE_ENTRY_ADDED,
  DIFFERENCE_ENTRY_CHANGED,
  DIFFERENCE_TABLE_MISSING,
  DIFFERENCE_TABLE_ADDED,
  DIFFERENCE_ROWS,    /* other number of rows */
  DIFFERENCE_CONTENT, /* same number, other content */
  DIFFERENCE_COLUMNS, /* same table, other column order: to be read again with the original list */
  DIFFERENCE_BLOB_MISSING,
  DIFFERENCE_BLOB_ADDED,
  DIFFERENCE_BLOB_CHANGED
} DifferenceKind;

typedef struct Difference {
  DifferenceKind kind;
  char *object; /* e.g. TABLE DATA public."odd name"; owned by the list */
  char *detail; /* e.g. "1000 rows dumped, 999 restored" */
  size_t table; /* index into expected->tables where kind is ROWS, CONTENT or COLUMNS; else SIZE_MAX */
} Difference;

typedef struct DifferenceList {
  Difference *items;
  size_t count;
} DifferenceList;

/* Appends every difference to *out (zero-initialised by the caller). Never fails: no difference, equal.
 * A TABLE DATA entry whose column list differs only in order yields DIFFERENCE_COLUMNS alone, which the
 * caller must resolve by re-reading; unresolved, it is a difference like any other. */
void fingerprint_compare(const Fingerprint *expected, const Fingerprint *actual, DifferenceList *out);
void difference_list_release(DifferenceList *list);
void difference_list_remove(DifferenceList *list, size_t index);
const char *difference_kind_name(DifferenceKind kind); /* "entry_missing", ... */

#endif
