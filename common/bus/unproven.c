#include "common/bus/unproven.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { SWEEP_MS = 1000, PATIENCE_US = 10 * 1000 * 1000, COMPLAIN_US = 60 * 1000 * 1000 };
enum { OF_ADDRESS = 1024, IN_ALL = 4096, IPV6_PREFIX = 8 };

typedef struct Remote { /* an IPv4 address is mapped into IPv6 */
  uint8_t address[16];
  uint16_t port; /* network order */
} Remote;

typedef struct Proven {
  Remote remote;
  nng_pipe pipe;
  uint64_t number; /* in order of their coming */
} Proven;

typedef struct Waiting {
  Remote remote;
  int64_t since_us;
  int fd; /* at the time of the sweep */
} Waiting;

struct Unproven {
  nng_socket socket;
  uv_timer_t timer;
  uint16_t port; /* network order */
  pthread_mutex_t lock;
  size_t of_address, in_all; /* under the lock, as are: */
  Proven *proven;            /* nng's threads add and remove */
  size_t proven_count;
  uint64_t next_number;
  Waiting *waiting; /* as of the last sweep, in order; the loop's */
  size_t waiting_count;
  int64_t complained_us;
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

/* Of one IPv4 address, or of one IPv6 /64, of which everybody has 2^64 addresses. */
static bool same_origin(const Remote *one, const Remote *two) {
  static const uint8_t four[12] = {[10] = 0xff, [11] = 0xff};
  bool whole = memcmp(one->address, four, sizeof four) == 0 || memcmp(two->address, four, sizeof four) == 0;
  return memcmp(one->address, two->address, whole ? sizeof one->address : IPV6_PREFIX) == 0;
}

/* On nng's threads. A pipe is there once both sides have shown what they had to. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg) {
  Unproven *unproven = arg;
  nng_sockaddr address;
  Remote remote;
  pthread_mutex_lock(&unproven->lock);
  if (event == NNG_PIPE_EV_ADD_PRE) {
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &address) == 0 && from_nng(&address, &remote)) {
      Proven proven = {.remote = remote, .pipe = pipe, .number = unproven->next_number++};
      ARRAY_PUSH(unproven->proven, unproven->proven_count, proven);
    }
  } else {
    for (size_t i = unproven->proven_count; i-- > 0;)
      if (nng_pipe_id(unproven->proven[i].pipe) == nng_pipe_id(pipe))
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

static Waiting *find_waiting(const Unproven *unproven, DIR *directory, const Proven *proven, size_t proven_count,
                             size_t *count) {
  int64_t now = clock_monotonic_us();
  Waiting *waiting = NULL;
  *count = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    char *end;
    Waiting one = {.fd = (int)strtol(entry->d_name, &end, 10)};
    if (*end || end == entry->d_name || !is_ours(unproven, one.fd, &one.remote) ||
        (proven_count && bsearch(&one.remote, proven, proven_count, sizeof *proven, compare)))
      continue;
    one.since_us = waits_since(unproven, &one.remote, now);
    ARRAY_PUSH(waiting, *count, one);
  }
  return waiting;
}

static int newest_first(const Waiting *one, const Waiting *two) {
  return (one->since_us < two->since_us) - (one->since_us > two->since_us);
}

static int by_origin(const void *one, const void *two) {
  int order = memcmp(((const Waiting *)one)->remote.address, ((const Waiting *)two)->remote.address, 16);
  return order ? order : newest_first(one, two);
}

static int by_age(const void *one, const void *two) {
  return newest_first(one, two);
}

/* nng closes what has ended. Only its threads open and close connections to this port while the loop is here; should
 * the number go to another of them at this very moment, that one comes again. */
static void cut(const Unproven *unproven, Waiting *one) {
  Remote now;
  if (is_ours(unproven, one->fd, &now) && compare(&now, &one->remote) == 0)
    shutdown(one->fd, SHUT_RDWR);
  one->fd = -1;
}

/* The oldest of an address that has too many, and then of all. Those that stay come first; how many. */
static size_t cut_surplus(const Unproven *unproven, Waiting *waiting, size_t count, size_t of_address, size_t in_all) {
  size_t left = 0;
  qsort(waiting, count, sizeof *waiting, by_origin);
  for (size_t i = 0, same = 0; i < count; i++) {
    same = i > 0 && same_origin(&waiting[i].remote, &waiting[i - 1].remote) ? same + 1 : 1;
    if (same > of_address)
      cut(unproven, &waiting[i]);
  }
  for (size_t i = 0; i < count; i++)
    if (waiting[i].fd >= 0)
      waiting[left++] = waiting[i];
  if (left <= in_all)
    return left;
  qsort(waiting, left, sizeof *waiting, by_age);
  for (size_t i = in_all; i < left; i++)
    cut(unproven, &waiting[i]);
  return in_all;
}

static size_t cut_late(const Unproven *unproven, Waiting *waiting, size_t count) {
  int64_t now = clock_monotonic_us();
  size_t left = 0;
  for (size_t i = 0; i < count; i++)
    if (now - waiting[i].since_us >= PATIENCE_US)
      cut(unproven, &waiting[i]);
    else
      waiting[left++] = waiting[i];
  return left;
}

static int by_origin_and_number(const void *one, const void *two) {
  const Proven *a = one, *b = two;
  int order = memcmp(a->remote.address, b->remote.address, sizeof a->remote.address);
  return order ? order : (a->number > b->number) - (a->number < b->number);
}

static int by_number(const void *one, const void *two) {
  const Proven *a = one, *b = two;
  return (a->number > b->number) - (a->number < b->number);
}

/* Whoever is at work stays: the newest are closed. Not as they come: each would come again at once, at the price of a
 * handshake, and nng's client may not get over being closed while it connects. */
static void close_surplus(Proven *proven, size_t count, size_t of_address, size_t in_all) {
  size_t left = 0;
  qsort(proven, count, sizeof *proven, by_origin_and_number);
  for (size_t i = 0, same = 0; i < count; i++) {
    same = i > 0 && same_origin(&proven[i].remote, &proven[i - 1].remote) ? same + 1 : 1;
    if (same > of_address)
      nng_pipe_close(proven[i].pipe);
    else
      proven[left++] = proven[i];
  }
  if (left <= in_all)
    return;
  qsort(proven, left, sizeof *proven, by_number);
  for (size_t i = in_all; i < left; i++)
    nng_pipe_close(proven[i].pipe);
}

static void tell(Unproven *unproven, size_t late, size_t surplus) {
  char text[24];
  int64_t now = clock_monotonic_us();
  snprintf(text, sizeof text, "%zu", late + surplus);
  bool often = unproven->complained_us && now - unproven->complained_us < COMPLAIN_US;
  if (surplus && !often) {
    unproven->complained_us = now;
    log_warn("more connections to the agents' port than there may be, without a handshake; the oldest are shut",
             "count", text, NULL);
  } else if (late + surplus > 0) {
    log_debug("connections without a handshake are shut", "count", text, NULL);
  }
}

static void sweep(Unproven *unproven, DIR *directory) {
  pthread_mutex_lock(&unproven->lock);
  size_t proven_count = unproven->proven_count, of_address = unproven->of_address, in_all = unproven->in_all;
  CLEANUP_FREE Proven *proven = memory_alloc((proven_count + 1) * sizeof *proven);
  memcpy(proven, unproven->proven, proven_count * sizeof *proven);
  pthread_mutex_unlock(&unproven->lock);
  qsort(proven, proven_count, sizeof *proven, compare);
  size_t count;
  Waiting *waiting = find_waiting(unproven, directory, proven, proven_count, &count);
  size_t timely = count ? cut_late(unproven, waiting, count) : 0;
  size_t left = timely ? cut_surplus(unproven, waiting, timely, of_address, in_all) : 0;
  if (left)
    qsort(waiting, left, sizeof *waiting, compare);
  free(unproven->waiting);
  unproven->waiting = waiting;
  unproven->waiting_count = left;
  tell(unproven, count - timely, timely - left);
  close_surplus(proven, proven_count, of_address, in_all);
}

static void on_timer(uv_timer_t *timer) {
  DIR *directory = opendir("/proc/self/fd");
  if (!directory)
    return; /* no descriptor is left for it: next time */
  sweep(timer->data, directory);
  closedir(directory);
}

void unproven_limit(Unproven *unproven, size_t of_address, size_t in_all) {
  pthread_mutex_lock(&unproven->lock);
  unproven->of_address = of_address;
  unproven->in_all = in_all;
  pthread_mutex_unlock(&unproven->lock);
}

Unproven *unproven_open(uv_loop_t *loop, nng_socket socket, int port) {
  Unproven *unproven = memory_alloc(sizeof *unproven);
  unproven->socket = socket;
  unproven->port = htons((uint16_t)port);
  unproven->of_address = OF_ADDRESS;
  unproven->in_all = IN_ALL;
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
