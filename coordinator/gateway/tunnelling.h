/*
 * The agents' end of rehearsals' tunnels: their requests, of which those without frames are parked until something
 * comes for them. Internal to coordinator/gateway; loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_GATEWAY_TUNNELLING_H
#define PGSEAL_COORDINATOR_GATEWAY_TUNNELLING_H

#include "coordinator/gateway/sessions.h"
#include "coordinator/tunnel/tunnel.h"

typedef struct ParkedTunnel {
  BusRequest *request;
  const ConfigAgent *agent;
  char *request_id, *job_id; /* owned */
  int64_t until_us;          /* monotonic */
} ParkedTunnel;

typedef struct Tunnelling {
  Tunnels *tunnels;
  int64_t wait_us;
  void (*wake)(void *user);
  void *user;
  ParkedTunnel *parked; /* one for each job */
  size_t count;
} Tunnelling;

/* wake: called when tunnelling_serve has something to do; must not call back. */
void tunnelling_open(Tunnelling *tunnelling, Tunnels *tunnels, int wait_seconds, void (*wake)(void *user), void *user);
/* Answers, or parks it. ERR_*: not answered. */
Status tunnelling_request(Tunnelling *tunnelling, BusRequest *request, const ConfigAgent *agent,
                          const Pgseal__Envelope *envelope, Error *err) MUST_CHECK;
/* Answers those for whom something came, or that have waited long enough. */
void tunnelling_serve(Tunnelling *tunnelling);
/* agent NULL: of all, and nothing is woken any more. drop: else the server does that itself. */
void tunnelling_end(Tunnelling *tunnelling, const ConfigAgent *agent, bool drop);

#endif
