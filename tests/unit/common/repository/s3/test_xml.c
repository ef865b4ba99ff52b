/* What S3 answers with: taken apart, or refused, and bounded whatever comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/s3/xml.h"

static bool note(void *user, const char *path, const char *text) {
  buffer_append_format(user, "%s=%s;", path, text);
  return true;
}

static void expect_paths(const char *xml, const char *expected) {
  CLEANUP(buffer_release) Buffer seen = {0};
  assert_true(s3_xml_parse(xml, strlen(xml), note, &seen));
  assert_string_equal(buffer_text(&seen), expected);
}

static void expect_refused(const char *xml) {
  CLEANUP(buffer_release) Buffer seen = {0};
  assert_false(s3_xml_parse(xml, strlen(xml), note, &seen));
}

static void test_paths(void **state) {
  (void)state;
  expect_paths("<a/>", "a=;");
  expect_paths("<?xml version=\"1.0\"?>\n<a x=\"1\"><b>1</b>\n<c><d>&lt;&#65;</d></c></a>", "a/b=1;a/c/d=<A;a/c=;a=;");
  expect_paths("<x:a xmlns:x=\"urn:y\"><x:b>\xc3\xbc</x:b></x:a>", "a/b=\xc3\xbc;a=;");
}

static void test_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "no",
                                    "<a>",
                                    "<a></b>",
                                    "<a/><b/>",
                                    "<a>\xff</a>",
                                    "<a>\x01</a>",
                                    "<!DOCTYPE a><a/>",
                                    "<!DOCTYPE a [<!ENTITY x \"yyyyyyyyyy\"><!ENTITY z \"&x;&x;&x;\">]><a>&z;</a>",
                                    "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
                                    "<a>&x;</a>"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    expect_refused(bad[i]);
}

static void test_bounds(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer deep = {0}, longer = {0}, name = {0};
  for (int i = 0; i < S3_XML_DEPTH + 1; i++)
    buffer_append_text(&deep, "<a>");
  for (int i = 0; i < S3_XML_DEPTH + 1; i++)
    buffer_append_text(&deep, "</a>");
  expect_refused(buffer_text(&deep));
  buffer_append_text(&longer, "<a>");
  for (int i = 0; i < S3_XML_TEXT + 1; i++)
    buffer_append_byte(&longer, 'x');
  buffer_append_text(&longer, "</a>");
  expect_refused(buffer_text(&longer));
  buffer_append_byte(&name, '<');
  for (int i = 0; i < 600; i++)
    buffer_append_byte(&name, 'n');
  buffer_append_text(&name, "/>");
  expect_refused(buffer_text(&name));
}

#define PAGE(inside) "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" inside "</ListBucketResult>"
#define OBJECT(key, size) "<Contents><Key>" key "</Key><ETag>&quot;x&quot;</ETag><Size>" size "</Size></Contents>"

static bool parse(const char *xml, S3Page *page) {
  return s3_page_parse(xml, strlen(xml), page);
}

static void test_page(void **state) {
  (void)state;
  CLEANUP(s3_page_release) S3Page page = {0};
  assert_true(parse(PAGE("<Name>b</Name><IsTruncated>true</IsTruncated>" OBJECT("a/1", "3") OBJECT(
                        "a%2Fb+c%25", "18446744073709551615") "<NextContinuationToken>t=/&amp;</NextContinuationToken>"
                                                              "<EncodingType>url</EncodingType>"),
                    &page));
  assert_int_equal(page.count, 2);
  assert_string_equal(page.items[0].key, "a/1");
  assert_int_equal(page.items[0].size, 3);
  assert_string_equal(page.items[1].key, "a/b c%");
  assert_true(page.items[1].size == UINT64_MAX);
  assert_true(page.truncated);
  assert_string_equal(page.next, "t=/&");
  s3_page_release(&page);
  assert_true(parse(PAGE(OBJECT("a%2Fb", "0")), &page)); /* not said to be escaped */
  assert_string_equal(page.items[0].key, "a%2Fb");
  assert_false(page.truncated);
  assert_null(page.next);
  s3_page_release(&page);
  assert_true(parse(PAGE(""), &page));
  assert_int_equal(page.count, 0);
}

static void test_bad_pages(void **state) {
  (void)state;
  static const char *const bad[] = {
      "<Error><Code>x</Code></Error>",
      PAGE("<Contents><Size>1</Size></Contents>"),
      PAGE("<Contents><Key>a</Key></Contents>"),
      PAGE(OBJECT("a", "")),
      PAGE(OBJECT("a", "-1")),
      PAGE(OBJECT("a", "1x")),
      PAGE(OBJECT("a", "18446744073709551616")),
      PAGE(OBJECT("a%", "1") "<EncodingType>url</EncodingType>"),
      PAGE(OBJECT("a%0g", "1") "<EncodingType>url</EncodingType>"),
      PAGE(OBJECT("a%00", "1") "<EncodingType>url</EncodingType>"),
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    CLEANUP(s3_page_release) S3Page page = {0};
    assert_false(parse(bad[i], &page));
    assert_null(page.items);
  }
  CLEANUP(buffer_release) Buffer many = {0};
  buffer_append_text(&many, "<ListBucketResult>");
  for (int i = 0; i < S3_PAGE_KEYS + 1; i++)
    buffer_append_format(&many, "<Contents><Key>%d</Key><Size>1</Size></Contents>", i);
  buffer_append_text(&many, "</ListBucketResult>");
  CLEANUP(s3_page_release) S3Page page = {0};
  assert_false(parse(buffer_text(&many), &page));
}

#define VERSIONS(inside) "<ListVersionsResult>" inside "</ListVersionsResult>"

static bool parse_versions(const char *xml, S3Page *page) {
  return s3_versions_parse(xml, strlen(xml), page);
}

static void test_versions(void **state) {
  (void)state;
  CLEANUP(s3_page_release) S3Page page = {0};
  assert_true(parse_versions(
      VERSIONS("<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><NextKeyMarker>a%2Fb</NextKeyMarker>"
               "<NextVersionIdMarker>v%2F</NextVersionIdMarker>"
               "<DeleteMarker><Key>a%2F1</Key><VersionId>m1</VersionId></DeleteMarker>"
               "<Version><Key>a%2F1</Key><VersionId>v1</VersionId><Size>7</Size></Version>"
               "<Version><Key>a%2Fb</Key><VersionId>null</VersionId><Size>0</Size></Version>"),
      &page));
  assert_int_equal(page.count, 3);
  assert_true(page.items[0].mark && page.items[0].size == 0);
  assert_string_equal(page.items[0].version, "m1");
  assert_false(page.items[1].mark);
  assert_int_equal(page.items[1].size, 7);
  assert_string_equal(page.items[1].version, "v1");
  assert_string_equal(page.items[2].key, "a/b");
  assert_string_equal(page.next, "a/b");
  assert_string_equal(page.next_version, "v%2F"); /* no key: it comes as it is */
}

static void test_bad_versions(void **state) {
  (void)state;
  static const char *const bad[] = {
      PAGE(""),
      VERSIONS("<Version><Key>a</Key><Size>1</Size></Version>"),
      VERSIONS("<Version><Key>a</Key><VersionId>v</VersionId></Version>"),
      VERSIONS("<Version><VersionId>v</VersionId><Size>1</Size></Version>"),
      VERSIONS("<DeleteMarker><VersionId>v</VersionId></DeleteMarker>"),
      VERSIONS("<DeleteMarker><Key>a</Key></DeleteMarker>"),
      VERSIONS("<EncodingType>url</EncodingType><NextKeyMarker>%</NextKeyMarker>"),
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    CLEANUP(s3_page_release) S3Page page = {0};
    assert_false(parse_versions(bad[i], &page));
    assert_null(page.items);
    assert_null(page.next);
  }
}

static void expect_error(const char *xml, const char *code, const char *message, const char *region) {
  char a[32] = "old", b[32] = "old", c[32] = "";
  s3_error_parse(xml, strlen(xml), a, sizeof a, b, sizeof b, c, sizeof c);
  assert_string_equal(a, code);
  assert_string_equal(b, message);
  assert_string_equal(c, region);
}

static void test_errors(void **state) {
  (void)state;
  expect_error("<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Wait\n\x7f now</Message></Error>",
               "SlowDown", "Wait?? now", "");
  expect_error("<Error><Code>AuthorizationHeaderMalformed</Code><Message/><Region>eu-1</Region></Error>",
               "AuthorizationHeaderMalformed", "", "eu-1");
  expect_error("<ErrorResponse xmlns=\"urn:x\"><Error><Type>Sender</Type><Code>ExpiredTokenException</Code>"
               "</Error></ErrorResponse>",
               "ExpiredTokenException", "", "");
  expect_error("<Error><Code>A</Code><Mess", "A", "", "");
  expect_error("<html><Code>A</Code></html>", "", "", "");
  expect_error("", "", "", "");
  expect_error("<Error><Message>0123456789012345678901234567890123456789</Message></Error>", "",
               "0123456789012345678901234567890", "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_paths),    cmocka_unit_test(test_refused),      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_page),     cmocka_unit_test(test_bad_pages),    cmocka_unit_test(test_errors),
      cmocka_unit_test(test_versions), cmocka_unit_test(test_bad_versions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
