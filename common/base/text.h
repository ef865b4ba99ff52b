/* Small text helpers. Results are owned by the caller's arrays; any thread. */
#ifndef PGSEAL_COMMON_BASE_TEXT_H
#define PGSEAL_COMMON_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_SIZE_SIZE = 24 };
/* "412.3 MB" (decimal units, as in the API); bytes >= 0. Returns out. */
const char *text_size(int64_t bytes, char out[TEXT_SIZE_SIZE]);

/* Lower-case hexadecimal; out has 2*size+1 bytes. */
void text_hex(const uint8_t *data, size_t size, char *out);
bool text_unhex(const char *hex, uint8_t *data, size_t size); /* exactly 2*size digits */

/* Shell glob (fnmatch without special meaning of '/' or leading dots). */
bool text_glob(const char *pattern, const char *name);

/* A database, agent or token name: 1..63 of [a-z0-9._-], first alphanumeric. Safe as a path part. */
bool text_name_valid(const char *name);
/* UTF-8 without control characters (those that break or reorder the line they are shown in, too). */
bool text_printable(const char *text);
/* A tag: 1..128 bytes of printable UTF-8 without control characters. */
bool text_tag_valid(const char *tag);

/* Copies at most size-1 bytes, cut on a UTF-8 boundary, always NUL-terminated; invalid UTF-8 and
 * control characters become '?'. Returns out. */
char *text_clean(const char *in, char *out, size_t size);
/* The same, but they are made visible: "\n", "\t", "\x1b", "\u202e". For texts that are read, on one line: errors, the
 * log. */
char *text_show(const char *in, char *out, size_t size);
/* The character that in (not at its end) starts with, as text_show writes it; NUL-terminated. Returns its bytes in in.
 */
enum { TEXT_SHOWN_SIZE = 8 };
size_t text_show_character(const char *in, char out[TEXT_SHOWN_SIZE]);
/* Lines joined by "; ": what says something in several, of which none is a name's own. The caller frees. */
char *text_join_lines(const char *text);
/* The same, but what was cut ends with an ellipsis ("…"), at a word's end where one is near. */
char *text_clip(const char *in, char *out, size_t size);

/* "90s", "30m", "12h", "7d", "2w", or a number of seconds. False: it is none of these. */
bool text_duration(const char *text, int64_t *seconds);
/* The same in the largest unit of s, m, h and d that it is a whole number of: "26h". Returns out. */
enum { TEXT_DURATION_SIZE = 24 };
char *text_duration_show(int64_t seconds, char out[TEXT_DURATION_SIZE]);

/* Bytes of the valid UTF-8 sequence (RFC 3629) that text starts with: 1..4; 0 at its end or where it is invalid. */
size_t text_utf8_length(const char *text);

#endif
