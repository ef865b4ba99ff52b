#include "coordinator/gateway/sessions.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"

enum { CHALLENGE_US = 30 * 1000 * 1000 };

void sessions_init(Sessions *sessions, Agents *agents) {
  *sessions = (Sessions){.agents = agents};
}

void sessions_release(Sessions *sessions) {
  for (size_t i = 0; i < sessions->count; i++) {
    Session *session = sessions->items[i];
    if (!session)
      continue;
    buffer_release(&session->assignment.reply);
    for (size_t j = 0; j < SESSION_REPLIES; j++)
      buffer_release(&session->replies[j].reply);
    free(session);
  }
  free(sessions->items);
  names_release(&sessions->places);
}

Session *sessions_of(Sessions *sessions, const Agent *agent) {
  return agent->index < sessions->count ? sessions->items[agent->index] : NULL;
}

void sessions_end(Sessions *sessions, Session *session) {
  if (session->live)
    names_remove(&sessions->places, session->place);
  session->live = false;
  explicit_bzero(session->id, sizeof session->id);
}

static Session *session_for(Sessions *sessions, const Agent *agent) {
  while (sessions->count <= agent->index)
    ARRAY_PUSH(sessions->items, sessions->count, NULL);
  if (!sessions->items[agent->index])
    sessions->items[agent->index] = memory_alloc(sizeof(Session));
  return sessions->items[agent->index];
}

static Status random_bytes(uint8_t *out, size_t size, Error *err) {
  return getrandom(out, size, 0) == (ssize_t)size ? STATUS_OK
                                                  : error_set(err, ERR_INTERNAL, "no random bytes to be had");
}

Status sessions_challenge(Sessions *sessions, uint8_t nonce[ENVELOPE_NONCE_SIZE], Error *err) {
  Challenge *challenge = &sessions->challenges[sessions->next_challenge++ % CHALLENGE_COUNT];
  Status status = random_bytes(challenge->nonce, sizeof challenge->nonce, err);
  if (status)
    return status;
  challenge->expires_us = clock_monotonic_us() + CHALLENGE_US;
  memcpy(nonce, challenge->nonce, ENVELOPE_NONCE_SIZE);
  return STATUS_OK;
}

/* Is it one of ours, and fresh? It is spent by asking. */
static bool spend_challenge(Sessions *sessions, const ProtobufCBinaryData *nonce) {
  if (nonce->len != ENVELOPE_NONCE_SIZE)
    return false;
  int64_t now = clock_monotonic_us();
  for (size_t i = 0; i < CHALLENGE_COUNT; i++) {
    Challenge *challenge = &sessions->challenges[i];
    if (challenge->expires_us > now && CRYPTO_memcmp(challenge->nonce, nonce->data, nonce->len) == 0) {
      challenge->expires_us = 0;
      return true;
    }
  }
  return false;
}

static bool signature_good(const ConfigAgent *agent, const Pgseal__Authenticate *message) {
  if (message->signature.len != SIGNATURE_SIZE || message->agent_nonce.len != ENVELOPE_NONCE_SIZE)
    return false;
  Buffer statement = {0};
  buffer_append(&statement, message->agent_nonce.data, message->agent_nonce.len);
  buffer_append(&statement, message->challenge.data, message->challenge.len);
  buffer_append_text(&statement, message->agent);
  bool good = signing_verify(agent->key, "session", statement.data, statement.size, message->signature.data);
  buffer_release(&statement);
  return good;
}

Status sessions_authenticate(Sessions *sessions, const Pgseal__Authenticate *message, Session **out, Error *err) {
  const Agent *agent = agents_find(sessions->agents, message->agent);
  bool fresh = spend_challenge(sessions, &message->challenge);
  if (!agent || !agent_admitted(agent) || !fresh || !signature_good(&agent->who, message)) {
    char name[64];
    error_set(err, ERR_UNAUTHORIZED, "the coordinator does not know this agent by this key");
    error_object(err, "%s", text_clean(message->agent, name, sizeof name)); /* what it calls itself */
    error_remedy(err, "If it should join: `pgseal agent invite`, and `pgseal-agent enroll`; or add its name and public "
                      "key under `agents` in coordinator.yaml, and restart the coordinator.");
    return err->status;
  }
  Session *session = session_for(sessions, agent);
  sessions_end(sessions, session);
  Status status = random_bytes(session->id, sizeof session->id, err);
  if (status)
    return status;
  session->agent = &agent->who;
  session->live = true;
  text_hex(session->id, SESSION_PLACE_SIZE, session->place);
  names_put(&sessions->places, session->place, session);
  session->assignment.request_id[0] = 0;
  for (size_t i = 0; i < SESSION_REPLIES; i++)
    session->replies[i].request_id[0] = 0;
  *out = session;
  return STATUS_OK;
}

Session *sessions_find(Sessions *sessions, const ProtobufCBinaryData *id) {
  if (id->len != ENVELOPE_SESSION_SIZE)
    return NULL;
  char place[2 * SESSION_PLACE_SIZE + 1];
  text_hex(id->data, SESSION_PLACE_SIZE, place);
  Session *session = names_get(&sessions->places, place);
  return session && CRYPTO_memcmp(session->id, id->data, id->len) == 0 ? session : NULL;
}

const Buffer *session_cached(const Session *session, const char *request_id) {
  if (strcmp(session->assignment.request_id, request_id) == 0)
    return &session->assignment.reply;
  for (size_t i = 0; i < SESSION_REPLIES; i++)
    if (strcmp(session->replies[i].request_id, request_id) == 0)
      return &session->replies[i].reply;
  return NULL;
}

void session_cache(Session *session, const char *request_id, const Buffer *reply, bool assignment) {
  CachedReply *cached = assignment ? &session->assignment : &session->replies[session->next_reply++ % SESSION_REPLIES];
  snprintf(cached->request_id, sizeof cached->request_id, "%s", request_id);
  buffer_clear(&cached->reply);
  buffer_append(&cached->reply, reply->data, reply->size);
}
