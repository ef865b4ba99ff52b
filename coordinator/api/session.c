/*
 * Signed in at the dashboard. A token is exchanged for a cookie of 256 random bits, of which the ledger keeps the
 * SHA-256 alone; with it one may what the token may, as long as that is good. (By OpenID Connect: sign_in.c; then what
 * one may is what a grant of the configuration says, as long as it is there.) A browser sends cookies by itself, so a
 * change has to show, too, that it comes from the dashboard's own page: by a header with a text that only that page can
 * have read, made of the cookie, and by no foreign Origin. (docs/security.md)
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"
#include "coordinator/api/internal.h"
#include "coordinator/ledger/sign_in.h"

/* Seconds: how long without a request, and how long in all. */
enum { IDLE = 12 * 3600, LIFE = 7 * 86400, SEEN_INTERVAL = 60, SECOND_US = 1000 * 1000 };
enum { SECRET_BYTES = 32, SECRET_TEXT = 2 * SECRET_BYTES + 1, MOST_OF_A_TOKEN = 100, HOST_LIMIT = 300 };

#define COOKIE "pgseal_session"
#define CSRF_HEADER "X-Pgseal-CSRF"

static void free_json(json_t **json) {
  json_decref(*json);
}

static const char *header_of(Request *request, const char *name) {
  return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* Where the browser speaks TLS, with us or with a proxy of ours, the cookie is for that alone, and for this very host.
 */
bool session_is_secure(const Request *request) {
  return request->api->credentials || forwarded_by_https(request);
}

static const char *cookie_name(const Request *request) {
  return session_is_secure(request) ? "__Host-" COOKIE : COOKIE;
}

/* ---- from this page? ---- */

static bool is_change(const Request *request) {
  return strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0;
}

/* What browsers say of where a request comes from; who says nothing is no browser, or a very old one. */
static bool is_foreign(Request *request) {
  const char *origin = header_of(request, "Origin"), *host = header_of(request, "Host");
  const char *site = header_of(request, "Sec-Fetch-Site");
  const char *forwarded = header_of(request, "X-Forwarded-Host");
  if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
    return true;
  if (!origin)
    return false;
  const char *name = strstr(origin, "://");
  if (!name || !host || strlen(origin) > HOST_LIMIT)
    return true; /* "null": a sandboxed frame, a file */
  return strcasecmp(name + 3, host) != 0 &&
         !(forwarded && forwarded_by_https(request) && strcasecmp(name + 3, forwarded) == 0);
}

static Status foreign(Error *err) {
  error_set(err, ERR_FORBIDDEN, "the request does not come from this dashboard's own page");
  error_remedy(err, "Open the dashboard at the address that the coordinator has; a reverse proxy must pass on `Host`. "
                    "Scripts use a token: `Authorization: Bearer ...`.");
  return ERR_FORBIDDEN;
}

bool session_is_foreign(Request *request, Error *err) {
  return is_foreign(request) && foreign(err) != STATUS_OK;
}

static void csrf_of(const char *secret, char out[SHA256_HEX_SIZE]) {
  char text[SECRET_TEXT + 16];
  snprintf(text, sizeof text, "csrf %s", secret);
  sha256_hex(text, strlen(text), out);
  explicit_bzero(text, sizeof text);
}

static Status check_change(Request *request, Error *err) {
  const char *shown = header_of(request, CSRF_HEADER);
  bool same = shown && strlen(shown) == strlen(request->csrf) &&
              CRYPTO_memcmp(shown, request->csrf, strlen(request->csrf)) == 0;
  return same && !is_foreign(request) ? STATUS_OK : foreign(err);
}

/* ---- a session ---- */

/* NULL: it came by a token; or by a grant that there is no more, and is over. */
static const OidcGrant *grant_of(const Api *api, const LedgerSession *session) {
  return session->grant_key[0] ? oidc_settings_grant(&api->config->oidc, session->grant_key) : NULL;
}

static bool is_over(const Api *api, const LedgerSession *session, int64_t now) {
  return now >= session->expires_us || now - session->seen_us >= (int64_t)IDLE * SECOND_US ||
         (session->grant_key[0] && !grant_of(api, session));
}

bool session_still_good(Api *api, const char *session_hash) {
  LedgerSession session;
  Error ignored; /* who cannot be looked up is not let in */
  return !*session_hash || (ledger_session_get(api->ledger, session_hash, &session, &ignored) == STATUS_OK &&
                            !is_over(api, &session, clock_wall_us()));
}

static void note_seen(Api *api, const LedgerSession *session, int64_t now) {
  Error err;
  if (now - session->seen_us < (int64_t)SEEN_INTERVAL * SECOND_US)
    return;
  Status status = ledger_begin(api->ledger, &err);
  if (!status)
    status = ledger_session_seen(api->ledger, session->hash, now, &err);
  if (!status)
    status = ledger_commit(api->ledger, &err);
  if (status) {
    ledger_rollback(api->ledger);
    log_failure(LOG_LEVEL_WARN, "cannot note a session's use", &err);
  }
}

/* By a token, what he may is asked of that; by a grant, it is said here. */
static void identify(Request *request, const LedgerSession *session) {
  const OidcGrant *grant = grant_of(request->api, session);
  request->token_hash[0] = 0;
  if (!grant) {
    memcpy(request->token_hash, session->token_hash, sizeof request->token_hash);
    return;
  }
  snprintf(request->actor, sizeof request->actor, "%s", session->name);
  snprintf(request->person, sizeof request->person, "%s", session->name);
  request->role = auth_role(grant->role);
  scope_release(&request->scope);
  scope_load(&request->scope, grant->databases);
}

Status session_check(Request *request, Error *err) {
  const char *secret = MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, cookie_name(request));
  LedgerSession session;
  Error cause;
  int64_t now = clock_wall_us();
  if (!secret || strlen(secret) != SECRET_TEXT - 1)
    return error_set(err, ERR_UNAUTHORIZED, "a valid token is needed");
  char hash[SHA256_HEX_SIZE];
  sha256_hex(secret, strlen(secret), hash);
  Status status = ledger_session_get(request->api->ledger, hash, &session, &cause);
  if (status && status != ERR_NOT_FOUND) {
    *err = cause;
    return status;
  }
  if (status || is_over(request->api, &session, now)) {
    error_set(err, ERR_UNAUTHORIZED, "you are not signed in any more");
    error_remedy(err, "Sign in again.");
    return ERR_UNAUTHORIZED;
  }
  memcpy(request->session_hash, session.hash, sizeof request->session_hash);
  identify(request, &session);
  csrf_of(secret, request->csrf);
  if (is_change(request) && (status = check_change(request, err)) != STATUS_OK)
    return status;
  note_seen(request->api, &session, now);
  return STATUS_OK;
}

/* ---- signing in and out ---- */

static enum MHD_Result show(Request *request, int64_t expires_us) {
  json_t *databases = request->scope.globs ? json_incref(request->scope.globs) : json_pack("[s]", "*");
  return respond_json(request, MHD_HTTP_OK,
                      json_pack("{s:b, s:s, s:s, s:o, s:o, s:o, s:s}", "ok", 1, "name", request->actor, "role",
                                auth_role_name(request->role), "databases", databases, "csrf",
                                request->csrf[0] ? json_string(request->csrf) : json_null(), "expires_at",
                                render_time(expires_us), "version", PGSEAL_VERSION));
}

enum MHD_Result session_show(Request *request) {
  LedgerSession session = {0};
  Error err;
  if (request->session_hash[0] &&
      ledger_session_get(request->api->ledger, request->session_hash, &session, &err) != STATUS_OK)
    return respond_failure(request, &err);
  return show(request, session.expires_us);
}

static Status append_event(Request *request, const char *kind, json_t *detail, Error *err) {
  json_object_set_new(detail, "address", json_string(request->address));
  LedgerEvent event = {.kind = (char *)kind, .actor = request->actor, .detail = detail};
  return ledger_event_append(request->api->ledger, &event, err);
}

static Status insert(Request *request, LedgerSession *session, SessionMore *more, void *user, Error *err) {
  Ledger *ledger = request->api->ledger;
  CLEANUP(free_json) json_t *detail = json_object();
  Status status = ledger_begin(ledger, err);
  if (!status)
    status = ledger_session_tidy(ledger, session->token_hash, session->created_us,
                                 session->created_us - (int64_t)IDLE * SECOND_US, MOST_OF_A_TOKEN - 1, err);
  if (!status && more)
    status = more(request, user, session, detail, err);
  if (!status)
    status = ledger_session_insert(ledger, session, err);
  if (!status)
    status = append_event(request, "session.opened", detail, err);
  if (!status)
    status = ledger_commit(ledger, err);
  if (status)
    ledger_rollback(ledger);
  return status;
}

static void set_cookie(Request *request, const char *secret, int seconds) {
  free((char *)request->cookie);
  request->cookie = memory_format("%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", cookie_name(request),
                                  secret, seconds, session_is_secure(request) ? "; Secure" : "");
}

/* The token in the body, which is checked as any other. */
static Status read_token(Request *request, Error *err) {
  static const char *const known[] = {"token"};
  CLEANUP(free_json) json_t *body = NULL;
  Status status = query_body(request, &body, err);
  if (!status)
    status = query_members(body, known, ARRAY_SIZE(known), err);
  if (status)
    return status;
  const char *text = json_string_value(json_object_get(body, "token"));
  if (!text)
    return error_set(err, ERR_INVALID_ARGUMENT, "the body must have the string \"token\"");
  status = auth_check_text(request, text, strlen(text), err);
  explicit_bzero((char *)(uintptr_t)text, strlen(text));
  explicit_bzero(request->body.data, request->body.size);
  return status;
}

Status session_open(Request *request, LedgerSession *session, int seconds, SessionMore *more, void *user, Error *err) {
  uint8_t random[SECRET_BYTES];
  char secret[SECRET_TEXT];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set(err, ERR_INTERNAL, "no random bytes to be had");
  text_hex(random, sizeof random, secret);
  session->created_us = session->seen_us = clock_wall_us();
  session->expires_us = session->created_us + (int64_t)seconds * SECOND_US;
  sha256_hex(secret, strlen(secret), session->hash);
  Status status = insert(request, session, more, user, err);
  if (!status) {
    csrf_of(secret, request->csrf);
    set_cookie(request, secret, seconds);
  }
  explicit_bzero(secret, sizeof secret);
  return status;
}

enum MHD_Result session_create(Request *request) {
  LedgerSession session = {0};
  Error err;
  Status status = is_foreign(request) ? foreign(&err) : read_token(request, &err);
  if (status == ERR_UNAUTHORIZED || status == ERR_FORBIDDEN)
    return router_deny(request, &err);
  memcpy(session.token_hash, request->token_hash, sizeof session.token_hash);
  if (!status)
    status = session_open(request, &session, LIFE, NULL, NULL, &err);
  return status ? respond_failure(request, &err) : show(request, session.expires_us);
}

enum MHD_Result session_end(Request *request) {
  Ledger *ledger = request->api->ledger;
  CLEANUP(free_json) json_t *detail = json_object();
  CLEANUP_FREE char *leave = NULL;
  Error err;
  if (!request->session_hash[0]) {
    error_set(&err, ERR_NOT_FOUND, "there is no session: the request has a token of its own");
    error_remedy(&err, "A token is ended by `pgseal token revoke`.");
    return respond_failure(request, &err);
  }
  Status status = ledger_begin(ledger, &err);
  if (!status)
    status = ledger_session_remove(ledger, request->session_hash, &err);
  if (!status)
    status = append_event(request, "session.closed", detail, &err);
  if (!status)
    status = ledger_commit(ledger, &err);
  if (status) {
    ledger_rollback(ledger);
    return respond_failure(request, &err);
  }
  events_signed_out(request->api, request->session_hash);
  set_cookie(request, "", 0);
  if (!request->token_hash[0] && request->api->oidc)
    leave = oidc_leave(request->api->oidc);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:o}", "ok", 1, "sign_out_at", render_text(leave)));
}

/* Of who signed in by OpenID Connect, at once: his grant is another matter, and so is whether he may sign in again. A
 * token's sessions end with the token. */
enum MHD_Result session_end_all(Request *request) {
  Ledger *ledger = request->api->ledger;
  CLEANUP(free_json) json_t *detail = json_pack("{s:s}", "name", request->arg);
  int64_t count = 0;
  Error err;
  Status status = detail && *request->arg ? ledger_begin(ledger, &err)
                                          : error_set(&err, ERR_NOT_FOUND, "nobody can be called that");
  if (!status)
    status = ledger_person_sessions_end(ledger, request->arg, &count, &err);
  if (!status && count == 0) {
    status = error_set(&err, ERR_NOT_FOUND, "nobody called %s is signed in by OpenID Connect", request->arg);
    error_remedy(&err, "What the ledger calls people is in its events session.opened. Sessions by a token end with it: "
                       "`pgseal token revoke`.");
  }
  json_object_set_new(detail, "count", json_integer(count));
  if (!status)
    status = append_event(request, "session.ended", detail, &err);
  if (!status)
    status = ledger_commit(ledger, &err);
  if (status) {
    ledger_rollback(ledger);
    return respond_failure(request, &err);
  }
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:I}", "ok", 1, "ended", (json_int_t)count));
}
