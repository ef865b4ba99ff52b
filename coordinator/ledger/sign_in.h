/* What the ledger keeps of sign-ins by OpenID Connect, besides sessions. Errors and threads as in ledger.h. */
#ifndef PGSEAL_COORDINATOR_LEDGER_SIGN_IN_H
#define PGSEAL_COORDINATOR_LEDGER_SIGN_IN_H

#include "coordinator/ledger/ledger.h"

/* Of a person, the name that he had first: `name` is written at his first time (or `other`, if it is another person's),
 * and read from then on. Inside a transaction. */
Status ledger_person_name(Ledger *ledger, const char *subject, const char *other, int64_t now_us,
                          char name[LEDGER_NAME_SIZE], Error *err) MUST_CHECK;
/* Sign-ins that came to their end. */
Status ledger_sign_in_used(Ledger *ledger, const char *hash, bool *used, Error *err) MUST_CHECK;
/* ERR_CONFLICT: it was there. Those that are over by now go. */
Status ledger_sign_in_insert(Ledger *ledger, const char *hash, int64_t now_us, int64_t expires_us,
                             Error *err) MUST_CHECK;
/* Ends all sessions of who signed in by that name; *count: how many there were. Inside a transaction. */
Status ledger_person_sessions_end(Ledger *ledger, const char *name, int64_t *count, Error *err) MUST_CHECK;

/* A token's `person`: who made it, or gave it this secret, signed in by OpenID Connect or by such a token of his. So
 * it is a second name of his. Does that person have, or had he, a token of that name? */
Status ledger_person_has_token(Ledger *ledger, const char *person, const char *token, bool *has, Error *err) MUST_CHECK;

#endif
