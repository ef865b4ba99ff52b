/* Envelopes between coordinator and agent: any bytes are unpacked within their bounds, or refused; what was unpacked
 * can be packed again. */
#include <stdlib.h>
#include <string.h>

#include "common/bus/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Pgseal__Envelope *envelope = NULL, *again = NULL;
  Error err = {0};
  Status status = envelope_unpack(data, size, &envelope, &err);
  if (status != STATUS_OK) {
    if (status != ERR_PROTOCOL || envelope || !err.message[0])
      abort();
    return 0;
  }
  if (envelope->version != ENVELOPE_VERSION || strlen(envelope->request_id) > ENVELOPE_REQUEST_ID_LIMIT ||
      (envelope->session.len != 0 && envelope->session.len != ENVELOPE_SESSION_SIZE))
    abort();
  if (envelope->body_case == PGSEAL__ENVELOPE__BODY_FAILURE) {
    Error told = {0};
    if (envelope_failure_to_error(envelope->failure, &told) == STATUS_OK || told.status == STATUS_OK)
      abort();
  }
  Buffer packed = {0};
  envelope_pack(envelope, &packed);
  /* Not always: of a field with number 0, which is in no schema, protobuf-c takes in what it then would not write. */
  if (envelope_unpack(packed.data, packed.size, &again, &err) == STATUS_OK) {
    if (again->body_case != envelope->body_case)
      abort();
    pgseal__envelope__free_unpacked(again, NULL);
  }
  pgseal__envelope__free_unpacked(envelope, NULL);
  buffer_release(&packed);
  return 0;
}
