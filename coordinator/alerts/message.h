/*
 * What is sent: one notification in the words of one kind of route. Pure, but for the files of secrets that
 * delivery_make reads. What a receiver gets is documented in docs/alerts.md.
 *
 * Everything in it that is not pgseal's own (names, messages of servers) is text for every receiver: no markup, no
 * mentions, no headers.
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_MESSAGE_H
#define PGSEAL_COORDINATOR_ALERTS_MESSAGE_H

#include "coordinator/alerts/settings.h"
#include "coordinator/delivery/delivery.h"
#include "coordinator/ledger/ledger.h"

enum { SIGNATURE_TEXT = 80, MESSAGE_ALERTS = 50 };

/* The delivery is `of` the route, which has to live as long. row: NULL for a ping. now_s: of the signature; seconds.
 * ERR_CONFIG: a file cannot be used. */
Status delivery_make(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row,
                     int64_t now_s, Delivery **out, Error *err) MUST_CHECK;
/* The same of a message of mail that is written already; body: stolen. */
Status delivery_letter(const AlertRoute *route, const char *id, char *body, size_t size, Delivery **out,
                       Error *err) MUST_CHECK;

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
