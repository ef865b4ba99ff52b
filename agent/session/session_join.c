/* Joining: the agent proves by its enrolled key who it is. */
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/session/internal.h"
#include "common/base/clock.h"
#include "common/base/log.h"

static void retry_later(Session *session) {
  session->joining_in_flight = false;
  session->next_join_us = clock_monotonic_us() + SESSION_RETRY_US;
}

static void on_welcome(void *user, const Error *err, const uint8_t *data, size_t size) {
  Session *session = user;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_WELCOME, NULL);
  bool good = envelope && envelope->welcome->session.len == sizeof session->id && envelope->welcome->lease_seconds > 0;
  if (good && session->state == SESSION_JOINING) {
    memcpy(session->id, envelope->welcome->session.data, sizeof session->id);
    session->lease_seconds = (int)envelope->welcome->lease_seconds;
    session->poll_seconds = (int)envelope->welcome->poll_seconds;
    session->state = SESSION_JOINED;
    session->tell_certificate = session->identity.authority != NULL;
    session->epoch++;
    session->polling = false; /* a poll of the former session gets no job */
    session->poll_serial++;
    session->next_poll_us = 0;
    session->tell_machine =
        session->looked.cpus > 0; /* another coordinator, or one that began anew, does not know it */
    session->joining_in_flight = false;
    log_info("joined the coordinator", NULL);
  } else {
    retry_later(session);
  }
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
}

enum { CAPABILITIES = 6 };

static size_t list_capabilities(const AgentConfig *config, char *out[CAPABILITIES]) {
  size_t count = 0;
  if (config->can_dump)
    out[count++] = (char *)"dump";
  if (config->can_drill && !config->bare_only)
    out[count++] = (char *)"drill";
  if (config->bare)
    out[count++] = (char *)"bare";
  if (config->can_restore)
    out[count++] = (char *)"restore";
  if (config->can_prune)
    out[count++] = (char *)"prune";
  if (config->can_rehearse)
    out[count++] = (char *)"rehearse";
  return count;
}

enum { DATABASES_TOLD = 64 };

static void send_authenticate(Session *session, const ProtobufCBinaryData *challenge,
                              const uint8_t signature[SIGNATURE_SIZE]) {
  Pgseal__Authenticate message = PGSEAL__AUTHENTICATE__INIT;
  Pgseal__Tool tools[TOOLS_LIMIT], *tool_list[TOOLS_LIMIT];
  char *capabilities[CAPABILITIES], *databases[DATABASES_TOLD], host[256] = "";
  gethostname(host, sizeof host - 1);
  message.agent = (char *)session->config->name;
  message.challenge = *challenge;
  message.agent_nonce = (ProtobufCBinaryData){sizeof session->agent_nonce, session->agent_nonce};
  message.signature = (ProtobufCBinaryData){SIGNATURE_SIZE, (uint8_t *)signature};
  message.version = (char *)PGSEAL_VERSION;
  message.host = host;
  message.n_capabilities = list_capabilities(session->config, capabilities);
  message.capabilities = capabilities;
  for (; message.n_databases < session->config->database_count && message.n_databases < DATABASES_TOLD;
       message.n_databases++)
    databases[message.n_databases] = (char *)session->config->databases[message.n_databases].name;
  message.databases = databases;
  for (size_t i = 0; i < session->tools.count; i++) {
    pgseal__tool__init(&tools[i]);
    tools[i].name = session->tools.items[i].name;
    tools[i].version = session->tools.items[i].version;
    tool_list[i] = &tools[i];
  }
  message.n_tools = session->tools.count;
  message.tools = tool_list;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_AUTHENTICATE;
  envelope.authenticate = &message;
  session_request(session, &envelope, SESSION_REQUEST_MS, on_welcome, session);
}

static void on_challenge(void *user, const Error *err, const uint8_t *data, size_t size) {
  Session *session = user;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_CHALLENGE, NULL);
  if (!envelope || envelope->challenge->nonce.len != ENVELOPE_NONCE_SIZE || session->state != SESSION_JOINING) {
    retry_later(session);
    if (envelope)
      pgseal__envelope__free_unpacked(envelope, NULL);
    return;
  }
  Buffer statement = {0};
  uint8_t signature[SIGNATURE_SIZE];
  Error failure;
  buffer_append(&statement, session->agent_nonce, sizeof session->agent_nonce);
  buffer_append(&statement, envelope->challenge->nonce.data, envelope->challenge->nonce.len);
  buffer_append_text(&statement, session->config->name);
  if (signing_sign(session->key, "session", statement.data, statement.size, signature, &failure) == STATUS_OK)
    send_authenticate(session, &envelope->challenge->nonce, signature);
  else
    retry_later(session);
  buffer_release(&statement);
  pgseal__envelope__free_unpacked(envelope, NULL);
}

void session_join(Session *session) {
  if (session->joining_in_flight || clock_monotonic_us() < session->next_join_us)
    return;
  session->joining_in_flight = true;
  if (getrandom(session->agent_nonce, sizeof session->agent_nonce, 0) != (ssize_t)sizeof session->agent_nonce) {
    retry_later(session);
    return;
  }
  Pgseal__Hello hello = PGSEAL__HELLO__INIT;
  hello.agent = (char *)session->config->name;
  hello.nonce = (ProtobufCBinaryData){sizeof session->agent_nonce, session->agent_nonce};
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_HELLO;
  envelope.hello = &hello;
  session_request(session, &envelope, SESSION_REQUEST_MS, on_challenge, session);
}
