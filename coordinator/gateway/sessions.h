/*
 * Who the agents are: challenges and sessions, both bounded in number. Internal to coordinator/gateway; loop thread
 * only. One live session per agent: a new one replaces the old. A challenge is good once, for 30 s.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_SESSIONS_H
#define PGSEAL_COORDINATOR_GATEWAY_SESSIONS_H

#include "common/base/buffer.h"
#include "common/bus/envelope.h"
#include "coordinator/config.h"

enum { SESSION_REPLIES = 64, CHALLENGE_COUNT = 256 };

typedef struct CachedReply { /* what was answered, in case the request is resent */
  char request_id[ENVELOPE_REQUEST_ID_LIMIT + 1];
  Buffer reply;
} CachedReply;

typedef struct Session {
  const ConfigAgent *agent; /* NULL: never used */
  uint8_t id[ENVELOPE_SESSION_SIZE];
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
  const CoordinatorConfig *config;
  Session *items; /* one per configured agent, at the same index */
  Challenge challenges[CHALLENGE_COUNT];
  size_t next_challenge; /* the oldest is replaced when all are in use */
} Sessions;

void sessions_init(Sessions *sessions, const CoordinatorConfig *config);
void sessions_release(Sessions *sessions);
Status sessions_challenge(Sessions *sessions, uint8_t nonce[ENVELOPE_NONCE_SIZE], Error *err) MUST_CHECK;
/* Checks challenge and signature, opens a session. The same message for every refusal: nothing is given away. */
Status sessions_authenticate(Sessions *sessions, const Pgseal__Authenticate *message, Session **out,
                             Error *err) MUST_CHECK;
Session *sessions_find(Sessions *sessions, const ProtobufCBinaryData *id);    /* NULL: unknown or replaced */
const Buffer *session_cached(const Session *session, const char *request_id); /* NULL: not answered yet */
void session_cache(Session *session, const char *request_id, const Buffer *reply, bool assignment);

#endif
