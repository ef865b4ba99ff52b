/*
 * The parts of the drill job (DESIGN 3-5), shared by drill*.c, and by rehearsals (agent/rehearsal), which are a drill
 * with something after it. The public entry is drill_job_run in job.h.
 *
 *   drill.c           the order of things, and how a drill ends
 *   drill_run.c       the job's shared state, from its opening to its release
 *   drill_stage.c     what a drill tells of itself: progress, stages, notes
 *   drill_follow.c    what is known of the checkpoint: from its manifest, or from the dump that still runs; cancel
 *   drill_source.c    the segments, read back from the repository in order, a few ahead; whom to blame for a key
 *   drill_manifest.c  reads the manifest back, and holds all that was read against it
 *   drill_cluster.c   the disposable cluster, sessions in it, its tools
 *   drill_prepare.c   makes room for the database: tablespaces, databases in the way
 *   drill_roles.c     restores the roles
 *   drill_stream.c    runs pre-data and data through pg_restore, and post-data from header and TOC
 *   drill_tool.c      runs a tool and talks to it without ever blocking for good
 *   drill_classify.c  puts what pg_restore complains about into words
 *   drill_assert.c    the owner's assertions
 *   drill_compare.c   dumps the copy and compares
 *   drill_proof.c     proof, verdict, result
 *
 * Trials (trial*.c) walk the same way, but prove nothing and store nothing.
 *
 * All of it belongs to the job's main thread. What it shares with restores is in stored.h.
 */
#ifndef PGSEAL_AGENT_JOBS_DRILL_H
#define PGSEAL_AGENT_JOBS_DRILL_H

#include "agent/engine/engine.h"
#include "agent/jobs/job.h"
#include "agent/jobs/stages.h"
#include "agent/jobs/stored.h"
#include "common/base/process.h"
#include "common/postgres/connection.h"

enum { DRILL_TICK_MS = 100, DRILL_DIFFERENCE_LIMIT = 100, DRILL_NOTE_LIMIT = 50, DRILL_TABLE_TEXT_SIZE = 256 };
static const size_t DRILL_ROLES = SIZE_MAX;

typedef enum DrillStage {
  DRILL_STAGE_PREPARE,
  DRILL_STAGE_ROLES,
  DRILL_STAGE_RESTORE,
  DRILL_STAGE_INDEX,
  DRILL_STAGE_ASSERT,
  DRILL_STAGE_REDUMP,
  DRILL_STAGE_COMPARE,
  DRILL_STAGE_COUNT
} DrillStage;

/* One thing that did not restore. */
typedef struct DrillIssue {
  Status status;
  char *object, *message, *remedy;
} DrillIssue;

typedef struct DrillIssues {
  DrillIssue *items;
  size_t count;
} DrillIssues;

typedef struct DrillSource DrillSource;

typedef struct DrillRun {
  const JobContext *context;
  const Pgseal__DrillSpec *spec; /* borrowed */
  Repository *repository;
  DecryptionKey *key;
  Recipients *recipients; /* with the next: for proofs */
  SigningKey *signer;
  int64_t started_us; /* wall clock */

  /* trials */
  int forward_major;                                  /* of the cluster; 0: the source's */
  Status (*tamper)(struct DrillRun *run, Error *err); /* before the copy is dumped; or NULL */
  void *trial;                                        /* its own */

  /* the checkpoint, as far as known */
  char *prefix, *bootstrap_role, *database_name, *manifest_sha256;
  int major;
  bool stored;      /* the dump is done: manifest_sha256 is known */
  bool roles_known; /* has_roles is settled */
  bool has_roles;
  bool moved;         /* the dump is tried again elsewhere: start over */
  uint64_t available; /* segments that may be read; all of them once `stored` and the manifest is read */
  uint64_t follow_serial;
  int64_t checked_us; /* when the follow state was last looked at */
  bool manifest_read;
  Manifest manifest;

  /* the cluster */
  Engine *engine;
  Cluster *cluster;
  char *tools_dir, *tools_version, *server_version, *engine_name, *image;
  PGconn *admin;           /* in a maintenance database */
  const char *maintenance; /* that one's name */

  /* what was read and what came of it */
  StoredRead roles_read;
  StoredRead *segments_read;
  size_t segment_count;
  FingerprintBuilder *builder;   /* its TOC tells what pg_restore speaks of */
  FingerprintBuilder *rebuilder; /* of the copy; its TOC has the copy's OIDs */
  Fingerprint source, copy;
  bool source_whole, copy_whole;
  char *toc_path;
  DrillIssues issues;
  DifferenceList differences;
  json_t *assertions;
  char **notes;
  size_t note_count;

  Stages stages; /* by DrillStage */
  DrillStage stage;
  Pgseal__JobProgress progress;
  char progress_table[DRILL_TABLE_TEXT_SIZE];
} DrillRun;

/* drill.c */
/* From the checkpoint to a copy that is equal to it, in run->cluster, or to why there is none. */
Status drill_walk(DrillRun *run, Error *err) MUST_CHECK;

/* drill_run.c */
Status drill_run_open(DrillRun *run, const JobContext *context, const Pgseal__DrillSpec *spec, Error *err) MUST_CHECK;
Status drill_run_load_proof_keys(DrillRun *run, Error *err) MUST_CHECK;
void drill_run_release(DrillRun *run);
/* Drops the cluster and all that was read, so that the drill can start over under another prefix. */
void drill_run_reset(DrillRun *run);

/* drill_stage.c: what a drill tells of itself while it runs, and keeps for the proof */
void drill_stage(DrillRun *run, DrillStage stage, const char *phase); /* ends the one before; literal */
void drill_stage_end(DrillRun *run);
json_t *drill_stages_json(const DrillRun *run); /* seconds; new reference */
void drill_stages_tell(const DrillRun *run, Pgseal__JobResult *result);
void drill_report(DrillRun *run, bool force);
void drill_note(DrillRun *run, const char *format, ...) PRINTF_LIKE(2, 3);

/* drill_follow.c */
/* Cancel, budget, the dump given up (ERR_CANCELED) or moved (ERR_CONFLICT, run->moved). Call in every loop. */
Status drill_check(DrillRun *run, Error *err) MUST_CHECK;
Status drill_check_hook(void *run, Error *err) MUST_CHECK;
/* Waits up to timeout_ms for news of the dump; nothing to wait for once it is stored. */
Status drill_follow(DrillRun *run, int timeout_ms, Error *err) MUST_CHECK;
Status drill_await_start(DrillRun *run, Error *err) MUST_CHECK;    /* until major and bootstrap role are known */
Status drill_await_roles(DrillRun *run, Error *err) MUST_CHECK;    /* until roles_known */
Status drill_await_manifest(DrillRun *run, Error *err) MUST_CHECK; /* until stored and manifest_read */

/* drill_manifest.c */
StoredPlace drill_place(const DrillRun *run);
/* Reads it; signed, of this checkpoint, and the one that was announced. Else ERR_MANIFEST_INVALID, ... */
Status drill_manifest_read(DrillRun *run, Error *err) MUST_CHECK;
/* What was read of segment `index` is what the manifest says. ERR_SEGMENT_CORRUPT. */
Status drill_manifest_check_segment(const DrillRun *run, size_t index, Error *err) MUST_CHECK;
Status drill_manifest_check_roles(const DrillRun *run, Error *err) MUST_CHECK;
/* All segments, roles, and the fingerprint of what was read. */
Status drill_manifest_check_all(DrillRun *run, Error *err) MUST_CHECK;

/* drill_source.c */
Status drill_source_open(DrillRun *run, DrillSource **out, Error *err) MUST_CHECK;
/* The next segment's plaintext, valid until the next call; NULL at the end. Notes what was read in *run. */
Status drill_source_next(DrillSource *source, const Buffer **plain, Error *err) MUST_CHECK;
void drill_source_close(DrillSource **source); /* for CLEANUP() */
/* An object that the key does not open (err is ERR_KEY_MISMATCH; others stay as they are): the wrong key, or was the
 * list of its recipients altered? The manifest knows, and is waited for. index: of the segment, or DRILL_ROLES. */
Status drill_manifest_blame(DrillRun *run, size_t index, const StoredRead *read, Error *err) MUST_CHECK;

/* drill_cluster.c */
int drill_cluster_major(const DrillRun *run);
/* Of a checkpoint that is stored: ERR_DISK_FULL (ERR_BUDGET_EXCEEDED where the cluster is to live in memory) if there
 * is less room than the checkpoint takes in the repository. It is compressed better there than any server has it: such
 * a copy cannot fit. That there is more says nothing. */
Status drill_check_room(DrillRun *run, Error *err) MUST_CHECK;
Status drill_cluster_start(DrillRun *run, Error *err) MUST_CHECK;
/* Where a session of the bootstrap role connects to, whatever its or the database's own settings are; conninfo_free.
 * database NULL: not said. */
Status drill_conninfo(DrillRun *run, const char *database, Conninfo **out, Error *err) MUST_CHECK;
/* A session of the bootstrap role, whatever its or the database's own settings are. */
Status drill_connect(DrillRun *run, const char *database, PGconn **out, Error *err) MUST_CHECK;
/* Environment of a tool; environment_free. */
Status drill_environment(DrillRun *run, char ***env, Error *err) MUST_CHECK;
/* "dbname='...'" for a tool's --dbname, where a bare name that looks like a connection string would be taken for one.
 * Freed by the caller. */
char *drill_dbname(const char *database);
/* If the cluster is gone, *err becomes ERR_CLUSTER_LOST with the reason; else it stays. Returns err->status. */
Status drill_blame_cluster(DrillRun *run, Error *err);

/* drill_prepare.c: tablespaces that the TOC names, and no database of that name. */
Status drill_prepare(DrillRun *run, const ArchiveToc *toc, Error *err) MUST_CHECK;
/* The tablespace that the DATABASE entry's statement names; NULL if none. Freed by the caller. Pure. */
char *drill_database_tablespace(const char *defn);

/* drill_roles.c */
Status drill_roles(DrillRun *run, Error *err) MUST_CHECK;
bool drill_roles_creates(const char *statement, const char *role); /* is it `CREATE ROLE role`? Pure. */

/* drill_tool.c */
typedef struct DrillTool {
  Process process;
  char **environment;
  char *path;
  char *log; /* of what it writes to stderr */
} DrillTool;
Status drill_tool_start(DrillRun *run, DrillTool *tool, const char *const *arguments, bool pipe_stdin, bool pipe_stdout,
                        Error *err) MUST_CHECK;
/* *open becomes false when the tool reads no more; that is no error. */
Status drill_tool_write(DrillRun *run, DrillTool *tool, const void *data, size_t size, bool *open,
                        Error *err) MUST_CHECK;
Status drill_tool_read(DrillRun *run, DrillTool *tool, void *data, size_t size, size_t *got, Error *err) MUST_CHECK;
Status drill_tool_wait(DrillRun *run, DrillTool *tool, int *exit_code, Error *err) MUST_CHECK;
/* What it wrote to stderr. After drill_tool_wait. */
Status drill_tool_errors(const DrillTool *tool, Buffer *out, Error *err) MUST_CHECK;
void drill_tool_release(DrillTool *tool); /* for CLEANUP() */

/* drill_stream.c */
Status drill_restore_data(DrillRun *run, Error *err) MUST_CHECK;
Status drill_restore_indexes(DrillRun *run, Error *err) MUST_CHECK;

/* drill_classify.c. Appends one issue for each error in what pg_restore wrote to stderr. Pure. */
void drill_classify(const char *errors, const ArchiveToc *toc, DrillIssues *out);
/* The worst of them; NULL if there is none. Pure. */
const DrillIssue *drill_issues_worst(const DrillIssues *issues);
void drill_issues_release(DrillIssues *issues);
/* Status of a server's message, with its remedy (NULL: the code's own); fallback if it says nothing special. Pure. */
Status drill_classify_message(const char *message, Status fallback, const char **remedy);
/* Takes in a finished pg_restore: STATUS_OK only if nothing at all went wrong. */
Status drill_restore_verdict(DrillRun *run, const DrillTool *tool, int exit_code, Error *err) MUST_CHECK;

/* drill_assert.c */
Status drill_assert(DrillRun *run, Error *err) MUST_CHECK;

/* drill_compare.c */
Status drill_redump(DrillRun *run, Error *err) MUST_CHECK;
Status drill_differences(DrillRun *run, Error *err) MUST_CHECK; /* fills run->differences; they are no error */
Status drill_compare(DrillRun *run, Error *err) MUST_CHECK;

/* drill_proof.c. outcome proven or failed (then *failure says why): stores the proof, reads it back, and fills the
 * result with the signed verdict. */
Status drill_proof(DrillRun *run, const Error *failure, Pgseal__DrillResult **result, Error *err) MUST_CHECK;

#endif
