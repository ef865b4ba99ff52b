/*
 * What a report asks of the ledger. Rows are visited in the order they were asked for, a page at a time, so that a long
 * history is never in memory. All of it reads only. A Ledger belongs to one thread; a report has one of its own.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_REPORTING_H
#define PGSEAL_COORDINATOR_LEDGER_REPORTING_H

#include "coordinator/ledger/ledger.h"

typedef struct ReportFilter {
  int64_t from_us, to_us; /* asked for from, and before */
  const char *database;   /* NULL: all */
  const char *scope;      /* as in EventFilter */
} ReportFilter;

/* Rows' texts are borrowed until the visit returns; NULL where there is nothing. */
typedef struct ReportEvent { /* of the chain; sequence 0: there is none */
  int64_t sequence, time_us;
  const char *hash, *actor;
  const json_t *detail;
} ReportEvent;

typedef struct ReportJob { /* a drill, or a recovery job */
  int64_t number;
  const char *id, *checkpoint_id, *database, *tag;
  LedgerJobKind kind;
  JobState state;
  int attempt;
  const char *agent, *requested_by, *approved_by, *error_code, *error_message;
  int64_t created_us, started_us, finished_us;
  const char *manifest_sha256; /* its checkpoint's */
  const json_t *request;       /* or NULL */
  ReportEvent end, approval;
} ReportJob;

typedef struct ReportCheckpoint {
  int64_t number;
  const char *id, *database, *tag, *requested_by, *restore_drill, *error_code, *error_message;
  CheckpointState state;
  int64_t created_us, finished_us;
} ReportCheckpoint;

/* Other than STATUS_OK (err set) ends it. */
typedef Status ReportJobVisit(void *user, const ReportJob *job, Error *err);
typedef Status ReportCheckpointVisit(void *user, const ReportCheckpoint *checkpoint, Error *err);

Status ledger_report_count(Ledger *ledger, const ReportFilter *filter, bool drills /* else recovery jobs */,
                           int64_t *count, Error *err) MUST_CHECK;
Status ledger_report_drills(Ledger *ledger, const ReportFilter *filter, ReportJobVisit *visit, void *user,
                            Error *err) MUST_CHECK;
Status ledger_report_recoveries(Ledger *ledger, const ReportFilter *filter, ReportJobVisit *visit, void *user,
                                Error *err) MUST_CHECK;
Status ledger_report_checkpoints(Ledger *ledger, const ReportFilter *filter, ReportCheckpointVisit *visit, void *user,
                                 Error *err) MUST_CHECK;

/* What a database's standing at a time rests on: of its newest checkpoint that was proven by then, not condemned and
 * not pruned, the newest proof. */
typedef struct ReportProof {
  char *job_id, *checkpoint_id, *tag; /* owned */
  int attempt;
  int64_t finished_us;
  char *manifest_sha256, *proof_sha256; /* owned; or NULL */
  json_t *omissions;                    /* owned; an array, or NULL */
  int64_t sequence;                     /* of its event; 0: there is none */
  char hash[65];
} ReportProof;
/* *found false: there is none. */
Status ledger_report_proof(Ledger *ledger, const char *database, int64_t at_us, ReportProof *out, bool *found,
                           Error *err) MUST_CHECK;
void report_proof_release(ReportProof *proof);

/* The first drill of that database, asked for with or after that job or checkpoint, that was proven by then. */
typedef struct ReportNext {
  char job_id[32], checkpoint_id[32]; /* "": there is none */
  int attempt;
  int64_t finished_us;
} ReportNext;
Status ledger_report_next(Ledger *ledger, const char *database, int64_t after_us, int64_t until_us, ReportNext *out,
                          Error *err) MUST_CHECK;

/* Silences and acknowledgements that were in force at some time of the period, the oldest first; of a database: its own
 * and those that name none. event: of the chain, that it was said. */
typedef Status ReportSilenceVisit(void *user, const LedgerSilence *silence, const ReportEvent *event, Error *err);
Status ledger_report_silences(Ledger *ledger, const ReportFilter *filter, ReportSilenceVisit *visit, void *user,
                              Error *err) MUST_CHECK;

/* The last event written before that time; sequence 0: there is none. */
Status ledger_report_head(Ledger *ledger, int64_t before_us, int64_t *sequence, int64_t *time_us, char hash[65],
                          Error *err) MUST_CHECK;
/* Appends {"agent", "public_key", "revoked_us"} to the array: every key that agents were ever enrolled with. */
Status ledger_report_keys(Ledger *ledger, json_t *list, Error *err) MUST_CHECK;

#endif
