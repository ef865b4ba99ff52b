#include "coordinator/ledger_command.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/ledger_evidence.h"

static void ledger_cleanup(Ledger **ledger) {
  ledger_close(*ledger);
}

static Status verify(const CoordinatorConfig *config, Ledger *ledger, Error *err) {
  int64_t events;
  char tip[65];
  LedgerEvidence evidence = {0};
  Status status = ledger_chain_verify(ledger, &events, tip, err);
  if (status == STATUS_OK)
    status = ledger_evidence_check(config, ledger, &evidence, err);
  if (status != STATUS_OK)
    return status;
  printf("%s: %lld events, chain intact, last hash %s\n", ledger_name(ledger), (long long)events, tip);
  printf("%lld sealed checkpoints: %lld by verdicts whose signatures verify", (long long)evidence.sealed,
         (long long)evidence.verified);
  if (evidence.unknown_keys > 0)
    printf(" (%lld of them with keys that nobody vouches for now)", (long long)evidence.unknown_keys);
  if (evidence.rebuilt > 0)
    printf("; %lld rebuilt, whose proofs are in the repository", (long long)evidence.rebuilt);
  if (evidence.older > 0)
    printf("; %lld from before verdicts were kept", (long long)evidence.older);
  printf("\n");
  return STATUS_OK;
}

static Status export(const CoordinatorConfig *config, Ledger *ledger, Error *err) {
  (void)config;
  int64_t rows = 0;
  Status status = ledger_export(ledger, stdout, &rows, err);
  if (status == STATUS_OK)
    fprintf(stderr, "%s: %lld rows exported\n", ledger_name(ledger), (long long)rows);
  return status;
}

static Status import(const CoordinatorConfig *config, Ledger *ledger, Error *err) {
  (void)config;
  int64_t rows = 0;
  Status status = ledger_import(ledger, stdin, &rows, err);
  if (status == STATUS_OK)
    printf("%s: %lld rows imported, chain intact\n", ledger_name(ledger), (long long)rows);
  return status;
}

static const struct Verb {
  const char *name;
  bool read_only;
  Status (*run)(const CoordinatorConfig *config, Ledger *ledger, Error *err);
} verbs[] = {
    {"verify", true, verify}, {"export", true, export}, {"import", false, import}, {"keys", true, ledger_keys_print}};

static const struct Verb *find(const char *name) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
    if (strcmp(verbs[i].name, name) == 0)
      return &verbs[i];
  }
  return NULL;
}

bool ledger_command_known(const char *verb) {
  return find(verb) != NULL;
}

Status ledger_command(const CoordinatorConfig *config, const char *name, Error *err) {
  CLEANUP(ledger_cleanup) Ledger *ledger = NULL;
  const struct Verb *verb = find(name);
  if (!verb)
    return error_set(err, ERR_INVALID_ARGUMENT, "there is no command ledger %s", name);
  Status status = ledger_open(config->ledger, verb->read_only, &ledger, err);
  return status == STATUS_OK ? verb->run(config, ledger, err) : status;
}
