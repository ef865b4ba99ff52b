/* The DER around an encrypted segment. Internal to common/crypto. Pure; any thread. */
#ifndef PGSEAL_COMMON_CRYPTO_ENVELOPE_H
#define PGSEAL_COMMON_CRYPTO_ENVELOPE_H

#include "common/base/buffer.h"

enum { ENVELOPE_TAG_SIZE = 16 };

/* An envelope in its parts, which point into it. */
typedef struct Envelope {
  const uint8_t *front, *type, *tag; /* whole elements: version and recipients; content type and cipher; tag */
  size_t front_size, type_size, tag_size;
  const uint8_t *content; /* the ciphertext; NULL: detached, the frame alone */
  size_t content_size;
} Envelope;

/* True if the bytes are exactly one ContentInfo as segment_encode writes it: AuthEnvelopedData (RFC 5083) of data,
 * encrypted with AES-256-GCM, a 12-byte nonce and a whole 16-byte tag (RFC 5084), in definite lengths, with no
 * attributes and nothing behind. CMS protects neither the cipher's name nor the tag's length: were another cipher or a
 * shorter tag accepted, whoever can write to the repository could make an altered object pass. */
bool envelope_read(const uint8_t *data, size_t size, Envelope *out);
/* The same of what is being made, by ourselves: it has no content yet, and its tag, empty, becomes one of zeros. */
bool envelope_read_unsealed(const uint8_t *data, size_t size, Envelope *out);

/* OpenSSL keeps the content of a CMS structure in memory of its own, several times: it is given the frame alone.
 * The frame: the envelope without its content, as of detached data. *out is replaced. */
void envelope_frame(const Envelope *envelope, Buffer *out);
/* Room for an envelope with `content_size` bytes of content, all written but for them: they belong at *at. The tag's
 * ENVELOPE_TAG_SIZE bytes are the last ones. *out is replaced. */
void envelope_around(const Envelope *frame, size_t content_size, Buffer *out, size_t *at);

#endif
