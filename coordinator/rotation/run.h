/*
 * The rotation of the fleet in force (docs/rotation.md): goes round all databases, keeps what there is to drill again,
 * asks dispatch for what is due inside the budget, and forecasts. Loop thread only; forecasts are made on libuv's pool.
 *
 * After a start it knows nothing, and the purse is empty: the first round comes before anything is asked for.
 */
#ifndef PGSEAL_COORDINATOR_ROTATION_RUN_H
#define PGSEAL_COORDINATOR_ROTATION_RUN_H

#include <uv.h>

#include "coordinator/dispatch/dispatch.h"
#include "coordinator/rotation/rotation.h"

/* ROTATION_SPECIAL: bare, forward and canary drills are made of a database once in so many objectives. */
enum { ROTATION_ROUND_SECONDS = 600, ROTATION_SPECIAL = 4, ROTATION_SHOWN = 100 };

typedef struct Rotation Rotation;

Rotation *rotation_open(uv_loop_t *loop, Dispatch *dispatch, Ledger *ledger);
void rotation_close(Rotation *rotation); /* after the loop has ended; NULL is fine */
/* Every second; of several coordinators, the one that leads. */
void rotation_tick(Rotation *rotation);
typedef struct RotationNumbers {
  double load; /* share of the budget that all objectives need */
  size_t late, running;
  size_t missed;        /* databases that will miss an objective, by the last forecast */
  bool known, foreseen; /* every database was looked at; there is a forecast */
} RotationNumbers;
RotationNumbers rotation_numbers(const Rotation *rotation);
/* {"budget", "load", "items", "running", "late", "queue", "forecast"}: docs/openapi.yaml. New reference. */
json_t *rotation_show(Rotation *rotation);

#endif
