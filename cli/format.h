/* How things look to people: numbers, times, outcome lines, tables. */
#ifndef PGSEAL_CLI_FORMAT_H
#define PGSEAL_CLI_FORMAT_H

#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"
#include "common/base/buffer.h"

enum { FORMAT_SIZE = 48 };
const char *format_count(int64_t count, char out[FORMAT_SIZE]);    /* "9.2M", "205k", "184" */
const char *format_seconds(double seconds, char out[FORMAT_SIZE]); /* "94 s", "0.4 s", "2 h 05 min" */
const char *format_time(const char *rfc3339,
                        char out[FORMAT_SIZE]); /* local, "2026-11-21 04:00:11 CET"; "-" if empty */
const char *format_clock(const char *rfc3339, char out[FORMAT_SIZE]); /* local, "04:00:11" */
const char *format_age(const char *rfc3339, char out[FORMAT_SIZE]);   /* "3 min ago"; "-" if empty */

/* Columns a terminal needs for it: escape sequences take none, every character one. */
size_t format_width(const char *text);
/* At most `width` columns of text, ending with a reset if it was cut inside colours; appended to out. */
void format_cut(Buffer *out, const char *text, size_t width);

/* "prod-api", or "prod-api [production]" so that nobody takes it for another. Appended to out. */
void format_database(Buffer *out, bool color, const char *name, const char *environment);

/* A job's state in a user's words: "leased" is "starting". Others, and what a newer coordinator says, as they are. */
const char *format_job_state(const char *state);

/* "PROVEN" in green, "FAILED" in red, ... of a checkpoint's state. Appended. */
void format_state(Buffer *out, bool color, const char *state);
/* "04:00:11 prod-api · PROVEN · 184 tables · 9.2M rows · 94 s". Appended. */
void format_outcome(Buffer *out, bool color, const json_t *checkpoint);

typedef struct Table {
  size_t columns; /* set by the user; the rest starts as zero */
  char **cells;   /* owned */
  size_t count;
} Table;
void table_add(Table *table, const char *format, ...) PRINTF_LIKE(2, 3); /* the next cell, row by row */
void table_print(const Table *table, FILE *out, bool color);             /* the first row is the heading */
void table_release(Table *table);

#endif
