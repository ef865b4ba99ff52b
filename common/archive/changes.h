/*
 * What differs between a checkpoint's TOC and that of the database as it is now (a schema-only dump by the same major's
 * pg_dump), and the statements that lead back to the checkpoint. Rows are not looked at. What differs between any two
 * dumps (ids, dates, encodings, sequence values) is ignored; definitions are compared as fingerprints compare them.
 * Pure; any thread. The TOCs must outlive the list: it refers to their entries by index.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_CHANGES_H
#define PGSEAL_COMMON_ARCHIVE_CHANGES_H

#include "common/archive/ddl.h"

typedef enum ArchiveChangeKind { CHANGE_MISSING, CHANGE_ADDED, CHANGE_CHANGED } ArchiveChangeKind;
typedef enum ArchiveColumnChangeKind {
  COLUMN_MISSING,
  COLUMN_ADDED,
  COLUMN_RETYPED,
  COLUMN_ALTERED
} ArchiveColumnChangeKind;

const char *archive_change_name(ArchiveChangeKind kind);              /* "missing", "added", "changed" */
const char *archive_column_change_name(ArchiveColumnChangeKind kind); /* "missing", "added", "retyped", "altered" */

typedef struct ArchiveChange {
  ArchiveChangeKind kind;
  long then, now; /* entries of the two TOCs, or ARCHIVE_NO_ENTRY */
  const char *desc,
      *schema; /* of the entry, owned by its TOC; "CHECK CONSTRAINT" also for one in a table's definition */
  char *name;  /* of the object: "orders_pkey" where the tag is "orders orders_pkey" */
  char *table; /* name of the relation that it is part of, in the same schema; or "" */
  StatementList roll_forward; /* toward the checkpoint; empty: none is known, or the object was added */
  char *because_of;           /* what it went with, "public.orders" or "public.orders.note"; or NULL */
  bool recreated;             /* a relation that was dropped and made again (its OID is another): its rows are not those
                                 of then, whatever their number */
  char *note;                 /* or NULL */
} ArchiveChange;

typedef struct ArchiveColumnChange {
  ArchiveColumnChangeKind kind;
  long then, now;             /* the table's entries */
  const char *schema, *table; /* in the database as it is now; owned by its TOC */
  char *column;
  char *was, *is; /* "type rest"; or NULL */
  StatementList roll_forward;
  char *note; /* or NULL */
} ArchiveColumnChange;

typedef struct ArchiveRename { /* probable: gone under one name, there under another with the same columns */
  const char *desc;            /* "TABLE", ..., or "COLUMN" */
  const char *schema;
  const char *table; /* of a COLUMN; else "" */
  char *from, *to;   /* names; with the schema in `to` where that is another: "archive.orders" */
  long then, now;    /* the relations' entries */
  StatementList roll_forward;
} ArchiveRename;

typedef struct ChangeList {
  ArchiveChange *objects;
  size_t object_count;
  ArchiveColumnChange *columns;
  size_t column_count;
  ArchiveRename *renames;
  size_t rename_count;
} ChangeList;

/* Appends to *out, which the caller has zeroed. Objects come in the order of the TOCs: missing and changed ones as in
 * `then`, added ones after them. A renamed relation or column is a rename only, neither missing nor added; a table is
 * `changed` if more than its columns is. Never fails: what cannot be taken apart is `changed`, with a note. */
void archive_changes(const ArchiveIndex *then, const ArchiveIndex *now, ChangeList *out);
void change_list_release(ChangeList *list);

/* All roll_forward statements in an order in which they can be run: that of the checkpoint's TOC, with what concerns a
 * table's columns where the table stands. */
void archive_roll_forward(const ChangeList *list, StatementList *out);

#endif
