/*
 * The hash chain of the ledger's events, as whoever keeps it and whoever checks it reckon it (docs/formats.md).
 * An event is a JSON object with the members actor, agent, checkpoint, database, detail, job, kind, sequence, time_us;
 * those that are absent are left out. Pure; any thread.
 */
#ifndef PGSEAL_COMMON_MANIFEST_CHAIN_H
#define PGSEAL_COMMON_MANIFEST_CHAIN_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/crypto/digest.h"

/* What stands before the first event: 64 zeros. */
extern const char chain_start[SHA256_HEX_SIZE];

/* SHA-256 over the previous event's hash (hex) and the event's canonical JSON (sorted keys, compact, UTF-8).
 * ERR_INTERNAL if it cannot be written as JSON. */
Status chain_hash(const json_t *event, const char previous[SHA256_HEX_SIZE], char hash[SHA256_HEX_SIZE],
                  Error *err) MUST_CHECK;

#endif
