/*
 * The secret that a rehearsal's client and agent share, and the coordinator between them does not know: without it
 * nobody runs SQL on a copy, is taken for the copy, or gets into it. Base64 of 32 to 256 random bytes, one line.
 *
 * All macs are HMAC-SHA256 (RFC 2104) as lower-case hexadecimal. A RehearsalSecret is read-only once made; any thread.
 */
#ifndef PGSEAL_COMMON_REHEARSAL_SECRET_H
#define PGSEAL_COMMON_REHEARSAL_SECRET_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/crypto/digest.h"

enum { REHEARSAL_MAC_SIZE = SHA256_HEX_SIZE, REHEARSAL_MAC_SECONDS = 15 * 60 };

typedef struct RehearsalSecret RehearsalSecret;

/* A new one as text; freed by the caller, by secret_text_free of common/crypto/authority.h. */
char *rehearsal_secret_generate(void);
/* ERR_INVALID_ARGUMENT: not base64, or too short. The text is no part of the error. */
Status rehearsal_secret_parse(const char *text, RehearsalSecret **out, Error *err) MUST_CHECK;
/* From a file, which nobody but its owner may read. ERR_KEY_UNREADABLE. */
Status rehearsal_secret_load(const char *path, RehearsalSecret **out, Error *err) MUST_CHECK;
void rehearsal_secret_free(RehearsalSecret *secret); /* NULL is fine */

/*
 * What a client asks for, so that nobody else can ask for it: of the request's members all but "mac". It has
 * "database", "nonce" (text, made by the client) and "time" (seconds since 1970), and holds for REHEARSAL_MAC_SECONDS,
 * either way.
 */
void rehearsal_request_mac(const RehearsalSecret *secret, const json_t *request, char out[REHEARSAL_MAC_SIZE]);
/* Its "mac" is right, its "database" is this one, its "time" is near now_us. ERR_FORBIDDEN. */
Status rehearsal_request_check(const RehearsalSecret *secret, const json_t *request, const char *database,
                               int64_t now_us, Error *err) MUST_CHECK;
/* Over what a TunnelOffer says, and the job that it is of. */
void rehearsal_offer_mac(const RehearsalSecret *secret, const char *job_id, const char *certificate, const char *role,
                         const char *database, char out[REHEARSAL_MAC_SIZE]);
/* Over a report, all members but its "mac", and the nonce of the request that it answers: nobody in between alters it,
 * or has another one's in its place. Numbers count by six digits, as reports have them;
 * texts as json_clean leaves them. */
void rehearsal_report_mac(const RehearsalSecret *secret, const char *nonce, const json_t *report,
                          char out[REHEARSAL_MAC_SIZE]);
/* Its "mac" is right. ERR_FORBIDDEN. */
Status rehearsal_report_check(const RehearsalSecret *secret, const char *nonce, const json_t *report,
                              Error *err) MUST_CHECK;
bool rehearsal_mac_equal(const char *a, const char *b); /* in constant time */
/* Of the role that a TunnelOffer names, on the copy of that job. */
void rehearsal_password(const RehearsalSecret *secret, const char *job_id, char out[REHEARSAL_MAC_SIZE]);

#endif
