/* From every earlier schema to this one: ledger-v<n>.sql are what they were (`.dump`), each with rows of what came with
 * it. PostgreSQL's begin with the seventh: there the rows are written here. */
#include "support.h"

#include "coordinator/ledger/postgres.h"

enum { SQL_LIMIT = 1 << 20, FIRST_OF_POSTGRES = 7 };

static char *record_of(int64_t version) {
  Error err;
  CLEANUP_FREE char *path =
      memory_format("%.*s/ledger-v%d.sql", (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, (int)version);
  char *sql = NULL;
  if (file_read_text(path, SQL_LIMIT, &sql, &err) != STATUS_OK)
    fail_msg(
        "%s; a new migration wants a record of the schema before it: `.dump` of such a ledger, and its user_version",
        err.message);
  return sql;
}

/* All rows of a query, as one text. */
static char *query(Fixture *f, const char *sql) {
  CLEANUP(buffer_release) Buffer out = {0};
  DbStatement *s = NULL;
  bool row = true;
  OK(db_statement(f->ledger, sql, &s, &f->err));
  for (;;) {
    OK(db_step(f->ledger, s, &row, &f->err));
    if (!row)
      break;
    const char *text = db_peek_text(s, 0);
    buffer_append_format(&out, "%s\n", text ? text : "");
  }
  db_statement_reset(&s);
  return memory_strndup((const char *)out.data, out.size);
}

static const char sqlite_schema[] = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master "
                                    "ORDER BY type, name";
static const char postgres_schema[] =
    "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || "
    "coalesce(column_default, '') || ' ' || is_identity || ' ' || coalesce(collation_name, '') "
    "FROM information_schema.columns WHERE table_schema = current_schema() "
    "UNION ALL SELECT replace(indexdef, schemaname, '') FROM pg_indexes WHERE schemaname = current_schema() "
    "UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = current_schema()::regnamespace ORDER BY 1";

/* What a ledger that never was anything else has. */
static char *fresh_schema(void) {
  void *state;
  setup(&state);
  char *schema = query(state, ledger_server ? postgres_schema : sqlite_schema);
  teardown(&state);
  return schema;
}

typedef struct Told {
  int64_t since; /* the schema that it came with */
  const char *sql, *answer;
} Told;

static const Told told[] = {
    {1, "SELECT count(*) FROM event", "9\n"},
    {1, "SELECT count(*) FROM checkpoint", "2\n"},
    {1, "SELECT state FROM job WHERE kind IN (1, 2) ORDER BY number", "queued\nqueued\ncanceled\ncanceled\n"},
    {2, "SELECT databases FROM token WHERE name = 'scoped'", "[\"prod-*\"]\n"},
    {3, "SELECT serial FROM enrollment WHERE name = 'joined'", "0a\n"},
    {3, "SELECT agent FROM certificate", "joined\n"},
    {4, "SELECT requested_by FROM job WHERE kind = 3", "pipeline\n"},
    {4, "SELECT report FROM report", "{\"damage\":\"none\"}\n"},
    {5, "SELECT agent FROM signing_key", "joined\n"},
    {6, "SELECT certificate FROM enrollment WHERE name = 'joined'", "PEM\n"},
    {8, "SELECT text FROM fleet WHERE version = 3", "databases: []\n"},
    {9, "SELECT reason FROM hold WHERE name = 'joined'", "maintenance\n"},
    {10, "SELECT spec FROM schedule WHERE database = 'shop'", "0 3 * * *\n"},
    {11, "SELECT agents FROM coordinator WHERE beat = 7", "[\"joined\"]\n"},
    {12, "SELECT hash FROM session WHERE seen_us = 6", "5e5510\n"},
    {9, "SELECT tag FROM checkpoint WHERE pinned_us = 9", "pre-deploy-1\n"},
    {13, "SELECT summary FROM alert WHERE database = 'shop'", "shop: fewer rows\n"},
    {13, "SELECT error FROM notification WHERE attempts = 2", "refused\n"},
    {14, "SELECT packed FROM table_list WHERE checkpoint = 1", "packed14\n"},
    {15, "SELECT reason FROM silence WHERE database = 'shop'", "maintenance\n"},
    {16, "SELECT name FROM person WHERE subject = '16161616'", "ann@example.com\n"},
    {16, "SELECT grant_key FROM session WHERE seen_us = 8", "17171717\n"},
    {16, "SELECT hash FROM sign_in WHERE expires_us = 6", "51616\n"},
};

static void check(Fixture *f, int64_t version, const char *schema) {
  int64_t events = 0;
  char tip[65];
  CLEANUP_FREE char *now = query(f, ledger_server ? postgres_schema : sqlite_schema);
  if (strcmp(now, schema) != 0)
    fail_msg("schema %d became\n%s\nand not\n%s", (int)version, now, schema);
  for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
    if (told[i].since > version)
      continue;
    CLEANUP_FREE char *answer = query(f, told[i].sql);
    if (strcmp(answer, told[i].answer) != 0)
      fail_msg("schema %d: %s\n%s", (int)version, told[i].sql, answer);
  }
  OK(ledger_chain_verify(f->ledger, &events, tip, &f->err));
  assert_int_equal(events, 9);
  LedgerEvent next = {.kind = (char *)"a.b"};
  OK(ledger_event_append(f->ledger, &next, &f->err));
  Checkpoint c = sample("new", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err)); /* numbers go on */
}

static void test_files(void **state) {
  (void)state;
  CLEANUP_FREE char *schema = fresh_schema();
  for (int64_t version = 1; version < schema_latest(); version++) {
    void *one;
    setup_place(&one);
    Fixture *f = one;
    CLEANUP_FREE char *sql = record_of(version);
    assert_true(raw(f, sql));
    reopen(f);
    check(f, version, schema);
    teardown(&one);
  }
}

/* The rows of SQLite's record of that version, in PostgreSQL's own. */
static void copy_rows(Fixture *f, int64_t version) {
  CLEANUP_FREE char *sql = record_of(version);
  CLEANUP(buffer_release) Buffer rows = {0};
  static const char *const after[] = {"\"checkpoint\"", "\"job\"", "\"report\"", "\"enrollment\"",
                                      "\"table_list\""}; /* as they refer to each other */
  buffer_append_text(&rows, "DELETE FROM tip; DELETE FROM counter;");
  for (size_t pass = 0; pass <= ARRAY_SIZE(after); pass++) {
    for (char *line = sql, *end; *line; line = end) {
      end = line + strcspn(line, "\n");
      end += *end == '\n';
      if (strncmp(line, "INSERT INTO ", 12) != 0)
        continue;
      size_t wanted = ARRAY_SIZE(after);
      for (size_t i = 0; i < ARRAY_SIZE(after); i++)
        wanted = strncmp(line + 12, after[i], strlen(after[i])) == 0 ? i : wanted;
      if (wanted == pass)
        buffer_append(&rows, line, (size_t)(end - line));
    }
  }
  buffer_append_byte(&rows, 0);
  assert_true(raw(f, (const char *)rows.data));
}

static void test_servers(void **state) {
  (void)state;
  CLEANUP_FREE char *schema = fresh_schema();
  for (int64_t version = FIRST_OF_POSTGRES; version < schema_latest(); version++) {
    void *one;
    setup_place(&one);
    Fixture *f = one;
    OK(postgres_open(f->where, false, &f->ledger, &f->err));
    OK(schema_migrate_to(f->ledger, version, &f->err));
    copy_rows(f, version);
    reopen(f);
    /* Rows that came with their numbers: a coordinator's own take them from the sequence. */
    assert_true(raw(f, "SELECT setval(pg_get_serial_sequence('checkpoint', 'number'), 100)"));
    check(f, version, schema);
    teardown(&one);
  }
}

int main(void) {
  const struct CMUnitTest files[] = {cmocka_unit_test(test_files)}, servers[] = {cmocka_unit_test(test_servers)};
  return cmocka_run_group_tests_name("SQLite", files, NULL, NULL) +
         cmocka_run_group_tests_name("PostgreSQL", servers, start_server, stop_server);
}
