/*
 * The life of a checkpoint, of a job, of an agent, of an alert and of a notification: one table each, one function that
 * walks it. Nothing else assigns a state. The tables are in checkpoint_state.c, job_state.c, agent_state.c and
 * alert_state.c; tests/unit/coordinator/state checks the tables themselves.
 */
#ifndef PGSEAL_COORDINATOR_STATE_STATE_H
#define PGSEAL_COORDINATOR_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum CheckpointState {
  CHECKPOINT_REQUESTED,
  CHECKPOINT_DUMPING,
  CHECKPOINT_STORED,
  CHECKPOINT_DRILLING,
  CHECKPOINT_SEALED,
  CHECKPOINT_FAILED,
  CHECKPOINT_ERRORED,
  CHECKPOINT_CANCELED,
  CHECKPOINT_STATE_COUNT
} CheckpointState;

typedef enum CheckpointEvent {
  CHECKPOINT_EVENT_DUMP_STARTED,  /* an agent holds the dump job */
  CHECKPOINT_EVENT_DUMP_REQUEUED, /* its attempt was lost; it waits again */
  CHECKPOINT_EVENT_DUMP_STORED,   /* manifest stored; the drill may already run beside it */
  CHECKPOINT_EVENT_DUMP_FAILED,
  CHECKPOINT_EVENT_DUMP_ERRORED,
  CHECKPOINT_EVENT_DRILL_STARTED, /* only meaningful once stored; a drill that follows a dump keeps it in dumping */
  CHECKPOINT_EVENT_DRILL_REQUEUED,
  CHECKPOINT_EVENT_DRILL_PROVEN,
  CHECKPOINT_EVENT_DRILL_FAILED,
  CHECKPOINT_EVENT_DRILL_ERRORED,
  CHECKPOINT_EVENT_DRILL_REQUESTED, /* drill again: errored/sealed may be drilled anew */
  CHECKPOINT_EVENT_CANCEL,
  CHECKPOINT_EVENT_COUNT
} CheckpointEvent;

typedef enum JobState {
  JOB_QUEUED,
  JOB_LEASED,
  JOB_RUNNING,
  JOB_DONE,
  JOB_FAILED,
  JOB_ERRORED,
  JOB_CANCELED,
  JOB_STATE_COUNT
} JobState;
typedef enum JobEvent {
  JOB_EVENT_LEASE,
  JOB_EVENT_PROGRESS,
  JOB_EVENT_DONE,
  JOB_EVENT_FAILED,
  JOB_EVENT_ERRORED,
  JOB_EVENT_RETRY,   /* errored transiently or lease expired, attempts left: back to queued, attempt+1 */
  JOB_EVENT_GIVE_UP, /* the same with no attempts left */
  JOB_EVENT_CANCEL,
  JOB_EVENT_COUNT
} JobEvent;

/* An agent that joined by invitation. (One that coordinator.yaml lists has no such life: it is there, or it is not.) */
typedef enum AgentState {
  AGENT_INVITED,  /* a token was made for it; nobody has it yet */
  AGENT_ENROLLED, /* it has its certificate: the only state, with renewing, in which it may open a session */
  AGENT_RENEWING, /* a new certificate was issued; it has not said yet that it uses it, and may use the old one */
  AGENT_REVOKED,  /* by an administrator: its certificates and its signing key are worth nothing any more */
  AGENT_EXPIRED,  /* its invitation, or its last certificate, ran out by the clock as it is */
  AGENT_STATE_COUNT
} AgentState;
typedef enum AgentEvent {
  AGENT_EVENT_INVITE, /* also anew, under the same name: with new keys */
  AGENT_EVENT_ENROLL,
  AGENT_EVENT_RENEW,   /* a new certificate is issued */
  AGENT_EVENT_RENEWED, /* and in use */
  AGENT_EVENT_REVOKE,
  AGENT_EVENT_EXPIRE,
  AGENT_EVENT_TOKEN_LASTS, /* after all: the clock was ahead when it expired, and has been set back */
  AGENT_EVENT_CERTIFICATE_LASTS,
  AGENT_EVENT_COUNT
} AgentEvent;

/* One condition of one subject (coordinator/alerts). */
typedef enum AlertState {
  ALERT_PENDING, /* it holds, but not for long enough: nobody was told */
  ALERT_FIRING,
  ALERT_RESOLVED, /* it is over */
  ALERT_STATE_COUNT
} AlertState;
typedef enum AlertEvent {
  ALERT_EVENT_RIPE, /* it has held for long enough */
  ALERT_EVENT_OVER,
  ALERT_EVENT_HOLDS, /* again */
  ALERT_EVENT_COUNT
} AlertEvent;

/* One message for one route. */
typedef enum NotificationState {
  NOTIFICATION_DUE,
  NOTIFICATION_SENT,   /* the receiver has it */
  NOTIFICATION_FAILED, /* it was given up */
  NOTIFICATION_STATE_COUNT
} NotificationState;
typedef enum NotificationEvent {
  NOTIFICATION_EVENT_ACCEPTED,
  NOTIFICATION_EVENT_RETRY, /* it did not get there: later */
  NOTIFICATION_EVENT_GIVE_UP,
  NOTIFICATION_EVENT_COUNT
} NotificationEvent;

typedef struct CheckpointTransition {
  CheckpointState from;
  CheckpointEvent event;
  CheckpointState to;
} CheckpointTransition;
typedef struct JobTransition {
  JobState from;
  JobEvent event;
  JobState to;
} JobTransition;
typedef struct AgentTransition {
  AgentState from;
  AgentEvent event;
  AgentState to;
} AgentTransition;
typedef struct AlertTransition {
  AlertState from;
  AlertEvent event;
  AlertState to;
} AlertTransition;
typedef struct NotificationTransition {
  NotificationState from;
  NotificationEvent event;
  NotificationState to;
} NotificationTransition;
extern const CheckpointTransition checkpoint_transitions[];
extern const size_t checkpoint_transition_count;
extern const JobTransition job_transitions[];
extern const size_t job_transition_count;
extern const AgentTransition agent_transitions[];
extern const size_t agent_transition_count;
extern const AlertTransition alert_transitions[];
extern const size_t alert_transition_count;
extern const NotificationTransition notification_transitions[];
extern const size_t notification_transition_count;

/*
 * Checkpoint, in words (the table in checkpoint_state.c is the truth):
 *  - A drill that follows a dump changes nothing before the dump is stored, but a drill that fails condemns at once.
 *  - Errored, and canceled after it was stored, may be drilled anew: DRILL_REQUESTED makes it stored again, where it
 *    waits for a drill agent like any other; it ends as that drill does.
 *  - Sealed stays sealed while it is drilled anew: it has a proof, and a drill that errors, is canceled or still runs
 *    says nothing against it. Only a drill that failed does; then it is failed.
 *  - Failed is final: nothing leads out of it.
 * That the copy really is stored (it has a manifest) before it is drilled anew is for dispatch to check.
 */

/* *state moves if the table has (from, event); false, and *state untouched, if not. */
bool checkpoint_walk(CheckpointState *state, CheckpointEvent event);
bool job_walk(JobState *state, JobEvent event);
bool agent_walk(AgentState *state, AgentEvent event);
bool agent_state_admitted(AgentState state); /* enrolled, renewing */
bool checkpoint_state_final(
    CheckpointState state); /* nothing more will happen by itself: sealed, failed, errored, canceled */
bool job_state_final(JobState state);
const char *checkpoint_state_name(CheckpointState state); /* "requested", ... as in DESIGN 6 */
const char *job_state_name(JobState state);
bool checkpoint_state_from_name(const char *name, CheckpointState *state);
bool job_state_from_name(const char *name, JobState *state);
const char *agent_state_name(AgentState state);
bool agent_state_from_name(const char *name, AgentState *state);
bool alert_walk(AlertState *state, AlertEvent event);
bool notification_walk(NotificationState *state, NotificationEvent event);
const char *alert_state_name(AlertState state); /* "pending", "firing", "resolved" */
bool alert_state_from_name(const char *name, AlertState *state);
const char *notification_state_name(NotificationState state); /* "due", "sent", "failed" */
bool notification_state_from_name(const char *name, NotificationState *state);

#endif
