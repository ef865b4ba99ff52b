/* pgseal-pdf: what `pgseal report --pdf` runs. A program of its own, since nothing else needs Pango and Cairo. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/report/print.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

enum { PIECE = 1 << 16, EXIT_WRONG = 2, CPU_SECONDS = 120 };
#define MEMORY_LIMIT ((rlim_t)4 << 30)

static const char usage[] =
    "Usage: pgseal-pdf TRUST FILE <REPORT\n\n"
    "Reads a report from stdin, as `pgseal report --json` writes it, and makes a PDF of it. `pgseal report --pdf "
    "FILE`\n"
    "and the coordinator's mails do that by this program.\n\n"
    "  TRUST  what was checked of its signature, for the PDF to tell: key (with a key that was given), server (with "
    "the\n"
    "         key that the coordinator it came from names), named (with the key that it names itself), none (it has "
    "none)\n"
    "  FILE   where the PDF goes; - is stdout\n\n"
    "  pgseal report verify report.json && pgseal-pdf named report.pdf <report.json\n\n"
    "Exit status: 0 success; 1 it is no report that holds, or the PDF could not be made; 2 usage.\n";

static Status read_all(Buffer *out, Error *err) {
  for (;;) {
    char piece[PIECE];
    size_t got = fread(piece, 1, sizeof piece, stdin);
    buffer_append(out, piece, got);
    if (got == 0)
      return ferror(stdin) ? error_set(err, ERR_IO, "the report cannot be read") : STATUS_OK;
    if (out->size > REPORT_FILE_LIMIT)
      return error_set(err, ERR_INVALID_ARGUMENT, "the report is too large");
  }
}

static Status make(ViewTrust trust, const char *path, Error *err) {
  CLEANUP(buffer_release) Buffer text = {0}, pdf = {0};
  CLEANUP(report_file_release) ReportFile file = {0};
  CLEANUP(view_release) View view = {0};
  Status status = read_all(&text, err);
  if (!status)
    status = report_read((const char *)text.data, text.size, &file, err);
  if (!status)
    status = report_check(file.report, err);
  if (status)
    return status;
  view_make(&file, trust, &view);
  status = view_pdf(&view, &pdf, NULL, err);
  if (!status && strcmp(path, "-") == 0)
    return file_write_all(STDOUT_FILENO, pdf.data, pdf.size, err);
  return status ? status : file_write_atomic(path, 0644, pdf.data, pdf.size, err);
}

/* What it reads was made by others. */
static void bound(void) {
  setrlimit(RLIMIT_CPU, &(struct rlimit){CPU_SECONDS, CPU_SECONDS});
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which want a lot of addresses */
  setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY_LIMIT, MEMORY_LIMIT});
#endif
}

int main(int argc, char **argv) {
  static const char *const trusts[] = {"key", "server", "named", "none"};
  Error err;
  bound();
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(usage, stdout);
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("pgseal-pdf %s\n", PGSEAL_VERSION);
    return 0;
  }
  for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(trusts); i++) {
    if (strcmp(argv[1], trusts[i]) != 0)
      continue;
    Status status = make((ViewTrust)i, argv[2], &err);
    if (status)
      fprintf(stderr, "%s\n", err.message);
    return status ? 1 : 0;
  }
  fputs(usage, stderr);
  return EXIT_WRONG;
}
