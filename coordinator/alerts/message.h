/*
 * What is sent: one notification in the words of one kind of route. Pure, but for the files of secrets that
 * delivery_make reads. What a receiver gets is documented in docs/alerts.md.
 *
 * Everything in it that is not pgseal's own (names, messages of servers) is text for every receiver: no markup, no
 * mentions, no headers.
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_MESSAGE_H
#define PGSEAL_COORDINATOR_ALERTS_MESSAGE_H

#include "common/base/buffer.h"
#include "coordinator/alerts/settings.h"
#include "coordinator/ledger/ledger.h"

enum { DELIVERY_HEADERS = 6, DELIVERY_ERROR = 256, SIGNATURE_TEXT = 80, MESSAGE_ALERTS = 50 };

/* One attempt; the sender's from when it is submitted until it comes back. */
typedef struct Delivery {
  char id[27];
  const AlertRoute *route; /* of the configuration */
  char *url, *user, *password, *body;
  size_t size;                     /* of the body; a ping has none */
  char *headers[DELIVERY_HEADERS]; /* of HTTP */
  size_t header_count;
  int seconds;         /* how long it may take; 0: SENDER_SECONDS */
  size_t answer_limit; /* so much of an answer's body is kept, and a longer one is an error; 0: none is */
  /* What came of it: */
  bool letter;                /* it is no alert */
  long code;                  /* of HTTP, or of SMTP; 0: there was no answer */
  Buffer answer;              /* its body; owned */
  bool accepted;              /* 2xx, or what is that in SMTP */
  bool faulty;                /* it is the message that is wrong, says the receiver */
  int64_t retry_seconds;      /* as the receiver wants it; 0: not said */
  char error[DELIVERY_ERROR]; /* why not; nothing in it is secret */
  struct Delivery *next;
} Delivery;

/* row: NULL for a ping. now_s: of the signature; seconds. ERR_CONFIG: a file cannot be used. */
Status delivery_make(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row,
                     int64_t now_s, Delivery **out, Error *err) MUST_CHECK;
/* The same of a message of mail that is written already; body: stolen. */
Status delivery_letter(const AlertRoute *route, const char *id, char *body, size_t size, Delivery **out,
                       Error *err) MUST_CHECK;
void delivery_free(Delivery *delivery); /* wipes what is secret; NULL is fine */

/* ---- the bodies; new strings ---- */
char *message_webhook(const AlertSettings *settings, const LedgerNotification *row);
char *message_slack(const AlertSettings *settings, const LedgerNotification *row);
char *message_teams(const AlertSettings *settings, const LedgerNotification *row);
/* PagerDuty's Events API v2 takes one alert each: of the first. */
char *message_pagerduty(const AlertSettings *settings, const LedgerNotification *row, const char *routing_key);
char *message_email(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row);
char *message_subject(const LedgerNotification *row); /* one line of text, without an end */

/* "v1=" and HMAC-SHA256 in hex, of "<now_s>.<body>". */
void message_sign(const char *key, int64_t now_s, const char *body, size_t size, char out[SIGNATURE_TEXT]);

#endif
