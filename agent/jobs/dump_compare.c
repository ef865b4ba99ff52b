#include <inttypes.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* A table on either side, in the order of (schema, name): names are compared as pairs, as they may hold any character.
 */
typedef struct Side {
  const char *schema, *name;
  int64_t rows;
} Side;

static int by_name(const void *a, const void *b) {
  const Side *left = a, *right = b;
  int order = strcmp(left->schema, right->schema);
  return order ? order : strcmp(left->name, right->name);
}

/* Remembers the first difference, counts all. */
typedef struct Differences {
  size_t count;
  Error *err;
} Differences;

static void note_difference(Differences *differences, const Side *source, const Side *archive) {
  if (differences->count++ > 0)
    return;
  char schema[DUMP_TABLE_TEXT_SIZE], name[DUMP_TABLE_TEXT_SIZE];
  const Side *side = source ? source : archive;
  text_show(side->schema, schema, sizeof schema);
  text_show(side->name, name, sizeof name);
  Error *err = differences->err;
  if (!archive)
    error_set(err, ERR_SOURCE_COUNT_MISMATCH,
              "table \"%s\".\"%s\" holds %" PRId64 " rows in the source, and the dump does not have the table", schema,
              name, source->rows);
  else if (!source)
    error_set(err, ERR_SOURCE_COUNT_MISMATCH,
              "table \"%s\".\"%s\" has %" PRId64 " rows in the dump, and the source's catalog does not list it", schema,
              name, archive->rows);
  else
    error_set(err, ERR_SOURCE_COUNT_MISMATCH,
              "table \"%s\".\"%s\" holds %" PRId64 " rows in the source, and %" PRId64
              " in the dump of the same snapshot",
              schema, name, source->rows, archive->rows);
  error_object(err, "\"%s\".\"%s\"", schema, name);
}

static void merge(const Side *source, size_t source_count, const Side *archive, size_t archive_count,
                  Differences *differences) {
  for (size_t i = 0, j = 0; i < source_count || j < archive_count;) {
    int order = i == source_count ? 1 : j == archive_count ? -1 : by_name(&source[i], &archive[j]);
    if (order < 0) {
      note_difference(differences, &source[i++], NULL);
    } else if (order > 0) {
      note_difference(differences, NULL, &archive[j++]);
    } else {
      if (source[i].rows != archive[j].rows)
        note_difference(differences, &source[i], &archive[j]);
      i++;
      j++;
    }
  }
}

static void compare_large_objects(int64_t counted, const Fingerprint *fingerprint, Differences *differences) {
  if (counted == (int64_t)fingerprint->blob_count || differences->count++ > 0)
    return;
  error_set(differences->err, ERR_SOURCE_COUNT_MISMATCH, "the source has %" PRId64 " large objects, the dump %zu",
            counted, fingerprint->blob_count);
  error_object(differences->err, "large objects");
}

Status dump_counts_compare(const DumpTables *tables, int64_t large_objects, const Fingerprint *fingerprint,
                           Error *err) {
  CLEANUP_FREE Side *source = memory_alloc((tables->count + 1) * sizeof *source);
  CLEANUP_FREE Side *archive = memory_alloc((fingerprint->table_count + 1) * sizeof *archive);
  size_t source_count = 0;
  for (size_t i = 0; i < tables->count; i++)
    if (tables->items[i].data)
      source[source_count++] = (Side){tables->items[i].schema, tables->items[i].name, tables->items[i].rows};
  for (size_t i = 0; i < fingerprint->table_count; i++)
    archive[i] = (Side){fingerprint->tables[i].schema, fingerprint->tables[i].name, fingerprint->tables[i].rows};
  qsort(source, source_count, sizeof *source, by_name);
  qsort(archive, fingerprint->table_count, sizeof *archive, by_name);

  Error first;
  Differences differences = {.err = &first};
  merge(source, source_count, archive, fingerprint->table_count, &differences);
  compare_large_objects(large_objects, fingerprint, &differences);
  if (differences.count == 0)
    return STATUS_OK;
  *err = first;
  return differences.count == 1 ? err->status : error_prefix(err, "%zu differences, the first", differences.count);
}
