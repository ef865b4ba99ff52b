/* The text of CREATE TABLE and CREATE TYPE ... AS, taken apart. Internal to common/archive. */
#ifndef PGSEAL_COMMON_ARCHIVE_TABLE_TEXT_H
#define PGSEAL_COMMON_ARCHIVE_TABLE_TEXT_H

#include "common/archive/ddl.h"

void table_text_column_release(ArchiveColumn *column);

/* The attributes of "CREATE TYPE s.t AS (\n\ta type,\n\tb type\n);" into *out (empty before); false if it is no such
 * statement. */
bool table_text_type_columns(const char *defn, ArchiveColumns *out);

/* If `text` stands at *at: moves behind it. */
bool table_text_take(const char **at, const char *end, const char *text);
bool table_text_skip_qualified(const char **at, const char *end);

#endif
