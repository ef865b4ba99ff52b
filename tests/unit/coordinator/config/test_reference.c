/* docs/configuration.md: coordinator.yaml and fleet.yaml. */
#include "tests/unit/common/config/reference.h"

#include "common/crypto/signing.h"
#include "coordinator/config.h"
#include "coordinator/config_schema.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/fleet/schema.h"

typedef struct Fixture {
  char dir[64];
  CoordinatorConfig *config;
  Fleet *fleet;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  Error err;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-reference-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  CLEANUP_FREE char *key = memory_format("%s/a.key", f->dir), *pub = memory_format("%s/a.pub", f->dir);
  assert_int_equal(signing_key_generate(key, pub, &err), STATUS_OK);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  Error err;
  fleet_free(f->fleet);
  coordinator_config_free(f->config);
  assert_int_equal(file_remove_tree(f->dir, &err), STATUS_OK);
  free(f);
  return 0;
}

/* ---- coordinator.yaml ---- */

static Status load_coordinator(void *user, const char *text, Error *err) {
  Fixture *f = user;
  CLEANUP_FREE char *path = memory_format("%s/coordinator.yaml", f->dir);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), err), STATUS_OK);
  coordinator_config_free(f->config);
  f->config = NULL;
  return coordinator_config_load(path, &f->config, err);
}

static const char *name_of(const char *path) {
  return strrchr(path, '/') + 1;
}

static char *of_coordinator(void *user, const char *key) {
  const CoordinatorConfig *c = ((Fixture *)user)->config;
  const ConfigDatabase *d = &c->databases[0];
  const struct {
    const char *key;
    int value;
  } numbers[] = {{"http_limits.connections", c->http_connections},
                 {"http_limits.requests_per_second", c->http_requests_per_second},
                 {"http_limits.failures_per_minute", c->http_failures_per_minute},
                 {"bus_tls.agent_certificate_seconds", c->agent_certificate_seconds},
                 {"alerts.group_seconds", c->alerts.group_seconds},
                 {"alerts.repeat_hours", c->alerts.repeat_hours},
                 {"alerts.agent_lost_seconds", c->alerts.agent_lost_seconds},
                 {"alerts.errored_times", c->alerts.errored_times},
                 {"alerts.fallen_percent", c->alerts.fallen_percent},
                 {"alerts.slower_percent", c->alerts.slower_percent},
                 {"alerts.table_fallen_percent", c->alerts.table_percent},
                 {"alerts.table_fallen_rows", c->alerts.table_rows},
                 {"alerts.disk_free_percent", c->alerts.disk_free_percent},
                 {"alerts.routes[].every_seconds", c->alerts.routes[0].every_seconds},
                 {"oidc.session_hours", c->oidc.session_hours},
                 {"reports[].attach_megabytes", (int)(c->reports.items[0].attached_limit / 1000000)},
                 {"dispatch.lease_seconds", c->lease_seconds},
                 {"dispatch.poll_seconds", c->poll_seconds},
                 {"dispatch.max_attempts", c->max_attempts},
                 {"dispatch.agent_wait_seconds", c->agent_wait_seconds},
                 {"databases[].budgets.timeout_seconds", d->timeout_seconds},
                 {"databases[].budgets.lock_timeout_seconds", d->lock_timeout_seconds},
                 {"databases[].budgets.connections", d->connections}};
  const struct {
    const char *key, *value;
  } texts[] = {{"http", c->http},
               {"bus", c->bus},
               {"ledger", name_of(c->ledger)},
               {"admin_token_file", name_of(c->admin_token_file)},
               {"alerts.routes[].unencrypted", c->alerts.routes[0].unencrypted ? "true" : "false"},
               {"reports[].period", report_period_name(c->reports.items[0].period)},
               {"traces.service_name", c->traces.service_name},
               {"traces.unencrypted", "false"}, /* else the base's endpoint would do without TLS: test_traces.py */
               {"oidc.scopes", c->oidc.scope},
               {"oidc.groups_claim", c->oidc.groups_claim},
               {"oidc.name_claim", c->oidc.name_claim},
               {"oidc.id_token_only", c->oidc.id_token_only ? "true" : "false"},
               {"reports[].time_zone", c->reports.items[0].time_zone},
               {"log.level", c->log_level},
               {"log.format", c->log_format},
               {"databases[].restore_approval", d->restore_approval ? "true" : "false"},
               {"http_unencrypted", "false"}}; /* others than loopback are refused: test_config.c */
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
    if (strcmp(numbers[i].key, key) == 0)
      return number_text(numbers[i].value);
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    if (strcmp(texts[i].key, key) == 0)
      return memory_strdup(texts[i].value);
  return NULL;
}

static void test_coordinator(void **state) {
  const ReferenceFile file = {
      .name = "coordinator.yaml",
      .schema = &coordinator_config_schema,
      .base =
          "{\"alerts\": {\"routes\": [{\"name\": \"r\", \"type\": \"ping\", \"url\": \"https://a/\"},"
          " {\"name\": \"x\", \"type\": \"email\", \"url\": \"smtp://a\", \"from\": \"a@b\", \"to\": [\"a@b\"]}]},"
          " \"reports\": [{\"name\": \"x\", \"to\": \"x\"}],"
          " \"oidc\": {\"issuer\": \"https://a\", \"client_id\": \"x\", \"public_url\": \"https://b\","
          "  \"grants\": [{\"value\": \"v\", \"role\": \"viewer\"}]},"
          " \"traces\": {\"endpoint\": \"https://c\"},"
          " \"bus_tls\": {\"ca\": \"x\", \"certificate\": \"x\", \"key\": \"x\"}, \"databases\": [{\"name\": \"a\","
          " \"assertions\": [{\"name\": \"n\", \"sql\": \"s\"}], \"lock\": {\"mode\": \"governance\", \"days\": 7}}],"
          " \"agents\": [{\"name\": \"x\", \"public_key\": \"a.pub\", \"capabilities\": [\"dump\"]}],"
          " \"former_agents\": [{\"name\": \"x\", \"public_key\": \"a.pub\", \"capabilities\": [\"dump\"]}]}",
      .load = load_coordinator,
      .fallback = of_coordinator,
      .user = *state};
  reference_check(&file);
}

/* ---- fleet.yaml ---- */

static Status load_fleet(void *user, const char *text, Error *err) {
  Fixture *f = user;
  json_t *notes = NULL;
  fleet_free(f->fleet);
  f->fleet = NULL;
  Status status = fleet_make(f->config, "fleet.yaml", text, strlen(text), &f->fleet, &notes, err);
  json_decref(notes);
  return status;
}

static char *of_fleet(void *user, const char *key) {
  const Fleet *fleet = ((Fixture *)user)->fleet;
  const FleetDatabase *d = fleet_database(fleet, "a");
  const FleetPolicy *p = &d->policy;
  const FleetQuota *quota = fleet_quota_at(fleet, 0);
  const struct {
    const char *key;
    int64_t value;
  } numbers[] = {{"budgets.timeout_seconds", d->config.timeout_seconds},
                 {"budgets.lock_timeout_seconds", d->config.lock_timeout_seconds},
                 {"budgets.connections", d->config.connections},
                 {"schedule.jitter_seconds", p->schedule.jitter_seconds},
                 {"retention.last", p->retention.last},
                 {"retention.hourly", p->retention.hourly},
                 {"retention.daily", p->retention.daily},
                 {"retention.weekly", p->retention.weekly},
                 {"retention.monthly", p->retention.monthly},
                 {"retention.yearly", p->retention.yearly},
                 {"retention.grace_hours", p->retention.grace_hours},
                 {"queued", quota->queued},
                 {"running", quota->running},
                 {"limits.running", fleet_limits(fleet)->running},
                 {"limits.host_running", fleet_limits(fleet)->host_running},
                 {"rotation.slots", fleet_capacity(fleet)->slots},
                 {"rotation.hours_per_day", fleet_capacity(fleet)->hours_per_day},
                 {"rotation.gigabytes_per_day", fleet_capacity(fleet)->bytes_per_day}};
  const char *inner = strstr(key, "[]."), *name = inner ? inner + 3 : key;
  for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
    if (strcmp(numbers[i].key, name) == 0)
      return number_text(numbers[i].value);
  if (strcmp(name, "restore_approval") == 0)
    return bool_text(d->config.restore_approval);
  if (strcmp(name, "schedule.overlap") == 0)
    return bool_text(p->schedule.overlap);
  if (strcmp(name, "schedule.missed") == 0)
    return memory_strdup(p->schedule.make_up ? "run_once" : "skip");
  return strcmp(name, "schedule.time_zone") == 0 ? memory_strdup(p->schedule.time_zone) : NULL;
}

static void test_fleet(void **state) {
  Fixture *f = *state;
  Error err;
  assert_int_equal(load_coordinator(f, "databases: []\n", &err), STATUS_OK);
  const ReferenceFile file = {
      .name = "fleet.yaml",
      .schema = &fleet_schema,
      .base = "{\"databases\": [{\"name\": \"a\", \"assertions\": [{\"name\": \"n\", \"sql\": \"s\"}], \"lock\":"
              " {\"mode\": \"governance\", \"days\": 7}}], \"policies\": [{\"name\": \"p\", \"drill\": {\"assertions\":"
              " [{\"name\": \"m\", \"sql\": \"s\"}]}, \"lock\": {\"mode\": \"governance\", \"days\": 7}, \"retention\":"
              " {\"tags\": [{\"match\": \"t\", \"keep_days\": 1}]}, \"schedule\": {\"cron\": \"0 0 * * *\"}}],"
              " \"quotas\": [{\"owner\": \"o\"}]}",
      .load = load_fleet,
      .fallback = of_fleet,
      .user = f};
  reference_check(&file);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_coordinator, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_fleet, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
