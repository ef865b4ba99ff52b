/* Reports: any text is read or refused; what is read is checked or refused; what adds up still does when it is written
 * and read again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(json_t *report) {
  ReportFile file = {0};
  Error err = {0};
  char *text = NULL;
  if (report_write(report, NULL, &text, &err) != STATUS_OK ||
      report_read(text, strlen(text), &file, &err) != STATUS_OK || report_check(file.report, &err) != STATUS_OK ||
      !json_equal(report, file.report))
    abort();
  report_file_release(&file);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t key[PUBLIC_KEY_SIZE] = {1};
  ReportFile file = {0};
  Error err = {0};
  Status status = report_read((const char *)data, size, &file, &err);
  if (status != STATUS_OK) {
    if (status != ERR_PROOF_INVALID || !err.message[0] || file.report)
      abort();
    return 0;
  }
  if (report_verify(&file, key, &err) == STATUS_OK)
    abort();
  status = report_check(file.report, &err);
  if (status == STATUS_OK)
    again(file.report);
  else if (status != ERR_PROOF_INVALID || !err.message[0])
    abort();
  report_file_release(&file);
  return 0;
}
