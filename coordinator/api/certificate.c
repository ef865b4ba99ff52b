/* Which certificate a connection gets, and taking over a new one. */
#include "common/base/log.h"
#include "coordinator/api/internal.h"

/* GnuTLS asks for the certificate in the handshake, long after the connection began: it has to stay what it is until
 * the connection ends, so each holds a reference. */
static int on_certificate(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
                          unsigned *count, gnutls_privkey_t *key) {
  (void)authorities, (void)authority_count, (void)algorithms, (void)algorithm_count;
  const Peer *peer = gnutls_session_get_ptr(session);
  if (!peer || !peer->credentials)
    return -1;
  *chain = peer->credentials->chain;
  *count = peer->credentials->count;
  *key = peer->credentials->key;
  return 0;
}

gnutls_certificate_retrieve_function2 *certificate_callback(void) {
  return on_certificate;
}

Status certificate_load(Api *api, Error *err) {
  const CoordinatorConfig *config = api->config;
  if (!config->tls_certificate)
    return STATUS_OK;
  Credentials *credentials = NULL;
  uint64_t stamp = tls_stamp(config->tls_certificate, config->tls_key);
  Status status = tls_load(config->tls_certificate, config->tls_key, &credentials, err);
  if (status)
    return status;
  tls_release(api->credentials);
  api->credentials = credentials;
  api->stamp = stamp;
  tls_log(credentials, config->tls_certificate);
  return STATUS_OK;
}

void api_reload(Api *api) {
  Error err;
  if (certificate_load(api, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "the certificate cannot be loaded; the one before stays in use", &err);
}

/* Files that are being replaced are looked at again until they are in order; only the first failure is told. */
void certificate_watch(Api *api) {
  const CoordinatorConfig *config = api->config;
  uint64_t stamp = config->tls_certificate ? tls_stamp(config->tls_certificate, config->tls_key) : 0;
  if (!stamp || stamp == api->stamp)
    return;
  Error err;
  if (certificate_load(api, &err) == STATUS_OK)
    return;
  if (stamp != api->failed_stamp)
    log_failure(LOG_LEVEL_ERROR, "the new certificate cannot be loaded; the one before stays in use", &err);
  api->failed_stamp = stamp;
}
