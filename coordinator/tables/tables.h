/*
 * The tables of a checkpoint, as the agent that dumped it told them with its result: schema, name, rows and bytes, each
 * as the manifest has them (proto TableList, common/manifest/table_list.h). It is that agent's claim. What is proven is
 * what the drill compared, table by table, with the manifest; the coordinator, which cannot read that, only checks that
 * the list agrees with the sums that it was told.
 *
 * Pure; any thread. Names may hold anything but NUL: they are valid UTF-8, and text for whoever shows them.
 */
#ifndef PGSEAL_COORDINATOR_TABLES_TABLES_H
#define PGSEAL_COORDINATOR_TABLES_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "proto/pgseal.pb-c.h"

typedef struct Table {
  char *schema, *name;
  int64_t rows, bytes; /* bytes of its COPY lines */
} Table;

typedef struct Tables {
  Table *items; /* in the order of schema, name (bytes) */
  size_t count;
  int64_t more;  /* tables that are not listed */
  int64_t least; /* more > 0: none of those has more bytes than this */
} Tables;

void tables_release(Tables *tables);

/* From an agent, hostile. *told: it told them at all; else *out stays as it is. ERR_PROTOCOL: too many, too large, not
 * UTF-8, or not what the dump's sums say. */
Status tables_take(const Pgseal__DumpResult *dump, Tables *out, bool *told, Error *err) MUST_CHECK;

/* As the ledger keeps them: base64 of zstd of {"more": n, "tables": [[schema, name, rows, bytes], ...]}. New string. */
char *tables_pack(const Tables *tables);
Status tables_unpack(const char *text, Tables *out, Error *err) MUST_CHECK; /* ERR_INTERNAL: it was not packed so */

typedef enum TableChange {
  TABLE_SAME,
  TABLE_CHANGED,
  TABLE_ADDED,
  TABLE_REMOVED,
  TABLE_UNLISTED /* in one of the lists, and the other is not whole, or tells such names otherwise: it may be there */
} TableChange;
const char *table_change_name(TableChange change);

typedef struct TablePair {
  const Table *before, *now; /* borrowed; one of them may be NULL */
  TableChange change;
} TablePair;
/* Every table that is in either list, in the order of names. *pairs is the caller's to free. */
void tables_compare(const Tables *before, const Tables *now, TablePair **pairs, size_t *count);

/* The table lost so many of its rows, or is gone, or (where it is not listed any more) has lost so many of its bytes.
 */
typedef struct TableLimits {
  int percent;        /* of what it had */
  int64_t least_rows; /* tables that had fewer are nobody's trouble */
} TableLimits;
bool table_fallen(const TablePair *pair, const Tables *now, const TableLimits *limits);

#endif
