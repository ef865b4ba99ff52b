/*
 * How a report is told to people: headings, sentences, tables, in order, made once out of the document; the terminal,
 * HTML, PDF and mail print them. All texts are owned, and cleaned: valid UTF-8 without control characters.
 * Single-threaded.
 */
#ifndef PGSEAL_COMMON_REPORT_VIEW_H
#define PGSEAL_COMMON_REPORT_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "common/report/report.h"

typedef enum ViewTone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_DIM, TONE_COUNT } ViewTone;

typedef enum ViewKind {
  VIEW_TITLE,
  VIEW_SUBTITLE,
  VIEW_HEADING,
  VIEW_TEXT,
  VIEW_FACTS, /* a table of two columns, without a head */
  VIEW_TABLE
} ViewKind;

typedef struct ViewColumn {
  const char *name; /* a literal */
  int weight;       /* of its width, against the others' */
  bool number;      /* to the right */
  bool code;        /* digests and ids, in a narrow fixed pitch */
} ViewColumn;

typedef struct ViewCell {
  char *text;
  ViewTone tone;
} ViewCell;

typedef struct ViewItem {
  ViewKind kind;
  ViewTone tone;
  bool brief;                /* the terminal shows it, too */
  char *text;                /* of all but tables */
  const ViewColumn *columns; /* a literal */
  size_t column_count;
  ViewCell *cells; /* row by row */
  size_t cell_count;
} ViewItem;

typedef struct View {
  char *title; /* of the document */
  char *footer;
  ViewItem *items;
  size_t count;
} View;

typedef enum ViewTrust {
  TRUST_KEY,    /* its signature was checked with a key that was given */
  TRUST_SERVER, /* it came from the coordinator just now, and its signature is by the key it names */
  TRUST_NAMED,  /* the same, of a file */
  TRUST_NONE    /* it is not signed */
} ViewTrust;

void view_make(const ReportFile *file, ViewTrust trust, View *out);
void view_release(View *view);

/* ---- what the parts of the making share ---- */

enum { VIEW_TEXT_SIZE = 64 };
const char *view_time(int64_t wall_us, char out[VIEW_TEXT_SIZE]);      /* "2026-10-03 04:00:11"; "-" if 0 */
const char *view_span(int64_t seconds, char out[VIEW_TEXT_SIZE]);      /* "94 s", "26 h", "30 d" */
const char *view_took(int64_t milliseconds, char out[VIEW_TEXT_SIZE]); /* "0.4 s", "94 s", "2 h 05 min" */
const char *view_text(const json_t *object, const char *key);          /* "" if there is none */
int64_t view_integer(const json_t *object, const char *key);           /* 0 */
bool view_true(const json_t *object, const char *key);
ViewItem *view_add(View *view, ViewKind kind, ViewTone tone, bool brief, const char *format, ...) PRINTF_LIKE(5, 6);
ViewItem *view_table(View *view, ViewKind kind, bool brief, const ViewColumn *columns, size_t count);
ViewItem *view_facts(View *view, bool brief);
void view_cell(ViewItem *table, ViewTone tone, const char *format, ...) PRINTF_LIKE(3, 4);
void view_fact(ViewItem *facts, const char *name, ViewTone tone, const char *format, ...) PRINTF_LIKE(4, 5);

/* The worst first, in a few sentences: how many databases have no fresh proof, what was not mended. *tone: how bad that
 * is. Freed by the caller. */
char *view_headline(const json_t *report, ViewTone *tone);
char *view_subject(const json_t *report); /* "The fleet", "Databases of team-api"; freed by the caller */
/* "October 2026", "the third quarter of 2026", "2026-10-05 to 2026-10-11" (both included); freed by the caller */
char *view_period(int64_t from_us, int64_t to_us);

/* view_summary.c, view_sections.c, view_silences.c, view_evidence.c */
void view_summary(View *view, const json_t *report);
void view_problems(View *view, const json_t *report);
void view_databases(View *view, const json_t *report);
void view_recoveries(View *view, const json_t *report);
void view_omissions(View *view, const json_t *report);
void view_trials(View *view, const json_t *report);
void view_silences(View *view, const json_t *report);
void view_summary_silences(ViewItem *facts, const json_t *report);
void view_controls(View *view, const json_t *report);
void view_evidence(View *view, const ReportFile *file, ViewTrust trust);

/* ---- printing ---- */

void view_html(const View *view, Buffer *out);

#endif
