#include "coordinator/gateway/admission.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
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

static Status check_dates(const CoordinatorConfig *config, const char *pem, Error *err) {
  CertificateFacts facts;
  Status status = certificate_facts(pem, &facts, err);
  if (status)
    return error_prefix(err, "bus_tls.certificate: %s", config->certificate);
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
    status = check_dates(config, admission.certificate, err);
  if (!status)
    status = file_read_text(config->certificate_key, PEM_LIMIT, &admission.key, err);
  if (status) {
    admission_release(&admission);
    return status;
  }
  admission.authority = memory_strdup(authority_pem(authority));
  admission.revocations = revocations ? memory_strdup(revocations) : NULL;
  admission.tls = (BusTls){.authority = admission.authority,
                           .revocations = admission.revocations,
                           .certificate = admission.certificate,
                           .key = admission.key};
  *out = admission;
  return STATUS_OK;
}

Status admission_check(const CoordinatorConfig *config, Error *err) {
  CLEANUP(admission_release) Admission admission = {0};
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = config->ca ? authority_load(config->ca, config->ca_key, &authority, err) : STATUS_OK;
  return status ? status : admission_load(config, NULL, &admission, err);
}
