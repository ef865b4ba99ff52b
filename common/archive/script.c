#include "common/archive/script.h"

#include <string.h>
#include <strings.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { LEADING_WORDS = 4 };

/* Of the statement at hand: what psql looks at for the bodies of functions. */
typedef struct Statement {
  size_t parentheses, begins, words;
  const char *word[LEADING_WORDS];
  size_t word_size[LEADING_WORDS];
} Statement;

void script_open(Script *script, const char *text, size_t size) {
  *script = (Script){.at = text, .end = text + size, .at_line = 1};
}

static bool is_comment(const char *at, const char *end) {
  return at + 1 < end && ((at[0] == '-' && at[1] == '-') || (at[0] == '/' && at[1] == '*'));
}

static void move(Script *script, const char *to) {
  for (; script->at < to; script->at++)
    script->at_line += *script->at == '\n';
}

static void skip_blank(Script *script) {
  while (script->at < script->end) {
    if (is_comment(script->at, script->end))
      move(script, sql_skip_token(script->at, script->end));
    else if (memchr(" \t\r\n\f\v;", *script->at, 7))
      move(script, script->at + 1);
    else
      return;
  }
}

static bool is_word(const char *word, size_t size, const char *keyword) {
  return strlen(keyword) == size && strncasecmp(word, keyword, size) == 0;
}

static bool word_is(const Statement *statement, size_t index, const char *keyword) {
  return index < statement->words && index < LEADING_WORDS &&
         is_word(statement->word[index], statement->word_size[index], keyword);
}

static bool makes_routine(const Statement *statement) {
  size_t kind = word_is(statement, 1, "or") && word_is(statement, 2, "replace") ? 3 : 1;
  return word_is(statement, 0, "create") &&
         (word_is(statement, kind, "function") || word_is(statement, kind, "procedure"));
}

static void take_word(Statement *statement, const char *word, size_t size) {
  if (statement->words < LEADING_WORDS) {
    statement->word[statement->words] = word;
    statement->word_size[statement->words] = size;
  }
  statement->words++;
  if (statement->parentheses > 0 || !makes_routine(statement))
    return;
  if (is_word(word, size, "begin") || (statement->begins > 0 && is_word(word, size, "case")))
    statement->begins++;
  else if (statement->begins > 0 && is_word(word, size, "end"))
    statement->begins--;
}

/* To the semicolon that ends the statement, or the end. */
static void take_statement(Script *script) {
  Statement statement = {0};
  while (script->at < script->end) {
    const char *start = script->at;
    if (*start == ';' && statement.parentheses == 0 && statement.begins == 0)
      return;
    statement.parentheses += *start == '(';
    statement.parentheses -= *start == ')' && statement.parentheses > 0;
    const char *stop = sql_skip_token(start, script->end);
    if (sql_word_start(*start))
      take_word(&statement, start, (size_t)(stop - start));
    else if (*start == '\\') /* psql's, after a statement: it is the next piece */
      return;
    move(script, stop);
  }
}

ScriptPiece script_next(Script *script) {
  skip_blank(script);
  script->piece = script->at;
  script->line = script->at_line;
  if (script->at >= script->end) {
    script->size = 0;
    return SCRIPT_END;
  }
  bool command = *script->at == '\\';
  if (command) {
    const char *line_end = memchr(script->at, '\n', (size_t)(script->end - script->at));
    move(script, line_end ? line_end : script->end);
  } else {
    take_statement(script);
  }
  const char *stop = script->at;
  while (stop > script->piece && memchr(" \t\r\n", stop[-1], 4))
    stop--;
  script->size = (size_t)(stop - script->piece);
  return command ? SCRIPT_COMMAND : SCRIPT_STATEMENT;
}

static bool is_literal(const char *at, const char *stop) {
  return *at == '\'' || (*at == '$' && stop - at > 1) || ((*at == 'E' || *at == 'e') && stop - at > 1 && at[1] == '\'');
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Behind a number: 5, 1.5e-3, 0xFF, 1_000. */
static const char *skip_number(const char *at, const char *end) {
  while (at < end && (is_digit(*at) || sql_word_start(*at) || *at == '.' ||
                      ((*at == '-' || *at == '+') && (at[-1] == 'e' || at[-1] == 'E'))))
    at++;
  return at;
}

char *script_outline(const char *statement, size_t size, size_t limit) {
  CLEANUP(buffer_release) Buffer text = {0};
  const char *end = statement + size;
  bool blank = false;
  for (const char *at = statement, *stop; at < end && text.size < limit; at = stop) {
    stop = sql_skip_token(at, end);
    if (is_comment(at, end) || memchr(" \t\r\n\f\v", *at, 6)) {
      blank = text.size > 0;
      continue;
    }
    if (blank)
      buffer_append_byte(&text, ' ');
    blank = false;
    if (is_literal(at, stop)) {
      buffer_append_text(&text, "'...'");
    } else if (is_digit(*at) && (at == statement || at[-1] != '$')) {
      buffer_append_text(&text, "?");
      stop = skip_number(at, end);
    } else {
      buffer_append(&text, at, (size_t)(stop - at));
    }
  }
  char *out = memory_alloc(limit + 1);
  return text_clean(buffer_text(&text), out, limit + 1);
}

bool script_copies_inline(const char *statement, size_t size) {
  const char *end = statement + size;
  size_t words = 0;
  for (const char *at = statement, *stop; at < end; at = stop) {
    stop = sql_skip_token(at, end);
    if (!sql_word_start(*at))
      continue;
    size_t length = (size_t)(stop - at);
    if (words++ == 0 && !is_word(at, length, "copy"))
      return false;
    if (is_word(at, length, "stdin") || is_word(at, length, "stdout"))
      return true;
  }
  return false;
}
