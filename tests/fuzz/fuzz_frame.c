/* Frames of a byte stream: cut anywhere, they are the same frames; and none is larger than the limit. */
#include <stdlib.h>
#include <string.h>

#include "common/bus/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status on_frame(void *user, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  if (size > FRAME_LIMIT)
    abort();
  frame_append(user, data, size);
  return STATUS_OK;
}

static Status read_stream(const uint8_t *data, size_t size, size_t piece, Buffer *frames) {
  FrameReader reader = {0};
  Status status = STATUS_OK;
  Error err = {0};
  for (size_t at = 0; !status && at < size; at += piece)
    status = frame_reader_feed(&reader, data + at, piece < size - at ? piece : size - at, on_frame, frames, &err);
  if (status && (status != ERR_PROTOCOL || !err.message[0]))
    abort();
  frame_reader_release(&reader);
  return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  Buffer whole = {0}, parts = {0};
  Status status = read_stream(data + 1, size - 1, size, &whole);
  if (read_stream(data + 1, size - 1, 1 + data[0] % 16, &parts) != status)
    abort();
  if (whole.size != parts.size || (whole.size && memcmp(whole.data, parts.data, whole.size) != 0))
    abort();
  if (whole.size > size - 1 || (whole.size && memcmp(whole.data, data + 1, whole.size) != 0))
    abort(); /* whole frames, written again, are what came in */
  buffer_release(&whole);
  buffer_release(&parts);
  return 0;
}
