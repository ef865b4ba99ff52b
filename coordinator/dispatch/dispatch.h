/*
 * Dispatch: turns requests into jobs, gives jobs to agents under leases, takes their progress and results, and
 * walks the state tables. It alone changes checkpoints and jobs. Every change is one ledger transaction, durable
 * before anyone is told; then the observers are called. Loop thread only.
 *
 * A checkpoint request makes a dump job and, at once, a drill job that follows it. Dump attempts have their own
 * prefix; a drill whose dump attempt was lost starts over (Follow carries the new prefix). Never two dump jobs
 * of one database at once: later ones wait.
 * Retry: a transient error or a lost lease puts the job back to queued with attempt+1 and exponential backoff
 * with jitter, up to max_attempts. Fencing: every lease raises it; a report with another number is refused.
 * Fencing numbers grow over the whole ledger, so that they also tell which of two leases came first.
 * A drill job's `proven` seals only if the dump is stored, the verdict's signature verifies against the drill agent's
 * key, and its manifest digest equals the one recorded from the dump. One that comes before the dump's own result is
 * answered ERR_UNAVAILABLE: the agent keeps it and sends it again. A drill's `failed` condemns only what it is about:
 * if the dump was tried again meanwhile, the drill is repeated instead. A drill that errors for good while its dump
 * runs lets the dump go on: the checkpoint ends stored, but errored. If the dump is taken over by an agent with another
 * key, a drill that follows it loses its lease: it must verify against the new key. Drill ids: the job's id, with
 * "-<attempt>" from the second attempt on (each attempt's proof has a key of its own).
 *
 * Recovery jobs (plans, restores and rehearsals) are of a checkpoint that is stored, and change nothing of it. A plan
 * only reads: it is tried again like a drill. A restore is never tried again: what it had done before it was lost is
 * not known. Never two restores of one database at once; plans may run beside. Whether the checkpoint is still sealed
 * is looked at again when a restore or a rehearsal is leased. A restore that needs approval waits for it, an hour at
 * most. A rehearsal is tried again until its copy is handed over, never after that; of its SQL the ledger keeps digests
 * alone once it is over, since there may be passwords in it.
 *
 * Checkpoint.restore_drill: a drill that errored or was canceled does not replace "proven". Checkpoint.seconds and the
 * requester's answer are of the first end; finished_us is of the last.
 * Checkpoint.detail (object): prefix, dump_public_key (hex), omissions, differences, notes (arrays), stages
 * ({"dump": {stage: seconds}, "drill": {...}}), stages_begun (the same: seconds since the attempt began), versions
 * ({"server", "pg_dump", "image", "engine", "drill_server"}), assertions (how many were stated), fingerprint_sha256,
 * entries, blobs, segments, drill_agent, proof_key, verdict (what it was sealed on: drill, agent, manifest_sha256,
 * proof_sha256, public_key, signature), rebuilt_us, traceparent (of the request, by W3C Trace Context).
 * Nothing an agent sends gets into the ledger unbounded: texts are cut, and JSON lists too, with a last item
 * of kind "more" that says so.
 */
#ifndef PGSEAL_COORDINATOR_DISPATCH_DISPATCH_H
#define PGSEAL_COORDINATOR_DISPATCH_DISPATCH_H

#include "coordinator/agents/agents.h"
#include "coordinator/config.h"
#include "coordinator/dispatch/machine.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/tunnel/tunnel.h"
#include "coordinator/rotation/rotation.h"
#include "proto/pgseal.pb-c.h"

typedef struct Dispatch Dispatch;

/* Who asks, for the ledger, and what there is for him: databases that he may not see do not exist. */
typedef struct Requester {
  const char *name;                                     /* of his token; NULL: nobody's */
  const char *person;                                   /* who has that token, or is it; NULL: not known */
  const char *address;                                  /* of the client; NULL: none */
  const char *traceparent;                              /* of a checkpoint's request, checked; NULL: none */
  bool (*sees)(const void *user, const char *database); /* NULL: all */
  const void *user;
} Requester;

typedef struct DispatchObserver { /* called after commit, on the loop; must not call back into dispatch */
  void *user;
  void (*event)(void *user, const LedgerEvent *event); /* appended to the ledger */
  void (*progress)(void *user, const char *checkpoint_id, const char *job_id, json_t *progress); /* not in the chain */
  void (*work)(void *user);                                /* a job became available: wake parked polls */
  void (*finished)(void *user, const char *checkpoint_id); /* it is in a final state: answer who waits */
} DispatchObserver;

Status dispatch_open(const CoordinatorConfig *config, Ledger *ledger, Dispatch **out, Error *err) MUST_CHECK;
Agents *dispatch_agents(Dispatch *dispatch); /* opened and closed with it; one that is revoked loses its jobs at once */
const Fleet *dispatch_fleet(const Dispatch *dispatch); /* in force; valid in this turn of the loop only */
/* Why the file that coordinator.yaml names is not what is in force; NULL: it is, or there is none. */
const char *dispatch_fleet_problem(const Dispatch *dispatch);
int64_t dispatch_fleet_changes(const Dispatch *dispatch);  /* raised whenever it is replaced */
int64_t dispatch_fleet_since_us(const Dispatch *dispatch); /* wall clock of that, here */
Tunnels *dispatch_tunnels(Dispatch *dispatch); /* of its rehearsals; opened and closed with it, ticked by the gateway */
void dispatch_close(Dispatch *dispatch);
void dispatch_observe(Dispatch *dispatch, const DispatchObserver *observer); /* copied; several may be added */

/* After a restart: leases go on from the ledger; agents that still run a job renew it. */

/* ERR_NOT_FOUND (unknown database; the message suggests the nearest), ERR_INVALID_ARGUMENT (tag). With an
 * idempotency key already used by this requester, returns that checkpoint: *joined = true. *out is released by the
 * caller.
 */
Status dispatch_request_checkpoint(Dispatch *dispatch, const char *database, const char *tag,
                                   const Requester *requester, const char *idempotency_key, Checkpoint *out,
                                   bool *joined, Error *err) MUST_CHECK;
/* Drill a stored checkpoint again. ERR_CONFLICT if it is not stored, or a drill runs. *drill_id: new string. */
Status dispatch_request_drill(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester,
                              char **drill_id, Error *err) MUST_CHECK;
/* Rotation asks. Latest, old and bare: a drill like any other, bare by an agent that is. Forward and canary: a trial
 * (common/manifest/trial.h), of a sealed checkpoint; it changes nothing of it, whatever comes out. A canary that is not
 * refuted is an alarm (event rotation.canary_survived), and its agent is drained. key: asked for again with the same
 * one, it is that job, *joined; or NULL. random: chooses a canary's damage. *job_id: new string. */
Status dispatch_request_rotation(Dispatch *dispatch, const char *checkpoint_id, RotationKind kind, uint64_t random,
                                 const char *key, char **job_id, bool *joined, Error *err) MUST_CHECK;
bool dispatch_is_rotation(const LedgerJob *job); /* was it rotation that asked for it? */
/* Is an agent there that can do such a drill of that database, whose server is of that major version? */
bool dispatch_has_rotation_taker(Dispatch *dispatch, RotationKind kind, int major, const char *database);
Status dispatch_cancel(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester,
                       Error *err) MUST_CHECK;

/* Recovery jobs. request: what the user asked for, its members and their shapes checked by the caller; it names the
 * `database`, and may name a `checkpoint` by id or tag (else: the newest sealed one). ERR_NOT_FOUND; ERR_CONFLICT: not
 * stored, or (restores) not sealed and not asked for as `unproven`, or the script is not what that restore made;
 * ERR_CONFIRMATION_NEEDED; ERR_TOO_MANY. Idempotency keys as for checkpoints. *out is released by the caller. */
Status dispatch_request_recovery(Dispatch *dispatch, LedgerJobKind kind, json_t *request, const Requester *requester,
                                 const char *idempotency_key, LedgerJob *out, bool *joined, Error *err) MUST_CHECK;
/* What of a recovery job's request is shown, compared and kept: SQL that is rehearsed by its digests. New reference. */
json_t *dispatch_told(const json_t *request);
/* A restore that needs a second person's approval. ERR_FORBIDDEN: it is the requester's own; ERR_CONFLICT: it needs
 * none (any more). */
Status dispatch_approve(Dispatch *dispatch, const char *job_id, const Requester *requester, Error *err) MUST_CHECK;
/* ERR_CONFLICT: it is over, or no recovery job. */
Status dispatch_cancel_recovery(Dispatch *dispatch, const char *job_id, const Requester *requester,
                                Error *err) MUST_CHECK;

/* Retention. A pinned checkpoint is kept whatever a policy says. reason: or NULL. ERR_NOT_FOUND; ERR_CONFLICT: it is
 * pruned already. Again: fine. */
Status dispatch_pin(Dispatch *dispatch, const char *checkpoint_id, bool pin, const char *reason,
                    const Requester *requester, Error *err) MUST_CHECK;
/* What goes: all of the checkpoint, which is marked durably before, so that nobody is given it any more; or only the
 * attempts of its dump that were lost. ERR_CONFLICT: it is pinned, is not over, is
 * the database's last sealed one, a job of it is under way, or there is nothing left to go. */
typedef enum PruneWhat { PRUNE_CHECKPOINT, PRUNE_LOST_ATTEMPTS } PruneWhat;
Status dispatch_prune(Dispatch *dispatch, const char *checkpoint_id, PruneWhat what, const Requester *requester,
                      Error *err) MUST_CHECK;
/* What an agent finds in the repository of that database is looked at, page by page; what the ledger does not know of
 * it is put into it (rebuild), or only counted. Nothing that the ledger knows is changed, but for what an earlier
 * rebuild could not seal. The report, at the end, is the job's. Where there is one under way already, it is that one.
 * *job_id: new string. ERR_NOT_FOUND; ERR_CONFLICT: one of the other kind is under way. */
Status dispatch_request_inventory(Dispatch *dispatch, const char *database, bool rebuild, const Requester *requester,
                                  char **job_id, Error *err) MUST_CHECK;
/* Is an agent there that can do it, and does? */
bool dispatch_has_taker(Dispatch *dispatch, LedgerJobKind kind, const char *database);
/* Of how many `wanted` databases that is not so. */
size_t dispatch_without_taker(Dispatch *dispatch, LedgerJobKind kind,
                              bool (*wanted)(void *user, const FleetDatabase *database), void *user);

/* Holding back: an agent gets no more jobs (drained); of a database nothing is dumped or pruned, and no checkpoint of
 * it can be asked for (cordoned); no dump, drill or prune begins in the whole fleet (paused), but what is asked for is
 * kept. What runs goes on; plans, restores and rehearsals go on, too. name: of the agent or database; "" of the fleet.
 * reason: or NULL. ERR_NOT_FOUND. Again: fine. Durable, with an event. */
typedef enum HoldWhat { HOLD_AGENT, HOLD_DATABASE, HOLD_FLEET } HoldWhat;
Status dispatch_hold(Dispatch *dispatch, HoldWhat what, const char *name, bool on, const char *reason,
                     const Requester *requester, Error *err) MUST_CHECK;
const LedgerHold *dispatch_held(const Dispatch *dispatch, HoldWhat what, const char *name); /* NULL: it is not */

/* Makes a document (fleet.yaml) the fleet in force: durable, with an event, then at once. name: of its file. dry_run:
 * only says what it would do. *report: new reference: {"version", "changed", "notes", "difference"}, the last two as in
 * fleet.h. ERR_CONFIG: with its line; ERR_CONFLICT: coordinator.yaml names a file that is watched, and this one comes
 * from somebody. */
Status dispatch_apply_fleet(Dispatch *dispatch, const char *name, const char *text, size_t size,
                            const Requester *requester /* NULL: it is that file */, bool dry_run, json_t **report,
                            Error *err) MUST_CHECK;
/* Reads the file that coordinator.yaml names, and applies it if it is another than what is in force. */
Status dispatch_read_fleet(Dispatch *dispatch, Error *err) MUST_CHECK;

/* What the schedule does about one database. */
#define DISPATCH_SCHEDULE "@schedule" /* who asks then: no token is named like that */
typedef struct DispatchScheduled {
  LedgerSchedule *row; /* stored as it is; its checkpoint_id is filled */
  const char *tag;     /* of the checkpoint to request; NULL: none */
  const char *event;   /* appended, with detail (borrowed); or NULL */
  json_t *detail;
  int64_t from_us; /* the slot that was the last; 0: the schedule begins */
  bool removed;    /* there is no schedule any more: the row is dropped, and nothing else done */
} DispatchScheduled;
/* All of them in one transaction: a run is requested exactly when it is remembered as dealt with. ERR_CONFLICT: another
 * coordinator dealt with one of them, and nothing is done. */
Status dispatch_schedule(Dispatch *dispatch, DispatchScheduled *runs, size_t count, Error *err) MUST_CHECK;
int64_t dispatch_wall_us(const Dispatch *dispatch); /* its wall clock */

/* Agents. `agent` is the authenticated name. */
void dispatch_agent_seen(Dispatch *dispatch, const char *agent);
/* What its own file says that it does, told when it joins: a job that it may take, but never asks for, does not wait
 * for it. Until it is told, an agent is taken to do all that it may. */
void dispatch_agent_offers(Dispatch *dispatch, const char *agent, char *const *capabilities, size_t count);
void dispatch_agent_tools(Dispatch *dispatch, const char *agent, Pgseal__Tool *const *tools, size_t count);
int64_t dispatch_agents_told(const Dispatch *dispatch); /* how often any agent has, to this coordinator */
void dispatch_agent_machine(Dispatch *dispatch, const char *agent, const Pgseal__Machine *message);
/* What a queued job waits for, in words that follow "waiting for": new string. NULL: it does not wait. Looks at every
 * agent: for single jobs, not for long lists. */
char *dispatch_waits_why(Dispatch *dispatch, const char *job_id);
/* Is there a job that a poll would give this agent? Cheap, and changes nothing. */
bool dispatch_waits_for(Dispatch *dispatch, const char *agent, const Pgseal__Poll *poll);
/* *job is NULL if there is nothing; else freed with pgseal__job__free_unpacked(job, NULL). Leases it durably. A drill
 * is leased only to a capable agent and may be leased at the same moment as its dump. running: job ids the agent says
 * it runs; leases it holds that are not among them are given back (after a grace of one lease). */
Status dispatch_poll(Dispatch *dispatch, const char *agent, const Pgseal__Poll *poll, Pgseal__Job **job,
                     Error *err) MUST_CHECK;
/* *reply's strings are freed with pgseal__progress_reply__free_unpacked. */
Status dispatch_progress(Dispatch *dispatch, const char *agent, const Pgseal__Progress *progress,
                         Pgseal__ProgressReply **reply, Error *err) MUST_CHECK;
/* Idempotent: the same result again is accepted again. *accepted false: stale, refused; *reason is a literal.
 * ERR_UNAVAILABLE: not now, send it again. */
Status dispatch_result(Dispatch *dispatch, const char *agent, const Pgseal__Result *result, bool *accepted,
                       const char **reason, Error *err) MUST_CHECK;

/* Each open job, the oldest first, without its errors and progress; as it is known here, without asking the ledger. */
Status dispatch_walk_jobs(Dispatch *dispatch, void (*visit)(void *user, const LedgerJob *job), void *user,
                          Error *err) MUST_CHECK;

/* Several coordinators may share a ledger (ledger_shared). Each serves requests and agents; one leads: it alone does
 * what time demands (expired leases, nobody to take a job, schedules). Observers are told of what the others do, too,
 * in the order of the chain. Call dispatch_follow up to five times a second; it costs nothing where there is nothing
 * new. */
void dispatch_follow(Dispatch *dispatch);
bool dispatch_leads(const Dispatch *dispatch); /* as of the last tick */
/* Call every second: expired leases, no_agent, backoff that has run out. */
void dispatch_tick(Dispatch *dispatch);

/* For the API's "agents" view: is it connected (seen within 2 poll periods), what it runs. */
bool dispatch_agent_live(Dispatch *dispatch, const char *agent);
/* For how long nothing was heard of it, in microseconds; -1: nothing at all since this process began. */
int64_t dispatch_agent_silent_us(Dispatch *dispatch, const char *agent);
/* What it told of its machine, to this coordinator or to another one; *age_us: how long ago (as told to another one:
 * but for the seconds until that passed it on). NULL: nothing, or it is not connected any more. Valid in this turn of
 * the loop only. */
const AgentMachine *dispatch_machine(Dispatch *dispatch, const char *agent, int64_t *age_us);

#endif
