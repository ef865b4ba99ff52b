/*
 * Who a peer is: challenges and sessions, both bounded in number. Internal to coordinator/gateway; loop thread only.
 * One live session per agent: a new one replaces the old. A challenge is good once, for 30 s.
 *
 * A session is the identity, and the certificate of the connection is not: the bus does not say whose certificate it
 * saw, so a session belongs to whoever signed its challenge with the agent's own key, over whatever connection. Its id
 * is 32 random bytes, told to that peer alone (over TLS, off loopback). Every request is taken for the session's agent;
 * what it says of itself in the message is never looked at. Only an agent that is admitted has one: a revocation ends
 * it (sessions_end), and none can be opened any more.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_SESSIONS_H
#define PGSEAL_COORDINATOR_GATEWAY_SESSIONS_H

#include "common/base/buffer.h"
#include "common/base/names.h"
#include "common/bus/envelope.h"
#include "common/bus/bus.h"
#include "coordinator/agents/agents.h"
#include "coordinator/gateway/joining.h"

enum { SESSION_REPLIES = 64, SESSION_PLACE_SIZE = 8, CHALLENGE_COUNT = 256 };

typedef struct CachedReply { /* what was answered, in case the request is resent */
  char request_id[ENVELOPE_REQUEST_ID_LIMIT + 1];
  Buffer reply;
} CachedReply;

/* A poll that waits for work: one per agent; a newer one of the same agent replaces it. */
typedef struct Parked {
  BusRequest *request; /* NULL: none */
  Pgseal__Envelope *envelope;
  int64_t until_us; /* monotonic */
} Parked;

typedef struct Session {
  const ConfigAgent *agent;
  Parked parked;
  Joining joining; /* of the agent, whichever session it has */
  uint8_t id[ENVELOPE_SESSION_SIZE];
  char place[2 * SESSION_PLACE_SIZE + 1]; /* the id's first bytes, by which it is found */
  bool live;
  CachedReply assignment; /* apart, so that progress does not push it out: a job must not be given twice */
  CachedReply replies[SESSION_REPLIES];
  size_t next_reply;
} Session;

typedef struct Challenge {
  uint8_t nonce[ENVELOPE_NONCE_SIZE];
  int64_t expires_us; /* monotonic; 0: free */
} Challenge;

typedef struct Sessions {
  Agents *agents;
  Session **items; /* of the agent with that index; NULL: it never came */
  size_t count;
  Names places; /* of those that are live */
  Challenge challenges[CHALLENGE_COUNT];
  size_t next_challenge; /* the oldest is replaced when all are in use */
} Sessions;

void sessions_init(Sessions *sessions, Agents *agents);
void sessions_release(Sessions *sessions);
Status sessions_challenge(Sessions *sessions, uint8_t nonce[ENVELOPE_NONCE_SIZE], Error *err) MUST_CHECK;
/* Checks challenge and signature, opens a session. The same message for every refusal: nothing is given away. */
Status sessions_authenticate(Sessions *sessions, const Pgseal__Authenticate *message, Session **out,
                             Error *err) MUST_CHECK;
Session *sessions_of(Sessions *sessions, const Agent *agent); /* NULL: it never came; it need not be live */
void sessions_end(Sessions *sessions, Session *session);      /* its id is worth nothing from now on */
Session *sessions_find(Sessions *sessions, const ProtobufCBinaryData *id);    /* NULL: unknown or replaced */
const Buffer *session_cached(const Session *session, const char *request_id); /* NULL: not answered yet */
void session_cache(Session *session, const char *request_id, const Buffer *reply, bool assignment);

#endif
