/*
 * Fingerprint: what an archive contains, independent of row order: a digest for every TOC entry, and for
 * every table its rows, bytes and content digest (a 256-bit sum over SHA-256 of each COPY line, so a
 * multiset digest; not an XOR, which would hide a doubled row); for large objects oid, bytes and SHA-256.
 *
 * A FingerprintBuilder wraps an ArchiveReader: feed it the archive stream. The Fingerprint is a plain
 * value that can be written to and read from JSON (it is the heart of manifest and proof) and compared.
 * Digest of an entry: SHA-256 over its fields with lengths (desc, schema, tag, owner, tablespace, table
 * access method, relkind, section, defn, drop statement, COPY statement). Dump ids, OIDs and dates are left out.
 *
 * One builder belongs to one thread at a time; a finished Fingerprint is read-only and may be shared.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_FINGERPRINT_H
#define PGSEAL_COMMON_ARCHIVE_FINGERPRINT_H

#include <jansson.h>

#include "common/archive/reader.h"

enum { DIGEST_SIZE = 32 };

typedef struct FingerprintEntry { /* one TOC entry that is not table data */
  char *desc, *schema, *tag;      /* owned by the Fingerprint */
  uint8_t digest[DIGEST_SIZE];
} FingerprintEntry;

typedef struct FingerprintTable { /* one TABLE DATA entry, or one COPY read back by hand */
  char *schema, *name;
  char *columns;       /* the column list of its COPY statement as pg_dump wrote it: "(a, b)"; "" for no columns */
  int64_t rows, bytes; /* bytes: of COPY lines with their newlines, without the terminator */
  uint8_t digest[DIGEST_SIZE];
  uint64_t offset, end_offset; /* of its data block in the archive stream; not compared */
} FingerprintTable;

typedef struct FingerprintBlob {
  uint32_t oid;
  int64_t bytes;
  uint8_t digest[DIGEST_SIZE];
} FingerprintBlob;

typedef struct Fingerprint {
  char *database, *server_version, *dump_version; /* from the header; not compared */
  int format_minor;
  FingerprintEntry *entries;
  size_t entry_count;
  FingerprintTable *tables;
  size_t table_count;
  FingerprintBlob *blobs;
  size_t blob_count;
  int64_t rows, bytes;             /* sums over tables */
  uint64_t archive_size, toc_size; /* bytes; not compared */
} Fingerprint;

void fingerprint_release(Fingerprint *fingerprint);
json_t *fingerprint_to_json(const Fingerprint *fingerprint);                               /* new reference */
Status fingerprint_from_json(const json_t *json, Fingerprint *out, Error *err) MUST_CHECK; /* hostile input */
/* A name as its JSON has it, a new string: what is not UTF-8, or begins so, is "\x<hex>". */
char *fingerprint_name(const char *text);
/* SHA-256 over the compared part in a canonical order: equal fingerprints have equal digests. */
void fingerprint_digest(const Fingerprint *fingerprint, uint8_t digest[DIGEST_SIZE]);

/* Progress while building; called at most every few MB and at each table's end, from feed(). */
typedef struct FingerprintProgress {
  int64_t tables_done, tables_total, rows, bytes;
  const char *table; /* current, "schema.name"; or "" */
} FingerprintProgress;

typedef struct FingerprintBuilder FingerprintBuilder;
typedef struct FingerprintHooks { /* all optional */
  void *user;
  Status (*toc)(void *user, const ArchiveToc *toc, Error *err);
  void (*progress)(void *user, const FingerprintProgress *progress);
} FingerprintHooks;

FingerprintBuilder *fingerprint_builder_new(const FingerprintHooks *hooks);
void fingerprint_builder_free(FingerprintBuilder *builder);
Status fingerprint_builder_feed(FingerprintBuilder *builder, const void *data, size_t size, Error *err) MUST_CHECK;
Status fingerprint_builder_finish(FingerprintBuilder *builder, Fingerprint *out, Error *err) MUST_CHECK;
const ArchiveToc *fingerprint_builder_toc(const FingerprintBuilder *builder);

/* The multiset digest by itself, for a COPY stream read back over libpq. Feed pieces in order. */
typedef struct RowDigest RowDigest;
RowDigest *row_digest_new(void);
void row_digest_free(RowDigest *digest);
void row_digest_feed(RowDigest *digest, const void *data, size_t size);
/* terminator: true where the stream ends with pg_dump's "\.\n\n\n" line (it is not counted as rows). */
Status row_digest_finish(RowDigest *digest, bool terminator, int64_t *rows, int64_t *bytes, uint8_t out[DIGEST_SIZE],
                         Error *err) MUST_CHECK;

#endif
