/*
 * Names and patterns of relations, written as psql writes them: `orders`, `audit.*`, `"Odd"."na*me"`. Outside of double
 * quotes capitals are folded, `*` stands for any characters and `?` for one, `.` parts schema and name; inside, every
 * character stands for itself and `""` for `"`. U&"a\000Ab" is a name as PostgreSQL reads it. Input is hostile; length
 * is bounded. Pure; any thread.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_PATTERN_H
#define PGSEAL_COMMON_ARCHIVE_PATTERN_H

#include <stdbool.h>

#include "common/base/error.h"

enum { ARCHIVE_PATTERN_LIMIT = 1024 /* bytes */ };

typedef struct ArchivePatternPart {
  char *text; /* the characters, unquoted */
  bool *glob; /* beside text: this one is a `*` or `?` that is special */
  bool exact; /* none is */
} ArchivePatternPart;

typedef struct ArchivePattern {
  ArchivePatternPart schema; /* text NULL: not given */
  ArchivePatternPart name;
} ArchivePattern;

/* As it may be shown: no character of it breaks the line or steers a terminal. The caller frees. */
char *archive_pattern_shown(const char *text);

/* ERR_INVALID_ARGUMENT: empty, too long, an open quote, more than two parts, control characters outside quotes. */
Status archive_pattern_parse(const char *text, ArchivePattern *out, Error *err) MUST_CHECK;
void archive_pattern_release(ArchivePattern *pattern);
bool archive_pattern_part_matches(const ArchivePatternPart *part, const char *name);

/* How many characters must be changed to come from one name to another, case apart; at most `limit`. */
int archive_name_distance(const char *a, const char *b, int limit);

#endif
