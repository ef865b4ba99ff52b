#include "common/archive/fingerprint_order.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

int fingerprint_entry_key_order(const FingerprintEntry *a, const FingerprintEntry *b) {
  int order = strcmp(a->desc, b->desc);
  order = order ? order : strcmp(a->schema, b->schema);
  return order ? order : strcmp(a->tag, b->tag);
}

int fingerprint_table_order(const FingerprintTable *a, const FingerprintTable *b) {
  int order = strcmp(a->schema, b->schema);
  return order ? order : strcmp(a->name, b->name);
}

int fingerprint_blob_order(const FingerprintBlob *a, const FingerprintBlob *b) {
  return (a->oid > b->oid) - (a->oid < b->oid);
}

/* For qsort, over pointers. */
static int by_entry(const void *a, const void *b) {
  const FingerprintEntry *x = *(const FingerprintEntry *const *)a, *y = *(const FingerprintEntry *const *)b;
  int order = fingerprint_entry_key_order(x, y);
  return order ? order : memcmp(x->digest, y->digest, DIGEST_SIZE);
}

static int by_table(const void *a, const void *b) {
  return fingerprint_table_order(*(const FingerprintTable *const *)a, *(const FingerprintTable *const *)b);
}

static int by_blob(const void *a, const void *b) {
  return fingerprint_blob_order(*(const FingerprintBlob *const *)a, *(const FingerprintBlob *const *)b);
}

static const void **sorted(const void *items, size_t count, size_t size, int (*order)(const void *, const void *)) {
  const void **pointers = memory_alloc((count + 1) * sizeof *pointers);
  for (size_t i = 0; i < count; i++)
    pointers[i] = (const char *)items + i * size;
  qsort(pointers, count, sizeof *pointers, order);
  return pointers;
}

const FingerprintEntry **fingerprint_entries_sorted(const Fingerprint *f) {
  return (const FingerprintEntry **)sorted(f->entries, f->entry_count, sizeof *f->entries, by_entry);
}

const FingerprintTable **fingerprint_tables_sorted(const Fingerprint *f) {
  return (const FingerprintTable **)sorted(f->tables, f->table_count, sizeof *f->tables, by_table);
}

const FingerprintBlob **fingerprint_blobs_sorted(const Fingerprint *f) {
  return (const FingerprintBlob **)sorted(f->blobs, f->blob_count, sizeof *f->blobs, by_blob);
}
