/* A fingerprint's JSON: any text is read or refused; what is read is the same when written and read again. */
#include <stdlib.h>
#include <string.h>

#include "common/archive/compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
  Fingerprint first = {0}, second = {0};
  Error err = {0};
  Status status = fingerprint_from_json(json, &first, &err);
  if (status != STATUS_OK && (status != ERR_MANIFEST_INVALID || first.entries || first.tables || !err.message[0]))
    abort();
  if (status == STATUS_OK) {
    json_t *again = fingerprint_to_json(&first);
    if (!again || fingerprint_from_json(again, &second, &err) != STATUS_OK)
      abort();
    DifferenceList list = {0};
    fingerprint_compare(&first, &second, &list);
    uint8_t x[DIGEST_SIZE], y[DIGEST_SIZE];
    fingerprint_digest(&first, x);
    fingerprint_digest(&second, y);
    if (list.count || memcmp(x, y, DIGEST_SIZE) != 0)
      abort();
    json_decref(again);
    fingerprint_release(&second);
  }
  fingerprint_release(&first);
  json_decref(json);
  return 0;
}
