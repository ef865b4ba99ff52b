/*
 * What coordinator.yaml says of sign-in by OpenID Connect (`oidc:`). Owned by the CoordinatorConfig, read-only after
 * load. The client's secret is in a file that is only named here: it is read whenever it is needed, and never kept.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_SETTINGS_H
#define PGSEAL_COORDINATOR_OIDC_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "coordinator/settings_from.h"

/* Who has this value in the groups' claim gets this role, for these databases. */
typedef struct OidcGrant {
  const char *value, *role;
  const char *databases; /* a scope, as the ledger keeps a token's; NULL: all */
  char key[65];          /* of what it gives, by whom: a session made by it is over when it is another */
} OidcGrant;

typedef struct OidcSettings {
  const char *issuer; /* NULL: there is no sign-in by OpenID Connect */
  const char *client_id;
  const char *client_secret_file; /* a path; NULL: a public client, which has no secret */
  const char *ca_file;            /* whom it trusts; NULL: the system's */
  const char *name;               /* as the sign-in page calls it; default: the issuer's host */
  const char *public_url;         /* where browsers find the dashboard, without a slash at its end */
  const char *scope;              /* of the request; default "openid email profile" */
  const char *groups_claim;       /* default "groups"; "a.b": the member b of a */
  const char *name_claim;         /* default "email" */
  int session_hours;              /* default 12 */
  bool id_token_only;             /* what is not in the ID token is not asked for at the userinfo endpoint */
  OidcGrant *grants;              /* the first that fits counts */
  size_t grant_count;
} OidcSettings;

struct RawOidc; /* config_schema.h */
/* raw NULL: none. ERR_CONFIG. */
Status oidc_settings_take(const SettingsFrom *from, const struct RawOidc *raw, OidcSettings *out,
                          Error *err) MUST_CHECK;
void oidc_settings_release(OidcSettings *settings);
/* By its key; NULL: there is none any more. */
const OidcGrant *oidc_settings_grant(const OidcSettings *settings, const char *key);
/* New, freed by secret_text_free; NULL for a public client. ERR_CONFIG: the file is not there, empty, or others may
 * read it. */
Status oidc_settings_secret(const OidcSettings *settings, char **out, Error *err) MUST_CHECK;

/* Is it https://, or http:// to this very machine (loopback: an address, or localhost)? Bounded, without a user's name
 * and without a fragment. *loopback (or NULL): it is to this machine. */
bool oidc_url_valid(const char *url, bool *loopback);

#endif
