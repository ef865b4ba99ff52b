/* coordinator.yaml as libcyaml loads it. Internal to coordinator/config.c and coordinator/fleet. */
#ifndef PGSEAL_COORDINATOR_CONFIG_SCHEMA_H
#define PGSEAL_COORDINATOR_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

#include "coordinator/config.h"

typedef struct RawBudgets {
  int *timeout_seconds, *lock_timeout_seconds, *connections;
} RawBudgets;

typedef struct RawLock {
  char *mode;
  int *days;
} RawLock;

typedef struct RawDatabase {
  char *name, *environment, *owner;
  bool restore_approval;
  ConfigAssertion *assertions;
  unsigned assertions_count;
  RawBudgets budgets;
  RawLock *lock;
} RawDatabase;

typedef struct RawAgent {
  char *name, *public_key;
  char **capabilities;
  unsigned capabilities_count;
  char **databases;
  unsigned databases_count;
} RawAgent;

typedef struct RawDispatch {
  int *lease_seconds, *poll_seconds, *max_attempts, *agent_wait_seconds;
} RawDispatch;

typedef struct RawBusTls {
  char *ca, *ca_key, *certificate, *key;
  int *agent_certificate_seconds;
} RawBusTls;

typedef struct RawLog {
  char *level, *format;
} RawLog;

typedef struct RawTls {
  char *certificate, *key;
} RawTls;

typedef struct RawLimits {
  int *connections, *requests_per_second, *failures_per_minute;
  char **proxies;
  unsigned proxies_count;
} RawLimits;

typedef struct RawAlertRoute {
  char *name, *type, *url, *url_file, *key_file, *ca_file, *user, *password_file, *from;
  char **to;
  unsigned to_count;
  bool unencrypted;
  int *every_seconds;
} RawAlertRoute;

typedef struct RawAlerts {
  RawAlertRoute *routes;
  unsigned routes_count;
  char **fallback;
  unsigned fallback_count;
  char **accept_unlocked;
  unsigned accept_unlocked_count;
  char *link;
  int *group_seconds, *repeat_hours, *agent_lost_seconds, *errored_times, *fallen_percent, *slower_percent,
      *table_percent, *table_rows, *disk_free_percent;
  char **table_except;
  unsigned table_except_count;
} RawAlerts;

typedef struct RawReport {
  char *name, *to, *period, *cron, *time_zone, *owner, *environment;
  char **databases;
  unsigned databases_count;
  int *attach_megabytes;
} RawReport;

typedef struct RawOidcGrant {
  char *value, *role;
  char **databases;
  unsigned databases_count;
} RawOidcGrant;

typedef struct RawOidc {
  char *issuer, *client_id, *client_secret_file, *ca_file, *name, *public_url, *groups_claim, *name_claim;
  char **scopes;
  unsigned scopes_count;
  int *session_hours;
  bool id_token_only;
  RawOidcGrant *grants;
  unsigned grants_count;
} RawOidc;

typedef struct RawTraces {
  char *endpoint, *headers_file, *ca_file, *service_name;
  bool unencrypted;
} RawTraces;

typedef struct RawConfig {
  RawAlerts *alerts;
  RawReport *reports;
  unsigned reports_count;
  RawOidc *oidc;
  RawTraces *traces;
  RawLimits http_limits;
  RawTls tls;
  bool http_unencrypted;
  char *http, *bus, *ledger, *ledger_conninfo_file, *admin_token_file, *fleet, *signing_key;
  RawBusTls *bus_tls;
  RawDispatch dispatch;
  RawDatabase *databases;
  unsigned databases_count;
  RawAgent *agents, *former_agents;
  unsigned agents_count, former_agents_count;
  RawLog log;
} RawConfig;

extern const cyaml_schema_value_t coordinator_config_schema;

/* What fleet.yaml says in the same words. */
extern const cyaml_schema_value_t config_assertion_schema;
extern const cyaml_schema_field_t config_budgets_fields[], config_lock_fields[];

#endif
