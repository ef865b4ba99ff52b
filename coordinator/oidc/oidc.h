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
 * What is begun within two seconds of such a failure fails with the same reason: nobody makes the issuer be asked as
 * often as he likes.
 *
 * One sign-in's step (a flow):
 *
 *   WAITING (for the issuer)  --KNOWN, it begins-->  ENDED, with the URL to go to
 *   WAITING  --KNOWN, it has a code-->  EXCHANGING  --tokens-->  checked  -->  ENDED, with a person or an error
 *   checked  --by a key that is not known-->  REKEYING  --KNOWN-->  checked again, once  -->  ENDED
 *   checked  --it leaves out a claim that is wanted-->  ASKING (the userinfo endpoint)  -->  ENDED
 *   any  --an error-->  ENDED
 *
 * The network is in a thread (delivery/sender.h): nothing here blocks. Loop thread only. At most OIDC_FLOWS at a time,
 * and of one origin OIDC_FLOWS_EACH.
 */
#ifndef PGSEAL_COORDINATOR_OIDC_OIDC_H
#define PGSEAL_COORDINATOR_OIDC_OIDC_H

#include <uv.h>

#include "coordinator/oidc/identity.h"
#include "coordinator/oidc/request.h"

enum { OIDC_FLOWS = 64, OIDC_FLOWS_EACH = 16, OIDC_ORIGIN = 16 };

typedef struct Oidc Oidc;
typedef struct OidcOutcome {
  Status status; /* ERR_UNAUTHORIZED, ERR_FORBIDDEN, ERR_UNAVAILABLE, ERR_CONFIG, or OK */
  Error err;
  char *url;         /* where to go; of a flow that begins; owned by the taker */
  OidcPerson person; /* of a flow that had a code */
} OidcOutcome;

typedef struct OidcAsked {
  const OidcSecrets *secrets;
  const char *code;      /* that came back; NULL: it begins */
  bool names_issuer;     /* what came back does (RFC 9207): where the issuer says that it always does, it has to */
  const uint8_t *origin; /* OIDC_ORIGIN bytes, of who asks; NULL: not told */
} OidcAsked;

/* ended: a flow has come to its end; called from the loop, never from within oidc_start. ERR_INTERNAL. */
Status oidc_open(uv_loop_t *loop, const OidcSettings *settings, void (*ended)(void *user, uint64_t flow), void *user,
                 Oidc **out, Error *err) MUST_CHECK;
/* *flow is never 0. ERR_TOO_MANY: there are as many as there may be; ERR_UNAVAILABLE: it was asked a moment ago. */
Status oidc_start(Oidc *oidc, const OidcAsked *asked, uint64_t *flow, Error *err) MUST_CHECK;
bool oidc_ended(Oidc *oidc, uint64_t flow);
/* True: it has ended, this is how, and it is forgotten. */
bool oidc_take(Oidc *oidc, uint64_t flow, OidcOutcome *out);
void oidc_forget(Oidc *oidc, uint64_t flow); /* nobody waits for it any more; one that there is not: fine */
char *oidc_leave(const Oidc *oidc);          /* new: oidc_sign_out_url, if the issuer is known here; or NULL */
/* What is under way ends, within three seconds; flows are not told of any more. Then it is freed, and closed (or NULL)
 * is called. */
void oidc_close(Oidc *oidc, void (*closed)(void *user), void *user);

/* Asks the issuer, blocking: for `check`. OK without settings. ERR_CONFIG, ERR_UNAVAILABLE. */
Status oidc_check(const OidcSettings *settings, Error *err) MUST_CHECK;

#endif
