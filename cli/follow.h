/* Waiting for a checkpoint or a drill to end, through cut connections and restarts of the coordinator. */
#ifndef PGSEAL_CLI_FOLLOW_H
#define PGSEAL_CLI_FOLLOW_H

#include "cli/cli.h"

typedef struct Follow {
  const char *id;       /* of the checkpoint */
  const char *drill_id; /* wait for this drill; NULL: for the checkpoint's own end */
  int patience_seconds; /* how long the coordinator may be away */
  bool aside;           /* the outcome goes to stderr: stdout is somebody else's */
} Follow;

/* From here on Ctrl-C detaches instead of killing: blocks SIGINT and SIGTERM. Call before the request is made. */
void follow_prepare(Cli *cli);

enum { FOLLOW_POLL_MS = 500 };
bool follow_sleep(int milliseconds); /* true if Ctrl-C (or SIGTERM) came meanwhile */

/* As api_call, made again for patience_seconds while nothing answers; only for requests that may be repeated. */
Status follow_request(Cli *cli, int patience_seconds, const char *method, const char *path, const json_t *body,
                      const char *idempotency_key, json_t **json, Error *err) MUST_CHECK;

/* Shows progress until the end, then the outcome (text on stdout, or the API's JSON). */
ExitCode follow_run(Cli *cli, const Follow *follow);

/* The error of a checkpoint or job, on stderr. */
void follow_tell_error(const Cli *cli, const json_t *error);

#endif
