/* Statements on PostgreSQL: prepared on each connection when they are first run there, with the types of what is bound.
 */
#include "coordinator/ledger/postgres.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/memory.h"

enum { PARAMETERS_LIMIT = 64, NUMBER_SIZE = 32, OID_TEXT = 25, OID_INT8 = 20, OID_FLOAT8 = 701 };

typedef struct PostgresStatement {
  Postgres *postgres;
  char *sql; /* with $1, $2 */
  char name[16];
  bool reads;
  int count;         /* of parameters */
  unsigned prepared; /* on the connection of this number; 0: on none */
  Oid types[PARAMETERS_LIMIT];
  char *values[PARAMETERS_LIMIT];
  PGresult *result;
  int row; /* the current one */
} PostgresStatement;

/* ? and ?1 become $1; not in literals. */
static char *numbered(const char *sql, int *count) {
  CLEANUP(buffer_release) Buffer out = {0};
  bool literal = false;
  int next = 1;
  for (const char *p = sql; *p; p++) {
    literal ^= *p == '\'';
    if (*p != '?' || literal) {
      buffer_append_byte(&out, (uint8_t)*p);
      continue;
    }
    int number = isdigit((unsigned char)p[1]) ? 0 : next++;
    while (isdigit((unsigned char)p[1]))
      number = number * 10 + (*++p - '0');
    *count = number > *count ? number : *count;
    char text[NUMBER_SIZE];
    snprintf(text, sizeof text, "$%d", number);
    buffer_append_text(&out, text);
  }
  return memory_strndup((const char *)out.data, out.size);
}

Status postgres_prepare(void *driver, const char *sql, void **statement, Error *err) {
  Postgres *postgres = driver;
  PostgresStatement *made = memory_alloc(sizeof *made);
  made->postgres = postgres;
  made->sql = numbered(sql, &made->count);
  made->reads = strncmp(sql, "SELECT", 6) == 0;
  snprintf(made->name, sizeof made->name, "s%u", ++postgres->statements);
  if (made->count > PARAMETERS_LIMIT) {
    postgres_release(made);
    return error_set(err, ERR_INTERNAL, "a statement has more than %d parameters", PARAMETERS_LIMIT);
  }
  *statement = made;
  return STATUS_OK;
}

void postgres_reset(void *statement) {
  PostgresStatement *s = statement;
  for (int i = 0; i < s->count; i++) {
    free(s->values[i]);
    s->values[i] = NULL;
  }
  postgres_clear(&s->result);
}

void postgres_release(void *statement) {
  PostgresStatement *s = statement;
  s->count = s->count > PARAMETERS_LIMIT ? 0 : s->count;
  postgres_reset(s);
  free(s->sql);
  free(s);
}

static void bind(PostgresStatement *s, int at, Oid type, char *value) {
  if (at < 1 || at > s->count) {
    free(value);
    return;
  }
  free(s->values[at - 1]);
  s->types[at - 1] = type;
  s->values[at - 1] = value;
}

void postgres_bind_text(void *statement, int at, const char *text) {
  bind(statement, at, OID_TEXT, text ? memory_strdup(text) : NULL);
}

void postgres_bind_integer(void *statement, int at, int64_t value) {
  bind(statement, at, OID_INT8, memory_format("%lld", (long long)value));
}

void postgres_bind_real(void *statement, int at, double value) {
  bind(statement, at, OID_FLOAT8, memory_format("%.17g", value));
}

void postgres_bind_null(void *statement, int at) {
  bind(statement, at, 0, NULL);
}

/* ---- running ---- */

static Status prepare_here(PostgresStatement *s, Error *err) {
  Postgres *postgres = s->postgres;
  if (s->prepared == postgres->number)
    return STATUS_OK;
  CLEANUP(postgres_clear) PGresult *result = PQprepare(postgres->connection, s->name, s->sql, s->count, s->types);
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    return postgres_failure(postgres, result, "prepare a statement", err);
  s->prepared = postgres->number;
  return STATUS_OK;
}

static Status execute(PostgresStatement *s, Error *err) {
  Postgres *postgres = s->postgres;
  Status status = postgres_ready(postgres, err);
  if (status == STATUS_OK)
    status = prepare_here(s, err);
  if (status != STATUS_OK)
    return status;
  postgres_clear(&s->result);
  s->result = PQexecPrepared(postgres->connection, s->name, s->count, (const char *const *)s->values, NULL, NULL, 0);
  ExecStatusType got = PQresultStatus(s->result);
  if (got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK)
    return STATUS_OK;
  status = postgres_failure(postgres, s->result, s->reads ? "read" : "write", err);
  postgres_clear(&s->result);
  return status;
}

Status postgres_step(void *driver, void *statement, bool *row, Error *err) {
  Postgres *postgres = driver;
  PostgresStatement *s = statement;
  if (!s->result) {
    bool alone = !postgres->open;
    Status status = execute(s, err);
    if (status != STATUS_OK && alone && s->reads && postgres_lost(postgres))
      status = execute(s, err);
    if (status != STATUS_OK)
      return status;
    s->row = -1;
  }
  *row = ++s->row < PQntuples(s->result);
  return STATUS_OK;
}

int64_t postgres_changes(void *driver, void *statement) {
  (void)driver;
  const PostgresStatement *s = statement;
  return s->result ? strtoll(PQcmdTuples(s->result), NULL, 10) : 0;
}

const char *postgres_read_text(void *statement, int at) {
  const PostgresStatement *s = statement;
  return PQgetisnull(s->result, s->row, at) ? NULL : PQgetvalue(s->result, s->row, at);
}

int postgres_columns(void *statement) {
  const PostgresStatement *s = statement;
  return PQnfields(s->result);
}

const char *postgres_column(void *statement, int at) {
  const PostgresStatement *s = statement;
  return PQfname(s->result, at);
}

DbType postgres_type(void *statement, int at) {
  const PostgresStatement *s = statement;
  if (PQgetisnull(s->result, s->row, at))
    return DB_NULL;
  Oid type = PQftype(s->result, at);
  return type == OID_INT8 ? DB_INTEGER : type == OID_FLOAT8 ? DB_REAL : DB_TEXT;
}

int64_t postgres_read_integer(void *statement, int at) {
  const char *text = postgres_read_text(statement, at);
  return text ? strtoll(text, NULL, 10) : 0;
}

double postgres_read_real(void *statement, int at) {
  const char *text = postgres_read_text(statement, at);
  return text ? strtod(text, NULL) : 0;
}
