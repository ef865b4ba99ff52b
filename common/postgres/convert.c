#include "common/postgres/convert.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { REFUSALS_MAX = 200 /* statements that fail before the rest is given up */ };

typedef struct Conversion {
  PGconn *session;
  const char *from, *to;
  const PostgresWatch *watch;
  int refusals;
} Conversion;

bool postgres_text_is_utf8(const char *text, const char *encoding) {
  while (*text && (unsigned char)*text < 128)
    text++;
  return !*text || !encoding || strcmp(encoding, "UTF8") == 0;
}

static char *plain(const char *hex) {
  size_t size = strlen(hex) / 2;
  char *text = memory_alloc(size + 1); /* zeroed */
  if (text_unhex(hex, (uint8_t *)text, size))
    return text;
  free(text);
  return NULL;
}

/* Texts go and come as hexadecimal digits: they need no quoting, whatever they are. */
static char *statement(const Conversion *conversion, const char *const *texts, size_t count) {
  CLEANUP_FREE char *from = PQescapeLiteral(conversion->session, conversion->from, strlen(conversion->from));
  CLEANUP_FREE char *to = PQescapeLiteral(conversion->session, conversion->to, strlen(conversion->to));
  if (!from || !to)
    return NULL;
  CLEANUP(buffer_release) Buffer list = {0};
  for (size_t i = 0; i < count; i++) {
    CLEANUP_FREE char *hex = memory_alloc(2 * strlen(texts[i]) + 1);
    text_hex((const uint8_t *)texts[i], strlen(texts[i]), hex);
    buffer_append_format(&list, "%s\"%s\"", i ? "," : "", hex);
  }
  return memory_format(
      "SELECT pg_catalog.encode(pg_catalog.convert(pg_catalog.decode(t.hex, 'hex'), %s::name, %s::name),"
      " 'hex') FROM pg_catalog.unnest('{%s}'::text[]) WITH ORDINALITY AS t (hex, number)"
      " ORDER BY t.number",
      from, to, buffer_text(&list));
}

/* What cannot be converted must not end the transaction that the session may be in. */
static Status ask(const Conversion *conversion, const char *sql, PGresult **result) {
  PGconn *session = conversion->session;
  bool inside = PQtransactionStatus(session) == PQTRANS_INTRANS;
  Error failure;
  Status status = inside ? postgres_query(session, NULL, &failure, "SAVEPOINT pgseal_convert") : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  Status asked = postgres_query_watched(session, result, &failure, sql, conversion->watch);
  if (inside && asked != STATUS_OK)
    status = postgres_query(session, NULL, &failure, "ROLLBACK TO SAVEPOINT pgseal_convert");
  if (inside && status == STATUS_OK)
    status = postgres_query(session, NULL, &failure, "RELEASE SAVEPOINT pgseal_convert");
  return status == STATUS_OK ? asked : status;
}

/* One that cannot be converted fails the statement for all: then each half by itself. */
static void convert(Conversion *conversion, const char *const *texts, size_t count, char **out) {
  if (count == 0 || conversion->refusals >= REFUSALS_MAX)
    return;
  CLEANUP_FREE char *sql = statement(conversion, texts, count);
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = sql ? ask(conversion, sql, &result) : ERR_QUERY;
  if (status == STATUS_OK) {
    for (size_t i = 0; i < count && i < (size_t)PQntuples(result); i++)
      out[i] = plain(PQgetvalue(result, (int)i, 0));
    return;
  }
  conversion->refusals = status == ERR_QUERY ? conversion->refusals + 1 : REFUSALS_MAX;
  if (count == 1)
    return;
  convert(conversion, texts, count / 2, out);
  convert(conversion, texts + count / 2, count - count / 2, out + count / 2);
}

void postgres_convert(PGconn *session, const char *from, const char *to, const char *const *texts, size_t count,
                      const PostgresWatch *watch, char **out) {
  Conversion conversion = {session, from, to, watch, 0};
  memset(out, 0, count * sizeof *out);
  convert(&conversion, texts, count, out);
}
