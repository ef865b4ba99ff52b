#include <stdlib.h>
#include <string.h>

#include "common/archive/changes_parts.h"
#include "common/archive/normalize.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { RUN_LIMIT = 1000 /* of entries with one name: operators; more are paired in order */ };

static bool is(const ArchiveEntry *entry, const char *desc) {
  return strcmp(entry->desc, desc) == 0;
}

bool changes_ignored(const Comparison *comparison, const ArchiveEntry *entry) {
  if (archive_is_data(entry) || is(entry, "ENCODING") || is(entry, "STDSTRINGS") || is(entry, "SEARCHPATH") ||
      is(entry, "DATABASE"))
    return true;
  bool about = is(entry, "ACL") || is(entry, "COMMENT") || is(entry, "SECURITY LABEL");
  bool of_database = is(entry, "DATABASE PROPERTIES") || (about && strncmp(entry->tag, "DATABASE ", 9) == 0);
  return of_database && strcmp(comparison->then_toc->header.database, comparison->now_toc->header.database) != 0;
}

/* ---- the same or not ---- */

/* `from` becomes `to` wherever it stands in text as a whole name. */
static char *with_name(const char *text, const char *from, const char *to) {
  Buffer out = {0};
  size_t size = strlen(from);
  for (const char *at = text, *end = text + strlen(text); at < end;) {
    const char *next = sql_skip_token(at, end);
    bool here = strncmp(at, from, size) == 0 && (at == text || !strchr(".\"", at[-1]));
    here = here && !sql_word_start(at[size]) && !strchr("\"$", at[size]) && !(at[size] >= '0' && at[size] <= '9');
    buffer_append(&out, here ? to : at, here ? strlen(to) : (size_t)(next - at));
    at = here ? at + size : next;
  }
  return buffer_steal_text(&out);
}

static char *then_definition(const Comparison *comparison, long then) {
  const ArchiveEntry *entry = &comparison->then_toc->entries[then];
  char *text = normalize_definition(entry);
  long relation = archive_index_owner(comparison->then, then);
  if (!changes_renamed(comparison, relation))
    return text;
  const ArchiveEntry *old = &comparison->then_toc->entries[relation],
                     *new = &comparison->now_toc->entries[comparison->in_now[relation]];
  CLEANUP_FREE char *whole = text, *from = sql_qualified_name(old->schema, old->tag),
                    *to = sql_qualified_name(new->schema, new->tag);
  return with_name(whole, from, to);
}

bool changes_same(const Comparison *comparison, long then, long now) {
  const ArchiveEntry *a = &comparison->then_toc->entries[then], *b = &comparison->now_toc->entries[now];
  CLEANUP_FREE char *x = then_definition(comparison, then), *y = normalize_definition(b);
  CLEANUP_FREE char *owner = archive_owner_statement(a, a->owner); /* others have their table's: not theirs to differ */
  return strcmp(x, y) == 0 && strcmp(a->tablespace, b->tablespace) == 0 && strcmp(a->table_am, b->table_am) == 0 &&
         (!owner || strcmp(a->owner, b->owner) == 0);
}

bool changes_renamed(const Comparison *comparison, long then) {
  long now = comparison->in_now[then];
  if (now == ARCHIVE_NO_ENTRY)
    return false;
  const ArchiveEntry *a = &comparison->then_toc->entries[then], *b = &comparison->now_toc->entries[now];
  return archive_is_relation(a) && (strcmp(a->tag, b->tag) != 0 || strcmp(a->schema, b->schema) != 0);
}

bool changes_recreated(const Comparison *comparison, long then, long now) {
  const ArchiveEntry *a = &comparison->then_toc->entries[then], *b = &comparison->now_toc->entries[now];
  return comparison->same_database && (is(a, "TABLE") || is(a, "MATERIALIZED VIEW")) && a->oid && b->oid &&
         a->oid != b->oid;
}

/* ---- by name ---- */

static void pair(Comparison *comparison, long then, long now) {
  comparison->in_now[then] = now;
  comparison->in_then[now] = then;
}

static int by_name(const void *a, const void *b, void *user) {
  const ArchiveEntry *entries = user;
  long i = *(const long *)a, j = *(const long *)b;
  const ArchiveEntry *x = &entries[i], *y = &entries[j];
  int order = strcmp(x->desc, y->desc);
  order = order ? order : strcmp(x->schema, y->schema);
  order = order ? order : strcmp(x->tag, y->tag);
  return order ? order : (i > j) - (i < j);
}

static long *sorted(const Comparison *comparison, const ArchiveToc *toc, size_t *count) {
  long *items = memory_alloc((toc->entry_count + 1) * sizeof *items);
  *count = 0;
  for (size_t i = 0; i < toc->entry_count; i++)
    if (!changes_ignored(comparison, &toc->entries[i]))
      items[(*count)++] = (long)i;
  qsort_r(items, *count, sizeof *items, by_name, toc->entries);
  return items;
}

static bool same_name(const ArchiveEntry *a, const ArchiveEntry *b) {
  return strcmp(a->desc, b->desc) == 0 && strcmp(a->schema, b->schema) == 0 && strcmp(a->tag, b->tag) == 0;
}

static size_t run_length(const ArchiveToc *toc, const long *items, size_t count) {
  size_t length = 1;
  while (length < count && same_name(&toc->entries[items[0]], &toc->entries[items[length]]))
    length++;
  return length;
}

/* Entries of one name: those that say the same first, the others in order. */
static void pair_runs(Comparison *comparison, const long *then, size_t then_count, const long *now, size_t now_count) {
  bool search = then_count * now_count > 1 && then_count < RUN_LIMIT && now_count < RUN_LIMIT;
  for (size_t i = 0; search && i < then_count; i++)
    for (size_t j = 0; j < now_count && comparison->in_now[then[i]] == ARCHIVE_NO_ENTRY; j++)
      if (comparison->in_then[now[j]] == ARCHIVE_NO_ENTRY && changes_same(comparison, then[i], now[j]))
        pair(comparison, then[i], now[j]);
  for (size_t i = 0, j = 0; i < then_count && j < now_count;) {
    if (comparison->in_now[then[i]] != ARCHIVE_NO_ENTRY)
      i++;
    else if (comparison->in_then[now[j]] != ARCHIVE_NO_ENTRY)
      j++;
    else
      pair(comparison, then[i++], now[j++]);
  }
}

static void match_names(Comparison *comparison) {
  size_t then_count, now_count, i = 0, j = 0;
  CLEANUP_FREE long *then = sorted(comparison, comparison->then_toc, &then_count);
  CLEANUP_FREE long *now = sorted(comparison, comparison->now_toc, &now_count);
  while (i < then_count && j < now_count) {
    size_t in_then = run_length(comparison->then_toc, then + i, then_count - i);
    size_t in_now = run_length(comparison->now_toc, now + j, now_count - j);
    const ArchiveEntry *a = &comparison->then_toc->entries[then[i]], *b = &comparison->now_toc->entries[now[j]];
    int order = strcmp(a->desc, b->desc);
    order = order ? order : strcmp(a->schema, b->schema);
    order = order ? order : strcmp(a->tag, b->tag);
    if (order == 0)
      pair_runs(comparison, then + i, in_then, now + j, in_now);
    i += order <= 0 ? in_then : 0;
    j += order >= 0 ? in_now : 0;
  }
}

/* Database, and at least one object made by a user, have the OIDs they had. */
static bool is_same_database(const Comparison *comparison) {
  enum { FIRST_USER_OID = 16384 };
  const ArchiveHeader *a = &comparison->then_toc->header, *b = &comparison->now_toc->header;
  long then = archive_index_find(comparison->then, "DATABASE", "", a->database);
  long now = archive_index_find(comparison->now, "DATABASE", "", b->database);
  if (then == ARCHIVE_NO_ENTRY || now == ARCHIVE_NO_ENTRY || strcmp(a->database, b->database) != 0 ||
      comparison->then_toc->entries[then].oid != comparison->now_toc->entries[now].oid)
    return false;
  for (size_t i = 0; i < comparison->then_toc->entry_count; i++) {
    long other = comparison->in_now[i];
    uint32_t oid = comparison->then_toc->entries[i].oid;
    if (other != ARCHIVE_NO_ENTRY && oid >= FIRST_USER_OID && oid == comparison->now_toc->entries[other].oid)
      return true;
  }
  return false;
}

/* ---- renames ---- */

/* The line of the first column; to tell most tables apart without taking them apart. */
static bool same_first_line(const char *a, const char *b) {
  const char *x = strstr(a, "(\n"), *y = strstr(b, "(\n");
  if (!x || !y)
    return false;
  size_t size = strcspn(x + 2, "\n");
  return strncmp(x + 2, y + 2, size + 1) == 0;
}

static bool same_columns(const ArchiveEntry *a, const ArchiveEntry *b) {
  if (!same_first_line(a->defn, b->defn))
    return false;
  CLEANUP(archive_table_release) ArchiveTable x = {0}, y = {0};
  Error ignored;
  if (archive_table_parse(a, &x, &ignored) != STATUS_OK || archive_table_parse(b, &y, &ignored) != STATUS_OK)
    return false;
  bool same = x.column_count == y.column_count && x.column_count > 0;
  for (size_t i = 0; same && i < x.column_count; i++)
    same = strcmp(x.columns[i].name, y.columns[i].name) == 0 && strcmp(x.columns[i].type, y.columns[i].type) == 0;
  return same;
}

/* Could entry `now` be what `then` was? Sure where OIDs tell, else by a table's columns. */
static bool could_be(const Comparison *comparison, long then, long now) {
  const ArchiveEntry *a = &comparison->then_toc->entries[then], *b = &comparison->now_toc->entries[now];
  if (comparison->in_now[then] != ARCHIVE_NO_ENTRY || comparison->in_then[now] != ARCHIVE_NO_ENTRY ||
      strcmp(a->desc, b->desc) != 0 || !archive_is_relation(a))
    return false;
  if (comparison->same_database && a->oid && b->oid)
    return a->oid == b->oid;
  return archive_is_table(a) && same_columns(a, b);
}

/* The only one that could be; ARCHIVE_NO_ENTRY if there are several. Of several, one that kept its name. */
static long only_candidate(const Comparison *comparison, long then) {
  const char *tag = comparison->then_toc->entries[then].tag;
  long found = ARCHIVE_NO_ENTRY, namesake = ARCHIVE_NO_ENTRY;
  size_t count = 0;
  for (size_t i = 0; i < comparison->now_toc->entry_count; i++)
    if (could_be(comparison, then, (long)i)) {
      found = (long)i;
      namesake = strcmp(tag, comparison->now_toc->entries[i].tag) == 0 ? found : namesake;
      count++;
    }
  return count == 1 ? found : namesake;
}

static size_t claims(const Comparison *comparison, long now) {
  size_t count = 0;
  for (size_t i = 0; i < comparison->then_toc->entry_count; i++)
    count += could_be(comparison, (long)i, now);
  return count;
}

/* The parts of a renamed table have its name in their tag: "orders orders_pkey", "COLUMN orders.note". Tries each place
 * in the tag where the old name stands. */
static long renamed_part(const Comparison *comparison, const ArchiveEntry *part, const ArchiveEntry *old,
                         const ArchiveEntry *new) {
  const char *schema = strcmp(part->schema, old->schema) == 0 ? new->schema : part->schema;
  long found = archive_index_find(comparison->now, part->desc, schema, part->tag);
  for (const char *at = part->tag; found == ARCHIVE_NO_ENTRY && (at = strstr(at, old->tag)) != NULL; at++) {
    CLEANUP_FREE char *tag =
        memory_format("%.*s%s%s", (int)(at - part->tag), part->tag, new->tag, at + strlen(old->tag));
    found = archive_index_find(comparison->now, part->desc, schema, tag);
  }
  return found != ARCHIVE_NO_ENTRY && comparison->in_then[found] == ARCHIVE_NO_ENTRY ? found : ARCHIVE_NO_ENTRY;
}

/* `depth`: comments on an index are parts of a part. */
static void match_parts(Comparison *comparison, long entry, long then, long now, int depth) {
  const ArchiveEntry *old = &comparison->then_toc->entries[then], *new = &comparison->now_toc->entries[now];
  const long *parts;
  size_t count = archive_index_parts(comparison->then, entry, &parts);
  for (size_t i = 0; i < count; i++) {
    const ArchiveEntry *part = &comparison->then_toc->entries[parts[i]];
    if (comparison->in_now[parts[i]] == ARCHIVE_NO_ENTRY && !changes_ignored(comparison, part)) {
      long other = renamed_part(comparison, part, old, new);
      if (other != ARCHIVE_NO_ENTRY)
        pair(comparison, parts[i], other);
    }
    if (depth > 0)
      match_parts(comparison, parts[i], then, now, depth - 1);
  }
}

static void add_rename(Comparison *comparison, long then, long now) {
  const ArchiveEntry *old = &comparison->then_toc->entries[then], *new = &comparison->now_toc->entries[now];
  bool moved = strcmp(old->schema, new->schema) != 0;
  CLEANUP_FREE char *to = sql_qualified_name(new->schema, new->tag), *name = sql_name(old->tag),
                    *between = sql_qualified_name(new->schema, old->tag), *schema = sql_name(old->schema);
  ArchiveRename rename = {.desc = old->desc,
                          .schema = old->schema,
                          .table = "",
                          .from = memory_strdup(old->tag),
                          .to = memory_strdup(moved ? to : new->tag),
                          .then = then,
                          .now = now};
  if (strcmp(old->tag, new->tag) != 0)
    statement_list_add(&rename.roll_forward, memory_format("ALTER TABLE %s RENAME TO %s;", to, name));
  if (moved)
    statement_list_add(&rename.roll_forward, memory_format("ALTER TABLE %s SET SCHEMA %s;", between, schema));
  ARRAY_PUSH(comparison->out->renames, comparison->out->rename_count, rename);
}

void changes_match(Comparison *comparison) {
  match_names(comparison);
  comparison->same_database = is_same_database(comparison);
  for (long i = 0; i < (long)comparison->then_toc->entry_count; i++) {
    if (comparison->in_now[i] != ARCHIVE_NO_ENTRY || !archive_is_relation(&comparison->then_toc->entries[i]))
      continue;
    long now = only_candidate(comparison, i);
    if (now == ARCHIVE_NO_ENTRY || claims(comparison, now) != 1)
      continue;
    pair(comparison, i, now);
    add_rename(comparison, i, now);
    match_parts(comparison, i, i, now, 2);
  }
}
