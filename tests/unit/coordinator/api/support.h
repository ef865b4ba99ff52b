/* The real API on loopback, over a real dispatch and ledger; clients are sockets in the same thread, which also runs
 * the loop. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_API_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_API_SUPPORT_H

#include "tests/unit/coordinator/dispatch/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "coordinator/api/internal.h"

#define ADMIN "admin-token-of-the-test-0123456789"
#define BEARER "Authorization: Bearer " ADMIN "\r\n"
enum { ANSWER_MS = 10000 };

typedef struct Server {
  Fixture *f;
  uv_loop_t loop;
  Api *api;
  Overview *overview;
  Metrics *metrics;
  Alerts *alerts;
  char http[32], token_file[96];
} Server;

typedef struct Client {
  int fd;
  Buffer in;   /* not yet used */
  bool closed; /* by the server */
} Client;

typedef struct Answer {
  int status;
  char *head, *body; /* terminated */
  size_t size;       /* of the body */
  json_t *json;      /* or NULL */
} Answer;

static inline void answer_release(Answer *answer) {
  free(answer->head);
  free(answer->body);
  json_decref(answer->json);
  *answer = (Answer){0};
}
#define ANSWER CLEANUP(answer_release) Answer

static inline void client_close(Client *client) {
  if (client->fd > 0)
    close(client->fd);
  client->fd = 0;
  buffer_release(&client->in);
}
#define CLIENT CLEANUP(client_close) Client

static inline void server_open(Server *s) {
  OK(uv_loop_init(&s->loop));
  OK(api_open(&s->loop, &s->f->config, s->f->dispatch, s->f->ledger, &s->api, &s->f->err));
  assert_in_range(api_port(s->api), 1, 65535);
  s->overview = overview_open(s->f->dispatch, s->f->ledger);
  api_show_overview(s->api, s->overview);
  s->metrics = metrics_open(s->f->dispatch, s->f->ledger, s->overview);
  api_show_metrics(s->api, s->metrics);
  const AlertsParts parts = {&s->loop, &s->f->config, s->f->dispatch, s->f->ledger, s->overview, NULL};
  OK(alerts_open(&parts, &s->alerts, &s->f->err));
  api_show_alerts(s->api, s->alerts);
}

static inline void server_close(Server *s) {
  if (!s->api)
    return;
  api_close(s->api);
  alerts_stop(s->alerts);
  s->api = NULL;
  uv_run(&s->loop, UV_RUN_DEFAULT);
  metrics_close(s->metrics);
  alerts_close(s->alerts);
  overview_close(s->overview);
  assert_int_equal(uv_loop_close(&s->loop), 0);
}

static inline void server_prepare(Server *s) {
  snprintf(s->http, sizeof s->http, "127.0.0.1:0");
  snprintf(s->token_file, sizeof s->token_file, "%s/token", s->f->dir);
  OK(file_write_atomic(s->token_file, 0600, ADMIN "\n", strlen(ADMIN) + 1, &s->f->err));
  s->f->config.http = s->http;
  s->f->config.ledger = s->f->path;
  s->f->config.admin_token_file = s->token_file;
}

static inline int api_setup(void **state) {
  Server *s = memory_alloc(sizeof *s);
  setup((void **)&s->f);
  server_prepare(s);
  server_open(s);
  *state = s;
  return 0;
}

static inline int api_teardown(void **state) {
  Server *s = *state;
  server_close(s);
  void *fixture = s->f;
  teardown(&fixture);
  free(s);
  return 0;
}

/* ---- a client ---- */

static inline Client client_open(const Server *s) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)api_port(s->api))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  assert_true(client.fd > 0);
  assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
  return client;
}

/* One round of the loop; takes what came for the client (or NULL). */
static inline void turn(Server *s, Client *client) {
  uv_run(&s->loop, UV_RUN_NOWAIT);
  if (!client || client->closed)
    return;
  uint8_t piece[65536];
  ssize_t got = recv(client->fd, piece, sizeof piece, MSG_DONTWAIT);
  if (got > 0) {
    buffer_append(&client->in, piece, (size_t)got);
    return;
  }
  client->closed = got == 0 || (errno != EAGAIN && errno != EINTR);
  struct pollfd wait = {client->fd, POLLIN, 0};
  if (!client->closed)
    poll(&wait, 1, 1);
}

/* Rounds enough for everything that is not waiting for something else to happen: so many of them, however busy the
 * machine is, and for so long. */
static inline void settle(Server *s, Client *client) {
  int64_t until = clock_monotonic_us() + 40000;
  for (int turns = 0; turns < 40 || clock_monotonic_us() < until; turns++)
    turn(s, client);
}

/* False if the server closed before all was sent. */
static inline bool client_send(Server *s, Client *client, const void *data, size_t size) {
  int64_t until = clock_monotonic_us() + ANSWER_MS * 1000;
  for (size_t sent = 0; sent < size && !client->closed;) {
    assert_true(clock_monotonic_us() < until);
    ssize_t done = send(client->fd, (const char *)data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0)
      sent += (size_t)done;
    else if (errno != EAGAIN && errno != EINTR)
      return false;
    turn(s, client);
  }
  return !client->closed;
}

static inline const char *header_of(const Answer *answer, const char *name) {
  const char *found = strcasestr(answer->head, name);
  return found ? found + strlen(name) : NULL;
}

/* Takes the next answer off client->in; false if it has not come yet. head_only: to a HEAD. */
static inline bool take_answer(Client *client, bool head_only, Answer *answer) {
  const char *data = (const char *)client->in.data;
  char *end = data ? memmem(data, client->in.size, "\r\n\r\n", 4) : NULL;
  if (!end)
    return false;
  size_t head = (size_t)(end + 4 - data);
  *answer = (Answer){.head = memory_strndup(data, head), .status = (int)strtol(data + 9, NULL, 10)};
  const char *length = header_of(answer, "\r\nContent-Length: ");
  answer->size = length && !head_only ? strtoul(length, NULL, 10) : 0;
  if (client->in.size < head + answer->size) {
    answer_release(answer);
    return false;
  }
  answer->body = memory_strndup(data + head, answer->size);
  answer->json = json_loadb(answer->body, answer->size, JSON_REJECT_DUPLICATES, NULL);
  memmove(client->in.data, client->in.data + head + answer->size, client->in.size - head - answer->size);
  client->in.size -= head + answer->size;
  return true;
}

/* status 0: the server closed without an answer. */
static inline Answer client_answer(Server *s, Client *client, bool head_only) {
  Answer answer = {0};
  int64_t until = clock_monotonic_us() + ANSWER_MS * 1000;
  while (!take_answer(client, head_only, &answer) && !client->closed) {
    assert_true(clock_monotonic_us() < until);
    turn(s, client);
  }
  return answer;
}

/* ---- one request, one connection ---- */

static inline Answer ask_raw(Server *s, const void *data, size_t size) {
  CLIENT client = client_open(s);
  client_send(s, &client, data, size);
  return client_answer(s, &client, size > 5 && memcmp(data, "HEAD ", 5) == 0);
}

/* headers: each with its CRLF. body: NULL for none. */
static inline Answer ask_bytes(Server *s, const char *method, const char *target, const char *headers, const void *body,
                               size_t size) {
  CLEANUP(buffer_release) Buffer out = {0};
  buffer_append_format(&out, "%s ", method);
  buffer_append_text(&out, target);
  buffer_append_text(&out, " HTTP/1.1\r\nHost: x\r\n");
  buffer_append_text(&out, headers);
  if (body)
    buffer_append_format(&out, "Content-Length: %zu\r\n", size);
  buffer_append_text(&out, "\r\n");
  buffer_append(&out, body, size);
  return ask_raw(s, out.data, out.size);
}

static inline Answer ask(Server *s, const char *method, const char *target, const char *body) {
  return ask_bytes(s, method, target, BEARER, body, body ? strlen(body) : 0);
}

static inline const char *text_of(const json_t *json, const char *name) {
  const char *text = json_string_value(json_object_get(json, name));
  return text ? text : "";
}

static inline Answer with_token(Server *s, const char *method, const char *target, const char *token,
                                const char *body) {
  CLEANUP_FREE char *line = memory_format("Authorization: Bearer %s\r\n", token);
  return ask_bytes(s, method, target, line, body, body ? strlen(body) : 0);
}

static inline char *make_token(Server *s, const char *name, const char *role) {
  CLEANUP_FREE char *body = memory_format("{\"name\": \"%s\", \"role\": \"%s\"}", name, role);
  ANSWER made = ask(s, "POST", "/api/v1/tokens", body);
  assert_int_equal(made.status, 201);
  return memory_strdup(text_of(made.json, "token"));
}

/* An error in the one shape there is. */
static inline void expect_refusal(const Answer *answer, int status, const char *code) {
  if (answer->status != status)
    print_error("%d instead of %d: %s\n", answer->status, status, answer->body);
  assert_int_equal(answer->status, status);
  assert_non_null(answer->json);
  const json_t *error = json_object_get(answer->json, "error");
  assert_true(json_is_false(json_object_get(answer->json, "ok")));
  assert_string_equal(text_of(error, "code"), code);
  assert_true(*text_of(error, "message") && *text_of(error, "remedy"));
  assert_null(strstr(answer->body, ADMIN));
}

#define REFUSED(call, status, code)                                                                                    \
  do {                                                                                                                 \
    ANSWER refused = call;                                                                                             \
    expect_refusal(&refused, status, code);                                                                            \
  } while (0)
#define ANSWERED(call, expected)                                                                                       \
  do {                                                                                                                 \
    ANSWER answered = call;                                                                                            \
    assert_int_equal(answered.status, expected);                                                                       \
  } while (0)

/* ---- from elsewhere ---- */

/* From 127.0.0.<last>. */
static inline Client client_from(const Server *s, int last) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)api_port(s->api))}, from = to;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  from.sin_addr.s_addr = htonl(0x7f000000u + (unsigned)last);
  from.sin_port = 0;
  Client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  assert_true(client.fd > 0);
  assert_int_equal(bind(client.fd, (struct sockaddr *)&from, sizeof from), 0);
  assert_int_equal(connect(client.fd, (struct sockaddr *)&to, sizeof to), 0);
  return client;
}

static inline Answer ask_from(Server *s, int last, const char *text) {
  CLIENT client = client_from(s, last);
  client_send(s, &client, text, strlen(text));
  return client_answer(s, &client, false);
}

#endif
