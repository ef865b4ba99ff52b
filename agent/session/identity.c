#include "agent/session/identity.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

void identity_release(Identity *identity) {
  free(identity->authority);
  secret_text_free(&identity->pem);
  *identity = (Identity){0};
}

static Status check(const AgentConfig *config, const Identity *identity, Error *err) {
  if (strcmp(identity->facts.name, config->name) != 0) {
    error_set(err, ERR_CONFIG, "agent.tls.identity: %s is the certificate of agent %s, not of %s", config->tls_identity,
              identity->facts.name, config->name);
    return err->status;
  }
  if (identity->facts.expires_us > clock_wall_us())
    return STATUS_OK;
  char when[CLOCK_TEXT_SIZE];
  error_set(err, ERR_CONFIG, "agent.tls.identity: the certificate in %s ran out at %s", config->tls_identity,
            clock_format(identity->facts.expires_us, when));
  error_remedy(err,
               "Check this machine's clock; if it is right, get an invitation (`pgseal agent invite %s`) and enroll.",
               config->name);
  return err->status;
}

Status identity_load(const AgentConfig *config, Identity *out, Error *err) {
  Identity identity = {0};
  if (!config->tls_ca) {
    *out = identity;
    return STATUS_OK;
  }
  Status status = file_read_text(config->tls_ca, PEM_LIMIT, &identity.authority, err);
  if (!status)
    status = file_read_text(config->tls_identity, PEM_LIMIT, &identity.pem, err);
  if (!status && certificate_facts(identity.pem, &identity.facts, err) != STATUS_OK)
    status = error_prefix(err, "agent.tls.identity: %s", config->tls_identity);
  if (!status)
    status = check(config, &identity, err);
  if (status) {
    identity_release(&identity);
    return status;
  }
  *out = identity;
  return STATUS_OK;
}

BusTls identity_tls(const Identity *identity) {
  return (BusTls){.authority = identity->authority,
                  .certificate = identity->pem,
                  .key = identity->pem,
                  .peer_name = AUTHORITY_COORDINATOR_NAME};
}

int64_t identity_renew_us(const Identity *identity) {
  int64_t issued_us = identity->facts.begins_us + (int64_t)AUTHORITY_SKEW_SECONDS * 1000000;
  return identity->facts.expires_us - (identity->facts.expires_us - issued_us) / 3;
}

Status identity_replace(Identity *identity, const AgentConfig *config, const char *key, const char *certificate,
                        Error *err) {
  Identity next = {.authority = memory_strdup(identity->authority), .pem = memory_format("%s%s", key, certificate)};
  Status status = certificate_facts(certificate, &next.facts, err);
  if (!status && strcmp(next.facts.name, config->name) != 0)
    status = error_set(err, ERR_PROTOCOL, "the coordinator sent a certificate of agent %s", next.facts.name);
  if (!status)
    status = file_write_atomic(config->tls_identity, 0600, next.pem, strlen(next.pem), err);
  if (status) {
    identity_release(&next);
    return status;
  }
  identity_release(identity);
  *identity = next;
  return STATUS_OK;
}
