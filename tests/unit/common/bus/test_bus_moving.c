/* The bus with several coordinators, and clients that are closed while they go from one to another. */
#include "tests/unit/common/bus/bus_fixture.h"

static void count_down(uv_timer_t *timer) {
  --*(size_t *)timer->data;
}

static void let_pass(Fixture *f, int ms) {
  size_t left = 1;
  uv_timer_t timer = {.data = &left};
  uv_timer_init(&f->loop, &timer);
  uv_timer_start(&timer, count_down, (uint64_t)ms, 0);
  while (left)
    uv_run(&f->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Sessions are one coordinator's: all is asked of one, as long as it is there; what was under way is asked of the next.
 */
static void test_one_of_several_at_a_time(void **state) {
  Fixture *f = *state;
  Fixture *second = f->second = memory_alloc(sizeof *second);
  Error err;
  snprintf(second->url, sizeof second->url, "tcp://127.0.0.1:%d", free_port());
  open_server(f, 64);
  assert_int_equal(bus_server_open(&f->loop, second->url, NULL, 64, on_request, second, &second->server, &err),
                   STATUS_OK);
  const char *urls[] = {f->url, second->url};
  assert_int_equal(bus_client_open(&f->loop, urls, 2, NULL, 60000, &f->client, &err), STATUS_OK);
  for (size_t i = 1; i <= 20; i++) {
    ask(f, "x", 10000);
    until(f, &f->answered, i);
    if (i == 10)
      let_pass(f, BUS_PATIENCE_MS + 600);
  }
  assert_true(f->served == 20 && second->served == 0);
  ask(f, "parked", 20000);
  until(f, &f->parked_count, 1);
  close_server(f);
  until(f, &second->parked_count, 1);
  bus_request_reply(second->parked[0], "y", 1);
  until(f, &f->answered, 21);
  open_server(f, 64); /* which does not take it back */
  let_pass(f, BUS_PATIENCE_MS + 600);
  ask(f, "x", 10000);
  until(f, &f->answered, 22);
  assert_true(f->served == 21 && second->served == 2);
  /* One that is there, but does not answer in time, is left. */
  ask(f, "parked", 1000);
  until(f, &f->failed, 1);
  assert_int_equal(f->last_failure, ERR_TIMEOUT);
  ask(f, "x", 10000);
  until(f, &f->answered, 23);
  assert_int_equal(f->served, 22);
}

/* A client that has just gone on to another coordinator, or has been given new certificates, is closed at once. */
static void test_closed_while_moving(void **state) {
  Fixture *f = *state;
  Error err;
  open_server(f, 64);
  for (int i = 0; i < 30; i++) {
    assert_int_equal(bus_client_open(&f->loop, (const char *[]){f->url}, 1, NULL, 60000, &f->client, &err), STATUS_OK);
    if (i % 2) {
      ask(f, "x", 10000);
      until(f, &f->answered, (size_t)i / 2 + 1);
    }
    for (int j = 0; j < 4; j++)
      assert_int_equal(bus_client_admit(f->client, NULL, &err), STATUS_OK);
    close_client(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_closed_while_moving, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_of_several_at_a_time, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
