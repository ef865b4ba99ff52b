/*
 * The rules of a rehearsal's tunnel (TunnelFrame in proto/pgseal.proto), which its two ends keep, and which whoever
 * passes frames on may hold them to. A frame beyond a bound is ERR_PROTOCOL and ends the tunnel.
 *
 * The client opens connections (OPEN), numbered from 1 on and never alike, at most TUNNEL_CONNECTIONS at once. Each
 * direction of a connection starts with TUNNEL_WINDOW bytes that may be sent; WINDOW adds to that, once they were taken
 * by whom they are for. So what is under way between the ends is bounded: TUNNEL_CONNECTIONS * TUNNEL_WINDOW a
 * direction. CLOSE ends a connection in both directions, after all DATA before it. END is the last frame of its
 * direction: the client's says that its command has ended (value: exit status), or why it cannot go on; the other
 * end's, that the copy is not to be had any more. Whoever passes frames on and loses its peer says so to the other with
 * an END, sequence 0.
 */
#ifndef PGSEAL_COMMON_REHEARSAL_TUNNEL_H
#define PGSEAL_COMMON_REHEARSAL_TUNNEL_H

enum {
  TUNNEL_CONNECTIONS = 16,
  TUNNEL_DATA_LIMIT = 64 << 10, /* bytes of one DATA frame */
  TUNNEL_TEXT_LIMIT = 512,      /* of the reason in CLOSE and END */
  TUNNEL_WINDOW = 256 << 10,
  TUNNEL_SILENCE_SECONDS =
      60 /* a client that is not heard of for so long is gone; frames need not come: its polls do */
};

#endif
