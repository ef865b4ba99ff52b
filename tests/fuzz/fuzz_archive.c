/* An archive: any bytes are read or refused; fed whole or in pieces makes no difference; what is read makes the trip
 * through JSON. The first byte says how large the pieces are. */
#include <stdlib.h>
#include <string.h>

#include "common/archive/compare.h"
#include "common/archive/fingerprint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status read_archive(const uint8_t *data, size_t size, size_t piece, Fingerprint *out, Error *err) {
  FingerprintBuilder *builder = fingerprint_builder_new(NULL);
  Status status = STATUS_OK;
  for (size_t at = 0; !status && at < size; at += piece) {
    size_t take = piece < size - at ? piece : size - at;
    uint8_t *copy = malloc(take); /* of its own, so that reading beyond it is seen */
    memcpy(copy, data + at, take);
    status = fingerprint_builder_feed(builder, copy, take, err);
    free(copy);
  }
  if (!status)
    status = fingerprint_builder_finish(builder, out, err);
  fingerprint_builder_free(builder);
  return status;
}

static void check_same(const Fingerprint *a, const Fingerprint *b) {
  DifferenceList list = {0};
  uint8_t x[DIGEST_SIZE], y[DIGEST_SIZE];
  fingerprint_compare(a, b, &list);
  fingerprint_digest(a, x);
  fingerprint_digest(b, y);
  if (list.count || memcmp(x, y, DIGEST_SIZE) != 0)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  Fingerprint whole = {0}, parts = {0}, back = {0};
  Error err, parts_err;
  size_t piece = 1 + data[0] % 64;
  Status status = read_archive(data + 1, size - 1, size, &whole, &err);
  if (read_archive(data + 1, size - 1, piece, &parts, &parts_err) != status)
    abort();
  if (status && (!err.message[0] || strcmp(err.message, parts_err.message) != 0))
    abort();
  if (!status) {
    check_same(&whole, &parts);
    json_t *json = fingerprint_to_json(&whole);
    if (fingerprint_from_json(json, &back, &err) == STATUS_OK)
      check_same(&whole, &back);
    else
      abort();
    json_decref(json);
  }
  fingerprint_release(&whole);
  fingerprint_release(&parts);
  fingerprint_release(&back);
  return 0;
}
