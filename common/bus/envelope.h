/*
 * Envelopes: bytes <-> Pgseal__Envelope, with the bounds that protobuf itself does not check. What arrives is hostile.
 */
#ifndef PGSEAL_COMMON_BUS_ENVELOPE_H
#define PGSEAL_COMMON_BUS_ENVELOPE_H

#include "common/base/buffer.h"
#include "proto/pgseal.pb-c.h"

enum { ENVELOPE_VERSION = 1, ENVELOPE_REQUEST_ID_LIMIT = 64, ENVELOPE_SESSION_SIZE = 32, ENVELOPE_NONCE_SIZE = 32 };

/* *out is freed with pgseal__envelope__free_unpacked. ERR_PROTOCOL: not an envelope, another version, fields out of
 * bounds. */
Status envelope_unpack(const uint8_t *data, size_t size, Pgseal__Envelope **out, Error *err) MUST_CHECK;
/* Replaces *out. */
void envelope_pack(const Pgseal__Envelope *envelope, Buffer *out);

/* A view of err as a Failure message, valid as long as err. And back; unknown codes become ERR_PROTOCOL. */
Pgseal__Failure envelope_failure(const Error *err);
Status envelope_failure_to_error(const Pgseal__Failure *failure, Error *err);

#endif
