/*
 * How a checkpoint's tables are told from agent to coordinator (TableList in proto/pgseal.proto): those with the most
 * bytes first, until there are TABLE_LIST_COUNT of them or one more would make it more than TABLE_LIST_BYTES; the rest
 * is only counted. So whatever is not told has no more bytes than what is, but for names too long to be told.
 *
 * Names are UTF-8, whatever the database's encoding is. Where nobody can convert them (a database without an encoding;
 * a manifest that is read without its database) they stand as in the manifest: "\x" and hexadecimal digits, of what is
 * not UTF-8 and of what begins with "\x" itself.
 */
#ifndef PGSEAL_COMMON_MANIFEST_TABLE_LIST_H
#define PGSEAL_COMMON_MANIFEST_TABLE_LIST_H

#include <stdbool.h>
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

/* Its bytes are told, for nobody could convert them; not the name of a table that begins so ("\x5c78": "\x"). */
static inline bool table_list_is_bytes(const char *name) {
  return strncmp(name, "\\x", 2) == 0 && strncmp(name, "\\x5c78", 6) != 0;
}

#endif
