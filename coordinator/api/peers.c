/* The connections of the API: who is there, and with which certificate each began. */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
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

gnutls_certificate_retrieve_function2 *peers_certificate(void) {
  return on_certificate;
}

static void begin(Api *api, struct MHD_Connection *connection, void **context) {
  Peer *peer = memory_alloc(sizeof *peer);
  peer->api = api;
  peer->credentials = tls_reference(api->credentials);
  peer->next = api->peers;
  if (api->peers)
    api->peers->previous = peer;
  api->peers = peer;
  *context = peer;
  const union MHD_ConnectionInfo *info =
      api->credentials ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
  if (info && info->tls_session)
    gnutls_session_set_ptr(info->tls_session, peer);
}

static void end(Api *api, Peer *peer) {
  if (peer->previous)
    peer->previous->next = peer->next;
  else
    api->peers = peer->next;
  if (peer->next)
    peer->next->previous = peer->previous;
  tls_release(peer->credentials);
  free(peer);
}

void peers_notify(void *user, struct MHD_Connection *connection, void **context,
                  enum MHD_ConnectionNotificationCode code) {
  if (code == MHD_CONNECTION_NOTIFY_STARTED)
    begin(user, connection, context);
  else if (*context)
    end(user, *context);
}

/* ---- the certificate ---- */

Status peers_load_certificate(Api *api, Error *err) {
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
  if (peers_load_certificate(api, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "the certificate cannot be loaded; the one before stays in use", &err);
}

/* Files that are being replaced are looked at again until they are in order; only the first failure is told. */
void peers_watch_certificate(Api *api) {
  const CoordinatorConfig *config = api->config;
  uint64_t stamp = config->tls_certificate ? tls_stamp(config->tls_certificate, config->tls_key) : 0;
  if (!stamp || stamp == api->stamp)
    return;
  Error err;
  if (peers_load_certificate(api, &err) == STATUS_OK)
    return;
  if (stamp != api->failed_stamp)
    log_failure(LOG_LEVEL_ERROR, "the new certificate cannot be loaded; the one before stays in use", &err);
  api->failed_stamp = stamp;
}
