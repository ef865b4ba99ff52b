/* The seekable copy, as the real pg_restore of PostgreSQL 15 sees it. */
#include "archive_fixture.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/archive/seekable.h"

static const char PG_RESTORE[] = "/usr/lib/postgresql/15/bin/pg_restore";

static char *make_seekable(const Buffer *bytes, size_t size, size_t piece, Status *status, Error *err) {
  char *path = memory_strdup("/tmp/pgseal-seekable-XXXXXX");
  CLEANUP_CLOSE int fd = mkstemp(path);
  assert_true(fd >= 0);
  SeekableWriter *writer = seekable_writer_new(fd);
  *status = STATUS_OK;
  for (size_t at = 0; !*status && at < size; at += piece)
    *status = seekable_writer_feed(writer, bytes->data + at, piece < size - at ? piece : size - at, err);
  if (!*status)
    *status = seekable_writer_finish(writer, err);
  seekable_writer_free(writer);
  return path;
}

/* The standard output of pg_restore. */
static Buffer run(const char *const *argv) {
  Buffer out = {0};
  int fds[2];
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(fds[1], 1);
    execv(argv[0], (char *const *)argv);
    _exit(127);
  }
  close(fds[1]);
  for (;;) {
    buffer_reserve(&out, out.size + 65536);
    ssize_t got = read(fds[0], out.data + out.size, 65536);
    if (got <= 0)
      break;
    out.size += (size_t)got;
  }
  close(fds[0]);
  int rc = -1;
  waitpid(pid, &rc, 0);
  assert_int_equal(rc, 0);
  buffer_text(&out);
  return out;
}

static void test_pg_restore(void **state) {
  (void)state;
  static const size_t pieces[] = {1, 7, 4096};
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
    Error err;
    Status status;
    CLEANUP_FREE char *path = make_seekable(&bytes, bytes.size, pieces[i], &status, &err);
    assert_int_equal(status, STATUS_OK);
    CLEANUP(buffer_release) Buffer list = run((const char *[]){PG_RESTORE, "-l", path, NULL});
    assert_non_null(strstr(buffer_text(&list), "TABLE DATA public stray postgres"));
    /* pg_restore can only reach a later table's data without those before it, if the offsets are right; each says so by
     * its rows */
    CLEANUP(buffer_release)
    Buffer table = run((const char *[]){PG_RESTORE, "-f", "-", "-a", "-t", "twin_b", path, NULL});
    assert_non_null(strstr(buffer_text(&table), "COPY public.twin_b (a, b) FROM stdin;\n106\t107\n108\t109\n\\.\n"));
    assert_null(strstr(buffer_text(&table), "101\t102"));
    CLEANUP(buffer_release) Buffer all = run((const char *[]){PG_RESTORE, "-f", "-", path, NULL});
    assert_non_null(strstr(buffer_text(&all), "CREATE TABLE public.no_columns"));
    unlink(path);
  }
}

/* The copy and its original hold the same; only offset fields differ, and every one of them is set. */
static void test_same_archive(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(buffer_release) Buffer copy = {0};
    Error err;
    Status status;
    CLEANUP_FREE char *path = make_seekable(&bytes, bytes.size, 1000, &status, &err);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(file_read(path, 1 << 20, &copy, &err), STATUS_OK);
    unlink(path);
    assert_int_equal(copy.size, bytes.size);
    CLEANUP(fingerprint_release) Fingerprint x = fingerprint_good(&bytes);
    CLEANUP(fingerprint_release) Fingerprint y = fingerprint_good(&copy);
    assert_true(same_digest(&x, &y));
    ArchiveReader *reader = archive_reader_new(&(ArchiveCallbacks){0}, NULL);
    assert_int_equal(archive_reader_feed(reader, copy.data, copy.size, &err), STATUS_OK);
    const ArchiveToc *toc = archive_reader_toc(reader);
    for (size_t e = 0; e < toc->entry_count; e++) {
      const uint8_t *field = copy.data + toc->entries[e].offset_field;
      uint64_t offset = 0;
      memcpy(&offset, field + 1, 8);
      assert_int_equal(field[0], toc->entries[e].had_dumper ? 2 : 3);
      if (toc->entries[e].had_dumper) { /* the block there has the entry's dump id */
        int32_t id;
        memcpy(&id, copy.data + offset + 2, 4);
        assert_int_equal(id, toc->entries[e].dump_id);
      }
      memcpy(copy.data + toc->entries[e].offset_field, bytes.data + toc->entries[e].offset_field, 9);
    }
    assert_memory_equal(copy.data, bytes.data, bytes.size);
    archive_reader_free(reader);
  }
}

static void test_failures(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  Error err;
  Status status;
  CLEANUP_FREE char *cut = make_seekable(&bytes, bytes.size - 1, 4096, &status, &err);
  unlink(cut);
  assert_int_equal(status, ERR_ARCHIVE_FORMAT);
  CLEANUP_FREE char *empty = make_seekable(&bytes, 0, 4096, &status, &err);
  unlink(empty);
  assert_int_equal(status, ERR_ARCHIVE_FORMAT);
  CLEANUP_CLOSE int full = open("/dev/full", O_WRONLY);
  SeekableWriter *writer = seekable_writer_new(full);
  assert_int_equal(seekable_writer_feed(writer, bytes.data, bytes.size, &err), ERR_DISK_FULL);
  seekable_writer_free(writer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pg_restore),
      cmocka_unit_test(test_same_archive),
      cmocka_unit_test(test_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
