/*
 * The Api itself, and one request's life. Internal to coordinator/api; loop thread only.
 *
 * A request: READING (its body comes in pieces) -> routed once -> answered; or WAITING (suspended until a checkpoint
 * ends)
 * -> answered; or STREAMING (server-sent events, suspended while there is nothing to send).
 */
#ifndef PGSEAL_COORDINATOR_API_INTERNAL_H
#define PGSEAL_COORDINATOR_API_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>

#include "common/base/buffer.h"
#include "coordinator/api/api.h"

enum { API_BODY_LIMIT = 64 << 10, API_BODY_PATIENCE = 1 << 20, API_LIST_DEFAULT = 100, API_LIST_LIMIT = 1000 };

typedef enum Role { ROLE_NONE, ROLE_CI, ROLE_ADMIN } Role;
typedef enum Phase { PHASE_READING, PHASE_WAITING, PHASE_STREAMING, PHASE_ANSWERED } Phase;

typedef struct Request {
  Api *api;
  struct MHD_Connection *connection;
  const char *method, *path;
  Phase phase;
  Buffer body;
  size_t discarded; /* bytes of a body that is too large; it is not kept */
  bool too_large, suspended;
  char allow[48]; /* with a 405: the path's methods */
  char actor[64]; /* the token's name */
  Role role;
  char *arg;         /* the path's variable part, decoded; owned */
  char *waiting_for; /* a checkpoint's id; owned */
  bool finished;     /* what it waits for has ended, or the api is closing */
  struct Stream *stream;
  struct Request *next;
} Request;

/* What one client of server-sent events still has to get. */
typedef struct Stream {
  Api *api;
  Request *request; /* NULL once the connection is gone: the response outlives it for a moment */
  Buffer queue;
  char *checkpoint_id; /* only this one's, until it ends; NULL: everything */
  bool ended;          /* no more comes: end the response when the queue is empty */
  bool cut;            /* it was too slow */
  struct Stream *next;
} Stream;

struct Api {
  uv_loop_t *loop;
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Ledger *ledger;
  struct MHD_Daemon *daemon;
  uv_poll_t poll;
  uv_timer_t timer, heartbeat;
  Request *requests; /* all that are open */
  Stream *streams;
  bool closing, resumed;
  int port, handles;
  struct sockaddr_storage address;
};

typedef enum MHD_Result Handler(Request *request);

/* ---- respond.c ---- */
enum MHD_Result respond_json(Request *request, unsigned status, json_t *json); /* takes json */
enum MHD_Result respond_json_location(Request *request, unsigned status, json_t *json, const char *location);
enum MHD_Result respond_error(Request *request, unsigned status, const Error *err,
                              const char *checkpoint_id /* or NULL */);
enum MHD_Result respond_failure(Request *request, const Error *err); /* the HTTP status follows from the code */
enum MHD_Result respond_text(Request *request, unsigned status, const char *type, const char *text);
unsigned respond_status(Status status);

/* ---- render.c: records as JSON, new references ---- */
json_t *render_checkpoint(Api *api, const Checkpoint *checkpoint, bool whole); /* whole: with detail and jobs */
json_t *render_job(const LedgerJob *job);
json_t *render_event(const LedgerEvent *event);
json_t *render_time(int64_t wall_us); /* null if 0 */
json_t *render_error(const char *code, const char *message, const char *remedy, const char *object);
json_t *render_text(const char *text); /* null if NULL; what is no UTF-8 is shown with question marks */

/* ---- query.c ---- */
bool query_digits(const char *text, int64_t *out); /* digits alone, without a sign or spaces; false if it is not */
const char *query_text(Request *request, const char *name);
Status query_number(Request *request, const char *name, int64_t fallback, int64_t low, int64_t high, int64_t *out,
                    Error *err) MUST_CHECK;
Status query_body(Request *request, json_t **json, Error *err) MUST_CHECK; /* an object; new reference */

/* ---- auth.c ---- */
/* The token in an Authorization header's value (NULL: there is none), which is not terminated; false if there is none.
 */
bool auth_token_of(const char *header, const char **token, size_t *length);
Status auth_check(Request *request, Role needed, Error *err) MUST_CHECK; /* fills actor and role */
Status auth_first_token(Api *api, Error *err) MUST_CHECK;

/* ---- router.c ---- */
enum MHD_Result router_dispatch(Request *request);

/* ---- handlers ---- */
Handler checkpoint_create_waiting, checkpoint_create, checkpoint_list, checkpoint_show, checkpoint_drill,
    checkpoint_cancel;
enum MHD_Result checkpoint_answer(Request *request); /* of a request that waited */
Handler drill_list, database_list, agent_list, ledger_events, ledger_verify, token_list, token_create, token_revoke;
Handler health_alive, health_ready, health_metrics, health_home, events_all, events_checkpoint;

/* ---- waiting and streams ---- */
void request_suspend(Request *request);
void request_resume(Request *request);
void events_observe(Api *api); /* registers with dispatch */
void events_heartbeat(Api *api);
void stream_free(Stream *stream);

#endif
