#include "coordinator/oidc/oidc.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "coordinator/delivery/sender.h"

enum { ANSWER_SECONDS = 10, SECOND_US = 1000 * 1000 };
#define KEPT_US ((int64_t)3600 * SECOND_US)
#define REKEY_US ((int64_t)30 * SECOND_US)
#define FAILED_US ((int64_t)2 * SECOND_US)
#define DISCOVERY "/.well-known/openid-configuration"

typedef enum Known { UNKNOWN, DESCRIBING, FETCHING, KNOWN } Known;
typedef enum Step { WAITING, EXCHANGING, REKEYING, ASKING, ENDED } Step;

typedef struct Flow {
  uint64_t number;
  Step step;
  bool forgotten, names_issuer; /* forgotten: while it was under way */
  uint8_t origin[OIDC_ORIGIN];
  OidcSecrets secrets;
  char *code; /* NULL: it begins */
  OidcTokens tokens;
  json_t *claims; /* of the ID token, checked */
  OidcOutcome outcome;
  struct Flow *next;
} Flow;

struct Oidc {
  const OidcSettings *settings;
  Sender *sender;
  void (*ended)(void *user, uint64_t flow); /* NULL: it is being closed */
  void (*closed)(void *user);               /* or NULL */
  void *user;
  Known known;
  OidcMetadata metadata;
  json_t *keys;
  int64_t described_us, rekeyed_us, failed_us; /* monotonic; 0: never */
  Error failure;                               /* the last */
  Flow *flows;
  size_t flow_count;
  uint64_t last;
};

/* ---- flows ---- */

static void flow_free(Flow *flow) {
  explicit_bzero(&flow->secrets, sizeof flow->secrets);
  secret_text_free(&flow->code);
  oidc_tokens_release(&flow->tokens);
  json_decref(flow->claims);
  free(flow->outcome.url);
  free(flow);
}

static Flow *find(Oidc *oidc, uint64_t number) {
  Flow *flow = oidc->flows;
  while (flow && flow->number != number)
    flow = flow->next;
  return flow;
}

static void drop(Oidc *oidc, Flow *flow) {
  Flow **link = &oidc->flows;
  while (*link != flow)
    link = &(*link)->next;
  *link = flow->next;
  oidc->flow_count--;
  flow_free(flow);
}

/* Whoever begins sign-ins that he does not end leaves room for others. */
static bool has_room(const Oidc *oidc, const uint8_t *origin) {
  size_t own = 0;
  for (const Flow *flow = oidc->flows; flow && origin; flow = flow->next)
    own += memcmp(flow->origin, origin, OIDC_ORIGIN) == 0;
  return oidc->flow_count < OIDC_FLOWS && own < OIDC_FLOWS_EACH;
}

static Status add(Oidc *oidc, const OidcAsked *asked, uint64_t *number, Error *err) {
  if (!has_room(oidc, asked->origin)) {
    error_set(err, ERR_TOO_MANY, "too many sign-ins are under way");
    error_remedy(err, "Sign in again in a moment.");
    return ERR_TOO_MANY;
  }
  Flow *flow = memory_alloc(sizeof *flow);
  *flow = (Flow){.number = ++oidc->last,
                 .names_issuer = asked->names_issuer,
                 .secrets = *asked->secrets,
                 .code = asked->code ? memory_strdup(asked->code) : NULL};
  if (asked->origin)
    memcpy(flow->origin, asked->origin, OIDC_ORIGIN);
  flow->next = oidc->flows;
  oidc->flows = flow;
  oidc->flow_count++;
  *number = flow->number;
  return STATUS_OK;
}

static void end(Flow *flow, Status status, const Error *err) {
  flow->step = ENDED;
  flow->outcome.status = status;
  if (status != STATUS_OK)
    flow->outcome.err = *err;
}

/* Who waits is told last of all: he may take it, and begin another. */
static void tell(Oidc *oidc) {
  for (Flow *flow = oidc->flows, *next; flow; flow = next) {
    next = flow->next;
    if (flow->step == ENDED && flow->forgotten)
      drop(oidc, flow);
  }
  uint64_t ended[OIDC_FLOWS];
  size_t count = 0;
  for (Flow *flow = oidc->flows; flow; flow = flow->next)
    if (flow->step == ENDED)
      ended[count++] = flow->number;
  for (size_t i = 0; i < count && oidc->ended; i++)
    oidc->ended(oidc->user, ended[i]);
}

/* ---- the network ---- */

/* id: of what is asked: "d", "k", or "t" or "u" and a flow's number. header and body are taken. */
static Status submit(Oidc *oidc, const char *id, const char *url, char *header, char *body, Error *err) {
  Delivery *delivery = memory_alloc(sizeof *delivery);
  *delivery = (Delivery){.receiver = {.ca_file = oidc->settings->ca_file},
                         .url = memory_strdup(url),
                         .body = body,
                         .size = body ? strlen(body) : 0,
                         .seconds = ANSWER_SECONDS,
                         .answer_limit = OIDC_ANSWER_LIMIT};
  snprintf(delivery->id, sizeof delivery->id, "%s", id);
  delivery_header(delivery, memory_strdup("Accept: application/json"));
  if (header)
    delivery_header(delivery, header);
  if (sender_room(oidc->sender) == 0) {
    delivery_free(delivery);
    return error_set(err, ERR_TOO_MANY, "too much is asked of the issuer");
  }
  sender_submit(oidc->sender, delivery);
  return STATUS_OK;
}

static Status unreachable(const char *what, const Delivery *delivery, Error *err) {
  error_set(err, ERR_UNAVAILABLE, "the issuer %s: %s", what, delivery->error);
  error_remedy(err, "Can this coordinator reach it? `pgseal-coordinator check` says what `oidc` in coordinator.yaml "
                    "comes to.");
  return ERR_UNAVAILABLE;
}

/* ---- the issuer ---- */

static Status describe(Oidc *oidc, Error *err) {
  size_t length = strlen(oidc->settings->issuer);
  bool slash = oidc->settings->issuer[length - 1] == '/'; /* Discovery, 4.1: one that ends the issuer goes */
  CLEANUP_FREE char *url = memory_format("%.*s" DISCOVERY, (int)(length - slash), oidc->settings->issuer);
  Status status = submit(oidc, "d", url, NULL, NULL, err);
  if (status == STATUS_OK)
    oidc->known = DESCRIBING;
  return status;
}

static Status fetch(Oidc *oidc, Error *err) {
  Status status = submit(oidc, "k", oidc->metadata.jwks_uri, NULL, NULL, err);
  if (status == STATUS_OK)
    oidc->known = FETCHING;
  return status;
}

/* OK: it is, or will be and waiting flows go on then. */
static Status want(Oidc *oidc, Error *err) {
  if (oidc->known == UNKNOWN && oidc->failed_us && clock_monotonic_us() - oidc->failed_us < FAILED_US) {
    *err = oidc->failure;
    return err->status;
  }
  if (oidc->known == UNKNOWN || (oidc->known == KNOWN && clock_monotonic_us() - oidc->described_us > KEPT_US))
    return describe(oidc, err);
  return STATUS_OK;
}

/* ---- one flow's way ---- */

static Status exchange(Oidc *oidc, Flow *flow, Error *err) {
  CLEANUP(secret_text_free) char *secret = NULL;
  char id[24];
  if (oidc->metadata.tells_issuer && !flow->names_issuer) { /* before anybody sees the code */
    error_set(err, ERR_UNAUTHORIZED, "this answer does not say which issuer it is of");
    error_remedy(err, "Go to the sign-in page and sign in again.");
    return ERR_UNAUTHORIZED;
  }
  Status status = oidc_settings_secret(oidc->settings, &secret, err);
  if (status != STATUS_OK)
    return status;
  snprintf(id, sizeof id, "t%llu", (unsigned long long)flow->number);
  char *header = secret ? oidc_basic_header(oidc->settings, secret) : NULL;
  char *body = oidc_exchange_body(oidc->settings, &flow->secrets, flow->code);
  status = submit(oidc, id, oidc->metadata.token_endpoint, header, body, err);
  if (status == STATUS_OK)
    flow->step = EXCHANGING;
  return status;
}

/* What the ID token leaves out, of whom the access token is for. */
static Status ask(Oidc *oidc, Flow *flow, Error *err) {
  char id[24];
  char *header = oidc_bearer_header(flow->tokens.access_token);
  if (!header)
    return error_set(err, ERR_UNAVAILABLE, "the issuer's access token has what no token may have");
  snprintf(id, sizeof id, "u%llu", (unsigned long long)flow->number);
  Status status = submit(oidc, id, oidc->metadata.userinfo_endpoint, header, NULL, err);
  if (status == STATUS_OK)
    flow->step = ASKING;
  return status;
}

/* A key is not known: are others on their way now? */
static bool rekey(Oidc *oidc) {
  int64_t now = clock_monotonic_us();
  Error ignored; /* then it stays with what is known */
  if (oidc->known == FETCHING || oidc->known == DESCRIBING)
    return true;
  if ((oidc->rekeyed_us && now - oidc->rekeyed_us < REKEY_US) || oidc->known != KNOWN)
    return false;
  oidc->rekeyed_us = now;
  return fetch(oidc, &ignored) == STATUS_OK;
}

/* The tokens that came, with the keys that are known. */
static void judge(Oidc *oidc, Flow *flow) {
  const OidcExpected expected = {.settings = oidc->settings,
                                 .keys = oidc->keys,
                                 .nonce = flow->secrets.nonce,
                                 .access_token = flow->tokens.access_token,
                                 .now_s = clock_wall_us() / SECOND_US};
  Error err;
  Status status = oidc_identity_check(&expected, flow->tokens.id_token, &flow->claims, &err);
  if (status == STATUS_OK && oidc->metadata.userinfo_endpoint && flow->tokens.access_token &&
      oidc_claims_lack(oidc->settings, flow->claims)) {
    status = ask(oidc, flow, &err);
    if (status == STATUS_OK)
      return;
  } else if (status == STATUS_OK) {
    status = oidc_person(oidc->settings, flow->claims, NULL, &flow->outcome.person, &err);
  }
  if (status == ERR_NOT_FOUND && flow->step != REKEYING) {
    if (rekey(oidc)) {
      flow->step = REKEYING;
      return;
    }
  }
  if (status == ERR_NOT_FOUND) {
    err.status = status = ERR_UNAUTHORIZED;
    error_remedy(&err, "If the issuer has a new key, sign in again in half a minute.");
  }
  end(flow, status, &err);
}

static void go_on(Oidc *oidc, Flow *flow) {
  Error err;
  if (flow->step == REKEYING) {
    judge(oidc, flow);
    return;
  }
  if (flow->step != WAITING)
    return;
  if (flow->code) {
    Status status = exchange(oidc, flow, &err);
    if (status != STATUS_OK)
      end(flow, status, &err);
    return;
  }
  flow->outcome.url = oidc_authorization_url(oidc->settings, &oidc->metadata, &flow->secrets);
  end(flow, STATUS_OK, NULL);
}

static void all_go_on(Oidc *oidc) {
  for (Flow *flow = oidc->flows; flow; flow = flow->next)
    go_on(oidc, flow);
}

/* It cannot be known now: what waits for it ends. The keys that were known stay: they were good. */
static void all_end(Oidc *oidc, const Error *err) {
  oidc->known = UNKNOWN;
  oidc->failed_us = clock_monotonic_us();
  oidc->failure = *err;
  log_failure(LOG_LEVEL_WARN, "nobody can sign in by OpenID Connect", err);
  for (Flow *flow = oidc->flows; flow; flow = flow->next)
    if (flow->step == WAITING || flow->step == REKEYING)
      end(flow, err->status, err);
}

/* ---- what comes back ---- */

static Status on_description(Oidc *oidc, const Delivery *delivery, Error *err) {
  OidcMetadata metadata = {0};
  if (!delivery->accepted)
    return unreachable("cannot be asked for its description", delivery, err);
  Status status = oidc_metadata_read(oidc->settings, delivery->answer.data, delivery->answer.size, &metadata, err);
  if (status != STATUS_OK)
    return status;
  oidc_metadata_release(&oidc->metadata);
  oidc->metadata = metadata;
  oidc->described_us = clock_monotonic_us();
  return fetch(oidc, err);
}

static Status on_keys(Oidc *oidc, const Delivery *delivery, Error *err) {
  json_t *keys = NULL;
  if (!delivery->accepted)
    return unreachable("cannot be asked for its keys", delivery, err);
  Status status = oidc_keys_read(delivery->answer.data, delivery->answer.size, &keys, err);
  if (status != STATUS_OK)
    return status;
  json_decref(oidc->keys);
  oidc->keys = keys;
  oidc->known = KNOWN;
  all_go_on(oidc);
  return STATUS_OK;
}

static void on_tokens(Oidc *oidc, const Delivery *delivery) {
  Flow *flow = find(oidc, strtoull(delivery->id + 1, NULL, 10));
  Error err;
  if (!flow || flow->step != EXCHANGING)
    return;
  secret_text_free(&flow->code);
  Status status =
      delivery->accepted || delivery->code >= 400
          ? oidc_tokens_read(delivery->code, delivery->answer.data, delivery->answer.size, &flow->tokens, &err)
          : unreachable("cannot be asked for tokens", delivery, &err);
  if (status == STATUS_OK)
    judge(oidc, flow);
  else
    end(flow, status, &err);
}

static void on_userinfo(Oidc *oidc, const Delivery *delivery) {
  Flow *flow = find(oidc, strtoull(delivery->id + 1, NULL, 10));
  json_t *more = NULL;
  Error err;
  if (!flow || flow->step != ASKING)
    return;
  Status status = delivery->accepted || delivery->code >= 400
                      ? oidc_userinfo_read(delivery->code, delivery->answer.data, delivery->answer.size,
                                           json_string_value(json_object_get(flow->claims, "sub")), &more, &err)
                      : unreachable("cannot be asked for userinfo", delivery, &err);
  if (status == STATUS_OK)
    status = oidc_person(oidc->settings, flow->claims, more, &flow->outcome.person, &err);
  json_decref(more);
  end(flow, status, &err);
}

static void on_delivery(void *user, Delivery *delivery) {
  Oidc *oidc = user;
  Error err;
  Status status = STATUS_OK;
  if (!oidc->ended) {
    delivery_free(delivery);
    return;
  }
  if (strcmp(delivery->id, "d") == 0)
    status = on_description(oidc, delivery, &err);
  else if (strcmp(delivery->id, "k") == 0)
    status = on_keys(oidc, delivery, &err);
  else if (delivery->id[0] == 't')
    on_tokens(oidc, delivery);
  else
    on_userinfo(oidc, delivery);
  if (status != STATUS_OK)
    all_end(oidc, &err);
  delivery_free(delivery);
  tell(oidc);
}

/* ---- from outside ---- */

Status oidc_open(uv_loop_t *loop, const OidcSettings *settings, void (*ended)(void *user, uint64_t flow), void *user,
                 Oidc **out, Error *err) {
  Oidc *oidc = memory_alloc(sizeof *oidc);
  *oidc = (Oidc){.settings = settings, .ended = ended, .user = user};
  Status status = sender_open(loop, on_delivery, oidc, &oidc->sender, err);
  if (status == STATUS_OK)
    *out = oidc;
  else
    free(oidc);
  return status;
}

Status oidc_start(Oidc *oidc, const OidcAsked *asked, uint64_t *number, Error *err) {
  Status status = add(oidc, asked, number, err);
  if (status != STATUS_OK)
    return status;
  status = want(oidc, err);
  if (status == STATUS_OK && oidc->known == KNOWN)
    go_on(oidc, oidc->flows);
  if (status != STATUS_OK)
    drop(oidc, oidc->flows);
  return status;
}

bool oidc_ended(Oidc *oidc, uint64_t number) {
  const Flow *flow = find(oidc, number);
  return flow && flow->step == ENDED;
}

bool oidc_take(Oidc *oidc, uint64_t number, OidcOutcome *out) {
  Flow *flow = find(oidc, number);
  if (!flow || flow->step != ENDED)
    return false;
  *out = flow->outcome;
  flow->outcome.url = NULL;
  drop(oidc, flow);
  return true;
}

void oidc_forget(Oidc *oidc, uint64_t number) {
  Flow *flow = find(oidc, number);
  if (flow && flow->step == ENDED)
    drop(oidc, flow);
  else if (flow)
    flow->forgotten = true;
}

char *oidc_leave(const Oidc *oidc) {
  return oidc_sign_out_url(oidc->settings, &oidc->metadata);
}

static void on_gone(void *user) {
  Oidc *oidc = user;
  void (*closed)(void *user) = oidc->closed;
  void *whose = oidc->user;
  while (oidc->flows)
    drop(oidc, oidc->flows);
  sender_free(oidc->sender);
  oidc_metadata_release(&oidc->metadata);
  json_decref(oidc->keys);
  free(oidc);
  if (closed)
    closed(whose);
}

void oidc_close(Oidc *oidc, void (*closed)(void *user), void *user) {
  oidc->ended = NULL;
  oidc->closed = closed;
  oidc->user = user;
  sender_when_gone(oidc->sender, on_gone);
  sender_stop(oidc->sender);
}
