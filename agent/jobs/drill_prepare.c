#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

typedef struct Names {
  char **items;
  size_t count;
} Names;

static void names_release(Names *names) {
  for (size_t i = 0; i < names->count; i++)
    free(names->items[i]);
  free(names->items);
}

static void names_add(Names *names, const char *name) {
  if (!*name || strcmp(name, "pg_default") == 0 || strcmp(name, "pg_global") == 0)
    return;
  for (size_t i = 0; i < names->count; i++)
    if (strcmp(names->items[i], name) == 0)
      return;
  ARRAY_PUSH(names->items, names->count, memory_strdup(name));
}

/* One identifier as SQL has it, at *at; *at is then behind it. NULL if there is none. */
static char *take_identifier(const char **at) {
  const char *p = *at;
  CLEANUP(buffer_release) Buffer name = {0};
  if (*p != '"') {
    size_t size = strcspn(p, " ;\n");
    *at = p + size;
    return size ? memory_strndup(p, size) : NULL;
  }
  for (p++; *p; p++) {
    if (*p == '"' && p[1] != '"') {
      *at = p + 1;
      return buffer_steal_text(&name);
    }
    if (*p == '"')
      p++;
    buffer_append_byte(&name, (uint8_t)*p);
  }
  return NULL;
}

/* Passes over one quoted string or name; at is its opening quote. */
static const char *skip_quoted(const char *at) {
  char quote = *at;
  for (at++; *at; at++)
    if (*at == quote && *++at != quote)
      return at;
  return at;
}

char *drill_database_tablespace(const char *defn) {
  static const char clause[] = " TABLESPACE = ";
  for (const char *p = defn; *p;) {
    if (*p == '\'' || *p == '"') {
      p = skip_quoted(p);
    } else if (strncmp(p, clause, strlen(clause)) == 0) {
      p += strlen(clause);
      return take_identifier(&p);
    } else {
      p++;
    }
  }
  return NULL;
}

static Status execute_with_name(PGconn *session, const char *format, const char *name, Error *err) {
  char *quoted = PQescapeIdentifier(session, name, strlen(name));
  if (!quoted)
    return error_set(err, ERR_ARCHIVE_FORMAT, "a name in the archive is not valid in its encoding");
  CLEANUP(buffer_release) Buffer sql = {0};
  for (const char *p = format; *p; p++)
    if (*p == '?')
      buffer_append_text(&sql, quoted);
    else
      buffer_append_byte(&sql, (uint8_t)*p);
  PQfreemem(quoted);
  return postgres_query(session, NULL, err, buffer_text(&sql));
}

/*
 * Empty tablespaces of the right names: what is in them and who owns them is no part of a database's dump. In-place
 * ones live inside PGDATA; servers from before 2022 do not know them, so a directory is made there.
 */
static Status create_tablespace(DrillRun *run, const char *name, size_t index, Error *err) {
  Error unknown;
  if (postgres_query(run->admin, NULL, &unknown, "SET allow_in_place_tablespaces = on") == STATUS_OK)
    return execute_with_name(run->admin, "CREATE TABLESPACE ? LOCATION ''", name, err);
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->admin, &result, err, "SHOW data_directory");
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *path = memory_format("%s.tablespace-%zu", PQgetvalue(result, 0, 0), index);
  CLEANUP_FREE char *command = memory_format("mkdir -m 700 '%s'", path);
  char *literal = PQescapeLiteral(run->admin, command, strlen(command));
  CLEANUP_FREE char *copy = memory_format("COPY (SELECT 1) TO PROGRAM %s", literal ? literal : "''");
  PQfreemem(literal);
  CLEANUP_FREE char *create = memory_format("CREATE TABLESPACE ? LOCATION '%s'", path);
  status = postgres_query(run->admin, NULL, err, copy);
  return status == STATUS_OK ? execute_with_name(run->admin, create, name, err) : status;
}

static Status create_tablespaces(DrillRun *run, const ArchiveToc *toc, Error *err) {
  CLEANUP(names_release) Names names = {0};
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    names_add(&names, entry->tablespace);
    if (strcmp(entry->desc, "DATABASE") != 0)
      continue;
    CLEANUP_FREE char *own = drill_database_tablespace(entry->defn);
    if (own)
      names_add(&names, own);
  }
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < names.count; i++) {
    status = create_tablespace(run, names.items[i], i, err);
    if (status != STATUS_OK)
      error_prefix(err, "tablespace %s", names.items[i]);
  }
  return status;
}

/* The source's database may have the name of one that every cluster has. */
static Status clear_way(DrillRun *run, const char *database, Error *err) {
  if (strcmp(database, "template0") == 0)
    return error_set(err, ERR_SOURCE_UNREPRESENTABLE, "a database named template0 cannot be restored beside template0");
  if (strcmp(database, "template1") == 0) {
    Status status = postgres_query(run->admin, NULL, err, "ALTER DATABASE template1 IS_TEMPLATE false");
    return status == STATUS_OK ? postgres_query(run->admin, NULL, err, "DROP DATABASE template1") : status;
  }
  if (strcmp(database, "postgres") != 0)
    return STATUS_OK;
  postgres_close(&run->admin);
  run->maintenance = "template1";
  Status status = drill_connect(run, run->maintenance, &run->admin, err);
  return status == STATUS_OK ? postgres_query(run->admin, NULL, err, "DROP DATABASE postgres") : status;
}

Status drill_prepare(DrillRun *run, const ArchiveToc *toc, Error *err) {
  if (run->database_name && strcmp(run->database_name, toc->header.database) != 0)
    return error_set(err, ERR_MANIFEST_INVALID, "the archive is of database \"%s\", the dump was of \"%s\"",
                     toc->header.database, run->database_name);
  if (!run->database_name)
    run->database_name = memory_strdup(toc->header.database);
  Status status = create_tablespaces(run, toc, err);
  if (status == STATUS_OK)
    status = clear_way(run, run->database_name, err);
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(run, err);
}
