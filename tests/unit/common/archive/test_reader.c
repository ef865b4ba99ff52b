#include "archive_fixture.h"

/* What the reader said, as text: the same however the bytes came in. */
typedef struct Trace {
  Buffer text;
  Status fail_at_toc;
} Trace;

static Status on_toc(void *user, const ArchiveToc *toc, Error *err) {
  Trace *trace = user;
  buffer_append_format(&trace->text, "toc %zu entries, %llu bytes\n", toc->entry_count, (unsigned long long)toc->size);
  return trace->fail_at_toc ? error_set(err, trace->fail_at_toc, "no more") : STATUS_OK;
}
static Status on_block(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err) {
  (void)err;
  Trace *trace = user;
  buffer_append_format(&trace->text, "\nblock %s.%s at %llu: ", entry->schema, entry->tag, (unsigned long long)offset);
  return STATUS_OK;
}
static Status on_blob(void *user, const ArchiveEntry *entry, uint32_t oid, Error *err) {
  (void)err, (void)entry;
  buffer_append_format(&((Trace *)user)->text, "\nblob %u: ", oid);
  return STATUS_OK;
}
static Status on_data(void *user, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  buffer_append(&((Trace *)user)->text, data, size);
  return STATUS_OK;
}
static Status on_blob_end(void *user, Error *err) {
  (void)err;
  buffer_append_text(&((Trace *)user)->text, "\nblob end");
  return STATUS_OK;
}
static Status on_block_end(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err) {
  (void)err, (void)entry;
  buffer_append_format(&((Trace *)user)->text, "\nend at %llu", (unsigned long long)offset);
  return STATUS_OK;
}

static const ArchiveCallbacks TRACE = {on_toc, on_block, on_blob, on_data, on_blob_end, on_block_end};

static Status read_in_pieces(const Buffer *bytes, size_t size, size_t piece, Trace *trace, Error *err) {
  ArchiveReader *reader = archive_reader_new(&TRACE, trace);
  Status status = STATUS_OK;
  for (size_t at = 0; !status && at < size;) {
    size_t take = piece ? piece : (size_t)(rand() % 100);
    take = take < size - at ? take : size - at;
    status = archive_reader_feed(reader, bytes->data + at, take, err);
    at += take;
  }
  if (!status)
    status = archive_reader_finish(reader, err);
  archive_reader_free(reader);
  return status;
}

static void test_pieces(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    Trace whole = {0};
    Error err;
    assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &whole, &err), STATUS_OK);
    for (int round = 0; round < 40; round++) {
      Trace parts = {0};
      assert_int_equal(read_in_pieces(&bytes, bytes.size, round < 8 ? (size_t)round + 1 : 0, &parts, &err), STATUS_OK);
      assert_int_equal(whole.text.size, parts.text.size);
      assert_memory_equal(whole.text.data, parts.text.data, whole.text.size);
      buffer_release(&parts.text);
    }
    const char *said = buffer_text(&whole.text);
    assert_non_null(strstr(said, "\nblob 4000000000: ")); /* an OID above 2^31 */
    assert_non_null(strstr(said, "first large object\nblob end"));
    assert_non_null(strstr(said, "block Odd \"Schema.tab, (le at "));
    buffer_release(&whole.text);
  }
}

static void test_toc(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    ArchiveReader *reader = archive_reader_new(&(ArchiveCallbacks){0}, NULL);
    Error err;
    assert_null(archive_reader_toc(reader));
    assert_int_equal(archive_reader_feed(reader, bytes.data, bytes.size, &err), STATUS_OK);
    const ArchiveToc *toc = archive_reader_toc(reader);
    assert_string_equal(toc->header.database, "odd \"db");
    assert_int_equal(toc->header.version_minor, i == 0 ? 14 : 16);
    assert_memory_equal(toc->header.server_version, i == 0 ? "15." : "17.", 3);
    size_t views = 0;
    for (size_t e = 0; e < toc->entry_count; e++) {
      const ArchiveEntry *entry = &toc->entries[e];
      assert_true(entry->dump_id > 0 && entry->section >= ARCHIVE_SECTION_NONE);
      assert_true(bytes.data[entry->offset_field] <= 3); /* the flag of the offset field */
      if (strcmp(entry->desc, "VIEW") == 0) {
        views++;
        assert_string_equal(entry->tag, "notes");
        assert_string_equal(entry->owner, "postgres");
        assert_true(entry->section == ARCHIVE_SECTION_PRE_DATA && entry->dependency_count > 0 && !entry->had_dumper);
        assert_int_equal(entry->relkind, i == 0 ? 0 : 'v');
      }
    }
    assert_int_equal(views, 1);
    assert_int_equal(archive_reader_finish(reader, &err), STATUS_OK);
    archive_reader_free(reader);
  }
}

/* An archive may end only at its end, or between blocks if no promised block is missing. */
static void test_truncation(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    for (size_t size = 0; size < bytes.size; size++) {
      Trace trace = {0};
      Error err;
      assert_int_equal(read_in_pieces(&bytes, size, 4096, &trace, &err), ERR_ARCHIVE_FORMAT);
      buffer_release(&trace.text);
    }
  }
}

static void test_trailing(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    Error err;
    for (int byte = 0; byte < 256; byte++) {
      Trace trace = {0};
      buffer_append_byte(&bytes, (uint8_t)byte);
      assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &trace, &err), ERR_ARCHIVE_FORMAT);
      bytes.size--;
      buffer_release(&trace.text);
    }
    /* a data block that comes twice: the whole data part again */
    Trace trace = {0};
    size_t start = find(&bytes, "\\.\n\n\n") + 5 + 5, size = bytes.size; /* behind the first block's end */
    buffer_append(&bytes, bytes.data + start, 0);
    CLEANUP_FREE uint8_t *again = memory_dup(bytes.data + start, size - start);
    buffer_append(&bytes, again, size - start);
    assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &trace, &err), ERR_ARCHIVE_FORMAT);
    assert_non_null(strstr(err.message, "comes twice"));
    buffer_release(&trace.text);
  }
}

static void test_versions(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg17.dump");
  Error err;
  static const struct {
    uint8_t major, minor;
    const char *name;
  } unknown[] = {{1, 17, "1.17"}, {2, 0, "2.0"}, {1, 11, "1.11"}, {1, 255, "1.255"}};
  for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
    Trace trace = {0};
    bytes.data[5] = unknown[i].major;
    bytes.data[6] = unknown[i].minor;
    assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &trace, &err), ERR_ARCHIVE_VERSION);
    assert_non_null(strstr(err.message, unknown[i].name));
    assert_int_equal(trace.text.size, 0);
  }
}

static void test_compressed(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15-compressed.dump");
  Trace trace = {0};
  Error err;
  assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &trace, &err), ERR_ARCHIVE_FORMAT);
  assert_non_null(strstr(err.message, "compressed"));
  assert_non_null(strstr(err.message, "-Z0"));
  buffer_release(&trace.text);
}

static void test_not_an_archive(void **state) {
  (void)state;
  static const char *const texts[] = {"-- PostgreSQL database dump\n--\n", "PGDMX", "PGDMP\1\16\0\4\10\3 tar", "P",
                                      "\x1f\x8b\x08"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    Trace trace = {0};
    Buffer bytes = {(uint8_t *)texts[i], i == 2 ? 15 : strlen(texts[i]), 0};
    Error err;
    assert_int_equal(read_in_pieces(&bytes, bytes.size, SIZE_MAX, &trace, &err), ERR_ARCHIVE_FORMAT);
  }
}

/* A callback's error ends the reading with that error, and for good. */
static void test_callback_stops(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  Trace trace = {.fail_at_toc = ERR_CANCELED};
  ArchiveReader *reader = archive_reader_new(&TRACE, &trace);
  Error err;
  assert_int_equal(archive_reader_feed(reader, bytes.data, bytes.size, &err), ERR_CANCELED);
  assert_int_equal(archive_reader_feed(reader, bytes.data, 1, &err), ERR_ARCHIVE_FORMAT);
  assert_int_equal(archive_reader_finish(reader, &err), ERR_ARCHIVE_FORMAT);
  archive_reader_free(reader);
  buffer_release(&trace.text);
}

int main(void) {
  srand(1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces),         cmocka_unit_test(test_toc),
      cmocka_unit_test(test_truncation),     cmocka_unit_test(test_trailing),
      cmocka_unit_test(test_versions),       cmocka_unit_test(test_compressed),
      cmocka_unit_test(test_not_an_archive), cmocka_unit_test(test_callback_stops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
