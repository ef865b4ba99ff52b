#include "cli/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/api.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

#define DOT " \xc2\xb7 "

const char *format_count(int64_t count, char out[FORMAT_SIZE]) {
  static const char units[] = "kMGT";
  if (count < 1000) {
    snprintf(out, FORMAT_SIZE, "%" PRId64, count < 0 ? 0 : count);
    return out;
  }
  double value = (double)count / 1000;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < sizeof units - 1) {
    value /= 1000;
    unit++;
  }
  snprintf(out, FORMAT_SIZE, "%.1f", value);
  size_t length = strlen(out);
  if (strcmp(out + length - 2, ".0") == 0)
    length -= 2;
  snprintf(out + length, FORMAT_SIZE - length, "%c", units[unit]);
  return out;
}

const char *format_seconds(double seconds, char out[FORMAT_SIZE]) {
  int64_t whole = seconds > 0 && seconds < 1e15 ? (int64_t)(seconds + 0.5) : 0;
  if (seconds < 10)
    snprintf(out, FORMAT_SIZE, "%.1f s", seconds > 0 ? seconds : 0.0);
  else if (whole < 600)
    snprintf(out, FORMAT_SIZE, "%" PRId64 " s", whole);
  else if (whole < 3600)
    snprintf(out, FORMAT_SIZE, "%" PRId64 " min %02" PRId64 " s", whole / 60, whole % 60);
  else
    snprintf(out, FORMAT_SIZE, "%" PRId64 " h %02" PRId64 " min", whole / 3600, whole / 60 % 60);
  return out;
}

static const char *format_local(const char *rfc3339, const char *layout, char out[FORMAT_SIZE]) {
  int64_t wall_us = clock_parse(rfc3339);
  time_t seconds = (time_t)(wall_us / 1000000);
  struct tm tm;
  if (wall_us < 0 || !localtime_r(&seconds, &tm) || strftime(out, FORMAT_SIZE, layout, &tm) == 0)
    snprintf(out, FORMAT_SIZE, "%s", *rfc3339 ? rfc3339 : "-");
  return out;
}

const char *format_time(const char *rfc3339, char out[FORMAT_SIZE]) {
  return format_local(rfc3339, "%Y-%m-%d %H:%M:%S %Z", out);
}

const char *format_clock(const char *rfc3339, char out[FORMAT_SIZE]) {
  return format_local(rfc3339, "%H:%M:%S", out);
}

const char *format_age(const char *rfc3339, char out[FORMAT_SIZE]) {
  int64_t wall_us = clock_parse(rfc3339);
  int64_t seconds = (clock_wall_us() - wall_us) / 1000000;
  if (wall_us < 0)
    snprintf(out, FORMAT_SIZE, "-");
  else if (seconds < 60)
    snprintf(out, FORMAT_SIZE, "%" PRId64 " s ago", seconds > 0 ? seconds : 0);
  else if (seconds < 7200)
    snprintf(out, FORMAT_SIZE, "%" PRId64 " min ago", seconds / 60);
  else if (seconds < 172800)
    snprintf(out, FORMAT_SIZE, "%" PRId64 " h ago", seconds / 3600);
  else
    snprintf(out, FORMAT_SIZE, "%" PRId64 " days ago", seconds / 86400);
  return out;
}

/* Length of an escape sequence "ESC [ ... letter" at text, or 0. */
static size_t format_escape_length(const char *text) {
  if (text[0] != '\x1b' || text[1] != '[')
    return 0;
  size_t length = 2 + strspn(text + 2, "0123456789;");
  return text[length] ? length + 1 : 0;
}

size_t format_width(const char *text) {
  size_t width = 0;
  while (*text) {
    size_t escape = format_escape_length(text), character = text_utf8_length(text);
    if (!escape)
      width++;
    text += escape ? escape : character ? character : 1;
  }
  return width;
}

void format_cut(Buffer *out, const char *text, size_t width) {
  bool colored = false;
  while (*text) {
    size_t escape = format_escape_length(text), character = text_utf8_length(text);
    size_t length = escape ? escape : character ? character : 1;
    if (!escape && width-- == 0)
      break;
    colored = colored || escape;
    buffer_append(out, text, length);
    text += length;
  }
  buffer_append_text(out, *text && colored ? "\x1b[0m" : "");
}

void format_database(Buffer *out, bool color, const char *name, const char *environment) {
  if (strcmp(environment, "production") == 0)
    buffer_append_format(out, "%s %s[production]%s", name, cli_style(color, STYLE_BAD), cli_reset(color));
  else
    buffer_append_text(out, name);
}

const char *format_job_state(const char *state) {
  return strcmp(state, "leased") == 0 ? "starting" : state;
}

void format_state(Buffer *out, bool color, const char *state) {
  static const struct {
    const char *state, *word;
    Style style;
  } table[] = {
      {"sealed", "PROVEN", STYLE_GOOD}, {"failed", "FAILED", STYLE_BAD},      {"errored", "ERRORED", STYLE_WARN},
      {"proven", "PROVEN", STYLE_GOOD}, {"canceled", "CANCELED", STYLE_WARN},
  };
  for (size_t i = 0; i < ARRAY_SIZE(table); i++)
    if (strcmp(state, table[i].state) == 0) {
      buffer_append_format(out, "%s%s%s", cli_style(color, table[i].style), table[i].word, cli_reset(color));
      return;
    }
  buffer_append_text(out, *state ? state : "-");
}

void format_outcome(Buffer *out, bool color, const json_t *checkpoint) {
  char text[FORMAT_SIZE];
  const char *state = api_text(checkpoint, "state"), *when = api_text(checkpoint, "finished_at");
  buffer_append_format(out, "%s ", format_clock(*when ? when : api_text(checkpoint, "created_at"), text));
  format_database(out, color, api_text(checkpoint, "database"), api_text(checkpoint, "environment"));
  buffer_append_text(out, DOT);
  format_state(out, color, state);
  if (strcmp(state, "sealed") != 0) {
    const char *code = api_text(json_object_get(checkpoint, "error"), "code");
    buffer_append_format(out, "%s%s", *code ? DOT : "", code);
  }
  if (api_integer(checkpoint, "tables") > 0 || strcmp(state, "sealed") == 0) {
    int64_t tables = api_integer(checkpoint, "tables");
    buffer_append_format(out, DOT "%" PRId64 " table%s", tables, tables == 1 ? "" : "s");
    buffer_append_format(out, DOT "%s rows", format_count(api_integer(checkpoint, "rows"), text));
  }
  if (api_number(checkpoint, "seconds") > 0)
    buffer_append_format(out, DOT "%s", format_seconds(api_number(checkpoint, "seconds"), text));
}

void table_add(Table *table, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *cell = NULL;
  if (vasprintf(&cell, format, args) < 0)
    cell = memory_strdup("?");
  va_end(args);
  ARRAY_PUSH(table->cells, table->count, cell);
}

void table_print(const Table *table, FILE *out, bool color) {
  size_t *widths = memory_alloc(table->columns * sizeof *widths);
  for (size_t i = 0; i < table->count; i++) {
    size_t width = format_width(table->cells[i]);
    if (width > widths[i % table->columns])
      widths[i % table->columns] = width;
  }
  for (size_t i = 0; i < table->count; i++) {
    size_t column = i % table->columns;
    bool heading = i < table->columns, last = column + 1 == table->columns;
    size_t padding = last ? 0 : widths[column] - format_width(table->cells[i]) + 2;
    fprintf(out, "%s%s%s%*s%s", heading ? cli_style(color, STYLE_DIM) : "", table->cells[i],
            heading ? cli_reset(color) : "", (int)padding, "", last ? "\n" : "");
  }
  free(widths);
}

void table_release(Table *table) {
  for (size_t i = 0; i < table->count; i++)
    free(table->cells[i]);
  free(table->cells);
  *table = (Table){0};
}
