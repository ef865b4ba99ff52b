/*
 * coordinator.yaml, read by libcyaml; unknown keys are errors with file and line. Paths are relative to the
 * file. An annotated example: deploy/coordinator.yaml. Owned by the CoordinatorConfig, read-only after load.
 */
#ifndef PGSEAL_COORDINATOR_CONFIG_H
#define PGSEAL_COORDINATOR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/alerts/settings.h"
#include "coordinator/network.h"
#include "coordinator/report/plans.h"
#include "coordinator/oidc/settings.h"
#include "coordinator/traces/settings.h"

typedef struct ConfigAssertion {
  const char *name, *sql;
} ConfigAssertion;
typedef struct ConfigDatabase {
  const char *name, *environment /* "production" is marked everywhere; default "" */, *owner;
  ConfigAssertion *assertions;
  size_t assertion_count;
  int timeout_seconds;      /* of a job; default 21600 */
  int lock_timeout_seconds; /* default 30 */
  int connections;          /* besides pg_dump's own, for counts; default 2 */
  bool restore_approval;    /* a restore waits until a second person approves it */
  const char *lock_mode;    /* Object Lock of what is stored of it, GOVERNANCE or COMPLIANCE; NULL: agents decide */
  int lock_days;
} ConfigDatabase;
typedef struct ConfigAgent {
  const char *name, *public_key; /* PEM path; of former agents, 64 hexadecimal digits will do */
  const char **capabilities;     /* dump, drill, restore, rehearse, prune */
  size_t capability_count;
  const char **databases; /* globs; default "*" */
  size_t database_count;
  uint8_t key[32]; /* loaded from public_key */
} ConfigAgent;

typedef struct CoordinatorConfig {
  const char *path;
  const char *http;                      /* "127.0.0.1:8420" */
  const char *tls_certificate, *tls_key; /* PEM files, for the HTTP API; both or none: NULL */
  int http_connections;                  /* of one client; default 500; 0: as many as there may be at all */
  int http_requests_per_second;          /* of one client; default 200; 0: no limit */
  int http_failures_per_minute;          /* failed authentications of one client; default 60; 0: no limit */
  Network *http_proxies;                 /* whose X-Forwarded-For is believed; default: nobody's */
  size_t http_proxy_count;
  const char *bus;         /* "tcp://127.0.0.1:8421", "tls+tcp://0.0.0.0:8421" */
  const char *ca, *ca_key; /* of bus_tls: the deployment's authority. ca NULL: there is no bus_tls; ca_key NULL: its
                              key is elsewhere, and agents can neither join nor renew here */
  const char *certificate, *certificate_key; /* of bus_tls: this coordinator's own */
  int agent_certificate_seconds;             /* how long an agent's certificate is valid; default 90 days */
  const char *ledger; /* an SQLite file, or libpq's connection string: it may hold a password, and is shown to nobody
                         (ledger_name) */
  const char *signing_key;      /* of reports: an Ed25519 key, PEM; NULL: they are not signed */
  const char *fleet;            /* a fleet.yaml that is watched; NULL: it is applied by the API */
  const char *admin_token_file; /* the first admin token; its hash is kept when no token of name "admin" exists yet */
  int lease_seconds;            /* default 30 */
  int poll_seconds;             /* default 20 */
  int max_attempts;             /* default 3 */
  int agent_wait_seconds;       /* a queued job that no live agent could take ends as no_agent after this; default 60 */
  ConfigDatabase *databases;
  size_t database_count;
  ConfigAgent *agents;
  size_t agent_count;
  ConfigAgent *former_agents; /* whose old manifests and proofs count in a rebuild; they may do nothing */
  size_t former_agent_count;
  AlertSettings alerts;
  ReportPlans reports; /* that are sent by mail */
  OidcSettings oidc;
  TraceSettings traces;
  const char *log_level, *log_format;
} CoordinatorConfig;

enum { CAPABILITIES = 6 };
#define CAPABILITIES_TEXT "dump, drill, restore, rehearse, prune and bare"
bool coordinator_config_capability(const char *name); /* is there such a one? */

Status coordinator_config_load(const char *path, CoordinatorConfig **out, Error *err) MUST_CHECK;
void coordinator_config_free(CoordinatorConfig *config);
/* Of those in this file: fleet_database knows all there are. */
const ConfigDatabase *coordinator_config_database(const CoordinatorConfig *config, const char *name);
const ConfigAgent *coordinator_config_agent(const CoordinatorConfig *config, const char *name);

#endif
