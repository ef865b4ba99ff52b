/* What the parts of coordinator/alerts share. Loop thread only. */
#ifndef PGSEAL_COORDINATOR_ALERTS_INTERNAL_H
#define PGSEAL_COORDINATOR_ALERTS_INTERNAL_H

#include "coordinator/alerts/alerts.h"
#include "coordinator/alerts/conditions.h"
#include "coordinator/alerts/message.h"
#include "coordinator/delivery/sender.h"

enum { RECORDS_LIMIT = 4 * SENDER_LIMIT };

/* How an attempt ended, until that is in the ledger. */
typedef struct Record {
  char id[ID_SIZE];
  bool accepted, faulty;
  int64_t retry_seconds;
  int64_t code, milliseconds; /* what the receiver answered; 0: nothing; how long it all took */
  char error[DELIVERY_ERROR];
} Record;

typedef struct RouteNow { /* what is known of a route besides its rows */
  bool under_way;
  int64_t begun_us;                 /* monotonic; of what is under way */
  int64_t pinged_us, ping_ended_us; /* monotonic; of a ping: last tried; wall clock: last there */
  char ping_error[DELIVERY_ERROR];  /* "": the last one got there */
} RouteNow;

typedef struct OpenAlert {
  LedgerAlert row;
  bool held; /* it does, in this turn */
} OpenAlert;

struct Alerts {
  uv_loop_t *loop;
  const AlertSettings *settings;
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Ledger *ledger;
  Overview *overview;
  Schedule *schedule; /* or NULL */
  Sender *sender;     /* NULL: it could not be started */
  bool leads, stopped, failing;
  int ticks;
  int64_t led_us, trimmed_us, failed_us; /* monotonic */
  int64_t told;                          /* dispatch_agents_told, when it was looked last */
  /* facts: */
  DatabaseFacts *databases; /* in the order of the fleet in force */
  size_t database_count;
  bool *dirty;              /* of each: it has to be read anew */
  bool *due;                /* of each: its conditions are looked at in this turn */
  size_t dirty_count, next; /* next: where the next turn's part of them begins */
  int64_t fleet_changes;    /* -1: the list has to be made */
  CoordinatorFacts coordinator;
  LedgerWalk walk;
  bool walked;                  /* all of it, by this process */
  int64_t walked_us, minute_us; /* monotonic; of the last walk's end, and of collect_minute */
  AgentFacts *agents;           /* in this turn */
  size_t agent_count;
  ExpiryFacts *expiries; /* of tokens; then of certificates */
  size_t token_count, expiry_count;
  /* alerts that are pending or fire, by key: */
  OpenAlert *open;
  size_t open_count;
  bool loaded;
  LedgerSilence *silences; /* in force, as of this turn */
  size_t silence_count;
  /* sending: */
  RouteNow *routes;            /* as the settings have them */
  LedgerNotification *waiting; /* those that are due, now or later, in their order */
  size_t waiting_count;
  AlertsLetters letters;
  bool letter_under_way;
  int64_t letter_begun_us; /* monotonic */
  Record records[RECORDS_LIMIT];
  size_t record_count;
};

/* ---- collect.c: facts ---- */
void collect_observe(Alerts *alerts);
/* What costs little of all of them, and the rest of a part of those that changed, which are due then. */
/* collect_tables.c: what fell between the newest two that are sealed, unless that is known. *work: tables read. */
Status collect_tables(Alerts *alerts, DatabaseFacts *facts, size_t *work, Error *err) MUST_CHECK;
Status collect_databases(Alerts *alerts, Error *err) MUST_CHECK;
DatabaseFacts *collect_find(const Alerts *alerts, const char *database); /* NULL: it is not of the fleet */
/* Of the agent: false if there is nothing to know. */
bool collect_agent(const Alerts *alerts, const Agent *agent, const LedgerAgent *rows, size_t count, AgentFacts *out);
Status collect_minute(Alerts *alerts, Error *err) MUST_CHECK; /* tokens, certificates, the chain's next part */
void collect_release(Alerts *alerts);

/* ---- evaluate.c: conditions -> alerts -> outbox ---- */
typedef struct Held { /* what holds now */
  const char *condition;
  char subject[FACTS_TEXT];
  const char *database; /* borrowed; NULL: of none */
  Severity severity;
  Finding finding;
} Held;
typedef struct HeldList {
  Held *items;
  size_t count;
} HeldList;
Status evaluate(Alerts *alerts, Error *err) MUST_CHECK; /* of what is due; then nothing is */
/* The steps that follow from what holds, each alert's with its notifications; one transaction, or none if there are no
 * steps. What is open of databases that are not due, or of what is not known yet, stays as it is. now_us: wall clock.
 */
Status evaluate_apply(Alerts *alerts, const HeldList *held, int64_t now_us, Error *err) MUST_CHECK;

/* ---- silence.c ---- */
Status silence_load(Alerts *alerts, int64_t now_us, Error *err) MUST_CHECK;         /* what is in force */
bool silence_quiet(const Alerts *alerts, const LedgerAlert *alert, int64_t now_us); /* nobody is told of it now */
/* Which of them is of that alert; NULL: none. */
const LedgerSilence *silence_of(const LedgerSilence *items, size_t count, const LedgerAlert *alert, bool acknowledged);
json_t *silence_show(const LedgerSilence *silence); /* new reference */

/* ---- outbox.c ---- */
#define OUTBOX_ANSWER "answer" /* of a message that somebody waits for: {"code", "milliseconds"} */
/* What is open and what waits, from the ledger. */
Status outbox_load(Alerts *alerts, Error *err) MUST_CHECK;
void outbox_forget(Alerts *alerts); /* after a failure: it is loaded again */
/* Inside a transaction: the alert's `event` is to be told by the route: added to what waits, or a new message. */
Status outbox_add(Alerts *alerts, const char *route, const LedgerAlert *alert, const char *event, int64_t now_us,
                  Error *err) MUST_CHECK;
/* Inside a transaction. *id: new string. */
Status outbox_test(Alerts *alerts, const AlertRoute *route, const char *actor, int64_t now_us, char **id,
                   Error *err) MUST_CHECK;
Status outbox_settle(Alerts *alerts, Error *err) MUST_CHECK; /* records how attempts ended */
Status outbox_send(Alerts *alerts, int64_t now_us, Error *err) MUST_CHECK;
Status outbox_look(Alerts *alerts, Error *err) MUST_CHECK; /* tests that another coordinator was asked for */
void outbox_done(void *user, Delivery *delivery);          /* the sender's */
void outbox_ping(Alerts *alerts);
/* After that many attempts, with jitter. random: any number. */
int64_t outbox_backoff_us(int attempts, uint32_t random);
json_t *outbox_item(const LedgerAlert *alert, const char *event, int64_t now_us); /* what a message says of an alert */

Status outbox_letter(Alerts *alerts, const char *route, json_t *item, bool waited_for, int64_t now_us, char **id,
                     Error *err) MUST_CHECK; /* inside a transaction; item: stolen */

/* ---- letters.c ---- */
bool letter_is(const LedgerNotification *row);
bool letter_bare(LedgerNotification *row); /* takes its attachments away; false: it has none any more */
/* *out NULL: it is being made. */
Status letter_make(Alerts *alerts, const LedgerNotification *row, const AlertRoute *route, Delivery **out,
                   Error *err) MUST_CHECK;
Status letter_over(Alerts *alerts, const LedgerNotification *row, Error *err) MUST_CHECK; /* sent, or given up */

/* ---- alerts.c ---- */
void alerts_go_on(Alerts *alerts);                    /* something came back: it is recorded, and the next are sent */
void alerts_failed(Alerts *alerts, const Error *err); /* logged, but not every second; what is open is loaded again */

#endif
