/*
 * What dispatch's files share.
 *
 *   dispatch.c  opening, observers, agents' liveness, what is known of open jobs in memory
 *   open.c      the ledger's open jobs, in memory: by agent, database, checkpoint, and what waits
 *   change.c    one ledger transaction and its notifications
 *   work.c      a checkpoint with its jobs; small setters
 *   request.c   checkpoint, drill and cancel requests
 *   recovery_request.c  requests for plans, restores and rehearsals, approval, cancel
 *   recovery.c  how they end
 *   inventory.c what a repository holds: asked for, and told page by page
 *   rebuild.c   which of it gets into the ledger; rebuild_check.c: what of it may be believed
 *   prune.c     pins; what is taken out of the repository, and how that ends
 *   rehearsal.c what is particular about rehearsals
 *   trial.c     rotation's drills, and trials
 *   lease.c     poll: which job an agent gets
 *   waits.c     what a job waits for before any agent may have it, and in words
 *   message.c   messages to agents: job, follow
 *   progress.c  progress
 *   result.c    results: whose, stale or not, what they say
 *   verdict.c   when a drill's result counts
 *   outcome.c   walks the tables: retry, end, stored, sealed
 *   intake.c    what agents send, made bounded and valid
 *   fleet.c     the fleet in force: loaded, applied
 *   hold.c      what operators hold back
 *   scheduled.c  requests that the schedule makes
 *   limits.c    how many dumps may run at once
 *   beside.c    other coordinators on the same ledger: what they do, who leads
 *   gone.c      an agent that may nothing any more: its jobs go to others
 *   tick.c      time: expired leases, nobody to take a job, backoff that ran out
 */
#ifndef PGSEAL_COORDINATOR_DISPATCH_INTERNAL_H
#define PGSEAL_COORDINATOR_DISPATCH_INTERNAL_H

#include "common/base/cleanup.h"
#include "common/base/names.h"
#include "common/manifest/manifest.h"
#include "coordinator/dispatch/dispatch.h"

/* What is known of an open job besides its ledger row. Lost at restart, which is harmless: then every lease is renewed
 * in full, and progress comes again. Times: monotonic microseconds. */
typedef struct Track {
  char *job_id;
  int64_t begun_us;       /* when it was created; before this coordinator's life, by the wall clock: may be negative */
  uint64_t fencing;       /* of the lease all this is about */
  json_t *progress;       /* latest; the ledger's may be older */
  int64_t written_us;     /* when progress was last written to the ledger */
  bool unwritten;         /* there is newer, for the next tick to write */
  int64_t granted_us;     /* when the lease was given, or the coordinator started */
  int64_t lease_until_us; /* what counts; the ledger's copy is for display */
  int64_t capable_us;     /* the last time a live agent could have taken it, or since when it waits */
  bool waiting;           /* capable_us runs */
  int64_t written_until_us; /* the ledger's lease_until_us as this coordinator wrote it last, */
  int64_t seen_until_us;    /* and as it saw it last: another value is a renewal, by whichever coordinator */
  bool held;                /* its result came before the dump's; it will come again */
  size_t taker;             /* index of the agent that could have taken it last */
} Track;

typedef struct OpenJobs OpenJobs;

typedef struct AgentImages { /* names and patterns of images that an agent drills in */
  char **patterns;
  size_t count;
  bool told; /* in a session with this coordinator; else nothing is known */
} AgentImages;

struct Dispatch {
  const CoordinatorConfig *config;
  Ledger *ledger;
  DispatchObserver *observers;
  size_t observer_count;
  Track *tracks;
  size_t track_count;
  Names track_names; /* of tracks, by the job's id: their index + 1 */
  OpenJobs *open;    /* owned */
  Agents *agents;    /* owned */
  Fleet *fleet;      /* owned; what is in force */
  int64_t fleet_version, fleet_changes, fleet_since_us;
  Tunnels *tunnels;                 /* owned */
  uint64_t fleet_stamp, fleet_seen; /* of the file that is watched: as it was read, as it was last tick */
  char *fleet_problem;
  int64_t *seen_us;       /* by the agent's index; monotonic, 0 never */
  int64_t *told_us;       /* the same, as other coordinators heard of it */
  uint32_t *offers;       /* of the same: OFFERS_TOLD, OFFERS_BARE, and a bit for each LedgerJobKind; 0: not told */
  uint64_t *majors;       /* of the same: MAJORS_*; other bits: it has the tools of that major version */
  AgentImages *images;    /* of the same */
  AgentMachine *machines; /* of the same */
  size_t seen_count;
  int64_t agents_told; /* how often any said what it has */
  LedgerHold *holds;   /* owned; read anew every second, since another coordinator may have written them */
  size_t hold_count;
  size_t progress_at; /* the track whose progress is written next */
  bool progress_fails;
  int64_t ticked_us; /* wall clock of the last tick */
  int64_t awake_us;  /* its monotonic time; before the first one: when this was opened */
  /* Of a ledger that is shared (beside.c): */
  char *id;            /* this coordinator's */
  bool leads;          /* as of the last tick; always, if it is not shared */
  int64_t followed;    /* the last event that the observers were told of */
  int64_t followed_us; /* monotonic, as the next one */
  int64_t present_us;  /* when it last told the others whom it hears of */
  int64_t beat;
  json_t *beats; /* of the others, by their id, as last seen */
  int64_t (*wall_us)(void);
  int64_t (*monotonic_us)(void);
};

/* image.c */
void images_told(AgentImages *images, Pgseal__Tool *const *tools, size_t count);
void images_close(Dispatch *dispatch);
const char *image_of_job(const Dispatch *dispatch, const LedgerJob *job); /* that a policy asks for; "": none */
/* Does the agent drill in the image that is asked for, as far as that is known? */
bool image_suits(const Dispatch *dispatch, const ConfigAgent *agent, const LedgerJob *job);
/* Adds notes of images in `fleet` that no agent which is there offers. */
void images_note(Dispatch *dispatch, const Fleet *fleet, json_t *notes);

/* dispatch.c */
enum { OFFERS_TOLD = 1, OFFERS_BARE = 1 << 30, MAJORS_TRIALS = 1, MAJORS_INVENTORIES = 2 /* it knows of them */ };
const char *job_needs(const LedgerJob *job); /* the capability */
/* May this agent have it, and can it do it, as far as that is known? */
bool job_suits(const Dispatch *dispatch, const ConfigAgent *agent, const LedgerJob *job);
bool agent_offers(const Dispatch *dispatch, const Agent *agent, LedgerJobKind kind);
Track *track_find(const Dispatch *dispatch, const char *job_id); /* NULL: not an open job, or nothing is known yet */
Track *track_get(Dispatch *dispatch, const LedgerJob *job);      /* made if need be; valid until the next call */
/* Another coordinator heard of it at that (monotonic) time, and was told what it does. */
void dispatch_agent_told(Dispatch *dispatch, const char *agent, int64_t heard_us, uint32_t offers, uint64_t majors);
/* The same of its machine: taken if it is newer than what is known. */
void dispatch_machine_told(Dispatch *dispatch, const char *agent, const AgentMachine *machine);
void track_remove(Dispatch *dispatch, const char *job_id);
int64_t dispatch_lease_us(const Dispatch *dispatch);
bool agent_can(const ConfigAgent *agent, LedgerJobKind kind, const char *database);
const char *job_capability(LedgerJobKind kind); /* that an agent needs */

/* open.c: the open jobs (queued, leased, running) as the ledger has them: kept by what is written there, read anew
 * after a rollback or open_jobs_forget. Copies, without errors and progress, and with the request of drills and trials
 * alone; what may be done is decided by them, and checked in the transaction that does it. An entry that ends while the
 * list is walked stays, with `over` set, until open_jobs is called again; new ones come last. */
typedef struct OpenJob {
  LedgerJob job;
  bool over;
  struct OpenJob *after;                               /* of all, oldest first */
  struct OpenJob *next_of_agent;                       /* of those that its agent holds */
  struct OpenJob *next_of_database;                    /* oldest first */
  struct OpenJob *before, *waits_after, *next_waiting; /* open.c's own */
  uint64_t number;
} OpenJob;
Status open_jobs(Dispatch *dispatch, OpenJob **first, Error *err) MUST_CHECK; /* to be called before the others below */
OpenJob *open_jobs_find(const Dispatch *dispatch, const char *job_id);        /* NULL: it is not open */
OpenJob *open_jobs_dump(const Dispatch *dispatch, const char *checkpoint_id); /* the checkpoint's dump, if it is open */
OpenJob *open_jobs_held(const Dispatch *dispatch, const char *agent);         /* by next_of_agent */
OpenJob *open_jobs_of(const Dispatch *dispatch, const char *database);        /* by next_of_database */
bool open_jobs_before(const OpenJob *one, const OpenJob *other);              /* which of two is to be taken first? */
/* Of those that are queued and that `may` be taken, the one to be taken first; NULL: none. */
OpenJob *open_jobs_next(const Dispatch *dispatch, bool (*may)(void *user, const OpenJob *open), void *user);
void open_jobs_forget(Dispatch *dispatch); /* somebody else wrote to the ledger */
void open_jobs_watch(Dispatch *dispatch);
void open_jobs_close(Dispatch *dispatch);

/* change.c: `CLEANUP(change_release) Change change = {0};` rolls back unless committed. */
typedef struct Change {
  Dispatch *dispatch;
  bool open, work;
  LedgerEvent *events;
  size_t event_count;
  char **finished;
  size_t finished_count;
} Change;
Status change_begin(Dispatch *dispatch, Change *change, Error *err) MUST_CHECK;
/* Appends an event about job (or NULL) of checkpoint. requester: whose doing it is, or NULL; his address goes into the
 * detail. detail: reference stolen, may be NULL. No fractions in it: their
 * text would not be canonical. */
Status change_event(Change *change, const char *kind, const Checkpoint *checkpoint, const LedgerJob *job,
                    const Requester *requester, json_t *detail, Error *err) MUST_CHECK;
/* The same of something that is about no checkpoint. database: or NULL. */
Status change_note(Change *change, const char *kind, const char *database, const Requester *requester, json_t *detail,
                   Error *err) MUST_CHECK;
void change_finished(Change *change, const char *checkpoint_id); /* tell after commit that it is in a final state */
Status change_commit(Change *change, Error *err) MUST_CHECK;     /* durable, then the observers are called */
void change_release(Change *change);

void observers_event(const Dispatch *dispatch, const LedgerEvent *event);

/* beside.c. Nothing of it does anything if the ledger is not shared. */
Status beside_open(Dispatch *dispatch, Error *err) MUST_CHECK;
/* Tells the observers of what was appended since; own: how many events of it are this coordinator's. */
void beside_pull(Dispatch *dispatch, size_t own);
void beside_lead(Dispatch *dispatch); /* sets `leads`; who begins to lead gives every lease its whole time */
/* Leases that other coordinators renewed have their whole time again here. */
void beside_take_renewals(Dispatch *dispatch);
/* The agent still holds the job: its lease must not run out elsewhere, either. */
void beside_renew(Dispatch *dispatch, const LedgerJob *job);

/* work.c */
typedef struct Work {
  Checkpoint checkpoint;
  LedgerJob *jobs; /* oldest first */
  size_t job_count;
} Work;
Status work_load(Dispatch *dispatch, const char *checkpoint_id, Work *work, Error *err) MUST_CHECK;
/* The checkpoint's; of a job that is of none, that job alone, and a checkpoint without an id. */
Status work_load_of(Dispatch *dispatch, const LedgerJob *job, Work *work, Error *err) MUST_CHECK;
Status work_save(Dispatch *dispatch, const Work *work, Error *err) MUST_CHECK; /* its checkpoint, if there is one */
void work_release(Work *work);
LedgerJob *work_job(Work *work, const char *job_id);
LedgerJob *work_dump(Work *work);                       /* the dump job */
LedgerJob *work_drill(Work *work);                      /* the newest drill job */
bool job_held(const LedgerJob *job);                    /* leased or running */
void text_set(char **field, const char *value);         /* copies; NULL or "" becomes NULL */
void job_set_error(LedgerJob *job, const Error *cause); /* NULL clears */
void checkpoint_set_error(Checkpoint *checkpoint, const Error *cause);
void checkpoint_copy_error(Checkpoint *checkpoint, const LedgerJob *job);
json_t *checkpoint_detail(Checkpoint *checkpoint); /* borrowed; made if absent */
void checkpoint_set_prefix(Checkpoint *checkpoint);
char *drill_id_of(const LedgerJob *job); /* new string */

/* outcome.c. All save what they change. */
Status job_end(Change *change, Work *work, LedgerJob *job, JobEvent event, Error *err) MUST_CHECK;
/* The attempt is over without a result that counts: queued again, or given up. lost: the agent may still send a result,
 * which must be refused then. */
Status job_retry(Change *change, Work *work, LedgerJob *job, const Error *cause, bool lost, Error *err) MUST_CHECK;
Status job_requeue(Change *change, Work *work, LedgerJob *job, const Error *cause, bool lost, Error *err) MUST_CHECK;
Status dump_stored(Change *change, Work *work, LedgerJob *job, Error *err) MUST_CHECK;
Status dump_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, Error *err) MUST_CHECK;
Status drill_over(Change *change, Work *work, LedgerJob *job, JobEvent event, Outcome outcome, const Error *cause,
                  Error *err) MUST_CHECK;
/* The job ends, errored: JOB_EVENT_GIVE_UP (it is queued or lost) or JOB_EVENT_ERRORED. */
Status job_fail(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, Error *err) MUST_CHECK;
/* Queued: canceled now. Held: the agent is told with its next progress. */
Status job_cancel(Change *change, Work *work, LedgerJob *job, Error *err) MUST_CHECK;
Status checkpoint_end(Change *change, Work *work, const Requester *requester, Error *err) MUST_CHECK;

/* progress.c: writes what came since, of as many jobs as there is time for. Called by each tick. */
void progress_write(Dispatch *dispatch);

/* verdict.c */
typedef enum VerdictUse { VERDICT_COUNTS, VERDICT_WAIT, VERDICT_OBSOLETE, VERDICT_BAD } VerdictUse;
VerdictUse verdict_proven(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result,
                          Error *err) MUST_CHECK; /* err is set unless VERDICT_COUNTS */
/* What it was sealed on, so that the ledger can be checked later: checkpoint.detail.verdict, and in its event. */
void verdict_keep(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result);
VerdictUse verdict_failed(Dispatch *dispatch, Work *work, const LedgerJob *job, const Pgseal__DrillResult *result,
                          Error *err) MUST_CHECK;

/* message.c */
Status message_job(Dispatch *dispatch, Work *work, const LedgerJob *job, Pgseal__Job **out, Error *err) MUST_CHECK;
/* Of a dump that is at work, which has made this progress. */
Pgseal__Follow *message_follow_dumping(const LedgerJob *dump, const json_t *progress);
Pgseal__Follow *message_follow(Dispatch *dispatch, Work *work);

/* recovery.c */
enum { RECOVERY_REPORT_LIMIT = 2 << 20, APPROVAL_SECONDS = 3600 };
/* report: or NULL. */
Status recovery_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause,
                     const json_t *report, Error *err) MUST_CHECK;
Status recovery_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result,
                       Error *err) MUST_CHECK;
/* "plan", "restore", "rehearsal": as in the names of their events. */
const char *recovery_noun(LedgerJobKind kind);
/* What a recovery job is about, for its events: new reference. */
json_t *recovery_summary(const LedgerJob *job);
/* May it be restored from? ERR_CONFLICT. */
Status recovery_check_checkpoint(const Checkpoint *checkpoint, LedgerJobKind kind, const json_t *request,
                                 Error *err) MUST_CHECK;

/* prune.c */
/* May anybody still be given it? ERR_CONFLICT: it is, or is being, taken out of the repository. */
Status prune_check(const Checkpoint *checkpoint, Error *err) MUST_CHECK;
Status prune_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, const json_t *report,
                  Error *err) MUST_CHECK;
Status prune_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) MUST_CHECK;
Status prune_message(const LedgerJob *job, Pgseal__Job *message, Error *err) MUST_CHECK;

/* inventory.c */
Status inventory_message(const LedgerJob *job, Pgseal__Job *message, Error *err) MUST_CHECK;
Status inventory_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result,
                        Error *err) MUST_CHECK;
Status inventory_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause,
                      Error *err) MUST_CHECK;
/* Its report: `counts` of what was found, `refused` (bounded; the count says how many), `strays`. */
void inventory_count(json_t *report, const char *name, int64_t more);
void inventory_refuse(json_t *report, const char *object, const char *reason, const char *agent, const char *key,
                      const char *message);

/* rebuild_check.c: what of an attempt may be believed. What may not is refused in the report, with its reason. */
typedef struct FoundProof {
  const Pgseal__InventoryProof *message; /* borrowed */
  Proof proof;
  char sha256[SHA256_HEX_SIZE], key[PUBLIC_KEY_HEX_SIZE];
} FoundProof;
typedef struct Found {
  const Pgseal__InventoryAttempt *attempt;                /* borrowed */
  bool whole, refused;                                    /* its manifest may be believed; there is one that may not */
  char sha256[SHA256_HEX_SIZE], key[PUBLIC_KEY_HEX_SIZE]; /* of the manifest; who signed it */
  FoundProof *proofs;                                     /* of this manifest; the newest first */
  size_t proof_count;
} Found;
/* An error is the ledger's. */
Status found_check(Dispatch *dispatch, const char *database, const Pgseal__InventoryAttempt *attempt, json_t *report,
                   Found *out, Error *err) MUST_CHECK;
void found_release(Found *found);

/* rebuild.c: one checkpoint, of `count` attempts. rebuild: false only counts. */
Status rebuild_checkpoint(Change *change, const LedgerJob *job, const Pgseal__InventoryAttempt *const *attempts,
                          size_t count, bool rebuild, json_t *report, Error *err) MUST_CHECK;

/* waits.c */
typedef enum Wait { /* what of the job itself is in the way, whoever asks */
                    WAIT_NONE,
                    WAIT_CANCEL,
                    WAIT_BACKOFF,
                    WAIT_HELD,
                    WAIT_TURN,
                    WAIT_DUMP,
                    WAIT_APPROVAL,
                    WAIT_RESTORE
} Wait;
Wait job_waits(const Dispatch *dispatch, const OpenJob *open);

/* rehearsal.c */
/* Was its copy handed over? From then on it is never tried again by itself. */
bool rehearsal_begun(const Dispatch *dispatch, const LedgerJob *job);

/* hold.c */
Status hold_load(Dispatch *dispatch, Error *err) MUST_CHECK;
void hold_tick(Dispatch *dispatch);
/* Drains the agent, as part of the change: nothing that it says of drills is worth anything. */
Status hold_quarantine(Change *change, const char *agent, const char *reason, Error *err) MUST_CHECK;
bool hold_quarantined(const Dispatch *dispatch, const char *agent);
bool hold_withholds(const Dispatch *dispatch, const LedgerJob *job); /* must it wait for somebody to let it go on? */
Status hold_check_database(const Dispatch *dispatch, const char *database, Error *err) MUST_CHECK; /* ERR_CONFLICT */
/* limits.c */
typedef struct Limits { /* zero before the first question of a poll */
  bool reckoned;
  size_t running;               /* dumps that are held */
  const char **hosts, **owners; /* of their databases, sorted */
} Limits;
/* May that dump start, besides those of the jobs (by `after`) that are held? */
bool limits_allow(const Dispatch *dispatch, const OpenJob *first, const LedgerJob *job, Limits *limits);
void limits_release(Limits *limits);

/* fleet.c */
Status fleet_open(Dispatch *dispatch, Error *err) MUST_CHECK;
void fleet_tick(Dispatch *dispatch); /* another coordinator may have applied one */

/* request.c: what recovery_request.c asks for, too. */
/* In the change: a checkpoint with its two jobs and its event; nothing is checked. */
Status request_add_checkpoint(Change *change, const char *database, const char *tag, const Requester *requester,
                              const char *key, LedgerPriority priority, Checkpoint *out, Error *err) MUST_CHECK;
bool request_sees(const Requester *requester, const char *database);
Status request_check_database(const Dispatch *dispatch, const char *database, const Requester *requester,
                              Error *err) MUST_CHECK;
/* as: what the job has of its own: requested_by, idempotency_key, request; or NULL. */
Status request_drill(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester, const LedgerJob *as,
                     char **drill_id, Error *err) MUST_CHECK;
Status request_check_key(const char *key /* or NULL */, Error *err) MUST_CHECK;

/* trial.c */
RotationKind trial_kind(const LedgerJob *job); /* what rotation asked for; 0: it did not */
int trial_forward_major(const LedgerJob *job); /* 0: it is none such */
Status trial_message(const LedgerJob *job, Pgseal__DrillSpec *spec, Error *err) MUST_CHECK;
Status trial_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) MUST_CHECK;

/* gone.c: an observer of the agents; user is the Dispatch. */
void dispatch_agent_changed(void *user, const Agent *agent);

/* intake.c */
enum { INTAKE_JSON_LIMIT = 256 << 10 };
void intake_failure(const Pgseal__Failure *failure, Error *out); /* code, message, remedy, object; bounded */
json_t *intake_progress(const Pgseal__JobProgress *progress);    /* new reference */
/* An object, from an agent's text; *out is NULL if there is none. ERR_PROTOCOL. */
Status intake_report(const char *text, json_t **out, Error *err) MUST_CHECK;
void intake_json_free(json_t **json);                /* for CLEANUP */
json_t *intake_text(const char *text, size_t limit); /* new reference: a JSON string */
/* A JSON array (of objects or strings), or an object of numbers, from an agent's text; bounded. ERR_PROTOCOL. "" is
 * empty. New reference in *out. */
Status intake_list(const char *what, const char *text, json_t **out, Error *err) MUST_CHECK;
Status intake_stages(const char *text, json_t **out, Error *err) MUST_CHECK;
bool intake_digest_valid(const char *hex); /* 64 lower-case hexadecimal digits */
Status intake_dump(const Pgseal__JobResult *result, Checkpoint *checkpoint, Error *err) MUST_CHECK;
/* The dump's tables, for the ledger: a new string; NULL: they were not told. ERR_PROTOCOL. */
Status intake_tables(const Pgseal__DumpResult *dump, char **packed, Error *err) MUST_CHECK;
Status intake_drill(const Pgseal__JobResult *result, Checkpoint *checkpoint, Error *err) MUST_CHECK;

#endif
