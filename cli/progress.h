/*
 * Progress of a checkpoint's jobs on stderr: redrawn in place on a terminal; elsewhere (CI logs) a line when a phase
 * begins and every 15 seconds.
 */
#ifndef PGSEAL_CLI_PROGRESS_H
#define PGSEAL_CLI_PROGRESS_H

#include <stdint.h>

#include "cli/cli.h"

/* How fast a job's phase goes, to say how long it still takes; {0} at first. Pure: times are the caller's, microseconds
 * that only grow. The dashboard reckons in the same way (coordinator/web/assets/live.js). */
enum { PACE_PHASE_SIZE = 32, PACE_US = 5000000, PACE_SHARE = 20 };
typedef struct Pace {
  char phase[PACE_PHASE_SIZE];
  int64_t bytes, from_us, from_bytes; /* now, and where it is measured from: the phase's first bytes */
} Pace;
void pace_note(Pace *pace, const char *phase, int64_t bytes, int64_t now_us);
/* Seconds, by the pace of the phase so far. -1: nothing can be said: in its first PACE_US, before 1/PACE_SHARE of it is
 * done, or when the total turned out to be no total. */
double pace_left(const Pace *pace, int64_t total, int64_t now_us);

typedef struct Progress Progress;
Progress *progress_new(const Cli *cli);
void progress_free(Progress *progress);                           /* takes the live lines away */
void progress_show(Progress *progress, const json_t *checkpoint); /* of GET /api/v1/checkpoints/ID */
/* A line of its own above the live ones. */
void progress_note(Progress *progress, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
