/* The tables of a checkpoint: all of a large list, in pieces; the same whatever its size. */
#include "tests/unit/coordinator/api/support.h"

#include "coordinator/tables/tables.h"

enum { MANY = 10000 };

static void json_release(json_t **json) {
  json_decref(*json);
}

/* A sealed checkpoint with so many tables; every tenth has one row more than the one before had. */
static void seal(Server *s, const char *id, size_t count, size_t first, int64_t more) {
  Checkpoint c = {.id = (char *)id,
                  .database = (char *)"shop",
                  .tag = (char *)id,
                  .requested_by = (char *)"admin",
                  .state = CHECKPOINT_SEALED,
                  .created_us = 1,
                  .finished_us = 2,
                  .dump_attempt = 1,
                  .manifest_sha256 = (char *)"m",
                  .proof_sha256 = (char *)"p",
                  .tables = (int64_t)count};
  Tables tables = {.items = memory_alloc((count + 1) * sizeof *tables.items), .count = count};
  for (size_t i = 0; i < count; i++)
    tables.items[i] = (Table){memory_strdup("a_schema"), memory_format("table_number_%05zu_of_a_long_name", first + i),
                              (int64_t)(first + i) + ((first + i) % 10 ? 0 : more), (int64_t)(MANY - i)};
  CLEANUP_FREE char *packed = tables_pack(&tables);
  OK(ledger_checkpoint_insert(s->f->ledger, &c, &s->f->err));
  OK(ledger_tables_put(s->f->ledger, id, packed, &s->f->err));
  tables_release(&tables);
}

static void test_all(void **state) {
  Server *s = *state;
  static const char request[] = "GET /api/v1/checkpoints/after/tables?order=name HTTP/1.0\r\nHost: x\r\n"
                                "Authorization: Bearer " ADMIN "\r\n\r\n";
  seal(s, "before", MANY, 0, 0);
  seal(s, "after", MANY, 1, 1);
  /* A client that leaves in the middle of its rounds. */
  Client leaver = client_open(s);
  assert_int_equal(send(leaver.fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
  close(leaver.fd);
  Client client = client_open(s);
  assert_true(client_send(s, &client, request, sizeof request - 1));
  while (!client.closed)
    turn(s, &client);
  /* Not written at once: it has no length. */
  const char *head = (const char *)client.in.data, *body = strstr(head, "\r\n\r\n") + 4;
  assert_memory_equal(head, "HTTP/1.1 200 ", 13);
  assert_null(memmem(head, (size_t)(body - head), "Content-Length", 14));
  CLEANUP(json_release)
  json_t *json = json_loadb(body, client.in.size - (size_t)(body - head), JSON_REJECT_DUPLICATES, NULL);
  client_close(&client);
  const json_t *list = json_object_get(json, "list"), *missing = json_object_get(json, "missing");
  assert_int_equal(json_array_size(list), MANY);
  assert_int_equal(json_array_size(missing), 1);
  for (size_t i = 0; i < MANY; i++) {
    CLEANUP_FREE char *name = memory_format("table_number_%05zu_of_a_long_name", i + 1);
    assert_string_equal(text_of(json_array_get(list, i), "name"), name);
  }
  assert_string_equal(text_of(json_array_get(missing, 0), "change"), "removed");
  assert_int_equal(json_integer_value(json_object_get(json, "listed")), MANY);
  const json_t *changes = json_object_get(json, "changes");
  assert_int_equal(json_integer_value(json_object_get(changes, "added")), 1);
  assert_int_equal(json_integer_value(json_object_get(changes, "removed")), 1);
}

static void test_few(void **state) {
  Server *s = *state;
  seal(s, "none", 0, 0, 0);
  ANSWER none = ask(s, "GET", "/api/v1/checkpoints/none/tables", NULL);
  assert_int_equal(none.status, 200);
  assert_true(json_is_null(json_object_get(none.json, "previous")) &&
              json_is_null(json_object_get(none.json, "changes")));
  assert_int_equal(json_array_size(json_object_get(none.json, "list")), 0);
  assert_int_equal(json_array_size(json_object_get(none.json, "missing")), 0);
  seal(s, "some", 3, 0, 0);
  seal(s, "others", 3, 2, 5);
  ANSWER one = ask(s, "GET", "/api/v1/checkpoints/others/tables?limit=1&order=rows", NULL);
  assert_string_equal(text_of(json_object_get(one.json, "previous"), "id"), "some");
  assert_int_equal(json_array_size(json_object_get(one.json, "list")), 1);
  assert_string_equal(text_of(json_array_get(json_object_get(one.json, "list"), 0), "name"),
                      "table_number_00004_of_a_long_name");
  assert_int_equal(json_array_size(json_object_get(one.json, "missing")), 1);
  assert_non_null(header_of(&one, "\r\nContent-Length: "));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_all, api_setup, api_teardown),
                                     cmocka_unit_test_setup_teardown(test_few, api_setup, api_teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
