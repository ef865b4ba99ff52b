/* Where a report is printed besides HTML (common/report/view.h). */
#ifndef PGSEAL_CLI_REPORT_PRINT_H
#define PGSEAL_CLI_REPORT_PRINT_H

#include "common/report/view.h"

void view_terminal(const View *view, bool color); /* what is brief, on stdout */
/* pdf.c, of the program pgseal-pdf alone: it needs Pango. ERR_TOOL. */
typedef struct PdfPlace {
  int first, last; /* pages, from 1; of a table: those of its first and its last row */
} PdfPlace;
/* places: NULL, or one for each of the view's items, to be set. */
Status view_pdf(const View *view, Buffer *out, PdfPlace *places, Error *err) MUST_CHECK;

#endif
