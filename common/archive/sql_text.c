#include "common/archive/sql_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* Keywords that a name must be quoted for (all but PostgreSQL's unreserved ones, 13 to 17), each between blanks. */
static const char KEYWORDS[] =
    " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean "
    "both case cast char character check coalesce collate collation column concurrently constraint create "
    "cross current_catalog current_date current_role current_schema current_time current_timestamp "
    "current_user dec decimal default deferrable desc distinct do else end except exists extract false fetch "
    "float for foreign freeze from full grant greatest group grouping having ilike in initially inner inout "
    "int integer intersect interval into is isnull join json json_array json_arrayagg json_exists "
    "json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading "
    "least left like limit localtime localtimestamp merge_action national natural nchar none normalize not "
    "notnull null nullif numeric offset on only or order out outer overlaps overlay placing position "
    "precision primary real references returning right row select session_user setof similar smallint some "
    "substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union "
    "unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat "
    "xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

bool sql_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool word_part(char c) {
  return sql_word_start(c) || (c >= '0' && c <= '9') || c == '$';
}

/* Behind the closing quote of what opens at `at`; doubled quotes, and with `escapes` what a backslash precedes, belong
 * to it. */
static const char *skip_quoted(const char *at, const char *end, bool escapes) {
  char quote = *at++;
  for (; at < end; at++) {
    if (escapes && *at == '\\' && at + 1 < end) {
      at++;
    } else if (*at == quote) {
      if (at + 1 >= end || at[1] != quote)
        return at + 1;
      at++;
    }
  }
  return end;
}

/* $tag$ ... $tag$, or just the dollar where no tag follows. */
static const char *skip_dollar(const char *at, const char *end) {
  const char *tag_end = at + 1;
  while (tag_end < end && *tag_end != '$' && word_part(*tag_end))
    tag_end++;
  if (tag_end >= end || *tag_end != '$' || (tag_end > at + 1 && !sql_word_start(at[1])))
    return at + 1;
  size_t size = (size_t)(tag_end + 1 - at);
  const char *close = memmem(at + size, (size_t)(end - at) - size, at, size);
  return close ? close + size : end;
}

static const char *skip_comment(const char *at, const char *end) {
  int depth = 0;
  do {
    if (at + 1 < end && at[0] == '/' && at[1] == '*') {
      depth++;
      at += 2;
    } else if (at + 1 < end && at[0] == '*' && at[1] == '/') {
      depth--;
      at += 2;
    } else {
      at++;
    }
  } while (depth > 0 && at < end);
  return at;
}

static const char *skip_word(const char *at, const char *end) {
  if ((*at == 'E' || *at == 'e') && at + 1 < end && at[1] == '\'')
    return skip_quoted(at + 1, end, true);
  while (at < end && word_part(*at))
    at++;
  return at;
}

const char *sql_skip_token(const char *at, const char *end) {
  char next = at + 1 < end ? at[1] : '\0';
  if (*at == '"' || *at == '\'')
    return skip_quoted(at, end, false);
  if (*at == '$')
    return skip_dollar(at, end);
  if (*at == '-' && next == '-') {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    return line_end ? line_end + 1 : end;
  }
  if (*at == '/' && next == '*')
    return skip_comment(at, end);
  return word_part(*at) ? skip_word(at, end) : at + 1;
}

const char *sql_skip_item(const char *at, const char *end) {
  size_t depth = 0;
  do {
    depth += *at == '(' || *at == '[';
    depth -= depth > 0 && (*at == ')' || *at == ']');
    at = sql_skip_token(at, end);
  } while (depth > 0 && at < end);
  return at;
}

static void append_utf8(Buffer *out, uint32_t c) {
  static const uint8_t marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
  int bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  if (bytes == 1) {
    buffer_append_byte(out, (uint8_t)c);
    return;
  }
  buffer_append_byte(out, (uint8_t)(marks[bytes] | c >> 6 * (bytes - 1)));
  for (int i = bytes - 2; i >= 0; i--)
    buffer_append_byte(out, (uint8_t)(0x80 | (c >> 6 * i & 0x3F)));
}

/* What follows the backslash: "000A", "+00000A" or "\\". NULL: nothing that is a character. */
static const char *take_escape(const char *at, const char *end, Buffer *out) {
  if (at < end && *at == '\\') {
    buffer_append_byte(out, '\\');
    return at + 1;
  }
  bool long_form = at < end && *at == '+';
  int digits = long_form ? 6 : 4;
  at += long_form;
  uint32_t c = 0;
  for (int i = 0; i < digits; i++, at++) {
    if (at >= end || !isxdigit((unsigned char)*at))
      return NULL;
    c = c << 4 | (uint32_t)(*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
  }
  if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
    return NULL;
  append_utf8(out, c);
  return at;
}

/* Behind U&"...", of which a name is read; NULL: it is none. */
static const char *take_unicode_name(const char *start, const char *end, char **name) {
  CLEANUP(buffer_release) Buffer out = {0};
  const char *at = start + 3;
  while (at && at < end && (*at != '"' || (end - at > 1 && at[1] == '"'))) {
    if (*at == '\\') {
      at = take_escape(at + 1, end, &out);
      continue;
    }
    buffer_append_byte(&out, (uint8_t)*at);
    at += *at == '"' ? 2 : 1;
  }
  if (!at || at >= end || out.size == 0)
    return NULL;
  *name = buffer_steal_text(&out);
  return at + 1;
}

static bool is_unicode_name(const char *at, const char *end) {
  return end - at > 3 && (*at == 'U' || *at == 'u') && at[1] == '&' && at[2] == '"';
}

bool sql_take_name(const char **at, const char *end, char **name) {
  const char *start = *at;
  if (start >= end)
    return false;
  if (is_unicode_name(start, end)) {
    const char *behind = take_unicode_name(start, end, name);
    *at = behind ? behind : start;
    return behind != NULL;
  }
  if (*start != '"') {
    if (!sql_word_start(*start))
      return false;
    const char *stop = start;
    while (stop < end && word_part(*stop))
      stop++;
    *name = memory_strndup(start, (size_t)(stop - start));
    *at = stop;
    return true;
  }
  const char *stop = skip_quoted(start, end, false);
  if (stop - start < 3 || stop[-1] != '"')
    return false;
  char *out = memory_alloc((size_t)(stop - start)), *to = out;
  for (const char *from = start + 1; from < stop - 1; from++) {
    *to++ = *from;
    from += *from == '"';
  }
  *name = out;
  *at = stop;
  return true;
}

size_t sql_take_qualified(const char **at, const char *end, char **names, size_t limit) {
  size_t count = 0;
  const char *next = *at;
  for (;;) {
    char *name = NULL;
    if (!sql_take_name(&next, end, &name))
      return count;
    if (count < limit)
      names[count] = name;
    else
      free(name);
    count++;
    *at = next;
    if (next >= end || *next != '.')
      return count;
    next++;
  }
}

bool sql_is_name_list(const char *text) {
  const char *at = text, *end = text + strlen(text);
  if (at == end)
    return true;
  if (*at != '(')
    return false;
  do {
    char *name = NULL;
    at += *at == ',' && at[1] == ' ' ? 2 : 1;
    if (!sql_take_name(&at, end, &name))
      return false;
    free(name);
  } while (*at == ',');
  return at + 1 == end && *at == ')';
}

bool sql_at_word(const char *at, const char *end, const char *word) {
  size_t size = strlen(word);
  return (size_t)(end - at) >= size && memcmp(at, word, size) == 0 && (at + size == end || !word_part(at[size]));
}

static bool is_keyword(const char *name) {
  size_t size = strlen(name);
  for (const char *at = KEYWORDS; (at = strstr(at, name)) != NULL; at += size)
    if (at[-1] == ' ' && at[size] == ' ')
      return true;
  return false;
}

static bool is_plain(const char *name) {
  if (!((*name >= 'a' && *name <= 'z') || *name == '_'))
    return false;
  for (const char *at = name; *at; at++)
    if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '_'))
      return false;
  return !is_keyword(name);
}

void sql_append_name(Buffer *out, const char *name) {
  if (is_plain(name)) {
    buffer_append_text(out, name);
    return;
  }
  buffer_append_byte(out, '"');
  for (; *name; name++) {
    if (*name == '"')
      buffer_append_byte(out, '"');
    buffer_append_byte(out, (uint8_t)*name);
  }
  buffer_append_byte(out, '"');
}

char *sql_name(const char *name) {
  Buffer out = {0};
  sql_append_name(&out, name);
  return buffer_steal_text(&out);
}

char *sql_qualified_name(const char *schema, const char *name) {
  Buffer out = {0};
  if (*schema) {
    sql_append_name(&out, schema);
    buffer_append_byte(&out, '.');
  }
  sql_append_name(&out, name);
  return buffer_steal_text(&out);
}

/* The character there into one; whether it must not be shown as it is. A byte that is no UTF-8 is of another encoding.
 */
static bool take_character(const char **at, char one[5]) {
  size_t length = text_utf8_length(*at), size = length ? length : 1;
  memcpy(one, *at, size);
  one[size] = '\0';
  *at += size;
  return length > 0 && !text_printable(one);
}

static bool is_shown_plainly(const char *name) {
  char one[5];
  while (*name)
    if (take_character(&name, one))
      return false;
  return true;
}

static void append_shown(Buffer *out, const char *name) {
  if (is_shown_plainly(name)) {
    sql_append_name(out, name);
    return;
  }
  buffer_append_text(out, "U&\"");
  while (*name) {
    char one[5];
    if (!take_character(&name, one)) {
      buffer_append_format(out, "%s%s", *one == '"' || *one == '\\' ? one : "", one);
      continue;
    }
    size_t length = strlen(one);
    uint32_t c = length == 1 ? (uint8_t)*one : (uint32_t)(*one & (0x7F >> length));
    for (size_t i = 1; i < length; i++)
      c = c << 6 | (uint32_t)(one[i] & 0x3F);
    buffer_append_format(out, "\\%04X", (unsigned)c); /* no control character is above U+FFFF */
  }
  buffer_append_byte(out, '"');
}

char *sql_shown_name(const char *schema, const char *name) {
  Buffer out = {0};
  if (*schema) {
    append_shown(&out, schema);
    buffer_append_byte(&out, '.');
  }
  append_shown(&out, name);
  return buffer_steal_text(&out);
}

void sql_append_literal(Buffer *out, const char *text) {
  buffer_append_text(out, strchr(text, '\\') ? "E'" : "'");
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\')
      buffer_append_byte(out, (uint8_t)*text);
    buffer_append_byte(out, (uint8_t)*text);
  }
  buffer_append_byte(out, '\'');
}
