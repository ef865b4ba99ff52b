/*
 * A script of SQL, statement by statement, as psql takes it apart: semicolons end a statement unless they are in
 * quotes, comments, parentheses, or the body of a function that is written as BEGIN ATOMIC ... END. Any text is taken;
 * nothing is read beyond its end. Pure; a Script belongs to one thread at a time.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_SCRIPT_H
#define PGSEAL_COMMON_ARCHIVE_SCRIPT_H

#include <stddef.h>

#include "common/base/error.h"

typedef enum ScriptPiece {
  SCRIPT_END,
  SCRIPT_STATEMENT, /* without its semicolon, and the comments before it */
  SCRIPT_COMMAND    /* one of psql's own, between statements: "\d" and the rest of its line */
} ScriptPiece;

typedef struct Script {
  const char *at, *end;
  int at_line;
  const char *piece; /* of the last one found */
  size_t size;
  int line; /* that it starts in, from 1 on */
} Script;

void script_open(Script *script, const char *text, size_t size); /* the text must outlive the script */
ScriptPiece script_next(Script *script);

/* What the statement does, on one line of at most `limit` bytes: without comments, and each literal is '...' or ?,
 * since it may be data. Freed by the caller. */
char *script_outline(const char *statement, size_t size, size_t limit);
/* Does it begin with COPY, and say FROM STDIN or TO STDOUT? */
bool script_copies_inline(const char *statement, size_t size);

#endif
