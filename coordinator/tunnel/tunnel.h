/*
 * Tunnels of rehearsals, as the coordinator passes them on: frames of a job's agent for the client that asked for the
 * rehearsal, and back, each kept until the other side says that it has it. What is in them is TLS between the two ends:
 * it can be delayed, lost or broken here, but neither read nor forged. Nothing of it is stored, logged, or survives
 * this process.
 *
 * A side sends its frames in order, by their sequence, and again if it does not know whether they came; what came
 * already is passed over. A request without frames waits for what comes the other way (its owner parks it); one with
 * frames is answered at once. common/rehearsal/tunnel.h has the bounds, which are held here: who goes beyond breaks the
 * tunnel. A client that is not heard of for TUNNEL_SILENCE_SECONDS is gone.
 *
 * Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_TUNNEL_TUNNEL_H
#define PGSEAL_COORDINATOR_TUNNEL_TUNNEL_H

#include "coordinator/ledger/ledger.h"
#include "proto/pgseal.pb-c.h"

typedef enum TunnelSide { TUNNEL_CLIENT, TUNNEL_AGENT } TunnelSide;

typedef struct Tunnels Tunnels;

Tunnels *tunnels_new(Ledger *ledger);
void tunnels_free(Tunnels *tunnels);                                 /* NULL is fine */
void tunnels_clock(Tunnels *tunnels, int64_t (*monotonic_us)(void)); /* for tests */

/* Called whenever there is something for that side of that job. One for each side; must not call back. */
typedef void TunnelWake(void *user, const char *job_id);
void tunnels_observe(Tunnels *tunnels, TunnelSide side, TunnelWake *wake, void *user);

/* Takes what a side sends: its frames (out of the message), and up to where it has what was for it. who: the agent's
 * name, or that of the client's token. ERR_NOT_FOUND: no such rehearsal, or it has no tunnel; ERR_FORBIDDEN: it is not
 * his; ERR_CONFLICT: the rehearsal is over, or the tunnel is broken; ERR_PROTOCOL: beyond the bounds. */
Status tunnels_take(Tunnels *tunnels, TunnelSide side, const char *who, const char *job_id, Pgseal__Tunnel *message,
                    Error *err) MUST_CHECK;
/* Is there something for it? Also true where there is no tunnel any more. */
bool tunnels_ready(const Tunnels *tunnels, TunnelSide side, const char *job_id);
/* What there is for it, at most TUNNEL_REPLY_BYTES and some. frames: with what is to come to it, else only up to where
 * its own came. Borrowed until the next call; free the list (reply->frames) alone. */
enum { TUNNEL_REPLY_BYTES = 1 << 20 };
void tunnels_reply(Tunnels *tunnels, TunnelSide side, const char *job_id, bool frames, Pgseal__TunnelReply *reply);

void tunnels_tick(Tunnels *tunnels); /* some times a second: those that are over, clients that are gone */

#endif
