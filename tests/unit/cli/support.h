/* For the tests of the commands: a small HTTP server of the test's own, and stdout and stderr as text. */
#ifndef PGSEAL_TESTS_UNIT_CLI_SUPPORT_H
#define PGSEAL_TESTS_UNIT_CLI_SUPPORT_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* request: the whole of it. Returns the body; *status starts as 200; NULL closes the connection unanswered. */
typedef const char *Answer(void *user, const char *request, int *status);

typedef struct Server {
  int fd;
  char url[64];
  pthread_t thread;
  Answer *answer;
  void *user;
} Server;

static inline void server_serve(Server *server, int fd) {
  char request[16384];
  size_t used = 0;
  char *end = NULL;
  for (;;) {
    ssize_t got = read(fd, request + used, sizeof request - 1 - used);
    if (got <= 0)
      return;
    used += (size_t)got;
    request[used] = '\0';
    end = strstr(request, "\r\n\r\n");
    const char *length = end ? strcasestr(request, "content-length:") : NULL;
    if (end && used >= (size_t)(end + 4 - request) + (length ? strtoul(length + 15, NULL, 10) : 0))
      break;
  }
  int status = 200;
  const char *body = server->answer(server->user, request, &status);
  if (body)
    dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body);
}

static inline void *server_run(void *user) {
  Server *server = user;
  int fd;
  while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
    server_serve(server, fd);
    close(fd);
  }
  return NULL;
}

static inline void server_start(Server *server, Answer *answer, void *user) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  *server = (Server){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer, .user = user};
  if (bind(server->fd, (struct sockaddr *)&address, size) != 0 || listen(server->fd, 8) != 0 ||
      getsockname(server->fd, (struct sockaddr *)&address, &size) != 0 ||
      pthread_create(&server->thread, NULL, server_run, server) != 0)
    abort();
  snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
}

static inline void server_stop(Server *server) {
  shutdown(server->fd, SHUT_RDWR);
  pthread_join(server->thread, NULL);
  close(server->fd);
}

typedef struct Run {
  ExitCode code;
  char *out, *err;
} Run;

static inline char *run_slurp(FILE *file) {
  Buffer text = {0};
  char piece[4096];
  size_t got;
  rewind(file);
  while ((got = fread(piece, 1, sizeof piece, file)) > 0)
    buffer_append(&text, piece, got);
  fclose(file);
  return buffer_steal_text(&text);
}

/* Runs the command called by its name with these words, NULL-terminated. */
static inline Run run_command(const char *url, const char *name, const char *const *words) {
  Cli cli = {.url = url};
  for (size_t i = 0; i < cli_command_count; i++)
    if (strcmp(cli_commands[i].name, name) == 0)
      cli.command = &cli_commands[i];
  int argc = 0;
  while (words[argc])
    argc++;
  FILE *out = tmpfile(), *err = tmpfile();
  fflush(NULL);
  int old_out = dup(1), old_err = dup(2);
  dup2(fileno(out), 1);
  dup2(fileno(err), 2);
  Run run = {.code = cli.command->run(&cli, argc, (char **)words)};
  fflush(NULL);
  dup2(old_out, 1);
  dup2(old_err, 2);
  close(old_out);
  close(old_err);
  http_close(cli.http);
  free(cli.token);
  run.out = run_slurp(out);
  run.err = run_slurp(err);
  return run;
}

static inline void run_release(Run *run) {
  free(run->out);
  free(run->err);
}

#define RUN(url, name, ...) run_command(url, name, (const char *const[]){__VA_ARGS__, NULL})

#endif
