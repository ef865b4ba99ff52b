/* A report as PDF, by the program pgseal-pdf, where it is installed: the coordinator itself links no Pango. */
#ifndef PGSEAL_COORDINATOR_REPORT_PDF_H
#define PGSEAL_COORDINATOR_REPORT_PDF_H

#include <stdatomic.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

/* Not much longer is waited for it; a report that is larger gets no PDF. */
enum { PDF_SECONDS = 90, PDF_REPORT_LIMIT = 16 << 20, PDF_LIMIT = 64 << 20 };

/* Of the document, as it is in a file. Blocks: not on the loop. trust: as pgseal-pdf names it. ERR_TOOL: there is no
 * such program, or it made none; ERR_TIMEOUT; ERR_TOO_MANY: too large; ERR_CANCELED once *stop is set. */
Status report_pdf(const char *text, size_t size, const char *trust, const atomic_bool *stop, Buffer *out,
                  Error *err) MUST_CHECK;

#endif
