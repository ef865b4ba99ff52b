/*
 * The client's end of a rehearsal's tunnel: a port of this machine's loopback, whose connections come out at the copy.
 * The rules of the frames are in common/rehearsal/tunnel.h. Three threads of its own: one for the sockets, one that
 * sends frames, one that gets them. open, finish and close are for one thread.
 */
#ifndef PGSEAL_CLI_TUNNEL_H
#define PGSEAL_CLI_TUNNEL_H

#include "cli/http.h"

typedef struct TunnelClient TunnelClient;

/* Listens. path: "/api/v1/jobs/ID/tunnel". */
Status tunnel_client_listen(const Http *http, const char *path, TunnelClient **out, Error *err) MUST_CHECK;
int tunnel_client_port(const TunnelClient *client);
/* From here on connections are taken. */
Status tunnel_client_start(TunnelClient *client, Error *err) MUST_CHECK;
/* The command has ended: what its connections still hold is sent, then how it ended, and all is closed. Told are errors
 * that broke the tunnel before that. */
Status tunnel_client_finish(TunnelClient *client, int exit_status, Error *err) MUST_CHECK;
void tunnel_client_close(TunnelClient *client); /* NULL is fine */

#endif
