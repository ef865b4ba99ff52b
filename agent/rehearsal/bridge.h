/*
 * The bridge: where a rehearsal's tunnel ends. Each connection of the client's comes out of frames as a PostgreSQL
 * session over TLS; the TLS is ended here (PostgreSQL does none over a UNIX socket, and the copy has no other), and
 * what is in it is passed to the copy's socket. What is not TLS, or asks for another role or database than the one that
 * is offered, gets no further.
 *
 *   bridge.c             frames to connections and back, until the client says that it is done
 *   bridge_connection.c  one connection: TLS, its first message, and the bytes after that
 *   bridge_gate.c        the role, its password, pg_hba.conf, the certificate: who may come in, and the offer of it
 *   observer.c           what a connection's messages say about statements
 *
 * One thread, the job's main one. The rules of frames are in common/rehearsal/tunnel.h.
 */
#ifndef PGSEAL_AGENT_REHEARSAL_BRIDGE_H
#define PGSEAL_AGENT_REHEARSAL_BRIDGE_H

#include <openssl/ssl.h>

#include "agent/rehearsal/rehearsal.h"

#define BRIDGE_ROLE "pgseal_rehearse"

/* What connections end in. Nothing is owned. */
typedef struct BridgeEnd {
  SSL_CTX *tls;
  const char *socket_path; /* of the copy */
  const char *role, *database;
  RehearsalStatements *statements;
} BridgeEnd;

/* bridge_connection.c */
typedef struct BridgeConnection BridgeConnection;
typedef struct BridgeLink { /* to the client */
  void *user;
  Status (*data)(void *user, uint32_t connection, const void *data, size_t size, Error *err);
  Status (*window)(void *user, uint32_t connection, uint32_t size, Error *err);
} BridgeLink;
BridgeConnection *bridge_connection_new(const BridgeEnd *end, uint32_t id);
void bridge_connection_free(BridgeConnection *connection); /* hangs up */
uint32_t bridge_connection_id(const BridgeConnection *connection);
/* From the client. ERR_PROTOCOL: it sent more than its window allows. */
Status bridge_connection_receive(BridgeConnection *connection, const void *data, size_t size, Error *err) MUST_CHECK;
Status bridge_connection_widen(BridgeConnection *connection, uint32_t size, Error *err) MUST_CHECK;
/* The client hung up: what it sent before that is still passed on. */
void bridge_connection_hang_up(BridgeConnection *connection);
/* What to wait for at *fd (-1: nothing), as of poll. */
short bridge_connection_events(const BridgeConnection *connection, int *fd);
/* Does all that can be done without waiting. *over: nothing is left to be done; `why` (or "") is for the client. */
Status bridge_connection_pump(BridgeConnection *connection, const BridgeLink *link, bool *over, const char **why,
                              Error *err) MUST_CHECK;

/* observer.c. Bytes of either direction in any pieces, after the connection's first message. */
typedef struct Observer Observer;
Observer *observer_new(RehearsalStatements *statements);
void observer_free(Observer *observer); /* NULL is fine */
void observer_client(Observer *observer, const uint8_t *data, size_t size);
void observer_server(Observer *observer, const uint8_t *data, size_t size);

/* bridge_gate.c */
/* Makes the role and shuts the copy to whoever has not its password; *tls and the offer (whose strings are freed by
 * bridge_offer_release). */
Status bridge_gate_open(Rehearsal *rehearsal, SSL_CTX **tls, Pgseal__TunnelOffer *offer, Error *err) MUST_CHECK;
void bridge_offer_release(Pgseal__TunnelOffer *offer);
/* Ends the role's sessions, and waits until they are gone. */
Status bridge_gate_close(Rehearsal *rehearsal, Error *err) MUST_CHECK;

#endif
