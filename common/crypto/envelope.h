/* The DER around an encrypted segment. Internal to common/crypto. Pure; any thread. */
#ifndef PGSEAL_COMMON_CRYPTO_ENVELOPE_H
#define PGSEAL_COMMON_CRYPTO_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if the bytes are exactly one ContentInfo as segment_encode writes it: AuthEnvelopedData (RFC 5083) of data,
 * encrypted with AES-256-GCM, a 12-byte nonce and a whole 16-byte tag (RFC 5084), in definite lengths, with no
 * attributes and nothing behind. CMS protects neither the cipher's name nor the tag's length: were another cipher or a
 * shorter tag accepted, whoever can write to the repository could make an altered object pass. */
bool envelope_valid(const uint8_t *data, size_t size);

#endif
