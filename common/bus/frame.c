#include "common/bus/frame.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"

enum { PREFIX = 4 };

static uint32_t length_of(const uint8_t *data) {
  return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static Status too_long(Error *err, uint32_t length) {
  return error_set(err, ERR_PROTOCOL, "a frame of %u bytes (at most %d)", length, FRAME_LIMIT);
}

void frame_reader_release(FrameReader *reader) {
  buffer_release(&reader->pending);
}

Status frame_reader_feed(FrameReader *reader, const void *data, size_t size, FrameCallback *callback, void *user,
                         Error *err) {
  buffer_append(&reader->pending, data, size);
  size_t at = 0;
  Status status = STATUS_OK;
  while (!status && reader->pending.size - at >= PREFIX) {
    uint32_t length = length_of(reader->pending.data + at);
    if (length > FRAME_LIMIT)
      return too_long(err, length);
    if (reader->pending.size - at - PREFIX < length)
      break;
    status = callback(user, reader->pending.data + at + PREFIX, length, err);
    at += PREFIX + length;
  }
  memmove(reader->pending.data, reader->pending.data + at, reader->pending.size - at);
  reader->pending.size -= at;
  return status;
}

void frame_append(Buffer *out, const void *data, size_t size) {
  const uint8_t prefix[PREFIX] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
  buffer_append(out, prefix, sizeof prefix);
  buffer_append(out, data, size);
}

Status frame_write(int fd, const void *data, size_t size, Error *err) {
  if (size > FRAME_LIMIT)
    return too_long(err, (uint32_t)size);
  Buffer whole = {0};
  frame_append(&whole, data, size);
  Status status = file_write_all(fd, whole.data, whole.size, err);
  buffer_release(&whole);
  return status;
}

static Status read_all(int fd, uint8_t *data, size_t size, Error *err) {
  size_t done = 0;
  while (done < size) {
    ssize_t got = read(fd, data + done, size - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return error_set_errno(err, errno, "cannot read a frame");
    if (got == 0)
      return error_set(err, ERR_UNAVAILABLE, "the other side is gone");
    done += (size_t)got;
  }
  return STATUS_OK;
}

Status frame_read(int fd, Buffer *out, Error *err) {
  uint8_t prefix[PREFIX];
  Status status = read_all(fd, prefix, sizeof prefix, err);
  if (status)
    return status;
  uint32_t length = length_of(prefix);
  if (length > FRAME_LIMIT)
    return too_long(err, length);
  buffer_clear(out);
  buffer_reserve(out, length + 1);
  status = read_all(fd, out->data, length, err);
  if (!status)
    out->size = length;
  return status;
}
