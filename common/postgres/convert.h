/*
 * Text of a database, in its own encoding, and UTF-8. The server converts: only it knows all of its encodings. A
 * database that has none (SQL_ASCII) has no UTF-8 either.
 */
#ifndef PGSEAL_COMMON_POSTGRES_CONVERT_H
#define PGSEAL_COMMON_POSTGRES_CONVERT_H

#include "common/postgres/connection.h"

/* It is the same bytes in UTF-8. Bytes of another encoding may be UTF-8 by chance, of other letters: what they look
 * like decides nothing. encoding NULL: not known, and taken as it is. Pure. */
bool postgres_text_is_utf8(const char *text, const char *encoding);

/* out[i]: texts[i], a new string; NULL where it cannot be said in the other encoding, or nothing answers. One statement
 * for all where all can be converted. A transaction that the session is in goes on. */
void postgres_convert(PGconn *session, const char *from, const char *to, const char *const *texts, size_t count,
                      const PostgresWatch *watch, char **out);

#endif
