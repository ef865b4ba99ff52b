/*
 * The parts of the plan job, shared by plan*.c, and by rehearsals (agent/rehearsal), to which a copy that a migration
 * was run on is the live database: what of a checkpoint is missing or changed there, and which ways lead back. It only
 * reads: one READ ONLY snapshot, ACCESS SHARE locks, nothing made on the server.
 *
 *   plan.c          the order of things
 *   plan_tables.c   each table's rows then and now: counts, and content digests where asked for
 *   plan_rows.c     rows compared by primary key where asked for: the checkpoint's in memory as hashes, bounded
 *   plan_types.c    which changes of a column's type keep every value
 *   plan_damage.c   what counts as lost
 *   plan_forward.c  what a migration can put back
 *   plan_ways.c     the ways in their order: roll forward, compensate, restore tables, restore database
 *   plan_report.c   all of it as JSON, within the size a report may have
 */
#ifndef PGSEAL_AGENT_RECOVERY_PLAN_H
#define PGSEAL_AGENT_RECOVERY_PLAN_H

#include "agent/recovery/recovery.h"

enum {
  PLAN_ROWS_LIMIT = 4 << 20, /* rows of one table that are compared by key; 64 bytes of memory each at the peak */
  PLAN_REPORT_LIMIT = 2000000,
  PLAN_CHEAP_BYTES = 64 << 20, /* of a table's rows, that are compared by key where nobody asked for it */
  PLAN_THRESHOLD_PERCENT = 5
};

typedef enum PlanTableState {
  PLAN_SAME, /* as many rows as then; nobody looked at what is in them */
  PLAN_FEWER,
  PLAN_MORE,
  PLAN_MISSING,
  PLAN_CONTENT_SAME,
  PLAN_CONTENT_CHANGED,
  PLAN_UNREADABLE
} PlanTableState;

typedef struct PlanTable {
  const FingerprintTable *then;
  long then_entry;      /* of the relation, in the checkpoint's TOC; or ARCHIVE_NO_ENTRY */
  const DumpTable *now; /* NULL: missing */
  bool renamed, recreated;
  bool reshaped; /* columns went, or have other types: their values are in the checkpoint only */
  bool retyped;  /* they are all there, some with other types: what they read as can be compared */
  bool narrowed; /* a column has a type that need not hold every value of the one before */
  bool doubtful; /* replaced or converted, and nobody can tell that all that it held is there: counts as lost */
  PlanTableState state;
  int64_t rows_now; /* -1: not known */
  bool compared;    /* by rows: the next three are known */
  int64_t missing, changed, fresh;
  char **key; /* the primary key's columns, as the checkpoint has it */
  size_t key_count;
  char *note; /* or NULL */
} PlanTable;

typedef enum PlanDamage { PLAN_DAMAGE_NONE, PLAN_DAMAGE_CHANGED, PLAN_DAMAGE_LOST } PlanDamage;

typedef struct Plan {
  RecoveryRun run;
  ArchiveSelection selection; /* classes NULL: the whole database */
  ChangeList changes;
  PlanTable *tables;
  size_t table_count;
  double threshold_percent;
  bool all; /* every table's content is compared, and what differs by rows where that is cheap */
  PlanDamage damage;
  RecoveryPace pace;
  char **notes;
  size_t note_count;
} Plan;

/* plan.c */
/* Of a copy: opens, looks, and compares. plan_release, whatever comes of it. The rest as recovery_open_copy. */
Status plan_of_copy(Plan *plan, const JobContext *context, Conninfo *conninfo, const ArchiveToc *before,
                    json_t *request, Error *err) MUST_CHECK;
void plan_release(Plan *plan); /* for CLEANUP() */
void plan_note(Plan *plan, const char *format, ...) PRINTF_LIKE(2, 3);
/* Is it among what the plan is about, and was it seen? A table that may not be read is not missing. */
bool plan_covers_object(const Plan *plan, const ArchiveChange *change);
bool plan_covers_rename(const Plan *plan, const ArchiveRename *rename);
bool plan_covers_then(const Plan *plan, long entry); /* whether it was seen or not */
/* "schema.name" as patterns and SQL want it; freed by the caller. */
char *plan_table_name(const PlanTable *table);

/* plan_tables.c */
/* The tables that the plan is about, with their counts; after changes are known and the rows counted. */
void plan_tables_list(Plan *plan);
void plan_tables_release(Plan *plan);
/* Digests and row comparisons that were asked for. ERR_NOT_FOUND: a pattern that matches nothing. */
Status plan_tables_look(Plan *plan, Error *err) MUST_CHECK;
int64_t plan_table_lost(const PlanTable *table); /* rows, at least; 0: none */

/* plan_types.c: whether every value of the type `was` is the same value in `is`, both as pg_dump words a column's type
 * and what follows it. False where that is not known. Pure. */
bool plan_type_keeps(const char *was, const char *is);

/* plan_rows.c */
/* Can all the columns that the checkpoint has of it be read? Sets table->retyped. */
bool plan_columns_stand(Plan *plan, PlanTable *table);
/* Fills compared, missing, changed, fresh; or a note that says why not. */
Status plan_rows_compare(Plan *plan, PlanTable *table, Error *err) MUST_CHECK;

/* plan_damage.c */
void plan_damage_judge(Plan *plan);
/* What says something about an object, and is none itself: a comment, a grant. */
bool plan_is_remark(const char *desc);
bool plan_table_is_lost(const Plan *plan, const PlanTable *table); /* missing, beyond the threshold, or doubtful */
/* Tables that are there and may not be read: what became of them is not known. */
size_t plan_unread(const Plan *plan);
const char *plan_damage_name(PlanDamage damage);

/* plan_forward.c: a new object. `limit`: of what it lists. */
json_t *plan_roll_forward(Plan *plan, size_t limit);

/* plan_ways.c. A new array. */
json_t *plan_ways(Plan *plan, size_t limit); /* likewise */
char *plan_advice(Plan *plan);               /* freed by the caller */

/* plan_report.c */
/* What differs: "damage", "unread", "threshold_percent", "objects", "columns", "renames", "tables", "notes" and
 * "left_out". A new object; limit: of what each of its lists holds. */
json_t *plan_comparison(Plan *plan, size_t limit);
/* A new string of at most PLAN_REPORT_LIMIT bytes: what `build` makes, with a limit that is small enough for that. */
char *plan_report_fit(json_t *(*build)(void *user, size_t limit), void *user);
char *plan_report(Plan *plan); /* a new string */

#endif
