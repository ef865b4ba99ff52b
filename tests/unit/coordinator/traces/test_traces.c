/* Whose trace it is, what the ledger's events come to as spans, and how the protocol has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "coordinator/traces/context.h"
#include "coordinator/traces/otlp.h"
#include "coordinator/traces/settings.h"
#include "coordinator/traces/spans.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
#define SECOND ((int64_t)1000000)

static void test_contexts(void **state) {
  (void)state;
  static const struct {
    const char *header;
    int sampled; /* -1: it is none */
  } cases[] = {{"00-" TRACE "-" SPAN "-01", 1},
               {"00-" TRACE "-" SPAN "-00", 0},
               {"00-" TRACE "-" SPAN "-03", 1},
               {"00-" TRACE "-" SPAN "-01-more", -1}, /* of version 00 that is all */
               {"cc-" TRACE "-" SPAN "-01-more", 1},
               {"cc-" TRACE "-" SPAN "-01.more", -1},
               {"ff-" TRACE "-" SPAN "-01", -1},
               {"00-00000000000000000000000000000000-" SPAN "-01", -1},
               {"00-" TRACE "-0000000000000000-01", -1},
               {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", -1},
               {"00-" TRACE "-" SPAN "-0g", -1},
               {"00-" TRACE "-" SPAN "-1", -1},
               {"00-" TRACE "_" SPAN "-01", -1},
               {"", -1},
               {NULL, -1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    TraceContext context = {.sampled = true};
    bool is = trace_context_read(cases[i].header, &context);
    if (is != (cases[i].sampled >= 0) || (is && context.sampled != (cases[i].sampled == 1)))
      fail_msg("%s", cases[i].header);
    if (is) {
      char again[TRACEPARENT_SIZE];
      TraceContext same;
      trace_context_write(&context, again);
      assert_true(trace_context_read(again, &same));
      assert_memory_equal(&context, &same, sizeof same);
      assert_string_equal(context.trace_id, TRACE);
      assert_string_equal(context.span_id, SPAN);
    }
  }
}

/* ---- spans ---- */

static json_t *detail(const char *text) {
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  return json;
}

static LedgerEvent event(int64_t seconds, const char *kind, const char *job, const char *more) {
  return (LedgerEvent){.time_us = seconds * SECOND,
                       .kind = (char *)kind,
                       .job_id = (char *)job,
                       .agent = (char *)(job ? "box" : NULL),
                       .detail = detail(more)};
}

static void drop(LedgerEvent *events, size_t count, Checkpoint *checkpoint, json_t *spans) {
  for (size_t i = 0; i < count; i++)
    json_decref(events[i].detail);
  json_decref(checkpoint->detail);
  json_decref(spans);
}

static Checkpoint checkpoint_of(const char *more) {
  return (Checkpoint){.id = (char *)"01checkpoint",
                      .database = (char *)"shop",
                      .tag = (char *)"deploy",
                      .requested_by = (char *)"ci",
                      .created_us = 100 * SECOND,
                      .manifest_sha256 = (char *)"m",
                      .rows = 7,
                      .detail = detail(more)};
}

#define LEASED(kind, attempt) "{\"kind\": \"" kind "\", \"attempt\": " attempt ", \"fencing\": " attempt "}"

/* The only span of that name, times in tenths of a second. */
static const json_t *find(const json_t *spans, const char *name, int64_t start, int64_t end) {
  const json_t *found = NULL, *span;
  char from[32], to[32];
  size_t i;
  snprintf(from, sizeof from, "%lld00000000", (long long)start);
  snprintf(to, sizeof to, "%lld00000000", (long long)end);
  json_array_foreach(spans, i, span) {
    if (strcmp(json_string_value(json_object_get(span, "name")), name) != 0 ||
        strcmp(json_string_value(json_object_get(span, "startTimeUnixNano")), from) != 0)
      continue;
    assert_null(found);
    found = span;
    assert_string_equal(json_string_value(json_object_get(span, "endTimeUnixNano")), to);
  }
  if (!found)
    fail_msg("there is no span %s from %s", name, from);
  return found;
}

static const char *attribute(const json_t *span, const char *key) {
  const json_t *item;
  size_t i;
  json_array_foreach(json_object_get(span, "attributes"), i, item) {
    const json_t *value = json_object_get(item, "value");
    if (strcmp(json_string_value(json_object_get(item, "key")), key) == 0)
      return json_string_value(json_object_iter_value(json_object_iter((json_t *)value)));
  }
  return NULL;
}

static const char *text(const json_t *span, const char *key) {
  return json_string_value(json_object_get(span, key));
}

/* An attempt that was lost, one that did it; a drill that went with both. */
static void test_a_retried_checkpoint(void **state) {
  (void)state;
  LedgerEvent events[] = {
      event(100, "checkpoint.requested", NULL, "{}"),
      event(102, "job.leased", "d", LEASED("dump", "1")),
      event(103, "job.leased", "p", LEASED("drill", "2")),
      event(110, "job.requeued", "d",
            "{\"kind\": \"dump\", \"attempt\": 2, \"state\": \"queued\", \"error\": \"agent_lost\"}"),
      event(112, "job.leased", "d", LEASED("dump", "3")),
      event(120, "job.finished", "d", "{\"kind\": \"dump\", \"state\": \"done\"}"),
      event(120, "checkpoint.stored", "d", "{}"),
      event(130, "job.finished", "p", "{\"kind\": \"drill\", \"state\": \"done\"}"),
      event(130, "drill.proven", "p", "{}"),
      event(130, "checkpoint.sealed", NULL, "{}"),
      event(150, "job.leased", "later", LEASED("drill", "4")),
  };
  Checkpoint checkpoint =
      checkpoint_of("{\"traceparent\": \"00-" TRACE "-" SPAN
                    "-01\", \"stages\": {\"dump\": {\"dumping\": 6, \"storing\": 5.5, \"never\": 1}, \"drill\": {}},"
                    " \"stages_begun\": {\"dump\": {\"dumping\": 0.5, \"storing\": 6.5, \"late\": 99}}}");
  const SpanFacts facts = {&checkpoint, events, sizeof events / sizeof *events, "production"};
  json_t *spans = spans_make(&facts, NULL);
  const json_t *root = find(spans, "checkpoint", 1000, 1300), *lost = find(spans, "dump", 1020, 1100),
               *dump = find(spans, "dump", 1120, 1200);
  assert_string_equal(text(root, "traceId"), TRACE);
  assert_string_equal(text(root, "parentSpanId"), SPAN);
  assert_string_equal(attribute(root, "pgseal.checkpoint.state"), "sealed");
  assert_string_equal(attribute(root, "pgseal.environment"), "production");
  assert_string_equal(attribute(root, "pgseal.checkpoint.rows"), "7");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "status"), "code")), 1);
  assert_string_equal(attribute(lost, "error.type"), "agent_lost");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(lost, "status"), "code")), 2);
  assert_null(json_object_get(dump, "status"));
  find(spans, "dump queued", 1000, 1020);
  find(spans, "dump queued", 1100, 1120);
  find(spans, "drill queued", 1000, 1030);
  find(spans, "drill", 1030, 1300);
  assert_string_equal(text(find(spans, "dumping", 1125, 1185), "parentSpanId"), text(dump, "spanId"));
  find(spans, "storing", 1185, 1200); /* it cannot have gone on beyond its attempt */
  assert_int_equal(json_array_size(spans), 9);
  drop(events, facts.event_count, &checkpoint, spans);
}

/* What still runs, or waits, when it is canceled; and that it is the same whoever makes it. */
static void test_a_canceled_checkpoint(void **state) {
  (void)state;
  LedgerEvent events[] = {
      event(100, "checkpoint.requested", NULL, "{}"),
      event(101, "job.leased", "d", LEASED("dump", "1")),
      event(105, "job.finished", "p", "{\"kind\": \"drill\", \"state\": \"canceled\", \"error\": \"canceled\"}"),
      event(105, "drill.canceled", "p", "{}"),
      event(105, "checkpoint.canceled", NULL, "{}"),
      event(109, "job.finished", "d", "{\"kind\": \"dump\", \"state\": \"canceled\"}"),
  };
  Checkpoint checkpoint = checkpoint_of("{\"traceparent\": \"nonsense\"}");
  checkpoint.requested_by = (char *)"@schedule";
  checkpoint.error_code = (char *)"canceled";
  const SpanFacts facts = {&checkpoint, events, sizeof events / sizeof *events, ""};
  json_t *spans = spans_make(&facts, NULL), *again = spans_make(&facts, NULL);
  assert_true(json_equal(spans, again));
  const json_t *root = find(spans, "checkpoint", 1000, 1050);
  char trace_id[TRACE_ID_SIZE];
  trace_id_of(checkpoint.id, trace_id);
  assert_string_equal(text(root, "traceId"), trace_id);
  assert_null(json_object_get(root, "parentSpanId"));
  assert_null(json_object_get(root, "status")); /* it is no failure */
  assert_null(attribute(root, "pgseal.environment"));
  assert_int_equal(json_integer_value(json_object_get(root, "kind")), OTLP_INTERNAL);
  assert_string_equal(attribute(root, "error.type"), "canceled");
  assert_string_equal(attribute(find(spans, "dump", 1010, 1050), "pgseal.job.state"), "running");
  find(spans, "drill queued", 1000, 1050);
  assert_int_equal(json_array_size(spans), 4);
  json_decref(again);
  drop(events, facts.event_count, &checkpoint, spans);
}

static void test_a_later_drill(void **state) {
  (void)state;
  LedgerEvent events[] = {
      event(100, "checkpoint.requested", NULL, "{}"),
      event(130, "job.finished", "p", "{\"kind\": \"drill\", \"state\": \"done\"}"),
      event(130, "drill.proven", "p", "{}"),
      event(130, "checkpoint.sealed", NULL, "{}"),
      event(200, "drill.requested", "later", "{}"),
      event(205, "job.leased", "later", LEASED("drill", "4")),
      event(209, "job.finished", "later", "{\"kind\": \"drill\", \"state\": \"failed\", \"error\": \"difference\"}"),
      event(209, "drill.failed", "later", "{\"error\": \"difference\"}"),
      event(209, "checkpoint.failed", NULL, "{}"),
  };
  Checkpoint checkpoint =
      checkpoint_of("{\"stages\": {\"drill\": {\"restore\": 2}}, \"stages_begun\": {\"drill\": {\"restore\": 1}}}");
  SpanFacts facts = {&checkpoint, events, sizeof events / sizeof *events, ""};
  assert_null(spans_make(&facts, "p")); /* it is part of the checkpoint's own */
  json_t *spans = spans_make(&facts, "later"), *first = spans_make(&facts, NULL);
  const json_t *root = find(spans, "drill of checkpoint", 2000, 2090), *own = find(first, "checkpoint", 1000, 1300);
  const json_t *link = json_array_get(json_object_get(root, "links"), 0);
  assert_string_equal(text(link, "traceId"), text(own, "traceId"));
  assert_string_equal(text(link, "spanId"), text(own, "spanId"));
  assert_string_not_equal(text(root, "traceId"), text(own, "traceId"));
  assert_string_equal(attribute(root, "pgseal.drill.outcome"), "failed");
  assert_string_equal(text(json_object_get(root, "status"), "message"), "difference");
  find(spans, "drill queued", 2000, 2050);
  find(spans, "drill", 2050, 2090);
  find(spans, "restore", 2060, 2080);
  assert_int_equal(json_array_size(spans), 4);
  json_decref(first);
  facts.event_count = 3; /* as if it had not ended yet */
  assert_null(spans_make(&facts, NULL));
  facts.event_count = 6;
  assert_null(spans_make(&facts, "later"));
  json_object_set_new(checkpoint.detail, "traceparent", json_string("00-" TRACE "-" SPAN "-00"));
  facts.event_count = sizeof events / sizeof *events;
  assert_null(spans_make(&facts, NULL)); /* who asked wants none */
  assert_null(spans_make(&facts, "later"));
  drop(events, facts.event_count, &checkpoint, spans);
}

/* ---- the protocol ---- */

static void test_requests(void **state) {
  (void)state;
  const OtlpSpan span = {
      .trace_id = TRACE, .span_id = SPAN, .name = "x", .kind = OTLP_INTERNAL, .start_us = 5, .end_us = 3};
  json_t *spans = json_array(), *one = otlp_span(&span);
  otlp_attribute(one, "text", json_string("a\"b"));
  otlp_attribute(one, "number", json_integer(INT64_MAX));
  otlp_attribute(one, "real", json_real(0.5));
  otlp_attribute(one, "bool", json_true());
  otlp_attribute(one, "nothing", NULL);
  otlp_failed(one, "\xff"); /* is no text */
  json_array_append(spans, one);
  json_array_append_new(spans, json_deep_copy(one));
  char *body = otlp_request(spans, 1, "service", NULL);
  json_t *json = json_loads(body, 0, NULL), *some = NULL;
  assert_int_equal(0, json_unpack(json, "{s:[{s:[{s:o}]}]}", "resourceSpans", "scopeSpans", "spans", &some));
  assert_int_equal(json_array_size(some), 1);
  assert_non_null(strstr(body, "{\"key\":\"number\",\"value\":{\"intValue\":\"9223372036854775807\"}}"));
  assert_non_null(strstr(body, "{\"key\":\"real\",\"value\":{\"doubleValue\":0.5}}"));
  assert_non_null(strstr(body, "{\"key\":\"bool\",\"value\":{\"boolValue\":true}}"));
  assert_non_null(strstr(body, "{\"key\":\"text\",\"value\":{\"stringValue\":\"a\\\"b\"}}"));
  assert_non_null(strstr(body, "\"startTimeUnixNano\":\"5000\",\"endTimeUnixNano\":\"5000\""));
  assert_null(strstr(body, "nothing"));
  free(body);
  json_decref(json);
  json_decref(one);
  json_decref(spans);
}

static void test_answers(void **state) {
  (void)state;
  static const struct {
    const char *text, *why;
    int64_t rejected;
  } cases[] = {{"{}", "", 0},
               {"", "", 0},
               {"<html>", "", 0},
               {"[]", "", 0},
               {"{\"partialSuccess\": {}}", "", 0},
               {"{\"partialSuccess\": {\"rejectedSpans\": \"12\", \"errorMessage\": \"a\\nb\"}}", "a?b", 12},
               {"{\"partialSuccess\": {\"rejectedSpans\": 3}}", "", 3},
               {"{\"partialSuccess\": {\"rejectedSpans\": -3}}", "", 0},
               {"{\"partialSuccess\": {\"rejectedSpans\": [3], \"errorMessage\": 5}}", "", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char why[OTLP_MESSAGE_SIZE] = "?";
    assert_int_equal(otlp_rejected(cases[i].text, strlen(cases[i].text), why), cases[i].rejected);
    assert_string_equal(why, cases[i].why);
  }
}

static void test_headers(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int count; /* -1: refused */
  } cases[] = {{"", 0},
               {"# nothing\n\n", 0},
               {"Authorization: Bearer x\r\nx-scope: y\n", 2},
               {"no colon", -1},
               {": x", -1},
               {"a b: x", -1},
               {"a: x\vy", -1},
               {"Host: elsewhere", -1},
               {"content-TYPE: text/html", -1},
               {"a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8", 8},
               {"a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8\ni: 9", -1}};
  char path[] = "/tmp/pgseal-headers-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  const TraceSettings settings = {.endpoint = "http://127.0.0.1/v1/traces", .headers_file = path};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    TraceHeaders headers = {0};
    Error err = {0};
    assert_int_equal(0, ftruncate(fd, 0));
    assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
    Status status = trace_settings_headers(&settings, &headers, &err);
    if ((status == STATUS_OK) != (cases[i].count >= 0) ||
        (cases[i].count >= 0 && headers.count != (size_t)cases[i].count))
      fail_msg("%s: %s", cases[i].text, err.message);
    assert_true(status == STATUS_OK || headers.count == 0);
    trace_headers_release(&headers);
  }
  TraceHeaders headers = {0};
  Error err = {0};
  assert_int_equal(0, ftruncate(fd, 0)); /* nothing else is wrong with it */
  assert_int_equal(trace_settings_headers(&settings, &headers, &err), STATUS_OK);
  assert_int_equal(0, fchmod(fd, 0640));
  assert_int_equal(trace_settings_headers(&settings, &headers, &err), ERR_CONFIG);
  close(fd);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_contexts),
      cmocka_unit_test(test_a_retried_checkpoint),
      cmocka_unit_test(test_a_canceled_checkpoint),
      cmocka_unit_test(test_a_later_drill),
      cmocka_unit_test(test_requests),
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_headers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
