/*
 * The few things that must be known of SQL text to take pg_dump's statements apart: where a quoted thing ends, what a
 * name is, how one is written. Text is UTF-8 or any encoding whose multi-byte characters hold no ASCII byte (all that a
 * server can have). Input may be hostile: nothing is read beyond its end, no time is more than linear. Pure; any
 * thread.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_SQL_TEXT_H
#define PGSEAL_COMMON_ARCHIVE_SQL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buffer.h"

/* Just behind the token that starts at `at` (not at the end): a quoted identifier, a string ('', E'', U&''), a
 * dollar-quoted string, a comment, a run of word characters, or a single character. */
const char *sql_skip_token(const char *at, const char *end);

/* Just behind what starts at `at`: a token, or with '(' or '[' all up to what closes it. */
const char *sql_skip_item(const char *at, const char *end);

bool sql_word_start(char c); /* a character an unquoted name can start with */

/* If a name (quoted or not, or U&"") starts at `at`, *name is what it names, *at is moved behind it, true. *name is
 * freed by the caller. */
bool sql_take_name(const char **at, const char *end, char **name);

/* A chain of names, "a.b.c"; at most `limit` are kept in names (the caller frees those); returns how many there are; 0:
 * no name starts here. */
size_t sql_take_qualified(const char **at, const char *end, char **names, size_t limit);

/* Is the whole text such a list of names as follows a table's in COPY, "(a, \"b c\")", or empty? */
bool sql_is_name_list(const char *text);

/* The word (keyword) `word`, in capitals, stands at `at` as a whole word; pg_dump writes keywords so. */
bool sql_at_word(const char *at, const char *end, const char *word);

/* A name as SQL wants it, quoted where needed; never "" for a name that is not empty. */
void sql_append_name(Buffer *out, const char *name);
char *sql_name(const char *name);                               /* the caller frees */
char *sql_qualified_name(const char *schema, const char *name); /* without the schema if that is "" */
/* The same for people's eyes, and in what they copy: a name whose characters would break the line, or steer the
 * terminal, is written U&"a\000Ab", as PostgreSQL reads it (and what here takes names). What is no UTF-8 stays as it
 * is. */
char *sql_shown_name(const char *schema, const char *name); /* without the schema if that is ""; the caller frees */
void sql_append_literal(Buffer *out, const char *text);     /* 'text', E'...' where it has backslashes */

#endif
