/* The Session itself. Internal to agent/session. */
#ifndef PGSEAL_AGENT_SESSION_INTERNAL_H
#define PGSEAL_AGENT_SESSION_INTERNAL_H

#include "agent/session/identity.h"
#include "agent/session/machine.h"
#include "agent/session/session.h"
#include "agent/session/tools.h"
#include "common/bus/bus.h"
#include "common/bus/envelope.h"
#include "common/crypto/signing.h"

typedef enum SessionState { SESSION_JOINING, SESSION_JOINED, SESSION_STOPPING } SessionState;

/* What is going on for one job: a progress request under way, when the last was sent, whether there is news. */
typedef struct JobTrack {
  char *job_id;
  uint64_t fencing;
  bool drill, stored_followed; /* a drill asks often until its dump is stored */
  bool in_flight, news;
  int64_t sent_us;
  struct JobTrack *next;
} JobTrack;

typedef struct PendingResult {
  Pgseal__Result *result;
  bool in_flight;
  unsigned tries;
  int64_t next_us; /* when to try again */
  struct PendingResult *next;
} PendingResult;

typedef struct Look Look;   /* at the repository: session_look.c */
typedef struct Relay Relay; /* of a rehearsal's tunnel: session_tunnel.c */

struct Session {
  uv_loop_t *loop;
  const AgentConfig *config;
  SessionState state;
  BusClient *bus;
  Supervisor *supervisor;
  SigningKey *key;
  AgentTools tools;
  Machine *machine;   /* or NULL */
  MachineLook looked; /* what it was when it was looked at last */
  bool tell_machine;  /* ... which the coordinator was not told yet */
  Identity identity;
  bool certifying, tell_certificate; /* a request about it is under way; which one is in use is to be told */
  char *new_key;                     /* of the certificate that is asked for; owned */
  int64_t next_renew_us;             /* not before, after a try that failed; monotonic */
  uv_timer_t timer;
  bool joining_in_flight, polling, complained;
  uint64_t poll_serial; /* of the newest poll; only its answer ends `polling` */
  uint32_t polled_dump, polled_drill, polled_restore, polled_prune, polled_rehearse; /* the free slots it told of */
  int64_t next_poll_us;
  int64_t next_join_us;
  uint8_t agent_nonce[ENVELOPE_NONCE_SIZE];
  uint8_t id[ENVELOPE_SESSION_SIZE]; /* from Welcome */
  unsigned epoch, reply_epoch;       /* of this session; of the reply that is being taken */
  int lease_seconds, poll_seconds;
  Look *look;                          /* under way; or NULL */
  bool looked_at;                      /* what guards the repository was found out once */
  int64_t next_look_us, look_until_us; /* monotonic; until then the first is waited for */
  JobTrack *jobs;
  Relay *relays;
  PendingResult *results;
  int64_t stop_by_us;  /* SESSION_STOPPING: results are waited for until then */
  int64_t leave_at_us; /* SESSION_STOPPING: the loop is left, whatever still hangs */
};

enum {
  SESSION_TICK_MS = 100,
  SESSION_RETRY_US = 1000 * 1000,
  SESSION_RETRY_MOST_US = 60 * 1000 * 1000,
  SESSION_REQUEST_MS = 15000
};

/* session_join.c: sends Hello, then Authenticate. */
void session_join(Session *session);
/* session_work.c: polls, progress and results that are due. */
void session_work(Session *session);
void session_add_result(Session *session, Pgseal__Result *result); /* takes it */
void session_track_news(Session *session, const char *job_id);
void session_untrack(Session *session, const char *job_id);
void session_release_results(Session *session);

/* session_machine.c */
typedef enum SlotKind { SLOT_DUMP, SLOT_DRILL, SLOT_RESTORE, SLOT_PRUNE, SLOT_REHEARSE, SLOT_KINDS } SlotKind;
typedef struct SlotUse {
  const char *capability;
  uint32_t used, total; /* total 0: the agent does no such jobs */
} SlotUse;
void session_slots(const Session *session, SlotUse out[SLOT_KINDS]);
typedef struct MachineMessage {
  Pgseal__Machine machine;
  Pgseal__Slots slots[SLOT_KINDS], *slot_list[SLOT_KINDS];
  Pgseal__Disk disks[MACHINE_DISKS], *disk_list[MACHINE_DISKS];
} MachineMessage;
/* With a poll or progress; nothing is added where there is no news. space must live until the envelope is packed. */
void session_add_machine(Session *session, Pgseal__Envelope *envelope, MachineMessage *space);

/* session_tunnel.c: frames of rehearsals. */
void session_relay_begin(Session *session, const char *job_id, uint64_t fencing);           /* again: nothing */
void session_relay_frame(Session *session, const char *job_id, Pgseal__TunnelFrame *frame); /* takes it */
void session_relay_end(Session *session, const char *job_id);
void session_relay(Session *session); /* sends what is due */

/* session_look.c: what guards the repository, when it is due. */
void session_look(Session *session);
bool session_looks(const Session *session); /* for the first time: it does not join yet */
void session_look_end(Session *session);    /* what is still under way is not told any more */

/* session_renew.c: the certificate, when it is due. */
void session_renew(Session *session);

/* Sends one envelope with the session's id and a new request id. callback's reply is checked by session_reply. */
void session_request(Session *session, Pgseal__Envelope *envelope, int timeout_ms, BusReplyCallback *callback,
                     void *user);
/* The reply if it is of kind `expected` (freed with pgseal__envelope__free_unpacked); else NULL: nobody answered, or it
 * was a failure (an "unauthorized" one makes the session join again). *why is set then; it may be NULL. */
Pgseal__Envelope *session_reply(Session *session, const Error *err, const uint8_t *data, size_t size,
                                Pgseal__Envelope__BodyCase expected, Status *why);

#endif
