/* A small archive out of a large one, as the real pg_restore of PostgreSQL 15 reads it from a pipe; and rows alone. */
#include "shop_fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/archive/cut.h"
#include "common/archive/select.h"
#include "common/base/process.h"

static const char PG_RESTORE[] = "/usr/lib/postgresql/15/bin/pg_restore";

typedef struct Memory {
  const Buffer *bytes;
  uint64_t read; /* bytes asked for so far */
} Memory;

static Status read_memory(void *user, uint64_t offset, uint8_t *data, size_t size, Error *err) {
  Memory *memory = user;
  if (offset > memory->bytes->size || size > memory->bytes->size - offset)
    return error_set(err, ERR_SEGMENT_MISSING, "nothing is there");
  memcpy(data, memory->bytes->data + offset, size);
  memory->read += size;
  return STATUS_OK;
}

static Status keep(void *user, const uint8_t *data, size_t size, Error *err) {
  (void)err;
  buffer_append(user, data, size);
  return STATUS_OK;
}

static Status refuse(void *user, const uint8_t *data, size_t size, Error *err) {
  (void)user;
  (void)data;
  (void)size;
  return error_set(err, ERR_DISK_FULL, "full");
}

static ArchiveCut *open_cut(Memory *memory, uint64_t toc_size) {
  ArchiveSource source = {memory, read_memory};
  ArchiveCut *cut = NULL;
  Error err;
  if (archive_cut_open(&source, toc_size, &cut, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return cut;
}

static ArchiveBlock block_of(const Shop *shop, const Fingerprint *f, size_t table) {
  long entry = shop_find(shop, "TABLE DATA", f->tables[table].schema, f->tables[table].name);
  return (ArchiveBlock){entry, f->tables[table].offset, f->tables[table].end_offset};
}

/* Every table's rows are those that the fingerprint counted; nothing else is read. */
static void test_rows(void **state) {
  (void)state;
  static const char *const archives[] = {"pg13-shop.dump", "pg15-shop.dump", "pg17-shop.dump", "pg15.dump"};
  for (size_t i = 0; i < ARRAY_SIZE(archives); i++) {
    CLEANUP(shop_release) Shop shop = shop_load(archives[i]);
    CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&shop.bytes);
    Memory memory = {&shop.bytes, 0};
    ArchiveCut *cut = open_cut(&memory, f.toc_size);
    assert_int_equal(memory.read, f.toc_size);
    for (size_t t = f.table_count; t-- > 0;) { /* in any order */
      CLEANUP(buffer_release) Buffer rows = {0};
      ArchiveSink sink = {&rows, keep};
      ArchiveBlock block = block_of(&shop, &f, t);
      uint64_t before = memory.read;
      Error err;
      if (archive_cut_rows(cut, &block, &sink, &err) != STATUS_OK)
        fail_msg("%s", err.message);
      assert_int_equal(memory.read - before, block.end - block.offset);
      RowDigest *digest = row_digest_new();
      row_digest_feed(digest, rows.data, rows.size);
      int64_t count, bytes;
      uint8_t sum[DIGEST_SIZE];
      assert_int_equal(row_digest_finish(digest, false, &count, &bytes, sum, &err), STATUS_OK);
      row_digest_free(digest);
      assert_int_equal(count, f.tables[t].rows);
      assert_int_equal(bytes, f.tables[t].bytes);
      assert_int_equal(bytes, rows.size);
      assert_memory_equal(sum, f.tables[t].digest, DIGEST_SIZE);
    }
    archive_cut_free(cut);
  }
}

/* What pg_restore makes of an archive on its standard input, of the entries in `list`. */
static char *restored(const Buffer *archive, const char *list) {
  char list_path[] = "/tmp/pgseal-cut-XXXXXX";
  CLEANUP_CLOSE int fd = mkstemp(list_path);
  Error err;
  assert_int_equal(file_write_all(fd, list, strlen(list), &err), STATUS_OK);
  const char *const argv[] = {PG_RESTORE, "-L", list_path, "-f", "-", NULL};
  Process process = {0};
  assert_int_equal(
      process_start(&(ProcessOptions){.argv = argv, .pipe_stdin = true, .pipe_stdout = true}, &process, &err),
      STATUS_OK);
  /* pg_restore writes while it reads: its output is less than a pipe holds */
  assert_int_equal(file_write_all(process.stdin_fd, archive->data, archive->size, &err), STATUS_OK);
  close(process.stdin_fd);
  process.stdin_fd = -1;
  Buffer out = {0};
  for (ssize_t got = 1; got > 0; out.size += got > 0 ? (size_t)got : 0) {
    buffer_reserve(&out, out.size + 65536);
    got = read(process.stdout_fd, out.data + out.size, 65535);
  }
  int code = -1;
  assert_int_equal(process_wait(&process, &code, &err), STATUS_OK);
  if (code != 0)
    fail_msg("pg_restore: %s", buffer_text(&process.errors));
  process_release(&process);
  unlink(list_path);
  /* the lines that hold a random word */
  buffer_text(&out);
  for (char *at = (char *)out.data; (at = strstr(at, "restrict ")) != NULL;)
    for (at += 9; *at && *at != '\n'; at++)
      *at = '-';
  return buffer_steal_text(&out);
}

/* Two of many tables: pg_restore makes the same of the small archive as of the whole. */
static void test_small_archive(void **state) {
  (void)state;
  static const char *const archives[] = {"pg13-shop.dump", "pg15-shop.dump"};
  for (size_t i = 0; i < ARRAY_SIZE(archives); i++) {
    CLEANUP(shop_release) Shop shop = shop_load(archives[i]);
    CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&shop.bytes);
    static const char *const patterns[] = {"payments", "audit.events"};
    CLEANUP(archive_selection_release) ArchiveSelection selection = {0};
    Error err;
    assert_int_equal(archive_select(shop.index, patterns, 2, &selection, &err), STATUS_OK);
    CLEANUP_FREE bool *take = memory_alloc(shop.toc->entry_count);
    for (size_t e = 0; e < shop.toc->entry_count; e++)
      take[e] = selection.classes[e] == ENTRY_CHOSEN;
    CLEANUP_FREE char *list = archive_restore_list(shop.toc, take);
    ArchiveBlock blocks[8];
    size_t count = 0;
    uint64_t size = f.toc_size;
    for (size_t t = f.table_count; t-- > 0;) { /* backwards: the order is the archive's all the same */
      ArchiveBlock block = block_of(&shop, &f, t);
      if (!take[block.entry])
        continue;
      assert_true(count < ARRAY_SIZE(blocks));
      blocks[count++] = block;
      size += block.end - block.offset;
    }
    assert_int_equal(count, 3);
    Memory memory = {&shop.bytes, 0};
    ArchiveCut *cut = open_cut(&memory, f.toc_size);
    CLEANUP(buffer_release) Buffer small = {0};
    ArchiveSink sink = {&small, keep};
    if (archive_cut_write(cut, blocks, count, &sink, &err) != STATUS_OK)
      fail_msg("%s", err.message);
    archive_cut_free(cut);
    assert_int_equal(memory.read, size);
    assert_int_equal(small.size, size);
    assert_true(size < shop.bytes.size);
    CLEANUP_FREE char *of_small = restored(&small, list), *of_whole = restored(&shop.bytes, list);
    assert_string_equal(of_small, of_whole);
    assert_non_null(strstr(of_small, "3\t3\t\\N\n\\.\n"));
  }
}

static Status rows_of(const Shop *shop, const Fingerprint *f, ArchiveBlock block, const ArchiveSink *sink, Error *err) {
  Memory memory = {&shop->bytes, 0};
  ArchiveCut *cut = open_cut(&memory, f->toc_size);
  Status status = archive_cut_rows(cut, &block, sink, err);
  archive_cut_free(cut);
  return status;
}

static size_t table_named(const Fingerprint *f, const char *name) {
  size_t t = 0;
  while (strcmp(f->tables[t].name, name) != 0)
    t++;
  return t;
}

static void test_wrong_places(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump");
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&shop.bytes);
  CLEANUP(buffer_release) Buffer rows = {0};
  ArchiveSink sink = {&rows, keep}, full = {NULL, refuse};
  ArchiveBlock good = block_of(&shop, &f, table_named(&f, "orders")),
               other = block_of(&shop, &f, table_named(&f, "payments"));
  Error err;
  assert_int_equal(rows_of(&shop, &f, good, &sink, &err), STATUS_OK);
  assert_int_equal(rows_of(&shop, &f, good, &full, &err), ERR_DISK_FULL);
  const ArchiveBlock wrong[] = {{good.entry, other.offset, other.end},   {good.entry, good.offset, good.end - 1},
                                {good.entry, good.offset, good.end + 1}, {good.entry, good.offset, good.offset},
                                {good.entry, good.offset + 1, good.end}, {good.entry, 0, good.end},
                                {good.entry, good.offset, other.end}};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    if (rows_of(&shop, &f, wrong[i], &sink, &err) == STATUS_OK)
      fail_msg("wrong place %zu was taken", i);
  assert_int_equal(rows_of(&shop, &f, (ArchiveBlock){good.entry, good.offset, shop.bytes.size + 1}, &sink, &err) != 0,
                   1);
  assert_int_equal(rows_of(&shop, &f, (ArchiveBlock){-1, good.offset, good.end}, &sink, &err), ERR_INTERNAL);
  assert_int_equal(rows_of(&shop, &f,
                           (ArchiveBlock){shop_find(&shop, "TABLE", "public", "orders"), good.offset, good.end}, &sink,
                           &err),
                   ERR_INTERNAL);
}

/* A block whose bytes were changed; a TOC that is longer or shorter than was said. */
static void test_damage(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump");
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&shop.bytes);
  CLEANUP(buffer_release) Buffer rows = {0};
  ArchiveSink sink = {&rows, keep};
  ArchiveBlock block = block_of(&shop, &f, table_named(&f, "payments"));
  Error err;
  uint8_t *end = memmem(shop.bytes.data + block.offset, block.end - block.offset, "\\.\n\n\n", 5);
  assert_non_null(end);
  end[1] = ',';
  assert_int_equal(rows_of(&shop, &f, block, &sink, &err), ERR_ARCHIVE_FORMAT);
  assert_non_null(strstr(err.message, "do not end as COPY data does"));
  end[1] = '.';
  uint8_t *last = memmem(shop.bytes.data + block.offset, block.end - block.offset, "3\t3\t\\N\n", 7);
  assert_non_null(last);
  last[6] = 'x'; /* the terminator is no line of its own */
  assert_int_equal(rows_of(&shop, &f, block, &sink, &err), ERR_ARCHIVE_FORMAT);
  last[6] = '\n';
  assert_int_equal(rows_of(&shop, &f, block, &sink, &err), STATUS_OK);
  static const int off[] = {-1, 1, 20};
  for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
    Memory memory = {&shop.bytes, 0};
    ArchiveSource source = {&memory, read_memory};
    ArchiveCut *cut = NULL;
    assert_int_equal(archive_cut_open(&source, f.toc_size + (uint64_t)off[i], &cut, &err), ERR_ARCHIVE_FORMAT);
    assert_null(cut);
  }
  Memory memory = {&shop.bytes, 0};
  ArchiveSource source = {&memory, read_memory};
  ArchiveCut *cut = NULL;
  assert_int_equal(archive_cut_open(&source, 0, &cut, &err), ERR_ARCHIVE_FORMAT);
  assert_int_equal(archive_cut_open(&source, UINT64_MAX, &cut, &err), ERR_ARCHIVE_FORMAT);
}

/* Large objects go into a small archive, but are no rows. */
static void test_large_objects(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15.dump");
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&shop.bytes);
  uint64_t last = 0;
  for (size_t t = 0; t < f.table_count; t++)
    last = f.tables[t].end_offset > last ? f.tables[t].end_offset : last;
  assert_true(last < shop.bytes.size); /* large objects come last */
  ArchiveBlock block = {shop_find(&shop, "BLOBS", "", "BLOBS"), last, shop.bytes.size};
  CLEANUP(buffer_release) Buffer out = {0};
  ArchiveSink sink = {&out, keep};
  Error err;
  assert_int_equal(rows_of(&shop, &f, block, &sink, &err), ERR_ARCHIVE_FORMAT);
  Memory memory = {&shop.bytes, 0};
  ArchiveCut *cut = open_cut(&memory, f.toc_size);
  buffer_clear(&out);
  assert_int_equal(archive_cut_write(cut, &block, 1, &sink, &err), STATUS_OK);
  archive_cut_free(cut);
  assert_int_equal(out.size, f.toc_size + shop.bytes.size - last);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),   cmocka_unit_test(test_small_archive), cmocka_unit_test(test_wrong_places),
      cmocka_unit_test(test_damage), cmocka_unit_test(test_large_objects),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
