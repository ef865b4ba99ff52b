#include "coordinator/gateway/admission.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"

void admission_release(Admission *admission) {
  free(admission->authority);
  free(admission->certificate);
  free(admission->revocations);
  secret_text_free(&admission->key);
  *admission = (Admission){0};
}

static void cleanup_authority(Authority **authority) {
  authority_free(*authority);
}

#define SOON_US ((int64_t)30 * 86400 * 1000000)

static Status check_dates(const CoordinatorConfig *config, Admission *admission, Error *err) {
  CertificateFacts facts;
  Status status = certificate_facts(admission->certificate, &facts, err);
  if (status)
    return error_prefix(err, "bus_tls.certificate: %s", config->certificate);
  admission->expires_us = facts.expires_us;
  int64_t now = clock_wall_us();
  if (now >= facts.begins_us && now < facts.expires_us)
    return STATUS_OK;
  char when[CLOCK_TEXT_SIZE];
  error_set(err, ERR_CONFIG, "bus_tls.certificate: %s %s %s", config->certificate,
            now < facts.begins_us ? "is not valid before" : "is not valid since",
            clock_format(now < facts.begins_us ? facts.begins_us : facts.expires_us, when));
  error_remedy(err, "Check this machine's clock, or make a new one: pgseal-coordinator certificate --config %s",
               config->path);
  return err->status;
}

/* Two files, which are not replaced at once: nobody could be let in with the one of before and the other of after. */
static Status check_pair(const CoordinatorConfig *config, const Admission *admission, Error *err) {
  if (certificate_has_key(admission->certificate, admission->key))
    return STATUS_OK;
  error_set(err, ERR_KEY_UNREADABLE, "bus_tls: the key %s does not belong to the certificate %s",
            config->certificate_key, config->certificate);
  error_remedy(err,
               "If they are just being replaced: reload once they are. If that broke off, make them anew: "
               "pgseal-coordinator certificate --config %s",
               config->path);
  return err->status;
}

void admission_log(const Admission *admission, const CoordinatorConfig *config) {
  int64_t left_us = admission->expires_us - clock_wall_us();
  char until[CLOCK_TEXT_SIZE];
  if (!admission->certificate || left_us >= SOON_US)
    return;
  clock_format(admission->expires_us, until);
  if (left_us > 0)
    log_warn("the bus's certificate expires soon; make a new one: pgseal-coordinator certificate", "certificate",
             config->certificate, "expires", until, NULL);
  else
    log_error("the bus's certificate has expired: agents refuse it; make a new one: pgseal-coordinator certificate",
              "certificate", config->certificate, "expired", until, NULL);
}

Status admission_load(const CoordinatorConfig *config, const char *revocations, Admission *out, Error *err) {
  Admission admission = {0};
  if (!config->ca) {
    *out = admission;
    return STATUS_OK;
  }
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = authority_load(config->ca, NULL, &authority, err);
  if (!status)
    status = file_read_text(config->certificate, PEM_LIMIT, &admission.certificate, err);
  if (!status)
    status = check_dates(config, &admission, err);
  if (!status)
    status = file_read_text(config->certificate_key, PEM_LIMIT, &admission.key, err);
  if (!status)
    status = check_pair(config, &admission, err);
  if (status) {
    admission_release(&admission);
    return status;
  }
  admission.authority = memory_strdup(authority_pem(authority));
  admission.tls =
      (BusTls){.authority = admission.authority, .certificate = admission.certificate, .key = admission.key};
  admission_revoke(&admission, revocations);
  *out = admission;
  return STATUS_OK;
}

void admission_revoke(Admission *admission, const char *revocations) {
  free(admission->revocations);
  admission->revocations = revocations ? memory_strdup(revocations) : NULL;
  admission->tls.revocations = admission->revocations;
}

Status admission_check(const CoordinatorConfig *config, Error *err) {
  CLEANUP(admission_release) Admission admission = {0};
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = config->ca ? authority_load(config->ca, config->ca_key, &authority, err) : STATUS_OK;
  return status ? status : admission_load(config, NULL, &admission, err);
}
