/*
 * What a ledger backend implements, behind ledger.h: rows in, rows out, transactions. The chain of events (hashes,
 * sequences, verification) is made by the front (chain.c), the same for every backend.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_LEDGER_OPS_H
#define PGSEAL_COORDINATOR_LEDGER_LEDGER_OPS_H

#include "coordinator/ledger/ledger.h"

enum { LEDGER_HASH_SIZE = 65 };

typedef struct LedgerTip { /* sequence 0 and 64 zeros: no event yet */
  int64_t sequence;
  char hash[LEDGER_HASH_SIZE];
} LedgerTip;

/* detail_text: as stored; event->detail is made from it. Returning other than STATUS_OK (err set) stops the walk. */
typedef Status LedgerEventVisit(void *user, LedgerEvent *event, Error *err);

typedef struct LedgerOps {
  void (*close)(void *backend);
  Status (*begin)(void *backend, Error *err);
  Status (*commit)(void *backend, Error *err);
  void (*rollback)(void *backend);

  Status (*checkpoint_insert)(void *backend, const Checkpoint *checkpoint, Error *err);
  Status (*checkpoint_update)(void *backend, const Checkpoint *checkpoint, Error *err);
  Status (*checkpoint_get)(void *backend, const char *id, Checkpoint *out, Error *err);
  Status (*checkpoint_find)(void *backend, const char *database, const char *id_or_tag, const char *scope,
                            Checkpoint *out, Error *err);
  Status (*checkpoint_by_key)(void *backend, const char *token_name, const char *key, Checkpoint *out, Error *err);
  Status (*checkpoint_list)(void *backend, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                            Error *err);
  Status (*checkpoint_count)(void *backend, const char *state, int64_t *count, Error *err);

  Status (*job_insert)(void *backend, const LedgerJob *job, Error *err);
  Status (*job_update)(void *backend, const LedgerJob *job, Error *err);
  Status (*job_get)(void *backend, const char *id, LedgerJob *out, Error *err);
  Status (*job_list)(void *backend, const char *checkpoint_id, LedgerJob **items, size_t *count, Error *err);
  Status (*job_by_key)(void *backend, const char *token_name, const char *key, LedgerJob *out, Error *err);
  Status (*job_recent)(void *backend, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err);
  Status (*job_report_put)(void *backend, const LedgerJob *job, const json_t *report, Error *err);
  Status (*job_report_get)(void *backend, const char *job_id, json_t **report, Error *err);
  Status (*job_open)(void *backend, LedgerJob **items, size_t *count, Error *err);
  Status (*fencing_next)(void *backend, uint64_t *fencing, Error *err);

  Status (*tip_get)(void *backend, LedgerTip *tip, Error *err);
  /* Inserts the event (sequence, time and hash are set) and makes it the tip. detail: canonical JSON, or NULL. */
  Status (*event_insert)(void *backend, const LedgerEvent *event, const char *detail, Error *err);
  Status (*event_walk)(void *backend, const EventFilter *filter, LedgerEventVisit *visit, void *user, Error *err);

  Status (*token_insert)(void *backend, const LedgerToken *token, Error *err);
  Status (*token_by_hash)(void *backend, const char *hash, LedgerToken *out, Error *err);
  Status (*token_update)(void *backend, const LedgerToken *token, Error *err);
  Status (*token_list)(void *backend, LedgerToken **items, size_t *count, Error *err);

  Status (*agent_put)(void *backend, const LedgerAgent *agent, Error *err);
  Status (*agent_list)(void *backend, LedgerAgent **items, size_t *count, Error *err);

  Status (*enrollment_put)(void *backend, const LedgerEnrollment *row, Error *err);
  Status (*enrollment_list)(void *backend, LedgerEnrollment **items, size_t *count, Error *err);
  Status (*signing_key_insert)(void *backend, const char *public_key, const char *agent, Error *err);
  Status (*signing_key_revoke)(void *backend, const char *agent, int64_t now_us, Error *err);
  Status (*signing_key_get)(void *backend, const char *public_key, char **agent, bool *revoked, Error *err);
  Status (*certificate_insert)(void *backend, const char *serial, const char *agent, int64_t expires_us, Error *err);
  Status (*certificate_revoke)(void *backend, const char *agent, int64_t now_us, Error *err);
  Status (*certificate_revoked)(void *backend, int64_t now_us, char ***serials, size_t *count, Error *err);
} LedgerOps;

struct Ledger {
  const LedgerOps *ops;
  void *backend; /* owned */
};

/* chain.c: verifies events after `after` up to the tip; *events counts them. */
Status ledger_chain_check(Ledger *ledger, int64_t after, int64_t *events, char tip[LEDGER_HASH_SIZE],
                          Error *err) MUST_CHECK;

#endif
