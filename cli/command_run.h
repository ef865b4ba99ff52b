/* Runs somebody's command as if it had been called by itself: its streams, its signals, its exit status. */
#ifndef PGSEAL_CLI_COMMAND_RUN_H
#define PGSEAL_CLI_COMMAND_RUN_H

#include "common/base/error.h"

/* argv: NULL-terminated; found by PATH. *exit_status: what a shell would say: its own, or 128 + the signal. While it
 * runs, SIGTERM and SIGHUP are handed on to it; Ctrl-C is the terminal's business, which tells both, and does not end
 * this program. ERR_TOOL if it cannot be started. Wants SIGINT and SIGTERM blocked (follow_prepare). */
Status command_run(char *const *argv, int *exit_status, Error *err) MUST_CHECK;

#endif
