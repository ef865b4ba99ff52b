/* A rehearsal for people: what is dangerous, and what else was seen. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/rehearse.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

enum { ITEMS_MOST = 50 };

static const char *headline(const json_t *report, Style *style) {
  const char *verdict = api_text(report, "verdict");
  *style = STYLE_BAD;
  if (strcmp(verdict, "failed") == 0)
    return "THE MIGRATION FAILED";
  if (strcmp(verdict, "dangerous") == 0)
    return "DANGEROUS";
  *style = strcmp(verdict, "clean") == 0 ? STYLE_GOOD : STYLE_WARN;
  return strcmp(verdict, "clean") == 0 ? "No danger was found" : "It is not known what it would do";
}

static size_t dangers(const json_t *report) {
  const json_t *finding;
  size_t index, count = 0;
  json_array_foreach(json_object_get(report, "findings"), index, finding) {
    count += api_true(finding, "danger");
  }
  return count;
}

/* "orders: dropped" or what there is of the two. */
static void print_what(FILE *out, const json_t *finding) {
  const char *object = api_text(finding, "object"), *detail = api_text(finding, "detail");
  fprintf(out, "%s%s%s", object, *object && *detail ? ": " : "", detail);
}

static void show_finding(FILE *out, bool color, const json_t *finding) {
  bool danger = api_true(finding, "danger");
  fprintf(out, "  %s%s%s  %-16s ", cli_style(color, danger ? STYLE_BAD : STYLE_DIM), danger ? "DANGER" : "note  ",
          cli_reset(color), api_text(finding, "kind"));
  print_what(out, finding);
  fputc('\n', out);
  if (*api_text(finding, "remedy"))
    fprintf(out, "          %s\n", api_text(finding, "remedy"));
}

/* Dangers first; a few of each. */
static void show_findings(FILE *out, bool color, const json_t *report) {
  const json_t *list = json_object_get(report, "findings"), *finding;
  for (int danger = 1; danger >= 0; danger--) {
    size_t index, shown = 0;
    json_array_foreach(list, index, finding) {
      if (api_true(finding, "danger") == (danger == 1) && shown++ < ITEMS_MOST)
        show_finding(out, color, finding);
    }
    if (shown > ITEMS_MOST)
      fprintf(out, "  ... and %zu more; --json has all of them\n", shown - ITEMS_MOST);
  }
}

static void print_copy(FILE *out, const json_t *job, const char *before) {
  const json_t *report = json_object_get(job, "report"), *copy = json_object_get(report, "copy");
  char rows[FORMAT_SIZE], size[TEXT_SIZE_SIZE], seconds[FORMAT_SIZE];
  fprintf(out, "%son a copy of %s, checkpoint %s", before, api_text(job, "database"), api_text(job, "tag"));
  if (api_integer(copy, "rows") > 0)
    fprintf(out, " (%s rows, %s)", format_count(api_integer(copy, "rows"), rows),
            text_size(api_integer(copy, "bytes"), size));
  fprintf(out, ", in %s; production was not touched\n", format_seconds(api_number(report, "seconds"), seconds));
}

void rehearse_show(FILE *out, bool color, const json_t *job) {
  const json_t *report = json_object_get(job, "report");
  Style style;
  const char *head = headline(report, &style);
  size_t count = dangers(report);
  fprintf(out, "%s%s.%s", cli_style(color, style), head, cli_reset(color));
  if (count > 0)
    fprintf(out, " %zu finding%s would hurt production.", count, count == 1 ? "" : "s");
  fputc('\n', out);
  print_copy(out, job, "  rehearsed ");
  show_findings(out, color, report);
}

/* ---- Markdown ---- */

/* As it is, in a cell of a table: nothing in it is markup, or ends the cell. */
static void print_cell(FILE *out, const char *text) {
  static const char special[] = "\\`*_{}[]<>()#+-.!|~&$@:";
  for (; *text; text++) {
    if (*text == '\n' || *text == '\r')
      fputc(' ', out);
    else if (strchr(special, *text))
      fprintf(out, "&#%d;", *text);
    else
      fputc(*text, out);
  }
}

static void summary_row(FILE *out, const json_t *finding) {
  fprintf(out, "| %s | ", api_true(finding, "danger") ? "**danger**" : "note");
  print_cell(out, api_text(finding, "kind"));
  fputs(" | ", out);
  print_cell(out, api_text(finding, "object"));
  fputs(" | ", out);
  print_cell(out, api_text(finding, "detail"));
  fputs(" | ", out);
  print_cell(out, api_text(finding, "remedy"));
  fputs(" |\n", out);
}

void rehearse_summary(FILE *out, const json_t *job) {
  const json_t *report = json_object_get(job, "report"), *list = json_object_get(report, "findings"), *finding;
  char seconds[FORMAT_SIZE];
  Style ignored;
  size_t index;
  fprintf(out, "### pgseal rehearse: %s\n\nOn a drilled copy of ", headline(report, &ignored));
  print_cell(out, api_text(job, "database"));
  fputs(", checkpoint ", out);
  print_cell(out, api_text(job, "tag"));
  fprintf(out, ", in %s. Production was not touched.\n\n", format_seconds(api_number(report, "seconds"), seconds));
  if (json_array_size(list) == 0) {
    fputs("Nothing was found.\n", out);
    return;
  }
  fputs("| | kind | object | what | what to do |\n|---|---|---|---|---|\n", out);
  json_array_foreach(list, index, finding) {
    if (index < ITEMS_MOST)
      summary_row(out, finding);
  }
  if (index > ITEMS_MOST)
    fprintf(out, "\n... and %zu more.\n", index - ITEMS_MOST);
}
