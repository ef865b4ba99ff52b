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
  scope_release(&stream->scope);
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

static bool concerns(const Stream *stream, const char *checkpoint_id, const char *database) {
  if (stream->checkpoint_id) /* which was in its scope when it began */
    return checkpoint_id && strcmp(stream->checkpoint_id, checkpoint_id) == 0;
  return scope_sees(&stream->scope, database);
}

static void broadcast(Api *api, const char *checkpoint_id, const char *database, const char *type, int64_t sequence,
                      json_t *json) {
  if (!api->streams)
    return;
  CLEANUP(buffer_release) Buffer text = {0};
  format_event(&text, type, sequence, json);
  for (Stream *stream = api->streams; stream; stream = stream->next)
    if (concerns(stream, checkpoint_id, database))
      push(stream, text.data, text.size);
}

/* ---- what dispatch tells ---- */

static void on_event(void *user, const LedgerEvent *event) {
  json_t *json = render_event(event);
  broadcast(user, event->checkpoint_id, event->database, event->kind, event->sequence, json);
  json_decref(json);
}

/* Progress does not say whose it is; only streams with a scope want to know. */
static bool somebody_has_a_scope(const Api *api) {
  for (const Stream *stream = api->streams; stream; stream = stream->next)
    if (!stream->checkpoint_id && stream->scope.text)
      return true;
  return false;
}

static void on_progress(void *user, const char *checkpoint_id, const char *job_id, json_t *progress) {
  Api *api = user;
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error ignored;      /* then it is in nobody's scope */
  if (!checkpoint_id) /* an inventory's: whoever waits asks for the job */
    return;
  if (somebody_has_a_scope(api) &&
      ledger_checkpoint_get(api->ledger, checkpoint_id, &checkpoint, &ignored) != STATUS_OK)
    checkpoint.database = NULL;
  json_t *json = json_pack("{s:s, s:s, s:O?}", "checkpoint_id", checkpoint_id, "job_id", job_id, "progress", progress);
  broadcast(user, checkpoint_id, checkpoint.database, "progress", 0, json);
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
  for (Stream *stream = api->streams; stream; stream = stream->next) {
    stream->cut |= !auth_still_good(api, stream->token_hash, stream->session_hash, false) ||
                   !session_still_good(api, stream->session_hash);
    push(stream, comment, sizeof comment - 1);
  }
}

void events_revoked(Api *api, const char *token_hash) {
  for (Request *request = api->requests; request; request = request->next)
    if (request->phase == PHASE_WAITING && strcmp(request->token_hash, token_hash) == 0) {
      request->finished = true; /* its answer will be that */
      request_resume(request);
    }
  for (Stream *stream = api->streams; stream; stream = stream->next)
    if (strcmp(stream->token_hash, token_hash) == 0) {
      stream->cut = true;
      wake(stream);
    }
}

void events_signed_out(Api *api, const char *session_hash) {
  for (Stream *stream = api->streams; stream; stream = stream->next)
    if (strcmp(stream->session_hash, session_hash) == 0) {
      stream->cut = true;
      wake(stream);
    }
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
  const EventFilter filter = {
      .after = after, .limit = BACKLOG, .checkpoint_id = stream->checkpoint_id, .scope = stream->scope.text};
  Status status = ledger_event_list(request->api->ledger, &filter, &events, &count, err);
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
  scope_copy(&stream->scope, &request->scope);
  snprintf(stream->token_hash, sizeof stream->token_hash, "%s", request->token_hash);
  snprintf(stream->session_hash, sizeof stream->session_hash, "%s", request->session_hash);
  buffer_append_text(&stream->queue, ": pgseal events\n\n");
  return stream;
}

enum MHD_Result events_all(Request *request) {
  return start_stream(request, new_stream(request, NULL));
}

enum MHD_Result events_checkpoint(Request *request) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error err;
  if (ledger_checkpoint_find(request->api->ledger, query_text(request, "database"), request->arg, request->scope.text,
                             &checkpoint, &err) != STATUS_OK)
    return respond_failure(request, &err);
  Stream *stream = new_stream(request, checkpoint.id);
  json_t *json = render_checkpoint(request->api, &checkpoint, true);
  format_event(&stream->queue, "checkpoint", 0, json);
  json_decref(json);
  stream->ended = checkpoint_state_final(checkpoint.state);
  return start_stream(request, stream);
}
