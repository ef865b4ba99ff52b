/* Plans of real damage: what is found, what is advised, and what it does not do. */
#include "tests/unit/agent/recovery/plan_fixture.h"

static void nothing_changed(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "SELECT 1", "{}");
  assert_damage(report, "none");
  assert_int_equal(json_array_size(json_object_get(report, "objects")), 0);
  assert_int_equal(json_array_size(json_object_get(report, "tables")), 10);
  assert_int_equal(number_of(table_of(report, "orders"), "rows_now"), 2000);
  assert_string_equal(text_of(table_of(report, "orders"), "state"), "same");
  way_of(report, "roll_forward", false);
  way_of(report, "compensate", false);
  way_of(report, "restore_tables", false);
  way_of(report, "restore_database", true);
  const json_t *read = json_object_get(report, "read"), *target = json_object_get(report, "target");
  assert_true(number_of(read, "of_segments") > 3);
  assert_int_equal(number_of(read, "segments"), 1); /* the TOC's */
  assert_true(number_of(read, "bytes") < number_of(read, "of"));
  assert_string_equal(text_of(target, "database_name"), "live");
  assert_string_equal(text_of(target, "user"), "postgres");
  assert_string_equal(text_of(json_object_get(report, "checkpoint"), "tag"), "pre-deploy");
}

static void dropped_table_with_cascade(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "DROP TABLE orders CASCADE", "{}");
  assert_damage(report, "lost");
  assert_string_equal(text_of(table_of(report, "orders"), "state"), "missing");
  assert_string_equal(text_of(table_of(report, "payments"), "state"), "same");
  found(report, "objects", "desc", "TABLE", "name", "orders");
  found(report, "objects", "desc", "INDEX", "name", "orders_placed");
  assert_string_equal(text_of(found(report, "objects", "desc", "VIEW", "name", "big_orders"), "because_of"),
                      "public.orders");
  assert_non_null(found(report, "objects", "desc", "VIEW", "name", "biggest"));
  const json_t *foreign = found(report, "objects", "desc", "FK CONSTRAINT", "table", "payments");
  assert_string_equal(text_of(foreign, "because_of"), "public.orders");
  const json_t *way = way_of(report, "restore_tables", true);
  assert_non_null(strstr(text_of(way, "command"), "pgseal restore shop --checkpoint 01hzzzzzzzzzzzzzzzzzzzzzzz"));
  assert_non_null(strstr(text_of(way, "command"), "--table public.orders"));
  assert_true(number_of(way, "bytes_to_read") < number_of(way, "of_bytes"));
  assert_int_equal(number_of(way, "rows"), 2000);
  assert_int_equal(number_of(way, "rows_lost_since"), 0);
  assert_true(json_is_null(json_object_get(way, "seconds"))); /* no drill that tells */
  way_of(report, "roll_forward", false);                      /* what went with the table comes back with it */
  way_of(report, "compensate", false);
  assert_non_null(strstr(text_of(report, "advice"), "put it back"));
}

/* Dropped and made again: the name is there, the rows are not. Known by the table's OID, so of the very database. */
static void recreated_table(void **state) {
  const Shop *shop = *state;
  copy_database(shop->fixture, "own");
  CLEANUP(sealed_release) Sealed sealed = seal(shop->fixture, "own");
  sql(shop->fixture, "own",
      "DROP TABLE orders CASCADE; CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id int);"
      "ALTER TABLE drafts RENAME TO was_drafts; CREATE TABLE drafts (id int PRIMARY KEY, note text)");
  json_t *report = NULL;
  Error err = {0};
  if (try_plan(shop, &sealed, "user=postgres dbname=own", "{}", &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  CLEANUP(json_decrefp) json_t *owned = report;
  assert_damage(report, "lost");
  const json_t *table = table_of(report, "orders");
  assert_string_equal(text_of(table, "state"), "fewer");
  assert_int_equal(number_of(table, "rows_now"), 0);
  assert_true(json_is_true(json_object_get(table, "recreated")));
  found(report, "columns", "column", "total", "change", "missing");
  found(report, "objects", "desc", "FK CONSTRAINT", "table", "payments");
  way_of(report, "compensate", true);
}

static void dropped_column(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *report = plan_after(shop, "ALTER TABLE orders DROP COLUMN placed; ALTER TABLE drafts DROP COLUMN note", "{}");
  assert_damage(report, "lost");
  const json_t *column = found(report, "columns", "column", "placed", "change", "missing");
  assert_string_equal(text_of(column, "table"), "orders");
  assert_string_equal(text_of(table_of(report, "orders"), "state"), "same");
  found(report, "objects", "desc", "INDEX", "name", "orders_placed");
  const json_t *way = way_of(report, "compensate", true); /* the values: only of a table that has some */
  assert_true(mentions(json_object_get(way, "tables"), "\"orders\""));
  assert_false(mentions(json_object_get(way, "tables"), "\"drafts\""));
  CLEANUP(json_decrefp) json_t *again = roll_forward(shop, report);
  assert_null(find(again, "columns", "change", "missing", NULL, NULL));
  assert_null(find(again, "objects", "change", "missing", NULL, NULL));
}

static void retyped_column(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *report = plan_after(shop, "ALTER TABLE payments ALTER amount TYPE text", "{\"rows\": [\"payments\"]}");
  assert_damage(report, "changed");
  const json_t *column = found(report, "columns", "column", "amount", "change", "retyped");
  assert_string_equal(text_of(column, "was"), "integer");
  assert_string_equal(text_of(column, "is"), "text");
  const json_t *table = table_of(report, "payments");
  assert_int_equal(number_of(table, "rows_changed"), 0); /* of the other columns */
  assert_true(mentions(table, "1 of its columns"));
  assert_rolls_forward(shop, report);
}

static void dropped_constraints_and_index(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *report = plan_after(shop,
                              "ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey, DROP CONSTRAINT positive;"
                              "DROP INDEX orders_placed; DROP TRIGGER touched ON customers; DROP VIEW biggest",
                              "{}");
  assert_damage(report, "lost");
  const json_t *foreign = found(report, "objects", "desc", "FK CONSTRAINT", "name", "orders_customer_id_fkey");
  assert_string_equal(text_of(foreign, "table"), "orders");
  assert_true(mentions(way_of(report, "roll_forward", true), "CREATE INDEX orders_placed"));
  way_of(report, "restore_tables", false);
  assert_rolls_forward(shop, report);
}

static void dropped_function_and_grant(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *report = plan_after(shop, "DROP FUNCTION touch() CASCADE; COMMENT ON TABLE orders IS NULL", "{}");
  assert_damage(report, "lost");
  found(report, "objects", "desc", "FUNCTION", "change", "missing");
  found(report, "objects", "desc", "TRIGGER", "name", "touched");
  assert_rolls_forward(shop, report);
  CLEANUP(json_decrefp) json_t *remark = plan_after(shop, "COMMENT ON TABLE orders IS NULL", "{}");
  assert_damage(remark, "changed");
}

static void renamed_table(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *report = plan_after(shop, "ALTER TABLE invoices RENAME TO bills; DELETE FROM bills WHERE id <= 30",
                              "{\"rows\": [\"invoices\"]}");
  assert_damage(report, "changed");
  const json_t *rename = found(report, "renames", "from", "invoices", "desc", "TABLE");
  assert_string_equal(text_of(rename, "to"), "bills");
  const json_t *table = table_of(report, "invoices");
  assert_string_equal(text_of(table, "state"), "fewer");
  assert_int_equal(number_of(table, "rows_now"), 2970);
  assert_int_equal(number_of(table, "rows_missing"), 30);
  way_of(report, "restore_tables", false);
  assert_true(mentions(way_of(report, "roll_forward", true), "RENAME"));
}

/* The wrong DELETE, with writes going on. */
static void deleted_rows(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *few = plan_after(shop, "DELETE FROM invoices WHERE id <= 150", "{}");
  assert_damage(few, "changed"); /* 5 %, not more */
  assert_string_equal(text_of(table_of(few, "invoices"), "state"), "fewer");
  CLEANUP(json_decrefp) json_t *more = plan_after(shop, "DELETE FROM invoices WHERE id <= 151", "{}");
  assert_damage(more, "lost");
  CLEANUP(json_decrefp)
  json_t *strict = plan_after(shop, "DELETE FROM invoices WHERE id = 1", "{\"threshold_percent\": 0}");
  assert_damage(strict, "lost");
  CLEANUP(json_decrefp)
  json_t *rows = plan_after(shop,
                            "DELETE FROM invoices WHERE s = 'final'; UPDATE invoices SET body = 'x' WHERE id = 1;"
                            "INSERT INTO invoices SELECT g, 0, 'open', 'new' FROM generate_series(10001, 11007) g;"
                            "DELETE FROM devices WHERE name < 'd3'; INSERT INTO devices VALUES (md5('x')::uuid, 'new')",
                            "{\"rows\": [\"invoices\", \"devices\"], \"digests\": [\"customers\"]}");
  assert_damage(rows, "lost"); /* as many rows as ever and more */
  const json_t *table = table_of(rows, "invoices");
  assert_string_equal(text_of(table, "state"), "more");
  assert_int_equal(number_of(table, "rows_missing"), 1000);
  assert_int_equal(number_of(table, "rows_changed"), 1);
  assert_int_equal(number_of(table, "rows_new"), 1007);
  const json_t *key = json_object_get(table, "key");
  assert_string_equal(json_string_value(json_array_get(key, 0)), "part");
  assert_string_equal(json_string_value(json_array_get(key, 1)), "id");
  assert_string_equal(text_of(table_of(rows, "customers"), "state"), "content_same");
  assert_int_equal(number_of(table_of(rows, "devices"), "rows_missing"), 222);
  assert_int_equal(number_of(table_of(rows, "devices"), "rows_new"), 1);
  const json_t *way = way_of(rows, "compensate", true);
  assert_int_equal(number_of(found(way, "tables", "name", "invoices", NULL, NULL), "rows"), 1001);
  assert_non_null(strstr(text_of(way, "command"), " --beside --table"));
  const json_t *replace = json_array_get(json_object_get(rows, "ways"), 3);
  assert_true(json_is_true(json_object_get(replace, "replace")));
  assert_int_equal(number_of(replace, "rows_lost_since"), 1009);
  assert_true(number_of(json_object_get(rows, "read"), "segments") <
              number_of(json_object_get(rows, "read"), "of_segments"));
}

static void updated_rows(void **state) {
  const Shop *shop = *state;
  static const char wrong[] = "UPDATE customers SET email = 'x' || id";
  CLEANUP(json_decrefp) json_t *blind = plan_after(shop, wrong, "{}");
  assert_damage(blind, "none"); /* counts do not see it */
  CLEANUP(json_decrefp) json_t *digest = plan_after(shop, wrong, "{\"digests\": [\"c*\"]}");
  assert_damage(digest, "changed");
  assert_string_equal(text_of(table_of(digest, "customers"), "state"), "content_changed");
  assert_true(json_is_null(
      json_object_get(json_array_get(json_object_get(way_of(digest, "compensate", true), "tables"), 0), "rows")));
  CLEANUP(json_decrefp)
  json_t *rows =
      plan_after(shop, "UPDATE customers SET email = 'x' || id WHERE id > 990", "{\"rows\": [\"customers\"]}");
  assert_damage(rows, "changed");
  assert_string_equal(text_of(table_of(rows, "customers"), "state"), "content_changed");
  assert_int_equal(number_of(table_of(rows, "customers"), "rows_changed"), 10);
  assert_int_equal(number_of(table_of(rows, "customers"), "rows_missing"), 0);
}

static void truncated_table(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "TRUNCATE audit.history", "{\"rows\": [\"audit.*\"]}");
  assert_damage(report, "lost");
  const json_t *table = table_of(report, "history");
  assert_string_equal(text_of(table, "state"), "fewer");
  assert_true(mentions(table, "no primary key"));
  assert_true(mentions(way_of(report, "compensate", true), "without a primary key (1 of these)"));
  const json_t *replace = json_array_get(json_object_get(report, "ways"), 3);
  assert_non_null(strstr(text_of(replace, "command"), "--replace --table audit.history"));
  assert_true(json_is_null(json_object_get(replace, "rows_lost_since")));
}

static void odd_names(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *rows = plan_after(shop, "DELETE FROM \"Odd \"\"Schema\".\"t able's\" WHERE \"Key\" = 3",
                            "{\"rows\": [\"\\\"Odd \\\"\\\"Schema\\\".*\"]}");
  assert_int_equal(number_of(table_of(rows, "t able's"), "rows_missing"), 1);
  assert_int_equal(number_of(table_of(rows, "t able's"), "rows_changed"), 0);
  CLEANUP(json_decrefp) json_t *gone = plan_after(shop, "DROP SCHEMA \"Odd \"\"Schema\" CASCADE", "{}");
  assert_damage(gone, "lost");
  assert_string_equal(text_of(table_of(gone, "t able's"), "schema"), "Odd \"Schema");
  assert_non_null(strstr(text_of(way_of(gone, "restore_tables", true), "command"),
                         "--table '\"Odd \"\"Schema\".\"t able'\\''s\"'"));
}

static void partitions(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *one = plan_after(shop, "DROP TABLE parts_2", "{}");
  assert_damage(one, "lost");
  assert_non_null(strstr(text_of(way_of(one, "restore_tables", true), "command"), "--table public.parts_2"));
  CLEANUP(json_decrefp) json_t *all = plan_after(shop, "DROP TABLE parts", "{}");
  const char *command = text_of(way_of(all, "restore_tables", true), "command");
  assert_string_equal(strstr(command, " --table"), " --table public.parts");
  CLEANUP(json_decrefp)
  json_t *rows = plan_after(shop, "DELETE FROM parts WHERE k % 10 = 0", "{\"rows\": [\"parts\"]}");
  assert_int_equal(number_of(table_of(rows, "parts_1"), "rows_missing"), 10);
  assert_int_equal(number_of(table_of(rows, "parts_2"), "rows_missing"), 10);
}

static void empty_tables_and_additions(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "DROP TABLE drafts; CREATE TABLE brand_new (a int)", "{}");
  assert_damage(report, "lost");
  found(report, "objects", "change", "added", "name", "brand_new");
  assert_true(mentions(way_of(report, "roll_forward", true), "CREATE TABLE public.drafts"));
  CLEANUP(json_decrefp) json_t *again = roll_forward(shop, report);
  assert_damage(again, "changed"); /* what was added is there */
  assert_null(find(again, "objects", "change", "missing", NULL, NULL));
}

/* Only some of the tables. */
static void chosen_tables(void **state) {
  const Shop *shop = *state;
  static const char damage[] = "DROP TABLE payments; TRUNCATE audit.history; CREATE TABLE brand_new (a int);"
                               "CREATE INDEX another ON customers (name)";
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, damage, "{\"tables\": [\"customers\"]}");
  assert_int_equal(json_array_size(json_object_get(report, "tables")), 1);
  found(report, "objects", "name", "another", "change", "added");
  assert_null(find(report, "objects", "name", "brand_new", NULL, NULL));
  assert_damage(report, "changed");
}

static void refusals(void **state) {
  const Shop *shop = *state;
  json_t *report = NULL;
  Error err = {0};
  static const char live[] = "user=postgres dbname=shop";
  assert_int_equal(try_plan(shop, &shop->sealed, live, "{\"tables\": [\"ordres\"]}", &report, &err), ERR_NOT_FOUND);
  assert_non_null(strstr(err.remedy, "orders"));
  assert_int_equal(try_plan(shop, &shop->sealed, live, "{\"rows\": [\"nope.*\"]}", &report, &err), ERR_NOT_FOUND);
  assert_int_equal(try_plan(shop, &shop->sealed, live, "[]", &report, &err), ERR_PROTOCOL);
  assert_int_equal(try_plan(shop, &shop->sealed, "user=postgres dbname=nope", "{}", &report, &err),
                   ERR_DATABASE_REFUSED);
  Sealed other = shop->sealed;
  other.sha256 = (char *)"0000000000000000000000000000000000000000000000000000000000000000";
  assert_int_equal(try_plan(shop, &other, live, "{}", &report, &err), ERR_MANIFEST_INVALID);
  assert_null(report);
}

static void connection_of_its_own(void **state) {
  const Shop *shop = *state;
  AgentDatabase *database = &shop->fixture->database;
  const AgentDatabase before = *database;
  database->conninfo_file = "/nonexistent";
  database->restore_conninfo_file = before.conninfo_file;
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "SELECT 1", "{}");
  *database = before;
  assert_damage(report, "none");
}

/* What the migration made without a grant keeps nothing else from being seen. */
static void unreadable_table(void **state) {
  const Shop *shop = *state;
  copy_database(shop->fixture, "live");
  sql(shop->fixture, "live",
      "REVOKE pg_read_all_data FROM reader; GRANT SELECT ON ALL TABLES IN SCHEMA public, audit TO reader;"
      "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader; GRANT USAGE ON SCHEMA audit TO reader;"
      "REVOKE SELECT ON payments FROM reader; CREATE TABLE secret (a int); DROP TABLE invoices");
  json_t *report = NULL;
  Error err = {0};
  Status status = try_plan(shop, &shop->sealed, "user=reader dbname=live", "{}", &report, &err);
  sql(shop->fixture, "live", "GRANT pg_read_all_data TO reader");
  if (status != STATUS_OK)
    fail_msg("%s", err.message);
  CLEANUP(json_decrefp) json_t *owned = report;
  assert_damage(report, "lost");
  assert_string_equal(text_of(table_of(report, "payments"), "state"), "unreadable");
  assert_int_equal(number_of(report, "unread"), 2); /* one is hidden by row security */
  assert_non_null(strstr(text_of(report, "advice"), "What became of 2 tables is not known"));
  assert_string_equal(text_of(table_of(report, "invoices"), "state"), "missing");
  assert_null(find(report, "objects", "name", "payments", NULL, NULL));
  assert_null(find(report, "objects", "table", "payments", NULL, NULL));
  assert_true(mentions(json_object_get(report, "notes"), "payments"));
}

static void locked_table(void **state) {
  const Shop *shop = *state;
  copy_database(shop->fixture, "live");
  PGconn *blocker = connect_to(shop->fixture, "live", "postgres");
  sql_on(blocker, "BEGIN; LOCK TABLE orders");
  json_t *report = NULL;
  Error err = {0};
  assert_int_equal(try_plan(shop, &shop->sealed, "user=postgres dbname=live", "{}", &report, &err), ERR_LOCK_TIMEOUT);
  assert_non_null(strstr(err.object, "orders"));
  PQfinish(blocker);
}

static Status cancel_at_once(JobChannel *channel, Error *err) {
  return strcmp(channel->phase, "comparing") == 0 ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void canceled_plan_leaves_nothing(void **state) {
  const Shop *shop = *state;
  copy_database(shop->fixture, "live");
  json_t *report = NULL;
  Error err = {0};
  shop->fixture->channel.hook = cancel_at_once;
  *shop->fixture->channel.phase = 0;
  assert_int_equal(try_plan(shop, &shop->sealed, "user=postgres dbname=live", "{}", &report, &err), ERR_CANCELED);
  while (sql_number(shop->fixture, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'live'") > 0)
    usleep(100000);
}

static void empty_database(void **state) {
  const Shop *shop = *state;
  sql(shop->fixture, "postgres", "CREATE DATABASE nothing TEMPLATE template0");
  CLEANUP(sealed_release) Sealed sealed = seal(shop->fixture, "nothing");
  json_t *report = NULL;
  Error err = {0};
  if (try_plan(shop, &sealed, "user=postgres dbname=nothing", "{}", &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_damage(report, "none");
  json_decref(report);
  /* and the whole shop is gone */
  if (try_plan(shop, &shop->sealed, "user=postgres dbname=nothing", "{}", &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_damage(report, "lost");
  assert_int_equal(json_array_size(json_object_get(way_of(report, "restore_tables", true), "tables")), 10);
  json_decref(report);
}

/* Names in the database's own encoding; the report is UTF-8, and so are the statements in it. */
static void names_in_latin1(void **state) {
  const Shop *shop = *state;
  sql(shop->fixture, "postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1");
  sql(shop->fixture, "latin",
      "CREATE TABLE U&\"caf\\00E9s\" (id int PRIMARY KEY, U&\"pr\\00E9nom\" text);"
      "INSERT INTO U&\"caf\\00E9s\" SELECT g, U&'na\\00EFf' FROM generate_series(1, 20) g;"
      "CREATE INDEX U&\"ind\\00E9x\" ON U&\"caf\\00E9s\" (U&\"pr\\00E9nom\")");
  CLEANUP(sealed_release) Sealed sealed = seal(shop->fixture, "latin");
  sql(shop->fixture, "latin", "DROP INDEX U&\"ind\\00E9x\"; DELETE FROM U&\"caf\\00E9s\" WHERE id < 5");
  json_t *report = NULL;
  Error err = {0};
  static const char request[] = "{\"rows\": [\"caf\303\251s\"], \"tables\": [\"public.caf*\", \"caf\303\251s\"]}";
  if (try_plan(shop, &sealed, "user=postgres dbname=latin", request, &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_int_equal(number_of(table_of(report, "caf\303\251s"), "rows_missing"), 4);
  assert_int_equal(number_of(table_of(report, "caf\303\251s"), "rows_changed"), 0);
  const json_t *sql = json_object_get(way_of(report, "roll_forward", true), "sql");
  assert_non_null(strstr(json_string_value(json_array_get(sql, 0)), "\"ind\303\251x\" ON public.\"caf\303\251s\""));
  json_decref(report);
}

static void put_proof(const Shop *shop, const char *drill, Outcome outcome, int64_t bytes, const char *manifest) {
  const Fixture *fixture = shop->fixture;
  const char *paths[] = {fixture->certificate};
  char sha256[SHA256_HEX_SIZE];
  Repository *repository = NULL;
  Recipients *recipients = NULL;
  SigningKey *signer = NULL;
  Error err;
  Proof proof = {.drill_id = memory_strdup(drill),
                 .checkpoint_id = memory_strdup(fixture->job.checkpoint_id),
                 .database = memory_strdup("shop"),
                 .tag = memory_strdup(""),
                 .agent = memory_strdup("agent-1"),
                 .outcome = outcome,
                 .server_version = memory_strdup(""),
                 .dump_version = memory_strdup(""),
                 .image = memory_strdup(""),
                 .engine = memory_strdup(""),
                 .pgseal_version = memory_strdup(""),
                 .bytes = bytes,
                 .fingerprint_sha256 = "",
                 .assertions = json_array(),
                 .stages = json_pack("{s:f, s:f}", "restore", 30.0, "index", 10.0)};
  snprintf(proof.manifest_sha256, sizeof proof.manifest_sha256, "%s", manifest);
  memset(proof.fingerprint_sha256, 'a', 2 * SHA256_SIZE);
  if (outcome == OUTCOME_FAILED)
    error_set(&proof.error, ERR_ROUND_TRIP_DIFFERS, "it differs");
  assert_int_equal(directory_repository_open(fixture->repository_directory, &repository, &err), STATUS_OK);
  assert_int_equal(recipients_load(paths, 1, &recipients, &err), STATUS_OK);
  assert_int_equal(signing_key_load(fixture->signing_path, &signer, &err), STATUS_OK);
  CLEANUP_FREE char *key = proof_key(shop->sealed.prefix, drill);
  json_t *json = proof_to_json(&proof);
  if (document_put(repository, key, json, "proof", signer, recipients, sha256, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  json_decref(json);
  signing_key_free(signer);
  recipients_free(recipients);
  repository_close(repository);
  proof_release(&proof);
}

/* Estimates are what this checkpoint's own newest proven drill took, for the share of the rows. */
static void seconds_by_the_drill(void **state) {
  const Shop *shop = *state;
  static const char other[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
  put_proof(shop, "01a", OUTCOME_PROVEN, 4000, shop->sealed.sha256);
  put_proof(shop, "01b", OUTCOME_PROVEN, 87572 * 4, shop->sealed.sha256);
  put_proof(shop, "01c", OUTCOME_FAILED, 1, shop->sealed.sha256);
  put_proof(shop, "01d", OUTCOME_PROVEN, 1, other); /* of another manifest */
  CLEANUP(json_decrefp) json_t *report = plan_after(shop, "DROP TABLE orders CASCADE", "{}");
  double seconds = json_real_value(json_object_get(way_of(report, "restore_tables", true), "seconds"));
  int64_t bytes = number_of(table_of(report, "orders"), "bytes");
  assert_true(seconds > 39.0 * (double)bytes / (87572 * 4) && seconds < 41.0 * (double)bytes / (87572 * 4));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_changed),
      cmocka_unit_test(dropped_table_with_cascade),
      cmocka_unit_test(recreated_table),
      cmocka_unit_test(dropped_column),
      cmocka_unit_test(retyped_column),
      cmocka_unit_test(dropped_constraints_and_index),
      cmocka_unit_test(dropped_function_and_grant),
      cmocka_unit_test(renamed_table),
      cmocka_unit_test(deleted_rows),
      cmocka_unit_test(updated_rows),
      cmocka_unit_test(truncated_table),
      cmocka_unit_test(odd_names),
      cmocka_unit_test(partitions),
      cmocka_unit_test(empty_tables_and_additions),
      cmocka_unit_test(chosen_tables),
      cmocka_unit_test(refusals),
      cmocka_unit_test(connection_of_its_own),
      cmocka_unit_test(unreadable_table),
      cmocka_unit_test(locked_table),
      cmocka_unit_test(canceled_plan_leaves_nothing),
      cmocka_unit_test(empty_database),
      cmocka_unit_test(names_in_latin1),
      cmocka_unit_test(seconds_by_the_drill),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
