/* What others wrote, made fit for a terminal. */
#ifndef PGSEAL_CLI_SHOWN_H
#define PGSEAL_CLI_SHOWN_H

#include <jansson.h>

/*
 * Every string in it, but no key: no character of it steers the terminal. Line breaks and tabs of texts stay: SQL has
 * them. Names of what is in a database (members "schema", "name", "table", "column", "from", "to") stay in their line,
 * and stay names: with characters that would break it they are written U&"a\000Ab", which PostgreSQL reads and pgseal
 * takes back. An object with "mac" is cleaned by json_clean() alone, as whoever signed it did. NULL is fine.
 */
void shown_json(json_t *json);

#endif
