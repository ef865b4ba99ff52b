/*
 * The canonical order of what a fingerprint holds: the same for its digest and for its comparison. Internal to
 * common/archive.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_FINGERPRINT_ORDER_H
#define PGSEAL_COMMON_ARCHIVE_FINGERPRINT_ORDER_H

#include "common/archive/fingerprint.h"

/* By (desc, schema, tag), as strcmp does. Pure. */
int fingerprint_entry_key_order(const FingerprintEntry *a, const FingerprintEntry *b);
/* By (schema, name). Pure. */
int fingerprint_table_order(const FingerprintTable *a, const FingerprintTable *b);
/* By oid. Pure. */
int fingerprint_blob_order(const FingerprintBlob *a, const FingerprintBlob *b);

/* Pointers into the fingerprint, in order (entries of one key by digest); the array is freed by the caller. */
const FingerprintEntry **fingerprint_entries_sorted(const Fingerprint *fingerprint);
const FingerprintTable **fingerprint_tables_sorted(const Fingerprint *fingerprint);
const FingerprintBlob **fingerprint_blobs_sorted(const Fingerprint *fingerprint);

#endif
