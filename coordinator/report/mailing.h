/*
 * Reports by mail (docs/reports.md): coordinator.yaml's `reports`, made when they are due, and sent by a route of
 * alerts.
 *
 * That one is due, and how far its schedule has come, is one transaction of the ledger: a notification in the outbox of
 * alerts (alerts.h: letters), with the period and not with the report. The report is made when it is to be sent, by the
 * coordinator that leads then, and kept until the receiver has it; after a restart it is made anew, under the same
 * Message-ID. It is sent, and recorded as sent, as alerts are: what the receiver took is not sent again. A report that
 * was missed, since nobody led, is sent as soon as somebody does; of more than one, each.
 *
 *   ledger -> gather (a thread) -> document -> HTML, PDF (a thread, and a child), message -> the sender of alerts
 *
 * Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_REPORT_MAILING_H
#define PGSEAL_COORDINATOR_REPORT_MAILING_H

#include "coordinator/alerts/alerts.h"

typedef struct Mailing Mailing;

/* alerts: outlives it, and asks it for letters from then on. *out NULL: coordinator.yaml has no reports. */
Status mailing_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger,
                    Alerts *alerts, Mailing **out, Error *err) MUST_CHECK;
void mailing_tick(Mailing *mailing);  /* every second; NULL is fine */
void mailing_stop(Mailing *mailing);  /* makes nothing more; the loop is free of it soon after; NULL is fine */
void mailing_close(Mailing *mailing); /* after the loop has ended; NULL is fine */

/* Sends one now, once. from_us 0: of the last period that is over. *id: of the notification; new string.
 * ERR_NOT_FOUND: there is no such report. mailing NULL: there is none at all. */
Status mailing_send(Mailing *mailing, const char *name, int64_t from_us, int64_t to_us, const char *actor, char **id,
                    Error *err) MUST_CHECK;
/* What there is, and when each is due next: an array; new reference. */
json_t *mailing_list(Mailing *mailing);

#endif
