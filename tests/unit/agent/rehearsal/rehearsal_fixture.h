/*
 * A shop's checkpoint to rehearse on, on top of the drill's fixture, and looking into what reports say.
 */
#ifndef PGSEAL_TESTS_REHEARSAL_FIXTURE_H
#define PGSEAL_TESTS_REHEARSAL_FIXTURE_H

#include "tests/unit/agent/jobs/drill_fixture.h"

#include <jansson.h>

#include "common/rehearsal/secret.h"

static const char shop_sql[] =
    "CREATE SCHEMA audit;"
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text);"
    "CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric(10,2));"
    "CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;"
    "CREATE TABLE payments (id int PRIMARY KEY, order_id int CONSTRAINT paid_for REFERENCES orders (id),"
    "  amount numeric(10,2));"
    "CREATE TABLE invoices (id int PRIMARY KEY, customer_id int CONSTRAINT billed REFERENCES customers, s text);"
    "CREATE TABLE notes (id int PRIMARY KEY, body text);"
    "CREATE TABLE devices (id uuid PRIMARY KEY, name text);"
    "CREATE TABLE audit.history (at timestamptz, what text);"
    "CREATE TABLE \"w\xc3\xad"
    "de t\" (k int, v text);"
    "CREATE TABLE small (k int PRIMARY KEY, n int, t varchar(10));"
    "INSERT INTO customers SELECT g, 'name ' || g, g || '@example.com' FROM generate_series(1, 500) g;"
    "INSERT INTO orders SELECT g, 1 + g % 500, g FROM generate_series(1, 1000) g;"
    "INSERT INTO payments SELECT g, g, g + 0.5 FROM generate_series(1, 300) g;"
    "INSERT INTO invoices SELECT g, 1 + g % 500, 'open' FROM generate_series(1, 1000) g;"
    "INSERT INTO notes SELECT g, 'note ' || g FROM generate_series(1, 200) g;"
    "INSERT INTO devices SELECT md5(g::text)::uuid, 'd' || g FROM generate_series(1, 100) g;"
    "INSERT INTO audit.history SELECT '2026-01-01'::timestamptz + g * interval '1 min', 'x' || g"
    "  FROM generate_series(1, 400) g;"
    "INSERT INTO \"w\xc3\xad"
    "de t\" SELECT g, repeat('x', 100) FROM generate_series(1, 1000) g;"
    "INSERT INTO small SELECT g, g, g FROM generate_series(1, 50) g;"
    "CREATE TABLE apps (id int PRIMARY KEY); ALTER TABLE apps OWNER TO app; GRANT CREATE ON SCHEMA public TO app;"
    "GRANT SELECT ON customers TO app;";

typedef struct Shop {
  Source source;
  Checkpoint checkpoint;
  char *secret_path;
  RehearsalSecret *secret;
} Shop;

static inline void shop_secret(Shop *shop) {
  shop->secret_path = source_path(&shop->source, "rehearse.secret");
  char *text = rehearsal_secret_generate();
  assert_ok(file_write_atomic(shop->secret_path, 0600, text, strlen(text), err));
  free(text);
  assert_ok(rehearsal_secret_load(shop->secret_path, &shop->secret, err));
}

static inline int shop_setup(void **state) {
  Shop *shop = memory_alloc(sizeof *shop);
  source_open(&shop->source, "boss");
  PGconn *session = source_connect(&shop->source, "postgres");
  session_run(session, "CREATE ROLE app LOGIN");
  session_run(session, "CREATE DATABASE shop TEMPLATE template0 ENCODING 'LATIN1'");
  session_run(session, "ALTER DATABASE shop SET \"shop.setting\" = 'set'");
  PQfinish(session);
  session = source_connect(&shop->source, "shop");
  session_run(session, "SET client_encoding = 'UTF8'");
  session_run(session, shop_sql);
  PQfinish(session);
  checkpoint_make(&shop->source, &(CheckpointOptions){.database = "shop"}, &shop->checkpoint);
  shop_secret(shop);
  *state = shop;
  return 0;
}

static inline int shop_teardown(void **state) {
  Shop *shop = *state;
  rehearsal_secret_free(shop->secret);
  checkpoint_release(&shop->checkpoint);
  source_close(&shop->source);
  free(shop->secret_path);
  free(shop);
  return 0;
}

/* The job as the coordinator would send it. */
typedef struct Rehearse {
  Drill drill; /* its config, channel and so on */
  Pgseal__RecoverySpec spec;
  Pgseal__JobResult result;
  json_t *report; /* or NULL */
  Error failure;
  Status status;
} Rehearse;

static inline void rehearse_init(const Shop *shop, const json_t *request, Rehearse *it) {
  *it = (Rehearse){0};
  drill_init(&shop->source, &shop->checkpoint, &it->drill);
  it->drill.config.rehearse = (RehearseConfig){shop->secret_path, 120};
  pgseal__recovery_spec__init(&it->spec);
  pgseal__job_result__init(&it->result);
  it->spec.dump_agent = (char *)"dumper";
  it->spec.dump_public_key = it->drill.spec.dump_public_key;
  it->spec.manifest_sha256 = it->drill.spec.manifest_sha256;
  it->spec.server_major = (uint32_t)shop->source.major;
  it->spec.request_json = json_dumps(request, JSON_INDENT(1));
  it->spec.environment = (char *)"production";
  it->spec.proven = true;
  it->drill.job.kind = PGSEAL__JOB_KIND__JOB_KIND_REHEARSE;
  it->drill.job.drill = NULL;
  it->drill.job.recovery = &it->spec;
}

static inline void rehearse_run(Rehearse *it) {
  it->status = rehearse_job_run(&it->drill.context, &it->result, &it->failure);
  if (it->status == STATUS_OK)
    it->report = json_loads(it->result.report_json, 0, NULL);
}

static inline void rehearse_release(Rehearse *it) {
  drill_release(&it->drill);
  free(it->spec.request_json);
  json_decref(it->report);
  free(it->result.stages_json);
  if (it->result.report_json != protobuf_c_empty_string)
    free(it->result.report_json);
}

/* What `more` (taken) asks for, of this database and now, but without a mac. */
static inline json_t *request_of(json_t *more) {
  json_t *request =
      json_pack("{s:s, s:s, s:I}", "database", "prod", "nonce", "n", "time", (json_int_t)(clock_wall_us() / 1000000));
  json_object_update(request, more);
  json_decref(more);
  return request;
}

static inline void sign(const Shop *shop, json_t *request) {
  char mac[REHEARSAL_MAC_SIZE];
  rehearsal_request_mac(shop->secret, request, mac);
  json_object_set_new(request, "mac", json_string(mac));
}

/* Runs what `more` (taken) asks for. */
static inline Rehearse rehearse(const Shop *shop, json_t *more) {
  json_t *request = request_of(more);
  sign(shop, request);
  Rehearse it;
  rehearse_init(shop, request, &it);
  json_decref(request);
  rehearse_run(&it);
  Error err;
  if (it.report && rehearsal_report_check(shop->secret, "n", it.report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return it;
}

static inline json_t *file_of(const char *name, const char *text) {
  return json_pack("{s:s, s:s}", "name", name, "text", text);
}

static inline const char *text_of(const json_t *json, const char *member) {
  const char *text = json_string_value(json_object_get(json, member));
  return text ? text : "";
}

static inline json_t *find(const json_t *list, const char *a, const char *a_is, const char *b, const char *b_is) {
  size_t index;
  json_t *item;
  json_array_foreach(list, index, item) if (strcmp(text_of(item, a), a_is) == 0 &&
                                            (!b || strcmp(text_of(item, b), b_is) == 0)) return item;
  return NULL;
}

static inline void assert_verdict(const Rehearse *it, const char *verdict) {
  if (it->status != STATUS_OK)
    fail_msg("%s: %s", error_code(it->status), it->failure.message);
  if (strcmp(text_of(it->report, "verdict"), verdict) != 0) {
    CLEANUP_FREE char *all = json_dumps(it->report, JSON_INDENT(1));
    fail_msg("not %s: %.8000s", verdict, all);
  }
}

/* The finding of that kind about that object, as dangerous as expected; its detail. */
static inline const char *finding(const Rehearse *it, const char *kind, const char *object, bool danger) {
  const json_t *list = json_object_get(it->report, "findings");
  const json_t *found = find(list, "kind", kind, "object", object);
  if (!found || json_is_true(json_object_get(found, "danger")) != danger) {
    CLEANUP_FREE char *all = json_dumps(list, JSON_INDENT(1));
    fail_msg("no %s of %s: %.30000s", kind, object, all);
  }
  return text_of(found, "detail");
}

#endif
