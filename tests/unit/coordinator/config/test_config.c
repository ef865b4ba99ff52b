/* coordinator.yaml: defaults, every check, and messages that name file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/signing.h"
#include "coordinator/config.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

typedef struct Fixture {
  char dir[64];
  CoordinatorConfig *config;
  Error err;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-config-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  for (int i = 1; i <= 2; i++) {
    char *key = memory_format("%s/a%d.key", f->dir, i), *pub = memory_format("%s/a%d.pub", f->dir, i);
    assert_int_equal(signing_key_generate(key, pub, &f->err), STATUS_OK);
    free(key);
    free(pub);
  }
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  coordinator_config_free(f->config);
  assert_int_equal(file_remove_tree(f->dir, &f->err), STATUS_OK);
  free(f);
  return 0;
}

static Status load(Fixture *f, const char *text) {
  char *path = memory_format("%s/coordinator.yaml", f->dir);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), &f->err), STATUS_OK);
  coordinator_config_free(f->config);
  f->config = NULL;
  Status status = coordinator_config_load(path, &f->config, &f->err);
  free(path);
  return status;
}

static void refuse(Fixture *f, const char *text, const char *what) {
  Status status = load(f, text);
  if (status != ERR_CONFIG || !strstr(f->err.message, what) || !strstr(f->err.message, "coordinator.yaml"))
    fail_msg("status %d, message '%s', wanted '%s'\n%s", status, f->err.message, what, text);
  assert_null(f->config);
}

static void test_defaults(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "databases: [{name: shop}]\n"), STATUS_OK);
  const CoordinatorConfig *c = f->config;
  assert_string_equal(c->http, "127.0.0.1:8420");
  assert_string_equal(c->bus, "tcp://127.0.0.1:8421");
  assert_int_equal(strncmp(c->ledger, f->dir, strlen(f->dir)), 0);
  assert_string_equal(c->ledger + strlen(f->dir), "/ledger.db");
  assert_string_equal(c->admin_token_file + strlen(f->dir), "/token");
  assert_int_equal(c->lease_seconds, 30);
  assert_int_equal(c->poll_seconds, 20);
  assert_int_equal(c->max_attempts, 3);
  assert_int_equal(c->agent_wait_seconds, 60);
  assert_int_equal(c->http_connections, 500);
  assert_int_equal(c->http_requests_per_second, 200);
  assert_int_equal(c->http_failures_per_minute, 60);
  assert_null(c->tls_certificate);
  assert_string_equal(c->log_level, "info");
  assert_string_equal(c->log_format, "text");
  const ConfigDatabase *d = coordinator_config_database(c, "shop");
  assert_non_null(d);
  assert_string_equal(d->environment, "");
  assert_false(d->restore_approval);
  assert_string_equal(d->owner, "");
  assert_int_equal(d->timeout_seconds, 21600);
  assert_int_equal(d->lock_timeout_seconds, 30);
  assert_int_equal(d->connections, 2);
  assert_null(d->lock_mode);
  assert_null(coordinator_config_database(c, "sho"));
  assert_int_equal(c->agent_count, 0);
}

static void test_everything(void **state) {
  Fixture *f = *state;
  assert_int_equal(
      load(
          f,
          "http: '[::1]:0'\nbus: tcp://127.0.0.1:9\nledger: /x/l.db\nadmin_token_file: t/o\n"
          "dispatch: {lease_seconds: 5, poll_seconds: 2, max_attempts: 4, agent_wait_seconds: 7}\n"
          "databases:\n  - name: prod-api\n    environment: production\n    owner: Team Ä\n    restore_approval: true\n"
          "    assertions: [{name: rows, sql: SELECT true}]\n"
          "    budgets: {timeout_seconds: 9, lock_timeout_seconds: 8, connections: 7}\n"
          "    lock: {mode: Compliance, days: 36500}\n"
          "agents:\n  - {name: one, public_key: a1.pub, capabilities: [dump, drill, restore, prune]}\n"
          "  - {name: two, public_key: a2.pub, capabilities: [drill], databases: ['prod-*', x]}\n"
          "log: {level: debug, format: json}\n"),
      STATUS_OK);
  const CoordinatorConfig *c = f->config;
  assert_string_equal(c->http, "[::1]:0");
  assert_string_equal(c->ledger, "/x/l.db");
  assert_string_equal(c->admin_token_file + strlen(f->dir), "/t/o");
  assert_int_equal(c->lease_seconds * 1000 + c->poll_seconds * 100 + c->max_attempts * 10 + c->agent_wait_seconds,
                   5247);
  const ConfigDatabase *d = &c->databases[0];
  assert_string_equal(d->environment, "production");
  assert_true(d->restore_approval);
  assert_int_equal(d->assertion_count, 1);
  assert_string_equal(d->assertions[0].sql, "SELECT true");
  assert_int_equal(d->timeout_seconds * 100 + d->lock_timeout_seconds * 10 + d->connections, 987);
  assert_string_equal(d->lock_mode, "COMPLIANCE");
  assert_int_equal(d->lock_days, 36500);
  const ConfigAgent *one = coordinator_config_agent(c, "one"), *two = coordinator_config_agent(c, "two");
  assert_int_equal(one->capability_count, 4);
  assert_string_equal(one->databases[0], "*");
  assert_int_equal(two->database_count, 2);
  assert_string_equal(two->databases[0], "prod-*");
  uint8_t key[PUBLIC_KEY_SIZE];
  assert_int_equal(signing_public_load(two->public_key, key, &f->err), STATUS_OK);
  assert_memory_equal(key, two->key, sizeof key);
  assert_memory_not_equal(one->key, two->key, sizeof key);
}

static void test_places(void **state) {
  Fixture *f = *state;
  refuse(f, "http: 127.0.0.1:1\ndatabases:\n  - name: a\n    colour: red\n",
         "coordinator.yaml:4:5: Unexpected key: colour");
  refuse(f, "colour: red\nhttp: 127.0.0.1:1\n", "coordinator.yaml:1:");
  refuse(f, "dispatch:\n  lease_seconds: soon\n", "coordinator.yaml:2:");
  refuse(f, "database: []\n", "database");
  refuse(f, "databases:\n  - owner: x\n", "name");
  refuse(f, "databases: {}\n", "SEQUENCE");
  refuse(f, "databases:\n  - name: a\n    lock: {mode: governance}\n", "days");
  refuse(f, "databases:\n  - name: a\n    lock: {days: 1}\n", "mode");
  refuse(f, "databases:\n  - name: a\n    lock: {mode: soft, days: 1}\n", "database a: ");
  refuse(f, "databases:\n  - name: a\n    lock: {mode: governance, days: 0}\n", "lock.days is 0");
  refuse(f, "databases:\n  - name: a\n    lock: {mode: governance, days: 36501}\n", "between 1 and 36500");
  refuse(f, "http: [a\n", "coordinator.yaml");
  refuse(f, "http: x:1\nhttp: y:1\n", "already seen");
  refuse(f, "", "empty");
  refuse(f, "# nothing\n", "empty");
  refuse(f, "databases:\n  - &a {name: x}\n  - *a\n", "coordinator.yaml");
}

static void test_checks(void **state) {
  Fixture *f = *state;
  refuse(f, "databases: [{name: Prod}]\n", "'Prod'");
  refuse(f, "databases: [{name: a/b}]\n", "a/b");
  refuse(f, "databases: [{name: a}, {name: a}]\n", "a is there twice");
  refuse(f, "databases: [{name: a, owner: \"x\\ny\"}]\n", "owner");
  refuse(f, "databases: [{name: a, assertions: [{name: n, sql: x}, {name: n, sql: y}]}]\n", "'n' is there twice");
  refuse(f, "databases: [{name: a, assertions: [{name: n}]}]\n", "sql");
  refuse(f, "databases: [{name: a, budgets: {connections: 0}}]\n", "between 1 and 8");
  refuse(f, "databases: [{name: a, budgets: {timeout_seconds: -5}}]\n", "database a");
  refuse(f, "dispatch: {lease_seconds: 0}\n", "dispatch.lease_seconds is 0");
  refuse(f, "dispatch: {max_attempts: 21}\n", "between 1 and 20");
  refuse(f, "http: localhost\n", "http");
  refuse(f, "http: 0.0.0.0:8420\n", "there is no TLS");
  refuse(f, "http: '[::]:8420'\n", "there is no TLS");
  refuse(f, "http: 10.0.0.1:8420\nhttp_unencrypted: false\n", "there is no TLS");
  refuse(f, "http: 127.example.com:8420\n", "there is no TLS");
  refuse(f, "tls: {certificate: a.crt}\n", "no key");
  refuse(f, "tls: {key: a.key}\n", "no certificate");
  refuse(f, "http_limits: {connections: 0}\n", "http_limits.connections");
  refuse(f, "http_limits: {connections: 4001}\n", "http_limits.connections");
  refuse(f, "http_limits: {requests_per_second: 0}\n", "http_limits.requests_per_second");
  refuse(f, "http_limits: {failures_per_minute: -1}\n", "http_limits.failures_per_minute");
  refuse(f, "http_limits: {trusted_proxies: [localhost]}\n", "'localhost'");
  refuse(f, "http_limits: {trusted_proxies: [10.0.0.1/8]}\n", "beyond its prefix");
  refuse(f, "http_limits: {trusted_proxies: [127.0.0.1, 0.0.0.0/0]}\n", "0.0.0.0/0");
  assert_int_equal(load(f, "http_limits: {trusted_proxies: [127.0.0.1, 10.0.0.0/8, '2001:db8::/32']}\n"), STATUS_OK);
  assert_int_equal(f->config->http_proxy_count, 3);
  assert_int_equal(f->config->http_proxies[1].bits, 104);
  assert_int_equal(f->config->http_proxies[2].bits, 32);
  refuse(f, "tls: {certificate: a.crt, key: a.key, ca: b}\n", "coordinator.yaml");
  refuse(f, "http: 127.0.0.1:99999\n", "http");
  refuse(f, "bus: http://127.0.0.1:1\n", "bus");
  refuse(f, "log: {level: loud}\n", "loud");
  refuse(f, "log: {format: xml}\n", "xml");
}

/* What is none of a boolean's words is not taken for true. */
static void test_booleans(void **state) {
  Fixture *f = *state;
  static const struct {
    const char *word;
    bool value;
  } words[] = {{"true", true},   {"yes", true}, {"on", true},   {"True", true}, {"YES", true},
               {"false", false}, {"no", false}, {"off", false}, {"Off", false}, {"FALSE", false}};
  char text[128];
  for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
    snprintf(text, sizeof text, "databases: [{name: a, restore_approval: %s}]\n", words[i].word);
    assert_int_equal(load(f, text), STATUS_OK);
    assert_int_equal(f->config->databases[0].restore_approval, words[i].value);
  }
  refuse(f, "databases:\n  - name: a\n    restore_approval: flase\n", "coordinator.yaml:3:23: 'flase' is neither");
  refuse(f, "databases:\n  - name: a\n    restore_approval: 0\n", "'0' is neither true nor false");
  refuse(f, "http: 127.0.0.1:1\nhttp_unencrypted: disable\n", "coordinator.yaml:2:");
}

static void test_agents(void **state) {
  Fixture *f = *state;
  refuse(f, "agents: [{name: a, public_key: none.pub, capabilities: [dump]}]\n", "agent a: ");
  refuse(f, "agents: [{name: a, public_key: a1.pub, capabilities: []}]\n", "coordinator.yaml");
  refuse(f, "agents: [{name: a, public_key: a1.pub}]\n", "capabilities");
  refuse(f, "agents: [{name: a, public_key: a1.pub, capabilities: [fly]}]\n", "'fly'");
  refuse(f, "agents: [{name: a, public_key: a1.pub, capabilities: [dump, dump]}]\n", "twice");
  refuse(f, "agents: [{name: a, public_key: a1.pub, capabilities: [dump, restore, restore]}]\n", "twice");
  refuse(f, "agents: [{name: A, public_key: a1.pub, capabilities: [dump]}]\n", "'A'");
  refuse(f,
         "agents: [{name: a, public_key: a1.pub, capabilities: [dump]}, {name: a, public_key: a2.pub, capabilities: "
         "[dump]}]\n",
         "agent a is there twice");
  refuse(f,
         "agents: [{name: a, public_key: a1.pub, capabilities: [dump]}, {name: b, public_key: a1.pub, capabilities: "
         "[dump]}]\n",
         "same key");
}

/* One name may have had several keys, and be in use again; a key may stand there itself. */
static void test_former_agents(void **state) {
  Fixture *f = *state;
  refuse(f, "former_agents: [{name: a, public_key: none.pub, capabilities: [dump]}]\n", "agent a: ");
  refuse(f, "former_agents: [{name: a, public_key: 0abc, capabilities: [dump]}]\n", "agent a: ");
  refuse(f, "former_agents: [{name: A, public_key: a1.pub, capabilities: [dump]}]\n", "'A'");
  refuse(f, "former_agents: [{name: a, public_key: a1.pub, capabilities: [fly]}]\n", "'fly'");
  Status status =
      load(f, "agents: [{name: a, public_key: a1.pub, capabilities: [dump]}]\n"
              "former_agents:\n  - {name: a, public_key: a1.pub, capabilities: [drill], databases: ['prod-*']}\n"
              "  - {name: a, public_key: '" KEY "', capabilities: [dump]}\n");
  assert_int_equal(status, STATUS_OK);
  assert_int_equal(f->config->former_agent_count, 2);
  assert_memory_equal(f->config->former_agents[0].key, f->config->agents[0].key, 32);
  assert_string_equal(f->config->former_agents[0].databases[0], "prod-*");
  assert_int_equal(f->config->former_agents[1].key[31], 0x1f);
  assert_string_equal(f->config->former_agents[1].databases[0], "*");
}

static void test_absent_file(void **state) {
  Fixture *f = *state;
  assert_int_equal(coordinator_config_load("/nonexistent/c.yaml", &f->config, &f->err), ERR_CONFIG);
  assert_non_null(strstr(f->err.message, "/nonexistent/c.yaml"));
}

/* The annotated example is read as it stands, but for the agents' keys. */
static void test_example(void **state) {
  Fixture *f = *state;
  Buffer text = {0};
  assert_int_equal(file_read("deploy/coordinator.yaml", 1 << 20, &text, &f->err), STATUS_OK);
  char *keys = memory_format("%s/keys", f->dir);
  assert_int_equal(file_make_dirs(keys, 0700, &f->err), STATUS_OK);
  const char *const names[] = {"dump-1", "drill-1", "restore-1"};
  for (int i = 0; i < 3; i++) {
    char *key = memory_format("%s/%s.key", keys, names[i]), *pub = memory_format("%s/%s.pub", keys, names[i]);
    assert_int_equal(signing_key_generate(key, pub, &f->err), STATUS_OK);
    free(key);
    free(pub);
  }
  assert_int_equal(load(f, buffer_text(&text)), STATUS_OK);
  assert_int_equal(f->config->database_count, 1);
  assert_int_equal(f->config->databases[0].assertion_count, 2);
  assert_int_equal(f->config->agent_count, 3);
  assert_true(f->config->databases[0].restore_approval);
  free(keys);
  buffer_release(&text);
}

static void test_reached_by_others(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "http: 0.0.0.0:8420\nhttp_unencrypted: true\n"), STATUS_OK);
  assert_null(f->config->tls_certificate);
  assert_int_equal(load(f, "http: 0.0.0.0:8420\ntls: {certificate: tls/a.crt, key: /x/a.key}\n"), STATUS_OK);
  assert_non_null(strstr(f->config->tls_certificate, "/tls/a.crt"));
  assert_string_equal(f->config->tls_key, "/x/a.key");
}

static void test_ledger_in_postgresql(void **state) {
  Fixture *f = *state;
  char file[128];
  assert_int_equal(load(f, "bus: tcp://127.0.0.1:1\nledger: host=db dbname=pgseal passfile=/x\n"), STATUS_OK);
  assert_string_equal(f->config->ledger, "host=db dbname=pgseal passfile=/x");
  assert_int_equal(load(f, "bus: tcp://127.0.0.1:1\nledger: postgresql://me@db/pgseal\n"), STATUS_OK);
  assert_string_equal(f->config->ledger, "postgresql://me@db/pgseal");
  assert_int_equal(load(f, "bus: tcp://127.0.0.1:1\nledger: dir/a=b.db\n"), STATUS_OK); /* a path all the same */
  assert_int_equal(f->config->ledger[0], '/');
  static const char *const secret[] = {"postgresql://me:hunter2@db/pgseal", "host=db password=hunter2",
                                       "host=db sslpassword=hunter2", "host=db password='hunter2"};
  for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
    char text[256];
    snprintf(text, sizeof text, "bus: tcp://127.0.0.1:1\nledger: \"%s\"\n", secret[i]);
    refuse(f, text, i < 3 ? "password" : "cannot be read");
    assert_true(!strstr(f->err.message, "hunter2") && !strstr(f->err.remedy, "hunter2"));
  }
  snprintf(file, sizeof file, "%s/ledger.conninfo", f->dir);
  assert_int_equal(file_write_atomic(file, 0600, "host=db password=hunter2\n", 25, &f->err), STATUS_OK);
  assert_int_equal(load(f, "bus: tcp://127.0.0.1:1\nledger_conninfo_file: ledger.conninfo\n"), STATUS_OK);
  assert_string_equal(f->config->ledger, "host=db password=hunter2");
  refuse(f, "bus: tcp://127.0.0.1:1\nledger: a.db\nledger_conninfo_file: ledger.conninfo\n", "one of them");
  assert_int_equal(load(f, "bus: tcp://127.0.0.1:1\nledger_conninfo_file: none\n"), ERR_NOT_FOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
      cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
      cmocka_unit_test_setup_teardown(test_places, setup, teardown),
      cmocka_unit_test_setup_teardown(test_ledger_in_postgresql, setup, teardown),
      cmocka_unit_test_setup_teardown(test_reached_by_others, setup, teardown),
      cmocka_unit_test_setup_teardown(test_checks, setup, teardown),
      cmocka_unit_test_setup_teardown(test_booleans, setup, teardown),
      cmocka_unit_test_setup_teardown(test_agents, setup, teardown),
      cmocka_unit_test_setup_teardown(test_former_agents, setup, teardown),
      cmocka_unit_test_setup_teardown(test_absent_file, setup, teardown),
      cmocka_unit_test_setup_teardown(test_example, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
