/*
 * A shop's database, one checkpoint of it, and copies of it to be damaged: CREATE DATABASE ... TEMPLATE keeps every
 * OID, so a copy is to the checkpoint what the database itself would be. On top of the dump job's fixture.
 */
#ifndef PGSEAL_TESTS_RECOVERY_FIXTURE_H
#define PGSEAL_TESTS_RECOVERY_FIXTURE_H

#include "tests/unit/agent/jobs/dump_fixture.h"

#include <jansson.h>

static const char shop_sql[] =
    "CREATE SCHEMA audit; CREATE SCHEMA \"Odd \"\"Schema\";"
    "CREATE TYPE state AS ENUM ('open', 'final');"
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE);"
    "CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric(10,2),"
    "  note text DEFAULT 'none', placed timestamptz, CONSTRAINT positive CHECK (total >= 0));"
    "CREATE INDEX orders_placed ON orders (placed);"
    "CREATE TABLE payments (id int PRIMARY KEY, order_id bigint REFERENCES orders (id), amount int);"
    "CREATE TABLE invoices (id int, part int, s state, body text, PRIMARY KEY (part, id));"
    "CREATE TABLE audit.history (at timestamptz, what text);"
    "CREATE TABLE \"Odd \"\"Schema\".\"t able's\" (\"Key\" int PRIMARY KEY, \"a\tb\" text);"
    "CREATE TABLE parts (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);"
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);"
    "CREATE TABLE devices (id uuid PRIMARY KEY, name text);"
    "CREATE TABLE drafts (id int PRIMARY KEY, note text);"
    "CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;"
    "CREATE VIEW biggest AS SELECT max(total) FROM big_orders;"
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;"
    "CREATE TRIGGER touched BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch();"
    "COMMENT ON TABLE orders IS 'what was ordered';"
    "INSERT INTO customers SELECT g, 'name ' || g, g || '@example.com' FROM generate_series(1, 1000) g;"
    "INSERT INTO orders (customer_id, total, placed) SELECT 1 + g % 1000, g, '2026-01-01'::timestamptz + g * interval "
    "'1 min' FROM generate_series(1, 2000) g;"
    "INSERT INTO payments SELECT g, g, g FROM generate_series(1, 500) g;"
    "INSERT INTO invoices SELECT g, g % 3, CASE WHEN g % 3 = 0 THEN 'final' ELSE 'open' END::state,"
    "  E'tab\\t, nl\\n, \\\\ ' || g FROM generate_series(1, 3000) g;"
    "INSERT INTO audit.history SELECT now(), repeat(md5(g::text), 10) FROM generate_series(1, 10000) g;"
    "INSERT INTO \"Odd \"\"Schema\".\"t able's\" VALUES (1, E'\\t'), (2, NULL), (3, E'\\\\.');"
    "INSERT INTO devices SELECT md5(g::text)::uuid, 'd' || g FROM generate_series(1, 300) g;"
    "INSERT INTO parts SELECT g, 'v' || g FROM generate_series(0, 199) g;";

static inline int recovery_setup(void **state) {
  fixture_setup(state);
  Fixture *fixture = *state;
  fixture->config.decryption_key = fixture->key_path;
  fixture->config.decryption_certificate = fixture->certificate;
  sql(fixture, "postgres", "CREATE DATABASE shop");
  sql(fixture, "postgres", "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader");
  sql(fixture, "shop", shop_sql);
  return 0;
}

/* A checkpoint that a plan or restore is asked for. */
typedef struct Sealed {
  char *prefix, *sha256;
} Sealed;

static inline void sealed_release(Sealed *sealed) {
  free(sealed->prefix);
  free(sealed->sha256);
}

static inline Sealed seal(Fixture *fixture, const char *database) {
  Pgseal__JobResult *result = NULL;
  Error err = {0};
  CLEANUP_FREE char *more = memory_format("user=postgres dbname=%s", database);
  if (run_dump(fixture, more, &result, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  Sealed sealed = {memory_strdup(fixture->job.prefix), memory_strdup(result->dump->manifest_sha256)};
  pgseal__job_result__free_unpacked(result, NULL);
  return sealed;
}

/* The job as the coordinator would send it; `more` says where the live database is. */
static inline void recovery_job(Fixture *fixture, const Sealed *sealed, const char *more, const char *request,
                                Pgseal__RecoverySpec *spec) {
  CLEANUP_FREE char *conninfo = memory_format("host=%s %s", fixture->directory, more);
  write_text(fixture->conninfo_path, conninfo);
  pgseal__recovery_spec__init(spec);
  spec->dump_public_key = (ProtobufCBinaryData){PUBLIC_KEY_SIZE, fixture->public_key};
  spec->dump_agent = (char *)"agent-1";
  spec->manifest_sha256 = sealed->sha256;
  spec->server_major = 15;
  spec->request_json = (char *)request;
  spec->proven = true;
  spec->environment = (char *)"production";
  free(fixture->job.prefix);
  fixture->job.prefix = memory_strdup(sealed->prefix);
  fixture->job.recovery = spec;
  fixture->channel.segments = 0;
}

/* The one of that name before is put aside: to drop it would cost a checkpoint of the server's. */
static inline void copy_database(const Fixture *fixture, const char *name) {
  static int copies = 0;
  CLEANUP_FREE char *aside = memory_format("ALTER DATABASE %s RENAME TO %s_%d", name, name, ++copies);
  CLEANUP_FREE char *create = memory_format("CREATE DATABASE %s TEMPLATE shop", name);
  CLEANUP_FREE char *exists = memory_format("SELECT count(*) FROM pg_database WHERE datname = '%s'", name);
  if (sql_number(fixture, exists) > 0)
    sql(fixture, "postgres", aside);
  sql(fixture, "postgres", create);
}

#endif
