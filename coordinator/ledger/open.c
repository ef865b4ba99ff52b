#include <libpq-fe.h>
#include <string.h>

#include "coordinator/ledger/db.h"

/* A connection string is a URI, or has key=value; a path has a '=' in its file's name only if somebody insists
 * ("./a=b"). */
bool ledger_is_postgres(const char *where) {
  if (strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0)
    return true;
  return strchr(where, '=') && strcspn(where, "=") < strcspn(where, "/");
}

Status ledger_conninfo_check(const char *conninfo, bool *password, Error *err) {
  PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
  *password = false;
  for (const PQconninfoOption *option = options; option && option->keyword; option++)
    *password = *password || (option->val && option->dispchar[0] == '*');
  if (!options)
    return error_set(err, ERR_INVALID_ARGUMENT, "the connection string cannot be read");
  PQconninfoFree(options);
  return STATUS_OK;
}

Status ledger_open(const char *where, bool read_only, Ledger **out, Error *err) {
  if (ledger_is_postgres(where))
    return ledger_open_postgres(where, read_only, out, err);
  return read_only ? ledger_open_sqlite_readonly(where, out, err) : ledger_open_sqlite(where, out, err);
}

const char *ledger_name(const Ledger *ledger) {
  return ledger->name;
}
