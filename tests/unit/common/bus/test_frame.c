/* Frames: any pieces, bounds, ends of file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/bus/frame.h"

static Status collect(void *user, const uint8_t *data, size_t size, Error *err) {
  Buffer *seen = user;
  if (size == 3 && memcmp(data, "bad", 3) == 0)
    return error_set(err, ERR_PROTOCOL, "bad frame");
  buffer_append(seen, data, size);
  buffer_append_byte(seen, '|');
  return STATUS_OK;
}

static void test_any_pieces(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer stream = {0};
  frame_append(&stream, "one", 3);
  frame_append(&stream, "", 0);
  frame_append(&stream, "three", 5);
  for (size_t piece = 1; piece <= stream.size; piece++) {
    CLEANUP(frame_reader_release) FrameReader reader = {0};
    CLEANUP(buffer_release) Buffer seen = {0};
    Error err;
    for (size_t at = 0; at < stream.size; at += piece) {
      size_t size = stream.size - at < piece ? stream.size - at : piece;
      assert_int_equal(frame_reader_feed(&reader, stream.data + at, size, collect, &seen, &err), STATUS_OK);
    }
    assert_string_equal(buffer_text(&seen), "one||three|");
    assert_int_equal(reader.pending.size, 0);
  }
}

static void test_length_is_bounded(void **state) {
  (void)state;
  CLEANUP(frame_reader_release) FrameReader reader = {0};
  CLEANUP(buffer_release) Buffer seen = {0};
  const uint8_t huge[4] = {0xff, 0xff, 0xff, 0xff};
  Error err;
  assert_int_equal(frame_reader_feed(&reader, huge, sizeof huge, collect, &seen, &err), ERR_PROTOCOL);
  CLEANUP_FREE uint8_t *data = calloc(1, FRAME_LIMIT + 1);
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  assert_int_equal(frame_write(fds[1], data, FRAME_LIMIT + 1, &err), ERR_PROTOCOL);
  assert_int_equal(write(fds[1], huge, sizeof huge), 4);
  assert_int_equal(frame_read(fds[0], &seen, &err), ERR_PROTOCOL);
  close(fds[0]);
  close(fds[1]);
}

static void test_callback_error_stops(void **state) {
  (void)state;
  CLEANUP(frame_reader_release) FrameReader reader = {0};
  CLEANUP(buffer_release) Buffer stream = {0}, seen = {0};
  Error err;
  frame_append(&stream, "a", 1);
  frame_append(&stream, "bad", 3);
  frame_append(&stream, "b", 1);
  assert_int_equal(frame_reader_feed(&reader, stream.data, stream.size, collect, &seen, &err), ERR_PROTOCOL);
  assert_string_equal(buffer_text(&seen), "a|");
}

static void test_blocking_ends(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer frame = {0};
  Error err;
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  assert_int_equal(frame_write(fds[1], "hello", 5, &err), STATUS_OK);
  assert_int_equal(frame_write(fds[1], "", 0, &err), STATUS_OK);
  assert_int_equal(write(fds[1], "\0\0\0\5ab", 6), 6);
  close(fds[1]);
  assert_int_equal(frame_read(fds[0], &frame, &err), STATUS_OK);
  assert_string_equal(buffer_text(&frame), "hello");
  assert_int_equal(frame_read(fds[0], &frame, &err), STATUS_OK);
  assert_int_equal(frame.size, 0);
  assert_int_equal(frame_read(fds[0], &frame, &err), ERR_UNAVAILABLE); /* cut off in the middle */
  assert_int_equal(frame_read(fds[0], &frame, &err), ERR_UNAVAILABLE);
  close(fds[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_pieces),
      cmocka_unit_test(test_length_is_bounded),
      cmocka_unit_test(test_callback_error_stops),
      cmocka_unit_test(test_blocking_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
