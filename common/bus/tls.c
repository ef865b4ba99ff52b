#include "common/bus/tls.h"

#include <nng/nng.h>
#include <nng/transport/tls/tls.h>

Status bus_tls_config(const BusTls *tls, nng_tls_mode mode, nng_tls_config **out, Error *err) {
  nng_tls_config *config = NULL;
  if (!tls) {
    error_set(err, ERR_CONFIG, "tls+tcp:// needs certificates, and none are named");
    error_remedy(err, "Name them: `bus_tls` in coordinator.yaml (`pgseal-coordinator init` makes them), `agent.tls` in "
                      "agent.yaml (`pgseal-agent enroll` gets them).");
    return err->status;
  }
  int rc = nng_tls_register();
  if (!rc)
    rc = nng_tls_config_alloc(&config, mode);
  if (!rc)
    rc = nng_tls_config_version(config, NNG_TLS_1_2, NNG_TLS_1_2); /* what Debian's mbedTLS 2.28 has */
  if (!rc)
    rc = nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED);
  if (!rc)
    rc = nng_tls_config_ca_chain(config, tls->authority, tls->revocations);
  if (!rc)
    rc = nng_tls_config_own_cert(config, tls->certificate, tls->key, NULL);
  if (!rc && mode == NNG_TLS_MODE_CLIENT)
    rc = nng_tls_config_server_name(config, tls->peer_name);
  if (!rc) {
    *out = config;
    return STATUS_OK;
  }
  if (config)
    nng_tls_config_free(config);
  return error_set(err, ERR_KEY_UNREADABLE, "the bus cannot use its certificates: %s", nng_strerror(rc));
}
