#include "common/archive/pattern.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { DISTANCE_NAME_LIMIT = 128 };

static void part_release(ArchivePatternPart *part) {
  free(part->text);
  free(part->glob);
  memset(part, 0, sizeof *part);
}

void archive_pattern_release(ArchivePattern *pattern) {
  part_release(&pattern->schema);
  part_release(&pattern->name);
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

char *archive_pattern_shown(const char *text) {
  size_t size = strnlen(text, ARCHIVE_PATTERN_LIMIT) + 1;
  char *shown = memory_alloc(size);
  return text_clean(text, shown, size);
}

static Status refuse(Error *err, const char *text, const char *why) {
  CLEANUP_FREE char *shown = archive_pattern_shown(text);
  error_set(err, ERR_INVALID_ARGUMENT, "the table name or pattern %s is not understood: %s", shown, why);
  error_remedy(err, "Write it as psql does: orders, audit.*, \"Odd Schema\".\"Odd Table\", U&\"line\\000Abreak\".");
  error_object(err, "%s", shown);
  return err->status;
}

/* U&"...": every character stands for itself. Its end, or NULL: there is none, or it is malformed. */
static const char *take_unicode(const char *at, ArchivePatternPart *part) {
  char *name;
  const char *end = at + strlen(at);
  if (!sql_take_name(&at, end, &name))
    return NULL;
  free(part->text);
  part->text = name; /* never longer than what it is written with */
  return at;
}

/* Reads up to a '.' outside quotes, or the end; *why is NULL if all went well. */
static const char *take_part(const char *at, ArchivePatternPart *part, const char **why) {
  size_t size = 0;
  bool quoted = false, any_quote = false;
  part->text = memory_alloc(strlen(at) + 1);
  part->glob = memory_alloc((strlen(at) + 1) * sizeof(bool));
  part->exact = true;
  *why = NULL;
  if (strncasecmp(at, "U&\"", 3) == 0) {
    const char *behind = take_unicode(at, part);
    if (!behind || (*behind && *behind != '.'))
      *why = "after U& stands no name in double quotes with escapes such as \\000A";
    return behind ? behind : at;
  }
  for (; *at && (quoted || *at != '.'); at++) {
    if (*at == '"' && quoted && at[1] == '"') {
      part->text[size++] = *at++;
    } else if (*at == '"') {
      quoted = !quoted;
      any_quote = true;
    } else if (!quoted && (unsigned char)*at < ' ') {
      *why = "it has a control character outside of quotes";
    } else {
      part->glob[size] = !quoted && (*at == '*' || *at == '?');
      part->exact &= !part->glob[size];
      part->text[size++] = quoted ? *at : lower(*at);
    }
  }
  if (quoted)
    *why = "a double quote is not closed";
  else if (size == 0)
    *why = any_quote ? "a name is empty" : "a name is missing";
  return at;
}

Status archive_pattern_parse(const char *text, ArchivePattern *out, Error *err) {
  if (strlen(text) > ARCHIVE_PATTERN_LIMIT)
    return error_set(err, ERR_INVALID_ARGUMENT, "a table name or pattern is longer than %d bytes",
                     ARCHIVE_PATTERN_LIMIT);
  ArchivePattern pattern = {0};
  const char *why = NULL;
  const char *at = take_part(text, &pattern.name, &why);
  if (!why && *at == '.') {
    pattern.schema = pattern.name;
    memset(&pattern.name, 0, sizeof pattern.name);
    at = take_part(at + 1, &pattern.name, &why);
    if (!why && *at == '.')
      why = "it has more than schema and name";
  }
  if (why) {
    archive_pattern_release(&pattern);
    return refuse(err, text, why);
  }
  *out = pattern;
  return STATUS_OK;
}

static size_t character(const char *at) { /* bytes of the UTF-8 character there, malformed or not */
  size_t size = 1;
  while (*at && (at[size] & 0xC0) == 0x80)
    size++;
  return size;
}

/* The usual two pointers: on a mismatch the last '*' takes one character more. Never more than size * size steps. */
bool archive_pattern_part_matches(const ArchivePatternPart *part, const char *name) {
  size_t p = 0, star = SIZE_MAX;
  const char *at = name, *star_at = NULL;
  while (*at) {
    if (part->text[p] && part->glob[p] && part->text[p] == '*') {
      star = p++;
      star_at = at;
    } else if (part->text[p] && part->glob[p]) {
      p++;
      at += character(at);
    } else if (part->text[p] == *at) {
      p++;
      at++;
    } else if (star != SIZE_MAX) {
      p = star + 1;
      star_at += character(star_at);
      at = star_at;
    } else {
      return false;
    }
  }
  while (part->text[p] && part->glob[p] && part->text[p] == '*')
    p++;
  return part->text[p] == '\0';
}

static int least(int a, int b, int c) {
  int ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Levenshtein's distance of at most the first DISTANCE_NAME_LIMIT bytes, row by row. */
int archive_name_distance(const char *a, const char *b, int limit) {
  size_t a_size = strnlen(a, DISTANCE_NAME_LIMIT), b_size = strnlen(b, DISTANCE_NAME_LIMIT);
  if ((a_size > b_size ? a_size - b_size : b_size - a_size) >= (size_t)limit)
    return limit;
  int row[DISTANCE_NAME_LIMIT + 1];
  for (size_t j = 0; j <= b_size; j++)
    row[j] = (int)j;
  for (size_t i = 1; i <= a_size; i++) {
    int diagonal = row[0];
    row[0] = (int)i;
    for (size_t j = 1; j <= b_size; j++) {
      int above = row[j];
      row[j] = least(above + 1, row[j - 1] + 1, diagonal + (lower(a[i - 1]) != lower(b[j - 1])));
      diagonal = above;
    }
  }
  return row[b_size] < limit ? row[b_size] : limit;
}
