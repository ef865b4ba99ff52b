/* A report as a message of mail: what it comes to as text, the worst first; the document, the page and the PDF
 * attached. Pure. */
#ifndef PGSEAL_COORDINATOR_REPORT_LETTER_H
#define PGSEAL_COORDINATOR_REPORT_LETTER_H

#include "common/report/view.h"
#include "coordinator/report/plans.h"

typedef struct Letter {
  const ReportPlan *plan;
  const AlertRoute *route;
  const char *id, *link; /* link: of the dashboard, or NULL */
  int64_t created_us, from_us, to_us;
  bool bare;           /* the receiver took none with attachments */
  const char *problem; /* why there is no report: then nothing of it is here; else NULL */
  const char *text;    /* of the document, as it is in a file */
  size_t size;
  const ReportFile *file;
  const View *view;
  const Buffer *html, *pdf; /* pdf NULL: */
  const char *no_pdf;       /* why there is none */
} Letter;

void letter_write(const Letter *letter, Buffer *out);
/* "pgseal report --month 2026-10 --owner team-api": how anybody gets the same report. Freed by the caller. */
char *letter_command(const ReportPlan *plan, int64_t from_us, int64_t to_us);

#endif
