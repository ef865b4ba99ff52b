/* The whole of it against a real PostgreSQL 15: what was dropped or altered is put back with the statements and rows of
 * an archive, and a new dump says that nothing differs. */
#include "shop_fixture.h"

#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/archive/changes.h"
#include "common/archive/cut.h"
#include "common/archive/select.h"
#include "common/base/process.h"

#define TOOLS "/usr/lib/postgresql/15/bin"

static char directory[] = "/tmp/pgseal-put-back-XXXXXX";

static Buffer run(const char *const *argv) {
  Error err;
  Buffer out = {0};
  ProcessOptions options = {.argv = argv, .user = geteuid() == 0 ? "postgres" : NULL, .work_dir = "/tmp"};
  if (process_run(&options, 1 << 22, &out, &err) != STATUS_OK)
    fail_msg("%s: %s", argv[0], err.message);
  return out;
}

static void run_quietly(const char *const *argv) {
  Buffer out = run(argv);
  buffer_release(&out);
}

/* psql reads it from a place that the server's user can read. */
static void run_file(const char *name) {
  CLEANUP(buffer_release) Buffer text = load(name);
  CLEANUP_FREE char *path = memory_format("%s/%s", directory, name);
  Error err;
  assert_int_equal(file_write_atomic(path, 0644, text.data, text.size, &err), STATUS_OK);
  run_quietly((const char *[]){TOOLS "/psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-h", directory,
                               "-U", "postgres", "-d", "postgres", "-f", path, NULL});
}

static int server_start(void **state) {
  (void)state;
  if (!mkdtemp(directory) || chmod(directory, 0777) != 0)
    return -1;
  CLEANUP_FREE char *data = memory_format("%s/data", directory), *log = memory_format("%s/log", directory);
  CLEANUP_FREE char *options =
      memory_format("-c fsync=off -c unix_socket_directories=%s -c listen_addresses=", directory);
  run_quietly((const char *[]){TOOLS "/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8",
                               "--no-locale", NULL});
  run_quietly((const char *[]){TOOLS "/pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start", NULL});
  run_file("shop.sql");
  run_quietly((const char *[]){TOOLS "/psql", "-X", "-q", "-h", directory, "-U", "postgres", "-d", "shop", "-c",
                               "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO \"odd clerk\";"
                               "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;"
                               "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
                               "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO clerk;"
                               "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;"
                               "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO clerk",
                               NULL});
  run_quietly((const char *[]){TOOLS "/createdb", "-h", directory, "-U", "postgres", "-T", "shop", "kept", NULL});
  return 0;
}

static int server_stop(void **state) {
  (void)state;
  Error err;
  CLEANUP_FREE char *data = memory_format("%s/data", directory);
  run_quietly((const char *[]){TOOLS "/pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", NULL});
  return file_remove_tree(directory, &err) == STATUS_OK ? 0 : -1;
}

static Shop dump(const char *option) {
  Shop shop = {.reader = archive_reader_new(&(ArchiveCallbacks){0}, NULL)};
  shop.bytes = run(
      (const char *[]){TOOLS "/pg_dump", "-Fc", "-Z0", "-h", directory, "-U", "postgres", "-d", "shop", option, NULL});
  Error err;
  assert_int_equal(archive_reader_feed(shop.reader, shop.bytes.data, shop.bytes.size, &err), STATUS_OK);
  shop.toc = archive_reader_toc(shop.reader);
  shop.index = archive_index_new(shop.toc);
  return shop;
}

/* The database as it was, for the next test. */
static int renew(void **state) {
  (void)state;
  run_quietly((const char *[]){TOOLS "/dropdb", "-h", directory, "-U", "postgres", "shop", NULL});
  run_quietly((const char *[]){TOOLS "/createdb", "-h", directory, "-U", "postgres", "-T", "kept", "shop", NULL});
  return 0;
}

static PGconn *connect_shop(void) {
  const char *keys[] = {"host", "dbname", "user", NULL}, *values[] = {directory, "shop", "postgres", NULL};
  PGconn *connection = PQconnectdbParams(keys, values, 0);
  assert_int_equal(PQstatus(connection), CONNECTION_OK);
  return connection;
}

static void execute(PGconn *connection, const char *sql, ExecStatusType wanted) {
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != wanted && !(wanted == PGRES_COMMAND_OK && status == PGRES_TUPLES_OK))
    fail_msg("%s\n%s", sql, PQerrorMessage(connection));
  PQclear(result);
}

static void execute_all(PGconn *connection, const StatementList *list) {
  for (size_t i = 0; i < list->count; i++)
    execute(connection, list->items[i], PGRES_COMMAND_OK);
}

static Status read_bytes(void *user, uint64_t offset, uint8_t *data, size_t size, Error *err) {
  (void)err;
  const Buffer *bytes = user;
  assert_true(offset + size <= bytes->size);
  memcpy(data, bytes->data + offset, size);
  return STATUS_OK;
}

static Status copy_rows(void *user, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  assert_int_equal(PQputCopyData(user, (const char *)data, (int)size), 1);
  return STATUS_OK;
}

static void put_rows_back(PGconn *connection, const Shop *shop, const Fingerprint *f, ArchiveCut *cut, long entry) {
  const ArchiveEntry *data = &shop->toc->entries[entry];
  for (size_t t = 0; t < f->table_count; t++) {
    if (strcmp(f->tables[t].schema, data->schema) != 0 || strcmp(f->tables[t].name, data->tag) != 0)
      continue;
    ArchiveBlock block = {entry, f->tables[t].offset, f->tables[t].end_offset};
    ArchiveSink sink = {connection, copy_rows};
    Error err;
    execute(connection, data->copy_stmt, PGRES_COPY_IN);
    if (archive_cut_rows(cut, &block, &sink, &err) != STATUS_OK)
      fail_msg("%s", err.message);
    assert_int_equal(PQputCopyEnd(connection, NULL), 1);
    PGresult *result = PQgetResult(connection);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
      fail_msg("%s", PQerrorMessage(connection));
    PQclear(result);
    assert_null(PQgetResult(connection));
    return;
  }
  fail_msg("no rows of %s", data->tag);
}

static void forget_default_grants(PGconn *connection, const ArchiveEntry *entry) {
  CLEANUP_FREE char *query = archive_grants_query(entry);
  if (!query)
    return;
  PGresult *result = PQexec(connection, query);
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s\n%s", query, PQerrorMessage(connection));
  for (int i = 0; i < PQntuples(result); i++)
    execute(connection, PQgetvalue(result, i, 0), PGRES_COMMAND_OK);
  PQclear(result);
}

static void put_back(const Shop *then, const Fingerprint *f, const bool *take) {
  PGconn *connection = connect_shop();
  ArchiveSource source = {(void *)&then->bytes, read_bytes};
  ArchiveCut *cut = NULL;
  Error err;
  assert_int_equal(archive_cut_open(&source, f->toc_size, &cut, &err), STATUS_OK);
  CLEANUP(statement_list_release) StatementList session = {0};
  archive_session_statements(then->toc, &session);
  execute_all(connection, &session);
  execute(connection, "BEGIN", PGRES_COMMAND_OK);
  CLEANUP_FREE long *order = NULL;
  size_t count = archive_restore_order(then->index, take, &order);
  for (size_t i = 0; i < count; i++) {
    const ArchiveEntry *entry = &then->toc->entries[order[i]];
    CLEANUP(statement_list_release) StatementList list = {0};
    archive_entry_statements(then->toc, entry, &list);
    execute_all(connection, &list);
    forget_default_grants(connection, entry);
    if (strcmp(entry->desc, "TABLE DATA") == 0)
      put_rows_back(connection, then, f, cut, order[i]);
  }
  execute(connection, "COMMIT", PGRES_COMMAND_OK);
  archive_cut_free(cut);
  PQfinish(connection);
}

static void check_nothing_differs(const Shop *then) {
  CLEANUP(shop_release) Shop now = dump("--schema-only");
  CLEANUP(change_list_release) ChangeList list = {0};
  archive_changes(then->index, now.index, &list);
  for (size_t i = 0; i < list.object_count; i++)
    if (!list.objects[i].recreated)
      fail_msg("%s %s %s", archive_change_name(list.objects[i].kind), list.objects[i].desc, list.objects[i].name);
  for (size_t i = 0; i < list.column_count; i++)
    fail_msg("%s %s.%s", archive_column_change_name(list.columns[i].kind), list.columns[i].table,
             list.columns[i].column);
  assert_int_equal(list.rename_count, 0);
}

/* Relations dropped with CASCADE: with their rows, numbers, and all that went with them, in one transaction. */
static void check_dropped(const char *const *patterns, size_t pattern_count, const char *sql) {
  CLEANUP(shop_release) Shop then = dump("--serializable-deferrable");
  CLEANUP(fingerprint_release) Fingerprint was = fingerprint_good(&then.bytes);
  PGconn *connection = connect_shop();
  execute(connection, sql, PGRES_COMMAND_OK);
  PQfinish(connection);
  CLEANUP(shop_release) Shop live = dump("--schema-only");
  CLEANUP(archive_selection_release) ArchiveSelection selection = {0};
  CLEANUP(archive_resolution_release) ArchiveResolution resolution = {0};
  Error err;
  assert_int_equal(archive_select(then.index, patterns, pattern_count, &selection, &err), STATUS_OK);
  archive_resolve(then.index, &selection, live.index, &resolution);
  assert_int_equal(resolution.left_out_count, 0);
  put_back(&then, &was, resolution.take);
  check_nothing_differs(&then);
  CLEANUP(shop_release) Shop now = dump("--serializable-deferrable");
  CLEANUP(fingerprint_release) Fingerprint is = fingerprint_good(&now.bytes);
  CLEANUP(buffer_release) Buffer text = {0};
  DifferenceList differences = {0};
  fingerprint_compare(&was, &is, &differences);
  if (differences.count)
    fail_msg("%s: %s", differences.items[0].object, differences.items[0].detail);
  difference_list_release(&differences);
}

static void test_dropped_table(void **state) {
  (void)state;
  check_dropped((const char *[]){"orders"}, 1, "DROP TABLE orders CASCADE; DROP FUNCTION stamp()");
}

static void test_dropped_partitions(void **state) {
  (void)state;
  check_dropped((const char *[]){"events"}, 1, "DROP TABLE audit.events CASCADE");
}

static void test_dropped_partition(void **state) {
  (void)state;
  check_dropped((const char *[]){"events_2026"}, 1, "DROP TABLE audit.events_2026 CASCADE");
}

static void test_dropped_parent(void **state) {
  (void)state;
  check_dropped((const char *[]){"person"}, 1, "DROP TABLE person CASCADE");
}

static void test_dropped_circle(void **state) {
  (void)state;
  check_dropped((const char *[]){"payments", "orders"}, 2, "DROP TABLE payments, orders CASCADE");
}

static void test_dropped_typed(void **state) {
  (void)state;
  check_dropped((const char *[]){"typed*"}, 1, "DROP TABLE typed, typed_plain");
}

/* The bad Friday of shop-damaged.sql: the statements that lead back run in their order, and lead back. */
static void test_roll_forward(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop then = dump("--schema-only");
  run_file("shop-damaged.sql");
  CLEANUP(shop_release) Shop now = dump("--schema-only");
  CLEANUP(change_list_release) ChangeList list = {0};
  archive_changes(then.index, now.index, &list);
  assert_true(list.object_count > 30 && list.column_count > 5 && list.rename_count == 2);
  CLEANUP(statement_list_release) StatementList statements = {0};
  archive_roll_forward(&list, &statements);
  PGconn *connection = connect_shop();
  execute(connection, "BEGIN", PGRES_COMMAND_OK);
  execute_all(connection, &statements);
  /* what was made since, which is nobody's to drop; and a column that comes back is the last one */
  execute(connection,
          "DROP TABLE newcomer; ALTER TABLE customers DROP COLUMN extra; REVOKE ALL ON audit.twin FROM clerk; COMMIT",
          PGRES_COMMAND_OK);
  PQfinish(connection);
  CLEANUP(shop_release) Shop after = dump("--schema-only");
  CLEANUP(change_list_release) ChangeList left = {0};
  archive_changes(then.index, after.index, &left);
  for (size_t i = 0; i < left.object_count; i++) {
    const ArchiveChange *change = &left.objects[i];
    bool order = strcmp(change->desc, "TABLE") == 0 && change->note && strstr(change->note, "order of its columns");
    bool grant = strcmp(change->desc, "ACL") == 0; /* by default privileges, as for whatever is made anew */
    if (!order && !change->recreated && !grant)
      fail_msg("%s %s %s", archive_change_name(change->kind), change->desc, change->name);
  }
  assert_int_equal(left.column_count + left.rename_count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dropped_table),
      cmocka_unit_test_setup(test_dropped_partitions, renew),
      cmocka_unit_test_setup(test_dropped_partition, renew),
      cmocka_unit_test_setup(test_dropped_parent, renew),
      cmocka_unit_test_setup(test_dropped_circle, renew),
      cmocka_unit_test_setup(test_dropped_typed, renew),
      cmocka_unit_test_setup(test_roll_forward, renew),
  };
  return cmocka_run_group_tests(tests, server_start, server_stop);
}
