#include "coordinator/report/letter.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/mime.h"

enum { ROWS_SHOWN = 20, ABOUT_SIZE = 90, CELL_SIZE = 160, PARTS = 3 };

typedef struct Part { /* what may be attached, by how much it matters */
  const char *kind, *type, *option;
  const void *data;
  size_t size;
  bool attached;
} Part;

/* ---- how anybody gets it ---- */

static bool is_plain(const char *text) {
  for (const char *p = text; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("._-@+", *p))
      return false;
  return *text != '\0';
}

/* As a shell takes it. */
static void append_word(Buffer *out, const char *text) {
  if (is_plain(text)) {
    buffer_append_text(out, text);
    return;
  }
  buffer_append_text(out, "'");
  for (const char *p = text; *p; p++)
    if (*p == '\'')
      buffer_append_text(out, "'\\''");
    else
      buffer_append_byte(out, (uint8_t)*p);
  buffer_append_text(out, "'");
}

static void append_day(Buffer *out, const char *option, int64_t wall_us) {
  char text[VIEW_TEXT_SIZE];
  buffer_append_format(out, " %s %.10s", option, view_time(wall_us, text)); /* scheduled periods begin at midnight */
}

char *letter_command(const ReportPlan *plan, int64_t from_us, int64_t to_us) {
  CLEANUP(buffer_release) Buffer out = {0};
  CLEANUP_FREE char *period = report_period_text(from_us, to_us);
  buffer_append_text(&out, "pgseal report");
  if (period) {
    buffer_append_format(&out, " --%s %s",
                         strchr(period, 'W')   ? "week"
                         : strchr(period, 'Q') ? "quarter"
                                               : "month",
                         period);
  } else {
    append_day(&out, "--from", from_us);
    append_day(&out, "--to", to_us);
  }
  for (const char *at = plan->database; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    buffer_append_format(&out, " --database %.*s", (int)strcspn(at, ","), at);
  if (plan->owner || plan->environment) {
    buffer_append_text(&out, plan->owner ? " --owner " : " --environment ");
    append_word(&out, plan->owner ? plan->owner : plan->environment);
  }
  return buffer_steal_text(&out);
}

/* ---- what it says ---- */

/* What the terminal shows in short, as text. */
static void append_table(Buffer *out, const ViewItem *item) {
  size_t rows = item->column_count ? item->cell_count / item->column_count : 0;
  for (size_t i = 0; i < rows && i < ROWS_SHOWN; i++)
    for (size_t j = 0; j < item->column_count; j++) {
      char text[CELL_SIZE];
      text_clean(item->cells[i * item->column_count + j].text, text, sizeof text);
      buffer_append_format(out, "%s%s%s", j == 0 ? "  " : " | ", text, j + 1 == item->column_count ? "\n" : "");
    }
  if (rows > ROWS_SHOWN)
    buffer_append_format(out, "  ... and %zu more, in the report\n", rows - ROWS_SHOWN);
}

static void append_view(Buffer *out, const View *view) {
  for (size_t i = 0; i < view->count; i++) {
    const ViewItem *item = &view->items[i];
    if (!item->brief)
      continue;
    if (item->kind == VIEW_FACTS)
      for (size_t j = 0; j + 1 < item->cell_count; j += 2)
        buffer_append_format(out, "%s: %s\n", item->cells[j].text, item->cells[j + 1].text);
    else if (item->kind == VIEW_TABLE)
      append_table(out, item);
    else
      buffer_append_format(out, "%s%s\n", item->kind == VIEW_HEADING ? "\n" : "", item->text);
  }
}

/* "pgseal-monthly-2026-10.pdf" */
static char *file_name(const Letter *letter, const Part *part) {
  char from[VIEW_TEXT_SIZE], to[VIEW_TEXT_SIZE];
  CLEANUP_FREE char *period = report_period_text(letter->from_us, letter->to_us);
  return period ? memory_format("pgseal-%s-%s.%s", letter->plan->name, period, part->kind)
                : memory_format("pgseal-%s-%.10s-%.10s.%s", letter->plan->name, view_time(letter->from_us, from),
                                view_time(letter->to_us, to), part->kind);
}

static void append_part(Buffer *out, const Letter *letter, const Part *part) {
  CLEANUP_FREE char *name = file_name(letter, part),
                    *command = letter_command(letter->plan, letter->from_us, letter->to_us);
  if (!part->data)
    buffer_append_format(out, "  There is no PDF: %s. Where pgseal-pdf is installed: %s --pdf %s\n",
                         letter->no_pdf ? letter->no_pdf : "?", command, name);
  else if (part->attached)
    buffer_append_format(out, "  %s\n", name);
  else
    buffer_append_format(out, "  Not attached, since %s: %s (%zu kB). To get it: %s %s %s\n",
                         letter->bare ? "the receiver took no message as large as that"
                                      : "the attachments would be larger than `attach_megabytes`",
                         name, part->size / 1000, command, part->option, name);
}

static void append_parts(Buffer *out, const Letter *letter, const Part parts[PARTS]) {
  buffer_append_text(out, "\nAttached:\n");
  for (size_t i = 0; i < PARTS; i++)
    append_part(out, letter, &parts[i]);
  buffer_append_text(out, "\nThe JSON document is the report; the others are made of it. ");
  if (json_is_null(letter->file->signature))
    buffer_append_text(out, "It is not signed: the coordinator has no `signing_key`. Nothing says that it was not "
                            "altered.\n");
  else
    buffer_append_text(out,
                       "It is signed; to check it, with the coordinator's public key (got by another way than this "
                       "mail):\n  pgseal report verify FILE --key signing.pub\n");
}

static void append_text(Buffer *out, const Letter *letter, const Part parts[PARTS]) {
  if (letter->problem) {
    CLEANUP_FREE char *command = letter_command(letter->plan, letter->from_us, letter->to_us);
    buffer_append_format(out, "There is no report: %s.\n\nWhat was asked for: %s\n", letter->problem, command);
  } else {
    ViewTone tone;
    CLEANUP_FREE char *headline = view_headline(letter->file->report, &tone);
    buffer_append_format(out, "%s\n\n", headline);
    append_view(out, letter->view);
    append_parts(out, letter, parts);
  }
  if (letter->link)
    buffer_append_format(out, "\n%s\n", letter->link);
  buffer_append_format(out, "-- \npgseal, report %s, message %s\n", letter->plan->name, letter->id);
}

static char *subject_of(const Letter *letter) {
  CLEANUP_FREE char *period = view_period(letter->from_us, letter->to_us);
  if (letter->problem)
    return memory_format("[pgseal] %s, %s: there is no report", letter->plan->name, period);
  char about[ABOUT_SIZE];
  ViewTone tone;
  CLEANUP_FREE char *subject = view_subject(letter->file->report),
                    *headline = view_headline(letter->file->report, &tone);
  return memory_format("[pgseal] %s, %s: %s", period, text_clean(subject, about, sizeof about), headline);
}

/* ---- all of it ---- */

static void take_part(const Letter *letter, Part *part, size_t *left) {
  size_t encoded = mime_encoded_size(part->size);
  part->attached = part->data && !letter->bare && encoded <= *left;
  *left -= part->attached ? encoded : 0;
}

void letter_write(const Letter *letter, Buffer *out) {
  size_t left = letter->plan->attached_limit;
  Part parts[PARTS] = {{"json", "application/json", "--json", letter->text, letter->size, false},
                       {"pdf", "application/pdf", "--pdf", NULL, 0, false},
                       {"html", "text/html; charset=utf-8", "--html", NULL, 0, false}};
  CLEANUP(buffer_release) Buffer text = {0};
  CLEANUP_FREE char *subject = subject_of(letter), *boundary = memory_format("pgseal_%s", letter->id);
  if (letter->pdf)
    parts[1].data = letter->pdf->data, parts[1].size = letter->pdf->size;
  if (letter->html)
    parts[2].data = letter->html->data, parts[2].size = letter->html->size;
  for (size_t i = 0; i < PARTS; i++)
    take_part(letter, &parts[i], &left);
  append_text(&text, letter, parts);
  mime_head(out, letter->route, letter->id, letter->created_us, subject);
  mime_parts(out, boundary);
  mime_next(out, boundary);
  mime_body(out, "text/plain; charset=utf-8", NULL, text.data, text.size);
  for (size_t i = 0; i < PARTS; i++) {
    CLEANUP_FREE char *name = file_name(letter, &parts[i]);
    if (!parts[i].attached)
      continue;
    mime_next(out, boundary);
    mime_body(out, parts[i].type, name, parts[i].data, parts[i].size);
  }
  mime_end(out, boundary);
}
