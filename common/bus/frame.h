/*
 * Frames on a byte stream: 4-byte big-endian length, then that many bytes (a packed JobMessage). At most
 * FRAME_LIMIT bytes; more is ERR_PROTOCOL. FrameReader takes any pieces (for uv streams); the fd functions block.
 */
#ifndef PGSEAL_COMMON_BUS_FRAME_H
#define PGSEAL_COMMON_BUS_FRAME_H

#include "common/base/buffer.h"

enum { FRAME_LIMIT = 3 << 20 }; /* below BUS_MESSAGE_LIMIT: what a child says must fit into a message */

typedef struct FrameReader {
  Buffer pending;
} FrameReader; /* zero-initialised is ready */
typedef Status FrameCallback(void *user, const uint8_t *data, size_t size, Error *err);
void frame_reader_release(FrameReader *reader);
Status frame_reader_feed(FrameReader *reader, const void *data, size_t size, FrameCallback *callback, void *user,
                         Error *err) MUST_CHECK;

void frame_append(Buffer *out, const void *data, size_t size);
Status frame_write(int fd, const void *data, size_t size, Error *err) MUST_CHECK;
/* Replaces *out; ERR_UNAVAILABLE at end of file. */
Status frame_read(int fd, Buffer *out, Error *err) MUST_CHECK;

#endif
