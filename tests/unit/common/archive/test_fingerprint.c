#include "archive_fixture.h"

#include <openssl/bn.h>

#include "common/crypto/digest.h"

static const FingerprintTable *table_of(const Fingerprint *f, const char *name) {
  for (size_t i = 0; i < f->table_count; i++)
    if (strcmp(f->tables[i].name, name) == 0)
      return &f->tables[i];
  fail_msg("no table %s", name);
  return NULL;
}

static void check_table(const Fingerprint *f, const char *name, int64_t rows, const char *columns) {
  const FingerprintTable *table = table_of(f, name);
  assert_int_equal(table->rows, rows);
  assert_string_equal(table->columns, columns);
}

static void test_content(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&bytes);
    check_table(&f, "plain", 20, "(id, note)");
    check_table(&f, "tab, (le", 2, "(\"a, b\", \"c\"\")\", \" FROM stdin;\")");
    check_table(&f, "no_columns", 2, "");
    check_table(&f, "empty", 0, "(a, b)");
    check_table(&f, "nulls", 6, "(a, b)");
    check_table(&f, "dots", 7, "(a)");
    check_table(&f, "stray", 2, "(b, c, \"z, \\\"\"(\", a)");
    assert_int_equal(table_of(&f, "no_columns")->bytes, 2);
    assert_int_equal(table_of(&f, "empty")->bytes, 0);
    assert_int_equal(f.archive_size, bytes.size);
    assert_int_equal(f.blob_count, 3);
    uint8_t digest[DIGEST_SIZE];
    sha256("first large object", 18, digest);
    size_t found = 0;
    for (size_t b = 0; b < f.blob_count; b++)
      if (f.blobs[b].oid == 424242) {
        found++;
        assert_int_equal(f.blobs[b].bytes, 18);
        assert_memory_equal(f.blobs[b].digest, digest, DIGEST_SIZE);
      }
    assert_int_equal(found, 1);
    int64_t rows = 0, sum = 0;
    for (size_t t = 0; t < f.table_count; t++) {
      rows += f.tables[t].rows;
      sum += f.tables[t].bytes;
      assert_true(bytes.data[f.tables[t].offset] == 1); /* a data block starts there */
    }
    assert_true(rows == f.rows && sum == f.bytes && rows == 48);
  }
}

static void test_pieces(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(fingerprint_release) Fingerprint whole = fingerprint_good(&bytes);
    for (size_t round = 0; round < 60; round++) {
      CLEANUP(fingerprint_release) Fingerprint parts = {0};
      DifferenceList list = {0};
      Error err;
      assert_int_equal(fingerprint_of(bytes.data, bytes.size, round < 20 ? round + 1 : 0, &parts, &err), STATUS_OK);
      fingerprint_compare(&whole, &parts, &list);
      assert_int_equal(list.count, 0);
      assert_true(same_digest(&whole, &parts));
      for (size_t t = 0; t < whole.table_count; t++)
        assert_true(whole.tables[t].offset == parts.tables[t].offset &&
                    whole.tables[t].end_offset == parts.tables[t].end_offset);
      difference_list_release(&list);
    }
  }
}

static void test_truncation(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  for (size_t size = 0; size < bytes.size; size += 1 + size % 3) {
    Fingerprint f = {0};
    Error err;
    assert_int_equal(fingerprint_of(bytes.data, size, 1000, &f, &err), ERR_ARCHIVE_FORMAT);
  }
}

/* Nothing crashes, and nothing inside the data passes. Flips in the TOC pass if they hit what is left out (OIDs,
 * dump ids, the date, dependencies, offsets). */
static void test_flips(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(fingerprint_release) Fingerprint whole = fingerprint_good(&bytes);
    for (size_t at = 0; at < bytes.size; at++) {
      CLEANUP(fingerprint_release) Fingerprint f = {0};
      Error err;
      uint8_t was = bytes.data[at];
      bytes.data[at] = was ^ (uint8_t)(1 << at % 8);
      Status status = fingerprint_of(bytes.data, bytes.size, SIZE_MAX, &f, &err);
      if (!status && at >= whole.toc_size && same_digest(&whole, &f))
        fail_msg("%s: a flip at byte %zu is not seen", ARCHIVES[i], at);
      bytes.data[at] = was;
    }
  }
}

static void test_json(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    replace(&bytes, "stray", "st\xff\xc3y"); /* the first is the entry's tag: a database in another encoding */
    replace(&bytes, "twin_a", "\\xabcd");    /* looks like the escape itself */
    CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&bytes);
    json_t *json = fingerprint_to_json(&f);
    char *text = json_dumps(json, JSON_COMPACT);
    json_t *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    CLEANUP(fingerprint_release) Fingerprint back = {0};
    DifferenceList list = {0};
    Error err;
    assert_int_equal(fingerprint_from_json(again, &back, &err), STATUS_OK);
    fingerprint_compare(&f, &back, &list);
    assert_int_equal(list.count, 0);
    assert_true(same_digest(&f, &back));
    assert_string_equal(f.database, back.database);
    assert_string_equal(f.server_version, back.server_version);
    assert_true(f.archive_size == back.archive_size && f.toc_size == back.toc_size &&
                f.format_minor == back.format_minor);
    assert_non_null(strstr(text, "\\\\x7374ffc379"));
    json_t *rewritten = fingerprint_to_json(&back);
    assert_true(json_equal(again, rewritten));
    json_decref(json);
    json_decref(again);
    json_decref(rewritten);
    free(text);
  }
}

/* Every field of every object removed, or of another type, is refused. */
static void refuse_without(json_t *root, json_t *object) {
  char *keys[32];
  size_t count = 0;
  for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
    keys[count++] = memory_strdup(json_object_iter_key(at));
  for (size_t k = 0; k < count; k++) {
    CLEANUP_FREE char *key = keys[k];
    json_t *value = json_object_get(object, key);
    json_t *wrong[] = {NULL,
                       json_null(),
                       json_true(),
                       json_array(),
                       json_object(),
                       json_integer(-1),
                       json_real(1.5),
                       json_integer(INT64_MAX),
                       json_string(""),
                       json_string("\\x"),
                       json_string("\\x00"),
                       json_string("\\xzz")};
    json_incref(value);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
      Fingerprint out = {0};
      Error err = {0};
      if (wrong[i])
        json_object_set_new(object, key, wrong[i]);
      else
        json_object_del(object, key);
      bool text = json_is_string(value) && json_is_string(wrong[i]) && i < 10 && !strstr(key, "sha256") &&
                  strcmp(key, "digest") != 0;
      bool number = i == 7 && (strstr("archive_size toc_size offset end_offset", key) ||
                               (strcmp(key, "bytes") == 0 && json_object_get(object, "oid")));
      bool list = json_is_array(value) && i == 3; /* an empty list: then the totals must fit */
      Status status = fingerprint_from_json(root, &out, &err);
      if (status == STATUS_OK)
        fingerprint_release(&out);
      if (status != ERR_MANIFEST_INVALID && !text && !number && !list)
        fail_msg("%s is accepted with %zu", key, i);
    }
    json_object_set_new(object, key, value);
  }
}

static void test_json_hostile(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&bytes);
  json_t *json = fingerprint_to_json(&f);
  refuse_without(json, json);
  refuse_without(json, json_array_get(json_object_get(json, "entries"), 3));
  refuse_without(json, json_array_get(json_object_get(json, "tables"), 0));
  refuse_without(json, json_array_get(json_object_get(json, "large_objects"), 2));
  Fingerprint out = {0};
  Error err;
  assert_int_equal(fingerprint_from_json(json, &out, &err), STATUS_OK);
  fingerprint_release(&out);
  assert_int_equal(fingerprint_from_json(NULL, &out, &err), ERR_MANIFEST_INVALID);
  json_decref(json);
}

static Status digest_of(const char *lines, size_t size, size_t piece, bool terminator, uint8_t out[DIGEST_SIZE],
                        int64_t *rows) {
  RowDigest *digest = row_digest_new();
  int64_t bytes = 0;
  Error err;
  for (size_t at = 0; at < size; at += piece)
    row_digest_feed(digest, lines + at, piece < size - at ? piece : size - at);
  Status status = row_digest_finish(digest, terminator, rows, &bytes, out, &err);
  row_digest_free(digest);
  return status;
}

static void test_rows(void **state) {
  (void)state;
  static const char a[] = "1\tx\n\n\\N\t2\n\\\\.\n\\.x\n\n", b[] = "\n\\\\.\n\n\\.x\n\\N\t2\n1\tx\n";
  uint8_t x[DIGEST_SIZE], y[DIGEST_SIZE];
  int64_t rows = 0;
  assert_int_equal(digest_of(a, sizeof a - 1, SIZE_MAX / 2, false, x, &rows), STATUS_OK);
  assert_int_equal(rows, 6);
  for (size_t piece = 1; piece < 8; piece++) { /* another order, in pieces */
    assert_int_equal(digest_of(b, sizeof b - 1, piece, false, y, &rows), STATUS_OK);
    assert_true(rows == 6 && memcmp(x, y, DIGEST_SIZE) == 0);
  }
  for (size_t piece = 1; piece < 8; piece++) {
    static const char with[] = "1\n\\.\n\n\n", without[] = "1\n";
    assert_int_equal(digest_of(with, 7, piece, true, x, &rows), STATUS_OK);
    assert_int_equal(digest_of(without, 2, piece, false, y, &rows), STATUS_OK);
    assert_true(rows == 1 && memcmp(x, y, DIGEST_SIZE) == 0);
    static const char *const bad[] = {"1\n",        "1",           "1\n\\.\n\n",           "1\n\\.\n\n\nx",
                                      "1\\.\n\n\n", "1\n\\.\nx\n", "1\n\\.\n\n\n\\.\n\n\n"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
      assert_int_equal(digest_of(bad[i], strlen(bad[i]), piece, true, y, &rows), ERR_ARCHIVE_FORMAT);
    assert_int_equal(digest_of(with, 7, piece, false, y, &rows), ERR_ARCHIVE_FORMAT);
    assert_int_equal(digest_of("\\", 1, piece, false, y, &rows), ERR_ARCHIVE_FORMAT);
    assert_int_equal(digest_of("1\n2", 3, piece, false, y, &rows), ERR_ARCHIVE_FORMAT);
  }
}

/* What docs/formats.md says it is, reckoned by other code: the sum modulo 2^256 of every line's SHA-256, little-endian.
 */
static void sum_of(const char *lines, uint8_t out[DIGEST_SIZE]) {
  BIGNUM *sum = BN_new(), *one = BN_new();
  for (const char *at = lines, *end; (end = strchr(at, '\n')); at = end + 1) {
    uint8_t digest[DIGEST_SIZE];
    sha256(at, (size_t)(end - at), digest);
    assert_non_null(BN_lebin2bn(digest, DIGEST_SIZE, one));
    assert_true(BN_add(sum, sum, one));
  }
  assert_true(BN_mask_bits(sum, 8 * DIGEST_SIZE) || BN_num_bits(sum) <= 8 * DIGEST_SIZE);
  assert_int_equal(BN_bn2lebinpad(sum, out, DIGEST_SIZE), DIGEST_SIZE);
  BN_free(sum);
  BN_free(one);
}

static void test_digest_is_the_sum(void **state) {
  (void)state;
  char lines[4096] = "";
  for (int i = 0; i < 200; i++) { /* enough that every carry is there */
    uint8_t expected[DIGEST_SIZE], found[DIGEST_SIZE];
    int64_t rows = 0;
    snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%d\trow %d\n", i, i / 3);
    sum_of(lines, expected);
    assert_int_equal(digest_of(lines, strlen(lines), SIZE_MAX / 2, false, found, &rows), STATUS_OK);
    assert_int_equal(rows, i + 1);
    assert_memory_equal(found, expected, DIGEST_SIZE);
  }
}

/* As many rows, as many bytes; where an exclusive or would see nothing at all. */
static void test_doubled_rows(void **state) {
  (void)state;
  static const char *const same[] = {"a\na\nx\n", "b\nb\nx\n", "c\nc\nx\n"};
  uint8_t digests[3][DIGEST_SIZE];
  int64_t rows = 0;
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(digest_of(same[i], 6, SIZE_MAX / 2, false, digests[i], &rows), STATUS_OK);
  assert_memory_not_equal(digests[0], digests[1], DIGEST_SIZE);
  assert_memory_not_equal(digests[0], digests[2], DIGEST_SIZE);
}

int main(void) {
  srand(2);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_content),      cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_truncation),   cmocka_unit_test(test_flips),
      cmocka_unit_test(test_json),         cmocka_unit_test(test_json_hostile),
      cmocka_unit_test(test_rows),         cmocka_unit_test(test_digest_is_the_sum),
      cmocka_unit_test(test_doubled_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
