/* A ledger in an SQLite file. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/ledger/db.h"

enum { BUSY_TIMEOUT_MS = 5000, APPLICATION_ID = 0x7067736c /* "pgsl" */ };

typedef struct Sqlite {
  sqlite3 *db;
  char *path;
  int lock_fd; /* -1 when read-only */
} Sqlite;

/* ---- running ---- */

/* The last error of the connection, for `what`. Never STATUS_OK. */
static Status failure(const Sqlite *sqlite, const char *what, Error *err) {
  int code = sqlite3_errcode(sqlite->db) & 0xff;
  Status status = ERR_IO;
  if (code == SQLITE_FULL)
    status = ERR_DISK_FULL;
  else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    status = ERR_UNAVAILABLE;
  else if (code == SQLITE_CONSTRAINT)
    status = ERR_CONFLICT;
  else if (code == SQLITE_NOMEM)
    status = ERR_NO_MEMORY;
  error_set(err, status, "ledger %s: %s: %s", sqlite->path, what, sqlite3_errmsg(sqlite->db));
  error_object(err, "%s", sqlite->path);
  return status;
}

static void sqlite_rollback(void *driver) {
  const Sqlite *sqlite = driver;
  if (!sqlite3_get_autocommit(sqlite->db))
    sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
}

/* No parameters, no rows. A failure rolls back. */
static Status run(Sqlite *sqlite, const char *sql, Error *err) {
  if (sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK)
    return STATUS_OK;
  Status status = failure(sqlite, "cannot write", err);
  sqlite_rollback(sqlite);
  return status;
}

static Status sqlite_begin(void *driver, Error *err) {
  return run(driver, "BEGIN IMMEDIATE", err);
}

static Status sqlite_snapshot(void *driver, Error *err) {
  return run(driver, "BEGIN", err);
}

static Status sqlite_commit(void *driver, Error *err) {
  return run(driver, "COMMIT", err);
}

static bool sqlite_in_transaction(const void *driver) {
  const Sqlite *sqlite = driver;
  return !sqlite3_get_autocommit(sqlite->db);
}

static Status sqlite_prepare(void *driver, const char *sql, void **statement, Error *err) {
  const Sqlite *sqlite = driver;
  sqlite3_stmt *made = NULL;
  if (sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, NULL) != SQLITE_OK)
    return failure(sqlite, "cannot prepare a statement", err);
  *statement = made;
  return STATUS_OK;
}

static void sqlite_release(void *statement) {
  sqlite3_finalize(statement);
}

static void sqlite_bind_text(void *statement, int at, const char *text) {
  sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static void sqlite_bind_integer(void *statement, int at, int64_t value) {
  sqlite3_bind_int64(statement, at, value);
}

static void sqlite_bind_real(void *statement, int at, double value) {
  sqlite3_bind_double(statement, at, value);
}

static void sqlite_bind_nothing(void *statement, int at) {
  sqlite3_bind_null(statement, at);
}

static Status sqlite_step(void *driver, void *statement, bool *row, Error *err) {
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE)
    return failure(driver, sqlite3_stmt_readonly(statement) ? "cannot read" : "cannot write", err);
  *row = rc == SQLITE_ROW;
  return STATUS_OK;
}

static int64_t sqlite_changes(void *driver, void *statement) {
  (void)statement;
  const Sqlite *sqlite = driver;
  return sqlite3_changes(sqlite->db);
}

static const char *sqlite_read_text(void *statement, int at) {
  return (const char *)sqlite3_column_text(statement, at);
}

static int64_t sqlite_read_integer(void *statement, int at) {
  return sqlite3_column_int64(statement, at);
}

static double sqlite_read_real(void *statement, int at) {
  return sqlite3_column_double(statement, at);
}

static int sqlite_columns(void *statement) {
  return sqlite3_column_count(statement);
}

static const char *sqlite_column(void *statement, int at) {
  return sqlite3_column_name(statement, at);
}

static DbType sqlite_type(void *statement, int at) {
  int type = sqlite3_column_type(statement, at);
  return type == SQLITE_NULL ? DB_NULL : type == SQLITE_INTEGER ? DB_INTEGER : type == SQLITE_FLOAT ? DB_REAL : DB_TEXT;
}

static void sqlite_reset(void *statement) {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}

/* ---- the schema ---- */

static Status read_pragma(Sqlite *sqlite, const char *sql, int64_t *value, Error *err) {
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
    return failure(sqlite, "cannot read", err);
  int rc = sqlite3_step(statement);
  *value = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
  Status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? STATUS_OK : failure(sqlite, "cannot read", err);
  sqlite3_finalize(statement);
  return status;
}

static Status sqlite_version(void *driver, int64_t *version, Error *err) {
  Sqlite *sqlite = driver;
  int64_t application = 0;
  Status status = read_pragma(sqlite, "PRAGMA application_id", &application, err);
  if (status == STATUS_OK)
    status = read_pragma(sqlite, "PRAGMA user_version", version, err);
  if (status == STATUS_OK && *version > 0 && application != APPLICATION_ID)
    return error_set(err, ERR_CONFIG, "%s is an SQLite database, but not a ledger of pgseal", sqlite->path);
  return status;
}

/* A table that is made anew is dropped in between, which its references must outlive. */
static Status sqlite_migrate(void *driver, int64_t number, const char *sql, Error *err) {
  Sqlite *sqlite = driver;
  char mark[96];
  int64_t broken = 0;
  snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %lld", APPLICATION_ID,
           (long long)number);
  Status status = run(sqlite, "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE", err);
  if (status == STATUS_OK)
    status = run(sqlite, sql, err);
  if (status == STATUS_OK)
    status = read_pragma(sqlite, "SELECT count(*) FROM pragma_foreign_key_check", &broken, err);
  if (status == STATUS_OK && broken)
    status = error_set(err, ERR_CONFLICT, "ledger %s: %lld rows refer to none", sqlite->path, (long long)broken);
  if (status == STATUS_OK)
    status = run(sqlite, mark, err);
  if (status == STATUS_OK)
    status = run(sqlite, "COMMIT; PRAGMA foreign_keys = ON", err);
  sqlite_rollback(sqlite);
  return status;
}

/* in_scope(database, scope): as SQL cannot match what text_glob does in all of them. */
static void in_scope(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count;
  const char *name = (const char *)sqlite3_value_text(values[0]), *scope = (const char *)sqlite3_value_text(values[1]);
  bool in = !scope;
  json_t *globs = sqlite3_get_auxdata(context, 1);
  if (scope && !globs) {
    globs = json_loads(scope, 0, NULL);
    sqlite3_set_auxdata(context, 1, json_incref(globs), (void (*)(void *))json_decref);
  } else {
    json_incref(globs);
  }
  for (size_t i = 0; name && !in && i < json_array_size(globs); i++) {
    const char *glob = json_string_value(json_array_get(globs, i));
    in = glob && text_glob(glob, name);
  }
  json_decref(globs);
  sqlite3_result_int(context, in);
}

/* ---- opening ---- */

static void sqlite_close(void *driver) {
  Sqlite *sqlite = driver;
  if (sqlite->db) {
    sqlite_rollback(sqlite);
    sqlite3_close(sqlite->db);
  }
  if (sqlite->lock_fd >= 0)
    close(sqlite->lock_fd); /* the lock goes last, when nothing is written any more */
  free(sqlite->path);
  free(sqlite);
}

static const DbOps sqlite_ops = {
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .snapshot = sqlite_snapshot,
    .rollback = sqlite_rollback,
    .in_transaction = sqlite_in_transaction,
    .prepare = sqlite_prepare,
    .release = sqlite_release,
    .bind_text = sqlite_bind_text,
    .bind_integer = sqlite_bind_integer,
    .bind_real = sqlite_bind_real,
    .bind_null = sqlite_bind_nothing,
    .step = sqlite_step,
    .changes = sqlite_changes,
    .read_text = sqlite_read_text,
    .read_integer = sqlite_read_integer,
    .read_real = sqlite_read_real,
    .columns = sqlite_columns,
    .column = sqlite_column,
    .type = sqlite_type,
    .reset = sqlite_reset,
    .version = sqlite_version,
    .migrate = sqlite_migrate,
};

static void ledger_cleanup(Ledger **ledger) {
  ledger_close(*ledger);
}

static Ledger *new_ledger(const char *path, Sqlite **out) {
  Sqlite *sqlite = memory_alloc(sizeof *sqlite);
  sqlite->path = memory_strdup(path);
  sqlite->lock_fd = -1;
  *out = sqlite;
  return db_new(&sqlite_ops, sqlite, path);
}

/* Not a lock on the database file itself: closing any descriptor of it would drop SQLite's own locks. */
static Status take_lock(Sqlite *sqlite, Error *err) {
  CLEANUP_FREE char *path = memory_format("%s.lock", sqlite->path);
  sqlite->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (sqlite->lock_fd < 0)
    return error_set_errno(err, errno, "cannot open the ledger's lock file %s", path);
  if (flock(sqlite->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return STATUS_OK;
  if (errno != EWOULDBLOCK)
    return error_set_errno(err, errno, "cannot lock %s", path);
  error_set(err, ERR_CONFLICT, "another coordinator has the ledger %s open", sqlite->path);
  error_remedy(err, "Stop the other coordinator, or give this one a ledger file of its own.");
  error_object(err, "%s", sqlite->path);
  return ERR_CONFLICT;
}

/* SQLite gives its -wal and -shm files the mode of the database file. */
static Status make_private(const char *path, Error *err) {
  CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return error_set_errno(err, errno, "cannot open the ledger %s", path);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
    return error_set(err, ERR_CONFIG, "the ledger %s is not a regular file", path);
  if ((info.st_mode & 077) && fchmod(fd, 0600) != 0)
    return error_set_errno(err, errno, "cannot make the ledger %s private", path);
  return STATUS_OK;
}

static Status open_database(Sqlite *sqlite, int flags, Error *err) {
  if (sqlite3_open_v2(sqlite->path, &sqlite->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL) !=
      SQLITE_OK)
    return sqlite->db ? failure(sqlite, "cannot open", err)
                      : error_set(err, ERR_NO_MEMORY, "ledger %s: out of memory", sqlite->path);
  sqlite3_busy_timeout(sqlite->db, BUSY_TIMEOUT_MS);
  sqlite3_extended_result_codes(sqlite->db, 1);
  if (sqlite3_create_function_v2(sqlite->db, "in_scope", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, in_scope, NULL,
                                 NULL, NULL) != SQLITE_OK)
    return failure(sqlite, "cannot open", err);
  return STATUS_OK;
}

Status ledger_open_sqlite(const char *path, Ledger **out, Error *err) {
  Sqlite *sqlite;
  CLEANUP(ledger_cleanup) Ledger *ledger = new_ledger(path, &sqlite);
  Status status = take_lock(sqlite, err);
  if (status == STATUS_OK)
    status = make_private(path, err);
  if (status == STATUS_OK)
    status = open_database(sqlite, SQLITE_OPEN_READWRITE, err);
  if (status == STATUS_OK)
    status = run(sqlite,
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                 "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON",
                 err);
  if (status == STATUS_OK)
    status = schema_migrate(ledger, err);
  if (status == STATUS_OK)
    status = ledger_chain_check_end(ledger, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(ledger);
  return STATUS_OK;
}

Status ledger_open_sqlite_readonly(const char *path, Ledger **out, Error *err) {
  Sqlite *sqlite;
  CLEANUP(ledger_cleanup) Ledger *ledger = new_ledger(path, &sqlite);
  if (!file_exists(path)) {
    error_set(err, ERR_NOT_FOUND, "there is no ledger %s", path);
    error_remedy(err, "Check `ledger` in the configuration; a coordinator makes the file when it first starts.");
    return ERR_NOT_FOUND;
  }
  Status status = open_database(sqlite, SQLITE_OPEN_READONLY, err);
  if (status == STATUS_OK)
    status = schema_check_version(ledger, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(ledger);
  return STATUS_OK;
}
