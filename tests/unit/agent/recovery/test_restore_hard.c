/* Restores of what is hard to put back, into targets that refuse, and when the way there breaks. */
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/clock.h"
#include "tests/unit/agent/recovery/restore_fixture.h"

static int setup(void **state) {
  recovery_setup(state);
  sql(*state, "postgres", "CREATE ROLE app; CREATE ROLE weak LOGIN; CREATE ROLE strong LOGIN; GRANT app TO strong");
  return 0;
}

static void verified(Fixture *fixture, const Sealed *sealed, const char *request) {
  json_t *report = restored(fixture, sealed, request);
  expect_flag(report, "verified", true);
  json_decref(report);
}

static void expect_nothing(const Fixture *fixture) {
  expect_shop(fixture,
              "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
              " WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p')",
              "0");
  expect_shop(fixture, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgseal%'", "0");
}

static void test_partitioned(void **state) {
  Fixture *fixture = *state;
  shop_make(
      fixture,
      "CREATE TABLE events (id bigserial, at date NOT NULL, what text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
      "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
      "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');"
      "CREATE INDEX events_what ON events (what);"
      "INSERT INTO events (at, what) SELECT '2026-01-05'::date + g % 40, g FROM generate_series(1, 400) g");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *rows = shop_text(fixture, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e");
  run_sql(fixture, "DROP TABLE events_2");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"events_2\"]}");
  expect_shop(fixture, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e", rows);
  run_sql(fixture, "DELETE FROM events_1");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"events_1\"],\"replace\":true}");
  expect_shop(fixture, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e", rows);
  run_sql(fixture, "DROP SCHEMA pgseal_displaced_zzzzzzzz CASCADE; DROP TABLE events");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"events\"]}");
  expect_shop(fixture, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e", rows);
  /* a partition that came since goes aside with its table */
  run_sql(fixture, "CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');"
                   "INSERT INTO events (at, what) VALUES ('2026-03-03', 'new')");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"events\"],\"replace\":true}");
  expect_shop(fixture, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e", rows);
  expect_shop(fixture, "SELECT count(*) FROM pgseal_displaced_zzzzzzzz.events", "401");
}

static void test_circular(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture,
            "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
            "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; INSERT INTO a VALUES (1, NULL), (2, NULL);"
            "INSERT INTO b VALUES (1, 2), (2, 1); UPDATE a SET b = 3 - id");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE a, b CASCADE");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"a\",\"b\"]}");
  expect_shop(fixture, "SELECT count(*) FROM a JOIN b ON b.id = a.b", "2");
  expect_shop(fixture, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated", "2");
}

static void test_names(void **state) {
  Fixture *fixture = *state;
  shop_make(
      fixture,
      "CREATE SCHEMA \"Odd schema\"; CREATE TABLE \"Odd schema\".\"na\"\"me; DROP\" (\"Id \"\"x\" int"
      " GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"select\" text, \"twice\" text GENERATED ALWAYS AS (\"select\" || "
      "'!')"
      " STORED); CREATE TABLE \"Odd schema\".\"child's\" (\"from\" int REFERENCES \"Odd schema\".\"na\"\"me; DROP\");"
      "CREATE INDEX \"i'dx\" ON \"Odd schema\".\"na\"\"me; DROP\" (\"select\");"
      "COMMENT ON COLUMN \"Odd schema\".\"na\"\"me; DROP\".\"select\" IS 'it''s; -- odd';"
      "INSERT INTO \"Odd schema\".\"na\"\"me; DROP\" (\"select\") VALUES (E'a\\tb'), (E'\\\\.'), (NULL), ('');"
      "INSERT INTO \"Odd schema\".\"child's\" VALUES (2)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE \"Odd schema\".\"na\"\"me; DROP\" CASCADE");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"\\\"Odd schema\\\".\\\"na\\\"\\\"me; DROP\\\"\"]}");
  expect_shop(fixture, "SELECT string_agg(twice, ',' ORDER BY \"Id \"\"x\") FROM \"Odd schema\".\"na\"\"me; DROP\"",
              "a\tb!,\\.!,!");
  expect_shop(fixture, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated", "1");
  expect_shop(fixture, "INSERT INTO \"Odd schema\".\"na\"\"me; DROP\" (\"select\") VALUES ('n') RETURNING \"Id \"\"x\"",
              "5");
}

static void test_row_security(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture,
            "CREATE TABLE mine (id int PRIMARY KEY, who text); ALTER TABLE mine ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY own ON mine FOR SELECT TO app USING (who = current_user); INSERT INTO mine VALUES (1, 'a');"
            "ALTER TABLE mine FORCE ROW LEVEL SECURITY; ALTER TABLE mine OWNER TO app; GRANT CREATE ON SCHEMA public "
            "TO strong, app");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE mine");
  expect_refused_as(fixture, &sealed, "strong", "{\"mode\":\"in_place\",\"tables\":[\"mine\"]}", ERR_ROW_SECURITY,
                    "public.mine", &err);
  assert_non_null(strstr(err.remedy, "BYPASSRLS"));
  expect_nothing(fixture);
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"mine\"]}");
  expect_shop(fixture, "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'mine'", "t");
}

static void test_roles(void **state) {
  Fixture *fixture = *state;
  Error err;
  sql(fixture, "postgres", "CREATE ROLE gone_owner; CREATE ROLE \"Gone reader\"; CREATE ROLE gone_policy");
  shop_make(fixture, "CREATE TABLE t (id int); GRANT SELECT ON t TO \"Gone reader\"; ALTER TABLE t OWNER TO gone_owner;"
                     "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO gone_policy USING (id > 0)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE t");
  sql(fixture, "postgres", "DROP ROLE gone_owner; DROP ROLE \"Gone reader\"; DROP ROLE gone_policy");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"t\"]}", ERR_ROLE_MISSING, "gone_owner", &err);
  assert_non_null(strstr(err.message, "\"Gone reader\""));
  assert_non_null(strstr(err.message, "gone_policy"));
  assert_non_null(strstr(err.remedy, "CREATE ROLE \"Gone reader\";"));
  expect_nothing(fixture);
}

static void test_privileges(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent);"
                     "ALTER TABLE parent OWNER TO app");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE parent CASCADE");
  const char *request = "{\"mode\":\"in_place\",\"tables\":[\"parent\"]}";
  expect_refused_as(fixture, &sealed, "weak", request, ERR_FORBIDDEN, "public.child", &err);
  run_sql(fixture, "GRANT SELECT ON child TO weak");
  expect_refused_as(fixture, &sealed, "weak", request, ERR_FORBIDDEN, "app", &err);
  run_sql(fixture, "GRANT SELECT ON child TO strong");
  expect_refused_as(fixture, &sealed, "strong", request, ERR_FORBIDDEN, "public (strong)", &err);
  run_sql(fixture, "REVOKE SELECT ON child FROM strong");
  run_sql(fixture, "GRANT CREATE ON SCHEMA public TO strong, app");
  expect_refused_as(fixture, &sealed, "strong", request, ERR_FORBIDDEN, "may not read", &err);
  run_sql(fixture, "GRANT SELECT ON child TO strong");
  expect_refused_as(fixture, &sealed, "strong", request, ERR_FORBIDDEN, "public.child", &err);
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 'parent'", "0");
}

static void test_target(void **state) {
  Fixture *fixture = *state;
  Error err;
  json_t *report = NULL;
  shop_make(fixture, "CREATE TABLE t (id int)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  assert_int_equal(run_restore_as(fixture, &sealed, "postgres", "postgres",
                                  "{\"mode\":\"in_place\",\"tables\":[\"t\"]}", &report, &err),
                   ERR_CONFLICT);
  json_decref(report);
  assert_non_null(strstr(err.message, "\"postgres\""));
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"tt\"]}", ERR_NOT_FOUND, "tt", &err);
  assert_non_null(strstr(err.remedy, "public.t"));
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\"}", ERR_INVALID_ARGUMENT, "no table", &err);
  expect_refused(fixture, &sealed, "{\"mode\":\"sideways\"}", ERR_INVALID_ARGUMENT, "mode", &err);
}

static void test_locked(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE parent CASCADE");
  PGconn *other = shop(fixture);
  sql_on(other, "BEGIN; LOCK TABLE child IN ROW EXCLUSIVE MODE");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"parent\"]}", ERR_LOCK_TIMEOUT,
                 "nothing was changed", &err);
  PQfinish(other);
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 'parent'", "0");
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"parent\"]}");
}

static void test_one_at_a_time(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TABLE t (id int)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE t");
  PGconn *other = shop(fixture);
  sql_on(other,
         "BEGIN; SELECT pg_advisory_xact_lock(x'70677365616c'::bigint)"); /* as a restore that was lost sight of */
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"t\"]}", ERR_CONFLICT, "another restore", &err);
  PQfinish(other);
  verified(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"t\"]}");
}

static Status view_hook(JobChannel *channel, Error *err) {
  (void)err;
  Fixture *fixture = channel->user;
  if (strcmp(channel->phase, "displacing") == 0 && fixture) {
    channel->user = NULL;
    run_sql(fixture, "CREATE VIEW late AS SELECT * FROM t");
  }
  return STATUS_OK;
}

/* A view that somebody makes after the restore looked, and before it has its locks. */
static void test_changed_meanwhile(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TABLE t (id int)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  fixture->channel.hook = view_hook;
  fixture->channel.user = fixture;
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"t\"],\"replace\":true}", ERR_CONFLICT,
                 "was changed while", &err);
  assert_null(fixture->channel.user);
  expect_shop(fixture, "SELECT count(*) FROM late", "0");
}

/* Its report would be larger than a message may be. */
static void test_long_report(void **state) {
  Fixture *fixture = *state;
  shop_make(
      fixture,
      "DO $$DECLARE t text := repeat(chr(1), 60); c text; BEGIN"
      " EXECUTE (SELECT format('CREATE TABLE %I (%s)', t, string_agg(format('%I int', repeat(chr(1), 58) || n), ','))"
      "  FROM generate_series(1000, 2599) n);"
      " FOR g IN 1000..2599 LOOP c := repeat(chr(1), 58) || g;"
      "  EXECUTE format('COMMENT ON COLUMN %I.%I IS ''x''; GRANT SELECT (%2$I) ON %1$I TO PUBLIC', t, c); END LOOP;"
      " END$$");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DO $$BEGIN EXECUTE format('DROP TABLE %I', repeat(chr(1), 60)); END$$");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"*\"]}");
  CLEANUP_FREE char *text = json_dumps(report, JSON_COMPACT);
  assert_true(strlen(text) <= 2000000);
  assert_true(json_integer_value(json_object_get(report, "untold")) > 0);
  assert_true(json_array_size(json_object_get(report, "objects")) > 0);
  expect_flag(report, "committed", true);
  expect_flag(report, "verified", true);
  json_decref(report);
}

/* ---- in the middle ---- */

static const char big[] =
    "CREATE TABLE big (id int PRIMARY KEY, t text); INSERT INTO big SELECT g, repeat(md5(g::text), 20)"
    " FROM generate_series(1, 60000) g; CREATE TABLE small (id int); INSERT INTO small VALUES (1)";
static const char both[] = "{\"mode\":\"in_place\",\"tables\":[\"small\",\"big\"]}";

static bool is_loading(const JobChannel *channel) {
  return strcmp(channel->phase, "restoring") == 0 && channel->bytes > 4 << 20;
}

static Status cancel_hook(JobChannel *channel, Error *err) {
  return is_loading(channel) ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void expect_sessions_gone(const Fixture *fixture) {
  for (int i = 0; i < 50; i++) {
    if (sql_number(fixture, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgseal-%'") == 0)
      return;
    usleep(100000);
  }
  fail_msg("a session of the restore is still there");
}

static void test_canceled(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, big);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE big, small");
  fixture->channel.hook = cancel_hook;
  fixture->channel.bytes = 0;
  expect_refused(fixture, &sealed, both, ERR_CANCELED, "nothing was changed", &err);
  expect_sessions_gone(fixture);
  expect_nothing(fixture);
  verified(fixture, &sealed, both);
}

static Status kill_hook(JobChannel *channel, Error *err) {
  (void)err;
  Fixture *fixture = channel->user;
  if (!is_loading(channel) || !fixture)
    return STATUS_OK;
  channel->user = NULL;
  CLEANUP_FREE char *data = memory_format("%s/data", fixture->directory);
  const char *stop[] = {TOOLS "/pg_ctl", "-D", data, "-m", "immediate", "stop", NULL};
  run_tool(stop, "postgres");
  return STATUS_OK;
}

static void restart(Fixture *fixture) {
  CLEANUP_FREE char *data = memory_format("%s/data", fixture->directory);
  CLEANUP_FREE char *log = memory_format("%s/log", fixture->directory);
  CLEANUP_FREE char *settings = memory_format("-c listen_addresses='' -k %s", fixture->directory);
  const char *start[] = {TOOLS "/pg_ctl", "-D", data, "-l", log, "-o", settings, "-w", "start", NULL};
  run_tool(start, "postgres");
}

static void test_server_killed(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, big);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE big, small");
  fixture->channel.hook = kill_hook;
  fixture->channel.user = fixture;
  fixture->channel.bytes = 0;
  expect_refused(fixture, &sealed, both, ERR_DATABASE_LOST, "nothing was changed", &err);
  assert_null(fixture->channel.user);
  restart(fixture);
  expect_nothing(fixture);
  verified(fixture, &sealed, both);
}

/* ---- at the commit ---- */

/* Stands between the job and the server; hangs up once the server has answered the COMMIT, before the job hears of it.
 */
typedef struct Proxy {
  char directory[64], path[128], server[128];
  int listener;
  bool for_good;     /* nobody gets through afterwards */
  atomic_bool armed; /* until it hung up */
  pthread_t thread;
} Proxy;

static int unix_socket(const char *path, bool listening) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int done = listening ? bind(fd, (struct sockaddr *)&address, sizeof address)
                       : connect(fd, (struct sockaddr *)&address, sizeof address);
  if (done != 0 || (listening && listen(fd, 8) != 0)) {
    close(fd);
    return -1;
  }
  return fd;
}

static bool pass_on(int from, int to, bool *commit) {
  char buffer[8192];
  ssize_t size = read(from, buffer, sizeof buffer);
  if (size <= 0)
    return false;
  *commit = *commit || memmem(buffer, (size_t)size, "COMMIT", 7);
  for (ssize_t at = 0, sent; at < size; at += sent)
    if ((sent = write(to, buffer + at, (size_t)(size - at))) <= 0)
      return false;
  return true;
}

static void serve(Proxy *proxy, int client) {
  int server = unix_socket(proxy->server, false);
  bool commit = false, ignored = false;
  struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
  while (server >= 0 && poll(ends, 2, -1) > 0) {
    if (ends[1].revents && commit && proxy->armed) {
      proxy->armed = false;
      if (proxy->for_good)
        shutdown(proxy->listener, SHUT_RDWR);
      break;
    }
    if (ends[1].revents && !pass_on(server, client, &ignored))
      break;
    if (ends[0].revents && !pass_on(client, server, &commit))
      break;
  }
  close(server);
  close(client);
}

static void *serve_one(void *arg) {
  Proxy *proxy = ((void **)arg)[0];
  int client = (int)(intptr_t)((void **)arg)[1];
  free(arg);
  serve(proxy, client);
  return NULL;
}

static void *run_proxy(void *arg) {
  Proxy *proxy = arg;
  for (int client; (client = accept(proxy->listener, NULL, NULL)) >= 0;) {
    void **pair = memory_alloc(2 * sizeof *pair);
    pair[0] = proxy;
    pair[1] = (void *)(intptr_t)client;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, pair), 0);
    pthread_detach(thread);
  }
  return NULL;
}

/* The connection is cut when the server has answered the COMMIT. */
static Status restore_cut(Fixture *fixture, Proxy *proxy, char name, const char *request, json_t **report, Error *err) {
  shop_make(fixture, big);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE big, small");
  snprintf(proxy->directory, sizeof proxy->directory, "%.50s/%c", fixture->directory, name);
  assert_int_equal(mkdir(proxy->directory, 0700), 0);
  snprintf(proxy->path, sizeof proxy->path, "%.64s/.s.PGSQL.5432", proxy->directory);
  snprintf(proxy->server, sizeof proxy->server, "%.64s/.s.PGSQL.5432", fixture->directory);
  proxy->armed = true;
  proxy->listener = unix_socket(proxy->path, true);
  assert_true(proxy->listener >= 0);
  assert_int_equal(pthread_create(&proxy->thread, NULL, run_proxy, proxy), 0);
  char own[64];
  memcpy(own, fixture->directory, sizeof own);
  memcpy(fixture->directory, proxy->directory, sizeof own);
  Status status = run_restore_as(fixture, &sealed, "postgres", "shop", request, report, err);
  memcpy(fixture->directory, own, sizeof own);
  shutdown(proxy->listener, SHUT_RDWR);
  pthread_join(proxy->thread, NULL);
  close(proxy->listener);
  assert_false(proxy->armed); /* it did hang up */
  return status;
}

static Status cancel_commit_hook(JobChannel *channel, Error *err) {
  return strcmp(channel->phase, "committing") == 0 ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

/* Nobody can be asked, and somebody cancels: it was committed, and nothing else may be said of it. */
static void test_commit_unknown(void **state) {
  Fixture *fixture = *state;
  Error err;
  json_t *report = NULL;
  static Proxy proxy = {.for_good = true};
  fixture->channel.hook = cancel_commit_hook;
  assert_int_equal(restore_cut(fixture, &proxy, 'q', both, &report, &err), ERR_DATABASE_LOST);
  assert_null(strstr(err.message, "nothing was changed"));
  assert_non_null(strstr(err.message, "is not known"));
  assert_non_null(strstr(err.remedy, "txid_status("));
  assert_true(json_is_null(json_object_get(report, "committed")));
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM big", "60000");
}

static void test_commit_answer_lost(void **state) {
  Fixture *fixture = *state;
  Error err;
  json_t *report = NULL;
  static Proxy proxy; /* its threads may outlive the test */
  Status status = restore_cut(fixture, &proxy, 'p', both, &report, &err);
  if (status != STATUS_OK)
    fail_msg("%s: %s", error_code(status), err.message);
  expect_flag(report, "committed", true);
  expect_flag(report, "verified", true);
  assert_non_null(strstr(json_string_value(json_array_get(json_object_get(report, "notes"), 0)), "asked again"));
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM big", "60000");
}

/* The session ends while the server commits, and the server says that it did not. */
static void test_commit_refused(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(
      fixture,
      "CREATE TABLE small (id int); INSERT INTO small VALUES (1);"
      "CREATE FUNCTION die() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN"
      " IF current_setting('application_name') LIKE 'pgseal-%' THEN INSERT INTO public.late VALUES (1); END IF; END$$;"
      "CREATE TABLE late (id int); CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS"
      " $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$;"
      "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
      " EXECUTE FUNCTION hang_up();"
      "CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION die()");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE small");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"small\"]}", ERR_DATABASE_LOST,
                 "did not happen", &err);
  assert_non_null(strstr(err.message, "nothing was changed"));
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 'small'", "0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_partitioned),    cmocka_unit_test(test_circular),
      cmocka_unit_test(test_names),          cmocka_unit_test(test_row_security),
      cmocka_unit_test(test_roles),          cmocka_unit_test(test_privileges),
      cmocka_unit_test(test_target),         cmocka_unit_test(test_locked),
      cmocka_unit_test(test_one_at_a_time),  cmocka_unit_test(test_changed_meanwhile),
      cmocka_unit_test(test_long_report),    cmocka_unit_test(test_canceled),
      cmocka_unit_test(test_server_killed),  cmocka_unit_test(test_commit_answer_lost),
      cmocka_unit_test(test_commit_unknown), cmocka_unit_test(test_commit_refused),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
