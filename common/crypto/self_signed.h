/* A certificate for a server that lives for some hours and is known by nothing but it. By OpenSSL; any thread. */
#ifndef PGSEAL_COMMON_CRYPTO_SELF_SIGNED_H
#define PGSEAL_COMMON_CRYPTO_SELF_SIGNED_H

#include "common/base/error.h"

/* A new key (EC P-256) and a certificate that it signed itself, both PEM: of a server at localhost and 127.0.0.1, valid
 * for two days. Freed by the caller, the key by secret_text_free of authority.h. */
Status certificate_self_signed(const char *common_name, char **key_pem, char **certificate_pem, Error *err) MUST_CHECK;

#endif
