/* Each field that a digest is made of counts by itself: the archives differ in that one alone. */
#include "archive_fixture.h"

typedef struct Field { /* a string in the archive: length (a sign byte, four bytes), then its text */
  size_t at;           /* of the sign byte */
  size_t size;         /* of the text */
} Field;

static Field field_at(const Buffer *bytes, size_t at) {
  const uint8_t *length = bytes->data + at + 1;
  uint32_t size = length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 | (uint32_t)length[3] << 24;
  return (Field){at, bytes->data[at] ? 0 : size}; /* negative: no string */
}

static size_t end_of(Field field) {
  return field.at + 5 + field.size;
}

static Buffer with_text(const Buffer *bytes, Field field, const char *text) {
  Buffer out = {0};
  size_t size = strlen(text);
  const uint8_t head[5] = {0, (uint8_t)size, (uint8_t)(size >> 8), 0, 0};
  buffer_append(&out, bytes->data, field.at);
  buffer_append(&out, head, sizeof head);
  buffer_append_text(&out, text);
  buffer_append(&out, bytes->data + end_of(field), bytes->size - end_of(field));
  return out;
}

/* The fields of the entry with this tag and description, in the archive's order. */
enum { TAG, DESC, SECTION, DEFN, DROP, COPY, SCHEMA, TABLESPACE, TABLE_AM, OWNER, FIELDS };

static void fields_of(const Buffer *bytes, const char *tag, int minor, Field fields[FIELDS]) {
  char marked[64];
  int size = snprintf(marked, sizeof marked, "%c%c%c%c%c%s", 0, (int)strlen(tag), 0, 0, 0, tag);
  const uint8_t *found = memmem(bytes->data, bytes->size, marked, (size_t)size);
  assert_non_null(found);
  size_t at = (size_t)(found - bytes->data);
  for (int i = 0; i < FIELDS; i++) {
    if (i == OWNER && minor >= 16)
      at += 5; /* the relation's kind, a number */
    fields[i] = i == SECTION ? (Field){at, 0} : field_at(bytes, at);
    at = end_of(fields[i]);
  }
}

static void differs(const Buffer *a, const Buffer *b, const char *what) {
  CLEANUP(fingerprint_release) Fingerprint x = fingerprint_good(a);
  CLEANUP(fingerprint_release) Fingerprint y = fingerprint_good(b);
  CLEANUP(difference_list_release) DifferenceList list = {0};
  fingerprint_compare(&x, &y, &list);
  if (list.count != 1 || list.items[0].kind != DIFFERENCE_ENTRY_CHANGED || same_digest(&x, &y))
    fail_msg("another %s: %zu differences", what, list.count);
}

static void test_fields(void **state) {
  (void)state;
  static const struct {
    int field;
    const char *name, *text;
  } rows[] = {{DEFN, "definition", "CREATE TABLE x ();\n"},     {DROP, "drop statement", "DROP TABLE x;\n"},
              {COPY, "COPY statement", "COPY x FROM stdin;\n"}, {TABLESPACE, "tablespace", "fast"},
              {TABLE_AM, "access method", "columnar"},          {OWNER, "owner", "somebody else"}};
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(fingerprint_release) Fingerprint whole = fingerprint_good(&bytes);
    Field fields[FIELDS];
    fields_of(&bytes, "tab, (le", whole.format_minor, fields);
    for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
      CLEANUP(buffer_release) Buffer other = with_text(&bytes, fields[rows[r].field], rows[r].text);
      differs(&bytes, &other, rows[r].name);
    }
    CLEANUP(buffer_release) Buffer section = {0};
    buffer_append(&section, bytes.data, bytes.size);
    assert_int_equal(section.data[fields[SECTION].at + 1], ARCHIVE_SECTION_PRE_DATA);
    section.data[fields[SECTION].at + 1] = ARCHIVE_SECTION_POST_DATA;
    differs(&bytes, &section, "section");
    if (whole.format_minor >= 16) {
      section.data[fields[SECTION].at + 1] = ARCHIVE_SECTION_PRE_DATA;
      section.data[end_of(fields[TABLE_AM]) + 1] = 'v';
      differs(&bytes, &section, "kind of relation");
    }
  }
}

/* What ends one field may not begin the next: "fast" + "1" is not "fas" + "t1". */
static void test_boundaries(void **state) {
  (void)state;
  for (size_t i = 0; i < ARCHIVE_COUNT; i++) {
    CLEANUP(buffer_release) Buffer bytes = load(ARCHIVES[i]);
    CLEANUP(fingerprint_release) Fingerprint whole = fingerprint_good(&bytes);
    Field fields[FIELDS];
    fields_of(&bytes, "tab, (le", whole.format_minor, fields);
    CLEANUP(buffer_release) Buffer a = with_text(&bytes, fields[TABLE_AM], "1heap");
    CLEANUP(buffer_release) Buffer a_whole = with_text(&a, fields[TABLESPACE], "fast");
    CLEANUP(buffer_release) Buffer b = with_text(&bytes, fields[TABLE_AM], "t1heap");
    CLEANUP(buffer_release) Buffer b_whole = with_text(&b, fields[TABLESPACE], "fas");
    differs(&a_whole, &b_whole, "boundary between fields");
  }
}

/* The digest of the whole: one field of one object changed in place. */
static void test_whole_digest(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer bytes = load("pg17.dump");
  CLEANUP(fingerprint_release) Fingerprint f = fingerprint_good(&bytes);
  CLEANUP(fingerprint_release) Fingerprint g = fingerprint_good(&bytes);
  assert_true(same_digest(&f, &g));
#define ALTERED(field, change)                                                                                         \
  do {                                                                                                                 \
    g.field change;                                                                                                    \
    assert_false(same_digest(&f, &g));                                                                                 \
    g.field = f.field;                                                                                                 \
    assert_true(same_digest(&f, &g));                                                                                  \
  } while (0)
  ALTERED(entries[0].digest[31], ^= 1);
  ALTERED(entries[0].desc[0], ^= 1);
  size_t e = 0; /* one that is in a schema */
  while (!*f.entries[e].schema)
    e++;
  ALTERED(entries[e].schema[0], ^= 1);
  ALTERED(entries[e].tag[0], ^= 1);
  ALTERED(tables[0].rows, += 1);
  ALTERED(tables[0].bytes, += 1);
  ALTERED(tables[0].digest[31], ^= 1);
  ALTERED(tables[0].schema[0], ^= 1);
  ALTERED(tables[0].name[0], ^= 1);
  ALTERED(tables[0].columns[1], ^= 1);
  ALTERED(blobs[0].oid, += 1);
  ALTERED(blobs[0].bytes, += 1);
  ALTERED(blobs[0].digest[31], ^= 1);
  ALTERED(entry_count, -= 1);
  ALTERED(table_count, -= 1);
  ALTERED(blob_count, -= 1);
#undef ALTERED
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fields),
      cmocka_unit_test(test_boundaries),
      cmocka_unit_test(test_whole_digest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
