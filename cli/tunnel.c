#include "cli/tunnel.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/tunnel_internal.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum {
  SEND_BYTES = 512 << 10,
  SEND_SECONDS = 30,
  RECEIVE_SECONDS = 45, /* the coordinator holds it for 20 */
  PATIENCE_US = 30 * 1000 * 1000,
  RETRY_MS = 500,
  DRAIN_SECONDS = 5,
  END_SECONDS = 15
};

/* ---- under the lock ---- */

void tunnel_wake(const TunnelClient *client) {
  uint64_t one = 1;
  while (write(client->wake, &one, sizeof one) < 0 && errno == EINTR)
    ;
}

void tunnel_push(TunnelClient *client, uint32_t connection, Pgseal__TunnelFrame__Kind kind, const void *data,
                 size_t size, uint32_t value) {
  Pgseal__TunnelFrame *frame = memory_alloc(sizeof *frame);
  pgseal__tunnel_frame__init(frame);
  frame->sequence = ++client->sequence;
  frame->connection = connection;
  frame->kind = kind;
  frame->value = value;
  if (size)
    frame->data = (ProtobufCBinaryData){size, memory_dup(data, size)};
  ARRAY_PUSH(client->frames, client->frame_count, frame);
  pthread_cond_broadcast(&client->changed);
}

static void drop(TunnelClient *client, uint64_t received) {
  size_t count = 0;
  while (count < client->frame_count && client->frames[count]->sequence <= received)
    pgseal__tunnel_frame__free_unpacked(client->frames[count++], NULL);
  client->frame_count -= count;
  if (count > 0 && client->frame_count > 0)
    memmove(client->frames, client->frames + count, client->frame_count * sizeof *client->frames);
  pthread_cond_broadcast(&client->changed);
}

void tunnel_over(TunnelClient *client, const Error *why) {
  if (!client->over)
    client->why = *why;
  client->over = true;
  tunnel_wake(client);
  pthread_cond_broadcast(&client->changed);
}

static void take_end(TunnelClient *client, const Pgseal__TunnelFrame *frame) {
  char text[TUNNEL_TEXT_LIMIT + 1], clean[TUNNEL_TEXT_LIMIT + 1];
  size_t size = frame->data.len < TUNNEL_TEXT_LIMIT ? frame->data.len : TUNNEL_TEXT_LIMIT;
  Error why;
  if (size)
    memcpy(text, frame->data.data, size);
  text[size] = 0;
  error_set(&why, ERR_CONFLICT, "the copy is not to be had any more%s%s", size ? ": " : "",
            text_clean(text, clean, sizeof clean));
  tunnel_over(client, &why);
}

static void take_reply(TunnelClient *client, const Pgseal__TunnelReply *reply) {
  Error why;
  drop(client, reply->received);
  for (size_t i = 0; i < reply->n_frames; i++) {
    const Pgseal__TunnelFrame *frame = reply->frames[i];
    if (frame->sequence != client->received + 1)
      continue;
    client->received++;
    if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__END) {
      take_end(client, frame);
    } else if (!tunnel_sockets_take(client, frame)) {
      error_set(&why, ERR_PROTOCOL, "the agent's frames are not as they should be");
      tunnel_over(client, &why);
    }
  }
  if (reply->closed) {
    error_set(&why, ERR_CONFLICT, "the rehearsal is over");
    tunnel_over(client, &why);
  }
  tunnel_wake(client);
}

/* ---- requests ---- */

/* Without the lock. */
static Status exchange(TunnelClient *client, Http *http, const Buffer *packed, int seconds, Error *err) {
  CLEANUP(buffer_release) Buffer answer = {0};
  Status status = http_exchange(http, client->path, packed->data, packed->size, seconds, &answer, err);
  if (status != STATUS_OK)
    return status;
  Pgseal__TunnelReply *reply = pgseal__tunnel_reply__unpack(NULL, answer.size, answer.data);
  if (!reply)
    return error_set(err, ERR_PROTOCOL, "the coordinator's answer is no message of a tunnel");
  pthread_mutex_lock(&client->lock);
  take_reply(client, reply);
  pthread_mutex_unlock(&client->lock);
  pgseal__tunnel_reply__free_unpacked(reply, NULL);
  return STATUS_OK;
}

/* Packs what is due, under the lock. */
static void pack(const TunnelClient *client, size_t count, Buffer *out) {
  Pgseal__Tunnel message = PGSEAL__TUNNEL__INIT;
  message.frames = client->frames;
  message.n_frames = count;
  message.received = client->received;
  buffer_clear(out);
  buffer_reserve(out, pgseal__tunnel__get_packed_size(&message) + 1);
  out->size = pgseal__tunnel__pack(&message, out->data);
}

/* What passes by itself is tried again, for a while. False: the tunnel is over. */
static bool go_on(TunnelClient *client, Status status, const Error *err, int64_t *away_since) {
  int64_t now = clock_monotonic_us();
  bool passes = status == ERR_UNAVAILABLE || status == ERR_TOO_MANY;
  if (status == STATUS_OK) {
    *away_since = 0;
    return true;
  }
  *away_since = *away_since ? *away_since : now;
  if (passes && now - *away_since < PATIENCE_US) {
    nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
    return true;
  }
  pthread_mutex_lock(&client->lock);
  tunnel_over(client, err);
  pthread_mutex_unlock(&client->lock);
  return false;
}

static void *run_sending(void *user) {
  TunnelClient *client = user;
  CLEANUP(buffer_release) Buffer packed = {0};
  int64_t away_since = 0;
  for (bool on = true; on;) {
    Error err;
    size_t count = 0, bytes = 0;
    pthread_mutex_lock(&client->lock);
    while (client->frame_count == 0 && !client->over && !atomic_load(&client->stop))
      pthread_cond_wait(&client->changed, &client->lock);
    while (count < client->frame_count && bytes < SEND_BYTES)
      bytes += client->frames[count++]->data.len + 32;
    on = !client->over && !atomic_load(&client->stop);
    pack(client, count, &packed);
    pthread_mutex_unlock(&client->lock);
    if (on)
      on = go_on(client, exchange(client, client->sends, &packed, SEND_SECONDS, &err), &err, &away_since);
  }
  return NULL;
}

static void *run_receiving(void *user) {
  TunnelClient *client = user;
  CLEANUP(buffer_release) Buffer packed = {0};
  int64_t away_since = 0;
  for (bool on = true; on;) {
    Error err;
    pthread_mutex_lock(&client->lock);
    on = !client->over && !atomic_load(&client->stop);
    pack(client, 0, &packed);
    pthread_mutex_unlock(&client->lock);
    if (on)
      on = go_on(client, exchange(client, client->receives, &packed, RECEIVE_SECONDS, &err), &err, &away_since);
  }
  return NULL;
}

/* ---- opening and closing ---- */

Status tunnel_client_listen(const Http *http, const char *path, TunnelClient **out, Error *err) {
  TunnelClient *client = memory_alloc(sizeof *client);
  pthread_condattr_t attributes;
  client->path = memory_strdup(path);
  client->listener = client->wake = -1;
  for (size_t i = 0; i < TUNNEL_CONNECTIONS; i++)
    client->connections[i].fd = -1;
  pthread_mutex_init(&client->lock, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&client->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  Status status = http_clone(http, &client->sends, err);
  if (status == STATUS_OK)
    status = http_clone(http, &client->receives, err);
  if (status == STATUS_OK)
    status = tunnel_sockets_listen(client, err);
  if (status != STATUS_OK) {
    tunnel_client_close(client);
    return status;
  }
  http_watch_flag(client->sends, &client->stop);
  http_watch_flag(client->receives, &client->stop);
  *out = client;
  return STATUS_OK;
}

int tunnel_client_port(const TunnelClient *client) {
  return client->port;
}

/* Signals are the main thread's: one that ends up elsewhere would not wake who waits for the command's end. */
Status tunnel_client_start(TunnelClient *client, Error *err) {
  static void *(*const runs[])(void *) = {tunnel_sockets_run, run_sending, run_receiving};
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  Status status = STATUS_OK;
  for (size_t i = 0; i < ARRAY_SIZE(runs) && status == STATUS_OK; i++) {
    if (pthread_create(&client->threads[i], NULL, runs[i], client) != 0)
      status = error_set(err, ERR_NO_MEMORY, "cannot start a thread");
    else
      client->thread_count++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

static bool idle(const TunnelClient *client) {
  for (size_t i = 0; i < TUNNEL_CONNECTIONS; i++)
    if (client->connections[i].fd >= 0)
      return false;
  return true;
}

static bool sent(const TunnelClient *client) {
  return client->frame_count == 0;
}

/* Under the lock. */
static void wait_until(TunnelClient *client, bool (*done)(const TunnelClient *client), int seconds) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += seconds;
  while (!done(client) && !client->over && pthread_cond_timedwait(&client->changed, &client->lock, &until) != ETIMEDOUT)
    ;
}

Status tunnel_client_finish(TunnelClient *client, int exit_status, Error *err) {
  pthread_mutex_lock(&client->lock);
  client->draining = true;
  tunnel_wake(client);
  wait_until(client, idle, DRAIN_SECONDS);
  bool over = client->over;
  if (over)
    *err = client->why;
  tunnel_push(client, 0, PGSEAL__TUNNEL_FRAME__KIND__END, NULL, 0, (uint32_t)exit_status);
  wait_until(client, sent, END_SECONDS);
  pthread_mutex_unlock(&client->lock);
  return over ? err->status : STATUS_OK;
}

void tunnel_client_close(TunnelClient *client) {
  if (!client)
    return;
  pthread_mutex_lock(&client->lock);
  atomic_store(&client->stop, true);
  if (client->wake >= 0)
    tunnel_wake(client);
  pthread_cond_broadcast(&client->changed);
  pthread_mutex_unlock(&client->lock);
  for (size_t i = 0; i < client->thread_count; i++)
    pthread_join(client->threads[i], NULL);
  drop(client, UINT64_MAX);
  free(client->frames);
  if (client->listener >= 0)
    close(client->listener);
  if (client->wake >= 0)
    close(client->wake);
  http_close(client->sends);
  http_close(client->receives);
  pthread_cond_destroy(&client->changed);
  pthread_mutex_destroy(&client->lock);
  free(client->path);
  free(client);
}
