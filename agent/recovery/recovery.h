/*
 * The parts of plan and restore jobs that both share: the checkpoint, read where it is wanted, and the live database.
 * For agent/recovery/ only; the public entries are plan_job_run and restore_job_run in agent/jobs/job.h.
 *
 *   run.c      what the job was asked for, what it needs of the agent's own, progress
 *   texts.c    names, from the request's UTF-8 into the database's own encoding, and into reports' UTF-8
 *   source.c   the archive by position: only the segments that are wanted, a few ahead, each held against the manifest
 *   target.c   the database as it is: session, facts, a snapshot with every table locked against changes of its form
 *   live.c     its schema as pg_dump sees it, and its rows
 *   pace.c     how long this checkpoint's own drill took, for estimates
 *   plan.h     the plan job
 *
 * The live database is looked at as the dump job looks at it, with its sessions, settings and counts
 * (agent/jobs/dump.h). A RecoveryRun belongs to the job's main thread. No row's content is ever logged, reported, or
 * part of an error.
 */
#ifndef PGSEAL_AGENT_RECOVERY_RECOVERY_H
#define PGSEAL_AGENT_RECOVERY_RECOVERY_H

#include <jansson.h>

#include "agent/jobs/dump.h"
#include "agent/jobs/job.h"
#include "agent/jobs/stored.h"
#include "common/archive/changes.h"
#include "common/archive/cut.h"
#include "common/archive/index.h"
#include "common/archive/select.h"

enum { RECOVERY_TICK_MS = 200 };

typedef struct ArchiveRange {
  uint64_t offset, end; /* bytes of the archive */
} ArchiveRange;

typedef struct RecoverySource RecoverySource;

typedef struct RecoveryRead { /* of the repository: bytes as stored, without manifest and proofs */
  uint64_t bytes, of_bytes;
  size_t segments, of_segments;
} RecoveryRead;

typedef struct RecoveryTarget {
  char *address, *port, *user; /* address NULL: over a socket */
  char *last_write;            /* as precisely as the server knows it; NULL if it does not */
} RecoveryTarget;

typedef struct RecoveryName { /* of the request */
  const char *utf8;           /* the request's */
  char *own;                  /* in the archive's encoding */
} RecoveryName;

typedef struct RecoveryRun {
  const JobContext *context;
  const Pgseal__RecoverySpec *spec;
  json_t *request;     /* the members of docs/api.md, checked there; an object */
  int64_t started_us;  /* monotonic */
  RecoveryName *names; /* those that are other bytes in the archive's encoding */
  size_t name_count;

  StoredPlace place; /* its members are the next two */
  Repository *repository;
  DecryptionKey *key;
  Manifest manifest;
  RecoverySource *source;
  ArchiveCut *cut;          /* on `source`; its TOC is the checkpoint's */
  ArchiveIndex *stored;     /* of that TOC */
  const ArchiveIndex *then; /* what the database was: `stored`, or of a copy, before it was used */
  ArchiveIndex *before;     /* the latter; else NULL */

  AgentDatabase database; /* as the agent's, with the connection that restores use */
  DumpRun live;           /* sessions and facts of the target; sessions[0] is the main one */
  RecoveryTarget target;
  ArchiveReader *reader; /* of the live schema */
  ArchiveIndex *now;
} RecoveryRun;

/* run.c */
/* Keys, repository, manifest, the archive's TOC. The target is not touched. */
Status recovery_open(RecoveryRun *run, const JobContext *context, const char *application, Error *err) MUST_CHECK;
/* The same, but the live database is a copy of the checkpoint, which a rehearsal changed. `before`: the copy's TOC as
 * it was (it outlives the run); OIDs tell what was made anew in it. Takes conninfo; request (borrowed) is a plan's. */
Status recovery_open_copy(RecoveryRun *run, const JobContext *context, const char *application, Conninfo *conninfo,
                          const ArchiveToc *before, json_t *request, Error *err) MUST_CHECK;
void recovery_release(RecoveryRun *run);                        /* for CLEANUP() */
Status recovery_check(RecoveryRun *run, Error *err) MUST_CHECK; /* cancel, budget; call in every loop */
Status recovery_check_hook(void *run, Error *err) MUST_CHECK;
void recovery_phase(RecoveryRun *run, const char *phase); /* literal */
/* A progress report: what is done of how many tables, and which one is at hand. */
void recovery_progress(RecoveryRun *run, size_t done, size_t total, const char *schema, const char *table);
/* recovery_target_open does it: how the request's patterns are written in the archive's encoding. */
void recovery_patterns_learn(RecoveryRun *run);
void recovery_names_release(RecoveryRun *run);
/* Patterns of the request's member, an array of strings in the archive's encoding; NULL and 0 if it has none. The array
 * is freed by the caller, its strings are the run's. After recovery_target_open. */
const char **recovery_patterns(const RecoveryRun *run, const char *member, size_t *count);
/* A new string: text of the database (its names, definitions) as UTF-8. What cannot be converted is shown with '?'. */
json_t *recovery_text(RecoveryRun *run, const char *text);
json_t *recovery_texts(RecoveryRun *run, const StatementList *list); /* a new array */
/* "target", "checkpoint", "read", "seconds": the members that every report has. A new object. */
json_t *recovery_report_head(RecoveryRun *run, const char *kind);
/* The table's rows in the fingerprint; NULL if it has none of that name. */
const FingerprintTable *recovery_table(const RecoveryRun *run, const char *schema, const char *name);
double recovery_seconds(const RecoveryRun *run); /* since the job began */

/* source.c */
Status recovery_source_open(const StoredPlace *place, const Manifest *manifest, const char *prefix,
                            const PostgresWatch *check, RecoverySource **out, Error *err) MUST_CHECK;
void recovery_source_close(RecoverySource **source);
/* What will be asked for next, in ascending order, is fetched ahead; replaces what was announced before. Nothing has to
 * be announced: a read fetches what it needs. */
void recovery_source_announce(RecoverySource *source, const ArchiveRange *ranges, size_t count);
/* A piece of the archive from `offset` on: at least one byte, at most to the end of its segment, valid until the next
 * call. ERR_INVALID_ARGUMENT beyond the archive's end; ERR_SEGMENT_CORRUPT, ... */
Status recovery_source_piece(RecoverySource *source, uint64_t offset, const uint8_t **data, size_t *size,
                             Error *err) MUST_CHECK;
/* An ArchiveSource of it. */
ArchiveSource recovery_source_archive(RecoverySource *source);
RecoveryRead recovery_source_read(const RecoverySource *source);
/* What reading these ranges (in any order) takes, with the TOC's segments. Pure. */
RecoveryRead recovery_cost(const Manifest *manifest, const ArchiveRange *ranges, size_t count);

/* target.c */
/* Connects, learns facts, finds the tools. `reads`: nothing but reading is going to happen; statements end with the
 * job's time budget by themselves. */
Status recovery_target_open(RecoveryRun *run, bool reads, Error *err) MUST_CHECK;
void recovery_target_release(RecoveryTarget *target);
/* For reading jobs: one snapshot in all sessions, every readable table locked in ACCESS SHARE and listed in
 * run->live.tables. What may not be read is listed with data false. */
Status recovery_target_snapshot(RecoveryRun *run, Error *err) MUST_CHECK;

/* live.c */
/* pg_dump of the live schema, in the snapshot if one was taken: start it, do something else, then read it into
 * run->now. Tables that may not be read are not in it. The process is released by the caller. */
Status recovery_schema_start(RecoveryRun *run, Process *process, Error *err) MUST_CHECK;
Status recovery_schema_finish(RecoveryRun *run, Process *process, Error *err) MUST_CHECK;
/* Rows of a table as pg_dump would write them: COPY of these columns (a list with parentheses as in the archive, or
 * ""), to `sink`, lines with their newlines. In the main session. */
Status recovery_copy_out(RecoveryRun *run, const char *schema, const char *table, const char *columns,
                         const ArchiveSink *sink, Error *err) MUST_CHECK;
const DumpTable *recovery_live_table(const RecoveryRun *run, const char *schema, const char *name); /* or NULL */

/* pace.c */
typedef struct RecoveryPace { /* of one whole drill of this checkpoint; all 0: unknown */
  double data_seconds, index_seconds;
  int64_t bytes; /* of rows */
} RecoveryPace;
/* Best effort: a proof that this agent or the dumping one signed. */
void recovery_pace(RecoveryRun *run, RecoveryPace *out);

#endif
