/* The issuer, asked once, for `check`. */
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/crypto/authority.h"
#include "coordinator/oidc/oidc.h"

typedef struct Check {
  Oidc *oidc;
  OidcOutcome outcome;
} Check;

static void on_checked(void *user, uint64_t flow) {
  Check *it = user;
  if (oidc_take(it->oidc, flow, &it->outcome))
    oidc_close(it->oidc, NULL, NULL);
}

Status oidc_check(const OidcSettings *settings, Error *err) {
  CLEANUP(secret_text_free) char *secret = NULL;
  const OidcSecrets none = {{0}, {0}, {0}, {0}};
  Check it = {0};
  uint64_t flow = 0;
  uv_loop_t loop;
  if (!settings->issuer)
    return STATUS_OK;
  Status status = oidc_settings_secret(settings, &secret, err);
  if (status != STATUS_OK)
    return status;
  uv_loop_init(&loop);
  status = oidc_open(&loop, settings, on_checked, &it, &it.oidc, err);
  if (status == STATUS_OK && (status = oidc_start(it.oidc, &(OidcAsked){.secrets = &none}, &flow, err)) != STATUS_OK)
    oidc_close(it.oidc, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  free(it.outcome.url);
  if (status == STATUS_OK && (status = it.outcome.status) != STATUS_OK)
    *err = it.outcome.err;
  return status ? error_prefix(err, "oidc: %s", settings->issuer) : STATUS_OK;
}
