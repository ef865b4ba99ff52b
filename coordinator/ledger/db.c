#include "coordinator/ledger/db.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

Ledger *db_new(const DbOps *ops, void *driver, const char *name) {
  Ledger *ledger = memory_alloc(sizeof *ledger);
  ledger->ops = ops;
  ledger->driver = driver;
  ledger->name = memory_strdup(name);
  return ledger;
}

void ledger_close(Ledger *ledger) {
  if (!ledger)
    return;
  for (size_t i = 0; i < ledger->statement_count; i++) {
    ledger->ops->release(ledger->statements[i]->handle);
    free(ledger->statements[i]);
  }
  free(ledger->statements);
  ledger->ops->close(ledger->driver);
  free(ledger->name);
  free(ledger);
}

Status ledger_begin(Ledger *ledger, Error *err) {
  if (ledger->ops->in_transaction(ledger->driver))
    return error_set(err, ERR_INTERNAL, "a ledger transaction was begun inside another");
  return ledger->ops->begin(ledger->driver, err);
}

static void jobs_settled(Ledger *ledger, bool written) {
  if (ledger->jobs_written && !written && ledger->watch)
    ledger->watch(ledger->watch_user, NULL);
  ledger->jobs_written = false;
}

Status ledger_commit(Ledger *ledger, Error *err) {
  if (!ledger->ops->in_transaction(ledger->driver))
    return error_set(err, ERR_INTERNAL, "the ledger transaction to commit is gone");
  Status status = ledger->ops->commit(ledger->driver, err);
  jobs_settled(ledger, status == STATUS_OK);
  return status;
}

void ledger_rollback(Ledger *ledger) {
  ledger->ops->rollback(ledger->driver);
  jobs_settled(ledger, false);
}

void ledger_job_watch(Ledger *ledger, LedgerJobWatch *watch, void *user) {
  ledger->watch = watch;
  ledger->watch_user = user;
}

void db_job_written(Ledger *ledger, const LedgerJob *job) {
  ledger->jobs_written = ledger->ops->in_transaction(ledger->driver);
  if (ledger->watch)
    ledger->watch(ledger->watch_user, job);
}

Status db_statement(Ledger *ledger, const char *sql, DbStatement **out, Error *err) {
  for (size_t i = 0; i < ledger->statement_count; i++) {
    if (ledger->statements[i]->sql == sql) {
      *out = ledger->statements[i];
      return STATUS_OK;
    }
  }
  void *handle = NULL;
  Status status = ledger->ops->prepare(ledger->driver, sql, &handle, err);
  if (status != STATUS_OK)
    return status;
  DbStatement *made = memory_alloc(sizeof *made);
  *made = (DbStatement){.ledger = ledger, .sql = sql, .handle = handle};
  ARRAY_PUSH(ledger->statements, ledger->statement_count, made);
  *out = made;
  return STATUS_OK;
}

void db_statement_reset(DbStatement **statement) {
  if (*statement)
    (*statement)->ledger->ops->reset((*statement)->handle);
}

Status db_step(Ledger *ledger, DbStatement *statement, bool *row, Error *err) {
  return ledger->ops->step(ledger->driver, statement->handle, row, err);
}

Status db_row(Ledger *ledger, DbStatement *statement, Error *err, const char *missing, ...) {
  bool row = false;
  Status status = db_step(ledger, statement, &row, err);
  if (status != STATUS_OK || row)
    return status;
  va_list args;
  va_start(args, missing);
  error_set_v(err, ERR_NOT_FOUND, missing, args);
  va_end(args);
  return ERR_NOT_FOUND;
}

Status db_rows(Ledger *ledger, DbStatement *statement, size_t size, DbRead *read, DbListFree *list_free, void **items,
               size_t *count, Error *err) {
  char *list = NULL;
  size_t used = 0, room = 0;
  bool row = true;
  Status status = STATUS_OK;
  while (status == STATUS_OK && (status = db_step(ledger, statement, &row, err)) == STATUS_OK && row) {
    if (used == room)
      list = memory_resize(list, room = room ? room * 2 : 1, size);
    memset(list + used * size, 0, size);
    status = read(statement, list + used * size, err);
    used += status == STATUS_OK;
  }
  if (status != STATUS_OK) {
    list_free(list, used);
    return status;
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

Status db_change(Ledger *ledger, DbStatement *statement, const char *what, const char *id, Error *err) {
  bool row;
  Status status = db_step(ledger, statement, &row, err);
  if (status != STATUS_OK)
    return status;
  if (ledger->ops->changes(ledger->driver, statement->handle) == 0)
    return error_set(err, ERR_NOT_FOUND, "the ledger has no %s %s", what, id);
  return STATUS_OK;
}

void db_bind_text(DbStatement *statement, int *at, const char *text) {
  statement->ledger->ops->bind_text(statement->handle, (*at)++, text);
}

void db_bind_integer(DbStatement *statement, int *at, int64_t value) {
  statement->ledger->ops->bind_integer(statement->handle, (*at)++, value);
}

void db_bind_real(DbStatement *statement, int *at, double value) {
  statement->ledger->ops->bind_real(statement->handle, (*at)++, value);
}

void db_bind_json(DbStatement *statement, int *at, const json_t *json) {
  CLEANUP_FREE char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
  db_bind_text(statement, at, text);
}

const char *db_peek_text(const DbStatement *statement, int at) {
  return statement->ledger->ops->read_text(statement->handle, at);
}

char *db_read_text(DbStatement *statement, int *at) {
  const char *text = db_peek_text(statement, (*at)++);
  return text ? memory_strdup(text) : NULL;
}

int64_t db_read_integer(DbStatement *statement, int *at) {
  return statement->ledger->ops->read_integer(statement->handle, (*at)++);
}

double db_read_real(DbStatement *statement, int *at) {
  return statement->ledger->ops->read_real(statement->handle, (*at)++);
}

json_t *db_read_json(DbStatement *statement, int *at) {
  const char *text = db_peek_text(statement, (*at)++);
  return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}
