#include "coordinator/config.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/loopback.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/bus/address.h"
#include "common/config/yaml.h"
#include "common/crypto/signing.h"
#include "coordinator/config_schema.h"
#include "coordinator/ledger/ledger.h"

enum { AGENT_CERTIFICATE_SECONDS = 90 * 86400, CONNINFO_LIMIT = 4096 };

typedef struct Loaded { /* what coordinator_config_free gets back from the config inside */
  CoordinatorConfig config;
  RawConfig *raw; /* owns most strings of config */
  char **owned;   /* resolved paths */
  size_t owned_count;
  char *directory; /* of the file; "" is the working directory */
} Loaded;

void coordinator_config_free(CoordinatorConfig *config) {
  if (!config)
    return;
  Loaded *loaded = (Loaded *)((char *)config - offsetof(Loaded, config));
  config_yaml_free(&coordinator_config_schema, loaded->raw);
  for (size_t i = 0; i < loaded->owned_count; i++)
    free(loaded->owned[i]);
  free(loaded->owned);
  free(loaded->directory);
  free(loaded->config.http_proxies);
  alert_settings_release(&loaded->config.alerts);
  report_plans_release(&loaded->config.reports);
  oidc_settings_release(&loaded->config.oidc);
  free(loaded->config.databases);
  free(loaded->config.agents);
  free(loaded->config.former_agents);
  free(loaded);
}

static void loaded_release(Loaded **loaded) {
  if (*loaded)
    coordinator_config_free(&(*loaded)->config);
}

static const char *own(Loaded *loaded, char *text) {
  ARRAY_PUSH(loaded->owned, loaded->owned_count, text);
  return text;
}

static const char *resolve(Loaded *loaded, const char *path) {
  return own(loaded, config_resolve(loaded->directory, path));
}

/* ---- checks ---- */

static Status take_int(const Loaded *loaded, const char *what, const int *value, int fallback, int low, int high,
                       int *out, Error *err) {
  *out = value ? *value : fallback;
  if (*out < low || *out > high)
    return config_error(err, loaded->config.path, "%s is %d; it must be between %d and %d", what, *out, low, high);
  return STATUS_OK;
}

static Status check_address(const Loaded *loaded, const char *http, Error *err) {
  const char *colon = strrchr(http, ':');
  size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
  if (!colon || colon == http || digits == 0 || digits > 5 || colon[1 + digits] || strtol(colon + 1, NULL, 10) > 65535)
    return config_error(err, loaded->config.path,
                        "http is '%s'; it must be an address and a port, such as 127.0.0.1:8420", http);
  return STATUS_OK;
}

static bool is_loopback(const char *http) {
  CLEANUP_FREE char *host = memory_strndup(http, (size_t)(strrchr(http, ':') - http)); /* check_address: it has one */
  return loopback_address(host);
}

/* Tokens and everything else would travel for all to read: only whoever says so gets that. */
static Status take_tls(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawConfig *raw = loaded->raw;
  if (!raw->tls.certificate != !raw->tls.key)
    return config_error(err, config->path, "tls has a %s, but no %s", raw->tls.key ? "key" : "certificate",
                        raw->tls.key ? "certificate" : "key");
  if (raw->tls.certificate) {
    config->tls_certificate = resolve(loaded, raw->tls.certificate);
    config->tls_key = resolve(loaded, raw->tls.key);
    return STATUS_OK;
  }
  if (raw->http_unencrypted || is_loopback(config->http))
    return STATUS_OK;
  config_error(err, config->path, "http is '%s', which other machines can reach, and there is no TLS", config->http);
  error_remedy(
      err, "Name a certificate and its key under `tls`; or listen on 127.0.0.1 behind a reverse proxy with TLS; or, "
           "where the network itself encrypts, say `http_unencrypted: true`.");
  return ERR_CONFIG;
}

static Status take_bus(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawBusTls *tls = loaded->raw->bus_tls;
  config->bus = loaded->raw->bus ? loaded->raw->bus : "tcp://127.0.0.1:8421";
  if (bus_address_check(config->bus, err) != STATUS_OK)
    return error_prefix(err, "%s: bus", config->path);
  if (bus_address_secure(config->bus) && !tls) {
    config_error(err, config->path, "bus is '%s', but there is no bus_tls", config->bus);
    error_remedy(err, "`pgseal-coordinator init --dir DIR` makes the certificates, and shows how they are named.");
    return err->status;
  }
  if (!tls)
    return STATUS_OK;
  config->ca = resolve(loaded, tls->ca);
  config->ca_key = tls->ca_key ? resolve(loaded, tls->ca_key) : NULL;
  config->certificate = resolve(loaded, tls->certificate);
  config->certificate_key = resolve(loaded, tls->key);
  return take_int(loaded, "bus_tls.agent_certificate_seconds", tls->agent_certificate_seconds,
                  AGENT_CERTIFICATE_SECONDS, 10, 10 * 365 * 86400, &config->agent_certificate_seconds, err);
}

static Status take_proxies(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawLimits *raw = &loaded->raw->http_limits;
  for (unsigned i = 0; i < raw->proxies_count; i++) {
    Network network;
    if (!network_parse(raw->proxies[i], &network))
      return config_error(err, config->path,
                          "http_limits.trusted_proxies has '%s'; it must be an IP address, or a network such as "
                          "10.0.0.0/8 with nothing set beyond its prefix",
                          raw->proxies[i]);
    ARRAY_PUSH(config->http_proxies, config->http_proxy_count, network);
  }
  return STATUS_OK;
}

static Status take_limits(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawLimits *raw = &loaded->raw->http_limits;
  Status status =
      take_int(loaded, "http_limits.connections", raw->connections, 500, 1, 4000, &config->http_connections, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "http_limits.requests_per_second", raw->requests_per_second, 200, 1, 100000,
                      &config->http_requests_per_second, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "http_limits.failures_per_minute", raw->failures_per_minute, 60, 1, 100000,
                      &config->http_failures_per_minute, err);
  return status == STATUS_OK ? take_proxies(loaded, err) : status;
}

/* A password has no place in the configuration: it is in a file of its own, or in libpq's (passfile, PGPASSFILE). */
static Status take_ledger(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawConfig *raw = loaded->raw;
  if (raw->ledger && raw->ledger_conninfo_file)
    return config_error(err, config->path, "ledger and ledger_conninfo_file are both given; one of them");
  const char *text = raw->ledger ? raw->ledger : "ledger.db";
  if (raw->ledger_conninfo_file) {
    char *read = NULL;
    Status status = file_read_text(resolve(loaded, raw->ledger_conninfo_file), CONNINFO_LIMIT, &read, err);
    if (status != STATUS_OK)
      return error_prefix(err, "%s: ledger_conninfo_file", config->path);
    text = own(loaded, read);
  } else if (!ledger_is_postgres(text)) {
    config->ledger = resolve(loaded, text);
    return STATUS_OK;
  }
  bool password = false;
  Status status = ledger_conninfo_check(text, &password, err);
  if (status != STATUS_OK)
    return config_error(err, config->path, "the ledger's connection string cannot be read");
  if (password && !raw->ledger_conninfo_file)
    return config_error(err, config->path,
                        "ledger holds a password; put the connection string into a file and name it as "
                        "ledger_conninfo_file, or the password into one that passfile= names");
  config->ledger = text;
  return STATUS_OK;
}

static const char *keep(void *user, char *text) {
  return own(user, text);
}

static Status take_alerts(Loaded *loaded, Error *err) {
  const SettingsFrom from = {loaded->config.path, loaded->directory, keep, loaded};
  Status status = alert_settings_take(&from, loaded->raw->alerts, &loaded->config.alerts, err);
  return status ? status
                : report_plans_take(&from, &loaded->config.alerts, loaded->raw->reports, loaded->raw->reports_count,
                                    &loaded->config.reports, err);
}

static Status take_oidc(Loaded *loaded, Error *err) {
  const SettingsFrom from = {loaded->config.path, loaded->directory, keep, loaded};
  return oidc_settings_take(&from, loaded->raw->oidc, &loaded->config.oidc, err);
}

static Status take_traces(Loaded *loaded, Error *err) {
  const SettingsFrom from = {loaded->config.path, loaded->directory, keep, loaded};
  return trace_settings_take(&from, loaded->raw->traces, &loaded->config.traces, err);
}

static Status take_settings(Loaded *loaded, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  const RawConfig *raw = loaded->raw;
  config->http = raw->http ? raw->http : "127.0.0.1:8420";
  config->admin_token_file = resolve(loaded, raw->admin_token_file ? raw->admin_token_file : "token");
  config->signing_key = raw->signing_key ? resolve(loaded, raw->signing_key) : NULL;
  config->fleet = raw->fleet ? resolve(loaded, raw->fleet) : NULL;
  config->log_level = raw->log.level ? raw->log.level : "info";
  config->log_format = raw->log.format ? raw->log.format : "text";
  LogLevel level;
  if (!log_level_from_name(config->log_level, &level))
    return config_error(err, loaded->config.path, "log.level is '%s'; it must be debug, info, warn or error",
                        config->log_level);
  if (strcmp(config->log_format, "text") != 0 && strcmp(config->log_format, "json") != 0)
    return config_error(err, loaded->config.path, "log.format is '%s'; it must be text or json", config->log_format);
  Status status = take_ledger(loaded, err);
  if (status == STATUS_OK)
    status = take_bus(loaded, err);
  if (status == STATUS_OK)
    status = check_address(loaded, config->http, err);
  if (status == STATUS_OK)
    status = take_tls(loaded, err);
  if (status == STATUS_OK)
    status = take_limits(loaded, err);
  const RawDispatch *d = &raw->dispatch;
  if (status == STATUS_OK)
    status = take_int(loaded, "dispatch.lease_seconds", d->lease_seconds, 30, 1, 3600, &config->lease_seconds, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "dispatch.poll_seconds", d->poll_seconds, 20, 1, 300, &config->poll_seconds, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "dispatch.max_attempts", d->max_attempts, 3, 1, 20, &config->max_attempts, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "dispatch.agent_wait_seconds", d->agent_wait_seconds, 60, 1, 86400,
                      &config->agent_wait_seconds, err);
  return status;
}

static Status take_lock(Loaded *loaded, const RawLock *raw, ConfigDatabase *out, Error *err) {
  bool governance = strcasecmp(raw->mode, "governance") == 0;
  if (!governance && strcasecmp(raw->mode, "compliance") != 0)
    return config_error(err, loaded->config.path, "lock.mode is '%s'; it must be governance or compliance", raw->mode);
  out->lock_mode = governance ? "GOVERNANCE" : "COMPLIANCE";
  return take_int(loaded, "lock.days", raw->days, 0, 1, 36500, &out->lock_days, err);
}

static Status take_budgets(Loaded *loaded, const RawDatabase *raw, ConfigDatabase *out, Error *err) {
  Status status = take_int(loaded, "budgets.timeout_seconds", raw->budgets.timeout_seconds, 21600, 1, 7 * 86400,
                           &out->timeout_seconds, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "budgets.lock_timeout_seconds", raw->budgets.lock_timeout_seconds, 30, 1, 3600,
                      &out->lock_timeout_seconds, err);
  if (status == STATUS_OK)
    status = take_int(loaded, "budgets.connections", raw->budgets.connections, 2, 1, 8, &out->connections, err);
  if (status == STATUS_OK && raw->lock)
    status = take_lock(loaded, raw->lock, out, err);
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "database %s", raw->name);
}

static Status take_database(Loaded *loaded, const RawDatabase *raw, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  if (!text_name_valid(raw->name))
    return config_error(err, loaded->config.path,
                        "database name '%s' is not valid: 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first",
                        raw->name);
  if (coordinator_config_database(config, raw->name))
    return config_error(err, loaded->config.path, "database %s is there twice", raw->name);
  ConfigDatabase *out = &config->databases[config->database_count];
  out->name = raw->name;
  out->environment = raw->environment ? raw->environment : "";
  out->owner = raw->owner ? raw->owner : "";
  out->assertions = raw->assertions;
  out->assertion_count = raw->assertions_count;
  out->restore_approval = raw->restore_approval;
  if ((out->environment[0] && !text_tag_valid(out->environment)) || (out->owner[0] && !text_tag_valid(out->owner)))
    return config_error(err, loaded->config.path,
                        "database %s: environment and owner must be at most 128 printable characters", raw->name);
  for (size_t i = 0; i < out->assertion_count; i++) {
    if (!text_tag_valid(out->assertions[i].name))
      return config_error(err, loaded->config.path,
                          "database %s: an assertion's name must be 1 to 128 printable characters", raw->name);
    for (size_t j = 0; j < i; j++) {
      if (strcmp(out->assertions[i].name, out->assertions[j].name) == 0)
        return config_error(err, loaded->config.path, "database %s: assertion '%s' is there twice", raw->name,
                            out->assertions[i].name);
    }
  }
  Status status = take_budgets(loaded, raw, out, err);
  if (status == STATUS_OK)
    config->database_count++;
  return status;
}

bool coordinator_config_capability(const char *name) {
  static const char *const known[CAPABILITIES] = {"dump", "drill", "restore", "rehearse", "prune", "bare"};
  for (size_t i = 0; i < CAPABILITIES; i++) {
    if (strcmp(known[i], name) == 0)
      return true;
  }
  return false;
}

static Status check_capabilities(Loaded *loaded, const RawAgent *raw, Error *err) {
  for (unsigned i = 0; i < raw->capabilities_count; i++) {
    const char *capability = raw->capabilities[i];
    if (!coordinator_config_capability(capability))
      return config_error(err, loaded->config.path,
                          "agent %s: capability '%s' is unknown; there are " CAPABILITIES_TEXT, raw->name, capability);
    for (unsigned j = 0; j < i; j++) {
      if (strcmp(capability, raw->capabilities[j]) == 0)
        return config_error(err, loaded->config.path, "agent %s: capability '%s' is there twice", raw->name,
                            capability);
    }
  }
  return STATUS_OK;
}

static const char *const all_databases[] = {"*"};

/* What both lists say of an agent, but for its key. */
static Status fill_agent(Loaded *loaded, const RawAgent *raw, ConfigAgent *out, Error *err) {
  if (!text_name_valid(raw->name))
    return config_error(err, loaded->config.path,
                        "agent name '%s' is not valid: 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first",
                        raw->name);
  Status status = check_capabilities(loaded, raw, err);
  if (status != STATUS_OK)
    return status;
  out->name = raw->name;
  out->public_key = raw->public_key;
  out->capabilities = (const char **)raw->capabilities;
  out->capability_count = raw->capabilities_count;
  out->databases = raw->databases_count ? (const char **)raw->databases : (const char **)all_databases;
  out->database_count = raw->databases_count ? raw->databases_count : 1;
  return STATUS_OK;
}

static Status load_key(Loaded *loaded, ConfigAgent *out, Error *err) {
  Error cause;
  out->public_key = resolve(loaded, out->public_key);
  if (signing_public_load(out->public_key, out->key, &cause) != STATUS_OK)
    return config_error(err, loaded->config.path, "agent %s: %s", out->name, cause.message);
  return STATUS_OK;
}

static Status take_agent(Loaded *loaded, const RawAgent *raw, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  ConfigAgent *out = &config->agents[config->agent_count];
  if (coordinator_config_agent(config, raw->name))
    return config_error(err, loaded->config.path, "agent %s is there twice", raw->name);
  Status status = fill_agent(loaded, raw, out, err);
  if (status == STATUS_OK)
    status = load_key(loaded, out, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < config->agent_count; i++) {
    /* Who signed what would no longer be clear. */
    if (memcmp(config->agents[i].key, out->key, sizeof out->key) == 0)
      return config_error(err, loaded->config.path, "agents %s and %s have the same key; each agent needs its own",
                          config->agents[i].name, raw->name);
  }
  config->agent_count++;
  return STATUS_OK;
}

/* One name may have had several keys, and be in use again. */
static Status take_former_agent(Loaded *loaded, const RawAgent *raw, Error *err) {
  CoordinatorConfig *config = &loaded->config;
  ConfigAgent *out = &config->former_agents[config->former_agent_count];
  Status status = fill_agent(loaded, raw, out, err);
  if (status == STATUS_OK && !text_unhex(raw->public_key, out->key, sizeof out->key))
    status = load_key(loaded, out, err);
  if (status == STATUS_OK)
    config->former_agent_count++;
  return status;
}

Status coordinator_config_load(const char *path, CoordinatorConfig **out, Error *err) {
  CLEANUP(loaded_release) Loaded *loaded = memory_alloc(sizeof *loaded);
  loaded->config.path = own(loaded, memory_strdup(path));
  loaded->directory = config_directory(path);
  void *data = NULL;
  Status status = config_yaml_load(path, &coordinator_config_schema, &data, err);
  if (status != STATUS_OK)
    return status;
  loaded->raw = data;
  const RawConfig *raw = loaded->raw;
  loaded->config.databases = memory_alloc((raw->databases_count + 1) * sizeof *loaded->config.databases);
  loaded->config.agents = memory_alloc((raw->agents_count + 1) * sizeof *loaded->config.agents);
  loaded->config.former_agents = memory_alloc((raw->former_agents_count + 1) * sizeof *loaded->config.agents);
  status = take_settings(loaded, err);
  if (status == STATUS_OK)
    status = take_alerts(loaded, err);
  if (status == STATUS_OK)
    status = take_oidc(loaded, err);
  if (status == STATUS_OK)
    status = take_traces(loaded, err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->databases_count; i++)
    status = take_database(loaded, &raw->databases[i], err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->agents_count; i++)
    status = take_agent(loaded, &raw->agents[i], err);
  for (unsigned i = 0; status == STATUS_OK && i < raw->former_agents_count; i++)
    status = take_former_agent(loaded, &raw->former_agents[i], err);
  if (status != STATUS_OK)
    return status;
  *out = &STEAL(loaded)->config;
  return STATUS_OK;
}

const ConfigDatabase *coordinator_config_database(const CoordinatorConfig *config, const char *name) {
  for (size_t i = 0; i < config->database_count; i++) {
    if (strcmp(config->databases[i].name, name) == 0)
      return &config->databases[i];
  }
  return NULL;
}

const ConfigAgent *coordinator_config_agent(const CoordinatorConfig *config, const char *name) {
  for (size_t i = 0; i < config->agent_count; i++) {
    if (strcmp(config->agents[i].name, name) == 0)
      return &config->agents[i];
  }
  return NULL;
}
