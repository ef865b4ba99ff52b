/* The archive by position: what is read is what was stored, and no more of it than asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/recovery/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

enum { SEGMENTS = 12, TOC_SIZE = 700, DAMAGED = 9, GONE = 10, FOREIGN = 11 };
static const char prefix[] = "shop/c/attempt-1/";

typedef struct Stored {
  char directory[64];
  Repository *repository;
  DecryptionKey *key;
  Manifest manifest;
  Buffer archive;
  bool stop;
} Stored;

static Status may_go_on(void *user, Error *err) {
  const Stored *stored = user;
  return stored->stop ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void make_keys(Stored *stored, const char *name, Recipients **recipients) {
  CLEANUP_FREE char *key = memory_format("%s/%s.key", stored->directory, name);
  CLEANUP_FREE char *certificate = memory_format("%s/%s.crt", stored->directory, name);
  const char *paths[] = {certificate};
  Error err;
  assert_int_equal(recipient_generate(key, certificate, name, 1, &err), STATUS_OK);
  assert_int_equal(recipients_load(paths, 1, recipients, &err), STATUS_OK);
  if (!stored->key)
    assert_int_equal(decryption_key_load(key, certificate, &stored->key, &err), STATUS_OK);
}

/* Segments of 700, 1400, 2100, ... bytes; what is put is not always what the manifest says. */
static void put_segment(Stored *stored, const Recipients *recipients, size_t index) {
  ManifestSegment segment = {.offset = stored->archive.size, .plain_size = TOC_SIZE * (index + 1)};
  for (size_t i = 0; i < segment.plain_size; i++)
    buffer_append_byte(&stored->archive, (uint8_t)(rand() & 255));
  uint8_t *plain = stored->archive.data + segment.offset;
  CLEANUP(buffer_release) Buffer encoded = {0};
  Error err;
  assert_int_equal(segment_encode(recipients, 1, plain, segment.plain_size, &encoded, &err), STATUS_OK);
  segment.size = encoded.size;
  sha256_hex(plain, segment.plain_size, segment.plain_sha256);
  sha256_hex(encoded.data, encoded.size, segment.sha256);
  CLEANUP_FREE char *key = manifest_segment_key(prefix, index);
  if (index == DAMAGED) /* another one's, whole by itself */
    assert_int_equal(segment_encode(recipients, 1, stored->archive.data, segment.plain_size, &encoded, &err),
                     STATUS_OK);
  if (index != GONE)
    assert_int_equal(repository_put(stored->repository, key, encoded.data, encoded.size, &err), STATUS_OK);
  ARRAY_PUSH(stored->manifest.segments, stored->manifest.segment_count, segment);
}

static int setup(void **state) {
  Stored *stored = memory_alloc(sizeof *stored);
  snprintf(stored->directory, sizeof stored->directory, "/tmp/pgseal-test-XXXXXX");
  assert_non_null(mkdtemp(stored->directory));
  CLEANUP_FREE char *path = memory_format("%s/repository", stored->directory);
  Recipients *recipients = NULL, *others = NULL;
  Error err;
  assert_int_equal(directory_repository_open(path, &stored->repository, &err), STATUS_OK);
  make_keys(stored, "drill", &recipients);
  make_keys(stored, "other", &others);
  for (size_t i = 0; i < SEGMENTS; i++)
    put_segment(stored, i == FOREIGN ? others : recipients, i);
  recipients_free(recipients);
  recipients_free(others);
  stored->manifest.fingerprint.toc_size = TOC_SIZE;
  *state = stored;
  return 0;
}

static int teardown(void **state) {
  Stored *stored = *state;
  Error err;
  repository_close(stored->repository);
  decryption_key_free(stored->key);
  buffer_release(&stored->archive);
  free(stored->manifest.segments);
  assert_int_equal(file_remove_tree(stored->directory, &err), STATUS_OK);
  free(stored);
  return 0;
}

static RecoverySource *open_source(Stored *stored) {
  const StoredPlace place = {stored->repository, stored->key};
  const PostgresWatch check = {may_go_on, stored};
  RecoverySource *source = NULL;
  Error err = {0};
  stored->stop = false;
  assert_int_equal(recovery_source_open(&place, &stored->manifest, prefix, &check, &source, &err), STATUS_OK);
  return source;
}

static Status read_range(const Stored *stored, RecoverySource *source, uint64_t offset, uint64_t end, Error *err) {
  const ArchiveSource archive = recovery_source_archive(source);
  CLEANUP_FREE uint8_t *data = memory_alloc(end - offset + 1);
  Status status = archive.read(archive.user, offset, data, end - offset, err);
  if (status == STATUS_OK)
    assert_memory_equal(data, stored->archive.data + offset, end - offset);
  return status;
}

static ArchiveRange segments(const Stored *stored, size_t first, size_t last) {
  const ManifestSegment *end = &stored->manifest.segments[last];
  return (ArchiveRange){stored->manifest.segments[first].offset, end->offset + end->plain_size};
}

static void any_order_is_right(void **state) {
  Stored *stored = *state;
  CLEANUP(recovery_source_close) RecoverySource *source = open_source(stored);
  const ArchiveRange good = segments(stored, 0, DAMAGED - 1);
  Error err = {0};
  for (int i = 0; i < 200; i++) {
    const ArchiveRange announced[] = {segments(stored, (size_t)i % 3, (size_t)i % 5 + 3), segments(stored, 7, 7)};
    if (i % 4 == 0)
      recovery_source_announce(source, announced, ARRAY_SIZE(announced));
    uint64_t offset = (uint64_t)rand() % good.end, end = offset + (uint64_t)rand() % (good.end - offset + 1);
    if (read_range(stored, source, offset, end, &err) != STATUS_OK)
      fail_msg("%s", err.message);
  }
}

static void no_more_than_wanted(void **state) {
  Stored *stored = *state;
  CLEANUP(recovery_source_close) RecoverySource *source = open_source(stored);
  const ArchiveRange wanted[] = {segments(stored, 6, 7), segments(stored, 2, 2)};
  const RecoveryRead cost = recovery_cost(&stored->manifest, wanted, 2);
  assert_int_equal(cost.segments, 4); /* with the TOC's */
  assert_int_equal(cost.of_segments, SEGMENTS);
  Error err = {0};
  assert_int_equal(read_range(stored, source, 0, TOC_SIZE, &err), STATUS_OK);
  recovery_source_announce(source, wanted, 2);
  assert_int_equal(read_range(stored, source, wanted[1].offset + 5, wanted[1].end - 5, &err), STATUS_OK);
  assert_int_equal(read_range(stored, source, wanted[0].offset, wanted[0].end, &err), STATUS_OK);
  assert_int_equal(read_range(stored, source, wanted[0].end - 9, wanted[0].end, &err), STATUS_OK); /* still at hand */
  const RecoveryRead read = recovery_source_read(source);
  assert_int_equal(read.bytes, cost.bytes);
  assert_int_equal(read.segments, 4);
  assert_true(read.bytes < read.of_bytes);
  assert_int_equal(read_range(stored, source, wanted[1].offset, wanted[1].end, &err), STATUS_OK);
  assert_int_equal(recovery_source_read(source).segments, 4);       /* the same read again: */
  assert_int_equal(recovery_source_read(source).bytes, read.bytes); /* it is still no more than there is */
}

static void cost_of_ranges(void **state) {
  const Stored *stored = *state;
  const ArchiveRange odd[] = {{0, 0}, {UINT64_MAX - 5, UINT64_MAX}, {50, 10}, {TOC_SIZE, TOC_SIZE + 1}};
  assert_int_equal(recovery_cost(&stored->manifest, odd, 3).segments, 1);
  assert_int_equal(recovery_cost(&stored->manifest, odd, 4).segments, 2);
  const ArchiveRange all = {0, UINT64_MAX};
  const RecoveryRead cost = recovery_cost(&stored->manifest, &all, 1);
  assert_int_equal(cost.segments, SEGMENTS);
  assert_int_equal(cost.bytes, cost.of_bytes);
  const Manifest none = {0};
  assert_int_equal(recovery_cost(&none, &all, 1).segments, 0);
}

static void what_is_wrong_is_refused(void **state) {
  Stored *stored = *state;
  static const struct {
    size_t segment;
    Status status;
  } wrong[] = {{DAMAGED, ERR_SEGMENT_CORRUPT}, {GONE, ERR_SEGMENT_MISSING}, {FOREIGN, ERR_KEY_MISMATCH}};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    CLEANUP(recovery_source_close) RecoverySource *source = open_source(stored);
    Error err = {0};
    const ArchiveRange range = segments(stored, wrong[i].segment, wrong[i].segment);
    recovery_source_announce(source, &range, 1);
    assert_int_equal(read_range(stored, source, range.offset, range.offset + 1, &err), wrong[i].status);
    assert_non_null(strstr(err.object, prefix));
  }
  CLEANUP(recovery_source_close) RecoverySource *source = open_source(stored);
  const uint8_t *data;
  size_t size;
  Error err = {0};
  assert_int_equal(recovery_source_piece(source, stored->archive.size, &data, &size, &err), ERR_INVALID_ARGUMENT);
  stored->stop = true;
  assert_int_equal(recovery_source_piece(source, 0, &data, &size, &err), ERR_CANCELED);
}

int main(void) {
  srand(4711);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_order_is_right),
      cmocka_unit_test(no_more_than_wanted),
      cmocka_unit_test(cost_of_ranges),
      cmocka_unit_test(what_is_wrong_is_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
