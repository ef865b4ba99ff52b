/* Every way in which a restored copy can differ is seen, and named. The copies are made by altering real archives. */
#include "archive_fixture.h"

static DifferenceList compare(const Buffer *a, const Buffer *b) {
  CLEANUP(fingerprint_release) Fingerprint x = fingerprint_good(a);
  CLEANUP(fingerprint_release) Fingerprint y = fingerprint_good(b);
  DifferenceList list = {0};
  fingerprint_compare(&x, &y, &list);
  assert_int_equal(list.count == 0, same_digest(&x, &y));
  for (size_t i = 0; i < list.count; i++)
    if (list.items[i].table != SIZE_MAX) {
      const FingerprintTable *table = &x.tables[list.items[i].table];
      CLEANUP_FREE char *name = memory_format("TABLE DATA %s.%s", table->schema, table->name);
      assert_string_equal(list.items[i].object, name);
    }
  return list;
}

/* Exactly one difference: of this kind, of this object. */
static void expect_one(const Buffer *a, const Buffer *b, DifferenceKind kind, const char *object) {
  CLEANUP(difference_list_release) DifferenceList list = compare(a, b);
  assert_int_equal(list.count, 1);
  assert_string_equal(difference_kind_name(list.items[0].kind), difference_kind_name(kind));
  assert_string_equal(list.items[0].object, object);
  assert_true(*list.items[0].detail != 0);
}

/* Where the length of the chunk that holds byte `at` stands. */
static size_t chunk_of(const Buffer *source, size_t at) {
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(source);
  for (size_t i = 0; i < f.table_count; i++)
    if (f.tables[i].offset < at && at < f.tables[i].end_offset) {
      size_t start = f.tables[i].offset + 6, length; /* behind the block's type and dump id */
      for (;; start += 5 + length) {
        length = source->data[start + 1] | (size_t)source->data[start + 2] << 8;
        if (at < start + 5 + length)
          return start;
      }
    }
  return at - 5; /* a large object of one chunk */
}

/* Puts `to` in the place of `from` in a table's data, and corrects the length of the chunk. */
static Buffer with_data(const Buffer *source, const char *from, const char *to) {
  size_t at = find(source, from), start = chunk_of(source, at);
  size_t length = source->data[start + 1] | (size_t)source->data[start + 2] << 8;
  assert_true(length >= strlen(from));
  size_t now = length - strlen(from) + strlen(to);
  Buffer out = {0};
  buffer_append(&out, source->data, start);
  const uint8_t prefix[5] = {0, (uint8_t)now, (uint8_t)(now >> 8), 0, 0};
  if (now > 0) /* an empty chunk would end the table */
    buffer_append(&out, prefix, 5);
  buffer_append(&out, source->data + start + 5, at - start - 5);
  buffer_append_text(&out, to);
  buffer_append(&out, source->data + at + strlen(from), source->size - at - strlen(from));
  return out;
}

static const char TWIN[] = "101\t102\n";

static void test_equal(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(difference_list_release) DifferenceList list = compare(&bytes, &bytes);
    assert_int_equal(list.count, 0);
  }
}

/* A real restore: equal, but for the table whose columns a restore puts into another order. */
static void test_restored(void **state) {
  (void)state;
  static const char *const restored[] = {"pg15-restored.dump", "pg17-restored.dump"};
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(buffer_release) Buffer again = load(restored[i]);
    CLEANUP(difference_list_release) DifferenceList list = compare(&bytes, &again);
    bool seen = false;
    for (size_t d = 0; d < list.count; d++)
      if (list.items[d].kind == DIFFERENCE_COLUMNS && strcmp(list.items[d].object, "TABLE DATA public.stray") == 0) {
        seen = true;
        difference_list_remove(&list, d--);
      }
    assert_true(seen);
    if (list.count)
      fail_msg("%s: %s %s: %s", restored[i], difference_kind_name(list.items[0].kind), list.items[0].object,
               list.items[0].detail);
  }
}

static void test_rows(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
    DifferenceKind kind;
    const char *table;
  } changes[] = {
      {"103\t104\n", "", DIFFERENCE_ROWS, "TABLE DATA public.twin_a"},                     /* lost */
      {"103\t104\n", "103\t104\n103\t104\n", DIFFERENCE_ROWS, "TABLE DATA public.twin_a"}, /* doubled */
      {"103\t104\n", "103\t104\n103\t104\n103\t104\n", DIFFERENCE_ROWS,
       "TABLE DATA public.twin_a"},                                                  /* an XOR would cancel */
      {"103\t104\n", "103\t105\n", DIFFERENCE_CONTENT, "TABLE DATA public.twin_a"},  /* changed */
      {"103\t104\n", "105\t105\n", DIFFERENCE_CONTENT, "TABLE DATA public.twin_a"},  /* lost, another doubled */
      {"103\t104\n", "103\t104", DIFFERENCE_CONTENT, "TABLE DATA public.twin_a"},    /* two rows run together */
      {"103\t104\n", "104\t103\n", DIFFERENCE_CONTENT, "TABLE DATA public.twin_a"},  /* cells within a row */
      {"103\t104\n", "103\t104 \n", DIFFERENCE_CONTENT, "TABLE DATA public.twin_a"}, /* longer */
      {"103\t104\n", "\n103\t104\n", DIFFERENCE_ROWS, "TABLE DATA public.twin_a"},   /* an empty line more */
      {"20\tnote 20\n", "20\t\\N\n", DIFFERENCE_CONTENT, "TABLE DATA public.plain"}, /* NULL */
      {"\\N\tx\n", "\tx\n", DIFFERENCE_CONTENT, "TABLE DATA public.nulls"},          /* NULL to empty */
      {"\\\\N\ty\n", "\\N\ty\n", DIFFERENCE_CONTENT, "TABLE DATA public.nulls"},     /* text \N to NULL */
  };
  for (size_t i = 0; i < ARRAY_SIZE(changes) * ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i % ARCHIVE_COUNT]);
    size_t c = i / ARCHIVE_COUNT;
    CLEANUP(buffer_release) Buffer other = with_data(&bytes, changes[c].from, changes[c].to);
    if (strcmp(changes[c].to, "103\t104") == 0) { /* the next row follows at once: one row less */
      expect_one(&bytes, &other, DIFFERENCE_ROWS, changes[c].table);
      continue;
    }
    expect_one(&bytes, &other, changes[c].kind, changes[c].table);
    expect_one(&other, &bytes, changes[c].kind, changes[c].table);
  }
}

/* Row order is not part of the content. */
static void test_row_order(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(buffer_release) Buffer first = with_data(&bytes, TWIN, "103\t104\n103\t104\n");
    CLEANUP(buffer_release) Buffer second = with_data(&bytes, TWIN, "105\t105\n");
    CLEANUP(difference_list_release) DifferenceList list = {0};
    /* 1,2 and 3,4 in the other order */
    CLEANUP(buffer_release) Buffer other = load(ARCHIVES[i]);
    size_t one = find(&other, TWIN), three = find(&other, "103\t104\n");
    memcpy(other.data + one, "103\t104\n", 8);
    memcpy(other.data + three, TWIN, 8);
    list = compare(&bytes, &other);
    assert_int_equal(list.count, 0);
    expect_one(&bytes, &first, DIFFERENCE_ROWS, "TABLE DATA public.twin_a");
    expect_one(&bytes, &second, DIFFERENCE_CONTENT, "TABLE DATA public.twin_a");
  }
}

/* Both tables keep their number of rows and the same rows are there in all. */
static void test_swaps(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(buffer_release) Buffer rows = load(ARCHIVES[i]);
    size_t a = find(&rows, TWIN), b = find(&rows, "106\t107\n");
    memcpy(rows.data + a, "106\t107\n", 8);
    memcpy(rows.data + b, TWIN, 8);
    DifferenceList list = compare(&bytes, &rows);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].kind, DIFFERENCE_CONTENT);
    assert_string_equal(list.items[0].object, "TABLE DATA public.twin_a");
    assert_string_equal(list.items[1].object, "TABLE DATA public.twin_b");
    difference_list_release(&list);
    /* cells swapped between rows: (101,102), (103,104) to (101,104), (103,102) */
    CLEANUP(buffer_release) Buffer cells = load(ARCHIVES[i]);
    size_t three = find(&cells, "103\t104\n");
    cells.data[a + 6] = '4';
    cells.data[three + 6] = '2';
    expect_one(&bytes, &cells, DIFFERENCE_CONTENT, "TABLE DATA public.twin_a");
  }
}

static void test_objects(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *object;
  } changes[] = {
      {"SELECT $1 * 2", "SELECT $1 * 3", "FUNCTION public.twice(integer)"},
      {"'public.counter', 8", "'public.counter', 9", "SEQUENCE SET public.counter"},
      {"with a comment", "with_a comment", "COMMENT public.TABLE plain"},
      {"GRANT SELECT ON TABLE public.plain TO auditor", "GRANT UPDATE ON TABLE public.plain TO auditor",
       "ACL public.TABLE plain"},
      {"PRIMARY KEY (id)", "PRIMARY KEY (ie)", "CONSTRAINT public.plain plain_pkey"},
      {"CHECK ((c > 0))", "CHECK ((c < 0))", "TABLE public.child"},
      {"(id > 0)", "(id > 1)", "POLICY public.plain seen"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(changes) * ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i % ARCHIVE_COUNT]);
    CLEANUP(buffer_release) Buffer other = load(ARCHIVES[i % ARCHIVE_COUNT]);
    size_t c = i / ARCHIVE_COUNT;
    replace(&other, changes[c].from, changes[c].to);
    expect_one(&bytes, &other, DIFFERENCE_ENTRY_CHANGED, changes[c].object);
  }
}

/* Differences of whole things, on fingerprints with the thing removed. */
static void test_missing(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg15.dump");
  CLEANUP(fingerprint_release) Fingerprint whole = fingerprint_good(&bytes);
  Fingerprint less = whole; /* shares the strings; not released */
  DifferenceList list = {0};
  less.entry_count--;
  less.table_count--;
  less.blob_count--;
  fingerprint_compare(&whole, &less, &list);
  assert_int_equal(list.count, 3);
  assert_int_equal(list.items[0].kind, DIFFERENCE_TABLE_MISSING);
  assert_int_equal(list.items[1].kind, DIFFERENCE_BLOB_MISSING);
  assert_int_equal(list.items[2].kind, DIFFERENCE_ENTRY_MISSING);
  difference_list_release(&list);
  fingerprint_compare(&less, &whole, &list);
  assert_int_equal(list.count, 3);
  assert_int_equal(list.items[0].kind, DIFFERENCE_TABLE_ADDED);
  assert_int_equal(list.items[1].kind, DIFFERENCE_BLOB_ADDED);
  assert_int_equal(list.items[2].kind, DIFFERENCE_ENTRY_ADDED);
  difference_list_release(&list);
  /* the same entry twice: one more */
  FingerprintEntry *twice = memory_alloc((whole.entry_count + 1) * sizeof *twice);
  memcpy(twice, whole.entries, whole.entry_count * sizeof *twice);
  twice[whole.entry_count] = twice[4];
  Fingerprint more = whole;
  more.entries = twice;
  more.entry_count++;
  fingerprint_compare(&whole, &more, &list);
  assert_int_equal(list.count, 1);
  assert_int_equal(list.items[0].kind, DIFFERENCE_ENTRY_ADDED);
  difference_list_release(&list);
  free(twice);
  /* nothing at all was restored */
  Fingerprint nothing = {0};
  fingerprint_compare(&whole, &nothing, &list);
  assert_int_equal(list.count, whole.entry_count + whole.table_count + whole.blob_count);
  difference_list_release(&list);
}

static void test_blobs(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(buffer_release) Buffer longer = with_data(&bytes, "first large object", "first large object.");
    CLEANUP(buffer_release) Buffer other = with_data(&bytes, "first large object", "First large object");
    expect_one(&bytes, &longer, DIFFERENCE_BLOB_CHANGED, "large object 424242");
    expect_one(&bytes, &other, DIFFERENCE_BLOB_CHANGED, "large object 424242");
  }
}

static void compare_columns(const char *a, const char *b, DifferenceKind kind) {
  FingerprintTable x = {.schema = "s", .name = "t", .columns = (char *)a}, y = x;
  y.columns = (char *)b;
  Fingerprint expected = {.tables = &x, .table_count = 1}, actual = {.tables = &y, .table_count = 1};
  CLEANUP(difference_list_release) DifferenceList list = {0};
  fingerprint_compare(&expected, &actual, &list);
  assert_int_equal(list.count, 1);
  assert_string_equal(difference_kind_name(list.items[0].kind), difference_kind_name(kind));
}

static void test_columns(void **state) {
  (void)state;
  compare_columns("(a, b)", "(b, a)", DIFFERENCE_COLUMNS);
  compare_columns("(a, \"b, c\", d)", "(d, \"b, c\", a)", DIFFERENCE_COLUMNS);
  compare_columns("(\"x\"\")\", b)", "(b, \"x\"\")\")", DIFFERENCE_COLUMNS);
  compare_columns("(a, b)", "(a, c)", DIFFERENCE_CONTENT);
  compare_columns("(a, b)", "(a)", DIFFERENCE_CONTENT);
  compare_columns("(a, a)", "(a, b)", DIFFERENCE_CONTENT);
  compare_columns("(a, \"b, c\")", "(c, \"b, a\")", DIFFERENCE_CONTENT);
  compare_columns("(a, b)", "", DIFFERENCE_CONTENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal),     cmocka_unit_test(test_restored), cmocka_unit_test(test_rows),
      cmocka_unit_test(test_row_order), cmocka_unit_test(test_swaps),    cmocka_unit_test(test_objects),
      cmocka_unit_test(test_missing),   cmocka_unit_test(test_blobs),    cmocka_unit_test(test_columns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
