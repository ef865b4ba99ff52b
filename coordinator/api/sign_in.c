/*
 * Signing in by OpenID Connect: the ways that a browser takes (coordinator/oidc does what is to be done).
 *
 *   POST /api/v1/sign-in            from the sign-in page: a cookie for this sign-in, and the issuer's URL to go to
 *   GET  /api/v1/sign-in/callback   back from the issuer: a session's cookie, and a page that goes on to the dashboard
 *
 * A session's cookie is SameSite=Strict: browsers do not send it with a navigation that another site began, such as the
 * redirect that comes back from the issuer. So the callback does not redirect: it answers with a page of ours, and what
 * that page goes to is a navigation of this site. The cookie of the sign-in itself has to come with that redirect: it
 * is SameSite=Lax, lives for ten minutes, and opens nothing.
 */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"
#include "coordinator/ledger/sign_in.h"

#define COOKIE "pgseal_sign_in"
enum { SECOND_US = 1000 * 1000, HOUR = 3600 };

/* As /ui/ has, but nothing runs here. */
static const char policy[] =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static int64_t now_s(void) {
  return clock_wall_us() / SECOND_US;
}

static const char *cookie_name(const Request *request) {
  return session_is_secure(request) ? "__Host-" COOKIE : COOKIE;
}

static char *cookie_line(const Request *request, const char *value, int seconds) {
  return memory_format("%s=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=%d%s", cookie_name(request), value, seconds,
                       session_is_secure(request) ? "; Secure" : "");
}

/* What this browser began, if it did and not too long ago. */
static bool read_cookie(Request *request, OidcSecrets *secrets) {
  const char *cookie = MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, cookie_name(request));
  return oidc_cookie_read(cookie, now_s(), secrets);
}

static Status not_configured(Error *err) {
  error_set(err, ERR_NOT_FOUND, "there is no sign-in by OpenID Connect here");
  error_remedy(err, "Sign in with a token; or see `oidc` in docs/dashboard.md.");
  return ERR_NOT_FOUND;
}

/* ---- the page that the callback answers with ---- */

static void add_page(Buffer *out, const Error *err) {
  buffer_append_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                          "<meta name=\"color-scheme\" content=\"light dark\">");
  if (!err)
    buffer_append_text(out, "<meta http-equiv=\"refresh\" content=\"0;url=/\">");
  buffer_append_text(out,
                     "<title>Sign in - pgseal</title><link rel=\"icon\" href=\"/ui/seal.svg\" type=\"image/svg+xml\">"
                     "<link rel=\"stylesheet\" href=\"/ui/style.css\"></head><body><main><div class=\"sign-in\">"
                     "<img src=\"/ui/seal.svg\" alt=\"\" width=\"44\" height=\"44\"><h1>pgseal</h1>");
  if (err) {
    buffer_append_text(out, "<div class=\"notice bad\" role=\"alert\"><p><strong>");
    buffer_append_html(out, err->message);
    buffer_append_text(out, "</strong></p><p>");
    buffer_append_html(out, err->remedy);
    buffer_append_format(out, "</p><p class=\"dim\">%s</p></div>", error_code(err->status));
  } else {
    buffer_append_text(out, "<p>You are signed in.</p>");
  }
  buffer_append_format(out, "<p><a href=\"/\">To the %s</a></p></div></main></body></html>\n",
                       err ? "sign-in page" : "dashboard");
}

static void add_headers(Request *request, struct MHD_Response *response) {
  CLEANUP_FREE char *gone = cookie_line(request, "", 0);
  MHD_add_response_header(response, "Content-Type", "text/html; charset=utf-8");
  MHD_add_response_header(response, "Content-Security-Policy", policy);
  MHD_add_response_header(response, "Cache-Control", "no-store");
  MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  MHD_add_response_header(response, "X-Frame-Options", "DENY");
  MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
  MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
  MHD_add_response_header(response, "Set-Cookie", gone);
  if (request->cookie)
    MHD_add_response_header(response, "Set-Cookie", request->cookie);
}

/* err NULL: signed in. */
static enum MHD_Result send_page(Request *request, const Error *err) {
  CLEANUP(buffer_release) Buffer page = {0};
  add_page(&page, err);
  struct MHD_Response *response = MHD_create_response_from_buffer(page.size, page.data, MHD_RESPMEM_MUST_COPY);
  if (!response)
    return MHD_NO;
  add_headers(request, response);
  enum MHD_Result result =
      MHD_queue_response(request->connection, err ? respond_status(err->status) : MHD_HTTP_OK, response);
  MHD_destroy_response(response);
  request->phase = PHASE_ANSWERED;
  return result;
}

static enum MHD_Result refuse(Request *request, Error *err) {
  if (err->status == ERR_UNAUTHORIZED || err->status == ERR_FORBIDDEN)
    router_note_denied(request, err);
  return send_page(request, err);
}

/* ---- waiting for the issuer ---- */

static Status start(Request *request, const OidcAsked *asked, uint64_t *flow, Error *err) {
  OidcAsked of = *asked;
  of.origin = origin_find(request->api, &request->client)->key;
  return oidc_start(request->api->oidc, &of, flow, err);
}

static enum MHD_Result await(Request *request, uint64_t flow, enum MHD_Result (*answer)(Request *)) {
  request->waiting_for = memory_format("%llu", (unsigned long long)flow);
  request->answer = answer;
  if (oidc_ended(request->api->oidc, flow)) /* the issuer was known */
    return answer(request);
  request->phase = PHASE_WAITING;
  request_suspend(request);
  return MHD_YES;
}

static Status take(Request *request, OidcOutcome *out, Error *err) {
  if (!oidc_take(request->api->oidc, strtoull(request->waiting_for, NULL, 10), out))
    return error_set(err, ERR_UNAVAILABLE, "the coordinator is stopping");
  if (out->status)
    *err = out->err;
  return out->status;
}

/* ---- it begins ---- */

enum MHD_Result sign_in_show(Request *request) {
  const OidcSettings *settings = &request->api->config->oidc;
  json_t *oidc =
      settings->issuer ? json_pack("{s:s, s:s}", "name", settings->name, "at", settings->public_url) : json_null();
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:o}", "ok", 1, "oidc", oidc));
}

static enum MHD_Result begin_answer(Request *request) {
  OidcOutcome outcome = {0};
  Error err;
  if (take(request, &outcome, &err) != STATUS_OK) {
    free((char *)request->cookie);
    request->cookie = NULL;
    return respond_failure(request, &err);
  }
  json_t *json = json_pack("{s:b, s:s}", "ok", 1, "location", outcome.url);
  free(outcome.url);
  return respond_json(request, MHD_HTTP_OK, json);
}

enum MHD_Result sign_in_begin(Request *request) {
  char cookie[OIDC_COOKIE_SIZE];
  OidcSecrets secrets = {0};
  uint64_t flow = 0;
  Error err;
  if (!request->api->oidc)
    return not_configured(&err), respond_failure(request, &err);
  if (session_is_foreign(request, &err))
    return router_deny(request, &err);
  Status status = oidc_cookie_make(now_s(), cookie, &err);
  if (!status && !oidc_cookie_read(cookie, now_s(), &secrets))
    status = error_set(&err, ERR_INTERNAL, "a sign-in cannot be begun");
  if (!status)
    status = start(request, &(OidcAsked){.secrets = &secrets}, &flow, &err);
  if (!status)
    request->cookie = cookie_line(request, cookie, OIDC_SECONDS);
  explicit_bzero(cookie, sizeof cookie);
  explicit_bzero(&secrets, sizeof secrets);
  return status ? respond_failure(request, &err) : await(request, flow, begin_answer);
}

/* ---- it comes back ---- */

typedef struct Given { /* of the callback's parameters */
  const char *code, *state, *issuer, *error;
  bool twice;
} Given;

static enum MHD_Result on_parameter(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
  (void)kind;
  Given *given = user;
  const struct {
    const char *name, **out;
  } known[] = {{"code", &given->code}, {"state", &given->state}, {"iss", &given->issuer}, {"error", &given->error}};
  for (size_t i = 0; i < ARRAY_SIZE(known); i++)
    if (strcmp(known[i].name, name) == 0) {
      given->twice |= *known[i].out != NULL;
      *known[i].out = value ? value : "";
    }
  return MHD_YES;
}

static Status fail(Error *err, const char *what) {
  error_set(err, ERR_UNAUTHORIZED, "%s", what);
  error_remedy(err, "Go to the sign-in page and sign in again.");
  return ERR_UNAUTHORIZED;
}

static bool code_valid(const char *code) {
  for (const char *p = code; *p; p++)
    if (*p < ' ' || *p > '~')
      return false;
  return *code && strlen(code) <= OIDC_CODE_LIMIT;
}

/* Is it this browser's own, of this issuer, and neither refused nor used already? */
static Status check_given(Request *request, const OidcSecrets *secrets, const Given *given, Error *err) {
  char name[64];
  bool used = false;
  if (given->twice || !given->state || strlen(given->state) != strlen(secrets->state) ||
      CRYPTO_memcmp(given->state, secrets->state, strlen(secrets->state)) != 0)
    return fail(err, "this answer of the issuer is not of the sign-in that this browser began last");
  if (given->issuer && strcmp(given->issuer, request->api->config->oidc.issuer) != 0)
    return fail(err, "this answer is of another issuer");
  if (given->error) {
    CLEANUP_FREE char *what = memory_format("the issuer did not sign you in: %s", oidc_error_name(given->error, name));
    return fail(err, what);
  }
  if (!given->code || !code_valid(given->code))
    return fail(err, "this answer of the issuer has no code");
  Status status = ledger_sign_in_used(request->api->ledger, secrets->used, &used, err);
  return !status && used ? fail(err, "this sign-in has been used already") : status;
}

typedef struct Arrived {
  const OidcSecrets *secrets;
  const OidcPerson *person;
} Arrived;

/* With the session's beginning: the sign-in is used up, for all coordinators, and the person keeps his first name. */
static Status note_arrival(Request *request, void *user, LedgerSession *session, json_t *detail, Error *err) {
  const Arrived *arrived = user;
  Ledger *ledger = request->api->ledger;
  Status status = ledger_sign_in_insert(ledger, arrived->secrets->used, session->created_us,
                                        session->created_us + (int64_t)2 * OIDC_SECONDS * SECOND_US, err);
  if (status == ERR_CONFLICT)
    return fail(err, "this sign-in has been used already");
  if (!status)
    status = ledger_person_name(ledger, arrived->person->key, arrived->person->other, session->created_us,
                                session->name, err);
  if (status)
    return status;
  snprintf(request->actor, sizeof request->actor, "%s", session->name);
  json_object_set_new(detail, "issuer", json_string(request->api->config->oidc.issuer));
  json_object_set_new(detail, "subject", json_string(arrived->person->subject));
  json_object_set_new(detail, "role", json_string(arrived->person->grant->role));
  return STATUS_OK;
}

static Status open_for(Request *request, const OidcSecrets *secrets, const OidcPerson *person, Error *err) {
  LedgerSession session = {0};
  Arrived arrived = {secrets, person};
  memcpy(session.token_hash, person->key, sizeof session.token_hash);
  memcpy(session.grant_key, person->grant->key, sizeof session.grant_key);
  snprintf(session.name, sizeof session.name, "%s", person->name);
  return session_open(request, &session, request->api->config->oidc.session_hours * HOUR, note_arrival, &arrived, err);
}

static enum MHD_Result finish_answer(Request *request) {
  OidcOutcome outcome = {0};
  OidcSecrets secrets;
  Error err;
  Status status = take(request, &outcome, &err);
  free(outcome.url);
  if (!status && !read_cookie(request, &secrets))
    status = fail(&err, "this sign-in took too long");
  if (!status)
    status = open_for(request, &secrets, &outcome.person, &err);
  return status ? refuse(request, &err) : send_page(request, NULL);
}

enum MHD_Result sign_in_finish(Request *request) {
  OidcSecrets secrets;
  Given given = {0};
  uint64_t flow = 0;
  Error err;
  if (!request->api->oidc)
    return not_configured(&err), respond_failure(request, &err);
  if (strcmp(request->method, "GET") != 0) /* a HEAD would use it up */
    return error_set(&err, ERR_INVALID_ARGUMENT, "a sign-in comes back by GET"), send_page(request, &err);
  MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, on_parameter, &given);
  Status status = read_cookie(request, &secrets)
                      ? check_given(request, &secrets, &given, &err)
                      : fail(&err, "this sign-in was not begun in this browser, or more than 10 minutes ago");
  if (!status)
    status = start(request, &(OidcAsked){.secrets = &secrets, .code = given.code, .names_issuer = given.issuer}, &flow,
                   &err);
  explicit_bzero(&secrets, sizeof secrets);
  return status ? refuse(request, &err) : await(request, flow, finish_answer);
}

void sign_in_ended(void *user, uint64_t flow) {
  Api *api = user;
  CLEANUP_FREE char *number = memory_format("%llu", (unsigned long long)flow);
  for (Request *request = api->requests; request; request = request->next)
    if (request->phase == PHASE_WAITING && (request->answer == begin_answer || request->answer == finish_answer) &&
        strcmp(request->waiting_for, number) == 0) {
      request->finished = true;
      request_resume(request);
      return;
    }
  oidc_forget(api->oidc, flow); /* who asked has left */
}

/* Whatever became of it: what is left of its flow would take another's place. */
void sign_in_left(Request *request) {
  if (request->answer == begin_answer || request->answer == finish_answer)
    oidc_forget(request->api->oidc, strtoull(request->waiting_for, NULL, 10));
}
