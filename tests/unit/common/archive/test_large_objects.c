/* Large objects that PostgreSQL 17 groups in the TOC: however they are grouped, the entries per object are the same. */
#include "archive_fixture.h"

#include "common/archive/large_objects.h"

typedef struct Seen {
  Buffer text;
} Seen;

static void note(void *user, const ArchiveEntry *entry) {
  Seen *seen = user;
  buffer_append_format(&seen->text, "%s|%s|%s|%s\n", entry->desc, entry->tag, entry->owner, entry->defn);
}

static char *split(ArchiveEntry *entries, size_t count) {
  ArchiveToc toc = {.entries = entries, .entry_count = count};
  Seen seen = {0};
  large_objects_split(&toc, note, &seen);
  return buffer_steal_text(&seen.text);
}

static ArchiveEntry metadata(int id, const char *tag, const char *list) {
  return (ArchiveEntry){
      .dump_id = id, .tag = (char *)tag, .desc = (char *)"BLOB METADATA", .owner = (char *)"o", .defn = (char *)list};
}

static ArchiveEntry acl(const char *tag, const char *grants, int *dependency) {
  return (ArchiveEntry){.dump_id = 99,
                        .tag = (char *)tag,
                        .desc = (char *)"ACL",
                        .owner = (char *)"o",
                        .defn = (char *)grants,
                        .dependencies = dependency,
                        .dependency_count = dependency ? 1 : 0};
}

static void test_grouping_does_not_matter(void **state) {
  (void)state;
  int seven = 7, eight = 8;
  ArchiveEntry together[] = {
      metadata(7, "16400..16402", "16400\n16401\n16402\n"),
      acl("LARGE OBJECTS 16400..16402", "GRANT SELECT ON LARGE OBJECT 16400 TO \"LARGE OBJECT 16400\";\n", &seven)};
  ArchiveEntry apart[] = {
      metadata(7, "16400", "16400\n"), metadata(8, "16401..16402", "16401\n16402\n"),
      acl("LARGE OBJECTS 16400", "GRANT SELECT ON LARGE OBJECT 16400 TO \"LARGE OBJECT 16400\";\n", &seven),
      acl("LARGE OBJECTS 16401..16402", "GRANT SELECT ON LARGE OBJECT 16401 TO \"LARGE OBJECT 16400\";\n", &eight)};
  CLEANUP_FREE char *x = split(together, ARRAY_SIZE(together)), *y = split(apart, ARRAY_SIZE(apart));
  assert_string_equal(x, y);
  assert_non_null(strstr(x, "BLOB METADATA|16402|o|16402\n"));
  assert_non_null(strstr(x, "ACL|LARGE OBJECT 16402|o|GRANT SELECT ON LARGE OBJECT 16402 TO \"LARGE OBJECT 16400\";"));
}

/* What is missing, owned by another or granted otherwise is still seen. */
static void test_differences_stay(void **state) {
  (void)state;
  int seven = 7;
  ArchiveEntry source[] = {metadata(7, "1..2", "1\n2\n"),
                           acl("LARGE OBJECTS 1..2", "GRANT SELECT ON LARGE OBJECT 1 TO a;\n", &seven)};
  CLEANUP_FREE char *x = split(source, 2);
  ArchiveEntry fewer[] = {metadata(7, "1", "1\n"),
                          acl("LARGE OBJECTS 1", "GRANT SELECT ON LARGE OBJECT 1 TO a;\n", &seven)};
  CLEANUP_FREE char *y = split(fewer, 2);
  assert_string_not_equal(x, y);
  ArchiveEntry granted[] = {source[0], acl("LARGE OBJECTS 1..2", "GRANT ALL ON LARGE OBJECT 1 TO a;\n", &seven)};
  CLEANUP_FREE char *z = split(granted, 2);
  assert_string_not_equal(x, z);
}

/* Hostile or of a form unknown: passed on as it is. */
static void test_unknown_forms_are_left_alone(void **state) {
  (void)state;
  int nobody = 5, seven = 7;
  static const char *const lists[] = {"", "1", "1\n\n", "x\n", "99999999999\n", "1\n2", "-1\n"};
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
    ArchiveEntry one[] = {metadata(7, "tag", lists[i]), acl("LARGE OBJECTS 1", "GRANT", &seven)};
    CLEANUP_FREE char *text = split(one, 2),
                      *expected = memory_format("BLOB METADATA|tag|o|%s\nACL|LARGE OBJECTS 1|o|GRANT\n", lists[i]);
    assert_string_equal(text, expected);
  }
  ArchiveEntry lost[] = {metadata(7, "1", "1\n"), acl("LARGE OBJECTS 1", "GRANT", &nobody),
                         acl("LARGE OBJECTS 1", "GRANT", NULL), acl("TABLE t", "GRANT", &seven)};
  CLEANUP_FREE char *text = split(lost, 4);
  assert_string_equal(
      text, "BLOB METADATA|1|o|1\n\nACL|LARGE OBJECTS 1|o|GRANT\nACL|LARGE OBJECTS 1|o|GRANT\nACL|TABLE t|o|GRANT\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_grouping_does_not_matter),
      cmocka_unit_test(test_differences_stay),
      cmocka_unit_test(test_unknown_forms_are_left_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
