/* Statements, and what their failures mean. */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/postgres/connection.h"

enum { WATCH_TICK_MS = 100, CANCEL_SECONDS = 3 };

static Status query_classify(const char *state, const char *primary, const char *function) {
  static const struct {
    const char *prefix;
    Status status;
  } table[] = {
      {"55P03", ERR_LOCK_TIMEOUT}, {"57014", ERR_TIMEOUT},   {"08", ERR_DATABASE_LOST},
      {"57P", ERR_DATABASE_LOST},  {"53100", ERR_DISK_FULL}, {"42501", ERR_TABLE_UNREADABLE},
  };
  /* shares 42501 with a missing privilege; the function's name is the same in every language */
  if (strcmp(function, "check_enable_rls") == 0 || strstr(primary, "row-level security"))
    return ERR_ROW_SECURITY;
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    if (strncmp(state, table[i].prefix, strlen(table[i].prefix)) == 0)
      return table[i].status;
  return ERR_QUERY;
}

static const char *query_field(const PGresult *result, int field) {
  const char *text = result ? PQresultErrorField(result, field) : NULL;
  return text ? text : "";
}

static bool query_is_one_of(const char *state, const char *const *prefixes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strncmp(state, prefixes[i], strlen(prefixes[i])) == 0)
      return true;
  return false;
}

/* Details and hints of these classes tell of objects, the server and the session: no row is quoted in them. */
static bool query_detail_is_safe(const char *state) {
  static const char *const safe[] = {"08", "0A", "28", "2B", "3D", "3F", "40", "42", "53", "55", "57", "58"};
  return query_is_one_of(state, safe, ARRAY_SIZE(safe));
}

/* Words that a function of the database chose itself, under whatever SQLSTATE it liked. */
static bool query_is_raised(const char *state, const char *function) {
  static const char *const raised[] = {"P0", "38", "39"};
  return query_is_one_of(state, raised, ARRAY_SIZE(raised)) || strcmp(function, "exec_stmt_raise") == 0;
}

/* `invalid input syntax for type integer: "..."`. Names that constraints have are quoted, too, and stay; a function's
 * own words may be anything. */
static char *query_discreet(const char *state, const char *primary, bool raised) {
  if (raised)
    return memory_strdup("a function of the database raised an exception, whose words may quote rows");
  if (strncmp(state, "22", 2) != 0)
    return memory_strdup(primary);
  const char *quote = strchr(primary, '"'), *last = strrchr(primary, '"');
  if (!quote)
    return memory_strdup(primary);
  return memory_format("%.*s\"...\"%s", (int)(quote - primary), primary, last > quote ? last + 1 : "");
}

#define SQLSTATE_MARK " (SQLSTATE "

bool postgres_sqlstate(const Error *err, char state[6]) {
  const char *at = strstr(err->message, SQLSTATE_MARK);
  if (!at || strlen(at) < strlen(SQLSTATE_MARK) + 5)
    return false;
  memcpy(state, at + strlen(SQLSTATE_MARK), 5);
  state[5] = '\0';
  return true;
}

char *postgres_discreet(const char *state, const char *primary) {
  CLEANUP_FREE char *text = query_discreet(state, primary, query_is_raised(state, ""));
  return memory_format("%s" SQLSTATE_MARK "%s)", text, state);
}

/* What libpq itself says where it has no field of the server's: one line, and of what a server said no values. */
static char *query_first_line(PGconn *connection) {
  const char *text = PQerrorMessage(connection), *said = strstr(text, "ERROR:");
  size_t size = strcspn(text, "\n");
  if (said && (size_t)(said - text) < size)
    size = (size_t)(said - text) + strcspn(said, "\"\n");
  return size > 0 ? memory_strndup(text, size) : memory_strdup("the statement failed, and nobody said why");
}

static Status query_failed(PGconn *connection, const PGresult *result, Error *err) {
  const char *state = query_field(result, PG_DIAG_SQLSTATE), *primary = query_field(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *function = query_field(result, PG_DIAG_SOURCE_FUNCTION);
  CLEANUP_FREE char *line = query_first_line(connection);
  bool raised = query_is_raised(state, function), safe = !raised && query_detail_is_safe(state);
  CLEANUP_FREE char *discreet = query_discreet(state, primary, raised);
  if (PQstatus(connection) == CONNECTION_BAD)
    return error_set(err, ERR_DATABASE_LOST, "the connection was lost: %s", *primary ? discreet : line);
  if (!*primary)
    return error_set(err, ERR_QUERY, "%s", line);
  CLEANUP_FREE char *detail = text_join_lines(safe ? query_field(result, PG_DIAG_MESSAGE_DETAIL) : "");
  CLEANUP_FREE char *hint = text_join_lines(safe ? query_field(result, PG_DIAG_MESSAGE_HINT) : "");
  Status status = query_classify(state, primary, function);
  error_set(err, status, "%s" SQLSTATE_MARK "%s)%s%s%s%s", discreet, state, *detail ? "; " : "", detail,
            *hint ? "; " : "", hint);
  const char *schema = query_field(result, PG_DIAG_SCHEMA_NAME), *table = query_field(result, PG_DIAG_TABLE_NAME);
  if (*table)
    error_object(err, "%s%s%s", schema, *schema ? "." : "", table);
  return status;
}

static Status query_take(PGconn *connection, PGresult *received, PGresult **result, Error *err) {
  CLEANUP(postgres_clear) PGresult *own = received;
  switch (own ? PQresultStatus(own) : PGRES_FATAL_ERROR) {
  case PGRES_COMMAND_OK:
  case PGRES_TUPLES_OK:
  case PGRES_COPY_OUT:
  case PGRES_COPY_IN:
    break;
  default:
    return query_failed(connection, own, err);
  }
  if (result)
    *result = STEAL(own);
  return STATUS_OK;
}

Status postgres_query(PGconn *connection, PGresult **result, Error *err, const char *sql) {
  return query_take(connection, PQexec(connection, sql), result, err);
}

Status postgres_query_params(PGconn *connection, PGresult **result, Error *err, const char *sql, int count,
                             const char *const *values) {
  return query_take(connection, PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0), result, err);
}

/* Waits a tick for more of the answer. False: there is nothing left to wait for. */
static bool query_wait(PGconn *connection) {
  struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
  int ready = poll(&socket, 1, WATCH_TICK_MS);
  if (ready > 0 && !PQconsumeInput(connection))
    return false;
  return PQisBusy(connection);
}

/* libpq waits as long as it takes for the server to hear of a cancel, which may be for ever: hence a thread of its own.
 * It works on a copy of what it needs, and may outlive the connection. */
static void *query_cancel_run(void *cancel) {
  char reason[256];
  (void)PQcancel(cancel, reason, sizeof reason);
  PQfreeCancel(cancel);
  return NULL;
}

/* Cancels the statement, and takes what is left of its answer. A server that does not say another word is hung up on.
 */
static void query_cancel(PGconn *connection) {
  pthread_t thread;
  PGcancel *cancel = PQgetCancel(connection);
  if (cancel && pthread_create(&thread, NULL, query_cancel_run, cancel) == 0)
    pthread_detach(thread);
  else
    PQfreeCancel(cancel);
  int64_t deadline = clock_monotonic_us() + (int64_t)CANCEL_SECONDS * 1000000;
  while (clock_monotonic_us() < deadline) {
    if (query_wait(connection))
      continue;
    PGresult *result = PQgetResult(connection);
    if (!result)
      return;
    PQclear(result);
  }
  (void)shutdown(PQsocket(connection), SHUT_RDWR);
}

/* Takes what is left of the answer; returns the first failure in it, else the last result. */
static PGresult *query_drain(PGconn *connection) {
  PGresult *kept = NULL, *next;
  while ((next = PQgetResult(connection))) {
    if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
      PQclear(next);
      continue;
    }
    PQclear(kept);
    kept = next;
  }
  return kept;
}

/* Sends it, and waits until the first of its answer is there. */
static Status query_start(PGconn *connection, const char *sql, const PostgresWatch *watch, Error *err) {
  if (!PQsendQuery(connection, sql))
    return query_failed(connection, NULL, err);
  Status status = STATUS_OK;
  while (query_wait(connection)) {
    status = watch->check(watch->user, err);
    if (status == STATUS_OK)
      continue;
    query_cancel(connection);
    return status;
  }
  return STATUS_OK;
}

Status postgres_query_watched(PGconn *connection, PGresult **result, Error *err, const char *sql,
                              const PostgresWatch *watch) {
  Status status = query_start(connection, sql, watch, err);
  return status == STATUS_OK ? query_take(connection, query_drain(connection), result, err) : status;
}

enum { COPY_LINES_MAX = 1000 /* between two looks at the watch */, COPY_PIECE = 64 << 10 };
typedef enum CopyState { COPY_MORE, COPY_DRY, COPY_ENDED } CopyState;

/* Hands out what has come. */
static Status copy_lines(PGconn *connection, PostgresRows *rows, void *user, CopyState *state, Error *err) {
  *state = COPY_MORE;
  for (int i = 0; i < COPY_LINES_MAX; i++) {
    char *line = NULL;
    int size = PQgetCopyData(connection, &line, 1);
    if (size <= 0) {
      *state = size == 0 ? COPY_DRY : COPY_ENDED; /* or failed; the result tells which */
      return STATUS_OK;
    }
    Status status = rows(user, line, (size_t)size, err);
    PQfreemem(line);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static Status copy_run(PGconn *connection, PostgresRows *rows, void *user, const PostgresWatch *watch, Error *err) {
  for (;;) {
    CopyState state;
    Status status = copy_lines(connection, rows, user, &state, err);
    if (status != STATUS_OK || state == COPY_ENDED)
      return status;
    status = watch->check(watch->user, err);
    if (status != STATUS_OK)
      return status;
    struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN};
    if (state == COPY_DRY && poll(&socket, 1, WATCH_TICK_MS) > 0 && !PQconsumeInput(connection))
      return query_failed(connection, NULL, err);
  }
}

Status postgres_copy_out(PGconn *connection, const char *sql, PostgresRows *rows, void *user,
                         const PostgresWatch *watch, Error *err) {
  Status status = query_start(connection, sql, watch, err);
  if (status != STATUS_OK)
    return status;
  PGresult *first = PQgetResult(connection);
  if (PQresultStatus(first) != PGRES_COPY_OUT) {
    PQclear(query_drain(connection));
    status = query_take(connection, first, NULL, err);
    return status == STATUS_OK ? error_set(err, ERR_INTERNAL, "the statement is no COPY TO STDOUT") : status;
  }
  PQclear(first);
  status = copy_run(connection, rows, user, watch, err);
  if (status != STATUS_OK) {
    query_cancel(connection);
    return status;
  }
  return query_take(connection, query_drain(connection), NULL, err);
}

/* Sends what libpq holds, so that it never holds much. */
static Status copy_flush(PGconn *connection, const PostgresWatch *watch, Error *err) {
  for (;;) {
    Status status = watch->check(watch->user, err);
    if (status != STATUS_OK)
      return status;
    int left = PQflush(connection);
    if (left == 0)
      return STATUS_OK;
    struct pollfd socket = {.fd = PQsocket(connection), .events = POLLIN | POLLOUT};
    if (left < 0 || (poll(&socket, 1, WATCH_TICK_MS) > 0 && (socket.revents & POLLIN) && !PQconsumeInput(connection)))
      return query_failed(connection, NULL, err);
  }
}

Status postgres_copy_in_start(PGconn *connection, const char *sql, const PostgresWatch *watch, Error *err) {
  Status status = query_start(connection, sql, watch, err);
  if (status != STATUS_OK)
    return status;
  PGresult *first = PQgetResult(connection);
  if (PQresultStatus(first) == PGRES_COPY_IN) {
    PQclear(first);
    (void)PQsetnonblocking(connection, 1);
    return STATUS_OK;
  }
  PQclear(query_drain(connection));
  status = query_take(connection, first, NULL, err);
  return status == STATUS_OK ? error_set(err, ERR_INTERNAL, "the statement is no COPY FROM STDIN") : status;
}

Status postgres_copy_in_write(PGconn *connection, const void *data, size_t size, const PostgresWatch *watch,
                              Error *err) {
  const char *at = data;
  while (size > 0) {
    size_t piece = size < COPY_PIECE ? size : COPY_PIECE;
    int taken = PQputCopyData(connection, at, (int)piece);
    if (taken < 0)
      return query_failed(connection, NULL, err);
    Status status = copy_flush(connection, watch, err);
    if (status != STATUS_OK)
      return status;
    if (taken > 0)
      at += piece, size -= piece;
  }
  return STATUS_OK;
}

Status postgres_copy_in_end(PGconn *connection, int64_t *rows, const PostgresWatch *watch, Error *err) {
  int taken;
  while ((taken = PQputCopyEnd(connection, NULL)) == 0) {
    Status status = copy_flush(connection, watch, err);
    if (status != STATUS_OK)
      return status;
  }
  Status status = taken < 0 ? query_failed(connection, NULL, err) : copy_flush(connection, watch, err);
  (void)PQsetnonblocking(connection, 0);
  while (status == STATUS_OK && query_wait(connection))
    status = watch->check(watch->user, err);
  if (status != STATUS_OK) {
    query_cancel(connection);
    return status;
  }
  CLEANUP(postgres_clear) PGresult *result = NULL;
  status = query_take(connection, query_drain(connection), &result, err);
  if (status == STATUS_OK)
    *rows = strtoll(PQcmdTuples(result), NULL, 10);
  return status;
}
