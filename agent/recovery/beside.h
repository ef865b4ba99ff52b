/*
 * The parts of a restore beside live tables, shared by beside.c, difference.c, script.c only: the checkpoint's rows in
 * a rescue schema, what differs from the live ones, and the statements that would put it right.
 */
#ifndef PGSEAL_AGENT_RECOVERY_BESIDE_H
#define PGSEAL_AGENT_RECOVERY_BESIDE_H

#include "agent/recovery/restore.h"

typedef struct BesideColumn {
  char *name, *type; /* as in the checkpoint */
  char *live_type;   /* NULL: the live table has it not, or computes it */
  bool key, chosen;  /* chosen: the script puts its values back */
  bool compared;     /* both have it, of one type */
  int64_t changed;   /* rows in which it differs */
} BesideColumn;

typedef struct BesideTable {
  const FingerprintTable *then;
  long data, relation, now;      /* entries; now: of the live schema, or ARCHIVE_NO_ENTRY */
  char *rescue;                  /* its name in the rescue schema */
  char *rescue_name, *live_name; /* qualified, quoted; live_name NULL: it is gone */
  BesideColumn *columns;
  size_t column_count, key_count;
  char *match;   /* "r.id = l.id"; NULL: rows cannot be told apart by a key */
  bool multiset; /* so they were compared whole */
  int64_t missing, changed, fresh;
  bool visited, done; /* while they are put in order */
} BesideTable;

typedef struct Beside {
  Restore *restore;
  BesideTable *tables;
  size_t count;
  ChangeList changes; /* for what leads back to the checkpoint's columns */
  char *schema;       /* quoted */
} Beside;

/* difference.c */
/* Which columns both have, and by which rows are matched. Before the rows are compared. */
Status difference_prepare(Beside *beside, BesideTable *table, Error *err) MUST_CHECK;
/* Counts; and tells them in the report. */
Status difference_find(Beside *beside, BesideTable *table, Error *err) MUST_CHECK;
/* Without a key, but every row that is there was there: what is missing was deleted, and can be inserted. With other
 * rows there, they may be the missing ones, changed. Pure. */
bool difference_only_deleted(const BesideTable *table);
/* An expression that is true where the column differs, as text, byte for byte. */
void difference_append_column(Buffer *sql, const char *column);
/* SELECT of one row of numbers; result is cleared by the caller. */
Status difference_count(Beside *beside, int64_t *number, const char *sql, Error *err) MUST_CHECK;

/* script.c: writes it, keeps it in the rescue schema, and fills the report's script. */
Status script_write(Beside *beside, Error *err) MUST_CHECK;

#endif
