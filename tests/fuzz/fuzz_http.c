/* The HTTP API as a client's bytes reach it: a real coordinator's API, dispatch and ledger on loopback. Whatever comes,
 * it is answered in HTTP or cut, and the next client is served. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "coordinator/api/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN "fuzzing-admin-token-0123456789"
enum { INPUTS_PER_SERVER = 200, TURNS = 60, ANSWER_LIMIT = 1 << 20 };

static struct {
  char dir[64], ledger_path[96], token_path[96], http[32];
  CoordinatorConfig config;
  ConfigDatabase database;
  Ledger *ledger;
  Dispatch *dispatch;
  uv_loop_t loop;
  Api *api;
  int inputs;
  uint32_t clients;
  char answer[ANSWER_LIMIT];
} it;

static void must(Status status, const Error *err) {
  if (status != STATUS_OK) {
    fprintf(stderr, "%s\n", err->message);
    abort();
  }
}

static void server_start(void) {
  Error err = {0};
  log_init("fuzz", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
  /* in memory: a ledger that waits for a disk at each step makes a slow fuzzer */
  snprintf(it.dir, sizeof it.dir, "%s/pgseal-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (!mkdtemp(it.dir))
    abort();
  snprintf(it.ledger_path, sizeof it.ledger_path, "%s/ledger", it.dir);
  snprintf(it.token_path, sizeof it.token_path, "%s/token", it.dir);
  snprintf(it.http, sizeof it.http, "127.0.0.1:0");
  must(file_write_atomic(it.token_path, 0600, TOKEN, strlen(TOKEN), &err), &err);
  it.database = (ConfigDatabase){"shop", "", "", NULL, 0, 900, 5, 2};
  it.config = (CoordinatorConfig){.path = "coordinator.yaml",
                                  .http = it.http,
                                  .admin_token_file = it.token_path,
                                  .lease_seconds = 30,
                                  .poll_seconds = 10,
                                  .max_attempts = 3,
                                  .agent_wait_seconds = 60,
                                  .databases = &it.database,
                                  .database_count = 1};
  must(ledger_open_sqlite(it.ledger_path, &it.ledger, &err), &err);
  must(dispatch_open(&it.config, it.ledger, &it.dispatch, &err), &err);
  uv_loop_init(&it.loop);
  must(api_open(&it.loop, &it.config, it.dispatch, it.ledger, &it.api, &err), &err);
}

static void server_stop(void) {
  Error err;
  api_close(it.api);
  uv_run(&it.loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&it.loop) != 0)
    abort();
  dispatch_close(it.dispatch);
  ledger_close(it.ledger);
  must(file_remove_tree(it.dir, &err), &err);
  it.api = NULL;
  it.inputs = 0;
}

static void at_exit(void) {
  if (it.api)
    server_stop();
}

/* Thousands of connections a second would use up the ports of one address: each client has an address of its own. Even
 * so the pair of ports may be one that an earlier connection still has: then another address does. */
static int client_open(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)api_port(it.api))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int tries = 0; tries < 1000; tries++) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (it.clients++ & 0xffff));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&own, sizeof own) == 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
      return fd;
    if (errno != EADDRNOTAVAIL && errno != EADDRINUSE && errno != EINTR) { /* EINTR: libFuzzer has an alarm */
      perror("fuzz_http: a client");
      abort();
    }
    close(fd);
  }
  abort();
}

/* Sends, and takes what comes until the server closes or nothing more happens. Returns the size of the answer. */
static size_t exchange(const uint8_t *data, size_t size) {
  int fd = client_open();
  size_t sent = 0, got = 0;
  for (int idle = 0; idle < TURNS;) {
    ssize_t out = sent < size ? send(fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    sent += out > 0 ? (size_t)out : 0;
    uv_run(&it.loop, UV_RUN_NOWAIT);
    ssize_t in = recv(fd, it.answer + got, sizeof it.answer - 1 - got, MSG_DONTWAIT);
    got += in > 0 ? (size_t)in : 0;
    if (in == 0 || (in < 0 && errno != EAGAIN))
      break;
    idle = out > 0 || in > 0 ? 0 : idle + 1;
  }
  close(fd);
  it.answer[got] = '\0';
  return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!it.config.http)
    atexit(at_exit);
  if (!it.api)
    server_start();
  size_t got = exchange(data, size);
  if (got > 0 && strncmp(it.answer, "HTTP/1.", 7) != 0)
    abort();
  static const char alive[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  got = exchange((const uint8_t *)alive, sizeof alive - 1);
  if (!strstr(it.answer, " 200 "))
    abort();
  if (++it.inputs == INPUTS_PER_SERVER)
    server_stop();
  return 0;
}
