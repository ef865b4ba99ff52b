/* What receivers get, of each kind; and that nothing in it is markup, a mention or a header that is not pgseal's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/alerts/message.h"

static const AlertSettings settings = {.link = "https://pgseal.example.com/"};

static json_t *item(const char *event, const char *severity, const char *summary) {
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", "alert-1", "event", event, "condition",
                   "checkpoint_failed", "subject", "shop", "database", "shop", "severity", severity, "summary", summary,
                   "remedy", "Do <this>.", "since", "2027-01-15T08:00:00.000Z", "at", "2027-01-15T08:00:00.000Z");
}

static LedgerNotification row_of(json_t *alerts) {
  return (LedgerNotification){.id = (char *)"01kb0000000000000000000000",
                              .route = (char *)"ops",
                              .created_us = (int64_t)1800000000 * 1000000,
                              .alerts = alerts};
}

static void json_release(json_t **json) {
  json_decref(*json);
}
#define JSON CLEANUP(json_release) json_t

static json_t *parsed(char *text) {
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  free(text);
  return json;
}

static const char *at(const json_t *json, const char *name) {
  const char *text = json_string_value(json_object_get(json, name));
  assert_non_null(text);
  return text;
}

/* printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef */
static void test_signature(void **state) {
  (void)state;
  char out[SIGNATURE_TEXT];
  message_sign("0123456789abcdef", 1700000000, "{\"a\":1}", 7, out);
  assert_string_equal(out, "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23");
}

static void test_webhook(void **state) {
  (void)state;
  JSON *alerts = json_pack("[o]", item("fired", "critical", "shop: it failed"));
  LedgerNotification row = row_of(alerts);
  JSON *json = parsed(message_webhook(&settings, &row));
  assert_string_equal(at(json, "id"), row.id);
  assert_string_equal(at(json, "created_at"), "2027-01-15T08:00:00.000Z");
  assert_string_equal(at(json, "link"), settings.link);
  assert_true(json_equal(json_object_get(json, "alerts"), alerts));
  CLEANUP_FREE char *once = message_webhook(&settings, &row), *again = message_webhook(&settings, &row);
  assert_string_equal(once, again); /* what is sent again is the same */
}

static void test_slack(void **state) {
  (void)state;
  JSON *alerts = json_pack("[o, o]", item("fired", "critical", "shop: <!channel> @here & <https://evil|x>"),
                           item("resolved", "warning", "wiki: well"));
  LedgerNotification row = row_of(alerts);
  JSON *json = parsed(message_slack(&settings, &row));
  assert_string_equal(at(json, "text"),
                      "*CRITICAL* shop: &lt;!channel&gt; @\xe2\x80\x8bhere &amp; &lt;https://evil|x&gt;\n"
                      "> Do &lt;this&gt;.\n*resolved* wiki: well\nhttps://pgseal.example.com/");
}

static void test_many_are_cut(void **state) {
  (void)state;
  JSON *alerts = json_array();
  for (int i = 0; i < MESSAGE_ALERTS; i++)
    json_array_append_new(alerts, item("fired", "warning", "s"));
  LedgerNotification row = row_of(alerts);
  JSON *slack = parsed(message_slack(&settings, &row));
  assert_non_null(strstr(at(slack, "text"), "... and 30 more: pgseal alert list"));
  CLEANUP_FREE char *subject = message_subject(&row);
  assert_string_equal(subject, "[pgseal] 50 alerts firing");
}

static void test_teams(void **state) {
  (void)state;
  JSON *alerts = json_pack("[o]", item("fired", "critical", "**shop** [x](https://evil)"));
  LedgerNotification row = row_of(alerts);
  CLEANUP_FREE char *text = message_teams(&settings, &row);
  JSON *json = parsed(memory_strdup(text));
  const json_t *attachment = json_array_get(json_object_get(json, "attachments"), 0);
  assert_string_equal(at(attachment, "contentType"), "application/vnd.microsoft.card.adaptive");
  const json_t *body = json_object_get(json_object_get(attachment, "content"), "body"), *block;
  size_t index;
  json_array_foreach(body, index, block) assert_string_equal(at(block, "type"), "RichTextBlock");
  assert_int_equal(json_array_size(body), 3);
  assert_null(strstr(text, "\"TextBlock\"")); /* that one knows markup */
}

static void test_pagerduty(void **state) {
  (void)state;
  JSON *alerts = json_pack("[o]", item("fired", "critical", "shop: it failed"));
  JSON *over = json_pack("[o]", item("resolved", "critical", "shop: it failed"));
  LedgerNotification row = row_of(alerts), after = row_of(over);
  JSON *fired = parsed(message_pagerduty(&settings, &row, "R0UT1NG"));
  JSON *resolved = parsed(message_pagerduty(&settings, &after, "R0UT1NG"));
  assert_string_equal(at(fired, "routing_key"), "R0UT1NG");
  assert_string_equal(at(fired, "event_action"), "trigger");
  assert_string_equal(at(resolved, "event_action"), "resolve");
  assert_string_equal(at(fired, "dedup_key"), "pgseal/checkpoint_failed/alert-1");
  assert_string_equal(at(resolved, "dedup_key"), at(fired, "dedup_key"));
  const json_t *payload = json_object_get(fired, "payload");
  assert_string_equal(at(payload, "severity"), "critical");
  assert_string_equal(at(payload, "source"), "shop");
}

/* Every line is a header of ours, its continuation, or base64. */
static void test_mail(void **state) {
  (void)state;
  const char *to[] = {"dba@example.com", "ops@example.com"};
  const AlertRoute route = {.name = "mail", .kind = ROUTE_EMAIL, .from = "pgseal@example.com", .to = to, .to_count = 2};
  JSON *alerts = json_pack("[o]", item("fired", "critical",
                                       "shop: Gr\xc3\xb6\xc3\x9f"
                                       "e\r\nBcc: x@evil\r\n.\r\n"));
  LedgerNotification row = row_of(alerts);
  CLEANUP_FREE char *mail = message_email(&settings, &route, &row);
  static const char *const headers[] = {"From: pgseal <pgseal@example.com>\r\n",
                                        "To: <dba@example.com>,\r\n <ops@example.com>\r\n",
                                        "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n",
                                        "Message-ID: <01kb0000000000000000000000@example.com>\r\n",
                                        "Subject: =?UTF-8?B?",
                                        "Auto-Submitted: auto-generated\r\n",
                                        "Content-Transfer-Encoding: base64\r\n\r\n"};
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
    assert_non_null(strstr(mail, headers[i]));
  assert_null(strstr(mail, "Bcc"));
  char *body = strstr(mail, "\r\n\r\n") + 4;
  for (char *line = mail; *line; line = strstr(line, "\r\n") + 2)
    assert_true(strcspn(line, "\r\n") <= 78);
  char joined[4096] = "", text[4096];
  for (char *line = body; *line; line = strstr(line, "\r\n") + 2)
    snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%.*s", (int)strcspn(line, "\r"), line);
  int size = EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)joined, (int)strlen(joined));
  assert_true(size > 0);
  text[size] = 0;
  assert_non_null(strstr(text, "fired (critical, checkpoint_failed, since 2027-01-15T08:00:00.000Z)"));
  assert_non_null(strstr(text, "Do <this>."));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_signature),    cmocka_unit_test(test_webhook), cmocka_unit_test(test_slack),
      cmocka_unit_test(test_many_are_cut), cmocka_unit_test(test_teams),   cmocka_unit_test(test_pagerduty),
      cmocka_unit_test(test_mail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
