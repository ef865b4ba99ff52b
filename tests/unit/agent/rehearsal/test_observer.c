/* What PostgreSQL's messages say about statements, in whatever pieces they come; and any other bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/bridge.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* Appends one message: its type, and texts that are each ended by a zero byte. */
static void message(Buffer *out, char type, const char *body, size_t size) {
  const uint32_t length = (uint32_t)size + 4;
  const uint8_t head[] = {(uint8_t)type, (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                          (uint8_t)length};
  buffer_append(out, head, sizeof head);
  buffer_append(out, body, size);
}
#define MESSAGE(out, type, literal) message(out, type, literal, sizeof(literal) - 1)

typedef struct Watched {
  RehearsalStatements statements;
  Observer *observer;
  size_t piece;
} Watched;

static void watched_open(Watched *watched, size_t piece) {
  *watched = (Watched){.piece = piece};
  rehearsal_statements_init(&watched->statements);
  watched->observer = observer_new(&watched->statements);
}

static void watched_close(Watched *watched) {
  observer_free(watched->observer);
  rehearsal_statements_release(&watched->statements);
}

static void say(Watched *watched, Buffer *bytes, void (*to)(Observer *observer, const uint8_t *data, size_t size)) {
  for (size_t at = 0; at < bytes->size; at += watched->piece)
    to(watched->observer, bytes->data + at, bytes->size - at < watched->piece ? bytes->size - at : watched->piece);
  buffer_release(bytes);
}

#define FAILS(state, text) "SERROR\0VERROR\0C" state "\0M" text "\0Ddetail: 5\0\0"

static void check(size_t piece) {
  Watched watched;
  watched_open(&watched, piece);
  Buffer client = {0}, server = {0};
  MESSAGE(&client, 'Q', "SELECT 'x'; SELECT 2\0");
  MESSAGE(&client, 'P', "one\0UPDATE t SET a = 'x'\0\0\0"); /* a pipeline of three, of which the second fails */
  MESSAGE(&client, 'B', "\0one\0\0\0\0\0\0\0");
  MESSAGE(&client, 'E', "\0\0\0\0\0");
  MESSAGE(&client, 'P', "\0DELETE FROM t\0\0\0");
  MESSAGE(&client, 'B', "p\0\0\0\0\0\0\0\0");
  MESSAGE(&client, 'E', "p\0\0\0\0\0");
  MESSAGE(&client, 'E', "p\0\0\0\0\0");
  MESSAGE(&client, 'S', "");
  say(&watched, &client, observer_client);
  MESSAGE(&server, 'C', "SELECT 1\0");
  MESSAGE(&server, 'C', "SELECT 1\0");
  MESSAGE(&server, 'Z', "I");
  MESSAGE(&server, '1', "");
  MESSAGE(&server, '2', "");
  MESSAGE(&server, 'C', "UPDATE 1\0");
  MESSAGE(&server, 'E', FAILS("22012", "division by zero"));
  MESSAGE(&server, 'Z', "E");
  say(&watched, &server, observer_server);
  assert_int_equal(watched.statements.count, 3);
  assert_int_equal(watched.statements.failed, 1);
  assert_string_equal(watched.statements.failures[0].outline, "DELETE FROM t");
  assert_string_equal(watched.statements.failures[0].sqlstate, "22012");
  assert_string_equal(watched.statements.failures[0].message, "division by zero (SQLSTATE 22012)");
  MESSAGE(&client, 'P', "\0SELEKT 'x'\0\0\0"); /* what cannot be parsed, then a query, and COPY's rows between */
  MESSAGE(&client, 'S', "");
  MESSAGE(&client, 'Q', "COPY t FROM STDIN\0");
  MESSAGE(&client, 'd', "Q\0\0\0\6x\0");
  MESSAGE(&client, 'c', "");
  say(&watched, &client, observer_client);
  MESSAGE(&server, 'E', FAILS("42601", "syntax error at or near \"SELEKT\""));
  MESSAGE(&server, 'Z', "I");
  MESSAGE(&server, 'G', "\0\0\0");
  MESSAGE(&server, 'C', "COPY 1\0");
  MESSAGE(&server, 'Z', "I");
  say(&watched, &server, observer_server);
  assert_int_equal(watched.statements.count, 5);
  assert_int_equal(watched.statements.failed, 2);
  assert_string_equal(watched.statements.failures[1].outline, "SELEKT '...'");
  watched_close(&watched);
}

static void statements_are_told_of(void **state) {
  (void)state;
  check(1);
  check(7);
  check(100000);
}

static void long_ones_are_cut(void **state) {
  (void)state;
  Watched watched;
  watched_open(&watched, 1000);
  Buffer client = {0}, server = {0};
  CLEANUP_FREE char *query = memory_alloc(100001);
  memset(query, 'x', 100000);
  message(&client, 'Q', query, 100001);
  say(&watched, &client, observer_client);
  MESSAGE(&server, 'Z', "I");
  say(&watched, &server, observer_server);
  assert_int_equal(watched.statements.count, 1);
  assert_int_equal(strlen(watched.statements.longest[0].outline), REHEARSAL_OUTLINE_LIMIT);
  watched_close(&watched);
}

/* Whoever has the password can send anything: it is passed over, and harms nothing. */
static void any_bytes_are_taken(void **state) {
  (void)state;
  static const char types[] = "QPBESFdCEIsZ1";
  uint64_t random = 88172645463325252ULL;
  for (int round = 0; round < 300; round++) {
    Watched watched;
    watched_open(&watched, (size_t)(1 + round % 13));
    Buffer bytes[2] = {{0}, {0}};
    for (int i = 0; i < 200; i++) {
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      char body[32];
      for (size_t j = 0; j < sizeof body; j++)
        body[j] = "\0\0ab'\"$C"[(random >> (j % 32)) & 7];
      if (random % 50 != 0)
        message(&bytes[i % 2], types[random % (sizeof types - 1)], body, random % sizeof body);
      else
        buffer_append(&bytes[i % 2], body, sizeof body);
    }
    say(&watched, &bytes[0], observer_client);
    say(&watched, &bytes[1], observer_server);
    watched_close(&watched);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statements_are_told_of),
      cmocka_unit_test(long_ones_are_cut),
      cmocka_unit_test(any_bytes_are_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
