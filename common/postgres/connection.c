#include "common/postgres/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/postgres/conninfo.h"

enum { CONNECT_TIMEOUT_SECONDS = 10, CONNECT_TIMEOUT_LIMIT = 3600 };

void postgres_close(PGconn **connection) {
  if (*connection)
    PQfinish(*connection);
  *connection = NULL;
}

void postgres_clear(PGresult **result) {
  PQclear(*result);
  *result = NULL;
}

static void connection_ignore_notice(void *user, const char *message) {
  (void)user;
  (void)message; /* libpq's default writes to stderr, which is the log */
}

/* "user=... dbname=... at host:port", for messages. */
static char *connection_describe(const Conninfo *conninfo) {
  const char *host = conninfo_get(conninfo, "host"), *port = conninfo_get(conninfo, "port");
  const char *name = conninfo_get(conninfo, "dbname"), *user = conninfo_get(conninfo, "user");
  const char *service = conninfo_get(conninfo, "service");
  if (!host)
    host = conninfo_get(conninfo, "hostaddr");
  if (service)
    return memory_format("service %s", service);
  return memory_format("database %s at %s:%s as %s", name ? name : "(default)", host ? host : "(local socket)",
                       port ? port : "5432", user ? user : "(default user)");
}

/* Of a message written at verbosity VERBOSE: "FATAL:  28P01: ...". libpq offers no other way to the SQLSTATE of
 * a connection that failed, and the words around it may be in any language. */
static bool connection_sqlstate(const char *message, char state[6]) {
  static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (const char *p = strstr(message, ":  "); p; p = strstr(p + 1, ":  "))
    if (strspn(p + 3, digits) == 5 && strncmp(p + 8, ": ", 2) == 0) {
      memcpy(state, p + 3, 5);
      state[5] = '\0';
      return true;
    }
  return false;
}

/* The same message without what VERBOSE added. */
static char *connection_message(const char *message, const char *state) {
  Buffer text = {0};
  const char *line = message;
  while (*line) {
    size_t length = strcspn(line, "\n");
    const char *mark = *state ? memmem(line, length, state, 5) : NULL;
    if (length > 9 && strncmp(line, "LOCATION:", 9) == 0) {
      ; /* a source line of the server */
    } else if (mark && strncmp(mark + 5, ": ", 2) == 0) {
      buffer_append(&text, line, (size_t)(mark - line));
      buffer_append(&text, mark + 7, length - (size_t)(mark + 7 - line));
      buffer_append_byte(&text, '\n');
    } else {
      buffer_append(&text, line, length);
      buffer_append_byte(&text, '\n');
    }
    line += length + (line[length] == '\n');
  }
  return buffer_steal_text(&text);
}

static Status connection_classify(const char *message, const char *state, bool needs_password) {
  if (*state == '\0') {
    bool certificates = strstr(message, "SSL") || strstr(message, "certificate") || strstr(message, "sslmode");
    bool lost = strstr(message, "server closed the connection") != NULL;
    return needs_password || (certificates && !lost) ? ERR_DATABASE_REFUSED : ERR_DATABASE_UNREACHABLE;
  }
  /* 53 resources (too many connections), 57 operator intervention (starting up, shutting down), 58 system error */
  if (strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0 || strncmp(state, "58", 2) == 0)
    return ERR_DATABASE_UNREACHABLE;
  return ERR_DATABASE_REFUSED;
}

static Status connection_failed(PGconn *connection, const Conninfo *conninfo, Error *err) {
  const char *raw = PQerrorMessage(connection);
  char state[6] = "";
  connection_sqlstate(raw, state);
  CLEANUP_FREE char *said = connection_message(raw, state);
  CLEANUP_FREE char *where = connection_describe(conninfo);
  bool needs_password = PQconnectionNeedsPassword(connection);
  Status status = connection_classify(raw, state, needs_password);
  CLEANUP_FREE char *line = text_join_lines(said);
  error_set(err, status, "cannot connect to %s: %s", where, line);
  error_object(err, "%s", where);
  if (needs_password)
    error_remedy(err, "The server asks for a password: put it into the connection string's file, or into a passfile.");
  else if (strcmp(state, "53300") == 0)
    error_remedy(err,
                 "The server has no free connection: raise max_connections, or give pgseal's role a reserved one.");
  else if (strcmp(state, "57P03") == 0)
    error_remedy(err, "The server is starting up or shutting down: wait until it accepts connections.");
  else if (strcmp(state, "08P01") == 0)
    error_remedy(err, "Connect to PostgreSQL itself and not through a pooler: pg_dump needs a session of its own.");
  else if (*state == '\0' && status == ERR_DATABASE_REFUSED)
    error_remedy(err, "Check sslmode, sslrootcert and the server's certificate.");
  return status;
}

static int64_t connection_deadline(const Conninfo *conninfo) {
  const char *text = conninfo_get(conninfo, "connect_timeout"), *host = conninfo_get(conninfo, "host");
  long seconds = text ? strtol(text, NULL, 10) : CONNECT_TIMEOUT_SECONDS;
  if (seconds <= 0 || seconds > CONNECT_TIMEOUT_LIMIT)
    seconds = text ? CONNECT_TIMEOUT_LIMIT : CONNECT_TIMEOUT_SECONDS;
  long hosts = 1; /* libpq's own timeout is for each host of a list */
  for (const char *p = host; p && (p = strchr(p, ',')); p++)
    hosts++;
  return clock_monotonic_us() + (int64_t)seconds * hosts * 1000000;
}

/* PQconnectdb in steps: that alone allows to set the verbosity before the server answers. */
static Status connection_wait(PGconn *connection, const Conninfo *conninfo, Error *err) {
  PostgresPollingStatusType step = PGRES_POLLING_WRITING;
  int64_t deadline = connection_deadline(conninfo);
  for (;;) {
    if (step == PGRES_POLLING_OK)
      return STATUS_OK;
    if (step == PGRES_POLLING_FAILED || PQstatus(connection) == CONNECTION_BAD)
      return connection_failed(connection, conninfo, err);
    struct pollfd fd = {.fd = PQsocket(connection), .events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    int64_t left = deadline - clock_monotonic_us();
    int ready = left > 0 ? poll(&fd, 1, (int)(left / 1000) + 1) : 0;
    if (ready < 0 && errno != EINTR)
      return error_set_errno(err, errno, "cannot wait for a connection");
    if (ready == 0) {
      CLEANUP_FREE char *where = connection_describe(conninfo);
      error_set(err, ERR_DATABASE_UNREACHABLE, "cannot connect to %s: no answer in time", where);
      error_object(err, "%s", where);
      return err->status;
    }
    if (ready > 0)
      step = PQconnectPoll(connection);
  }
}

static Status connect_with(const Conninfo *conninfo, const char *application_name, const char *options, PGconn **out,
                           Error *err) {
  const char **keys = memory_resize(NULL, conninfo->count + 3, sizeof *keys);
  const char **values = memory_resize(NULL, conninfo->count + 3, sizeof *values);
  size_t count = 0;
  for (size_t i = 0; i < conninfo->count; i++) {
    const char *key = conninfo->items[i].key;
    const char *value = strcmp(key, "options") == 0            ? options
                        : strcmp(key, "application_name") == 0 ? application_name
                        : strcmp(key, "client_encoding") == 0  ? "UTF8" /* names and messages go into JSON */
                                                               : conninfo->items[i].value;
    if (!value)
      continue;
    keys[count] = key;
    values[count++] = value;
  }
  keys[count] = values[count] = NULL;
  CLEANUP(postgres_close) PGconn *connection = PQconnectStartParams(keys, values, 0);
  free(keys);
  free(values);
  if (!connection)
    return error_set(err, ERR_NO_MEMORY, "cannot make a connection object");
  PQsetNoticeProcessor(connection, connection_ignore_notice, NULL);
  PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
  Status status = connection_wait(connection, conninfo, err);
  if (status != STATUS_OK)
    return status;
  PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
  *out = STEAL(connection);
  return STATUS_OK;
}

Status postgres_connect(const Conninfo *conninfo, const char *application_name, PGconn **out, Error *err) {
  CLEANUP_FREE char *options = conninfo_pinned_options(conninfo);
  return connect_with(conninfo, application_name, options, out, err);
}

Status postgres_connect_plainly(const Conninfo *conninfo, const char *application_name, PGconn **out, Error *err) {
  return connect_with(conninfo, application_name, conninfo_get(conninfo, "options"), out, err);
}

int postgres_server_major(PGconn *connection) {
  return PQserverVersion(connection) / 10000;
}
