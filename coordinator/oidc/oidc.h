/*
 * Sign-in by OpenID Connect: authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9207), as
 * the client of one issuer. What the issuer says of itself and its keys are asked for when they are first wanted and
 * kept for an hour; a key that is not known has the keys asked for anew, once in half a minute at most.
 *
 * The issuer, as it is known here:
 *
 *   UNKNOWN  --wanted-->  DESCRIBING  --its description-->  FETCHING  --its keys-->  KNOWN
 *   DESCRIBING, FETCHING  --anything else-->  UNKNOWN; what waits fails with the reason
 *   KNOWN  --wanted, and older than an hour-->  DESCRIBING
 *   KNOWN  --a key is not known, as was none in the last half a minute-->  FETCHING
 *
 * One sign-in's step (a flow):
 *
 *   WAITING (for the issuer)  --KNOWN, it begins-->  ENDED, with the URL to go to
 *   WAITING  --KNOWN, it has a code-->  EXCHANGING  --tokens-->  checked  -->  ENDED, with a person or an error
 *   checked  --by a key that is not known-->  REKEYING  --KNOWN-->  checked again, once  -->  ENDED
 *   any  --an error-->  ENDED
 *
 * The network is in a thread (alerts/sender.h): nothing here blocks. Loop thread only. At most OIDC_FLOWS at a time.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_OIDC_H
#define PGSEAL_COORDINATOR_OIDC_OIDC_H

#include <uv.h>

#include "coordinator/oidc/identity.h"
#include "coordinator/oidc/request.h"

enum { OIDC_FLOWS = 64 };

typedef struct Oidc Oidc;
typedef struct OidcOutcome {
  Status status; /* ERR_UNAUTHORIZED, ERR_FORBIDDEN, ERR_UNAVAILABLE, ERR_CONFIG, or OK */
  Error err;
  char *url;         /* where to go; of a flow that begins; owned by the taker */
  OidcPerson person; /* of a flow that had a code */
} OidcOutcome;

/* ended: a flow has come to its end; called from the loop, never from within oidc_begin and oidc_finish. ERR_INTERNAL.
 */
Status oidc_open(uv_loop_t *loop, const OidcSettings *settings, void (*ended)(void *user, uint64_t flow), void *user,
                 Oidc **out, Error *err) MUST_CHECK;
/* Both: *flow is never 0. ERR_TOO_MANY: there are as many as there may be. */
Status oidc_begin(Oidc *oidc, const OidcSecrets *secrets, uint64_t *flow, Error *err) MUST_CHECK;
Status oidc_finish(Oidc *oidc, const OidcSecrets *secrets, const char *code, uint64_t *flow, Error *err) MUST_CHECK;
bool oidc_ended(Oidc *oidc, uint64_t flow);
/* True: it has ended, this is how, and it is forgotten. */
bool oidc_take(Oidc *oidc, uint64_t flow, OidcOutcome *out);
void oidc_forget(Oidc *oidc, uint64_t flow); /* nobody waits for it any more */
/* Does an answer of the issuer have to name it? (RFC 9207) */
bool oidc_tells_issuer(const Oidc *oidc);
char *oidc_leave(const Oidc *oidc); /* new: oidc_sign_out_url, if the issuer is known here; or NULL */
/* What is under way ends, within three seconds; flows are not told of any more. Then it is freed, and closed (or NULL)
 * is called. */
void oidc_close(Oidc *oidc, void (*closed)(void *user), void *user);

/* Asks the issuer, blocking: for `check`. OK without settings. ERR_CONFIG, ERR_UNAVAILABLE. */
Status oidc_check(const OidcSettings *settings, Error *err) MUST_CHECK;

#endif
