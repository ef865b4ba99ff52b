/* The parts of `pgseal verify`. */
#ifndef PGSEAL_CLI_VERIFY_H
#define PGSEAL_CLI_VERIFY_H

#include "cli/stored.h"

typedef struct Verify {
  Stored stored;
  const char *offline;                 /* asked for; borrowed */
  OptionList drill_keys;               /* paths of the drill agents' public keys */
  uint8_t (*trusted)[PUBLIC_KEY_SIZE]; /* whose proofs count; owned */
  size_t trusted_count;
  bool keys_of_coordinator; /* some of the keys are only what the coordinator says */
  json_t *checks;           /* array of {check, ok, detail}; owned */
  size_t bad;               /* how many of them are not ok */
  size_t proven;            /* proofs that count and say so */
} Verify;

/* One line, at once, and one entry of `checks`. `ok` false is counted as bad. */
void verify_note(const Cli *cli, Verify *verify, bool ok, const char *check, const char *format, ...) PRINTF_LIKE(5, 6);
/* Notes a failure; true if it says something of the checkpoint (it is altered, incomplete, ...), false if the check
 * could not be made. */
bool verify_failed(const Cli *cli, Verify *verify, const char *check, const Error *err);

/* Every proof beside the manifest. ERR_*: they could not be looked at. */
Status verify_proofs(const Cli *cli, Verify *verify, Error *err) MUST_CHECK;

#endif
