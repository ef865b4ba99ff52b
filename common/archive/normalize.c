#include "common/archive/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct Pieces {
  char **items;
  size_t count;
} Pieces;

static void pieces_release(Pieces *pieces) {
  for (size_t i = 0; i < pieces->count; i++)
    free(pieces->items[i]);
  free(pieces->items);
}

static void pieces_add(Pieces *pieces, const char *start, size_t size) {
  char *piece = memory_strndup(start, size);
  ARRAY_PUSH(pieces->items, pieces->count, piece);
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

/* Splits at commas outside quotes and parentheses, up to the first unmatched ')' or the end. Blanks around pieces go.
 */
static const char *split(const char *at, Pieces *pieces) {
  const char *start = at;
  int depth = 0;
  for (;; at++) {
    while (*at == '"' || *at == '\'')
      at = skip_quoted(at);
    bool over = !*at || (*at == ')' && depth == 0);
    if (over || (*at == ',' && depth == 0)) {
      const char *end = at;
      while (start < end && strchr(" \n", *start))
        start++;
      while (end > start && strchr(" \n", end[-1]))
        end--;
      pieces_add(pieces, start, (size_t)(end - start));
      start = at + 1;
    }
    if (over)
      return at;
    depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
  }
}

static char *joined(const char *head, size_t head_size, Pieces *pieces, const char *tail) {
  Buffer out = {0};
  qsort(pieces->items, pieces->count, sizeof *pieces->items, by_text);
  buffer_append(&out, head, head_size);
  for (size_t i = 0; i < pieces->count; i++)
    buffer_append_format(&out, "%s%s", i ? ", " : "", pieces->items[i]);
  buffer_append_text(&out, tail);
  return buffer_steal_text(&out);
}

/* "CREATE TABLE name (\n    a int,\n    b text\n)\nINHERITS (p);" */
static char *inherited_table(const char *defn) {
  const char *at = defn;
  while (*at && *at != '(')
    at = *at == '"' ? skip_quoted(at) : at + 1;
  if (*at != '(')
    return memory_strdup(defn);
  CLEANUP(pieces_release) Pieces lines = {0};
  const char *tail = split(at + 1, &lines);
  if (strncmp(tail, ")\nINHERITS (", 12) != 0)
    return memory_strdup(defn);
  return joined(defn, (size_t)(at + 1 - defn), &lines, tail);
}

/* The list of roles is over where a clause or the end begins. */
static bool policy_clause(const char *at) {
  return !*at || *at == ';' || strncmp(at, " USING (", 8) == 0 || strncmp(at, " WITH CHECK (", 13) == 0;
}

/* "CREATE POLICY name ON s.t [AS ...] [FOR ...] TO a, b [USING (...)] [WITH CHECK (...)];" */
static char *policy(const char *defn) {
  const char *at = defn;
  while (!policy_clause(at) && strncmp(at, " TO ", 4) != 0)
    at = *at == '"' ? skip_quoted(at) : at + 1;
  if (policy_clause(at))
    return memory_strdup(defn); /* for PUBLIC: no list; what follows is an expression, not to be touched */
  const char *roles = at + 4, *end = roles;
  while (!policy_clause(end))
    end = *end == '"' ? skip_quoted(end) : end + 1;
  CLEANUP_FREE char *list = memory_strndup(roles, (size_t)(end - roles));
  CLEANUP(pieces_release) Pieces names = {0};
  split(list, &names);
  return joined(defn, (size_t)(roles - defn), &names, end);
}

char *normalize_definition(const ArchiveEntry *entry) {
  if (strcmp(entry->desc, "TABLE") == 0)
    return inherited_table(entry->defn);
  if (strcmp(entry->desc, "POLICY") == 0)
    return policy(entry->defn);
  return memory_strdup(entry->defn);
}
