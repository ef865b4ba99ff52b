/*
 * Alerts (docs/alerts.md): what is wrong with the fleet, told to those whom its policies name, until it is over.
 *
 *   facts (collect) -> conditions -> alerts -> outbox -> sender -> a receiver
 *
 * Conditions are pure functions of facts (conditions.h). An alert is one condition of one subject: a database, an
 * agent, a token, or the coordinator. Its life, by the table in coordinator/state:
 *
 *   (none) --holds--> pending --has held for long enough--> firing --over--> resolved --holds again--> pending
 *                        '---over--> resolved (nobody was told; its row goes)
 *
 * A notification is one message for one route, about what happened to one or more alerts:
 *
 *   due --answered 2xx--> sent          due --refused, or not reached--> due, later: 1 s, 2 s, 4 s ... 5 min, with
 *    '--given up--> failed              jitter, or when the receiver's Retry-After says
 *
 * Nothing is lost over a restart: an alert's step and the notifications that it makes are one transaction of the
 * ledger. Until a message is tried for the first time, what happens to more alerts of its route is added to it
 * (`group_seconds`); from then on it stays as it is, with its id: what is sent again is the same message. Where the
 * receiver answered 2xx, it is not sent again; a coordinator that dies between that answer and its record sends it once
 * more, with the same id. Messages of one route go one after the other, in order. One is given up when it is
 * ALERTS_GIVE_UP_SECONDS old, when the receiver says five times that it is the message that is wrong (400, 413, 415,
 * 422), or when more than ALERTS_WAITING_LIMIT wait for its route: then the oldest.
 *
 * Routes are coordinator.yaml's alone (settings.h), so that nobody who may apply a fleet.yaml can make the coordinator
 * ask any address; redirects are not followed. Their secrets are in files, read whenever something is sent.
 *
 * Of several coordinators on one ledger the one that leads does all of this. Loop thread only; what waits for the
 * network is a thread of its own (sender.h).
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_ALERTS_H
#define PGSEAL_COORDINATOR_ALERTS_ALERTS_H

#include <uv.h>

#include "coordinator/overview/overview.h"

enum {
  ALERTS_GIVE_UP_SECONDS = 3 * 86400,
  ALERTS_WAITING_LIMIT = 500,
  ALERTS_KEPT_DAYS = 90 /* alerts that are over, and messages that were sent */
};

typedef struct Alerts Alerts;

typedef struct AlertsParts { /* all of them outlive the Alerts */
  uv_loop_t *loop;
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Ledger *ledger;
  Overview *overview;
  Schedule *schedule; /* or NULL */
} AlertsParts;
Status alerts_open(const AlertsParts *parts, Alerts **out, Error *err) MUST_CHECK;
/* Every second; of several coordinators, the one that leads. */
void alerts_tick(Alerts *alerts);
void alerts_stop(Alerts *alerts);  /* sends nothing more; the loop is free of it soon after */
void alerts_close(Alerts *alerts); /* after the loop has ended; NULL is fine */

/* ---- other mail: letters ---- */

/* What is sent by mail besides alerts (reports): it waits in the same outbox, is tried like the rest, one letter at a
 * time, and holds up no alert. Who wrote it is asked for what it says when it is its turn. An item is what the
 * notification's `alerts` holds: {"event": "report", ...}. A receiver that says it is too large (552) gets it without
 * attachments: "bare": true. */
typedef struct AlertsLetters {
  void *user;
  /* The whole message. STATUS_OK and *body NULL: it is being made; alerts_letter_made when it is. ERR_NOT_FOUND: there
   * is nothing to send any more: it is given up. Else it is tried again later. *body: freed by the caller. */
  Status (*body)(void *user, const LedgerNotification *row, char **body, size_t *size, Error *err);
  /* It was sent, or given up: inside the transaction that says so. */
  Status (*over)(void *user, const LedgerNotification *row, Error *err);
} AlertsLetters;
void alerts_letters(Alerts *alerts, const AlertsLetters *letters);
void alerts_letter_made(Alerts *alerts);
/* One transaction, with what `also` (or NULL) writes: the letter waits for its route, one of e-mail. item: stolen.
 * waited_for: somebody waits for the answer: it is tried once. *id: of the notification, new string; or NULL. */
Status alerts_post(Alerts *alerts, const char *route, json_t *item, bool waited_for,
                   Status (*also)(void *user, Ledger *ledger, Error *err), void *user, char **id,
                   Error *err) MUST_CHECK;

/* Silences (docs/alerts.md): nobody is told of the alerts that are named. What fires when one ends is told then; what
 * was told before, is told also when it is over. Durable, with an event; any coordinator. */
enum { SILENCE_SECONDS = 30 * 86400, SILENCE_CHAIN_SECONDS = 3600 };
typedef struct SilenceWish {
  const char *key;                  /* of an open alert; else: */
  const char *database, *condition; /* one of them, or both */
  const char *reason;
  int64_t seconds;
  bool acknowledge; /* key: until it is over; seconds are not looked at */
} SilenceWish;
/* ERR_NOT_FOUND, ERR_FORBIDDEN: beyond what the requester sees; ERR_INVALID_ARGUMENT. *out: what became of it. */
Status alerts_silence(Alerts *alerts, const SilenceWish *wish, const Requester *who, json_t **out,
                      Error *err) MUST_CHECK;
Status alerts_silence_end(Alerts *alerts, const char *id, const Requester *who, Error *err) MUST_CHECK;
/* Those in force, or all that are kept, as far as the requester sees. *out: new reference. */
Status alerts_silences(Alerts *alerts, bool all, const Requester *who, json_t **out, Error *err) MUST_CHECK;

/* What the API shows (docs/openapi.yaml): {"alerts", "counts", "routes"}. scope: as in ledger.h, or NULL: all. over:
 * also what is resolved. ERR_... of the ledger. *out: new reference. */
Status alerts_show(Alerts *alerts, const char *scope, bool over, json_t **out, Error *err) MUST_CHECK;
/* Sends a test message by this route, once. ERR_NOT_FOUND: there is no such route. ERR_UNAVAILABLE: another coordinator
 * leads. *id: of the notification; new string. */
Status alerts_test(Alerts *alerts, const char *route, const char *actor, char **id, Error *err) MUST_CHECK;
/* One notification: {"id", "route", "state", "attempts", "error", ...}. ERR_NOT_FOUND. *out: new reference. */
Status alerts_notification(Alerts *alerts, const char *id, json_t **out, Error *err) MUST_CHECK;

#endif
