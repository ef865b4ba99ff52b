#include "coordinator/ledger_command.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "coordinator/ledger/ledger.h"

static void ledger_cleanup(Ledger **ledger) {
  ledger_close(*ledger);
}

static Status verify(Ledger *ledger, Error *err) {
  int64_t events;
  char tip[65];
  Status status = ledger_chain_verify(ledger, &events, tip, err);
  if (status == STATUS_OK)
    printf("%s: %lld events, chain intact, last hash %s\n", ledger_name(ledger), (long long)events, tip);
  return status;
}

static Status export(Ledger *ledger, Error *err) {
  int64_t rows = 0;
  Status status = ledger_export(ledger, stdout, &rows, err);
  if (status == STATUS_OK)
    fprintf(stderr, "%s: %lld rows exported\n", ledger_name(ledger), (long long)rows);
  return status;
}

static Status import(Ledger *ledger, Error *err) {
  int64_t rows = 0;
  Status status = ledger_import(ledger, stdin, &rows, err);
  if (status == STATUS_OK)
    printf("%s: %lld rows imported, chain intact\n", ledger_name(ledger), (long long)rows);
  return status;
}

static const struct Verb {
  const char *name;
  bool read_only;
  Status (*run)(Ledger *ledger, Error *err);
} verbs[] = {{"verify", true, verify}, {"export", true, export}, {"import", false, import}};

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
  return status == STATUS_OK ? verb->run(ledger, err) : status;
}
