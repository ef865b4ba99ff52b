/*
 * What a ledger holds of signatures: the verdicts that checkpoints were sealed on, and the keys that were enrolled. For
 * the command line; reads only.
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_EVIDENCE_H
#define PGSEAL_COORDINATOR_LEDGER_EVIDENCE_H

#include "coordinator/config.h"
#include "coordinator/ledger/ledger.h"

typedef struct LedgerEvidence {
  int64_t sealed;       /* checkpoints; each is one of: */
  int64_t verified;     /* its verdict's signature verifies, */
  int64_t unknown_keys; /* (of those) with a key that neither the ledger nor coordinator.yaml has as that agent's */
  int64_t rebuilt;      /* it came from a repository, where its proof is */
  int64_t older;        /* it was sealed before verdicts were kept */
} LedgerEvidence;
/* ERR_CONFLICT names the first checkpoint whose row says sealed, and whose verdict, or whose event in the chain, says
 * otherwise. */
Status ledger_evidence_check(const CoordinatorConfig *config, Ledger *ledger, LedgerEvidence *out,
                             Error *err) MUST_CHECK;
/* To stdout: every key that signs, as former_agents for a coordinator.yaml. Revoked ones are comments. */
Status ledger_keys_print(const CoordinatorConfig *config, Ledger *ledger, Error *err) MUST_CHECK;

#endif
