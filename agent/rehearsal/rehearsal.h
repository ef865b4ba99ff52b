/*
 * The parts of the rehearse job, shared by agent/rehearsal/ only: a drill, whose copy is kept, a migration run on it,
 * and what came of that: locks, rewrites, statements, and the plan's comparison with the copy as the live database. The
 * public entry is rehearse_job_run in agent/jobs/job.h.
 *
 *   rehearsal.c   the order of things
 *   request.c     what was asked for, and whether by someone who holds the secret
 *   copy.c        the copy made ready, and sessions in it as a migration's would be
 *   script.c      files of SQL, run statement by statement
 *   bridge.h      or a tunnel, through which its client's command runs it
 *   statements.c  what was run, how long it took, what failed
 *   relations.c   tables as they were before: which were rewritten
 *   watch.c       the locks that are held on them meanwhile
 *   findings.c    what of all that somebody should know, and what is dangerous
 *   report.c      all of it as JSON
 *
 * A Rehearsal belongs to the job's main thread; what other threads may use says so. No row's content and no literal of
 * a statement is ever logged, reported, or part of an error.
 */
#ifndef PGSEAL_AGENT_REHEARSAL_REHEARSAL_H
#define PGSEAL_AGENT_REHEARSAL_REHEARSAL_H

#include "agent/jobs/drill.h"
#include "agent/recovery/plan.h"
#include "common/rehearsal/secret.h"

enum {
  REHEARSAL_OUTLINE_LIMIT = 200, /* bytes of a statement that are told */
  REHEARSAL_FAILURES = 100,      /* statements that are told of */
  REHEARSAL_LONGEST = 10
};

typedef struct RehearsalFile { /* of the request */
  const char *name, *text;
  size_t size;
} RehearsalFile;

typedef struct RehearsalRequest {
  json_t *json;
  RehearsalSecret *secret;
  RehearsalFile *files;
  size_t file_count;
  bool tunnel; /* instead of files */
  int keep_seconds;
  const char *role; /* NULL: a superuser */
  double lock_seconds, slow_seconds;
  int64_t rewrite_bytes;
} RehearsalRequest;

typedef struct RehearsalStatement {
  const char *file; /* borrowed; NULL: of a connection */
  int line;
  char *outline;
  double seconds;
  char sqlstate[6]; /* "": it did not fail, or that is not known */
  char *message;    /* of the failure, or NULL */
} RehearsalStatement;

typedef struct RehearsalStatements {
  pthread_mutex_t lock;
  size_t count, failed;
  double seconds;
  RehearsalStatement failures[REHEARSAL_FAILURES], longest[REHEARSAL_LONGEST];
  size_t failure_count, longest_count; /* longest: in descending order */
} RehearsalStatements;

/* Those that keep others from writing; weaker ones are nobody's trouble. */
typedef enum RehearsalMode {
  REHEARSAL_SHARE,
  REHEARSAL_SHARE_ROW_EXCLUSIVE,
  REHEARSAL_EXCLUSIVE,
  REHEARSAL_ACCESS_EXCLUSIVE,
  REHEARSAL_MODES
} RehearsalMode;

typedef struct RehearsalRelation {  /* a table, partitioned table or materialized view, as it was before */
  uint32_t oid, file;               /* file: 0 if it has none */
  char *schema, *name;              /* in the database's encoding */
  int64_t bytes;                    /* with what is TOASTed, without indexes */
  int64_t rows;                     /* 0 for a partitioned table; -1: not known */
  bool rewritten, emptied;          /* it has another file now; and no rows */
  int64_t held_us[REHEARSAL_MODES]; /* the longest that one session held it; 0: never */
} RehearsalRelation;

typedef struct RehearsalRelations {
  RehearsalRelation *items; /* by OID */
  size_t count;
} RehearsalRelations;

typedef struct RehearsalWatch RehearsalWatch;

typedef struct Rehearsal {
  const JobContext *context;
  RehearsalRequest request;
  Pgseal__DrillSpec spec;
  DrillRun drill;
  RehearsalRelations relations;
  RehearsalStatements statements;
  int64_t deadline_us; /* monotonic: the copy is kept until then */
  bool over;           /* it was reached */
  bool unfinished;     /* the last transaction was not committed */
  bool failed;         /* the migration was */
  int exit_status;     /* of the client's command */
  double seconds;      /* that it took */
  Plan plan;
  json_t *findings; /* an array */
  size_t dangers;
} Rehearsal;

/* request.c. ERR_FORBIDDEN: not signed with the secret; ERR_INVALID_ARGUMENT: what cannot be run here, before anything
 * is made. */
Status rehearsal_request_take(Rehearsal *rehearsal, Error *err) MUST_CHECK;
void rehearsal_request_release(RehearsalRequest *request);

/* copy.c */
/* Statistics, which no dump carries. */
Status rehearsal_copy_prepare(Rehearsal *rehearsal, Error *err) MUST_CHECK;
/* A session with the settings that production's have of its databases and roles, as the role that was asked for. */
Status rehearsal_copy_connect(Rehearsal *rehearsal, PGconn **out, Error *err) MUST_CHECK;
/* Cancel, budget; and ERR_BUDGET_EXCEEDED with rehearsal->over when the copy's time is. Call in every loop. */
Status rehearsal_check(Rehearsal *rehearsal, Error *err) MUST_CHECK;
Status rehearsal_check_hook(void *rehearsal, Error *err) MUST_CHECK;

/* script.c. What the migration itself does wrong is in rehearsal->statements and is no error. */
Status rehearsal_script_run(Rehearsal *rehearsal, Error *err) MUST_CHECK;

/* bridge.c. Lets the client in until its command has ended. ERR_UNAVAILABLE: the tunnel broke. */
Status rehearsal_tunnel_run(Rehearsal *rehearsal, Error *err) MUST_CHECK;

/* statements.c */
void rehearsal_statements_init(RehearsalStatements *statements);
void rehearsal_statements_release(RehearsalStatements *statements);
/* Any thread. Takes outline and message. */
void rehearsal_statements_add(RehearsalStatements *statements, RehearsalStatement statement);
json_t *rehearsal_statements_json(const RehearsalStatements *statements); /* a new object */

/* relations.c */
Status rehearsal_relations_before(Rehearsal *rehearsal, Error *err) MUST_CHECK;
Status rehearsal_relations_after(Rehearsal *rehearsal, Error *err) MUST_CHECK; /* fills rewritten, emptied */
void rehearsal_relations_release(RehearsalRelations *relations);
RehearsalRelation *rehearsal_relations_find(const RehearsalRelations *relations, uint32_t oid); /* or NULL */

/* watch.c: a thread that looks every few milliseconds, and fills held_us until it is stopped. */
Status rehearsal_watch_start(Rehearsal *rehearsal, RehearsalWatch **out, Error *err) MUST_CHECK;
void rehearsal_watch_stop(RehearsalWatch **watch);   /* for CLEANUP() */
const char *rehearsal_mode_name(RehearsalMode mode); /* "ACCESS EXCLUSIVE" */

/* findings.c: fills findings and dangers; after the comparison. */
void rehearsal_findings_make(Rehearsal *rehearsal);

/* report.c: a new string. */
char *rehearsal_report(Rehearsal *rehearsal);
const char *rehearsal_verdict(const Rehearsal *rehearsal); /* "clean", "dangerous", "failed" */

#endif
