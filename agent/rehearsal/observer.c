/*
 * PostgreSQL's messages, version 3 of the protocol: a byte that says which, four of length, and the rest. Only those
 * are looked at that say which statement is meant, and how it ended. What is sent at once (pipelines) is answered in
 * order.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/bridge.h"
#include "common/archive/script.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { BODY_LIMIT = 4096, NAMES_LIMIT = 1000, PENDING_LIMIT = 10000, HEAD_SIZE = 5 };

typedef struct Stream { /* one direction */
  uint8_t head[HEAD_SIZE];
  size_t head_size;
  uint32_t left; /* of the message's body */
  Buffer body;   /* its beginning */
} Stream;

typedef struct Named { /* a prepared statement, or a portal */
  char *name, *outline;
} Named;

typedef struct Names {
  Named items[NAMES_LIMIT];
  size_t count;
} Names;

typedef enum PendingKind { PENDING_QUERY, PENDING_EXECUTE, PENDING_SYNC } PendingKind;

typedef struct Pending { /* what the server has not answered yet */
  PendingKind kind;
  char *outline;
  int64_t started_us;
  char sqlstate[6];
  char *failure;
} Pending;

struct Observer {
  RehearsalStatements *statements;
  Stream client, server;
  Names prepared, portals;
  char *parsed; /* the outline of the last statement that was parsed */
  Pending *pending;
  size_t pending_count;
  bool lost; /* there was too much to keep: nothing is told any more */
};

static void names_release(Names *names) {
  for (size_t i = 0; i < names->count; i++) {
    free(names->items[i].name);
    free(names->items[i].outline);
  }
}

static void pending_release(Pending *pending) {
  free(pending->outline);
  free(pending->failure);
}

Observer *observer_new(RehearsalStatements *statements) {
  Observer *observer = memory_alloc(sizeof *observer);
  observer->statements = statements;
  return observer;
}

void observer_free(Observer *observer) {
  if (!observer)
    return;
  buffer_release(&observer->client.body);
  buffer_release(&observer->server.body);
  names_release(&observer->prepared);
  names_release(&observer->portals);
  for (size_t i = 0; i < observer->pending_count; i++)
    pending_release(&observer->pending[i]);
  free(observer->pending);
  free(observer->parsed);
  free(observer);
}

static const char *names_find(const Names *names, const char *name) {
  for (size_t i = 0; i < names->count; i++)
    if (strcmp(names->items[i].name, name) == 0)
      return names->items[i].outline;
  return "(a statement that was prepared before)";
}

/* Takes the outline. The oldest gives way. */
static void names_set(Names *names, const char *name, char *outline) {
  for (size_t i = 0; i < names->count; i++)
    if (strcmp(names->items[i].name, name) == 0) {
      free(names->items[i].outline);
      names->items[i].outline = outline;
      return;
    }
  if (names->count == NAMES_LIMIT) {
    free(names->items[0].name);
    free(names->items[0].outline);
    memmove(names->items, names->items + 1, --names->count * sizeof *names->items);
  }
  names->items[names->count++] = (Named){memory_strdup(name), outline};
}

static void push(Observer *observer, PendingKind kind, const char *outline) {
  if (observer->pending_count >= PENDING_LIMIT) {
    observer->lost = true;
    return;
  }
  Pending pending = {.kind = kind, .outline = memory_strdup(outline), .started_us = clock_monotonic_us()};
  ARRAY_PUSH(observer->pending, observer->pending_count, pending);
}

static void pop(Observer *observer) {
  pending_release(&observer->pending[0]);
  memmove(observer->pending, observer->pending + 1, --observer->pending_count * sizeof *observer->pending);
}

static void tell(Observer *observer) {
  Pending *first = &observer->pending[0];
  RehearsalStatement statement = {.outline = first->outline,
                                  .seconds = (double)(clock_monotonic_us() - first->started_us) / 1e6,
                                  .message = first->failure};
  memcpy(statement.sqlstate, first->sqlstate, sizeof statement.sqlstate);
  first->outline = first->failure = NULL;
  rehearsal_statements_add(observer->statements, statement);
}

/* The first is answered: it is told of, and gone. */
static void settle(Observer *observer) {
  tell(observer);
  pop(observer);
}

/* Up to the next Sync the server passes over everything, once something failed. */
static void pass_over(Observer *observer) {
  while (observer->pending_count > 0 && observer->pending[0].kind == PENDING_EXECUTE)
    pop(observer);
}

static char *outline_of(const char *sql) {
  char *outline = script_outline(sql, strlen(sql), REHEARSAL_OUTLINE_LIMIT);
  if (*outline)
    return outline;
  free(outline);
  return memory_strdup("(an empty statement)");
}

/* A body's texts are behind one another, each with a zero byte; a body that was cut has one more. */
static const char *second_text(const Stream *stream) {
  size_t first = strlen((const char *)stream->body.data) + 1;
  return first < stream->body.size ? (const char *)stream->body.data + first : "";
}

static void take_client(Observer *observer, uint8_t type) {
  const Stream *stream = &observer->client;
  const char *text = (const char *)stream->body.data;
  if (type == 'Q') {
    CLEANUP_FREE char *outline = outline_of(text);
    push(observer, PENDING_QUERY, outline);
  } else if (type == 'F') {
    push(observer, PENDING_QUERY, "(a function call)");
  } else if (type == 'P') {
    names_set(&observer->prepared, text, outline_of(second_text(stream)));
    free(observer->parsed);
    observer->parsed = memory_strdup(names_find(&observer->prepared, text));
  } else if (type == 'B') {
    names_set(&observer->portals, text, memory_strdup(names_find(&observer->prepared, second_text(stream))));
  } else if (type == 'E') {
    push(observer, PENDING_EXECUTE, names_find(&observer->portals, text));
  } else if (type == 'S') {
    push(observer, PENDING_SYNC, observer->parsed ? observer->parsed : "");
  }
}

/* "S" severity, "C" SQLSTATE, "M" message, and others that nobody is told. */
static void take_error(Observer *observer) {
  const Stream *stream = &observer->server;
  const char *at = (const char *)stream->body.data, *stop = at + stream->body.size;
  char state[6] = "";
  const char *message = "";
  while (at < stop && *at) {
    if (*at == 'C')
      snprintf(state, sizeof state, "%s", at + 1);
    else if (*at == 'M')
      message = at + 1;
    at += strlen(at) + 1;
  }
  if (observer->pending_count == 0)
    return;
  Pending *first = &observer->pending[0];
  char clean[ERROR_MESSAGE_SIZE];
  CLEANUP_FREE char *discreet = postgres_discreet(state, message);
  if (!first->outline) /* of a Sync that was told of */
    first->outline = memory_strdup("");
  free(first->failure);
  first->failure = memory_strdup(text_clean(discreet, clean, sizeof clean));
  memcpy(first->sqlstate, state, sizeof state);
  if (first->kind == PENDING_EXECUTE)
    settle(observer);
  else if (first->kind == PENDING_SYNC) /* of what was parsed before it, or it could not be committed */
    tell(observer);
  pass_over(observer);
}

static void take_server(Observer *observer, uint8_t type) {
  PendingKind first = observer->pending_count > 0 ? observer->pending[0].kind : PENDING_SYNC;
  if (type == 'E') {
    take_error(observer);
  } else if (observer->pending_count == 0) {
    return;
  } else if ((type == 'C' || type == 'I' || type == 's') && first == PENDING_EXECUTE) {
    settle(observer);
  } else if (type == 'Z') {
    pass_over(observer);
    if (first == PENDING_QUERY)
      settle(observer);
    else if (observer->pending_count > 0)
      pop(observer);
  }
}

static void feed(Observer *observer, Stream *stream, const uint8_t *data, size_t size,
                 void (*take)(Observer *observer, uint8_t type)) {
  while (size > 0 && !observer->lost) {
    if (stream->head_size < HEAD_SIZE) {
      stream->head[stream->head_size++] = *data++;
      size--;
      if (stream->head_size < HEAD_SIZE)
        continue;
      const uint8_t *h = stream->head + 1;
      uint32_t length = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
      observer->lost = length < 4;
      stream->left = length - 4;
      buffer_clear(&stream->body);
    }
    size_t piece = size < stream->left ? size : stream->left;
    size_t room = BODY_LIMIT - stream->body.size;
    buffer_append(&stream->body, data, piece < room ? piece : room);
    data += piece;
    size -= piece;
    stream->left -= (uint32_t)piece;
    if (stream->left > 0)
      continue;
    /* a body is read as texts: two more zero bytes end whatever it is */
    buffer_append(&stream->body, "\0", 2);
    take(observer, stream->head[0]);
    stream->head_size = 0;
  }
}

void observer_client(Observer *observer, const uint8_t *data, size_t size) {
  feed(observer, &observer->client, data, size, take_client);
}

void observer_server(Observer *observer, const uint8_t *data, size_t size) {
  feed(observer, &observer->server, data, size, take_server);
}
