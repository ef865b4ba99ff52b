#include "common/archive/ddl.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

void statement_list_release(StatementList *list) {
  for (size_t i = 0; i < list->count; i++)
    free(list->items[i]);
  free(list->items);
  memset(list, 0, sizeof *list);
}

void statement_list_add(StatementList *list, char *sql) {
  ARRAY_PUSH(list->items, list->count, sql);
}

static bool is_one_of(const char *desc, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(desc, names[i]) == 0)
      return true;
  return false;
}

char *archive_entry_identity(const ArchiveEntry *entry) {
  Buffer out = {0};
  buffer_append_format(&out, "%s ", entry->desc);
  if (*entry->schema) {
    sql_append_name(&out, entry->schema);
    buffer_append_byte(&out, '.');
  }
  buffer_append_text(&out, entry->tag);
  return buffer_steal_text(&out);
}

/* ---- owner ---- */

/* "FUNCTION public.f(integer)" out of "DROP FUNCTION public.f(integer);\n": names that need more than schema and tag.
 */
static char *object_of_drop(const ArchiveEntry *entry) {
  static const char drop[] = "DROP ";
  if (strncmp(entry->drop_stmt, drop, sizeof drop - 1) != 0)
    return NULL;
  const char *start = entry->drop_stmt + sizeof drop - 1, *end = start + strlen(start);
  while (end > start && strchr(" \n;", end[-1]))
    end--;
  return memory_strndup(start, (size_t)(end - start));
}

/* What to write after ALTER; NULL for what has no owner of its own. */
static char *owned_object(const ArchiveEntry *entry) {
  static const char *const tables[] = {"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"};
  static const char *const in_schema[] = {"COLLATION",
                                          "CONVERSION",
                                          "DOMAIN",
                                          "STATISTICS",
                                          "TYPE",
                                          "FOREIGN TABLE",
                                          "TEXT SEARCH DICTIONARY",
                                          "TEXT SEARCH CONFIGURATION"};
  static const char *const global[] = {"DATABASE", "PROCEDURAL LANGUAGE", "SCHEMA",       "EVENT TRIGGER",
                                       "SERVER",   "PUBLICATION",         "SUBSCRIPTION", "FOREIGN DATA WRAPPER"};
  static const char *const with_arguments[] = {"AGGREGATE", "FUNCTION",       "PROCEDURE",
                                               "OPERATOR",  "OPERATOR CLASS", "OPERATOR FAMILY"};
  if (is_one_of(entry->desc, with_arguments, ARRAY_SIZE(with_arguments)))
    return object_of_drop(entry);
  CLEANUP_FREE char *name = sql_qualified_name(entry->schema, entry->tag);
  if (is_one_of(entry->desc, tables, ARRAY_SIZE(tables)))
    return memory_format("TABLE %s", name);
  if (is_one_of(entry->desc, in_schema, ARRAY_SIZE(in_schema)))
    return memory_format("%s %s", entry->desc, name);
  CLEANUP_FREE char *plain = sql_name(entry->tag);
  if (is_one_of(entry->desc, global, ARRAY_SIZE(global)))
    return memory_format("%s %s", entry->desc, plain);
  return strcmp(entry->desc, "BLOB") == 0 ? memory_format("LARGE OBJECT %s", entry->tag) : NULL;
}

/* An entry without DROP statement goes with another: an identity column's sequence, a shell type. */
char *archive_owner_statement(const ArchiveEntry *entry, const char *owner) {
  CLEANUP_FREE char *object = *owner && *entry->drop_stmt ? owned_object(entry) : NULL;
  if (!object)
    return NULL;
  CLEANUP_FREE char *name = sql_name(owner);
  return memory_format("ALTER %s OWNER TO %s;", object, name);
}

/* ---- default privileges ---- */

/* What the catalog has of a kind of object: for the query below. */
typedef struct GrantedKind {
  const char *const descs[5];
  const char *catalog, *acl, *owner, *by_name; /* by_name: the type that reads its name as an OID */
  const char *keyword;                         /* of GRANT ... ON */
  const char *to_public;                       /* what everybody may do with a new one; or NULL */
} GrantedKind;

static const GrantedKind GRANTED[] = {
    {{"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"}, "class", "relacl", "relowner", "regclass", "TABLE", NULL},
    {{"SEQUENCE"}, "class", "relacl", "relowner", "regclass", "SEQUENCE", NULL},
    {{"FUNCTION", "AGGREGATE"}, "proc", "proacl", "proowner", "regprocedure", "FUNCTION", "EXECUTE"},
    {{"PROCEDURE"}, "proc", "proacl", "proowner", "regprocedure", "PROCEDURE", "EXECUTE"},
    {{"TYPE", "DOMAIN"}, "type", "typacl", "typowner", "regtype", "TYPE", "USAGE"},
    {{"SCHEMA"}, "namespace", "nspacl", "nspowner", "regnamespace", "SCHEMA", NULL}};

static const GrantedKind *granted_kind(const char *desc) {
  for (size_t i = 0; i < ARRAY_SIZE(GRANTED); i++)
    for (size_t d = 0; d < ARRAY_SIZE(GRANTED[i].descs) && GRANTED[i].descs[d]; d++)
      if (strcmp(desc, GRANTED[i].descs[d]) == 0)
        return &GRANTED[i];
  return NULL;
}

/* The name as GRANT wants it: a function's with its arguments. */
static char *granted_name(const ArchiveEntry *entry, const GrantedKind *kind) {
  if (strcmp(kind->catalog, "proc") != 0)
    return sql_qualified_name(entry->schema, entry->tag);
  CLEANUP_FREE char *object = object_of_drop(entry);
  const char *name = object ? strchr(object, ' ') : NULL;
  return name ? memory_strdup(name + 1) : NULL;
}

char *archive_grants_query(const ArchiveEntry *entry) {
  const GrantedKind *kind = granted_kind(entry->desc);
  CLEANUP_FREE char *name = kind ? granted_name(entry, kind) : NULL;
  if (!name)
    return NULL;
  Buffer out = {0};
  CLEANUP(buffer_release) Buffer literal = {0};
  sql_append_literal(&literal, name);
  buffer_append_format(&out,
                       "WITH o AS (SELECT %s::pg_catalog.text AS name, %s AS acl, %s AS owner FROM pg_catalog.pg_%s "
                       "WHERE oid = %s::pg_catalog.%s) SELECT statement FROM (SELECT DISTINCT 1 AS step, "
                       "pg_catalog.format('REVOKE ALL ON %s %%s FROM %%s;', name, CASE a.grantee WHEN 0 THEN 'PUBLIC' "
                       "ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END) AS statement FROM o, "
                       "pg_catalog.aclexplode(acl) a WHERE a.grantee <> owner UNION ALL SELECT 2, "
                       "pg_catalog.format('GRANT ALL ON %s %%s TO %%I;', name, pg_catalog.pg_get_userbyid(owner)) "
                       "FROM o WHERE acl IS NOT NULL",
                       buffer_text(&literal), kind->acl, kind->owner, kind->catalog, buffer_text(&literal),
                       kind->by_name, kind->keyword, kind->keyword);
  if (kind->to_public)
    buffer_append_format(&out,
                         " UNION ALL SELECT 3, pg_catalog.format('GRANT %s ON %s %%s TO PUBLIC;', name) FROM o WHERE "
                         "acl IS NOT NULL",
                         kind->to_public, kind->keyword);
  buffer_append_text(&out, ") s ORDER BY step, statement");
  return buffer_steal_text(&out);
}

/* ---- statements ---- */

/* Is there anything but blanks and comments? ("-- *not* creating schema, since initdb creates it") */
static bool says_something(const char *text) {
  const char *end = text + strlen(text);
  while (text < end) {
    bool comment = strncmp(text, "--", 2) == 0 || strncmp(text, "/*", 2) == 0;
    if (!comment && !strchr(" \t\n\r;", *text))
      return true;
    text = sql_skip_token(text, end);
  }
  return false;
}

static char *trimmed(const char *text) {
  size_t size = strlen(text);
  while (size > 0 && strchr(" \n", text[size - 1]))
    size--;
  return memory_strndup(text, size);
}

static void add_setting(StatementList *out, const char *setting, const char *value) {
  CLEANUP_FREE char *name = *value ? sql_name(value) : memory_strdup("''");
  statement_list_add(out, memory_format("SET LOCAL %s = %s;", setting, name));
}

static const char DEFAULT_ACCESS_METHOD[] = "heap";

void archive_session_statements(const ArchiveToc *toc, StatementList *out) {
  static const char *const settings[] = {"ENCODING", "STDSTRINGS", "SEARCHPATH"};
  for (size_t i = 0; i < toc->entry_count; i++)
    if (is_one_of(toc->entries[i].desc, settings, ARRAY_SIZE(settings)) && says_something(toc->entries[i].defn))
      statement_list_add(out, trimmed(toc->entries[i].defn));
  static const char *const more[] = {"SET check_function_bodies = false;", "SET xmloption = content;",
                                     "SET client_min_messages = warning;", "SET row_security = off;",
                                     "SET default_tablespace = '';",       "SET default_table_access_method = heap;"};
  for (size_t i = 0; i < ARRAY_SIZE(more); i++)
    statement_list_add(out, memory_strdup(more[i]));
}

void archive_entry_statements(const ArchiveToc *toc, const ArchiveEntry *entry, StatementList *out) {
  static const char *const none[] = {"ENCODING", "STDSTRINGS",          "SEARCHPATH",    "DATABASE",
                                     "BLOBS",    "DATABASE PROPERTIES", "BLOB METADATA", "TABLE DATA"};
  static const char *const stored[] = {"TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW"};
  (void)toc;
  if (is_one_of(entry->desc, none, ARRAY_SIZE(none)) || !says_something(entry->defn))
    return;
  bool is_stored = is_one_of(entry->desc, stored, ARRAY_SIZE(stored));
  bool place = is_stored && *entry->tablespace;
  bool method = is_stored && *entry->table_am && strcmp(entry->table_am, DEFAULT_ACCESS_METHOD) != 0;
  bool partitioned = entry->relkind == 'p'; /* takes its access method by ALTER: it stores nothing itself */
  if (place)
    add_setting(out, "default_tablespace", entry->tablespace);
  if (method && !partitioned)
    add_setting(out, "default_table_access_method", entry->table_am);
  statement_list_add(out, trimmed(entry->defn));
  if (method && !partitioned)
    add_setting(out, "default_table_access_method", DEFAULT_ACCESS_METHOD);
  if (place)
    add_setting(out, "default_tablespace", "");
  if (*entry->table_am && is_stored && partitioned) {
    CLEANUP_FREE char *name = sql_qualified_name(entry->schema, entry->tag), *am = sql_name(entry->table_am);
    statement_list_add(out, memory_format("ALTER TABLE %s SET ACCESS METHOD %s;", name, am));
  }
  char *owner = archive_owner_statement(entry, entry->owner);
  if (owner)
    statement_list_add(out, owner);
}
