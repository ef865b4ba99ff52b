#include "common/bus/envelope.h"

#include <string.h>

Status envelope_unpack(const uint8_t *data, size_t size, Pgseal__Envelope **out, Error *err) {
  Pgseal__Envelope *envelope = pgseal__envelope__unpack(NULL, size, data);
  if (!envelope)
    return error_set(err, ERR_PROTOCOL, "a message that is no envelope");
  const char *wrong = NULL;
  if (envelope->version != ENVELOPE_VERSION)
    wrong = "another version of the protocol";
  else if (!*envelope->request_id || strlen(envelope->request_id) > ENVELOPE_REQUEST_ID_LIMIT)
    wrong = "a request id out of bounds";
  else if (envelope->session.len != 0 && envelope->session.len != ENVELOPE_SESSION_SIZE)
    wrong = "a session out of bounds";
  else if (envelope->body_case == PGSEAL__ENVELOPE__BODY__NOT_SET)
    wrong = "an envelope without a message";
  if (wrong) {
    pgseal__envelope__free_unpacked(envelope, NULL);
    return error_set(err, ERR_PROTOCOL, "%s", wrong);
  }
  *out = envelope;
  return STATUS_OK;
}

void envelope_pack(const Pgseal__Envelope *envelope, Buffer *out) {
  size_t size = pgseal__envelope__get_packed_size(envelope);
  buffer_clear(out);
  buffer_reserve(out, size + 1);
  out->size = pgseal__envelope__pack(envelope, out->data);
}

Pgseal__Failure envelope_failure(const Error *err) {
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  failure.code = (char *)error_code(err->status);
  failure.message = (char *)err->message;
  failure.remedy = (char *)err->remedy;
  failure.object = (char *)err->object;
  return failure;
}

Status envelope_failure_to_error(const Pgseal__Failure *failure, Error *err) {
  Status status = error_from_code(failure->code);
  error_set(err, status == STATUS_COUNT || status == STATUS_OK ? ERR_PROTOCOL : status, "%s", failure->message);
  if (*failure->remedy)
    error_remedy(err, "%s", failure->remedy);
  error_object(err, "%s", failure->object);
  return err->status;
}
