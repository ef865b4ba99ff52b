#include "common/archive/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* More than any real definition has: a table ends at 1600 columns. What has more is digested as it stands. */
enum { PIECE_LIMIT = 100 * 1000 };

typedef struct Piece { /* of the definition, which outlives it */
  const char *text;
  size_t size;
} Piece;

typedef struct Pieces {
  Piece *items;
  size_t count;
} Pieces;

static void pieces_release(Pieces *pieces) {
  free(pieces->items);
}

static void pieces_add(Pieces *pieces, const char *text, size_t size) {
  Piece piece = {text, size};
  ARRAY_PUSH(pieces->items, pieces->count, piece);
}

static int piece_order(const void *a, const void *b) {
  const Piece *x = a, *y = b;
  int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
  return order ? order : (x->size > y->size) - (x->size < y->size);
}

static void append_sorted(Buffer *out, Pieces *pieces, size_t sorted_count, const char *separator) {
  if (sorted_count)
    qsort(pieces->items, sorted_count, sizeof *pieces->items, piece_order);
  for (size_t i = 0; i < pieces->count; i++) {
    buffer_append_text(out, i ? separator : "");
    buffer_append(out, pieces->items[i].text, pieces->items[i].size);
  }
}

static bool starts(const char *text, const char *head) {
  return strncmp(text, head, strlen(head)) == 0;
}

/* Where a quoted identifier or string that starts at `at` ends (just behind its closing quote). */
static const char *skip_quoted(const char *at) {
  char quote = *at++;
  while (*at) {
    if (*at == quote) {
      if (at[1] != quote)
        return at + 1;
      at++;
    }
    at++;
  }
  return at;
}

/* +1 for what opens a nesting, -1 for what closes one. ARRAY[1, 2] nests like (1, 2). */
static int nesting(char c) {
  return c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
}

/* Where `needle` first stands before `limit`, outside quotes and nesting; `limit` if nowhere. */
static const char *find_before(const char *at, const char *limit, const char *needle) {
  size_t size = strlen(needle);
  int depth = 0;
  while (at < limit && !(depth <= 0 && *at == *needle && starts(at, needle))) {
    if (*at == '"' || *at == '\'') {
      at = skip_quoted(at);
    } else {
      depth += nesting(*at);
      at++;
    }
  }
  return at < limit && size <= (size_t)(limit - at) ? at : limit;
}

static const char *find_outside(const char *text, const char *needle) {
  return find_before(text, text + strlen(text), needle);
}

/* Splits at commas outside quotes and nesting, up to `limit` or the first unmatched ')'; returns where it stopped.
 * Blanks around the pieces go. */
static const char *split(const char *at, const char *limit, Pieces *pieces) {
  const char *start = at;
  int depth = 0;
  for (;; at++) {
    while (at < limit && (*at == '"' || *at == '\''))
      at = skip_quoted(at);
    bool over = at >= limit || (*at == ')' && depth == 0);
    if (over || (*at == ',' && depth == 0)) {
      const char *end = at < limit ? at : limit;
      while (start < end && strchr(" \n", *start))
        start++;
      while (end > start && strchr(" \n", end[-1]))
        end--;
      pieces_add(pieces, start, (size_t)(end - start));
      start = at + 1;
    }
    if (over || pieces->count > PIECE_LIMIT)
      return at < limit ? at : limit;
    depth += nesting(*at);
  }
}

static char *list_sorted(const char *defn, const char *list, Pieces *pieces, size_t sorted_count, const char *tail) {
  if (pieces->count > PIECE_LIMIT)
    return memory_strdup(defn);
  Buffer out = {0};
  buffer_append(&out, defn, (size_t)(list - defn));
  append_sorted(&out, pieces, sorted_count, ", ");
  buffer_append_text(&out, tail);
  return buffer_steal_text(&out);
}

/* Sorts the first run of statements that `belong`; the others, and what follows the run, stay as they are. */
static char *statements_sorted(const char *defn, bool (*belongs)(const char *statement, const char *end)) {
  CLEANUP(pieces_release) Pieces run = {0};
  const char *at = defn, *start = defn, *text_end = defn + strlen(defn);
  while (*at && run.count <= PIECE_LIMIT) {
    const char *end = find_before(at, text_end, ";\n");
    end += *end ? 2 : 0;
    if (belongs(at, end))
      pieces_add(&run, at, (size_t)(end - at));
    else if (run.count > 0)
      break;
    else
      start = end;
    at = end;
  }
  if (run.count > PIECE_LIMIT)
    return memory_strdup(defn);
  Buffer out = {0};
  buffer_append(&out, defn, (size_t)(start - defn));
  append_sorted(&out, &run, run.count, "");
  buffer_append_text(&out, at);
  return buffer_steal_text(&out);
}

/* "ALTER TABLE ONLY t ALTER COLUMN c SET STATISTICS 9;", "ALTER FOREIGN TABLE t ALTER COLUMN c OPTIONS (...);" */
static bool is_column_setting(const char *statement, const char *end) {
  return (starts(statement, "ALTER TABLE ONLY ") || starts(statement, "ALTER FOREIGN TABLE ")) &&
         find_before(statement, end, " ALTER COLUMN ") < end;
}

/* "CREATE TABLE name (\n    a int,\n    b text\n)\nINHERITS (p);", then settings column by column */
static char *inherited_table(const char *defn) {
  const char *at = find_outside(defn, "(");
  if (!*at)
    return memory_strdup(defn);
  CLEANUP(pieces_release) Pieces lines = {0};
  const char *tail = split(at + 1, at + strlen(at), &lines);
  if (!starts(tail, ")\nINHERITS ("))
    return memory_strdup(defn);
  CLEANUP_FREE char *sorted = list_sorted(defn, at + 1, &lines, lines.count, tail);
  return statements_sorted(sorted, is_column_setting);
}

/* The list of roles is over where a clause or the end begins. */
static bool policy_clause(const char *at) {
  return !*at || *at == ';' || starts(at, " USING (") || starts(at, " WITH CHECK (");
}

/* "CREATE POLICY name ON s.t [AS ...] [FOR ...] TO a, b [USING (...)] [WITH CHECK (...)];" */
static char *policy(const char *defn) {
  const char *at = defn;
  while (!policy_clause(at) && !starts(at, " TO "))
    at = *at == '"' ? skip_quoted(at) : at + 1;
  if (policy_clause(at))
    return memory_strdup(defn); /* for PUBLIC: no list; what follows is an expression, not to be touched */
  const char *roles = at + 4, *end = roles;
  while (!policy_clause(end))
    end = *end == '"' ? skip_quoted(end) : end + 1;
  CLEANUP(pieces_release) Pieces names = {0};
  const char *stop = split(roles, end, &names);
  return stop == end ? list_sorted(defn, roles, &names, names.count, end) : memory_strdup(defn);
}

/* "ALTER ROLE r IN DATABASE d SET setting TO value;" */
static bool is_role_setting(const char *statement, const char *end) {
  return starts(statement, "ALTER ROLE ") && find_before(statement, end, " IN DATABASE ") < end;
}

/* "ALTER DEFAULT PRIVILEGES FOR ROLE r [IN SCHEMA s] GRANT ...;" but not "... REVOKE ...;", which goes before it */
static bool is_default_grant(const char *statement, const char *end) {
  return starts(statement, "ALTER DEFAULT PRIVILEGES ") && find_before(statement, end, " GRANT ") < end &&
         find_before(statement, end, " REVOKE ") == end;
}

/* "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b) [WHERE (...)];" */
static char *publication_table(const char *defn) {
  static const char add[] = " ADD TABLE ONLY ";
  const char *at = find_outside(defn, add);
  if (!*at)
    return memory_strdup(defn);
  at = find_outside(at + sizeof add - 1, " ");
  if (!starts(at, " ("))
    return memory_strdup(defn); /* no list: all columns */
  CLEANUP(pieces_release) Pieces names = {0};
  const char *tail = split(at + 2, at + strlen(at), &names);
  return list_sorted(defn, at + 2, &names, names.count, tail);
}

static bool is_column_name(const Piece *piece) {
  const char *end = piece->text + piece->size;
  if (piece->size > 0 && *piece->text == '"')
    return skip_quoted(piece->text) == end;
  for (const char *at = piece->text; at < end; at++)
    if (strchr(" ([:", *at))
      return false;
  return piece->size > 0;
}

/* "CREATE STATISTICS s.n [(kinds)] ON a, b, (expression), ... FROM s.t;": columns come first. */
static char *statistics(const char *defn) {
  const char *at = find_outside(defn, " ON ");
  if (!*at)
    return memory_strdup(defn);
  const char *list = at + 4, *from = find_outside(list, " FROM ");
  CLEANUP(pieces_release) Pieces pieces = {0};
  const char *stop = split(list, from, &pieces);
  if (stop != from)
    return memory_strdup(defn);
  size_t columns = 0;
  while (columns < pieces.count && is_column_name(&pieces.items[columns]))
    columns++;
  return list_sorted(defn, list, &pieces, columns, from);
}

char *normalize_definition(const ArchiveEntry *entry) {
  if (strcmp(entry->desc, "TABLE") == 0 || strcmp(entry->desc, "FOREIGN TABLE") == 0)
    return inherited_table(entry->defn);
  if (strcmp(entry->desc, "POLICY") == 0)
    return policy(entry->defn);
  if (strcmp(entry->desc, "DATABASE PROPERTIES") == 0)
    return statements_sorted(entry->defn, is_role_setting);
  if (strcmp(entry->desc, "DEFAULT ACL") == 0)
    return statements_sorted(entry->defn, is_default_grant);
  if (strcmp(entry->desc, "PUBLICATION TABLE") == 0)
    return publication_table(entry->defn);
  if (strcmp(entry->desc, "STATISTICS") == 0)
    return statistics(entry->defn);
  return memory_strdup(entry->defn);
}
