#include "coordinator/ledger/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/memory.h"

enum { BUSY_TIMEOUT_MS = 5000, VERIFY_WHOLE_LIMIT = 100000, VERIFY_TIP_EVENTS = 10000 };

static void sqlite_close(void *backend) {
  SqliteLedger *ledger = backend;
  for (size_t i = 0; i < ledger->statement_count; i++)
    sqlite3_finalize(ledger->statements[i].statement);
  free(ledger->statements);
  if (ledger->db) {
    if (!sqlite3_get_autocommit(ledger->db))
      sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(ledger->db);
  }
  if (ledger->lock_fd >= 0)
    close(ledger->lock_fd); /* the lock goes last, when nothing is written any more */
  free(ledger->path);
  free(ledger);
}

static Status sqlite_begin(void *backend, Error *err) {
  SqliteLedger *ledger = backend;
  if (!sqlite3_get_autocommit(ledger->db))
    return error_set(err, ERR_INTERNAL, "a ledger transaction was begun inside another");
  return sqlite_run(ledger, "BEGIN IMMEDIATE", err);
}

static Status sqlite_commit(void *backend, Error *err) {
  SqliteLedger *ledger = backend;
  if (sqlite3_get_autocommit(ledger->db))
    return error_set(err, ERR_INTERNAL, "the ledger transaction to commit is gone");
  return sqlite_run(ledger, "COMMIT", err); /* rolls back if it fails */
}

static void sqlite_rollback(void *backend) {
  SqliteLedger *ledger = backend;
  if (!sqlite3_get_autocommit(ledger->db))
    sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
}

static const LedgerOps sqlite_ops = {
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .checkpoint_insert = sqlite_checkpoint_insert,
    .checkpoint_update = sqlite_checkpoint_update,
    .checkpoint_get = sqlite_checkpoint_get,
    .checkpoint_find = sqlite_checkpoint_find,
    .checkpoint_by_key = sqlite_checkpoint_by_key,
    .checkpoint_list = sqlite_checkpoint_list,
    .checkpoint_count = sqlite_checkpoint_count,
    .job_insert = sqlite_job_insert,
    .job_update = sqlite_job_update,
    .job_get = sqlite_job_get,
    .job_list = sqlite_job_list,
    .job_by_key = sqlite_job_by_key,
    .job_recent = sqlite_job_recent,
    .job_report_put = sqlite_job_report_put,
    .job_report_get = sqlite_job_report_get,
    .job_open = sqlite_job_open,
    .fencing_next = sqlite_fencing_next,
    .tip_get = sqlite_tip_get,
    .event_insert = sqlite_event_insert,
    .event_walk = sqlite_event_walk,
    .token_insert = sqlite_token_insert,
    .token_by_hash = sqlite_token_by_hash,
    .token_update = sqlite_token_update,
    .token_list = sqlite_token_list,
    .agent_put = sqlite_agent_put,
    .agent_list = sqlite_agent_list,
    .enrollment_put = sqlite_enrollment_put,
    .enrollment_list = sqlite_enrollment_list,
    .signing_key_insert = sqlite_signing_key_insert,
    .signing_key_revoke = sqlite_signing_key_revoke,
    .signing_key_get = sqlite_signing_key_get,
    .certificate_insert = sqlite_certificate_insert,
    .certificate_revoke = sqlite_certificate_revoke,
    .certificate_revoked = sqlite_certificate_revoked,
};

static void ledger_cleanup(Ledger **ledger) {
  ledger_close(*ledger);
}

static Ledger *new_ledger(const char *path, SqliteLedger **out) {
  SqliteLedger *sqlite = memory_alloc(sizeof *sqlite);
  sqlite->path = memory_strdup(path);
  sqlite->lock_fd = -1;
  Ledger *ledger = memory_alloc(sizeof *ledger);
  ledger->ops = &sqlite_ops;
  ledger->backend = sqlite;
  *out = sqlite;
  return ledger;
}

/* Not a lock on the database file itself: closing any descriptor of it would drop SQLite's own locks. */
static Status take_lock(SqliteLedger *ledger, Error *err) {
  CLEANUP_FREE char *path = memory_format("%s.lock", ledger->path);
  ledger->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (ledger->lock_fd < 0)
    return error_set_errno(err, errno, "cannot open the ledger's lock file %s", path);
  if (flock(ledger->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return STATUS_OK;
  if (errno != EWOULDBLOCK)
    return error_set_errno(err, errno, "cannot lock %s", path);
  error_set(err, ERR_CONFLICT, "another coordinator has the ledger %s open", ledger->path);
  error_remedy(err, "Stop the other coordinator, or give this one a ledger file of its own.");
  error_object(err, "%s", ledger->path);
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

static Status open_database(SqliteLedger *ledger, int flags, Error *err) {
  if (sqlite3_open_v2(ledger->path, &ledger->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL) !=
      SQLITE_OK)
    return ledger->db ? sqlite_failure(ledger, "cannot open", err)
                      : error_set(err, ERR_NO_MEMORY, "ledger %s: out of memory", ledger->path);
  sqlite3_busy_timeout(ledger->db, BUSY_TIMEOUT_MS);
  sqlite3_extended_result_codes(ledger->db, 1);
  return STATUS_OK;
}

static Status verify_on_open(Ledger *ledger, Error *err) {
  LedgerTip tip;
  Status status = sqlite_tip_get(ledger->backend, &tip, err);
  if (status != STATUS_OK)
    return status;
  int64_t events;
  char hash[LEDGER_HASH_SIZE];
  int64_t after = tip.sequence < VERIFY_WHOLE_LIMIT ? 0 : tip.sequence - VERIFY_TIP_EVENTS;
  return ledger_chain_check(ledger, after, &events, hash, err);
}

Status ledger_open_sqlite(const char *path, Ledger **out, Error *err) {
  SqliteLedger *sqlite;
  CLEANUP(ledger_cleanup) Ledger *ledger = new_ledger(path, &sqlite);
  Status status = take_lock(sqlite, err);
  if (status == STATUS_OK)
    status = make_private(path, err);
  if (status == STATUS_OK)
    status = open_database(sqlite, SQLITE_OPEN_READWRITE, err);
  if (status == STATUS_OK)
    status = sqlite_run(sqlite,
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                        "PRAGMA trusted_schema = OFF",
                        err);
  if (status == STATUS_OK)
    status = sqlite_migrate(sqlite, err);
  if (status == STATUS_OK)
    status = verify_on_open(ledger, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(ledger);
  return STATUS_OK;
}

Status ledger_open_sqlite_readonly(const char *path, Ledger **out, Error *err) {
  SqliteLedger *sqlite;
  CLEANUP(ledger_cleanup) Ledger *ledger = new_ledger(path, &sqlite);
  if (!file_exists(path)) {
    error_set(err, ERR_NOT_FOUND, "there is no ledger %s", path);
    error_remedy(err, "Check `ledger` in the configuration; a coordinator makes the file when it first starts.");
    return ERR_NOT_FOUND;
  }
  Status status = open_database(sqlite, SQLITE_OPEN_READONLY, err);
  if (status == STATUS_OK)
    status = sqlite_check_version(sqlite, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(ledger);
  return STATUS_OK;
}
