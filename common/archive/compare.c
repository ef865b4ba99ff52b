/*
 * What is forgiven is forgiven before digests are made (normalize.c: what each of them is) or by the digest itself (row
 * order). Here everything that differs is a difference.
 */
#include "common/archive/compare.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/fingerprint_order.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static void add(DifferenceList *out, DifferenceKind kind, size_t table, char *object, char *detail) {
  Difference difference = {kind, object, detail, table};
  ARRAY_PUSH(out->items, out->count, difference);
}

static char *name_of(const char *desc, const char *schema, const char *tag) {
  return *schema ? memory_format("%s %s.%s", desc, schema, tag) : memory_format("%s %s", desc, tag);
}

/* ---- entries: multisets of digests under one (desc, schema, tag) ---- */

static void entry_difference(DifferenceList *out, DifferenceKind kind, const FingerprintEntry *entry) {
  const char *detail = kind == DIFFERENCE_ENTRY_MISSING ? "dumped, but not in the restored copy"
                       : kind == DIFFERENCE_ENTRY_ADDED ? "in the restored copy, but not dumped"
                                                        : "its definition, owner or place differs in the restored copy";
  add(out, kind, SIZE_MAX, name_of(entry->desc, entry->schema, entry->tag), memory_strdup(detail));
}

/* How many of items[from..count) have the key of items[from]. */
static size_t run_length(const FingerprintEntry **items, size_t from, size_t count) {
  size_t length = 1;
  while (from + length < count && fingerprint_entry_key_order(items[from], items[from + length]) == 0)
    length++;
  return length;
}

/* Two runs of the same key, sorted by digest: equal digests cancel; the rest pair up as changed, then missing or added.
 */
static void compare_runs(const FingerprintEntry **a, size_t a_count, const FingerprintEntry **b, size_t b_count,
                         DifferenceList *out) {
  size_t i = 0, j = 0, missing = 0, added = 0;
  while (i < a_count || j < b_count) {
    int order = i == a_count ? 1 : j == b_count ? -1 : memcmp(a[i]->digest, b[j]->digest, DIGEST_SIZE);
    missing += order < 0;
    added += order > 0;
    i += order <= 0;
    j += order >= 0;
  }
  for (; missing > 0 && added > 0; missing--, added--)
    entry_difference(out, DIFFERENCE_ENTRY_CHANGED, a[0]);
  for (; missing > 0; missing--)
    entry_difference(out, DIFFERENCE_ENTRY_MISSING, a[0]);
  for (; added > 0; added--)
    entry_difference(out, DIFFERENCE_ENTRY_ADDED, b[0]);
}

static void compare_entries(const Fingerprint *expected, const Fingerprint *actual, DifferenceList *out) {
  CLEANUP_FREE const FingerprintEntry **a = fingerprint_entries_sorted(expected);
  CLEANUP_FREE const FingerprintEntry **b = fingerprint_entries_sorted(actual);
  size_t i = 0, j = 0, a_count = expected->entry_count, b_count = actual->entry_count;
  while (i < a_count || j < b_count) {
    int order = i == a_count ? 1 : j == b_count ? -1 : fingerprint_entry_key_order(a[i], b[j]);
    size_t in_a = order <= 0 ? run_length(a, i, a_count) : 0, in_b = order >= 0 ? run_length(b, j, b_count) : 0;
    compare_runs(a + i, in_a, b + j, in_b, out);
    i += in_a;
    j += in_b;
  }
}

/* ---- tables ---- */

/* The names in "(a, \"b, c\")", sorted and joined: equal if two lists hold the same columns in any order. */
static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **column_names(const char *list, size_t *count) {
  char **names = NULL;
  *count = 0;
  const char *at = list + (*list == '(');
  while (*at && *at != ')') {
    const char *start = at;
    while (*at && *at != ',' && *at != ')') {
      if (*at++ != '"')
        continue;
      while (*at && *at != '"')
        at++;
      at += *at == '"';
    }
    char *name = memory_strndup(start, (size_t)(at - start));
    ARRAY_PUSH(names, *count, name);
    while (*at == ',' || *at == ' ')
      at++;
  }
  if (*count)
    qsort(names, *count, sizeof *names, by_text);
  return names;
}

static bool same_columns_reordered(const char *a, const char *b) {
  size_t a_count = 0, b_count = 0;
  char **x = column_names(a, &a_count), **y = column_names(b, &b_count);
  bool same = a_count == b_count && strlen(a) == strlen(b);
  for (size_t i = 0; same && i < a_count; i++)
    same = strcmp(x[i], y[i]) == 0;
  for (size_t i = 0; i < a_count; i++)
    free(x[i]);
  for (size_t i = 0; i < b_count; i++)
    free(y[i]);
  free(x);
  free(y);
  return same;
}

static void compare_table(const FingerprintTable *a, const FingerprintTable *b, size_t index, DifferenceList *out) {
  char *object = name_of("TABLE DATA", a->schema, a->name);
  if (strcmp(a->columns, b->columns) != 0 && same_columns_reordered(a->columns, b->columns))
    add(out, DIFFERENCE_COLUMNS, index, object,
        memory_format("columns %s dumped, %s restored", a->columns, b->columns));
  else if (strcmp(a->columns, b->columns) != 0)
    add(out, DIFFERENCE_CONTENT, index, object,
        memory_format("columns %s dumped, %s restored", a->columns, b->columns));
  else if (a->rows != b->rows)
    add(out, DIFFERENCE_ROWS, index, object,
        memory_format("%lld rows dumped, %lld restored", (long long)a->rows, (long long)b->rows));
  else if (a->bytes != b->bytes || memcmp(a->digest, b->digest, DIGEST_SIZE) != 0)
    add(out, DIFFERENCE_CONTENT, index, object,
        memory_format("%lld rows on both sides, but other content", (long long)a->rows));
  else
    free(object);
}

static void compare_tables(const Fingerprint *expected, const Fingerprint *actual, DifferenceList *out) {
  CLEANUP_FREE const FingerprintTable **a = fingerprint_tables_sorted(expected);
  CLEANUP_FREE const FingerprintTable **b = fingerprint_tables_sorted(actual);
  size_t i = 0, j = 0;
  while (i < expected->table_count || j < actual->table_count) {
    int order = i == expected->table_count ? 1 : j == actual->table_count ? -1 : fingerprint_table_order(a[i], b[j]);
    if (order < 0)
      add(out, DIFFERENCE_TABLE_MISSING, SIZE_MAX, name_of("TABLE DATA", a[i]->schema, a[i]->name),
          memory_format("%lld rows dumped, the table's data is not in the restored copy", (long long)a[i]->rows));
    else if (order > 0)
      add(out, DIFFERENCE_TABLE_ADDED, SIZE_MAX, name_of("TABLE DATA", b[j]->schema, b[j]->name),
          memory_format("%lld rows in the restored copy, not dumped", (long long)b[j]->rows));
    else
      compare_table(a[i], b[j], (size_t)(a[i] - expected->tables), out);
    i += order <= 0;
    j += order >= 0;
  }
}

static void compare_blobs(const Fingerprint *expected, const Fingerprint *actual, DifferenceList *out) {
  CLEANUP_FREE const FingerprintBlob **a = fingerprint_blobs_sorted(expected);
  CLEANUP_FREE const FingerprintBlob **b = fingerprint_blobs_sorted(actual);
  size_t i = 0, j = 0;
  while (i < expected->blob_count || j < actual->blob_count) {
    int order = i == expected->blob_count ? 1 : j == actual->blob_count ? -1 : fingerprint_blob_order(a[i], b[j]);
    const FingerprintBlob *blob = order <= 0 ? a[i] : b[j];
    if (order < 0)
      add(out, DIFFERENCE_BLOB_MISSING, SIZE_MAX, memory_format("large object %u", blob->oid),
          memory_strdup("dumped, but not in the restored copy"));
    else if (order > 0)
      add(out, DIFFERENCE_BLOB_ADDED, SIZE_MAX, memory_format("large object %u", blob->oid),
          memory_strdup("in the restored copy, but not dumped"));
    else if (a[i]->bytes != b[j]->bytes || memcmp(a[i]->digest, b[j]->digest, DIGEST_SIZE) != 0)
      add(out, DIFFERENCE_BLOB_CHANGED, SIZE_MAX, memory_format("large object %u", blob->oid),
          memory_format("%lld bytes dumped, %lld restored, other content", (long long)a[i]->bytes,
                        (long long)b[j]->bytes));
    i += order <= 0;
    j += order >= 0;
  }
}

void fingerprint_compare(const Fingerprint *expected, const Fingerprint *actual, DifferenceList *out) {
  compare_tables(expected, actual, out);
  compare_blobs(expected, actual, out);
  compare_entries(expected, actual, out);
}

void difference_list_release(DifferenceList *list) {
  for (size_t i = 0; i < list->count; i++) {
    free(list->items[i].object);
    free(list->items[i].detail);
  }
  free(list->items);
  *list = (DifferenceList){0};
}

void difference_list_remove(DifferenceList *list, size_t index) {
  free(list->items[index].object);
  free(list->items[index].detail);
  memmove(&list->items[index], &list->items[index + 1], (list->count - index - 1) * sizeof *list->items);
  list->count--;
}

const char *difference_kind_name(DifferenceKind kind) {
  static const char *const names[] = {"entry_missing", "entry_added", "entry_changed", "table_missing",
                                      "table_added",   "rows",        "content",       "columns",
                                      "blob_missing",  "blob_added",  "blob_changed"};
  return names[kind];
}
