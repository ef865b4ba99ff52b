#include "common/bus/unproven.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { SWEEP_MS = 5000, PATIENCE_US = 10 * 1000 * 1000 };

typedef struct Remote { /* an IPv4 address is mapped into IPv6 */
  uint8_t address[16];
  uint16_t port; /* network order */
} Remote;

typedef struct Proven {
  Remote remote;
  uint32_t pipe;
} Proven;

typedef struct Waiting {
  Remote remote;
  int64_t since_us;
} Waiting;

struct Unproven {
  nng_socket socket;
  uv_timer_t timer;
  uint16_t port; /* network order */
  pthread_mutex_t lock;
  Proven *proven; /* under the lock: nng's threads add and remove */
  size_t proven_count;
  Waiting *waiting; /* as of the last sweep, in order; the loop's */
  size_t waiting_count;
};

static void map(Remote *out, const void *four) {
  memset(out->address, 0, 10);
  memset(out->address + 10, 0xff, 2);
  memcpy(out->address + 12, four, 4);
}

static bool from_nng(const nng_sockaddr *address, Remote *out) {
  *out = (Remote){0};
  if (address->s_family == NNG_AF_INET) {
    map(out, &address->s_in.sa_addr);
    out->port = address->s_in.sa_port;
  } else if (address->s_family == NNG_AF_INET6) {
    memcpy(out->address, address->s_in6.sa_addr, sizeof out->address);
    out->port = address->s_in6.sa_port;
  }
  return out->port != 0;
}

static bool from_system(const struct sockaddr_storage *address, Remote *out) {
  const struct sockaddr_in *four = (const struct sockaddr_in *)address;
  const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
  *out = (Remote){0};
  if (address->ss_family == AF_INET) {
    map(out, &four->sin_addr);
    out->port = four->sin_port;
  } else if (address->ss_family == AF_INET6) {
    memcpy(out->address, &six->sin6_addr, sizeof out->address);
    out->port = six->sin6_port;
  }
  return out->port != 0;
}

/* On nng's threads. A pipe is there once both sides have shown what they had to. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg) {
  Unproven *unproven = arg;
  nng_sockaddr address;
  Remote remote;
  uint32_t id = (uint32_t)nng_pipe_id(pipe);
  pthread_mutex_lock(&unproven->lock);
  if (event == NNG_PIPE_EV_ADD_PRE) {
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &address) == 0 && from_nng(&address, &remote)) {
      Proven proven = {remote, id};
      ARRAY_PUSH(unproven->proven, unproven->proven_count, proven);
    }
  } else {
    for (size_t i = unproven->proven_count; i-- > 0;)
      if (unproven->proven[i].pipe == id)
        unproven->proven[i] = unproven->proven[--unproven->proven_count];
  }
  pthread_mutex_unlock(&unproven->lock);
}

static int compare(const void *one, const void *two) {
  return memcmp(one, two, sizeof(Remote));
}

/* Of the process's descriptors, those that are connections to our port. Fills *remote. */
static bool is_ours(const Unproven *unproven, int fd, Remote *remote) {
  struct sockaddr_storage address;
  socklen_t size = sizeof address;
  Remote local;
  if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 || !from_system(&address, &local) ||
      local.port != unproven->port)
    return false;
  size = sizeof address;
  return getpeername(fd, (struct sockaddr *)&address, &size) == 0 && from_system(&address, remote);
}

static int64_t waits_since(const Unproven *unproven, const Remote *remote, int64_t now) {
  const Waiting *before = unproven->waiting_count ? bsearch(remote, unproven->waiting, unproven->waiting_count,
                                                            sizeof *unproven->waiting, compare)
                                                  : NULL;
  return before ? before->since_us : now;
}

/* nng closes what has ended. Only its threads open and close connections to this port while the loop is here; should a
 * number have gone to another of them at this moment, that one comes again. */
static size_t sweep(Unproven *unproven, DIR *directory) {
  int64_t now = clock_monotonic_us();
  Waiting *waiting = NULL;
  size_t count = 0, shut = 0;
  pthread_mutex_lock(&unproven->lock);
  size_t proven_count = unproven->proven_count;
  Proven *proven = memory_alloc((proven_count + 1) * sizeof *proven);
  memcpy(proven, unproven->proven, proven_count * sizeof *proven);
  pthread_mutex_unlock(&unproven->lock);
  qsort(proven, proven_count, sizeof *proven, compare);
  for (struct dirent *entry; (entry = readdir(directory));) {
    char *end;
    Waiting one = {0};
    long fd = strtol(entry->d_name, &end, 10);
    if (*end || end == entry->d_name || !is_ours(unproven, (int)fd, &one.remote) ||
        (proven_count && bsearch(&one.remote, proven, proven_count, sizeof *proven, compare)))
      continue;
    one.since_us = waits_since(unproven, &one.remote, now);
    if (now - one.since_us >= PATIENCE_US)
      shut += shutdown((int)fd, SHUT_RDWR) == 0;
    else
      ARRAY_PUSH(waiting, count, one);
  }
  free(proven);
  free(unproven->waiting);
  unproven->waiting = waiting;
  unproven->waiting_count = count;
  if (count)
    qsort(waiting, count, sizeof *waiting, compare);
  return shut;
}

static void on_timer(uv_timer_t *timer) {
  DIR *directory = opendir("/proc/self/fd");
  if (!directory)
    return; /* no descriptor is left for it: next time */
  size_t shut = sweep(timer->data, directory);
  closedir(directory);
  if (shut > 0) {
    char text[24];
    snprintf(text, sizeof text, "%zu", shut);
    log_debug("connections without a handshake are shut", "count", text, NULL);
  }
}

Unproven *unproven_open(uv_loop_t *loop, nng_socket socket, int port) {
  Unproven *unproven = memory_alloc(sizeof *unproven);
  unproven->socket = socket;
  unproven->port = htons((uint16_t)port);
  unproven->proven = memory_alloc(sizeof *unproven->proven);
  pthread_mutex_init(&unproven->lock, NULL);
  nng_pipe_notify(socket, NNG_PIPE_EV_ADD_PRE, on_pipe, unproven);
  nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, unproven);
  uv_timer_init(loop, &unproven->timer);
  unproven->timer.data = unproven;
  uv_timer_start(&unproven->timer, on_timer, SWEEP_MS, SWEEP_MS);
  uv_unref((uv_handle_t *)&unproven->timer);
  return unproven;
}

void unproven_stop(Unproven *unproven) {
  uv_timer_stop(&unproven->timer);
  nng_pipe_notify(unproven->socket, NNG_PIPE_EV_ADD_PRE, NULL, NULL);
  nng_pipe_notify(unproven->socket, NNG_PIPE_EV_REM_POST, NULL, NULL);
}

void unproven_close(Unproven *unproven, uv_close_cb closed, void *data) {
  unproven->timer.data = data;
  uv_close((uv_handle_t *)&unproven->timer, closed);
}

void unproven_free(Unproven *unproven) {
  pthread_mutex_lock(&unproven->lock); /* after whatever nng's threads did last */
  pthread_mutex_unlock(&unproven->lock);
  pthread_mutex_destroy(&unproven->lock);
  free(unproven->proven);
  free(unproven->waiting);
  free(unproven);
}
