/* How a message ended that somebody waited for: `pgseal alert test`, `pgseal report send`. */
#ifndef PGSEAL_CLI_SENT_H
#define PGSEAL_CLI_SENT_H

#include "cli/cli.h"

/* sent: of api_notification. what: "the test", "report monthly". remedy: if it did not get there. EXIT_DONE: it did;
 * EXIT_ERRORED. What the receiver answered, and how long it took, is told in both cases. */
ExitCode sent_tell(Cli *cli, const json_t *sent, const char *what, const char *remedy);

#endif
