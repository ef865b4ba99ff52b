/*
 * What a checkpoint has in the repository, read back by a drill or a restore: single objects, the manifest, and
 * segments read a few ahead. All of it is hostile until it was held against the signed manifest.
 */
#ifndef PGSEAL_AGENT_JOBS_STORED_H
#define PGSEAL_AGENT_JOBS_STORED_H

#include "common/manifest/manifest.h"

enum { STORED_OBJECT_LIMIT = 1 << 30, STORED_AHEAD = 3 /* segments in memory */ };

/* What was read of one object; held against the manifest. */
typedef struct StoredRead {
  uint64_t size, plain_size;
  char sha256[SHA256_HEX_SIZE], plain_sha256[SHA256_HEX_SIZE];
} StoredRead;

/* Where they are read from. Nothing is owned; any number of threads may share it. */
typedef struct StoredPlace {
  Repository *repository;
  const DecryptionKey *key;
} StoredPlace;

/* Any thread. *read's size and sha256 are set even where the key does not open the object. */
Status stored_read(const StoredPlace *place, const char *key, Buffer *plain, StoredRead *read, Error *err) MUST_CHECK;
/* It is the very object that the manifest describes. ERR_SEGMENT_CORRUPT. */
Status stored_check(const char *key, const StoredRead *read, const ManifestSegment *expected, Error *err) MUST_CHECK;
/* The object as it is stored, whether it could be opened or not. */
bool stored_is(const StoredRead *read, const ManifestSegment *expected);

/* Which manifest it must be. */
typedef struct StoredIdentity {
  const uint8_t *public_key; /* of the agent that dumped */
  const char *sha256, *checkpoint_id, *database, *prefix;
  const char *agent;          /* or "" where not known */
  const char *bootstrap_role; /* or NULL where not known */
  int major;                  /* or 0 */
} StoredIdentity;
/* Signed, of this checkpoint, and the one that was announced. Else ERR_MANIFEST_INVALID, ... */
Status stored_manifest(const StoredPlace *place, const StoredIdentity *identity, Manifest *out, Error *err) MUST_CHECK;

/* Segments, read by two threads in the order in which they were asked for, no more than STORED_AHEAD of them ahead of
 * their one consumer, who calls all of this. */
typedef struct StoredAhead StoredAhead;
typedef struct StoredSegment {
  size_t index;
  Buffer plain;
  StoredRead read;
  Status status; /* of reading it; then *failure says why */
  Error failure;
} StoredSegment;
Status stored_ahead_open(const StoredPlace *place, const char *prefix, StoredAhead **out, Error *err) MUST_CHECK;
void stored_ahead_want(StoredAhead *ahead, size_t index);
/* What was asked for and is not being read yet is not wanted any more. */
void stored_ahead_forget(StoredAhead *ahead);
/* How many were asked for and not taken yet. */
size_t stored_ahead_pending(StoredAhead *ahead);
/* The next segment, in memory until the next call; NULL if it is not there after timeout_ms, or none was asked for. */
const StoredSegment *stored_ahead_take(StoredAhead *ahead, int timeout_ms);
void stored_ahead_close(StoredAhead **ahead); /* for CLEANUP(): waits for what is being read */

#endif
