/*
 * How a checkpoint's tables are told from agent to coordinator (TableList in proto/pgseal.proto): those with the most
 * bytes first, until there are TABLE_LIST_COUNT of them or one more would make it more than TABLE_LIST_BYTES; the rest
 * is only counted. So whatever is not told has no more bytes than what is, but for names too long to be told.
 */
#ifndef PGSEAL_COMMON_MANIFEST_TABLE_LIST_H
#define PGSEAL_COMMON_MANIFEST_TABLE_LIST_H

#include <stddef.h>
#include <string.h>

enum {
  TABLE_LIST_COUNT = 10000,
  TABLE_LIST_BYTES = 1 << 20,
  TABLE_LIST_NAME = 255,  /* bytes of a schema's or table's name */
  TABLE_LIST_NUMBERS = 32 /* bytes that are counted for what a table has besides its names */
};

static inline size_t table_list_cost(const char *schema, const char *name) {
  return strlen(schema) + strlen(name) + TABLE_LIST_NUMBERS;
}

#endif
