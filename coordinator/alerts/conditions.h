/*
 * Conditions: what is worth an alert, as pure functions of facts. Any thread. Times are wall clock, microseconds; 0 is
 * "not known" or "never".
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_CONDITIONS_H
#define PGSEAL_COORDINATOR_ALERTS_CONDITIONS_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/id.h"
#include "coordinator/alerts/settings.h"
#include "coordinator/state/state.h"

enum {
  FACTS_CHECKPOINTS = 8,
  FACTS_DRILLS = 8,
  FACTS_TABLES = 3,
  FINDING_SUMMARY = 600,
  FINDING_REMEDY = 400,
  FINDING_SPAN = 32,
  FACTS_TEXT = 256,
  FACTS_NAME = 64
};

/* ---- facts ---- */

/* Texts are owned, and NULL where nobody asks for them: there may be many databases. */
typedef struct CheckpointFacts {
  char id[ID_SIZE];
  CheckpointState state;
  int server_major;
  int64_t archive_bytes, rows;
  double drill_seconds;                /* of its newest drill that counted; 0: not known */
  char *tag, *code, *message, *remedy; /* why it did not seal: of the newest alone */
  json_t *omissions;                   /* owned: [{"kind", "object", ...}]; or NULL */
  json_t *source;                      /* owned: {"encoding", "collation", ...}, of the newest two; or NULL */
} CheckpointFacts;

typedef struct DrillFacts {
  char checkpoint[ID_SIZE];
  JobState state;
  char *code, *message; /* of the newest alone */
} DrillFacts;

typedef struct DatabaseFacts {
  char name[FACTS_NAME];
  bool known;                               /* they were read */
  CheckpointFacts ended[FACTS_CHECKPOINTS]; /* the newest that ended; newest first */
  size_t ended_count;
  CheckpointFacts sealed[FACTS_CHECKPOINTS]; /* the newest that are sealed and kept */
  size_t sealed_count;
  DrillFacts drills[FACTS_DRILLS]; /* the newest that ended, by whomever they were asked for */
  size_t drill_count;
  /* Tables of the newest sealed one, beside those of the one before: */
  char compared[2][ID_SIZE]; /* which these are of; "": none */
  size_t fallen_count;       /* tables that have fallen, by the settings */
  json_t *fallen;            /* owned: the FACTS_TABLES that lost most: [{"table", "before", "now"}]; now: null, it is
                                gone; -1, it is not listed any more. Or NULL */
  bool canary_survived;      /* of the last canary that ended */
  char *canary_message;      /* owned */
  /* As the overview has them, now: */
  int64_t proof_age_s, data_age_s;                                       /* -1: there is none */
  int64_t proof_objective_s, restore_objective_s, data_loss_objective_s; /* 0: none */
  bool missed;                                                           /* the schedule's last run was */
  int64_t slot_us, missed_count;
} DatabaseFacts;

typedef struct AgentFacts {
  char name[FACTS_NAME];
  char repository[FACTS_NAME], lock[FACTS_NAME], removes[FACTS_NAME]; /* as agent/session/look.h has the words; "" */
  bool locked_by_policy;                       /* all its databases have a lock of their own in coordinator.yaml */
  bool seen, live;                             /* seen: it was there before */
  int64_t certificate_from_us, certificate_us; /* valid from and until; 0: it has none */
  char fullest[FACTS_NAME];                    /* what is on the fullest file system that it writes to; "": not known */
  int64_t free_bytes, total_bytes;             /* of that one */
} AgentFacts;

typedef struct ExpiryFacts { /* a token, or a certificate of the coordinator's own */
  char name[FACTS_TEXT];
  int64_t from_us, until_us;
} ExpiryFacts;

typedef struct CoordinatorFacts {
  char chain_problem[FACTS_TEXT]; /* "": none */
  char fleet_problem[FACTS_TEXT];
} CoordinatorFacts;

/* ---- what is found ---- */

typedef enum Severity { SEVERITY_CRITICAL, SEVERITY_WARNING } Severity;
const char *severity_name(Severity severity);

typedef struct Finding {
  char summary[FINDING_SUMMARY]; /* one sentence, with the subject's name; valid UTF-8, no control characters */
  char remedy[FINDING_REMEDY];   /* "" or what to do about it */
  int64_t hold_us;               /* how long it has to hold before anybody is told */
} Finding;

/* "3 days", "26 hours", "40 minutes", "12 seconds". Returns out. */
const char *finding_span(int64_t seconds, char out[FINDING_SPAN]);

/* *out begins anew with this summary; always true. And its remedy. What comes from elsewhere is cleaned. */
bool finding_say(Finding *out, const char *format, ...) PRINTF_LIKE(2, 3);
void finding_advise(Finding *out, const char *format, ...) PRINTF_LIKE(2, 3);

/* Does it hold? Then *out is filled. */
typedef bool DatabaseCondition(const DatabaseFacts *facts, const AlertSettings *settings, int64_t now_us, Finding *out);
typedef struct DatabaseRule {
  const char *name; /* of the condition; docs/alerts.md has them all */
  Severity severity;
  DatabaseCondition *holds;
} DatabaseRule;
extern const DatabaseRule database_rules[];
extern const size_t database_rule_count;

/* drift.c */
DatabaseCondition condition_table_fallen, condition_collation_changed, condition_encoding_changed;

/* Is there one of that name? of_database: of databases. */
bool condition_known(const char *name, bool of_database);

bool condition_agent_lost(const AgentFacts *facts, const AlertSettings *settings, Finding *out);
/* Of the repository, as the agent found it; what it could not find out holds not. */
bool condition_repository_unlocked(const AgentFacts *facts, const AlertSettings *settings, Finding *out);
bool condition_repository_removable(const AgentFacts *facts, Finding *out);
bool condition_agent_disk(const AgentFacts *facts, const AlertSettings *settings, Finding *out);
/* When less than a fifth of its life is left, or it is over: an agent that is well renews long before. */
bool condition_certificate_expiring(const AgentFacts *facts, int64_t now_us, Finding *out);
/* what: "the token", "the certificate". When less than 21 days are left, or a fifth of its life if that is less. */
bool condition_expiring(const char *what, const ExpiryFacts *facts, int64_t now_us, Finding *out);
bool condition_chain_broken(const CoordinatorFacts *facts, Finding *out);
bool condition_fleet_unusable(const CoordinatorFacts *facts, Finding *out);

void checkpoint_facts_release(CheckpointFacts *facts);
void drill_facts_release(DrillFacts *facts);
void database_facts_release(DatabaseFacts *facts);

#endif
