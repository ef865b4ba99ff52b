/*
 * Parses the archive header and one TOC entry out of bytes in memory. Internal to common/archive.
 * A parse either consumes one whole item, or says that more bytes are needed and consumes nothing.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_TOC_H
#define PGSEAL_COMMON_ARCHIVE_TOC_H

#include <stdbool.h>

#include "common/archive/reader.h"

/* A position in bytes that may end too early. Once short_of_data or invalid is set, reads return zeros. */
typedef struct TocCursor {
  const uint8_t *data;
  size_t size, pos;
  int int_size;
  bool short_of_data, invalid;
} TocCursor;

int64_t toc_read_int(TocCursor *cursor); /* ReadInt: sign byte, then int_size bytes, least first */
uint8_t toc_read_byte(TocCursor *cursor);

/* *used = 0 and STATUS_OK: more bytes are needed. Strings are newly allocated; released by toc_release. */
Status toc_parse_header(const uint8_t *data, size_t size, ArchiveHeader *header, size_t *entry_count, size_t *used,
                        Error *err) MUST_CHECK;
Status toc_parse_entry(const ArchiveHeader *header, const uint8_t *data, size_t size, uint64_t position,
                       ArchiveEntry *entry, size_t *used, Error *err) MUST_CHECK;
void toc_entry_release(ArchiveEntry *entry);
void toc_release(ArchiveToc *toc);

#endif
