/* Connection strings by themselves, and connections and statements against a PostgreSQL of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/postgres/connection.h"
#include "tests/unit/port.h"

typedef struct Server {
  char *dir, *bin;
  int port;
} Server;

static const char *server_user(void) {
  return geteuid() == 0 ? "postgres" : NULL;
}

static void run(const char *const *argv) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  ProcessOptions options = {.argv = argv, .user = server_user(), .work_dir = "/tmp"};
  if (process_run(&options, 1 << 20, &out, &err) != STATUS_OK)
    fail_msg("%s", err.message);
}

static Conninfo *parse(const char *format, ...) PRINTF_LIKE(1, 2);
static Conninfo *parse(const char *format, ...) {
  Error err;
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  Conninfo *conninfo = NULL;
  assert_int_equal(conninfo_parse(text, &conninfo, &err), STATUS_OK);
  return conninfo;
}

static PGconn *connect_as(const Server *server, const char *user) {
  Error err;
  Conninfo *conninfo = parse("host=%s port=%d dbname=postgres user=%s", server->dir, server->port, user);
  PGconn *connection = NULL;
  if (postgres_connect(conninfo, "test", &connection, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  conninfo_free(conninfo);
  return connection;
}

static void must(PGconn *connection, const char *sql) {
  Error err;
  if (postgres_query(connection, NULL, &err, sql) != STATUS_OK)
    fail_msg("%s: %s", sql, err.message);
}

static int server_start(void **state) {
  Error err;
  CLEANUP_FREE char *version = NULL;
  Server *server = memory_alloc(sizeof *server);
  if (postgres_tools_find(NULL, 0, 15, &server->bin, &version, &err) != STATUS_OK)
    return -1;
  server->dir = memory_strdup("/tmp/pgseal-test-pg-XXXXXX");
  server->port = free_port();
  if (!mkdtemp(server->dir) || chmod(server->dir, 0777) != 0)
    return -1;
  CLEANUP_FREE char *initdb = memory_format("%s/initdb", server->bin);
  CLEANUP_FREE char *pg_ctl = memory_format("%s/pg_ctl", server->bin);
  CLEANUP_FREE char *data = memory_format("%s/data", server->dir);
  CLEANUP_FREE char *log = memory_format("%s/log", server->dir);
  CLEANUP_FREE char *options = memory_format(
      "-c fsync=off -c unix_socket_directories=%s -c listen_addresses=127.0.0.1 -p %d", server->dir, server->port);
  run((const char *[]){initdb, "-D", data, "-U", "boss", "--auth-local=trust", "--auth-host=scram-sha-256", "-N",
                       NULL});
  run((const char *[]){pg_ctl, "-D", data, "-w", "-l", log, "-o", options, "start", NULL});
  PGconn *connection = connect_as(server, "boss");
  must(connection,
       "CREATE ROLE reader LOGIN PASSWORD 's3:cr\\et pw'; CREATE ROLE locked NOLOGIN; CREATE TABLE t (i int);"
       "CREATE TABLE filtered (i int); ALTER TABLE filtered ENABLE ROW LEVEL SECURITY; GRANT SELECT ON filtered TO "
       "reader");
  postgres_close(&connection);
  *state = server;
  return 0;
}

static int server_stop(void **state) {
  Error err;
  Server *server = *state;
  CLEANUP_FREE char *pg_ctl = memory_format("%s/pg_ctl", server->bin);
  CLEANUP_FREE char *data = memory_format("%s/data", server->dir);
  run((const char *[]){pg_ctl, "-D", data, "-w", "-m", "immediate", "stop", NULL});
  Status status = file_remove_tree(server->dir, &err);
  free(server->dir);
  free(server->bin);
  free(server);
  return status == STATUS_OK ? 0 : -1;
}

static void test_parse(void **state) {
  (void)state;
  Conninfo *conninfo = parse("postgresql://me:%%73ecret@db.example:6432/app?sslmode=require");
  assert_string_equal(conninfo_get(conninfo, "host"), "db.example");
  assert_string_equal(conninfo_get(conninfo, "port"), "6432");
  assert_string_equal(conninfo_get(conninfo, "password"), "secret");
  assert_string_equal(conninfo_get(conninfo, "sslmode"), "require");
  assert_null(conninfo_get(conninfo, "sslrootcert"));
  assert_null(conninfo_get(conninfo, "no such key"));
  conninfo_set(conninfo, "dbname", "other");
  assert_string_equal(conninfo_get(conninfo, "dbname"), "other");
  conninfo_set(conninfo, "dbname", NULL);
  assert_null(conninfo_get(conninfo, "dbname"));
  conninfo_free(conninfo);
  conninfo_free(NULL);
}

static void test_malformed_is_not_echoed(void **state) {
  (void)state;
  const char *bad[] = {"host=x password=hunter2 nonsense", "postgresql://u:hunter2@[::1/db", "password='hunter2",
                       "hunter2=1"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    Error err = {0};
    Conninfo *conninfo = NULL;
    assert_int_equal(conninfo_parse(bad[i], &conninfo, &err), ERR_INVALID_ARGUMENT);
    assert_null(conninfo);
    assert_null(strstr(err.message, "hunter2"));
    assert_null(strstr(err.remedy, "hunter2"));
  }
}

static bool has(char **env, const char *pair) {
  for (; *env; env++)
    if (strcmp(*env, pair) == 0)
      return true;
  return false;
}

static void test_environment_hides_the_password(void **state) {
  (void)state;
  Error err;
  char dir[] = "/tmp/pgseal-test-env-XXXXXX";
  assert_non_null(mkdtemp(dir));
  setenv("PGSSLKEY", "/elsewhere", 1);
  setenv("PGTZ", "Asia/Tokyo", 1);
  setenv("PGCLIENTENCODING", "LATIN1", 1);
  Conninfo *conninfo = parse("host=h user=u dbname='my db' password='s3:cr\\\\et' options='-c work_mem=1MB'");
  unsetenv("PGSSLKEY");
  setenv("PGSSLCERT", "/set later", 1);
  char **env = NULL;
  assert_int_equal(conninfo_environment(conninfo, dir, &env, &err), STATUS_OK);
  assert_true(has(env, "PGHOST=h") && has(env, "PGUSER=u") && has(env, "PGDATABASE=my db"));
  assert_true(has(env, "PGSSLKEY=/elsewhere"));                                           /* of the moment of parsing */
  assert_true(has(env, "PGSSLCERT") && has(env, "PGTZ") && has(env, "PGCLIENTENCODING")); /* removed */
  assert_true(has(env, "LC_ALL=C"));
  const char *passfile = NULL;
  for (char **e = env; *e; e++) {
    assert_null(strstr(*e, "s3:cr"));
    if (strncmp(*e, "PGOPTIONS=", 10) == 0)
      assert_non_null(strstr(*e, "=-c work_mem=1MB -c TimeZone=UTC"));
    if (strncmp(*e, "PGPASSFILE=", 11) == 0)
      passfile = *e + 11;
  }
  assert_non_null(passfile);
  struct stat info;
  assert_int_equal(stat(passfile, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  CLEANUP_FREE char *line = NULL;
  assert_int_equal(file_read_text(passfile, 1000, &line, &err), STATUS_OK);
  assert_string_equal(line, "*:*:*:*:s3\\:cr\\\\et");
  environment_free(env);
  conninfo_free(conninfo);
  unsetenv("PGSSLCERT");
  unsetenv("PGTZ");
  unsetenv("PGCLIENTENCODING");
  assert_int_equal(file_remove_tree(dir, &err), STATUS_OK);
}

static void test_environment_refuses(void **state) {
  (void)state;
  Error err;
  char **env = NULL;
  Conninfo *conninfo = parse("host=h sslpassword=x");
  assert_int_equal(conninfo_environment(conninfo, "/tmp", &env, &err), ERR_INVALID_ARGUMENT);
  conninfo_free(conninfo);
  conninfo = parse("host=h password='a\nb'");
  assert_int_equal(conninfo_environment(conninfo, "/tmp", &env, &err), ERR_INVALID_ARGUMENT);
  conninfo_free(conninfo);
  conninfo = parse("host=h password=x");
  assert_int_equal(conninfo_environment(conninfo, "/nonexistent", &env, &err), ERR_IO);
  conninfo_free(conninfo);
  assert_null(env);
}

static void test_sessions_are_pinned(void **state) {
  Error err;
  CLEANUP(postgres_close) PGconn *connection = connect_as(*state, "boss");
  CLEANUP(postgres_clear) PGresult *result = NULL;
  assert_int_equal(postgres_query(connection, &result, &err,
                                  "SELECT concat_ws('|', current_setting('TimeZone'), current_setting('DateStyle'), "
                                  "current_setting('IntervalStyle'), current_setting('extra_float_digits'), "
                                  "current_setting('bytea_output'), current_setting('synchronize_seqscans'), "
                                  "current_setting('application_name'), current_setting('client_encoding'))"),
                   STATUS_OK);
  assert_string_equal(PQgetvalue(result, 0, 0), "UTC|ISO, MDY|postgres|3|hex|off|test|UTF8");
  assert_int_equal(postgres_server_major(connection), 15);
}

static Status try_connect(const Server *server, const char *what, Error *err) {
  Conninfo *conninfo = parse("port=%d %s", server->port, what);
  PGconn *connection = NULL;
  Status status = postgres_connect(conninfo, "test", &connection, err);
  postgres_close(&connection);
  conninfo_free(conninfo);
  assert_null(strstr(err->message, "s3:cr"));
  return status;
}

static void test_connection_errors_are_classified(void **state) {
  Server *server = *state;
  Error err = {0};
  assert_int_equal(try_connect(server, "host=127.0.0.1 dbname=postgres user=reader password='s3:cr\\\\et pw'", &err),
                   STATUS_OK);
  assert_int_equal(try_connect(server, "host=127.0.0.1 dbname=postgres user=reader password='wrong s3:cr'", &err),
                   ERR_DATABASE_REFUSED);
  assert_non_null(strstr(err.message, "password authentication failed"));
  assert_null(strstr(err.message, "28P01"));
  assert_null(strstr(err.message, "LOCATION"));
  assert_int_equal(try_connect(server, "host=127.0.0.1 dbname=postgres user=reader passfile=/nonexistent", &err),
                   ERR_DATABASE_REFUSED);
  assert_non_null(strstr(err.remedy, "asks for a password"));
  assert_int_equal(try_connect(server, "host=127.0.0.1 dbname=nope user=reader password='s3:cr\\\\et pw'", &err),
                   ERR_DATABASE_REFUSED);
  assert_non_null(strstr(err.message, "\"nope\" does not exist"));
  assert_int_equal(try_connect(server, "host=127.0.0.1 sslmode=require dbname=postgres user=reader", &err),
                   ERR_DATABASE_REFUSED);
  assert_int_equal(try_connect(server, "host=/nonexistent dbname=postgres user=reader", &err),
                   ERR_DATABASE_UNREACHABLE);
  Server nobody = {.port = free_port()};
  assert_int_equal(try_connect(&nobody, "host=127.0.0.1 dbname=postgres user=reader", &err), ERR_DATABASE_UNREACHABLE);
  assert_non_null(strstr(err.object, "postgres at 127.0.0.1:"));
}

static Status third_time(void *user, Error *err) {
  int *times = user;
  return ++*times < 3 ? STATUS_OK : error_set(err, ERR_CANCELED, "enough");
}

static void test_watched_statement_is_canceled(void **state) {
  Error err = {0};
  CLEANUP(postgres_close) PGconn *connection = connect_as(*state, "boss");
  int times = 0;
  const PostgresWatch watch = {third_time, &times};
  assert_int_equal(postgres_query_watched(connection, NULL, &err, "SELECT 1; SELECT pg_sleep(300)", &watch),
                   ERR_CANCELED);
  assert_string_equal(err.message, "enough");
  times = -1000000;
  CLEANUP(postgres_clear) PGresult *result = NULL;
  assert_int_equal(postgres_query_watched(connection, &result, &err, "SELECT pg_sleep(0.3); SELECT 2", &watch),
                   STATUS_OK);
  assert_string_equal(PQgetvalue(result, 0, 0), "2");
  assert_true(times > -1000000);
  assert_int_equal(postgres_query_watched(connection, NULL, &err, "SELECT 1 / 0; SELECT 2", &watch), ERR_QUERY);
  assert_non_null(strstr(err.message, "22012"));
  assert_int_equal(
      postgres_query_watched(connection, NULL, &err, "SELECT pg_terminate_backend(pg_backend_pid())", &watch),
      ERR_DATABASE_LOST);
  assert_int_equal(postgres_query_watched(connection, NULL, &err, "SELECT 1", &watch), ERR_DATABASE_LOST);
}

typedef struct Copied {
  size_t lines, bytes, limit;
} Copied;

static Status copy_line(void *user, const char *line, size_t size, Error *err) {
  Copied *copied = user;
  assert_int_equal(line[size - 1], '\n');
  copied->bytes += size;
  return ++copied->lines <= copied->limit ? STATUS_OK : error_set(err, ERR_DISK_FULL, "no more");
}

static Status never(void *user, Error *err) {
  (void)user;
  (void)err;
  return STATUS_OK;
}

static Status copy(Server *server, const char *sql, const PostgresWatch *watch, Copied *copied, Error *err) {
  CLEANUP(postgres_close) PGconn *connection = connect_as(server, "boss");
  Status status = postgres_copy_out(connection, sql, copy_line, copied, watch, err);
  if (status == STATUS_OK)
    assert_int_equal(postgres_query(connection, NULL, err, "SELECT 1"), STATUS_OK);
  return status;
}

static void test_copy_hands_out_lines(void **state) {
  Error err = {0};
  const PostgresWatch watch = {never, NULL};
  Copied all = {.limit = SIZE_MAX}, none = {.limit = SIZE_MAX}, some = {.limit = 2500}, waiting = {.limit = SIZE_MAX};
  assert_int_equal(
      copy(*state, "COPY (SELECT lpad(g::text, 9) FROM generate_series(1, 100000) g) TO STDOUT", &watch, &all, &err),
      STATUS_OK);
  assert_int_equal(all.lines, 100000);
  assert_int_equal(all.bytes, 1000000);
  assert_int_equal(copy(*state, "COPY nothing_of_that_name TO STDOUT", &watch, &none, &err), ERR_QUERY);
  assert_int_equal(copy(*state, "SELECT 1", &watch, &none, &err), ERR_INTERNAL);
  assert_int_equal(none.lines, 0);
  assert_int_equal(
      copy(*state, "COPY (SELECT 1 / (50000 - g) FROM generate_series(1, 60000) g) TO STDOUT", &watch, &none, &err),
      ERR_QUERY); /* in the midst of it */
  assert_non_null(strstr(err.message, "22012"));
  assert_int_equal(copy(*state, "COPY (SELECT generate_series(1, 100000000)) TO STDOUT", &watch, &some, &err),
                   ERR_DISK_FULL);
  int times = 0;
  const PostgresWatch impatient = {third_time, &times};
  assert_int_equal(copy(*state, "COPY (SELECT 1 UNION ALL SELECT length(pg_sleep(300)::text)) TO STDOUT", &impatient,
                        &waiting, &err),
                   ERR_CANCELED);
}

static void test_silent_server_times_out(void **state) {
  (void)state;
  CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(fd, 1), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
  Server mute = {.port = ntohs(address.sin_port)};
  Error err;
  assert_int_equal(try_connect(&mute, "host=127.0.0.1 dbname=d user=u connect_timeout=1", &err),
                   ERR_DATABASE_UNREACHABLE);
  assert_non_null(strstr(err.message, "no answer in time"));
}

static void test_statement_errors_are_classified(void **state) {
  Error err;
  CLEANUP(postgres_close) PGconn *boss = connect_as(*state, "boss");
  CLEANUP(postgres_close) PGconn *reader = connect_as(*state, "reader");
  PGresult *result = NULL;
  assert_int_equal(postgres_query(reader, &result, &err, "SELECT * FROM t"), ERR_TABLE_UNREADABLE);
  assert_null(result);
  assert_non_null(strstr(err.message, "permission denied for table t"));
  must(reader, "SET row_security = off");
  assert_int_equal(postgres_query(reader, NULL, &err, "SELECT * FROM filtered"), ERR_ROW_SECURITY);
  assert_int_equal(postgres_query(reader, NULL, &err, "SELEKT"), ERR_QUERY);
  assert_non_null(strstr(err.message, "syntax error at or near \"SELEKT\" (SQLSTATE 42601)"));
  must(reader, "SET statement_timeout = 50");
  assert_int_equal(postgres_query(reader, NULL, &err, "SELECT pg_sleep(5)"), ERR_TIMEOUT);
  must(boss, "BEGIN; LOCK TABLE filtered IN ACCESS EXCLUSIVE MODE");
  must(reader, "SET statement_timeout = 0; SET lock_timeout = 50");
  assert_int_equal(postgres_query(reader, NULL, &err, "SELECT * FROM filtered"), ERR_LOCK_TIMEOUT);
  must(boss, "ROLLBACK");
  const char *values[] = {"41"};
  assert_int_equal(postgres_query_params(reader, &result, &err, "SELECT $1::int + 1", 1, values), STATUS_OK);
  assert_string_equal(PQgetvalue(result, 0, 0), "42");
  postgres_clear(&result);
  must(boss, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'");
  assert_int_equal(postgres_query(reader, NULL, &err, "SELECT 1"), ERR_DATABASE_LOST);
}

/* Whatever is wrong with a row, its values are in no error. */
static void test_statement_errors_quote_no_rows(void **state) {
  static const char *const statements[] = {
      "SELECT 'hidden'::int",
      "INSERT INTO quoted VALUES (1, 'hidden')",
      "INSERT INTO quoted_view VALUES (2, 'hidden')",
      "DO $$BEGIN RAISE EXCEPTION 'hidden'; END$$",
      "DO $$BEGIN RAISE 'hidden' USING ERRCODE = '42501', DETAIL = 'hidden', HINT = 'hidden'; END$$",
      "COPY quoted FROM PROGRAM 'echo hidden'",
      "SELECT hidden.* FROM (VALUES ('hidden')) hidden(a) WHERE a::date > now()",
  };
  CLEANUP(postgres_close) PGconn *boss = connect_as(*state, "boss");
  Error err;
  must(boss, "CREATE TEMP TABLE quoted (id int PRIMARY KEY, note text CHECK (note <> 'hidden')); INSERT INTO quoted"
             " VALUES (1, 'x'); CREATE TEMP VIEW quoted_view AS SELECT * FROM quoted WHERE id < 2 WITH CHECK OPTION");
  for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
    assert_int_not_equal(postgres_query(boss, NULL, &err, statements[i]), STATUS_OK);
    if (strstr(err.message, "hidden") || strstr(err.remedy, "hidden") || strstr(err.object, "hidden"))
      fail_msg("%s: %s", statements[i], err.message);
  }
  must(boss, "CREATE TEMP TABLE parent (id int); CREATE TEMP VIEW child AS SELECT * FROM parent");
  assert_int_equal(postgres_query(boss, NULL, &err, "DROP TABLE parent"), ERR_QUERY);
  assert_non_null(strstr(err.message, "view child depends on table parent")); /* that is no row */
}

static void test_tools_work_in_the_environment(void **state) {
  Server *server = *state;
  Error err;
  char scratch[] = "/tmp/pgseal-test-scratch-XXXXXX";
  assert_non_null(mkdtemp(scratch));
  Conninfo *conninfo =
      parse("host=127.0.0.1 port=%d dbname=postgres user=reader password='s3:cr\\\\et pw'", server->port);
  char **env = NULL;
  assert_int_equal(conninfo_environment(conninfo, scratch, &env, &err), STATUS_OK);
  CLEANUP_FREE char *psql = memory_format("%s/psql", server->bin);
  const char *argv[] = {psql, "-XAtc", "SELECT current_user || current_setting('TimeZone')", NULL};
  ProcessOptions options = {.argv = argv, .env = (const char *const *)env};
  CLEANUP(buffer_release) Buffer out = {0};
  if (process_run(&options, 1000, &out, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_string_equal(buffer_text(&out), "readerUTC\n");
  environment_free(env);
  conninfo_free(conninfo);
  assert_int_equal(file_remove_tree(scratch, &err), STATUS_OK);
}

static void test_who_tells_a_secret(void **state) {
  (void)state;
  setenv("PGPASSWORD", "not said in the text", 1);
  assert_true(conninfo_tells_secret("host=db1 password='a b'"));
  assert_true(conninfo_tells_secret("postgresql://user:pass@db1/shop"));
  assert_true(conninfo_tells_secret("host=db1 sslpassword=x"));
  assert_true(conninfo_tells_secret("password=x nonsense =="));
  assert_false(conninfo_tells_secret("host=db1 dbname=shop user=pgseal password=''"));
  assert_false(conninfo_tells_secret("postgresql://user@db1/shop?service=x"));
  unsetenv("PGPASSWORD");
}

int main(void) {
  const struct CMUnitTest alone[] = {
      cmocka_unit_test(test_who_tells_a_secret),      cmocka_unit_test(test_parse),
      cmocka_unit_test(test_malformed_is_not_echoed), cmocka_unit_test(test_environment_hides_the_password),
      cmocka_unit_test(test_environment_refuses),     cmocka_unit_test(test_silent_server_times_out),
  };
  const struct CMUnitTest with_server[] = {
      cmocka_unit_test(test_sessions_are_pinned),
      cmocka_unit_test(test_connection_errors_are_classified),
      cmocka_unit_test(test_watched_statement_is_canceled),
      cmocka_unit_test(test_copy_hands_out_lines),
      cmocka_unit_test(test_statement_errors_are_classified),
      cmocka_unit_test(test_statement_errors_quote_no_rows),
      cmocka_unit_test(test_tools_work_in_the_environment),
  };
  int failed = cmocka_run_group_tests(alone, NULL, NULL);
  return failed + cmocka_run_group_tests(with_server, server_start, server_stop);
}
