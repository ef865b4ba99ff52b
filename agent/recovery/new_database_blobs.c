/* Large objects, read back piece by piece and held against the manifest's digests. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/new_database.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"

enum { PIECE = 4 << 20 };

static void free_hash(Sha256 **hash) {
  sha256_free(*hash);
}

static void free_bytes(unsigned char **bytes) {
  PQfreemem(*bytes);
}

/* *size is 0 at its end. */
static Status read_piece(Restore *restore, uint32_t oid, int64_t offset, Sha256 *hash, size_t *size, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status =
      restore_runf(restore, &result, err, "SELECT pg_catalog.lo_get(%u, %lld, %d)", oid, (long long)offset, (int)PIECE);
  if (status != STATUS_OK)
    return status;
  CLEANUP(free_bytes)
  unsigned char *bytes = PQunescapeBytea((const unsigned char *)PQgetvalue(result, 0, 0), size);
  if (!bytes)
    return error_set(err, ERR_NO_MEMORY, "out of memory");
  sha256_update(hash, bytes, *size);
  return STATUS_OK;
}

static Status differs(uint32_t oid, const char *how, Error *err) {
  error_set(err, ERR_ROUND_TRIP_DIFFERS, "large object %u, read back from the new database, %s", oid, how);
  error_object(err, "large object %u", oid);
  return err->status;
}

static Status check_one(Restore *restore, const FingerprintBlob *expected, Error *err) {
  CLEANUP(free_hash) Sha256 *hash = sha256_new();
  uint8_t found[DIGEST_SIZE];
  int64_t bytes = 0;
  for (size_t size = 1; size > 0; bytes += (int64_t)size) {
    Status status = recovery_check(&restore->run, err);
    if (status == STATUS_OK)
      status = read_piece(restore, expected->oid, bytes, hash, &size, err);
    if (status != STATUS_OK)
      return error_prefix(err, "large object %u", expected->oid);
    if (bytes > expected->bytes)
      return differs(expected->oid, "is longer than the checkpoint's", err);
  }
  sha256_finish(hash, found);
  if (bytes != expected->bytes || memcmp(found, expected->digest, DIGEST_SIZE) != 0)
    return differs(expected->oid, "has not the checkpoint's content", err);
  return STATUS_OK;
}

Status new_database_check_large_objects(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  const Fingerprint *expected = &restore->run.manifest.fingerprint;
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status =
      restore_run(restore, &result, err, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata");
  if (status != STATUS_OK)
    return status;
  if (strtoull(PQgetvalue(result, 0, 0), NULL, 10) != expected->blob_count)
    return error_set(err, ERR_ROUND_TRIP_DIFFERS, "the new database has %s large objects, the checkpoint %zu",
                     PQgetvalue(result, 0, 0), expected->blob_count);
  for (size_t i = 0; i < expected->blob_count && status == STATUS_OK; i++)
    status = check_one(restore, &expected->blobs[i], err);
  return status;
}
