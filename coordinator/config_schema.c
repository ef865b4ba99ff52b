#include "coordinator/config_schema.h"

#include "common/config/yaml.h"

enum {
  LIST_LIMIT = 10000,
  GLOBS_LIMIT = 100,
  SCOPES_LIMIT = 30,
  GRANTS_LIMIT = 1000,
  PROXY_LIMIT = 64,
  ROUTE_LIMIT = 100,
  TABLE_GLOBS = 1000,
  SQL_LIMIT = 64 << 10,
  TEXT_LIMIT = 4096
};

#define OPTIONAL_TEXT(key, type, member)                                                                               \
  CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 1, TEXT_LIMIT)
#define REQUIRED_TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_LIMIT)
#define OPTIONAL_INT(key, type, member) CYAML_FIELD_INT_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member)

static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_LIMIT)};

static const cyaml_schema_field_t assertion_fields[] = {
    REQUIRED_TEXT("name", ConfigAssertion, name),
    CYAML_FIELD_STRING_PTR("sql", CYAML_FLAG_POINTER, ConfigAssertion, sql, 1, SQL_LIMIT),
    CYAML_FIELD_END,
};
const cyaml_schema_value_t config_assertion_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, ConfigAssertion, assertion_fields)};

const cyaml_schema_field_t config_budgets_fields[] = {
    OPTIONAL_INT("timeout_seconds", RawBudgets, timeout_seconds),
    OPTIONAL_INT("lock_timeout_seconds", RawBudgets, lock_timeout_seconds),
    OPTIONAL_INT("connections", RawBudgets, connections),
    CYAML_FIELD_END,
};

const cyaml_schema_field_t config_lock_fields[] = {
    REQUIRED_TEXT("mode", RawLock, mode),
    CYAML_FIELD_INT_PTR("days", CYAML_FLAG_POINTER, RawLock, days),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t database_fields[] = {
    REQUIRED_TEXT("name", RawDatabase, name),
    CYAML_FIELD_STRING_PTR("environment", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawDatabase, environment, 0,
                           TEXT_LIMIT),
    CYAML_FIELD_STRING_PTR("owner", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawDatabase, owner, 0, TEXT_LIMIT),
    CYAML_FIELD_SEQUENCE("assertions", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawDatabase, assertions,
                         &config_assertion_schema, 0, LIST_LIMIT),
    CYAML_FIELD_MAPPING("budgets", CYAML_FLAG_OPTIONAL, RawDatabase, budgets, config_budgets_fields),
    CONFIG_FIELD_BOOL("restore_approval", RawDatabase, restore_approval),
    CYAML_FIELD_MAPPING_PTR("lock", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawDatabase, lock, config_lock_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t database_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawDatabase, database_fields)};

static const cyaml_schema_field_t agent_fields[] = {
    REQUIRED_TEXT("name", RawAgent, name),
    REQUIRED_TEXT("public_key", RawAgent, public_key),
    CYAML_FIELD_SEQUENCE("capabilities", CYAML_FLAG_POINTER, RawAgent, capabilities, &text_schema, 1, CAPABILITIES),
    CYAML_FIELD_SEQUENCE("databases", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAgent, databases, &text_schema, 1,
                         LIST_LIMIT),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t agent_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawAgent, agent_fields)};

static const cyaml_schema_field_t dispatch_fields[] = {
    OPTIONAL_INT("lease_seconds", RawDispatch, lease_seconds),
    OPTIONAL_INT("poll_seconds", RawDispatch, poll_seconds),
    OPTIONAL_INT("max_attempts", RawDispatch, max_attempts),
    OPTIONAL_INT("agent_wait_seconds", RawDispatch, agent_wait_seconds),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t bus_tls_fields[] = {
    REQUIRED_TEXT("ca", RawBusTls, ca),
    OPTIONAL_TEXT("ca_key", RawBusTls, ca_key),
    REQUIRED_TEXT("certificate", RawBusTls, certificate),
    REQUIRED_TEXT("key", RawBusTls, key),
    OPTIONAL_INT("agent_certificate_seconds", RawBusTls, agent_certificate_seconds),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    OPTIONAL_TEXT("level", RawLog, level),
    OPTIONAL_TEXT("format", RawLog, format),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t limits_fields[] = {
    OPTIONAL_INT("connections", RawLimits, connections),
    OPTIONAL_INT("requests_per_second", RawLimits, requests_per_second),
    OPTIONAL_INT("failures_per_minute", RawLimits, failures_per_minute),
    CYAML_FIELD_SEQUENCE("trusted_proxies", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawLimits, proxies, &text_schema,
                         0, PROXY_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
    OPTIONAL_TEXT("certificate", RawTls, certificate),
    OPTIONAL_TEXT("key", RawTls, key),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t route_fields[] = {
    REQUIRED_TEXT("name", RawAlertRoute, name),
    REQUIRED_TEXT("type", RawAlertRoute, type),
    OPTIONAL_TEXT("url", RawAlertRoute, url),
    OPTIONAL_TEXT("url_file", RawAlertRoute, url_file),
    OPTIONAL_TEXT("key_file", RawAlertRoute, key_file),
    OPTIONAL_TEXT("ca_file", RawAlertRoute, ca_file),
    CONFIG_FIELD_BOOL("unencrypted", RawAlertRoute, unencrypted),
    OPTIONAL_TEXT("user", RawAlertRoute, user),
    OPTIONAL_TEXT("password_file", RawAlertRoute, password_file),
    OPTIONAL_TEXT("from", RawAlertRoute, from),
    CYAML_FIELD_SEQUENCE("to", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAlertRoute, to, &text_schema, 1,
                         ROUTE_LIMIT),
    OPTIONAL_INT("every_seconds", RawAlertRoute, every_seconds),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawAlertRoute, route_fields)};

static const cyaml_schema_field_t alerts_fields[] = {
    CYAML_FIELD_SEQUENCE("routes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAlerts, routes, &route_schema, 0,
                         ROUTE_LIMIT),
    CYAML_FIELD_SEQUENCE("default", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAlerts, fallback, &text_schema, 0,
                         ROUTE_LIMIT),
    CYAML_FIELD_SEQUENCE("accept_unlocked", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAlerts, accept_unlocked,
                         &text_schema, 0, ROUTE_LIMIT),
    OPTIONAL_TEXT("link", RawAlerts, link),
    OPTIONAL_INT("group_seconds", RawAlerts, group_seconds),
    OPTIONAL_INT("repeat_hours", RawAlerts, repeat_hours),
    OPTIONAL_INT("agent_lost_seconds", RawAlerts, agent_lost_seconds),
    OPTIONAL_INT("errored_times", RawAlerts, errored_times),
    OPTIONAL_INT("fallen_percent", RawAlerts, fallen_percent),
    OPTIONAL_INT("slower_percent", RawAlerts, slower_percent),
    OPTIONAL_INT("table_fallen_percent", RawAlerts, table_percent),
    OPTIONAL_INT("table_fallen_rows", RawAlerts, table_rows),
    CYAML_FIELD_SEQUENCE("table_fallen_except", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAlerts, table_except,
                         &text_schema, 0, TABLE_GLOBS),
    OPTIONAL_INT("disk_free_percent", RawAlerts, disk_free_percent),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t report_fields[] = {
    REQUIRED_TEXT("name", RawReport, name),
    REQUIRED_TEXT("to", RawReport, to),
    OPTIONAL_TEXT("period", RawReport, period),
    OPTIONAL_TEXT("cron", RawReport, cron),
    OPTIONAL_TEXT("time_zone", RawReport, time_zone),
    OPTIONAL_TEXT("owner", RawReport, owner),
    OPTIONAL_TEXT("environment", RawReport, environment),
    CYAML_FIELD_SEQUENCE("databases", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawReport, databases, &text_schema, 1,
                         LIST_LIMIT),
    OPTIONAL_INT("attach_megabytes", RawReport, attach_megabytes),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t report_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawReport, report_fields)};

static const cyaml_schema_field_t grant_fields[] = {
    REQUIRED_TEXT("value", RawOidcGrant, value),
    REQUIRED_TEXT("role", RawOidcGrant, role),
    CYAML_FIELD_SEQUENCE("databases", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawOidcGrant, databases, &text_schema,
                         1, GLOBS_LIMIT),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t grant_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawOidcGrant, grant_fields)};

static const cyaml_schema_field_t oidc_fields[] = {
    REQUIRED_TEXT("issuer", RawOidc, issuer),
    REQUIRED_TEXT("client_id", RawOidc, client_id),
    OPTIONAL_TEXT("client_secret_file", RawOidc, client_secret_file),
    OPTIONAL_TEXT("ca_file", RawOidc, ca_file),
    OPTIONAL_TEXT("name", RawOidc, name),
    REQUIRED_TEXT("public_url", RawOidc, public_url),
    CYAML_FIELD_SEQUENCE("scopes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawOidc, scopes, &text_schema, 0,
                         SCOPES_LIMIT),
    OPTIONAL_TEXT("groups_claim", RawOidc, groups_claim),
    OPTIONAL_TEXT("name_claim", RawOidc, name_claim),
    OPTIONAL_INT("session_hours", RawOidc, session_hours),
    CONFIG_FIELD_BOOL("id_token_only", RawOidc, id_token_only),
    CYAML_FIELD_SEQUENCE("grants", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawOidc, grants, &grant_schema, 0,
                         GRANTS_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t traces_fields[] = {
    REQUIRED_TEXT("endpoint", RawTraces, endpoint),
    OPTIONAL_TEXT("headers_file", RawTraces, headers_file),
    OPTIONAL_TEXT("ca_file", RawTraces, ca_file),
    OPTIONAL_TEXT("service_name", RawTraces, service_name),
    CONFIG_FIELD_BOOL("unencrypted", RawTraces, unencrypted),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    OPTIONAL_TEXT("http", RawConfig, http),
    CYAML_FIELD_MAPPING("tls", CYAML_FLAG_OPTIONAL, RawConfig, tls, tls_fields),
    CYAML_FIELD_MAPPING("http_limits", CYAML_FLAG_OPTIONAL, RawConfig, http_limits, limits_fields),
    CONFIG_FIELD_BOOL("http_unencrypted", RawConfig, http_unencrypted),
    OPTIONAL_TEXT("bus", RawConfig, bus),
    OPTIONAL_TEXT("ledger", RawConfig, ledger),
    OPTIONAL_TEXT("ledger_conninfo_file", RawConfig, ledger_conninfo_file),
    OPTIONAL_TEXT("admin_token_file", RawConfig, admin_token_file),
    OPTIONAL_TEXT("fleet", RawConfig, fleet),
    OPTIONAL_TEXT("signing_key", RawConfig, signing_key),
    CYAML_FIELD_MAPPING_PTR("bus_tls", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, bus_tls, bus_tls_fields),
    CYAML_FIELD_MAPPING("dispatch", CYAML_FLAG_OPTIONAL, RawConfig, dispatch, dispatch_fields),
    CYAML_FIELD_SEQUENCE("databases", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, databases, &database_schema,
                         0, LIST_LIMIT),
    CYAML_FIELD_SEQUENCE("agents", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, agents, &agent_schema, 0,
                         LIST_LIMIT),
    CYAML_FIELD_SEQUENCE("former_agents", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, former_agents,
                         &agent_schema, 0, LIST_LIMIT),
    CYAML_FIELD_MAPPING_PTR("alerts", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, alerts, alerts_fields),
    CYAML_FIELD_SEQUENCE("reports", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, reports, &report_schema, 0,
                         REPORT_PLANS_LIMIT),
    CYAML_FIELD_MAPPING_PTR("oidc", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, oidc, oidc_fields),
    CYAML_FIELD_MAPPING_PTR("traces", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawConfig, traces, traces_fields),
    CYAML_FIELD_MAPPING("log", CYAML_FLAG_OPTIONAL, RawConfig, log, log_fields),
    CYAML_FIELD_END,
};
const cyaml_schema_value_t coordinator_config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, RawConfig, config_fields)};
