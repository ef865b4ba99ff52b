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
#include "coordinator/api/tls.h"
#include "coordinator/oidc/oidc.h"
#include "coordinator/report/reports.h"

enum {
  API_BODY_LIMIT = 64 << 10,
  API_LARGE_LIMIT = 1 << 20,
  API_BODY_PATIENCE = 1 << 20,
  API_LIST_DEFAULT = 100,
  API_LIST_LIMIT = 1000
};

/* Bits: a route names the roles that may take it, so that what names none is for nobody. */
typedef enum Role {
  ROLE_CI = 1,       /* asks for checkpoints, plans and rehearsals, and sees how they end */
  ROLE_VIEWER = 2,   /* reads everything */
  ROLE_OPERATOR = 4, /* both, and drills, restores, approves and cancels */
  ROLE_ADMIN = 8,    /* and makes and revokes tokens */
  ROLE_NONE = 16,    /* nobody asks for a token */
  ROLE_ASKS = ROLE_CI | ROLE_OPERATOR | ROLE_ADMIN,
  ROLE_LOOKS = ROLE_CI | ROLE_VIEWER | ROLE_OPERATOR | ROLE_ADMIN,
  ROLE_READS = ROLE_VIEWER | ROLE_OPERATOR | ROLE_ADMIN,
  ROLE_OPERATES = ROLE_OPERATOR | ROLE_ADMIN
} Role;

/* The databases a token is for. Both NULL: all. */
typedef struct Scope {
  char *text; /* as the ledger keeps it: JSON; owned */
  json_t *globs;
} Scope;

typedef enum Phase { PHASE_READING, PHASE_WAITING, PHASE_STREAMING, PHASE_ANSWERED } Phase;

typedef struct Request {
  Api *api;
  struct MHD_Connection *connection;
  const char *method, *path;
  Phase phase;
  Buffer body;
  size_t body_limit;
  size_t discarded; /* bytes of a body that is too large; it is not kept */
  bool too_large, suspended;
  char allow[48];                  /* with a 405: the path's methods */
  char actor[LEDGER_NAME_SIZE];    /* the token's name; or of who signed in by OpenID Connect */
  char person[LEDGER_NAME_SIZE];   /* who signed in by OpenID Connect, here or to make the token; "": not known */
  unsigned role;                   /* the token's, or the grant's */
  char token_hash[65];             /* "": by OpenID Connect */
  char session_hash[65];           /* signed in by a cookie; "": by the token itself */
  char csrf[65];                   /* what a change by that cookie has to show */
  const char *cookie;              /* of the answer: a Set-Cookie's value, or NULL; owned */
  Address client;                  /* who is behind the proxy, if it came through one of ours */
  char address[NETWORK_TEXT_SIZE]; /* the client's */
  Scope scope;
  char *arg;                                          /* the path's variable part, decoded; owned */
  char *waiting_for;                                  /* a checkpoint's id, or a job's; owned */
  enum MHD_Result (*answer)(struct Request *request); /* when that has come */
  int64_t until_us; /* it waits no longer than this; monotonic; 0: as long as it takes */
  bool finished;    /* what it waits for has ended, or the api is closing */
  bool gone;        /* the client closed while it waited */
  int retry_after;  /* seconds, with a 429; 0: not said */
  struct Peer *peer;
  struct Stream *stream;
  struct Listing *listing; /* of tables.c; owned */
  struct Request *next;
} Request;

/* What one client of server-sent events still has to get. */
typedef struct Stream {
  Api *api;
  Request *request; /* NULL once the connection is gone: the response outlives it for a moment */
  Buffer queue;
  char *checkpoint_id; /* only this one's, until it ends; NULL: everything in the scope */
  Scope scope;
  char token_hash[65], session_hash[65];
  bool ended; /* no more comes: end the response when the queue is empty */
  bool cut;   /* it was too slow */
  struct Stream *next;
} Stream;

/* Where clients come from: an IPv4 address, or the /64 of an IPv6 one, of which everybody has 2^64 addresses. */
typedef struct Origin {
  uint8_t key[16];
  unsigned connections;
  double requests, failures; /* what is left in the buckets */
  int64_t filled_us;         /* when they were last filled */
  struct Origin *next;       /* of the same slot */
} Origin;

typedef enum PeerState {
  PEER_READING,   /* nothing, or a part of a request, has come: it gives way when there is no room, and has to hurry */
  PEER_ANSWERING, /* has its answer to read */
  PEER_LASTING    /* waits for a checkpoint, or gets events */
} PeerState;

/* One connection, from its acceptance to its end. */
typedef struct Peer {
  Api *api;
  int fd;
  Origin *origin;
  PeerState state;
  int64_t since_us;         /* when it came into this state; monotonic */
  int closing;              /* sweeps in which the other side was found to have closed */
  bool cut;                 /* shut down; libmicrohttpd is about to notice */
  Request *request;         /* or NULL */
  Credentials *credentials; /* what it began with; NULL without TLS */
  struct Peer *newer, *older;
} Peer;

enum { ORIGIN_SLOTS = 1024 };

struct Api {
  uv_loop_t *loop;
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Rotation *rotation; /* NULL: it was not told */
  Ledger *ledger;
  Schedule *schedule; /* or NULL */
  Overview *overview; /* or NULL */
  Metrics *metrics;   /* or NULL */
  Reports *reports;   /* owned */
  Alerts *alerts;     /* or NULL */
  Mailing *mailing;   /* or NULL */
  Oidc *oidc;         /* owned; or NULL */
  struct MHD_Daemon *daemon;
  uv_poll_t poll;
  uv_timer_t timer, heartbeat, sweep;
  Request *requests; /* all that are open */
  Stream *streams;
  Peer *newest, *oldest;
  unsigned peer_count, peer_limit;
  Origin *origins[ORIGIN_SLOTS];
  unsigned origin_count;
  int64_t read_limit_us, answer_limit_us;
  Credentials *credentials; /* the newest; NULL without TLS */
  uint64_t stamp, failed_stamp;
  bool closing, resumed;
  int64_t denied_since_us; /* of the log's allowance for denied attempts */
  int denied_logged, denied_left_out;
  int port, handles;
  struct sockaddr_storage address;
};

typedef enum MHD_Result Handler(Request *request);

typedef enum Reach {
  REACH_FLEET, /* only for tokens of all databases */
  REACH_SCOPE  /* shows and does what is in the token's scope */
} Reach;

typedef struct Route {
  const char *method, *pattern; /* "{}" stands for one decoded part, which may hold anything */
  unsigned roles;               /* 0: nobody */
  Handler *handler;
  Reach reach;
  size_t body_limit; /* 0: API_BODY_LIMIT; larger ones are for tokens that may take the route */
} Route;

/* ---- respond.c ---- */
enum MHD_Result respond_json(Request *request, unsigned status, json_t *json); /* takes json */
enum MHD_Result respond_json_location(Request *request, unsigned status, json_t *json, const char *location);
enum MHD_Result respond_error(Request *request, unsigned status, const Error *err,
                              const char *checkpoint_id /* or NULL */);
enum MHD_Result respond_failure(Request *request, const Error *err); /* the HTTP status follows from the code */
enum MHD_Result respond_bytes(Request *request, unsigned status, const char *type, const void *data, size_t size);
enum MHD_Result respond_text(Request *request, unsigned status, const char *type, const char *text);
unsigned respond_status(Status status);
enum { RESPOND_PACK_LEAST = 8 << 10, RESPOND_PACK_LEVEL = 3 };
bool respond_takes_zstd(const Request *request);
/* pieces.c: 200, with what next appends, some KB each time, until it returns false; it is called after this function
 * has returned, too, and outlives the request. release is called in the end, whatever happens. */
typedef bool PiecesNext(void *user, Buffer *out);
enum MHD_Result respond_pieces(Request *request, const char *type, PiecesNext *next, void (*release)(void *user),
                               void *user);

/* ---- render.c: records as JSON, new references ---- */
json_t *render_checkpoint(Api *api, const Checkpoint *checkpoint, bool whole); /* whole: with detail and jobs */
json_t *render_job(const LedgerJob *job);
/* Sets `waits_for`: what a queued job waits for, in words; null. For single jobs: it looks at every agent. */
void render_wait(Api *api, const LedgerJob *job, json_t *json);
json_t *render_event(const LedgerEvent *event);
json_t *render_agent(Api *api, const Scope *scope, const Agent *agent, const LedgerAgent *row /* or NULL */,
                     json_t *jobs /* stolen */);
json_t *render_time(int64_t wall_us);                           /* null if 0 */
json_t *render_held(Api *api, HoldWhat what, const char *name); /* operations.c; null if it is not held back */
json_t *render_error(const char *code, const char *message, const char *remedy, const char *object);
json_t *render_text(const char *text); /* null if NULL; what is no UTF-8 is shown with question marks */

/* ---- query.c ---- */
bool query_digits(const char *text, int64_t *out); /* digits alone, without a sign or spaces; false if it is not */
const char *query_text(Request *request, const char *name);
Status query_number(Request *request, const char *name, int64_t fallback, int64_t low, int64_t high, int64_t *out,
                    Error *err) MUST_CHECK;
/* ERR_INVALID_ARGUMENT if the object has a member that is not one of these: a typo is not passed over. */
Status query_members(const json_t *body, const char *const *known, size_t count, Error *err) MUST_CHECK;
/* A body that is absent, or {"reason": text or null}: *body is freed by the caller, *reason is its, or NULL. */
Status query_reason(Request *request, json_t **body, const char **reason, Error *err) MUST_CHECK;
Status query_body(Request *request, json_t **json, Error *err) MUST_CHECK; /* an object; new reference */

/* ---- auth.c ---- */
/* The token in an Authorization header's value (NULL: there is none), which is not terminated; false if there is none.
 */
bool auth_token_of(const char *header, const char **token, size_t *length);
/* Fills actor, scope and token_hash. */
Status auth_check(Request *request, const Route *route, Error *err) MUST_CHECK;
/* The same for a token's text, whatever it may. */
Status auth_check_text(Request *request, const char *text, size_t length, Error *err) MUST_CHECK;
/* Is the token that was good once still so? What lasts (a stream, an answer to come) asks again. */
bool auth_still_good(Api *api, const char *token_hash, const char *session_hash, bool expired_is_good);
unsigned auth_role(const char *name); /* 0: there is no such role */
const char *auth_role_name(unsigned role);
Status auth_first_token(Api *api, Error *err) MUST_CHECK;

/* ---- session.c: signed in at the dashboard, by a cookie ---- */
/* Fills token_hash, session_hash and csrf; ERR_UNAUTHORIZED without a session, ERR_FORBIDDEN for a change that does not
 * come from the dashboard's own page. */
Status session_check(Request *request, Error *err) MUST_CHECK;
bool session_still_good(Api *api, const char *session_hash); /* "": there is none to be asked for */
/* More that belongs to a session's beginning, in its transaction: it may change the session and what is told of it. */
typedef Status SessionMore(Request *request, void *user, LedgerSession *session, json_t *detail, Error *err);
/* Opens it for request->actor, for so many seconds, and sets the request's cookie and csrf. more: or NULL. */
Status session_open(Request *request, LedgerSession *session, int seconds, SessionMore *more, void *user,
                    Error *err) MUST_CHECK;
/* A browser says that another site's page sends this; *err says so. */
bool session_is_foreign(Request *request, Error *err);
bool session_is_secure(const Request *request); /* the browser speaks TLS: cookies are for that alone */

/* ---- router.c ---- */
/* How large its body may be: asked before that is read. */
size_t router_body_limit(Request *request);
enum MHD_Result router_dispatch(Request *request);
/* Answers what is not allowed: logged within bounds; failed authentications come to 429 if there are too many. */
enum MHD_Result router_deny(Request *request, Error *err);
void router_note_denied(Request *request, Error *err); /* the same without the answer */
const Route *router_routes(size_t *count);

/* ---- scope.c ---- */
void scope_load(Scope *scope, const char *text /* NULL: all */);
void scope_copy(Scope *scope, const Scope *from);
void scope_release(Scope *scope);
bool scope_sees(const void *scope, const char *database /* NULL: in no scope but that of all */);
/* A token's "databases" as asked for, or NULL. *text: new, as the ledger keeps it; NULL: all. */
Status scope_from_wish(const json_t *given, char **text, Error *err) MUST_CHECK;
Requester scope_requester(const Request *request); /* valid as long as the request */

/* ---- certificate.c ---- */
gnutls_certificate_retrieve_function2 *certificate_callback(void);
Status certificate_load(Api *api, Error *err) MUST_CHECK; /* nothing without TLS */
void certificate_watch(Api *api);                         /* loads it anew if its files changed */

/* ---- peers.c ---- */
void peers_open(Api *api); /* how many there may be */
enum MHD_Result peers_accept(void *user, const struct sockaddr *address, socklen_t size);
void peers_notify(void *user, struct MHD_Connection *connection, void **context,
                  enum MHD_ConnectionNotificationCode code);
Peer *peer_of(struct MHD_Connection *connection);
void peer_set(Peer *peer, PeerState state);
void peers_sweep(Api *api); /* every second: cuts those that are too slow, or that left */

/* ---- origins.c ---- */
Origin *origin_find(Api *api, const Address *address); /* made if need be */
void origins_sweep(Api *api);                          /* forgets those of whom there is nothing to remember */
void origins_free(Api *api);
/* False: not so fast. *retry_after: seconds. */
bool origin_may_request(const Api *api, Origin *origin, int *retry_after);
bool origin_may_fail(const Api *api, Origin *origin, int *retry_after);

/* ---- forwarded.c ---- */
bool forwarded_by_proxy(const Api *api, const struct sockaddr *address); /* is it one of trusted_proxies? */
bool forwarded_by_https(const Request *request);                         /* did the client come to it by HTTPS? */
/* *client: whom the connection is of; becomes whom it was forwarded for, if the proxy is trusted and tells. */
void forwarded_client(const Request *request, Address *client);

/* ---- handlers ---- */
Handler checkpoint_create_waiting, checkpoint_create, checkpoint_list, checkpoint_show, checkpoint_drill,
    checkpoint_cancel;
Handler rotation_view, overview_show;
Handler alert_list, alert_test, alert_acknowledge, silence_list, silence_create, silence_end, notification_show;
Handler checkpoint_tables; /* tables.c */
void tables_left(Request *request);
Handler checkpoint_pin, checkpoint_unpin, retention_show, retention_create, inventory_create;
Handler agent_drain, agent_undrain, database_cordon, database_uncordon, fleet_pause, fleet_resume, hold_list;
enum MHD_Result checkpoint_answer(Request *request), tunnel_answer(Request *request); /* of requests that waited */
Handler plan_create, restore_create, rehearsal_create, jobs_show, jobs_list, jobs_approve, jobs_cancel, jobs_tunnel;
Handler drill_list, database_list, agent_list, ledger_events, ledger_verify, token_list, token_create, token_rotate,
    token_revoke;
Handler agent_invite, agent_revoke, agent_enroll, authority_show;
Handler fleet_apply, fleet_show, schedule_show;
Handler report_show, report_plans, report_send;
Handler health_alive, health_ready, metrics_show, events_all, events_checkpoint;
Handler web_home, web_asset, session_show, session_create, session_end, session_end_all;
Handler sign_in_show, sign_in_begin, sign_in_finish;

/* ---- waiting and streams ---- */
void reports_made(void *user, const char *key); /* wakes who waits for that report; user: the Api */
void sign_in_ended(void *user, uint64_t flow);  /* the same, of sign-ins */
void sign_in_left(Request *request);            /* it is over, answered or not; if it was one */
void request_suspend(Request *request);
void request_resume(Request *request);
void events_observe(Api *api); /* registers with dispatch */
void tunnel_observe(Api *api); /* the same, for frames */
void tunnel_sweep(Api *api);   /* answers those that have waited long enough */
void events_heartbeat(Api *api);
void events_revoked(Api *api, const char *token_hash);      /* ends what this token still gets */
void events_signed_out(Api *api, const char *session_hash); /* the same, of one session */
void stream_free(Stream *stream);

#endif
