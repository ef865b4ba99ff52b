/*
 * Ledger: the durable, hash-chained record of everything that happened. Rows of checkpoints, jobs, agents, tokens; and
 * the append-only chain of events. How it is kept: db.h.
 *
 * Everything between ledger_begin and ledger_commit is one durable transaction (when commit returns, it is on
 * disk); notifications go out only after commit. For the coordinator's loop thread only. Records are plain
 * structs whose strings are owned by them (release functions); NULL strings mean absent.
 *
 * Event hash: SHA-256 (hex) over the previous event's hash (64 hex digits; 64 zeros before the first) followed by the
 * event's canonical JSON: sorted keys, compact, UTF-8, with members actor, agent, checkpoint, database, detail, job,
 * kind, sequence, time_us; those that are absent are left out. Sequences start at 1 and have no gaps. The tip
 * (sequence and hash of the last event) is kept apart, so that a chain cut short is noticed too.
 *
 * An SQLite file is one process's at a time: it is locked (<path>.lock) while it is open for writing. A ledger in
 * PostgreSQL may be open in any number: their transactions come one after the other.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_LEDGER_H
#define PGSEAL_COORDINATOR_LEDGER_LEDGER_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/state/state.h"

typedef struct Checkpoint {
  char *id, *database, *tag, *requested_by /* token name */, *idempotency_key;
  CheckpointState state;
  int64_t created_us, finished_us; /* wall clock; 0 if not yet */
  int dump_attempt;                /* attempt whose objects count; prefix is derived from it */
  char *dump_agent;                /* that dumped */
  char *manifest_sha256, *proof_sha256;
  char *restore_drill; /* outcome of the last drill: "proven", "failed", "errored", "canceled", or NULL */
  int64_t size_bytes, archive_bytes, tables, rows;
  int server_major;
  double seconds;                                                 /* request to end */
  char *error_code, *error_message, *error_remedy, *error_object; /* why it did not seal */
  json_t *detail; /* owned: omissions, differences, notes, stages, versions, assertions ... for the API */
  /* Retention. Marks, and no states: what was proven stays so, but what is marked is given to nobody any more. */
  int64_t pinned_us;       /* kept, whatever a policy says; 0: not pinned */
  int64_t pruning_us;      /* marked: it is taken out of the repository, or was; 0: it is kept */
  int64_t pruned_us;       /* when it was gone, but for what is locked; 0: not yet */
  int64_t locked_until_us; /* as a prune found it; 0: nothing is known to be locked */
} Checkpoint;

/* Plans, restores, rehearsals and trials are the recovery jobs: of a checkpoint whose life they do not change. */
typedef enum LedgerJobKind {
  LEDGER_JOB_DUMP = 1,
  LEDGER_JOB_DRILL = 2,
  LEDGER_JOB_PLAN = 3,
  LEDGER_JOB_RESTORE = 4,
  LEDGER_JOB_REHEARSE = 5,
  LEDGER_JOB_PRUNE = 6,
  LEDGER_JOB_INVENTORY = 7, /* of no checkpoint */
  LEDGER_JOB_TRIAL = 8
} LedgerJobKind;
const char *ledger_job_kind_name(LedgerJobKind kind); /* "dump", "drill", "plan", "restore", "rehearse", "prune", ... */
bool ledger_job_kind_from_name(const char *name, LedgerJobKind *kind);
bool ledger_job_recovers(LedgerJobKind kind); /* a plan, a restore, a rehearsal or a trial */

/* Who goes first: the lower one; of equals, the older. Never changed after the insert. */
typedef enum LedgerPriority {
  PRIORITY_ASKED = 0, /* somebody waits for it */
  PRIORITY_SCHEDULED = 10,
  PRIORITY_ROTATION = 20,
  PRIORITY_PRUNE = 30
} LedgerPriority;

typedef struct LedgerJob {
  char *id, *checkpoint_id /* NULL: of none; from kind 6 on */, *database;
  LedgerJobKind kind;
  JobState state;
  int priority;                                                               /* LedgerPriority */
  int attempt;                                                                /* 1 for the first */
  uint64_t fencing;                                                           /* raised at every lease */
  char *agent;                                                                /* that holds or held it */
  int64_t lease_until_us, not_before_us, created_us, started_us, finished_us; /* wall clock */
  bool cancel_requested;
  char *error_code, *error_message, *error_remedy, *error_object;
  json_t *progress; /* owned; last progress, also what Follow is made of */
  /* Of recovery jobs alone, never changed after the insert but for the last two (and see ledger_job_forget): */
  char *requested_by, *idempotency_key;
  json_t *request;              /* owned; as it was asked for */
  char *approval, *approved_by; /* "needed", "given", or NULL: needs none; the token's name */
} LedgerJob;

typedef struct LedgerEvent {
  int64_t sequence, time_us;
  char *kind; /* "checkpoint.requested", "job.leased", "checkpoint.sealed", "agent.joined", "token.created", ... */
  char *checkpoint_id, *job_id, *database, *agent, *actor;
  json_t *detail; /* owned */
  char hash[65];
} LedgerEvent;

typedef struct LedgerToken {
  char *id, *name, *role, *person; /* role: ci, viewer, operator, admin; person: sign_in.h; or NULL */
  char *databases;                 /* a scope; NULL: all */
  char hash[65];
  int64_t created_us, last_used_us, revoked_us;
  int64_t expires_us;  /* 0: never */
  int64_t replaced_us; /* when a newer one took over its name; it may still be valid until expires_us */
} LedgerToken;

/* Somebody signed in at the dashboard. With a token: what he may, and until when at most, is the token's. By OpenID
 * Connect: what he may is a grant's of the configuration (coordinator/oidc/settings.h). */
enum { LEDGER_NAME_SIZE = 128 };
typedef struct LedgerSession {
  char hash[65], token_hash[65];              /* of the cookie's text; of the token's, or of who he is to the issuer */
  char name[LEDGER_NAME_SIZE], grant_key[65]; /* "": with a token */
  int64_t created_us, seen_us, expires_us;
} LedgerSession;

typedef struct LedgerAgent {
  char *name, *version, *host;
  json_t *detail;
  int64_t first_seen_us, last_seen_us;
} LedgerAgent;

/* An agent that joins by invitation (coordinator/agents). Its row stays when it is revoked. */
typedef struct LedgerEnrollment {
  char *name;
  AgentState state;
  json_t *capabilities, *databases; /* owned: arrays of texts; what it may do, and the globs of what it may do it to */
  char *public_key;                 /* hex; NULL until it is enrolled */
  char *serial;                     /* of its newest certificate; NULL until then */
  char token_hash[65];              /* of the invitation; "" once it is used */
  int64_t invited_us, token_expires_us, enrolled_us, issued_us, expires_us,
      revoked_us; /* issued, expires: of the newest
                     certificate; 0: not yet */
  /* What the invitation was answered with, for who did not get the answer; until it is renewed, revoked or invited: */
  char spent_hash[65], request_sha256[65]; /* of the token, of the request for a certificate; "": none */
  char *certificate;                       /* PEM; or NULL */
} LedgerEnrollment;

/* A fleet.yaml that was applied. */
typedef struct LedgerFleet {
  int64_t version;   /* 1 for the first */
  char *name, *text; /* of the file; all of it */
  char *applied_by;  /* the token's name; NULL: the file that coordinator.yaml names was changed */
  int64_t applied_us;
} LedgerFleet;

/* Held back by somebody: an agent, a database, the fleet. */
typedef struct LedgerHold {
  char *what, *name; /* "agent", "database", "fleet" (whose name is "") */
  int64_t since_us;
  char *actor, *reason; /* the token's name; or NULL */
} LedgerHold;
/* How far a database's schedule has come: which of its runs was the last that was dealt with. */
typedef struct LedgerSchedule {
  char *database;
  char *spec;                        /* the cron and the time zone that slot_us is of */
  int64_t slot_us;                   /* the time of the run, without jitter; at first: when the schedule began */
  int64_t handled_us;                /* when it was dealt with; 0: never yet */
  char *outcome;                     /* "requested", "skipped", "missed"; NULL: never yet */
  char *checkpoint_id;               /* of the last that was requested; or NULL */
  int64_t missed_us, missed_count;   /* when runs were last found to be missed; how many ever */
  int64_t skipped_us, skipped_count; /* the same of those that were skipped since one was under way */
} LedgerSchedule;

/* What is newest of one database. */
typedef struct LedgerNewest {
  char *database;
  char *id, *tag; /* of its newest checkpoint */
  CheckpointState state;
  char *restore_drill, *error_code; /* or NULL */
  int64_t created_us, finished_us;
  int64_t failures;             /* that failed or errored since the newest sealed one */
  char *sealed_id, *sealed_tag; /* of the newest one that is sealed and kept; NULL: there is none, the rest is 0 */
  int64_t sealed_created_us, sealed_us, proven_us /* the newest proof */;
  int64_t size_bytes, archive_bytes, tables, rows, omissions;
  int server_major;
  double seconds, dump_seconds, drill_seconds; /* to its end; what its dump, and its newest proof's drill took */
} LedgerNewest;

/* Of which alerts nobody is told for a while, and why. All that is named has to fit. */
typedef struct LedgerSilence {
  char *id;
  char *key;                              /* of an alert: condition/subject; or NULL */
  char *alert_id;                         /* an acknowledgement: of that alert alone, until it is over; or NULL */
  char *database, *condition;             /* or NULL */
  char *actor, *reason, *ended_by;        /* actors: tokens' names; or NULL */
  int64_t created_us, until_us, ended_us; /* 0: not by itself; not ended */
} LedgerSilence;

/* One condition of one subject, since it began to hold (coordinator/alerts). */
typedef struct LedgerAlert {
  char *key; /* "<condition>/<subject>" */
  char *id;  /* of this time: another one when it begins to hold again */
  char *condition, *subject;
  char *database; /* NULL: of none, and for tokens of all databases only */
  char *severity; /* "critical", "warning" */
  AlertState state;
  int64_t since_us, fired_us, notified_us, resolved_us; /* 0: not (yet) */
  char *summary, *remedy;                               /* valid UTF-8 */
  json_t *routes;                                       /* owned; names of those that were told; NULL: none */
} LedgerAlert;

/* One message for one route, until it is there or given up. */
typedef struct LedgerNotification {
  char *id, *route;
  NotificationState state;
  bool test;
  int attempts;
  int64_t created_us, not_before_us, ended_us;
  json_t *alerts; /* owned; what it tells: an array */
  char *error;    /* of the last attempt; or NULL */
} LedgerNotification;

typedef struct CheckpointFilter {
  const char *database, *tag, *state;
  const char *before_id;
  const char *scope; /* see below; NULL: all */
  int limit;
  bool kept;        /* only those that are not marked to be pruned */
  bool there;       /* only those of which something may be in the repository */
} CheckpointFilter; /* newest first */

typedef struct JobFilter {
  const char *database; /* NULL: all */
  int kind;             /* 0: all */
  const char *scope;
  int limit;
} JobFilter; /* newest first */

/* A scope is a JSON array of globs of database names, as text, such as ["prod-*"]. The globs hold nothing but what
 * names may hold, '*' and '?', so that every backend can match them and agrees with text_glob. What has no database is
 * in no scope. */
typedef struct EventFilter {
  int64_t after;                     /* only those with a higher sequence */
  int limit;                         /* -1: no limit */
  bool newest;                       /* the last `limit` of them, not the first; in order all the same */
  const char *checkpoint_id, *scope; /* or NULL */
} EventFilter;

typedef struct Ledger Ledger;
/* Creates (mode 0600), migrates (numbered), verifies the chain: all of it, or of a long one its end. ERR_CONFLICT if
 * another process has it open, or the chain is broken; ERR_IO or ERR_DISK_FULL otherwise. */
Status ledger_open_sqlite(const char *path, Ledger **out, Error *err) MUST_CHECK;
/* For reading beside a coordinator that has it open; never migrates or verifies. ERR_NOT_FOUND if there is none. */
Status ledger_open_sqlite_readonly(const char *path, Ledger **out, Error *err) MUST_CHECK;
/* The same in PostgreSQL: `conninfo` as libpq reads it, with the PG* variables for what it leaves out. The schema is
 * the first one of its search_path. ERR_UNAVAILABLE if the server cannot be reached, then and later: nothing was
 * written, unless the message says that it is not known; it goes on by itself once the server is back. */
Status ledger_open_postgres(const char *conninfo, bool read_only, Ledger **out, Error *err) MUST_CHECK;
/* A path, or what ledger_is_postgres says is a connection string. */
Status ledger_open(const char *where, bool read_only, Ledger **out, Error *err) MUST_CHECK;
bool ledger_is_postgres(const char *where);
/* Can libpq read it? *password: there is one in it. ERR_INVALID_ARGUMENT, without an echo. */
Status ledger_conninfo_check(const char *conninfo, bool *password, Error *err) MUST_CHECK;
const char *ledger_name(const Ledger *ledger); /* where it is, without secrets; valid while it is open */
void ledger_close(Ledger *ledger);

/* Several coordinators on one ledger. Can there be others? */
bool ledger_shared(const Ledger *ledger);
/* Somebody else wrote since this was last asked, or may have; costs nothing. False if it is not shared. */
bool ledger_changed(Ledger *ledger);
/* One of them leads: at most one is told so at a time, until it closes the ledger or loses its connection; whoever asks
 * when nobody does is the next. What it writes is written on that very connection: once it has lost the lead, none of
 * it is. Not shared: always this one. */
Status ledger_lead(Ledger *ledger, bool *leads, Error *err) MUST_CHECK;
/* What a coordinator tells the others. */
typedef struct LedgerPresence {
  char *id;
  int64_t beat;    /* another one each time */
  json_t *agents;  /* owned; whom it hears of: {name: [microseconds since, offers,
                      majors]} */
  int64_t seen_us; /* wall clock */
} LedgerPresence;
Status ledger_presence_put(Ledger *ledger, const LedgerPresence *presence, Error *err) MUST_CHECK; /* or update */
Status ledger_presence_list(Ledger *ledger, LedgerPresence **items, size_t *count, Error *err) MUST_CHECK;
void ledger_presence_list_free(LedgerPresence *items, size_t count);

Status ledger_begin(Ledger *ledger, Error *err) MUST_CHECK;
Status ledger_commit(Ledger *ledger, Error *err) MUST_CHECK;
void ledger_rollback(Ledger *ledger); /* fine when nothing is open */

Status ledger_checkpoint_insert(Ledger *ledger, const Checkpoint *checkpoint, Error *err) MUST_CHECK;
Status ledger_checkpoint_update(Ledger *ledger, const Checkpoint *checkpoint,
                                Error *err) MUST_CHECK; /* all but id, created */
Status ledger_checkpoint_get(Ledger *ledger, const char *id, Checkpoint *out,
                             Error *err) MUST_CHECK; /* ERR_NOT_FOUND */
Status ledger_checkpoint_find(Ledger *ledger, const char *database, const char *id_or_tag, const char *scope,
                              Checkpoint *out, Error *err) MUST_CHECK; /* newest of the tag; NULL: any, all */
Status ledger_checkpoint_by_key(Ledger *ledger, const char *token_name, const char *idempotency_key, Checkpoint *out,
                                Error *err) MUST_CHECK; /* ERR_NOT_FOUND */
Status ledger_checkpoint_list(Ledger *ledger, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                              Error *err) MUST_CHECK;
void checkpoint_release(Checkpoint *checkpoint);
void checkpoint_list_free(Checkpoint *items, size_t count);
/* Of each database from `first` to `last` (names) in the scope the newest one, or the newest that is sealed and kept;
 * in the order of their names. One statement. */
Status ledger_checkpoint_page(Ledger *ledger, const char *first, const char *last, const char *scope /* or NULL */,
                              bool sealed, Checkpoint **items, size_t *count, Error *err) MUST_CHECK;
/* The newest of one database that ended, canceled ones apart; or that are sealed and kept. Newest first. Costs the same
 * however many there are of others. */
Status ledger_checkpoint_newest(Ledger *ledger, const char *database, bool sealed, int limit, Checkpoint **items,
                                size_t *count, Error *err) MUST_CHECK;
/* Of all databases that have checkpoints; or (after >= 0) of those that events with higher sequences name. Each
 * checkpoint's change of state comes with such an event. In no order. */
Status ledger_newest_list(Ledger *ledger, int64_t after, LedgerNewest **items, size_t *count, Error *err) MUST_CHECK;
/* What all stages of that job ("dump", "drill": of the newest proof) took, by a checkpoint's detail; 0: not known. */
double ledger_stage_seconds(const json_t *detail, const char *job);
void ledger_newest_release(LedgerNewest *row);
void ledger_newest_list_free(LedgerNewest *items, size_t count);
Status ledger_sequence(Ledger *ledger, int64_t *sequence, Error *err) MUST_CHECK; /* of the last event; 0: none yet */
/* Its tables, as coordinator/tables packs them: put (or replaced) by its dump, gone when it is pruned. *packed: a new
 * string, or NULL: there are none. */
Status ledger_tables_put(Ledger *ledger, const char *checkpoint_id, const char *packed, Error *err) MUST_CHECK;
Status ledger_tables_get(Ledger *ledger, const char *checkpoint_id, char **packed, Error *err) MUST_CHECK;
Status ledger_tables_remove(Ledger *ledger, const char *checkpoint_id, Error *err) MUST_CHECK; /* none: fine */
Status ledger_checkpoint_count(Ledger *ledger, const char *state, int64_t *count, Error *err) MUST_CHECK;

/* Told of every job that is written, as it is now. NULL: what was told of the transaction that was open is void. */
typedef void LedgerJobWatch(void *user, const LedgerJob *job);
void ledger_job_watch(Ledger *ledger, LedgerJobWatch *watch, void *user); /* one alone */
/* Has another process written to the ledger since this was last asked? (After a rollback it may look so.) */
Status ledger_moved(Ledger *ledger, bool *moved, Error *err) MUST_CHECK;

Status ledger_job_insert(Ledger *ledger, const LedgerJob *job, Error *err) MUST_CHECK;
Status ledger_job_update(Ledger *ledger, const LedgerJob *job, Error *err) MUST_CHECK;
/* state, progress and lease_until_us alone, of a job that is leased or running still, under this lease; else !*held. */
Status ledger_job_progress(Ledger *ledger, const LedgerJob *job, bool *held, Error *err) MUST_CHECK;
/* Of the jobs that are held. */
typedef struct LedgerLease {
  char *job_id;
  int64_t until_us;
} LedgerLease;
Status ledger_job_leases(Ledger *ledger, LedgerLease **items, size_t *count, Error *err) MUST_CHECK;
void ledger_lease_list_free(LedgerLease *items, size_t count);
Status ledger_job_get(Ledger *ledger, const char *id, LedgerJob *out, Error *err) MUST_CHECK;
/* Oldest first. Recovery jobs that are over are left out: there may be any number of them. */
Status ledger_job_list(Ledger *ledger, const char *checkpoint_id, LedgerJob **items, size_t *count,
                       Error *err) MUST_CHECK;
Status ledger_job_by_key(Ledger *ledger, const char *token_name, const char *idempotency_key, LedgerJob *out,
                         Error *err) MUST_CHECK; /* ERR_NOT_FOUND */
Status ledger_job_recent(Ledger *ledger, const JobFilter *filter, LedgerJob **items, size_t *count,
                         Error *err) MUST_CHECK;
/* The drills of the newest `limit` checkpoints, and no more of them than that: by checkpoint, then by drill, newest
 * first. The filter's kind does not count. */
Status ledger_job_drills(Ledger *ledger, const JobFilter *filter, LedgerJob **items, size_t *count,
                         Error *err) MUST_CHECK;
/* Those of one database and kind that ended, canceled ones apart; newest first. Costs the same however many there are
 * of others. */
Status ledger_job_newest(Ledger *ledger, const char *database, LedgerJobKind kind, int limit, LedgerJob **items,
                         size_t *count, Error *err) MUST_CHECK;
/* What was asked for is kept as `request` from now on: texts that the job needed, and nobody needs after it. */
Status ledger_job_forget(Ledger *ledger, const char *job_id, const json_t *request, Error *err) MUST_CHECK;
/* A recovery job's report, an object. Kept apart, since it may be large. Of one database's plans and rehearsals only
 * the newest LEDGER_REPORTS_KEPT are kept: whoever may ask for them must not be able to fill the disk. */
enum { LEDGER_REPORTS_KEPT = 100 };
Status ledger_job_report_put(Ledger *ledger, const LedgerJob *job, const json_t *report, Error *err) MUST_CHECK;
Status ledger_job_report_get(Ledger *ledger, const char *job_id, json_t **report /* new reference, or NULL */,
                             Error *err) MUST_CHECK;
/* A number greater than any before it, in *this* ledger's whole life: fencing numbers also tell which lease came first.
 */
Status ledger_fencing_next(Ledger *ledger, uint64_t *fencing, Error *err) MUST_CHECK;
Status ledger_job_open(Ledger *ledger, LedgerJob **items, size_t *count,
                       Error *err) MUST_CHECK; /* queued, leased, running; oldest first */
/* How many dump jobs of the database are open. Costs the same however many others are. */
Status ledger_job_open_dumps(Ledger *ledger, const char *database, int64_t *count, Error *err) MUST_CHECK;
void ledger_job_release(LedgerJob *job);
void ledger_job_list_free(LedgerJob *items, size_t count);

/* Fills sequence, time and hash of *event (the rest is the caller's) and appends it to the chain. */
Status ledger_event_append(Ledger *ledger, LedgerEvent *event, Error *err) MUST_CHECK;
Status ledger_event_list(Ledger *ledger, const EventFilter *filter, LedgerEvent **items, size_t *count,
                         Error *err) MUST_CHECK;
/* All of the ledger as it is at one moment, as lines of JSON (docs/ledger.md), such as {"table": "event", "row":
 * {...}}; *rows counts them. Tokens' hashes are in it, like in the ledger itself. */
Status ledger_export(Ledger *ledger, FILE *out, int64_t *rows, Error *err) MUST_CHECK;
/* Into a ledger in which nothing ever happened, all of it or nothing: it is committed once its chain is whole.
 * ERR_CONFLICT: something did, or the chain is broken; ERR_CONFIG: it is of another schema; ERR_INVALID_ARGUMENT names
 * the line. */
Status ledger_import(Ledger *ledger, FILE *in, int64_t *rows, Error *err) MUST_CHECK;
Status ledger_chain_verify(Ledger *ledger, int64_t *events, char tip[65],
                           Error *err) MUST_CHECK; /* ERR_CONFLICT names the first broken event */
/* Bit by bit, for who must not wait for all of it: the next `limit` events. at: where it is; zeroed at the beginning,
 * and again when it has come to the end of a whole chain. ERR_CONFLICT as above. */
typedef struct LedgerWalk {
  int64_t sequence;
  char hash[65];
} LedgerWalk;
Status ledger_chain_step(Ledger *ledger, LedgerWalk *at, int limit, bool *end, Error *err) MUST_CHECK;
void ledger_event_release(LedgerEvent *event);
void ledger_event_list_free(LedgerEvent *items, size_t count);

Status ledger_token_insert(Ledger *ledger, const LedgerToken *token,
                           Error *err) MUST_CHECK; /* ERR_CONFLICT if the name is in use by one not replaced */
Status ledger_token_by_hash(Ledger *ledger, const char *hash, LedgerToken *out,
                            Error *err) MUST_CHECK; /* ERR_NOT_FOUND; revoked ones too */
Status ledger_token_update(Ledger *ledger, const LedgerToken *token, Error *err) MUST_CHECK;
/* last_used_us alone: what was read of the rest may be old. */
Status ledger_token_used(Ledger *ledger, const char *id, int64_t now_us, Error *err) MUST_CHECK;
Status ledger_token_list(Ledger *ledger, LedgerToken **items, size_t *count, Error *err) MUST_CHECK;
void ledger_token_release(LedgerToken *token);
void ledger_token_list_free(LedgerToken *items, size_t count);

Status ledger_session_insert(Ledger *ledger, const LedgerSession *session, Error *err) MUST_CHECK;
Status ledger_session_get(Ledger *ledger, const char *hash, LedgerSession *out,
                          Error *err) MUST_CHECK; /* ERR_NOT_FOUND; those that are over, too */
Status ledger_session_seen(Ledger *ledger, const char *hash, int64_t now_us, Error *err) MUST_CHECK;
Status ledger_session_remove(Ledger *ledger, const char *hash, Error *err) MUST_CHECK; /* absent: fine */
/* Those that are over by now, or were not seen since seen_us, go; and of the token's, all but the newest `most`. */
Status ledger_session_tidy(Ledger *ledger, const char *token_hash, int64_t now_us, int64_t seen_us, int64_t most,
                           Error *err) MUST_CHECK;

Status ledger_agent_put(Ledger *ledger, const LedgerAgent *agent, Error *err) MUST_CHECK; /* insert or update */
Status ledger_agent_list(Ledger *ledger, LedgerAgent **items, size_t *count, Error *err) MUST_CHECK;
void ledger_agent_list_free(LedgerAgent *items, size_t count);

Status ledger_enrollment_put(Ledger *ledger, const LedgerEnrollment *row, Error *err) MUST_CHECK; /* insert or update */
Status ledger_enrollment_get(Ledger *ledger, const char *name, LedgerEnrollment *out,
                             Error *err) MUST_CHECK; /* ERR_NOT_FOUND */
Status ledger_enrollment_list(Ledger *ledger, LedgerEnrollment **items, size_t *count, Error *err) MUST_CHECK;
void ledger_enrollment_release(LedgerEnrollment *row);
/* Every signing key (hex) that an agent was enrolled with; never removed. Again: fine, if it is the same agent's and
 * not revoked; else ERR_CONFLICT. */
Status ledger_signing_key_insert(Ledger *ledger, const char *public_key, const char *agent, Error *err) MUST_CHECK;
Status ledger_signing_key_revoke(Ledger *ledger, const char *agent, int64_t now_us,
                                 Error *err) MUST_CHECK; /* all its */
/* *agent: whose it is or was, freed by the caller; NULL: nobody's. */
Status ledger_signing_key_get(Ledger *ledger, const char *public_key, char **agent, bool *revoked,
                              Error *err) MUST_CHECK;
typedef struct LedgerSigningKey {
  char *public_key, *agent;
  int64_t revoked_us; /* 0: it is not */
} LedgerSigningKey;
Status ledger_signing_key_list(Ledger *ledger, LedgerSigningKey **items, size_t *count, Error *err) MUST_CHECK;
void ledger_signing_key_list_free(LedgerSigningKey *items, size_t count);
/* Every certificate that was issued to an agent, since all of them have to be revoked with it. */
Status ledger_certificate_insert(Ledger *ledger, const char *serial, const char *agent, int64_t expires_us,
                                 Error *err) MUST_CHECK;
Status ledger_certificate_revoke(Ledger *ledger, const char *agent, int64_t now_us,
                                 Error *err) MUST_CHECK; /* all its */
/* Serials of those revoked that would be valid at that time; each and the list are freed by the caller. */
Status ledger_certificate_revoked(Ledger *ledger, int64_t now_us, char ***serials, size_t *count,
                                  Error *err) MUST_CHECK;

Status ledger_hold_put(Ledger *ledger, const LedgerHold *hold, Error *err) MUST_CHECK; /* in a transaction */
Status ledger_hold_remove(Ledger *ledger, const char *what, const char *name, Error *err) MUST_CHECK; /* absent: fine */
Status ledger_hold_list(Ledger *ledger, LedgerHold **items, size_t *count, Error *err) MUST_CHECK;
void ledger_hold_list_free(LedgerHold *items, size_t count);

/* The documents of the fleet: the newest is in force. Of those before it LEDGER_FLEETS_KEPT are kept; each one's digest
 * is in its event. */
enum { LEDGER_FLEETS_KEPT = 50 };
Status ledger_fleet_version(Ledger *ledger, int64_t *version, Error *err) MUST_CHECK; /* the newest's; 0: none */
Status ledger_fleet_get(Ledger *ledger, LedgerFleet *out, Error *err) MUST_CHECK;     /* the newest; ERR_NOT_FOUND */
Status ledger_fleet_insert(Ledger *ledger, const LedgerFleet *fleet, Error *err) MUST_CHECK;
void ledger_fleet_release(LedgerFleet *fleet);

Status ledger_alert_put(Ledger *ledger, const LedgerAlert *alert, Error *err) MUST_CHECK; /* insert or update */
Status ledger_alert_remove(Ledger *ledger, const char *key, Error *err) MUST_CHECK;       /* absent: fine */
/* over: those that are resolved, too. Critical ones first, then the newest. */
Status ledger_alert_list(Ledger *ledger, const char *scope, bool over, LedgerAlert **items, size_t *count,
                         Error *err) MUST_CHECK;
void ledger_alert_release(LedgerAlert *alert);
void ledger_alert_list_free(LedgerAlert *items, size_t count);
Status ledger_notification_put(Ledger *ledger, const LedgerNotification *row, Error *err) MUST_CHECK; /* or update */
Status ledger_notification_remove(Ledger *ledger, const char *id, Error *err) MUST_CHECK;             /* absent: fine */
Status ledger_notification_get(Ledger *ledger, const char *id, LedgerNotification *out,
                               Error *err) MUST_CHECK; /* ERR_NOT_FOUND */
/* Those that are due, now or later, in the order in which they came to be; at most `limit` of them. */
Status ledger_notification_due(Ledger *ledger, int limit, LedgerNotification **items, size_t *count,
                               Error *err) MUST_CHECK;
/* Is in force while ended_us is 0 and until_us is 0 or not over. */
Status ledger_silence_insert(Ledger *ledger, const LedgerSilence *silence, Error *err) MUST_CHECK;
/* ERR_NOT_FOUND: there is none in force with that id. */
Status ledger_silence_end(Ledger *ledger, const char *id, const char *actor, int64_t now_us, Error *err) MUST_CHECK;
/* The acknowledgement of that alert, which is over; absent: fine. */
Status ledger_silence_over(Ledger *ledger, const char *alert_id, int64_t now_us, Error *err) MUST_CHECK;
/* Those in force now, or (all) the newest LEDGER_SILENCES; the newest first. */
enum { LEDGER_SILENCES = 1000 };
Status ledger_silence_list(Ledger *ledger, int64_t now_us, bool all, LedgerSilence **items, size_t *count,
                           Error *err) MUST_CHECK;
void ledger_silence_list_free(LedgerSilence *items, size_t count);
/* The last of the route that has ended, or (sent) that was sent; tests are such, too. ERR_NOT_FOUND. */
Status ledger_notification_last(Ledger *ledger, const char *route, bool sent, LedgerNotification *out,
                                Error *err) MUST_CHECK;
void ledger_notification_release(LedgerNotification *row);
void ledger_notification_list_free(LedgerNotification *items, size_t count);
/* What was over before that time goes: alerts and notifications. */
Status ledger_alerts_trim(Ledger *ledger, int64_t before_us, Error *err) MUST_CHECK;

Status ledger_schedule_put(Ledger *ledger, const LedgerSchedule *row, Error *err) MUST_CHECK; /* insert or update */
/* From the slot that was the last: ERR_CONFLICT if it is not (any more), or the schedule is another or gone. */
Status ledger_schedule_advance(Ledger *ledger, const LedgerSchedule *row, int64_t from_us, Error *err) MUST_CHECK;
Status ledger_schedule_remove(Ledger *ledger, const char *database, Error *err) MUST_CHECK; /* not there: fine */
Status ledger_schedule_list(Ledger *ledger, LedgerSchedule **items, size_t *count, Error *err) MUST_CHECK;
LedgerSchedule ledger_schedule_copy(const LedgerSchedule *row);
void ledger_schedule_release(LedgerSchedule *row);
void ledger_schedule_list_free(LedgerSchedule *items, size_t count);

/* How far something else has come that has a schedule: a time under a name; 0: there is none. */
Status ledger_mark_get(Ledger *ledger, const char *name, int64_t *wall_us, Error *err) MUST_CHECK;
Status ledger_mark_put(Ledger *ledger, const char *name, int64_t wall_us, Error *err) MUST_CHECK;

#endif
