/*
 * The parts of the dump job (DESIGN 3-5), shared by dump*.c. The public entry is dump_job_run in job.h.
 *
 *   dump.c            the order of things
 *   dump_run.c        the job's shared state: first failure, cancel, progress
 *   dump_preflight.c  connects, learns about the source, finds the tools
 *   dump_examine.c    all of that by itself, without a job (examine.h)
 *   dump_catalog.c    lists what pg_dump will read, and refuses early what this role cannot read
 *   dump_snapshot.c   locks, then exports the snapshot
 *   dump_omissions.c  what a restore will not bring back
 *   dump_tool.c       runs pg_dump and pg_dumpall, and puts their failures into words
 *   dump_stream.c     pg_dump's stream: fingerprint and segments
 *   dump_pipeline.c   segments: encode, hash, put, several at once, bounded
 *   dump_store.c      one object: encode, hash, put with retries
 *   dump_counts.c     counts every table in the snapshot
 *   dump_compare.c    counts against fingerprint
 *   dump_manifest.c   manifest and result
 *   dump_tables.c     the tables as the coordinator is told of them
 *
 * A DumpRun belongs to the job's main thread; what other threads may use says so. A plan or restore (agent/recovery)
 * looks at the live database with one, as a dump would: preflight, catalog, snapshot, tool, counts.
 */
#ifndef PGSEAL_AGENT_JOBS_DUMP_H
#define PGSEAL_AGENT_JOBS_DUMP_H

#include "agent/jobs/job.h"
#include "agent/jobs/stages.h"
#include "common/base/process.h"
#include "common/manifest/manifest.h"
#include "common/postgres/connection.h"

enum { DUMP_TICK_MS = 200, DUMP_NAMED_LIMIT = 10, DUMP_TABLE_TEXT_SIZE = 256, DUMP_SESSIONS_MAX = 8 };

/* A relation pg_dump locks or reads. Names are in the database's own encoding, as in the archive. */
typedef struct DumpTable {
  char *oid;
  char *schema, *name; /* as they are */
  char *quoted;        /* "schema"."name" as SQL wants it, only quoted where needed */
  char *condition;     /* an extension's WHERE for its configuration table, or "" */
  char relkind;        /* r, p, S */
  bool data;           /* pg_dump must dump its rows */
  bool readable;       /* this role may SELECT, and has USAGE on the schema */
  bool row_security;   /* row security would filter what this role reads */
  int64_t pages;       /* as last estimated by the server, to share the counting out */
  size_t session;      /* which of run->sessions has it locked, and counts it */
  int64_t rows;        /* counted; -1 until then */
} DumpTable;

typedef struct DumpTables {
  DumpTable *items;
  size_t count;
} DumpTables;

/* What preflight learnt. */
typedef struct DumpSource {
  char *server_version, *database_name, *encoding, *role, *bootstrap_role, *collation_version;
  char *collation_provider, *collation, *collation_actual; /* as in the manifest */
  int major;
  bool in_recovery, superuser;
  char *tools_dir, *tools_version;
} DumpSource;

/* Roles are stored while pg_dump starts; counting is what counts took beyond the dump itself. */
typedef enum DumpStage {
  DUMP_STAGE_PREFLIGHT,
  DUMP_STAGE_SNAPSHOT,
  DUMP_STAGE_ROLES,
  DUMP_STAGE_DUMPING,
  DUMP_STAGE_STORING,
  DUMP_STAGE_COUNTING,
  DUMP_STAGE_COUNT
} DumpStage;

typedef struct DumpRun {
  const JobContext *context;
  const AgentDatabase *database;
  const char *application;  /* name of its sessions; literal */
  bool partial;             /* tables that may not be read are left out, where a dump refuses */
  int statement_timeout_ms; /* of every session; 0: none */
  Repository *repository;
  Recipients *recipients;
  SigningKey *signer;
  Conninfo *conninfo; /* of the database's file, unless it was set before */
  char **environment; /* of pg_dump and pg_dumpall */
  /* Each holds locks and, from dump_snapshot_take on, the same snapshot; lent to a counting thread while that runs.
   * sessions[0] is the main one. */
  PGconn *sessions[DUMP_SESSIONS_MAX];
  size_t session_count;
  int lock_timeout_ms;
  DumpSource source;
  char *snapshot, *lsn;
  DumpTables tables;
  int64_t large_objects; /* counted; -1 until then */
  ManifestOmission *omissions;
  size_t omission_count;
  Stages stages; /* by DumpStage */
  int64_t started_us;

  pthread_mutex_t lock; /* guards what follows */
  bool failed;
  Error failure; /* of whichever thread failed first */
  Pgseal__JobProgress progress;
  char progress_table[DUMP_TABLE_TEXT_SIZE];
  int64_t roles_bytes; /* stored */
} DumpRun;

/* dump_run.c */
/* Whatever comes of it, dump_run_release. `database` (borrowed) need not be the agent's, if conninfo is set then. */
void dump_run_prepare(DumpRun *run, const JobContext *context, const AgentDatabase *database);
/* Finds the database in the agent's configuration; whatever comes of it, dump_run_release. */
Status dump_run_init(DumpRun *run, const JobContext *context, Error *err) MUST_CHECK;
void dump_run_release(DumpRun *run);
/* Any thread: */
void dump_run_fail(DumpRun *run, const Error *err); /* the first one counts, and ends all others */
/* The first failure of any thread, or what job_check says. Call in every loop. */
Status dump_run_check(DumpRun *run, Error *err) MUST_CHECK;
Status dump_run_check_hook(void *run, Error *err) MUST_CHECK; /* the same, as a callback */
void dump_run_phase(DumpRun *run, const char *phase);         /* literal */
void dump_run_table(DumpRun *run, const char *table);
void dump_run_report(DumpRun *run, bool force);
/* Kinds are literals; object and detail are copied and made valid UTF-8. Main thread. */
void dump_run_omit(DumpRun *run, const char *kind, const char *object, const char *detail);

/* dump_preflight.c: fills conninfo, the main session, source. */
Status dump_source_learn(DumpRun *run, Error *err) MUST_CHECK;
/* That, the tools' environment, and tells the coordinator. */
Status dump_preflight(DumpRun *run, Error *err) MUST_CHECK;
/* One more session like the main one, with the same settings; closed by the caller. Any thread, after preflight. */
Status dump_session_open(DumpRun *run, PGconn **out, Error *err) MUST_CHECK;
void dump_source_release(DumpSource *source);

/* dump_catalog.c */
Status dump_catalog_list(PGconn *session, DumpTables *out, Error *err) MUST_CHECK;
/* ERR_TABLE_UNREADABLE, ERR_ROW_SECURITY: up to ten tables by name, with the GRANT that helps. */
Status dump_catalog_check(const DumpTables *tables, const DumpSource *source, Error *err) MUST_CHECK;
Status dump_catalog_check_large_objects(DumpRun *run, Error *err) MUST_CHECK;
/* The check; where run->partial, what may not be read gets data false instead. */
Status dump_catalog_admit(DumpRun *run, DumpTables *tables, Error *err) MUST_CHECK;
void dump_tables_release(DumpTables *tables);

/* dump_snapshot.c: opens the sessions that budgets.connections allow (1 to 8). After it all of them are in one
 * snapshot, and hold ACCESS SHARE on every table whose rows are dumped. */
Status dump_snapshot_take(DumpRun *run, Error *err) MUST_CHECK;

/* dump_omissions.c */
Status dump_omissions_find(DumpRun *run, Error *err) MUST_CHECK;

/* dump_roles.c: stores the roles object. */
Status dump_roles(DumpRun *run, ManifestSegment *out, Error *err) MUST_CHECK;

/* dump_tool.c. process_start of <tools_dir>/<arguments[0]>, stdout piped. */
Status dump_tool_start(DumpRun *run, const char *const *arguments, Process *process, Error *err) MUST_CHECK;
/* Reads what there is; *got 0 is the end. Waits in ticks of DUMP_TICK_MS with dump_run_check between them. */
Status dump_tool_read(DumpRun *run, Process *process, void *data, size_t size, size_t *got, Error *err) MUST_CHECK;
/* Reaps it. A failure of the tool becomes an error by dump_tool_classify. */
Status dump_tool_finish(Process *process, const char *tool, Error *err) MUST_CHECK;
/* Puts what the tool wrote to stderr (C locale) into an Error. Never STATUS_OK. */
Status dump_tool_classify(const char *tool, int exit_code, const char *errors, Error *err) MUST_CHECK;
/* Every warning in it becomes an omission of kind "warning". */
void dump_tool_warnings(DumpRun *run, const char *tool, const char *errors);

/* dump_stream.c: runs pg_dump to its end. */
typedef struct DumpStream {
  Fingerprint fingerprint;
  ManifestSegment *segments;
  size_t segment_count;
} DumpStream;
/* The process is released by the caller. pg_dump gets its locks while the roles are stored; nothing is read yet. */
Status dump_stream_start(DumpRun *run, Process *process, Error *err) MUST_CHECK;
Status dump_stream_run(DumpRun *run, Process *process, DumpStream *out, Error *err) MUST_CHECK;
void dump_stream_release(DumpStream *stream);

/* dump_counts.c. Threads that count what is not counted yet (rows and large_objects of -1) in run's snapshot; a
 * failure is dump_run_fail'ed. heap: by the tables themselves, never by an index. */
typedef struct DumpCounts DumpCounts;
Status dump_counts_start(DumpRun *run, bool heap, DumpCounts **out, Error *err) MUST_CHECK;
Status dump_counts_wait(DumpCounts *counts, Error *err) MUST_CHECK;
void dump_counts_stop(DumpCounts **counts); /* for CLEANUP(): cancels what still runs, ends the threads, frees */

/* Compares, and where a count and the dump differ asks the table itself: an index that lost rows is the source's
 * trouble and not the dump's, and becomes a warning. Blocks; after dump_counts_wait. */
Status dump_counts_check(DumpRun *run, const Fingerprint *fingerprint, Error *err) MUST_CHECK;

/* dump_compare.c. ERR_SOURCE_COUNT_MISMATCH, naming the first table that differs and both counts. Pure. */
Status dump_counts_compare(const DumpTables *tables, int64_t large_objects, const Fingerprint *fingerprint,
                           Error *err) MUST_CHECK;

/* dump_manifest.c: stores the manifest (the commit point) and fills *result (allocated, see job.h). */
Status dump_manifest_put(DumpRun *run, DumpStream *stream, const ManifestSegment *roles, Pgseal__DumpResult **result,
                         Error *err) MUST_CHECK;
/* What a manifest says, as the coordinator is told: of a dump, and of an inventory; all but its tables. Allocated, see
 * job.h. */
Pgseal__DumpResult *dump_result_of(const Manifest *manifest, const char *manifest_sha256);

/* dump_tables.c: as common/manifest/table_list.h has them, of no more than so many bytes. Allocated, see job.h. Names
 * that are not UTF-8 are converted by the run's main session, whose transaction that ends: after all else. run NULL: no
 * database is at hand. */
Pgseal__TableList *dump_table_list(DumpRun *run, const Fingerprint *fingerprint, size_t bytes);

#endif
