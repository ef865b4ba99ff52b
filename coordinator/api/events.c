/* Server-sent events, and waking those who wait for a checkpoint. Observers of dispatch: they only queue and resume. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { QUEUE_LIMIT = 1 << 20, BLOCK_SIZE = 4096, BACKLOG = 1000 };

void stream_free(Stream *stream) {
  buffer_release(&stream->queue);
  free(stream->checkpoint_id);
  free(stream);
}

static void wake(Stream *stream) {
  if (stream->request)
    request_resume(stream->request);
}

static void push(Stream *stream, const void *data, size_t size) {
  if (stream->ended)
    return; /* it may have left some out: what comes after them would hide that */
  if (stream->queue.size + size > QUEUE_LIMIT)
    stream->cut = true; /* it may come again with Last-Event-ID */
  else
    buffer_append(&stream->queue, data, size);
  wake(stream);
}

static void format_event(Buffer *out, const char *type, int64_t sequence, json_t *json) {
  CLEANUP_FREE char *text = json_dumps(json, JSON_COMPACT);
  if (sequence)
    buffer_append_format(out, "id: %lld\n", (long long)sequence);
  buffer_append_format(out, "event: %s\ndata: ", type);
  buffer_append_text(out, text ? text : "{}");
  buffer_append_text(out, "\n\n");
}

static bool concerns(const Stream *stream, const char *checkpoint_id) {
  return !stream->checkpoint_id || (checkpoint_id && strcmp(stream->checkpoint_id, checkpoint_id) == 0);
}

static void broadcast(Api *api, const char *checkpoint_id, const char *type, int64_t sequence, json_t *json) {
  if (!api->streams)
    return;
  CLEANUP(buffer_release) Buffer text = {0};
  format_event(&text, type, sequence, json);
  for (Stream *stream = api->streams; stream; stream = stream->next)
    if (concerns(stream, checkpoint_id))
      push(stream, text.data, text.size);
}

/* ---- what dispatch tells ---- */

static void on_event(void *user, const LedgerEvent *event) {
  json_t *json = render_event(event);
  broadcast(user, event->checkpoint_id, event->kind, event->sequence, json);
  json_decref(json);
}

static void on_progress(void *user, const char *checkpoint_id, const char *job_id, json_t *progress) {
  json_t *json = json_pack("{s:s, s:s, s:O?}", "checkpoint_id", checkpoint_id, "job_id", job_id, "progress", progress);
  broadcast(user, checkpoint_id, "progress", 0, json);
  json_decref(json);
}

static void on_finished(void *user, const char *checkpoint_id) {
  Api *api = user;
  for (Request *request = api->requests; request; request = request->next)
    if (request->phase == PHASE_WAITING && strcmp(request->waiting_for, checkpoint_id) == 0) {
      request->finished = true;
      request_resume(request);
    }
  for (Stream *stream = api->streams; stream; stream = stream->next)
    if (stream->checkpoint_id && strcmp(stream->checkpoint_id, checkpoint_id) == 0) {
      stream->ended = true;
      wake(stream);
    }
}

void events_observe(Api *api) {
  dispatch_observe(
      api->dispatch,
      &(DispatchObserver){.user = api, .event = on_event, .progress = on_progress, .finished = on_finished});
}

void events_heartbeat(Api *api) {
  static const char comment[] = ": still here\n\n";
  for (Stream *stream = api->streams; stream; stream = stream->next)
    push(stream, comment, sizeof comment - 1);
}

/* ---- one client ---- */

static ssize_t read_stream(void *user, uint64_t position, char *out, size_t size) {
  (void)position;
  Stream *stream = user;
  if (stream->cut)
    return MHD_CONTENT_READER_END_WITH_ERROR;
  if (stream->queue.size == 0 && stream->ended)
    return MHD_CONTENT_READER_END_OF_STREAM;
  if (stream->queue.size == 0) {
    if (stream->request)
      request_suspend(stream->request);
    return 0;
  }
  size_t piece = stream->queue.size < size ? stream->queue.size : size;
  memcpy(out, stream->queue.data, piece);
  memmove(stream->queue.data, stream->queue.data + piece, stream->queue.size - piece);
  stream->queue.size -= piece;
  return (ssize_t)piece;
}

static void close_stream(void *user) {
  Stream *stream = user;
  for (Stream **at = &stream->api->streams; *at; at = &(*at)->next)
    if (*at == stream) {
      *at = stream->next;
      break;
    }
  if (stream->request)
    stream->request->stream = NULL;
  stream_free(stream);
}

/* What came since Last-Event-ID. If that is too much for once, the stream ends after a part of it: the client comes
 * again with a later id. */
static Status add_backlog(Request *request, Stream *stream, Error *err) {
  const char *last = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Last-Event-ID");
  int64_t after = 0;
  if (!last || !*last)
    return STATUS_OK;
  if (!query_digits(last, &after))
    return error_set(err, ERR_INVALID_ARGUMENT, "Last-Event-ID must be the id of an event, a number");
  LedgerEvent *events = NULL;
  size_t count = 0;
  Status status = ledger_event_list(request->api->ledger, after, BACKLOG, stream->checkpoint_id, &events, &count, err);
  if (status)
    return status;
  stream->ended |= count == BACKLOG;
  for (size_t i = 0; i < count; i++) {
    if (stream->queue.size > QUEUE_LIMIT / 2) {
      stream->ended = true;
      break;
    }
    json_t *json = render_event(&events[i]);
    format_event(&stream->queue, events[i].kind, events[i].sequence, json);
    json_decref(json);
  }
  ledger_event_list_free(events, count);
  return STATUS_OK;
}

/* Takes stream. */
static enum MHD_Result start_stream(Request *request, Stream *stream) {
  Error err;
  if (add_backlog(request, stream, &err) != STATUS_OK) {
    stream_free(stream);
    return respond_failure(request, &err);
  }
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_stream, stream, close_stream);
  if (!response) {
    stream_free(stream);
    return MHD_NO;
  }
  stream->next = request->api->streams;
  request->api->streams = stream;
  request->phase = PHASE_STREAMING;
  request->stream = stream;
  MHD_add_response_header(response, "Content-Type", "text/event-stream");
  MHD_add_response_header(response, "Cache-Control", "no-store");
  enum MHD_Result result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  return result;
}

static Stream *new_stream(Request *request, const char *checkpoint_id) {
  Stream *stream = memory_alloc(sizeof *stream);
  stream->api = request->api;
  stream->request = request;
  stream->checkpoint_id = checkpoint_id ? memory_strdup(checkpoint_id) : NULL;
  buffer_append_text(&stream->queue, ": pgseal events\n\n");
  return stream;
}

enum MHD_Result events_all(Request *request) {
  return start_stream(request, new_stream(request, NULL));
}

enum MHD_Result events_checkpoint(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error err;
  if (ledger_checkpoint_find(request->api->ledger, query_text(request, "database"), request->arg, &checkpoint, &err) !=
      STATUS_OK)
    return respond_failure(request, &err);
  Stream *stream = new_stream(request, checkpoint.id);
  json_t *json = render_checkpoint(request->api, &checkpoint, true);
  format_event(&stream->queue, "checkpoint", 0, json);
  json_decref(json);
  stream->ended = checkpoint_state_final(checkpoint.state);
  return start_stream(request, stream);
}
