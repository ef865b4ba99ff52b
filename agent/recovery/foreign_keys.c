/* Foreign keys are validated when they are put back. Rows written since the checkpoint may point at rows that it has
 * not: then the restore says how many, and what can be done. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

typedef struct KeySides {
  char *child[2], *parent[2]; /* schema, name */
  char **from, **to;          /* columns, as many of each */
  size_t from_count, to_count;
} KeySides;

static void sides_release(KeySides *sides) {
  for (size_t i = 0; i < 2; i++) {
    free(sides->child[i]);
    free(sides->parent[i]);
  }
  restore_texts_release(sides->from, sides->from_count);
  restore_texts_release(sides->to, sides->to_count);
}

static bool take_word(const char **at, const char *end, const char *word) {
  *at += strspn(*at, " \n");
  if (!sql_at_word(*at, end, word))
    return false;
  *at += strlen(word);
  *at += strspn(*at, " \n");
  return true;
}

static bool take_columns(const char **at, const char *end, char ***names, size_t *count) {
  *at += strspn(*at, " \n");
  if (*at >= end || **at != '(')
    return false;
  do {
    char *name = NULL;
    ++*at;
    *at += strspn(*at, " ");
    if (!sql_take_name(at, end, &name))
      return false;
    ARRAY_PUSH(*names, *count, name);
    *at += strspn(*at, " ");
  } while (*at < end && **at == ',');
  return *at < end && *(*at)++ == ')';
}

/* ALTER TABLE [ONLY] s.t ADD CONSTRAINT k FOREIGN KEY (a, b) REFERENCES s.u(c, d) ...; */
static bool take_sides(const char *defn, KeySides *sides) {
  const char *at = defn, *end = defn + strlen(defn);
  char *name = NULL;
  if (!take_word(&at, end, "ALTER") || !take_word(&at, end, "TABLE"))
    return false;
  (void)take_word(&at, end, "ONLY");
  if (sql_take_qualified(&at, end, sides->child, 2) != 2 || !take_word(&at, end, "ADD") ||
      !take_word(&at, end, "CONSTRAINT") || !sql_take_name(&at, end, &name))
    return false;
  free(name);
  return take_word(&at, end, "FOREIGN") && take_word(&at, end, "KEY") &&
         take_columns(&at, end, &sides->from, &sides->from_count) && take_word(&at, end, "REFERENCES") &&
         sql_take_qualified(&at, end, sides->parent, 2) == 2 && take_columns(&at, end, &sides->to, &sides->to_count) &&
         sides->from_count == sides->to_count;
}

char *restore_orphans_sql(const char *defn) {
  CLEANUP(sides_release) KeySides sides = {0};
  if (!take_sides(defn, &sides))
    return NULL;
  CLEANUP_FREE char *child = sql_qualified_name(sides.child[0], sides.child[1]);
  CLEANUP_FREE char *parent = sql_qualified_name(sides.parent[0], sides.parent[1]);
  Buffer sql = {0};
  buffer_append_format(&sql, "SELECT pg_catalog.count(*) FROM %s c WHERE ", child);
  for (size_t i = 0; i < sides.from_count; i++) {
    CLEANUP_FREE char *from = sql_name(sides.from[i]);
    buffer_append_format(&sql, "c.%s IS NOT NULL AND ", from);
  }
  buffer_append_format(&sql, "NOT EXISTS (SELECT FROM %s p WHERE ", parent);
  for (size_t i = 0; i < sides.from_count; i++) {
    CLEANUP_FREE char *from = sql_name(sides.from[i]), *to = sql_name(sides.to[i]);
    buffer_append_format(&sql, "%sp.%s = c.%s", i ? " AND " : "", to, from);
  }
  buffer_append_text(&sql, ")");
  return buffer_steal_text(&sql);
}

static int64_t count_orphans(Restore *restore, const char *defn) {
  CLEANUP_FREE char *sql = restore_orphans_sql(defn);
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Error ignored;
  if (!sql || restore_run(restore, &result, &ignored, sql) != STATUS_OK)
    return -1;
  return strtoll(PQgetvalue(result, 0, 0), NULL, 10);
}

static void tell(Restore *restore, const ArchiveEntry *entry, bool validated, int64_t orphans) {
  json_t *json = json_object();
  json_object_set_new(json, "schema", recovery_text(&restore->run, entry->schema));
  json_object_set_new(json, "name", recovery_text(&restore->run, entry->tag));
  json_object_set_new(json, "validated", json_boolean(validated));
  json_object_set_new(json, "orphans", orphans < 0 ? json_null() : json_integer(orphans));
  json_array_append_new(restore->foreign_keys, json);
}

static bool ends_not_valid(const char *defn) {
  return strstr(defn, " NOT VALID;") != NULL;
}

/* As it stands, but for rows that are there already. */
static char *without_validation(const char *defn) {
  size_t size = strlen(defn);
  while (size > 0 && strchr("; \n", defn[size - 1]))
    size--;
  return memory_format("%.*s NOT VALID;", (int)size, defn);
}

static Status refuse_orphans(Restore *restore, const ArchiveEntry *entry, const Error *cause, int64_t orphans,
                             Error *err) {
  CLEANUP_FREE char *schema = sql_name(entry->schema);
  if (orphans <= 0) {
    *err = *cause;
    error_prefix(err, "the foreign key %s.%s", schema, entry->tag);
    return restore_explain(restore, err);
  }
  error_set(err, ERR_CONFLICT,
            "the foreign key %s.%s cannot be put back: %lld row%s, written since the checkpoint, point%s "
            "at rows that it does not have",
            schema, entry->tag, (long long)orphans, orphans == 1 ? "" : "s", orphans == 1 ? "s" : "");
  error_remedy(err,
               "Ask for `foreign_keys: not_valid`: it then comes back NOT VALID, which holds for new rows; correct the "
               "rows, then ALTER TABLE ... VALIDATE CONSTRAINT. Or correct the rows first.");
  error_object(err, "%s.%s", entry->schema, entry->tag);
  return err->status;
}

Status restore_foreign_key(Restore *restore, long at, Error *err) {
  const ArchiveEntry *entry = restore_entry(restore, at);
  Error cause;
  Status status = restore_run(restore, NULL, err, "SAVEPOINT pgseal_key");
  if (status != STATUS_OK)
    return status;
  status = restore_run(restore, NULL, &cause, entry->defn);
  if (status == STATUS_OK) {
    tell(restore, entry, !ends_not_valid(entry->defn), 0);
    return restore_run(restore, NULL, err, "RELEASE SAVEPOINT pgseal_key");
  }
  if (status != ERR_QUERY) { /* lost, canceled, a lock that was not to be had */
    *err = cause;
    return status;
  }
  status = restore_run(restore, NULL, err, "ROLLBACK TO SAVEPOINT pgseal_key");
  if (status != STATUS_OK)
    return status;
  int64_t orphans = count_orphans(restore, entry->defn);
  if (!restore->not_valid || orphans <= 0)
    return refuse_orphans(restore, entry, &cause, orphans, err);
  CLEANUP_FREE char *sql = without_validation(entry->defn);
  status = restore_run(restore, NULL, err, sql);
  if (status != STATUS_OK)
    return error_prefix(err, "the foreign key %s.%s, not validated", entry->schema, entry->tag);
  tell(restore, entry, false, orphans);
  restore_note(restore, "The foreign key %s.%s is back, NOT VALID: %lld rows written since the checkpoint break it.",
               entry->schema, entry->tag, (long long)orphans);
  return STATUS_OK;
}
