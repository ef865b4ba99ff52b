#include "agent/rehearsal/bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/rehearsal/tunnel.h"

enum { BRIDGE_TICK_MS = 200 };

typedef struct Bridge {
  Rehearsal *rehearsal;
  BridgeEnd end;
  BridgeLink link;
  int frames_fd;
  BridgeConnection *connections[TUNNEL_CONNECTIONS];
  size_t count;
  uint32_t last_connection;        /* numbers are not used again */
  uint64_t received, sent;         /* sequences */
  bool done;                       /* the client said END */
  int exit_status;                 /* of its command */
  char why[TUNNEL_TEXT_LIMIT + 1]; /* it broke; or "" */
} Bridge;

static Status send_frame(Bridge *bridge, Pgseal__TunnelFrame__Kind kind, uint32_t connection, const void *data,
                         size_t size, uint32_t value, Error *err) {
  Pgseal__TunnelFrame frame = PGSEAL__TUNNEL_FRAME__INIT;
  frame.sequence = ++bridge->sent;
  frame.connection = connection;
  frame.kind = kind;
  frame.data = (ProtobufCBinaryData){size, (uint8_t *)data};
  frame.value = value;
  return job_tunnel_send(bridge->rehearsal->context, &frame, err);
}

static Status send_text(Bridge *bridge, Pgseal__TunnelFrame__Kind kind, uint32_t connection, const char *text,
                        Error *err) {
  char clean[TUNNEL_TEXT_LIMIT + 1];
  text_clean(text, clean, sizeof clean);
  return send_frame(bridge, kind, connection, clean, strlen(clean), 0, err);
}

static Status link_data(void *user, uint32_t connection, const void *data, size_t size, Error *err) {
  return send_frame(user, PGSEAL__TUNNEL_FRAME__KIND__DATA, connection, data, size, 0, err);
}

static Status link_window(void *user, uint32_t connection, uint32_t size, Error *err) {
  return send_frame(user, PGSEAL__TUNNEL_FRAME__KIND__WINDOW, connection, NULL, 0, size, err);
}

static size_t find(const Bridge *bridge, uint32_t id) {
  size_t i = 0;
  while (i < bridge->count && bridge_connection_id(bridge->connections[i]) != id)
    i++;
  return i;
}

static Status broken(Error *err, const char *what) {
  return error_set(err, ERR_PROTOCOL, "the tunnel's client does not keep to its rules: %s", what);
}

static Status open_connection(Bridge *bridge, uint32_t id, Error *err) {
  if (id <= bridge->last_connection)
    return broken(err, "a connection's number comes again");
  if (bridge->count == TUNNEL_CONNECTIONS)
    return broken(err, "there are too many connections");
  bridge->last_connection = id;
  bridge->connections[bridge->count++] = bridge_connection_new(&bridge->end, id);
  return STATUS_OK;
}

/* What is sent to a connection that is over already crossed its end on the way. */
static Status to_connection(Bridge *bridge, const Pgseal__TunnelFrame *frame, Error *err) {
  size_t index = find(bridge, frame->connection);
  if (frame->connection == 0 || frame->connection > bridge->last_connection)
    return broken(err, "there is no such connection");
  if (index == bridge->count)
    return STATUS_OK;
  BridgeConnection *connection = bridge->connections[index];
  if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__DATA)
    return frame->data.len <= TUNNEL_DATA_LIMIT
               ? bridge_connection_receive(connection, frame->data.data, frame->data.len, err)
               : broken(err, "a frame is too large");
  if (frame->kind == PGSEAL__TUNNEL_FRAME__KIND__WINDOW)
    return bridge_connection_widen(connection, frame->value, err);
  bridge_connection_hang_up(connection);
  return STATUS_OK;
}

static void take_end(Bridge *bridge, const Pgseal__TunnelFrame *frame) {
  bridge->done = true;
  bridge->exit_status = (int)frame->value;
  CLEANUP_FREE char *text = memory_strndup(frame->data.len ? (const char *)frame->data.data : "", frame->data.len);
  text_clean(text, bridge->why, sizeof bridge->why);
  if (frame->sequence == 0 && !*bridge->why)
    snprintf(bridge->why, sizeof bridge->why, "it was ended on its way");
}

static Status take_frame(Bridge *bridge, const Pgseal__TunnelFrame *frame, Error *err) {
  bool is_end = frame->kind == PGSEAL__TUNNEL_FRAME__KIND__END;
  if (frame->sequence != 0 && frame->sequence <= bridge->received)
    return STATUS_OK; /* it was sent again */
  if (frame->sequence != bridge->received + 1 && !(is_end && frame->sequence == 0))
    return broken(err, "a frame is missing");
  bridge->received += frame->sequence != 0;
  switch (frame->kind) {
  case PGSEAL__TUNNEL_FRAME__KIND__OPEN:
    return open_connection(bridge, frame->connection, err);
  case PGSEAL__TUNNEL_FRAME__KIND__END:
    take_end(bridge, frame);
    return STATUS_OK;
  case PGSEAL__TUNNEL_FRAME__KIND__DATA:
  case PGSEAL__TUNNEL_FRAME__KIND__WINDOW:
  case PGSEAL__TUNNEL_FRAME__KIND__CLOSE:
    return to_connection(bridge, frame, err);
  default:
    return broken(err, "a frame is of no known kind");
  }
}

static Status take_frames(Bridge *bridge, Error *err) {
  while (!bridge->done) {
    Pgseal__TunnelFrame *frame;
    Status status = job_tunnel_take(bridge->rehearsal->context, &frame, err);
    if (status != STATUS_OK || !frame)
      return status;
    status = take_frame(bridge, frame, err);
    pgseal__tunnel_frame__free_unpacked(frame, NULL);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static Status pump(Bridge *bridge, Error *err) {
  for (size_t i = 0; i < bridge->count;) {
    BridgeConnection *connection = bridge->connections[i];
    bool over = false;
    const char *why = "";
    Status status = bridge_connection_pump(connection, &bridge->link, &over, &why, err);
    if (status == STATUS_OK && over)
      status = send_text(bridge, PGSEAL__TUNNEL_FRAME__KIND__CLOSE, bridge_connection_id(connection), why, err);
    if (status != STATUS_OK)
      return status;
    if (!over) {
      i++;
      continue;
    }
    bridge_connection_free(connection);
    bridge->connections[i] = bridge->connections[--bridge->count];
  }
  return STATUS_OK;
}

static void wait_a_tick(const Bridge *bridge) {
  struct pollfd fds[TUNNEL_CONNECTIONS + 1] = {{.fd = bridge->frames_fd, .events = POLLIN}};
  for (size_t i = 0; i < bridge->count; i++) {
    int fd;
    short events = bridge_connection_events(bridge->connections[i], &fd);
    fds[i + 1] = (struct pollfd){.fd = events ? fd : -1, .events = events};
  }
  (void)poll(fds, bridge->count + 1, BRIDGE_TICK_MS);
}

/* What was on its way to the copy when the client's command ended gets there. */
static Status finish(Bridge *bridge, Error *err) {
  for (size_t i = 0; i < bridge->count; i++)
    bridge_connection_hang_up(bridge->connections[i]);
  Status status = STATUS_OK;
  while (status == STATUS_OK && bridge->count > 0) {
    status = rehearsal_check(bridge->rehearsal, err);
    if (status == STATUS_OK)
      status = pump(bridge, err);
    if (status == STATUS_OK && bridge->count > 0)
      wait_a_tick(bridge);
  }
  return status;
}

static Status run(Bridge *bridge, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && !bridge->done) {
    wait_a_tick(bridge);
    status = rehearsal_check(bridge->rehearsal, err);
    if (status == STATUS_OK)
      status = take_frames(bridge, err);
    if (status == STATUS_OK)
      status = pump(bridge, err);
    drill_report(&bridge->rehearsal->drill, false);
  }
  if (status == STATUS_OK && *bridge->why) {
    error_set(err, ERR_UNAVAILABLE, "the tunnel to the rehearsal's client broke: %s", bridge->why);
    error_remedy(err, "Rehearse again; what ran on the copy is gone with it.");
    return err->status;
  }
  return status == STATUS_OK ? finish(bridge, err) : status;
}

static void bridge_release(Bridge *bridge) {
  for (size_t i = 0; i < bridge->count; i++)
    bridge_connection_free(bridge->connections[i]);
  SSL_CTX_free(bridge->end.tls);
  free((char *)bridge->end.socket_path);
}

/* The client hears why it is over; if it cannot, it is gone anyway. */
static void say_farewell(Bridge *bridge, const char *why) {
  Error ignored;
  if (send_text(bridge, PGSEAL__TUNNEL_FRAME__KIND__END, 0, why, &ignored) != STATUS_OK)
    log_failure(LOG_LEVEL_DEBUG, "the rehearsal's client was not told of the tunnel's end", &ignored);
}

/* How the command ended: by itself, or with the copy's time. */
static Status conclude(Bridge *bridge, Status status, Error *err) {
  Rehearsal *rehearsal = bridge->rehearsal;
  say_farewell(bridge, status == STATUS_OK ? "" : err->message);
  rehearsal->failed = rehearsal->over || bridge->exit_status != 0;
  rehearsal->exit_status = bridge->exit_status;
  if (status != STATUS_OK && !rehearsal->over)
    return drill_blame_cluster(&rehearsal->drill, err);
  while (bridge->count > 0)
    bridge_connection_free(bridge->connections[--bridge->count]);
  return bridge_gate_close(rehearsal, err);
}

Status rehearsal_tunnel_run(Rehearsal *rehearsal, Error *err) {
  CLEANUP(bridge_release) Bridge bridge = {.rehearsal = rehearsal};
  CLEANUP(bridge_offer_release) Pgseal__TunnelOffer offer = PGSEAL__TUNNEL_OFFER__INIT;
  DrillRun *drill = &rehearsal->drill;
  bridge.link = (BridgeLink){&bridge, link_data, link_window};
  Status status = job_tunnel_open(rehearsal->context, &bridge.frames_fd, err);
  if (status == STATUS_OK)
    status = bridge_gate_open(rehearsal, &bridge.end.tls, &offer, err);
  if (status != STATUS_OK)
    return status;
  bridge.end.socket_path = memory_format("%s/.s.PGSQL.5432", cluster_socket_dir(drill->cluster));
  bridge.end.role = BRIDGE_ROLE;
  bridge.end.database = drill->database_name;
  bridge.end.statements = &rehearsal->statements;
  drill->progress.tunnel = &offer;
  drill_report(drill, true);
  status = run(&bridge, err);
  drill->progress.tunnel = NULL;
  return conclude(&bridge, status, err);
}
