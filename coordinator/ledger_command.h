/* What an administrator does with a ledger on the command line: verify, export, import,
 * keys. */
#ifndef PGSEAL_COORDINATOR_LEDGER_COMMAND_H
#define PGSEAL_COORDINATOR_LEDGER_COMMAND_H

#include "coordinator/config.h"

bool ledger_command_known(const char *verb);
/* Exports to stdout, imports from stdin; says what it did on stdout, or on stderr where that is taken. */
Status ledger_command(const CoordinatorConfig *config, const char *verb, Error *err) MUST_CHECK;

#endif
