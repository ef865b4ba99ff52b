#include "coordinator/delivery/sender.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/memory.h"

enum {
  CONNECT_SECONDS = 10,
  POLL_MS = 60000,
  ANSWER_LIMIT = 64 << 10,
  RETRY_LIMIT = 3600,
  LAST_US = 3000000,
  LAST_POLL_MS = 100
};

typedef struct Queue {
  Delivery *first, **end;
} Queue;

struct Sender {
  void (*done)(void *user, Delivery *delivery);
  void (*gone)(void *user); /* or NULL */
  void *user;
  uv_async_t async;
  uv_thread_t thread;
  uv_mutex_t mutex;
  CURLM *multi;
  atomic_bool stopping, finished;
  size_t under_way;           /* the loop's */
  struct Transfer *transfers; /* the thread's */
  /* under the mutex: */
  Queue waiting, ended;
};

typedef struct Transfer {
  CURL *curl;
  Delivery *delivery;
  struct Transfer *next;
  struct curl_slist *headers, *to;
  size_t at, received;
} Transfer;

static void queue_add(Queue *queue, Delivery *delivery) {
  delivery->next = NULL;
  *(queue->end ? queue->end : &queue->first) = delivery;
  queue->end = &delivery->next;
}

static Delivery *queue_take(Queue *queue) {
  Delivery *first = queue->first;
  *queue = (Queue){0};
  return first;
}

static void queue_free(Queue *queue) {
  for (Delivery *one = queue_take(queue), *next; one; one = next) {
    next = one->next;
    delivery_free(one);
  }
}

/* ---- one transfer, on the thread ---- */

static size_t on_answer(char *data, size_t size, size_t count, void *user) {
  Transfer *transfer = user;
  Delivery *delivery = transfer->delivery;
  size_t limit = delivery->answer_limit ? delivery->answer_limit : ANSWER_LIMIT;
  transfer->received += size * count;
  if (transfer->received > limit)
    return 0;
  if (delivery->answer_limit) {
    buffer_reserve(&delivery->answer, limit); /* at once: it may be secret, and is wiped */
    buffer_append(&delivery->answer, data, size * count);
  }
  return size * count;
}

static size_t on_mail(char *out, size_t size, size_t count, void *user) {
  Transfer *transfer = user;
  size_t left = transfer->delivery->size - transfer->at, take = size * count < left ? size * count : left;
  memcpy(out, transfer->delivery->body + transfer->at, take);
  transfer->at += take;
  return take;
}

static void transfer_free(Transfer *transfer) {
  curl_slist_free_all(transfer->headers);
  curl_slist_free_all(transfer->to);
  free(transfer);
}

static bool add(struct curl_slist **list, const char *text) {
  struct curl_slist *longer = curl_slist_append(*list, text);
  if (longer)
    *list = longer;
  return longer != NULL;
}

static bool set_mail(CURL *curl, Transfer *transfer) {
  Delivery *delivery = transfer->delivery;
  bool fine = true;
  for (size_t i = 0; i < delivery->receiver.to_count; i++)
    fine = fine && add(&transfer->to, delivery->receiver.to[i]);
  curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(delivery->receiver.unencrypted ? CURLUSESSL_TRY : CURLUSESSL_ALL));
  curl_easy_setopt(curl, CURLOPT_MAIL_FROM, delivery->receiver.from);
  curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, transfer->to);
  curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
  curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_mail);
  curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
  curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)delivery->size);
  if (delivery->user) {
    curl_easy_setopt(curl, CURLOPT_USERNAME, delivery->user);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, delivery->password);
  }
  return fine;
}

static bool set_http(CURL *curl, Transfer *transfer) {
  Delivery *delivery = transfer->delivery;
  bool fine = add(&transfer->headers, "Expect:");
  for (size_t i = 0; i < delivery->header_count; i++)
    fine = fine && add(&transfer->headers, delivery->headers[i]);
  if (delivery->body) {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, delivery->body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)delivery->size);
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
  return fine;
}

static void set_common(CURL *curl, Transfer *transfer) {
  const DeliveryTo *receiver = &transfer->delivery->receiver;
  curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
  curl_easy_setopt(curl, CURLOPT_URL, transfer->delivery->url);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, receiver->mail ? "smtp,smtps" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L); /* whom it trusts is looked at each time */
  curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT,
                   transfer->delivery->seconds
                       ? (long)transfer->delivery->seconds
                       : (long)SENDER_SECONDS + (long)(transfer->delivery->size / SENDER_BYTES_PER_SECOND));
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgseal");
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
  if (receiver->ca_file)
    curl_easy_setopt(curl, CURLOPT_CAINFO, receiver->ca_file);
}

static void ended(Sender *sender, Delivery *delivery) {
  uv_mutex_lock(&sender->mutex);
  queue_add(&sender->ended, delivery);
  uv_mutex_unlock(&sender->mutex);
  uv_async_send(&sender->async);
}

static void begin(Sender *sender, Delivery *delivery) {
  Transfer *transfer = memory_alloc(sizeof *transfer);
  transfer->delivery = delivery;
  CURL *curl = transfer->curl = curl_easy_init();
  bool fine = curl != NULL;
  if (fine) {
    set_common(curl, transfer);
    fine = delivery->receiver.mail ? set_mail(curl, transfer) : set_http(curl, transfer);
  }
  if (fine && curl_multi_add_handle(sender->multi, curl) == CURLM_OK) {
    transfer->next = sender->transfers;
    sender->transfers = transfer;
    return;
  }
  snprintf(delivery->error, sizeof delivery->error, "there is no memory to send it");
  curl_easy_cleanup(curl);
  transfer_free(transfer);
  ended(sender, delivery);
}

/* What curl says for itself, never what it says of the URL or of the answer: a URL may hold a secret. */
static void judge(CURL *curl, CURLcode code, Delivery *delivery) {
  long answer = 0;
  curl_off_t wait = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
  bool mail = delivery->receiver.mail;
  /* the whole answer was 2xx, or as much of it as is read */
  bool read = code == CURLE_OK || (code == CURLE_WRITE_ERROR && !delivery->answer_limit);
  delivery->code = answer;
  delivery->accepted = mail ? code == CURLE_OK : answer >= 200 && answer < 300 && read;
  if (delivery->accepted)
    return;
  if (!mail && curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
    delivery->retry_seconds = wait < RETRY_LIMIT ? (int64_t)wait : RETRY_LIMIT;
  /* 552: too large; what else is permanent by SMTP is mended at the receiver, most often */
  delivery->faulty = mail ? answer == 552 : answer == 400 || answer == 413 || answer == 415 || answer == 422;
  if (mail && answer >= 100)
    snprintf(delivery->error, sizeof delivery->error, "%s (the receiver's last answer was %ld)",
             curl_easy_strerror(code), answer);
  else if (answer >= 100 && code == CURLE_OK)
    snprintf(delivery->error, sizeof delivery->error, "the receiver answered %ld", answer);
  else
    snprintf(delivery->error, sizeof delivery->error, "%s", curl_easy_strerror(code));
}

static void end(Sender *sender, Transfer *transfer) {
  Transfer **link = &sender->transfers;
  while (*link != transfer)
    link = &(*link)->next;
  *link = transfer->next;
  Delivery *delivery = transfer->delivery;
  curl_multi_remove_handle(sender->multi, transfer->curl);
  curl_easy_cleanup(transfer->curl);
  transfer_free(transfer);
  ended(sender, delivery);
}

/* ---- the thread ---- */

static void begin_all(Sender *sender) {
  uv_mutex_lock(&sender->mutex);
  Delivery *list = queue_take(&sender->waiting);
  uv_mutex_unlock(&sender->mutex);
  for (Delivery *next; list; list = next) {
    next = list->next;
    begin(sender, list);
  }
}

static void go_on(Sender *sender, int wait_ms) {
  int running, left;
  curl_multi_perform(sender->multi, &running);
  for (CURLMsg *message; (message = curl_multi_info_read(sender->multi, &left)) != NULL;) {
    Transfer *transfer = NULL;
    if (message->msg != CURLMSG_DONE)
      continue;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    judge(message->easy_handle, message->data.result, transfer->delivery);
    end(sender, transfer);
  }
  if (wait_ms > 0)
    curl_multi_poll(sender->multi, NULL, 0, wait_ms, NULL); /* until something comes, or it is woken */
}

/* What is under way when it ends has a moment to be answered: else it would be sent again. */
static void run(void *argument) {
  Sender *sender = argument;
  while (!atomic_load(&sender->stopping)) {
    begin_all(sender);
    go_on(sender, POLL_MS);
  }
  begin_all(sender);
  for (int64_t until_us = clock_monotonic_us() + LAST_US; sender->transfers && clock_monotonic_us() < until_us;)
    go_on(sender, LAST_POLL_MS);
  go_on(sender, 0);
  while (sender->transfers) {
    snprintf(sender->transfers->delivery->error, DELIVERY_ERROR, "the coordinator stopped before it was answered");
    end(sender, sender->transfers);
  }
  atomic_store(&sender->finished, true);
  uv_async_send(&sender->async);
}

/* ---- the loop ---- */

static void on_closed(uv_handle_t *handle) {
  const Sender *sender = handle->data;
  if (sender->gone)
    sender->gone(sender->user);
}

static void on_ended(uv_async_t *async) {
  Sender *sender = async->data;
  bool finished = atomic_load(&sender->finished); /* asked first: then nothing comes after what is taken now */
  uv_mutex_lock(&sender->mutex);
  Delivery *list = queue_take(&sender->ended);
  uv_mutex_unlock(&sender->mutex);
  for (Delivery *next; list; list = next) {
    next = list->next;
    sender->under_way--;
    sender->done(sender->user, list);
  }
  if (!finished || uv_is_closing((uv_handle_t *)async))
    return;
  uv_thread_join(&sender->thread);
  uv_close((uv_handle_t *)async, on_closed);
}

Status sender_open(uv_loop_t *loop, void (*done)(void *user, Delivery *delivery), void *user, Sender **out,
                   Error *err) {
  Sender *sender = memory_alloc(sizeof *sender);
  *sender = (Sender){.done = done, .user = user};
  curl_global_init(CURL_GLOBAL_DEFAULT);
  sender->multi = curl_multi_init();
  uv_mutex_init(&sender->mutex);
  uv_async_init(loop, &sender->async, on_ended);
  sender->async.data = sender;
  if (sender->multi && uv_thread_create(&sender->thread, run, sender) == 0) {
    *out = sender;
    return STATUS_OK;
  }
  uv_close((uv_handle_t *)&sender->async, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  curl_multi_cleanup(sender->multi);
  uv_mutex_destroy(&sender->mutex);
  free(sender);
  return error_set(err, ERR_INTERNAL, "the thread that sends cannot be started");
}

size_t sender_room(const Sender *sender) {
  return atomic_load(&sender->stopping) ? 0 : SENDER_LIMIT - sender->under_way;
}

void sender_submit(Sender *sender, Delivery *delivery) {
  sender->under_way++;
  uv_mutex_lock(&sender->mutex);
  queue_add(&sender->waiting, delivery);
  uv_mutex_unlock(&sender->mutex);
  curl_multi_wakeup(sender->multi);
}

void sender_when_gone(Sender *sender, void (*gone)(void *user)) {
  sender->gone = gone;
}

void sender_stop(Sender *sender) {
  atomic_store(&sender->stopping, true);
  curl_multi_wakeup(sender->multi);
}

void sender_free(Sender *sender) {
  if (!sender)
    return;
  queue_free(&sender->waiting);
  queue_free(&sender->ended);
  curl_multi_cleanup(sender->multi);
  uv_mutex_destroy(&sender->mutex);
  free(sender);
}
