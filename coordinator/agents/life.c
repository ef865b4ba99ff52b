/* What an agent's life consists of: invited, enrolled, renewed, revoked, expired. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/buffer.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "coordinator/agents/internal.h"

enum { SECRET_BYTES = 32, INVITATION_MOST_SECONDS = 30 * 86400, RENEWALS = 20, GLOB_LIMIT = 128 };
#define KEPT_US ((int64_t)400 * 86400 * 1000000)

static Status walk(LedgerEnrollment *row, AgentEvent event, Error *err) {
  if (agent_walk(&row->state, event))
    return STATUS_OK;
  return error_set(err, ERR_CONFLICT, "agent %s is %s", row->name, agent_state_name(row->state));
}

static void forget_answer(LedgerEnrollment *row) {
  row->spent_hash[0] = row->request_sha256[0] = 0;
  free(row->certificate);
  row->certificate = NULL;
}

/* ---- invitations ---- */

static bool capabilities_valid(const json_t *list) {
  size_t count = json_array_size(list);
  for (size_t i = 0; i < count; i++) {
    const char *text = json_string_value(json_array_get(list, i));
    if (!text || !coordinator_config_capability(text))
      return false;
    for (size_t j = 0; j < i; j++)
      if (strcmp(text, json_string_value(json_array_get(list, j))) == 0)
        return false;
  }
  return count >= 1;
}

static bool globs_valid(const json_t *list) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-*?[]!";
  size_t count = json_array_size(list);
  for (size_t i = 0; i < count; i++) {
    const char *text = json_string_value(json_array_get(list, i));
    if (!text || !*text || strlen(text) > GLOB_LIMIT || strspn(text, allowed) != strlen(text))
      return false;
  }
  return count >= 1 && count <= AGENT_LIST_LIMIT;
}

/* An invitation may be older than the configuration: bus_tls may have been there when it was made, and be gone now. */
static Status check_authority(const Agents *agents, Error *err) {
  if (agents->authority && agents->config->ca_key)
    return STATUS_OK;
  error_set(err, ERR_CONFIG, "this coordinator has no certificate authority to admit agents with");
  error_remedy(err, "Name it as bus_tls in coordinator.yaml; `pgseal-coordinator init` makes one.");
  return err->status;
}

static Status check_wish(const Agents *agents, const char *name, const json_t *capabilities, const json_t *databases,
                         int64_t seconds, Error *err) {
  Status status = check_authority(agents, err);
  if (status)
    return status;
  if (!text_name_valid(name))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "an agent's name must be 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first");
  if (!capabilities_valid(capabilities))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"capabilities\" must be a list of one or more of " CAPABILITIES_TEXT);
  if (!globs_valid(databases))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "\"databases\" must be a list of 1 to %d names or globs of databases, such as prod-*",
                     AGENT_LIST_LIMIT);
  if (seconds < 1 || seconds > INVITATION_MOST_SECONDS)
    return error_set(err, ERR_INVALID_ARGUMENT, "an invitation lasts from 1 second to 30 days");
  return STATUS_OK;
}

static Status make_token(const Agents *agents, char token[AGENT_TOKEN_SIZE], Error *err) {
  uint8_t random[SECRET_BYTES];
  char base64[64], fingerprint[SHA256_HEX_SIZE];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set(err, ERR_INTERNAL, "no random bytes to be had");
  EVP_EncodeBlock((unsigned char *)base64, random, sizeof random);
  for (char *at = base64; *at; at++)
    *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? '\0' : *at;
  authority_fingerprint(agents->authority, fingerprint);
  snprintf(token, AGENT_TOKEN_SIZE, AGENT_TOKEN_PREFIX "%s_%s", fingerprint, base64);
  explicit_bzero(base64, sizeof base64);
  explicit_bzero(random, sizeof random);
  return STATUS_OK;
}

Status agents_invite(Agents *agents, const char *name, json_t *capabilities, json_t *databases, int64_t seconds,
                     const AgentsActor *actor, char token[AGENT_TOKEN_SIZE], const Agent **out, Error *err) {
  Status status = check_wish(agents, name, capabilities, databases, seconds, err);
  const Agent *known = status ? NULL : agents_find(agents, name);
  if (known && (known->listed || agent_state_admitted(known->row.state))) {
    error_set(err, ERR_CONFLICT, "agent %s is %s already", name,
              known->listed ? "listed in coordinator.yaml" : "enrolled");
    error_remedy(err, "Choose another name%s.", known->listed ? "" : ", or revoke it first");
    return err->status;
  }
  LedgerEnrollment row = known ? agents_copy(&known->row) : (LedgerEnrollment){.state = AGENT_INVITED};
  if (!status && known)
    status = walk(&row, AGENT_EVENT_INVITE, err);
  char text[AGENT_TOKEN_SIZE];
  if (!status)
    status = make_token(agents, text, err);
  if (status) {
    ledger_enrollment_release(&row);
    return status;
  }
  if (!row.name)
    row.name = memory_strdup(name);
  json_decref(row.capabilities);
  json_decref(row.databases);
  row.capabilities = json_incref(capabilities);
  row.databases = json_incref(databases);
  row.invited_us = clock_wall_us();
  row.token_expires_us = row.invited_us + seconds * 1000000;
  sha256_hex(text, strlen(text), row.token_hash);
  forget_answer(&row);
  AgentsChange change = {.kind = "agent.invited",
                         .actor = actor->name,
                         .address = actor->address,
                         .detail = json_pack("{s:O, s:O, s:I}", "capabilities", capabilities, "databases", databases,
                                             "token_expires_us", (json_int_t)row.token_expires_us)};
  status = agents_save(agents, &row, &change, out, err);
  ledger_enrollment_release(&row);
  if (!status)
    memcpy(token, text, sizeof text);
  explicit_bzero(text, sizeof text);
  return status;
}

/* ---- enrolment ---- */

/* Hashes are compared: there is nothing to learn from how long it takes. */
static const Agent *invited_by(const Agents *agents, const char *hash) {
  const Agent *found = NULL;
  for (size_t i = 0; i < agents->count; i++) {
    const Agent *agent = agents->items[i];
    if (!agent->listed && agent->row.state == AGENT_INVITED && strcmp(agent->row.token_hash, hash) == 0)
      found = agent;
  }
  return found && found->row.token_expires_us > clock_wall_us() ? found : NULL;
}

/* Was this very request answered, and the answer perhaps lost? NULL: no. */
static const Agent *answered(const Agents *agents, const AgentRequest *request, const char *hash) {
  char digest[SHA256_HEX_SIZE];
  sha256_hex(request->request, strlen(request->request), digest);
  for (size_t i = 0; i < agents->count; i++) {
    const Agent *agent = agents->items[i];
    const LedgerEnrollment *row = &agent->row;
    if (!agent->listed && row->state == AGENT_ENROLLED && row->certificate && strcmp(row->spent_hash, hash) == 0 &&
        strcmp(row->request_sha256, digest) == 0 && row->token_expires_us > clock_wall_us() &&
        memcmp(agent->who.key, request->public_key, sizeof request->public_key) == 0)
      return agent;
  }
  return NULL;
}

static bool signature_good(const AgentRequest *request) {
  CLEANUP(buffer_release) Buffer statement = {0};
  buffer_append(&statement, request->token, strlen(request->token) + 1);
  buffer_append_text(&statement, request->request);
  bool good = signing_verify(request->public_key, "enroll", statement.data, statement.size, request->signature);
  explicit_bzero(statement.data, statement.size);
  return good;
}

/* Who signed what must stay clear: no two agents ever have one key, and a key that was revoked stays so. */
static Status check_key(const Agents *agents, const Agent *self, const AgentRequest *request, const char *hex,
                        Error *err) {
  for (size_t i = 0; i < agents->count; i++) {
    const Agent *other = agents->items[i];
    if (other != self && memcmp(other->who.key, request->public_key, sizeof request->public_key) == 0)
      return error_set(err, ERR_CONFLICT, "agent %s has this signing key; each agent needs its own", other->who.name);
  }
  CLEANUP_FREE char *owner = NULL;
  bool revoked = false;
  Status status = ledger_signing_key_get(agents->ledger, hex, &owner, &revoked, err);
  if (status || !owner)
    return status;
  if (strcmp(owner, self->who.name) != 0)
    return error_set(err, ERR_CONFLICT, "agent %s had this signing key; each agent needs its own", owner);
  if (revoked) {
    error_set(err, ERR_CONFLICT, "agent %s was revoked with this signing key", owner);
    error_remedy(err, "Enroll with a new one: in another --dir, or after the old key was moved away.");
    return err->status;
  }
  return STATUS_OK;
}

static Status admit(Agents *agents, const Agent *agent, const AgentRequest *request, const Agent **out, Issued *issued,
                    Error *err) {
  char hex[PUBLIC_KEY_HEX_SIZE];
  text_hex(request->public_key, sizeof request->public_key, hex);
  CLEANUP(issued_release) Issued certificate = {0};
  Status status = check_key(agents, agent, request, hex, err);
  if (!status)
    status = authority_issue_agent(agents->authority, request->request, agent->who.name,
                                   agents->config->agent_certificate_seconds, &certificate, err);
  if (status)
    return status;
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = agents_copy(&agent->row);
  status = walk(&row, AGENT_EVENT_ENROLL, err);
  if (status)
    return status;
  free(row.public_key);
  free(row.serial);
  row.public_key = memory_strdup(hex);
  row.serial = memory_strdup(certificate.serial);
  memcpy(row.spent_hash, row.token_hash, sizeof row.spent_hash);
  sha256_hex(request->request, strlen(request->request), row.request_sha256);
  free(row.certificate);
  row.certificate = memory_strdup(certificate.pem);
  row.token_hash[0] = 0;
  row.enrolled_us = row.issued_us = clock_wall_us();
  row.expires_us = certificate.expires_us;
  row.revoked_us = 0;
  AgentsChange change = {.kind = "agent.enrolled",
                         .address = request->address,
                         .enrolled = true,
                         .issued = &certificate,
                         .detail = json_pack("{s:s, s:s, s:I, s:O, s:O}", "public_key", hex, "serial",
                                             certificate.serial, "expires_us", (json_int_t)certificate.expires_us,
                                             "capabilities", row.capabilities, "databases", row.databases)};
  status = agents_save(agents, &row, &change, out, err);
  if (!status) {
    *issued = certificate;
    certificate = (Issued){0};
  }
  return status;
}

Status agents_enroll(Agents *agents, const AgentRequest *request, const Agent **out, Issued *issued, Error *err) {
  char hash[SHA256_HEX_SIZE];
  sha256_hex(request->token, strlen(request->token), hash);
  const Agent *before = answered(agents, request, hash), *agent = before ? before : invited_by(agents, hash);
  if (!agent || !signature_good(request)) {
    error_set(err, ERR_UNAUTHORIZED, "the invitation is unknown, used, revoked or expired");
    error_remedy(err, "Ask for another one: `pgseal agent invite`. If nobody of yours has used this one, revoke the "
                      "agent: somebody else has.");
    return err->status;
  }
  Status status = check_authority(agents, err);
  if (status || !before)
    return status ? status : admit(agents, agent, request, out, issued, err);
  *issued = (Issued){.pem = memory_strdup(agent->row.certificate), .expires_us = agent->row.expires_us};
  snprintf(issued->serial, sizeof issued->serial, "%s", agent->row.serial);
  *out = agent;
  return STATUS_OK;
}

/* ---- renewal ---- */

Status agents_renew(Agents *agents, const Agent *agent, const char *request, Issued *issued, Error *err) {
  if (agent->listed || !agents->authority)
    return error_set(err, ERR_CONFIG, "agent %s is listed in coordinator.yaml: it has no certificate to renew",
                     agent->who.name);
  int64_t now = clock_wall_us();
  /* A certificate is a row for good: an agent gets as many as it can need, not as many as it likes. */
  if (now >= agent->row.issued_us &&
      now - agent->row.issued_us < (agent->row.expires_us - agent->row.issued_us) / RENEWALS)
    return error_set(err, ERR_TOO_MANY, "the certificate of agent %s was made a moment ago", agent->who.name);
  CLEANUP(issued_release) Issued certificate = {0};
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = agents_copy(&agent->row);
  Status status = walk(&row, AGENT_EVENT_RENEW, err);
  if (!status)
    status = authority_issue_agent(agents->authority, request, agent->who.name,
                                   agents->config->agent_certificate_seconds, &certificate, err);
  if (status)
    return status;
  free(row.serial);
  row.serial = memory_strdup(certificate.serial);
  row.issued_us = now;
  row.expires_us = certificate.expires_us;
  forget_answer(&row);
  AgentsChange change = {.kind = "agent.renewed",
                         .issued = &certificate,
                         .detail = json_pack("{s:s, s:I}", "serial", certificate.serial, "expires_us",
                                             (json_int_t)certificate.expires_us)};
  status = agents_save(agents, &row, &change, NULL, err);
  if (!status) {
    *issued = certificate;
    certificate = (Issued){0};
  }
  return status;
}

Status agents_renewed(Agents *agents, const Agent *agent, const char *serial, Error *err) {
  if (agent->listed || agent->row.state != AGENT_RENEWING || strcmp(agent->row.serial, serial) != 0)
    return STATUS_OK; /* said twice, or of a certificate that was never used */
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = agents_copy(&agent->row);
  Status status = walk(&row, AGENT_EVENT_RENEWED, err);
  if (status)
    return status;
  AgentsChange change = {.kind = "agent.certificate_in_use", .detail = json_pack("{s:s}", "serial", row.serial)};
  return agents_save(agents, &row, &change, NULL, err);
}

/* ---- the end ---- */

Status agents_revoke(Agents *agents, const char *name, const AgentsActor *actor, Error *err) {
  const Agent *agent = agents_find(agents, name);
  if (!agent) {
    error_set(err, ERR_NOT_FOUND, "there is no agent %s", name);
    error_remedy(err, "`pgseal agents` lists them.");
    return err->status;
  }
  if (agent->listed) {
    error_set(err, ERR_CONFLICT, "agent %s is listed in coordinator.yaml", name);
    error_remedy(err, "Take it out of `agents` there, and restart the coordinator.");
    return err->status;
  }
  if (agent->row.state == AGENT_REVOKED)
    return STATUS_OK;
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = agents_copy(&agent->row);
  Status status = walk(&row, AGENT_EVENT_REVOKE, err);
  row.token_hash[0] = 0;
  forget_answer(&row);
  row.revoked_us = clock_wall_us();
  AgentsChange change = {.kind = "agent.revoked", .actor = actor->name, .address = actor->address, .revoke = true};
  return status ? status : agents_save(agents, &row, &change, NULL, err);
}

static void pass(Agents *agents, const Agent *agent, AgentEvent event) {
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = agents_copy(&agent->row);
  AgentsChange change = {.kind = event == AGENT_EVENT_EXPIRE ? "agent.expired" : "agent.unexpired",
                         .detail = json_pack("{s:s}", "was", agent_state_name(row.state))};
  Error err;
  Status status = walk(&row, event, &err);
  if (status)
    json_decref(change.detail);
  else
    status = agents_save(agents, &row, &change, NULL, &err);
  if (status)
    log_failure(LOG_LEVEL_ERROR, "what time did to an agent could not be recorded; it is tried again", &err);
}

/* A clock may be wrong, and be set right again: time alone does nothing to an agent that it does not undo. So what has
 * expired keeps its token's hash, which tells an invitation from an agent that was in. */
void agents_tick(Agents *agents) {
  int64_t now = clock_wall_us();
  for (size_t i = 0; i < agents->count; i++) {
    const Agent *agent = agents->items[i];
    const LedgerEnrollment *row = &agent->row;
    bool expired = row->state == AGENT_EXPIRED;
    if (agent->listed || row->state == AGENT_REVOKED)
      continue;
    bool invited = row->token_hash[0] != 0;
    /* Ledgers of before that have invitations without the hash: their certificate is what was revoked. */
    int64_t until_us = invited ? row->token_expires_us : row->revoked_us ? 0 : row->expires_us;
    if (expired != (until_us <= now))
      pass(agents, agent,
           !expired  ? AGENT_EVENT_EXPIRE
           : invited ? AGENT_EVENT_TOKEN_LASTS
                     : AGENT_EVENT_CERTIFICATE_LASTS);
  }
}

Status agents_revocations(const Agents *agents, char **pem, Error *err) {
  char **serials = NULL;
  size_t count = 0;
  *pem = NULL;
  if (!agents->authority || !agents->config->ca_key)
    return STATUS_OK;
  /* Those that ran out long ago are left out; long, since the clock may be ahead, and the list stays when it is not. */
  int64_t since_us = clock_wall_us() - KEPT_US;
  Status status = ledger_certificate_revoked(agents->ledger, since_us, &serials, &count, err);
  if (!status)
    status = authority_revocations(agents->authority, (const char *const *)serials, count, pem, err);
  for (size_t i = 0; i < count; i++)
    free(serials[i]);
  free(serials);
  return status;
}
